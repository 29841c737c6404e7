//! `ferrogate translate`: manifests in, status or xDS out, without Envoy and without a cluster.

use std::process::ExitCode;

use ::ir::Problem;
use serde_json::Value;

use crate::{
    offline::{self, Files},
    view::{self, Format},
};

/// What to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum To {
    /// Every object that has a status, with it, as Kubernetes documents.
    Status,
    /// Resources for Envoy, by Gateway.
    Xds,
    /// What is wrong with the objects, as a list.
    Problems,
    /// Kubernetes objects that run the proxies of each Gateway.
    Infra,
    /// Outputs of every stage, with what each was made from.
    Ir,
}

/// Arguments of `ferrogate translate`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("files", |files| files.required(true)))]
pub(crate) struct Args {
    #[command(flatten)]
    files: Files,
    /// What to print
    #[arg(long, value_enum)]
    to: To,
    /// Format of the output
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
    /// Print private keys and passwords, which are redacted otherwise
    #[arg(long)]
    show_secrets: bool,
}

/// Runs the command. Exit code 0; 1 when an object was rejected (the output is complete all the same).
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = args.files.translate()?;
    let pipeline = loaded.pipeline;
    for problem in &loaded.problems {
        offline::report(problem);
    }
    match args.to {
        To::Status => {
            let controller = &pipeline.store().settings().controller_name;
            let documents: Vec<Value> =
                pipeline.statuses().map(|status| view::status::document(status, controller)).collect();
            view::print_documents(&documents, args.output)?;
        }
        To::Xds => {
            let fleets = pipeline.fleets().iter().map(|(name, fleet)| (&**name, fleet));
            view::print(&view::xds::fleets(fleets, args.show_secrets)?, args.output)?;
        }
        To::Problems => {
            let problems: Vec<Problem> = loaded.problems.into_iter().chain(pipeline.problems()).collect();
            view::print(&problems, args.output)?;
        }
        To::Infra => {
            let installation = &pipeline.store().settings().installation;
            let context = infra::Context { installation, ca: None };
            let mut documents = Vec::new();
            for wish in pipeline.wishes().filter(|wish| !wish.on_hold) {
                // What cannot be rendered is judged before, and then there is no wish but one on hold.
                documents
                    .extend(infra::render(wish, &context)?.objects.into_iter().map(|object| object.body));
            }
            view::print_documents(&documents, args.output)?;
        }
        To::Ir => view::print(&view::ir::stages(&pipeline, "", ""), args.output)?,
    }
    Ok(if loaded.rejected { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
