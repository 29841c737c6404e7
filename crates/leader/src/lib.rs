//! What only the leader does: statuses, the infrastructure of proxies, finalizers and Events. All writes of the process.
//!
//! Every replica hands its wishes in, whether it leads or not; the latest are kept, so that a new leader starts from
//! them. A write is made when the wish differs from what is there, and while the Lease is held alone: the
//! [`lease`] ends a term before any other replica can begin one, and with it every call that is under way.
//!
//! - [`lease`]: who leads.
//! - [`StatusWriter`], [`FleetWriter`], [`ClassWriter`], [`EventWriter`]: wishes in, calls out; each has a queue by object where the
//!   latest wish wins and one call at a time is made.
//! - `gate`, `limit`, `call`: what every call passes through.
//!
//! **Invariant:** no decision about configuration is taken here; wishes come as they are to be written.

mod call;
mod chance;
mod class;
mod event;
mod gate;
mod infra;
pub mod lease;
mod limit;
mod metrics;
mod queue;
mod status;
#[cfg(feature = "testing")]
pub mod testing;
mod work;

use std::{future::Future, sync::Arc};

use ir::infra::DeployMode;
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use call::ApiServer;
pub use class::ClassWriter;
pub use event::{Event, EventWriter};
use gate::Gate;
pub use gate::Leadership;
pub use infra::{Fleet, FleetState, FleetWriter, Place};
use lease::{Timing, TimingError};
use limit::Limiter;
pub use limit::Rate;
pub use metrics::Metrics;
pub use status::{Live, StatusWriter};

/// Most statuses, and most classes, that are written at the same time. The API server handles some hundred mutating
/// requests at once; a tenth of a hundred leaves room for everybody else.
const STATUS_WORKERS: usize = 12;
/// Most fleets that are written at the same time; each makes one call after the other.
const FLEET_WORKERS: usize = 8;
/// Least time between two writes of one status, so that a storm of small changes becomes few writes.
const STATUS_GAP: Duration = Duration::from_millis(200);
/// Least time between two rounds of one fleet.
const FLEET_GAP: Duration = Duration::from_millis(200);
/// Least time between two writes of one class.
const CLASS_GAP: Duration = Duration::from_millis(200);
/// Least time between two writes of one Event.
const EVENT_GAP: Duration = Duration::from_secs(1);
/// Events that are written at the same time: they are never urgent, and statuses share the rate of calls.
const EVENT_WORKERS: usize = 1;
/// Longest that calls under way are waited for when the process ends; they have been told to end before.
const DRAIN: Duration = Duration::from_secs(2);

/// Who we are and how much we may do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the controller, where the Lease is, and in `ControllerNamespace` mode the proxies.
    pub namespace: String,
    /// Name of this process in the Lease; no other process may ever have it, not even the same Pod after a restart.
    pub identity: String,
    /// Our `controllerName`.
    pub controller: Arc<str>,
    /// Where proxies run.
    pub mode: DeployMode,
    /// Namespaces in which proxies may run in `GatewayNamespace` mode; empty means all.
    pub namespaces: Vec<String>,
    /// How the leader is elected; `None` (`leaderElection.disable`) means that this process always leads.
    pub election: Option<Timing>,
    /// How many calls may be made.
    pub rate: Rate,
    /// What of a live workload stands as well as what is wished.
    pub keep: Keep,
}

/// Puts into a wished document (the second one) what the live object has in another form of the same meaning, so that
/// Pods which run with it are not replaced; true when the document changed thereby.
pub type Keep = fn(&serde_json::Value, &mut serde_json::Value) -> bool;

/// Where wishes are handed in. Clones share; no method waits.
#[derive(Clone, Debug)]
pub struct Leader {
    statuses: StatusWriter,
    fleets: FleetWriter,
    classes: ClassWriter,
    events: EventWriter,
    gate: Arc<Gate>,
    metrics: Metrics,
    synced: CancellationToken,
}

/// The part that makes calls; see [`Task::run`].
#[derive(Debug)]
pub struct Task {
    leader: Leader,
    settings: Settings,
    client: ClientBox,
}

/// A client without a debug form of its own.
#[derive(Clone)]
struct ClientBox(kube::Client);

impl std::fmt::Debug for ClientBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Leader {
    /// Where wishes go, and the task that carries them out.
    ///
    /// The client should not repeat calls by itself (`kube::Config::default_retry = false`): a call that is repeated
    /// out of sight outlives its term.
    ///
    /// # Errors
    ///
    /// When the times of the election cannot work together.
    pub fn new(client: kube::Client, settings: Settings) -> Result<(Leader, Task), TimingError> {
        settings.election.map_or(Ok(()), |timing| timing.check())?;
        let gate = Arc::new(Gate::default());
        let metrics = Metrics::default();
        let limiter = Arc::new(Limiter::new(settings.rate));
        let api = ApiServer::new(client.clone(), gate.clone(), limiter);
        let leader = Leader {
            statuses: StatusWriter::new(api.clone(), settings.controller.clone(), metrics.clone()),
            fleets: FleetWriter::new(api.clone(), &settings, metrics.clone()),
            classes: ClassWriter::new(api.clone(), metrics.clone()),
            events: EventWriter::new(api, settings.controller.clone(), &settings.identity, metrics.clone()),
            gate,
            metrics,
            synced: CancellationToken::new(),
        };
        Ok((leader.clone(), Task { leader, settings, client: ClientBox(client) }))
    }

    /// Statuses.
    pub fn statuses(&self) -> StatusWriter {
        self.statuses.clone()
    }

    /// Infrastructure of proxies.
    pub fn fleets(&self) -> FleetWriter {
        self.fleets.clone()
    }

    /// Finalizers of classes.
    pub fn classes(&self) -> ClassWriter {
        self.classes.clone()
    }

    /// Events on objects.
    pub fn events(&self) -> EventWriter {
        self.events.clone()
    }

    /// Says that the wishes that follow from the first complete view of the cluster have been handed in. Nothing is
    /// written before, and no Lease asked for: what is missing would be taken for not wished.
    pub fn synced(&self) {
        self.synced.cancel();
    }

    /// Who leads, as far as this process knows.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.gate.leadership()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

impl Task {
    /// Takes part in the election and writes while this process leads, until `stop`; then ends all calls and gives the
    /// Lease back, so that another replica leads at once.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        let Task { leader, settings, client } = self;
        let ended = CancellationToken::new();
        tokio::pin!(stop);
        tokio::select! {
            () = &mut stop => return,
            () = leader.synced.cancelled() => {}
        }
        let mut writers = tokio::task::JoinSet::new();
        writers.spawn(work::run(leader.statuses.work(), leader.gate.clone(), ended.clone(), STATUS_WORKERS));
        writers.spawn(work::run(leader.fleets.work(), leader.gate.clone(), ended.clone(), FLEET_WORKERS));
        writers.spawn(work::run(leader.classes.work(), leader.gate.clone(), ended.clone(), STATUS_WORKERS));
        writers.spawn(work::run(leader.events.work(), leader.gate.clone(), ended.clone(), EVENT_WORKERS));
        let election = async {
            match settings.election {
                Some(timing) => {
                    let place = lease::Place { namespace: settings.namespace, identity: settings.identity };
                    lease::elect(client.0, place, timing, &leader.gate, &leader.metrics, &ended).await;
                }
                None => {
                    leader.gate.begin(None);
                    leader.metrics.leading(true);
                    ended.cancelled().await;
                    leader.gate.end(None);
                    let _ = tokio::time::timeout(DRAIN, leader.gate.drained()).await;
                }
            }
        };
        tokio::pin!(election);
        tokio::select! {
            () = &mut stop => {}
            () = &mut election => {}
        }
        ended.cancel();
        election.await;
        writers.shutdown().await;
    }
}

/// A moment on the clock of this process: time since its first use.
pub(crate) type Moment = Duration;

/// The clock of the queues and limits: time since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Clock(Instant::now())
    }

    pub(crate) fn now(self) -> Moment {
        self.0.elapsed()
    }

    pub(crate) fn instant(self, moment: Moment) -> Instant {
        self.0 + moment
    }
}
