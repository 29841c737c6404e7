//! The command line.

use std::process::ExitCode;

use clap::Parser;

use crate::translate;

/// A Kubernetes-native API gateway: Gateway API in, real Envoy out.
#[derive(Debug, Parser)]
#[command(name = "ferrogate", version, arg_required_else_help = true, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Translate manifests and print status, xDS or problems; needs no Envoy and no cluster
    Translate(translate::Args),
}

/// Parses the arguments and runs the command. Exit code 2 for bad usage.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Translate(args) => translate::run(&args),
    };
    result.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::from(2)
    })
}

#[expect(clippy::print_stderr, reason = "the last word to a person at the terminal")]
fn complain(error: &anyhow::Error) {
    eprintln!("ferrogate: {error:#}");
}
