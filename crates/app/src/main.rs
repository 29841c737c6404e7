//! The `ferrogate` binary.

mod admin;
mod admin_client;
mod bootstraps;
mod certgen;
mod certificate;
mod check;
mod cli;
mod conditions;
mod config;
mod control;
mod crds;
mod diff;
mod echo_command;
mod explain;
mod gateway;
mod manifests;
mod offline;
mod run;
mod serve;
mod shutdown;
mod status;
mod system_trust;
mod telemetry;
mod translate;
mod version;
mod view;
mod watchdog;

use std::process::ExitCode;

/// Returns memory to the system under churn, and keeps the resident set small.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Becomes a guarded Envoy before anything else is set up: see `host::guard`.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == host::guard::SUBCOMMAND) {
        return host::guard::main(std::env::args_os().skip(2));
    }
    cli::main()
}
