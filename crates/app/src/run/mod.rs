//! `ferrogate run`: the gateway on one machine. Files in, one Envoy per Gateway out.

mod fleets;
mod verdict;
mod welcome;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use ::ir::status::Status;
use admission::{Admission, UnknownFields};
use anyhow::Context;
use host::{EnvoyBinary, RunDir};
use pipeline::Infrastructure;
use server::{BySocket, Feeds, Server};
use tokio_util::sync::CancellationToken;

use crate::{
    admin,
    conditions::{self, Refusals},
    config,
    control::Control,
    gateway::{Gateway, Plane},
    telemetry,
    watchdog::Watchdog,
};
pub(crate) use fleets::Fleets;

/// Arguments of `ferrogate run`.
#[derive(Debug, clap::Args)]
#[command(mut_args(without_empty_variable))]
pub(crate) struct Args {
    /// Files or folders of manifests to follow; `-` reads standard input once
    #[arg(required = true, value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,
    /// EnvoyGateway configuration file
    #[arg(long, env = "FERROGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Drop unknown fields with a warning instead of refusing the object
    #[arg(long)]
    lenient: bool,
    /// Address that Gateways without spec.addresses listen on
    #[arg(long, env = "FERROGATE_LISTEN", default_value = "0.0.0.0", value_name = "IP")]
    listen: std::net::IpAddr,
    /// Address of the admin port: health, metrics, status, dumps
    #[arg(long, env = "FERROGATE_ADMIN", default_value = "127.0.0.1:19000", value_name = "IP:PORT")]
    admin: SocketAddr,
    /// Envoy's program; without it .tools, the folder of this program and PATH are searched
    #[arg(long, env = "FERROGATE_ENVOY", value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// Envoy's own log level; without it the EnvoyProxy's, else warning
    #[arg(long, env = "FERROGATE_ENVOY_LOG", value_name = "LEVEL")]
    envoy_log_level: Option<String>,
    /// Worker threads of each Envoy; without it the EnvoyProxy's, else one per CPU
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Longest wait, in seconds, for open requests when a proxy stops; without it the EnvoyProxy's, else 30
    #[arg(long, value_name = "SECONDS")]
    drain_timeout: Option<u64>,
    /// Folder for sockets, made if missing; without it one for this process
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Also run the built-in echo backend here, so that a first route has something to talk to
    #[arg(long, value_name = "IP:PORT")]
    echo: Option<SocketAddr>,
    #[command(flatten)]
    telemetry: telemetry::LogArgs,
}

/// An environment variable that is set but empty counts as unset, as in most programs: manifests and shells write
/// `NAME=` for "none".
pub(crate) fn without_empty_variable(arg: clap::Arg) -> clap::Arg {
    let empty =
        arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
    if empty { arg.env(clap::builder::Resettable::Reset) } else { arg }
}

/// Every status, completed by what the proxies say.
pub(crate) async fn statuses(gateway: &Gateway, fleets: &Fleets) -> Vec<Status> {
    let mut statuses = gateway.control.statuses().await;
    let refusals = Refusals::of(gateway.feeds.deliveries().all());
    let specs = gateway.control.view().borrow().fleets.clone();
    let proxies = fleets.states().await;
    for status in &mut statuses {
        let verdict = |fleet: &Arc<str>, served: &::ir::ObjectRef| {
            let sockets = specs.get(fleet).map_or(&[][..], |spec| &spec.sockets);
            let feed = gateway.feeds.status(fleet);
            verdict::of((fleet, served), sockets, &refusals, proxies.get(fleet), feed.as_ref())
        };
        conditions::complete(status, &refusals, verdict, |_| None);
    }
    statuses
}

/// Ready when files were read and every fleet has a proxy with everything.
pub(crate) fn ready(gateway: &Gateway) -> Result<(), String> {
    if gateway.control.view().borrow().revision == 0 {
        return Err("files are not read yet".to_owned());
    }
    for key in gateway.feeds.keys() {
        let ready =
            gateway.feeds.status(&key).is_some_and(|s| s.acked.is_some_and(|acked| acked >= s.revision));
        if !ready {
            return Err(format!("fleet {key} does not have everything yet"));
        }
    }
    Ok(())
}

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    telemetry::init(&args.telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(args))?;
    // Threads that still wait for the kernel (file watches) end with the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    // Inputs first: what is wrong with them is said before anything runs.
    let admission = Arc::new(Admission::new());
    let config = config::load(&admission, args.config.as_deref())?;
    let settings = config.settings(Infrastructure::Host { listen: args.listen.to_string().into() });
    let envoy = EnvoyBinary::locate(args.envoy.as_deref()).await?;
    let run_dir = match &args.run_dir {
        Some(path) => RunDir::create(path)?,
        None => RunDir::for_process()?,
    };
    let shutdown = CancellationToken::new();
    let admin = admin::bind(args.admin).await?;
    let echo = start_echo(args.echo, shutdown.clone()).await?;

    // Then the row from files to proxies.
    let feeds = Feeds::default();
    let (control, pipeline_ended) =
        Control::start(settings, feeds.clone(), ()).context("cannot start the pipeline's thread")?;
    let server = Server::new(feeds.clone(), BySocket);
    let proxies = fleets::Settings {
        envoy,
        envoy_log_level: args.envoy_log_level.clone(),
        concurrency: args.concurrency,
        drain: args.drain_timeout.map(Duration::from_secs),
    };
    let fleets = Fleets::new(proxies, run_dir, server);
    let gateway = Gateway {
        control: control.clone(),
        feeds: feeds.clone(),
        plane: Plane::Host(fleets.clone()),
        watchdog: Watchdog::default(),
    };
    let mut options = provider::file::Options::new(args.paths.iter().cloned());
    if args.lenient {
        options.unknown_fields = UnknownFields::Drop;
    }
    let updates = provider::file::watch(admission, options).context("cannot watch the files")?;
    let pump = tokio::spawn(pump(updates, control.clone()));
    let admin = tokio::spawn(admin::serve(admin, gateway.clone(), shutdown.clone()));
    let welcome = tokio::spawn(welcome::say(gateway.clone(), args.admin, shutdown.clone()));
    let watchdog = tokio::spawn({
        let (watchdog, control) = (gateway.watchdog.clone(), control.clone());
        async move { watchdog.run(&control, None, |_| Vec::new()).await }
    });
    let following = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { fleets.follow(&control, shutdown).await }
    });

    // Until told to stop: proxies drain first, while everything that they need still runs.
    tokio::select! {
        terminated = terminated() => terminated?,
        () = pipeline_ended => anyhow::bail!("the pipeline's thread has ended"),
    }
    tracing::info!("stopping: proxies drain");
    shutdown.cancel();
    following.await?;
    pump.abort();
    welcome.abort();
    watchdog.abort();
    admin.await??;
    if let Some(echo) = echo {
        echo.done().await;
    }
    Ok(())
}

/// Completes at the first SIGINT or SIGTERM. A second one ends the process at once.
pub(crate) async fn terminated() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::warn!("stopping at once");
        std::process::exit(130);
    });
    Ok(())
}

/// Completes at the first SIGINT or SIGTERM; at once when signals cannot be had.
pub(crate) async fn terminated_quietly() {
    if let Err(error) = terminated().await {
        tracing::error!("cannot wait for signals: {error:#}");
    }
}

/// Hands updates of the files to the pipeline, one commit at a time.
async fn pump(mut updates: provider::file::Updates, control: Control) {
    let mut known = Vec::new();
    while let Some(update) = updates.next().await {
        let problems = update.problems.clone();
        for problem in problems.iter().filter(|problem| !known.contains(*problem)) {
            let place = problem_text(problem, &update.places);
            match problem.severity {
                ::ir::Severity::Warning => tracing::warn!("{place}"),
                _ => tracing::error!("{place}"),
            }
        }
        known = problems;
        control.update(update.into()).await;
    }
    tracing::error!("files are not followed any more: the watch has ended");
}

/// A problem with the place where the object is declared. Problems of files begin with their place already.
fn problem_text(
    problem: &::ir::Problem,
    places: &std::collections::BTreeMap<::ir::problem::Subject, provider::file::Place>,
) -> String {
    match places.get(&problem.object) {
        _ if problem.object.kind == "File" => problem.message.clone(),
        Some(place) => format!("{place}: {problem}"),
        None => problem.to_string(),
    }
}

async fn start_echo(
    address: Option<SocketAddr>,
    shutdown: CancellationToken,
) -> anyhow::Result<Option<echo::Running>> {
    let Some(address) = address else { return Ok(None) };
    let options =
        echo::Options { plain: vec![address], backend: "echo".to_owned(), ..echo::Options::default() };
    let running = echo::serve(options, async move { shutdown.cancelled().await }).await?;
    Ok(Some(running))
}
