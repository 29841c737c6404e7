//! The command line.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::{
    certgen, certificate, check, crds, diff, echo_command, explain, manifests, run, serve, shutdown, status,
    translate, version, view,
};

/// A Kubernetes-native API gateway: Gateway API in, real Envoy out.
///
/// Try it: `ferrogate run --echo 127.0.0.1:3000 examples/quickstart`
///
/// Under the name `envoy-gateway` the program does the same; that is what Envoy Gateway's charts and Pods call.
#[derive(Debug, Parser)]
#[command(name = "ferrogate", version, arg_required_else_help = true, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run a gateway on this machine: follow manifests, run one Envoy per Gateway
    ///
    /// Edit the files while it runs: a change is live in milliseconds and no request fails. What is wrong with a file
    /// is said in the log and on the admin port, what is wrong with an object in `ferrogate status` too; everything
    /// else goes on.
    Run(Box<run::Args>),
    /// Run the control plane in a Kubernetes cluster: follow its objects, keep one fleet of Envoys per Gateway
    ///
    /// Several replicas may run: each serves proxies, the one that leads writes statuses and infrastructure.
    Server(Box<serve::Args>),
    /// Show what a running gateway says of its objects
    ///
    /// States that need attention begin with `!`; the exit code is then 1.
    Status(status::Args),
    /// Translate manifests and print status, xDS or problems; needs no Envoy and no cluster
    ///
    /// Exit code 0; 1 when an object was rejected (the output is complete all the same); 2 for bad usage.
    Translate(translate::Args),
    /// Find what is wrong, or will be: manifests before they are applied, or a running gateway
    ///
    /// Each finding has a code that stays, a severity, the objects with their fields, why it matters and what to do;
    /// docs/checks.md lists them. Reads files (-f), Istio's Gateways among them, a cluster (--kubeconfig) or both, or asks a
    /// running gateway.
    ///
    /// Exit code 0; 1 when a finding is as bad as --fail-on says; 2 when nothing can be looked at.
    Check(check::Args),
    /// Say what two sets of manifests do differently, by host and route
    ///
    /// Not how they are written: what clients would notice. Exit code 0 when nothing differs, 1 when something does, 2 for
    /// bad usage.
    Diff(diff::Args),
    /// Say what becomes of a request: which route takes it, where it goes, or why it fails
    ///
    /// It follows the request through what Envoy is sent, by Envoy's rules: socket, filter chain, virtual host, route,
    /// filters, backends; with who set what, and with the routes that lost. Asks a running gateway, or reads files (-f).
    ///
    /// Example: `ferrogate explain -f manifests/ --gateway default/eg -H 'x-canary: 1' https://shop.example.com/cart`
    ///
    /// `ferrogate explain policy KIND/NAME` tells where a policy acts and which policy each field there comes from.
    Explain(Box<explain::Args>),
    /// Run a backend that answers with what arrived: HTTP/1.1, HTTP/2, gRPC, WebSocket
    Echo(echo_command::Args),
    /// Make a self-signed certificate, as a Secret, to try HTTPS with
    Certificate(certificate::Args),
    /// Print what a cluster needs to run the control plane: CRDs, rights, configuration, Deployment, GatewayClass
    ///
    /// CRDs have to be there before the rest: apply `ferrogate crds` with `kubectl apply --server-side -f -` first, then
    /// `ferrogate manifests --skip-crds`.
    Manifests(manifests::Args),
    /// Print CRDs: of all kinds that an API server must be taught, or of those named
    ///
    /// Example: `ferrogate crds gateway.envoyproxy.io | kubectl apply --server-side -f -`
    Crds(crds::Args),
    /// Make the certificates of the control plane and of proxies, as Secrets; keeps those that are there
    Certgen(certgen::Args),
    /// Commands for the Pods of proxies
    #[command(subcommand)]
    Envoy(shutdown::Command),
    /// Print versions
    Version {
        /// Format; without it one line a component
        #[arg(short, long, value_enum)]
        output: Option<view::Format>,
    },
    /// Print a completion script for a shell
    ///
    /// For bash: `ferrogate completions bash > ~/.local/share/bash-completion/completions/ferrogate`
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the arguments and runs the command. Exit code 2 for bad usage.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Server(args) => serve::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Translate(args) => translate::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Echo(args) => echo_command::run(args),
        Command::Certificate(args) => certificate::run(&args),
        Command::Manifests(args) => manifests::run(&args),
        Command::Crds(args) => crds::run(&args),
        Command::Certgen(args) => certgen::run(&args),
        Command::Envoy(command) => shutdown::run(&command),
        Command::Version { output } => version::run(output),
        Command::Completions { shell } => completions(shell),
    };
    result.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::from(2)
    })
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ferrogate", &mut script);
    view::write_out(&script)?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "the last word to a person at the terminal")]
fn complain(error: &anyhow::Error) {
    let mut text = error.to_string();
    // Some errors name their cause in their own words already.
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    eprintln!("ferrogate: {text}");
}
