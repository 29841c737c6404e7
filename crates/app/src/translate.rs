//! `ferrogate translate`: manifests in, status or xDS out, without Envoy and without a cluster.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::SystemTime};

use ::ir::{Problem, Severity};
use admission::{Admission, UnknownFields};
use pipeline::{ChangeSet, Infrastructure, Pipeline, Settings};
use serde_json::Value;

use crate::{
    config,
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
pub(crate) struct Args {
    /// Files or folders of manifests; `-` reads standard input
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// EnvoyGateway configuration file; without it, Envoy Gateway's defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Drop unknown fields with a warning, as an API server does, instead of refusing the object
    #[arg(long)]
    lenient: bool,
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
    for path in args.files.iter().filter(|path| path.as_os_str() != "-") {
        anyhow::ensure!(path.exists(), "{} does not exist", path.display());
    }
    let admission = Arc::new(Admission::new());
    let config = config::load(&admission, args.config.as_deref())?;
    let unknown_fields = if args.lenient { UnknownFields::Drop } else { UnknownFields::Refuse };
    let loaded = provider::file::load(admission, &args.files, unknown_fields);
    let settings = Settings { partial_input: true, ..config.settings(Infrastructure::Kubernetes) };
    let controller = settings.controller_name.clone();
    let mut pipeline = Pipeline::new(settings);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
    pipeline.commit(ChangeSet {
        apply: loaded.objects,
        now: i64::try_from(now).ok(),
        ..ChangeSet::default()
    });
    for problem in &loaded.problems {
        report(problem);
    }
    match args.to {
        To::Status => {
            let documents: Vec<Value> =
                pipeline.statuses().map(|status| view::status::document(status, &controller)).collect();
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

/// Tells a person at the terminal; standard output holds the result alone.
#[expect(
    clippy::print_stderr,
    reason = "problems go to standard error, so that standard output can be piped"
)]
fn report(problem: &Problem) {
    let word = match problem.severity {
        Severity::Rejected => "rejected",
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    eprintln!("{word}: {problem}");
}
