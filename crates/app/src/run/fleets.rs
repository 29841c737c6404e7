//! One Envoy per fleet: for a Gateway, or for all Gateways of a class that merges them; started with the first of them,
//! drained and stopped with the last.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use ::ir::infra::HostProxy;
use host::{Bootstrap, EnvoyBinary, Proxy, ProxySpec, RunDir, State};
use infra::HostSettings;
use pipeline::FleetSpec;
use server::Server;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::control::{Control, View};

/// Longest drain where nobody says; shorter than in a cluster, since somebody sits at the terminal.
const DRAIN: Duration = Duration::from_secs(30);

/// How proxies are run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Envoy's program.
    pub envoy: EnvoyBinary,
    /// Envoy's own log level, in the place of what an EnvoyProxy says.
    pub envoy_log_level: Option<String>,
    /// Worker threads of each Envoy, likewise.
    pub concurrency: Option<u32>,
    /// Longest drain of a proxy that stops, likewise.
    pub drain: Option<Duration>,
}

/// The proxies of this process.
#[derive(Clone)]
pub(crate) struct Fleets {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    run_dir: RunDir,
    server: Server,
    proxies: Mutex<Proxies>,
}

/// What became of each fleet.
#[derive(Default)]
struct Proxies {
    running: BTreeMap<Arc<str>, Running>,
    /// Why the proxies of others could not be started.
    failed: BTreeMap<Arc<str>, String>,
}

struct Running {
    proxy: Arc<Proxy>,
    listening: CancellationToken,
    /// What it was told when it started, or what was said to be too late for it.
    told: Option<Arc<HostProxy>>,
}

impl Running {
    /// Says once that what has changed is for the next start: a proxy reads it then only.
    fn note(&mut self, name: &str, spec: &FleetSpec) {
        if self.told != spec.host {
            tracing::warn!(
                fleet = name,
                "the EnvoyProxy has changed in what a proxy reads when it starts (bootstrap, logging, concurrency, \
                 extraArgs, shutdown, telemetry.metrics); start ferrogate again"
            );
            self.told.clone_from(&spec.host);
        }
    }
}

impl Fleets {
    /// No proxies yet.
    pub(crate) fn new(settings: Settings, run_dir: RunDir, server: Server) -> Fleets {
        Fleets { shared: Arc::new(Shared { settings, run_dir, server, proxies: Mutex::default() }) }
    }

    /// Keeps one proxy for each fleet of the view until `shutdown`, then drains and stops all of them.
    pub(crate) async fn follow(&self, control: &Control, shutdown: CancellationToken) {
        let mut view = control.view();
        loop {
            let wanted: Arc<_> = view.borrow_and_update().fleets.clone();
            self.adjust(&wanted).await;
            tokio::select! {
                changed = changes(&mut view) => if !changed { break },
                () = shutdown.cancelled() => break,
            }
        }
        self.adjust(&BTreeMap::new()).await;
    }

    async fn adjust(&self, wanted: &BTreeMap<Arc<str>, FleetSpec>) {
        let mut stopped = Vec::new();
        {
            let mut proxies = self.shared.proxies.lock().await;
            let Proxies { running, failed } = &mut *proxies;
            failed.retain(|name, _| wanted.contains_key(name));
            let gone: Vec<Arc<str>> =
                running.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
            for name in gone {
                if let Some(fleet) = running.remove(&name) {
                    tracing::info!(fleet = %name, "draining");
                    fleet.proxy.stop();
                    stopped.push(fleet);
                }
            }
            for (name, spec) in wanted {
                if let Some(fleet) = running.get_mut(name) {
                    fleet.note(name, spec);
                    continue;
                }
                match self.start(name, spec) {
                    Ok(fleet) => {
                        failed.remove(name);
                        running.insert(name.clone(), fleet);
                    }
                    // Each commit tries again, and the log says once why it does not work.
                    Err(error) => {
                        let why = format!("{error:#}");
                        if failed.get(name) != Some(&why) {
                            tracing::error!(fleet = %name, "cannot start its proxy: {why}");
                            failed.insert(name.clone(), why);
                        }
                    }
                }
            }
        }
        // Drains run side by side; each is bounded by its own timeout.
        let drains = stopped.into_iter().map(|fleet| async move {
            fleet.proxy.stopped().await;
            fleet.listening.cancel();
        });
        futures_join(drains).await;
    }

    fn start(&self, name: &Arc<str>, spec: &FleetSpec) -> anyhow::Result<Running> {
        let shared = &self.shared;
        let files = shared.run_dir.files(name)?;
        let xds_socket: PathBuf = files.admin_socket.with_extension("xds");
        host::fits_socket(&xds_socket)?;
        let listening = CancellationToken::new();
        let serving = shared.server.serve_unix(&xds_socket, name, listening.clone().cancelled_owned())?;
        tokio::spawn(serving);
        let told = spec.host.as_deref().map(HostSettings::new).transpose()?.unwrap_or_default();
        let bootstrap = Bootstrap {
            node_id: name.to_string(),
            cluster: name.to_string(),
            zone: None,
            xds_socket,
            admin_socket: files.admin_socket.clone(),
            prometheus: None,
            metrics: told.metrics.clone(),
            heap_limit: None,
        };
        let bootstrap = told.bootstrap(bootstrap.to_json())?.to_string();
        let settings = &shared.settings;
        let mut proxy = ProxySpec::new(name, name, settings.envoy.path.clone(), bootstrap, files);
        // What stands on the command line is meant for this machine, and goes before what stands in manifests.
        proxy.log_level = settings.envoy_log_level.clone().or(told.log_level).unwrap_or(proxy.log_level);
        proxy.component_log_level = told.component_log_level.unwrap_or(proxy.component_log_level);
        proxy.concurrency = settings.concurrency.or(told.concurrency);
        proxy.drain.timeout = settings.drain.or(told.drain_timeout).unwrap_or(DRAIN);
        proxy.drain.minimum = told.min_drain.unwrap_or(proxy.drain.minimum);
        proxy.extra_args = told.extra_args;
        let proxy = Arc::new(Proxy::spawn(proxy)?);
        Ok(Running { proxy, listening, told: spec.host.clone() })
    }

    /// The state of every proxy, by fleet; in words why one could not be started.
    pub(crate) async fn states(&self) -> BTreeMap<Arc<str>, Result<State, String>> {
        let proxies = self.shared.proxies.lock().await;
        let running = proxies.running.iter();
        let states = running.map(|(name, fleet)| (name.clone(), Ok(fleet.proxy.state().borrow().clone())));
        states.chain(proxies.failed.iter().map(|(name, why)| (name.clone(), Err(why.clone())))).collect()
    }
}

/// Waits for a change; false when there will be none any more.
async fn changes(view: &mut watch::Receiver<View>) -> bool {
    view.changed().await.is_ok()
}

async fn futures_join(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut set: Vec<_> = futures.map(Box::pin).collect();
    for future in &mut set {
        future.await;
    }
}
