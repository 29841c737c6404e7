//! `ferrogate diff`: what two sets of manifests do differently.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    offline::{self, Files},
    view::{self, Shape},
};

/// Arguments of `ferrogate diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File or folder of manifests as they were
    old: PathBuf,
    /// File or folder of manifests as they shall be
    new: PathBuf,
    /// EnvoyGateway configuration file; without it, Envoy Gateway's defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Drop unknown fields with a warning, as an API server does, instead of refusing the object
    #[arg(long)]
    lenient: bool,
    /// Format of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Shape,
}

/// Runs the command. Exit code 0 when nothing differs, 1 when something does.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let load = |path: &PathBuf| {
        let files = Files { files: vec![path.clone()], config: args.config.clone(), lenient: args.lenient };
        let loaded = files.judge()?;
        loaded.problems.iter().for_each(offline::report);
        anyhow::Ok(loaded.pipeline)
    };
    let changes = ::explain::difference(&load(&args.old)?, &load(&args.new)?);
    match args.output {
        Shape::Table => view::write_out(view::explain::changes(&changes).as_bytes())?,
        Shape::Json => view::print(&changes, view::Format::Json)?,
        Shape::Yaml => view::print(&changes, view::Format::Yaml)?,
    }
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
