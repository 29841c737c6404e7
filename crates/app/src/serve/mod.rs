//! `ferrogate server`: the control plane in a Kubernetes cluster. Objects in, one fleet of Envoys per Gateway out.

mod cluster;
mod door;
mod http;
mod ledger;
mod plan;
mod publish;
mod reload;
mod tasks;
mod topology;
mod verdict;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use ::ir::infra::DeployMode;
use admission::Admission;
use anyhow::Context;
use server::{Clients, Feeds, Protocols, Tls};
use tokio_util::sync::CancellationToken;

use crate::{
    admin,
    bootstraps::Bootstraps,
    config,
    control::{Change, Control},
    gateway::{Gateway, Plane},
    run, telemetry,
    watchdog::Watchdog,
};
pub(crate) use cluster::Cluster;
use plan::Plan;
use publish::Publisher;
use reload::Follower;
use tasks::Tasks;
pub(crate) use topology::PATH as TOPOLOGY_PATH;

/// Arguments of `ferrogate server`.
#[derive(Debug, clap::Args)]
#[command(mut_args(crate::run::without_empty_variable))]
pub(crate) struct Args {
    /// EnvoyGateway configuration file, followed while it runs; without it the defaults
    #[arg(short, long, env = "FERROGATE_CONFIG", value_name = "FILE")]
    config_path: Option<PathBuf>,
    /// Folder with tls.crt, tls.key and ca.crt, as `certgen` makes them
    #[arg(long, env = "FERROGATE_CERTS", default_value = "/certs", value_name = "DIR")]
    certs: PathBuf,
    /// Address for proxies
    #[arg(long, env = "FERROGATE_XDS_ADDRESS", default_value = "0.0.0.0:18000", value_name = "IP:PORT")]
    xds_address: SocketAddr,
    /// Address for probes: /healthz, /readyz
    #[arg(long, env = "FERROGATE_HEALTH_ADDRESS", default_value = "0.0.0.0:8081", value_name = "IP:PORT")]
    health_address: SocketAddr,
    /// Address for Prometheus: /metrics
    #[arg(long, env = "FERROGATE_METRICS_ADDRESS", default_value = "0.0.0.0:19001", value_name = "IP:PORT")]
    metrics_address: SocketAddr,
    /// Address for the API server's topology webhook, unless proxyTopologyInjector is disabled
    #[arg(long, env = "FERROGATE_WEBHOOK_ADDRESS", default_value = "0.0.0.0:9443", value_name = "IP:PORT")]
    webhook_address: SocketAddr,
    /// Address of the admin port; without it the configuration file's
    #[arg(long, env = "FERROGATE_ADMIN", value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// Rules share one cluster for each backend where no EnvoyProxy says so (mergeBackends); not for merged Gateways
    #[arg(long, env = "FERROGATE_MERGE_BACKENDS")]
    merge_backends: bool,
    /// How to reach the API server; without it as a Pod, else KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Runs until SIGINT or SIGTERM. Exit code 1 when some part of it fails: what started it starts it again.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let admission = Admission::new();
    let config = match &args.config_path {
        Some(path) => config::load(&admission, Some(path))?,
        None => config::Config::empty(),
    };
    let plan = Plan::of(&config, args.merge_backends)?;
    telemetry::init_as(&plan.logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let follower =
            |metrics| Follower::new(admission, args.config_path.clone(), args.merge_backends, metrics);
        let mut process = Process::start(args, plan, follower).await?;
        let failure = process.steady().await;
        process.stop().await;
        failure.map_or(Ok(()), Err)
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    if let Err(error) = result {
        tracing::error!("{error:#}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that runs.
struct Process<'a> {
    args: &'a Args,
    plan: Plan,
    feeds: Feeds,
    control: Control,
    gateway: Gateway,
    cluster: Cluster,
    follower: Follower,
    stopping: CancellationToken,
    /// What runs from the start to the end.
    base: Tasks,
    /// What talks to the API server.
    cluster_tasks: Tasks,
    /// What talks to proxies.
    door: Tasks,
    /// Ports for people and Prometheus.
    ports: Tasks,
}

impl<'a> Process<'a> {
    async fn start(
        args: &'a Args,
        plan: Plan,
        follower: impl FnOnce(reload::Metrics) -> Follower,
    ) -> anyhow::Result<Process<'a>> {
        let stopping = CancellationToken::new();
        let feeds = Feeds::default();
        // The image has no Envoy; where there is one, it is asked before a changed bootstrap replaces proxies.
        let bootstraps = Bootstraps::locate().await;
        let publisher = Publisher::new(feeds.clone(), bootstraps.clone());
        let watchdog = Watchdog::default();
        let cluster = Cluster::new(publisher.clone(), bootstraps.clone(), watchdog.clone(), stopping.clone());
        let (control, ended) = Control::start(plan.settings.clone(), feeds.clone(), publisher)
            .context("cannot start the pipeline's thread")?;
        let plane = Plane::Cluster(cluster.clone());
        let gateway = Gateway { control: control.clone(), feeds: feeds.clone(), plane, watchdog };
        let mut base = Tasks::default();
        let stop = base.stop_token();
        base.spawn("pipeline", async move {
            tokio::select! {
                () = ended => {}
                () = stop.cancelled() => {}
            }
        });
        base.spawn("bootstraps", bootstraps.serve(base.stop_token()));
        // Probes are answered from the start: alive, and not ready yet.
        let health = http::bind("probes", args.health_address).await?;
        base.spawn("health port", http::health(health, gateway.clone(), base.stop_token()));
        let follower = follower(cluster.reloads().clone());
        let mut process = Process {
            args,
            plan,
            feeds,
            control,
            gateway,
            cluster,
            follower,
            stopping,
            base,
            cluster_tasks: Tasks::default(),
            door: Tasks::default(),
            ports: Tasks::default(),
        };
        process.open_ports().await?;
        process.open_door().await?;
        process.follow_cluster().await?;
        Ok(process)
    }

    async fn open_ports(&mut self) -> anyhow::Result<()> {
        let mut ports = Tasks::default();
        let stop = ports.stop_token();
        let admin = admin::bind(self.args.admin.unwrap_or(self.plan.admin)).await?;
        let gateway = self.gateway.clone();
        ports.spawn("admin port", async move {
            if let Err(error) = admin::serve(admin, gateway, stop).await {
                tracing::error!("the admin port cannot be served any more: {error:#}");
            }
        });
        if self.plan.metrics {
            let listener = http::bind("metrics", self.args.metrics_address).await?;
            ports.spawn("metrics port", http::metrics(listener, self.gateway.clone(), ports.stop_token()));
        }
        self.ports = ports;
        Ok(())
    }

    async fn open_door(&mut self) -> anyhow::Result<()> {
        self.door = door::start(
            &self.plan.door,
            self.args.xds_address,
            &self.args.certs,
            self.args.kubeconfig.as_deref(),
            &self.feeds,
            self.cluster.pods(),
            self.cluster.synced(),
        )
        .await?;
        Ok(())
    }

    async fn follow_cluster(&mut self) -> anyhow::Result<()> {
        let ca = match self.plan.cluster.mode {
            DeployMode::ControllerNamespace => None,
            DeployMode::GatewayNamespace => Some(authority(&self.args.certs)?),
        };
        let kubeconfig = self.args.kubeconfig.as_deref();
        let (mut tasks, observed) =
            self.cluster.start(&self.plan, kubeconfig, ca, &self.control, &self.feeds).await?;
        if self.plan.settings.installation.topology_injector {
            let folder = &self.args.certs;
            let tls = Tls::load(folder, Clients::Anyone, Protocols::Http)
                .with_context(|| format!("cannot use the certificate in {}", folder.display()))?;
            let listener = topology::bind(self.args.webhook_address).await?;
            tasks.spawn("topology webhook", topology::serve(listener, tls, observed, tasks.stop_token()));
        }
        self.cluster_tasks = tasks;
        Ok(())
    }

    /// Runs until told to stop, or until some part fails: then it tells which.
    async fn steady(&mut self) -> Option<anyhow::Error> {
        let mut told = std::pin::pin!(run::terminated());
        loop {
            let plan = tokio::select! {
                told = &mut told => return told.err(),
                failure = self.base.failed() => return Some(failure),
                failure = self.cluster_tasks.failed() => return Some(failure),
                failure = self.door.failed() => return Some(failure),
                failure = self.ports.failed() => return Some(failure),
                plan = self.follower.next() => plan,
            };
            if let Err(error) = self.change_to(plan).await {
                return Some(error.context("the changed configuration cannot be put in force"));
            }
        }
    }

    /// Puts a changed configuration in force: parts whose settings changed are started anew, the rest goes on.
    async fn change_to(&mut self, plan: Plan) -> anyhow::Result<()> {
        let old = std::mem::replace(&mut self.plan, plan);
        if old.logging != self.plan.logging {
            telemetry::change_to(&self.plan.logging)?;
        }
        if (old.admin, old.metrics) != (self.plan.admin, self.plan.metrics) {
            std::mem::take(&mut self.ports).stop().await;
            self.open_ports().await?;
        }
        if old.door != self.plan.door {
            std::mem::take(&mut self.door).stop().await;
            self.open_door().await?;
        }
        let injects = |plan: &Plan| plan.settings.installation.topology_injector;
        if old.cluster != self.plan.cluster || injects(&old) != injects(&self.plan) {
            tracing::info!("the configuration has changed: the cluster's objects are read anew");
            std::mem::take(&mut self.cluster_tasks).stop().await;
            self.follow_cluster().await?;
        } else if old.settings != self.plan.settings {
            let settings = Some(self.plan.settings.clone());
            self.control.change(Change { settings, ..Change::default() }).await;
        }
        self.cluster.reloads().applied();
        tracing::info!("the changed configuration is in force");
        Ok(())
    }

    /// Ends all parts: the Lease is given back, and proxies go to another replica.
    async fn stop(self) {
        tracing::info!("stopping");
        self.stopping.cancel();
        tokio::join!(self.cluster_tasks.stop(), self.door.stop());
        tokio::join!(self.ports.stop(), self.base.stop());
    }
}

/// The authority that proxies in other namespaces trust.
fn authority(certificates: &Path) -> anyhow::Result<Arc<str>> {
    let path = certificates.join("ca.crt");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.into())
}
