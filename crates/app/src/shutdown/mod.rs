//! `ferrogate envoy`: what drains a proxy in a Pod before it is stopped.
//!
//! The kubelet runs the hooks of both containers at once: Envoy's waits at the [`ready`] server, the other one runs
//! [`drain`], which creates a file when the proxy may go. Both hooks then return, and Envoy gets its SIGTERM.

mod admin;
mod drain;
mod log;
mod ready;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;

use admin::Admin;

/// The file that says that the proxy may go. It belongs to the container, so a new one begins without it.
const READY_FILE: &str = "/tmp/shutdown-ready";
/// Port of the shutdown manager.
const PORT: u16 = 19_002;
/// Port of Envoy's admin interface.
const ADMIN_PORT: u16 = 19_000;

/// Commands for the Pods of proxies.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Hold back the end of the proxy until it has drained; runs beside Envoy in its Pod
    ShutdownManager(ReadyArgs),
    /// Drain the proxy of this Pod, then let it end; runs as a hook before the Pod stops
    Shutdown(DrainArgs),
}

/// Arguments of `envoy shutdown-manager`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReadyArgs {
    /// Longest wait for the proxy to drain
    #[arg(long, default_value = "610s", value_parser = duration, value_name = "DURATION")]
    ready_timeout: Duration,
    #[command(flatten)]
    telemetry: crate::telemetry::LogArgs,
}

/// Arguments of `envoy shutdown`.
#[derive(Debug, clap::Args)]
pub(crate) struct DrainArgs {
    /// How long the proxy goes on saying that it is healthy, while it already asks its clients to connect anew
    #[arg(long, default_value = "0s", value_parser = duration, value_name = "DURATION")]
    health_check_failure_delay: Duration,
    /// Longest drain
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    drain_timeout: Duration,
    /// Shortest drain, for load balancers to notice
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    min_drain_duration: Duration,
    /// Open connections that need not be waited for
    #[arg(long, default_value = "0", value_name = "N")]
    exit_at_connections: u64,
    #[command(flatten)]
    telemetry: crate::telemetry::LogArgs,
}

/// Runs one of the commands.
pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::ShutdownManager(args) => {
            crate::telemetry::init(&args.telemetry)?;
            runtime.block_on(manage(args))?;
        }
        Command::Shutdown(args) => {
            log::into_the_containers();
            crate::telemetry::init(&args.telemetry)?;
            let plan = drain::Plan {
                failure_delay: args.health_check_failure_delay,
                timeout: args.drain_timeout,
                minimum: args.min_drain_duration,
                exit_at: args.exit_at_connections,
                poll: drain::POLL,
            };
            let admin = Admin::new([
                (Ipv4Addr::LOCALHOST, ADMIN_PORT).into(),
                (Ipv6Addr::LOCALHOST, ADMIN_PORT).into(),
            ]);
            runtime.block_on(drain::run(&admin, &plan, Path::new(READY_FILE)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn manage(args: &ReadyArgs) -> anyhow::Result<()> {
    let wildcards: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let addresses = wildcards.map(|ip| SocketAddr::new(ip, PORT));
    // The first takes both families, where the machine has IPv6.
    let listener = tokio::net::TcpListener::bind(&addresses[..]).await;
    let listener = listener.with_context(|| format!("cannot listen on port {PORT}"))?;
    tracing::info!(port = PORT, "shutdown manager runs");
    let stop = crate::run::terminated_quietly();
    ready::serve(listener, Path::new(READY_FILE), args.ready_timeout, stop).await
}

/// A duration as Kubernetes' programs write it: `1m30s`, `500ms`, `0`.
fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let meant = || format!("{text:?} is not a duration such as 90s or 1m30s");
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| meant())?;
    Duration::try_from(parsed).map_err(|_| meant())
}
