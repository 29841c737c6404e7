//! The part that talks to the API server: it watches, and writes if it leads. It is started anew when its settings
//! change, while proxies keep what they have.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ::ir::{Problem, Severity, status::Status};
use anyhow::Context;
use leader::Leader;
use pipeline::Pipeline;
use prometheus_client::registry::Registry;
use provider::kubernetes::{self, Observed, Progress, Watch};
use server::{Feeds, Pods, ProxyPod};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    ledger::Ledger,
    plan::{ClusterPlan, Plan},
    publish::{Publisher, Target},
    reload,
    tasks::Tasks,
};
use crate::{
    bootstraps::Bootstraps,
    control::{Change, Control},
    watchdog::Watchdog,
};

/// Least time between two looks at what proxies and cluster say: a rollout is some dozens of events.
const REST: Duration = Duration::from_millis(50);

/// What is known of the cluster, for the ports that people and probes look at. Clones share.
#[derive(Clone)]
pub(crate) struct Cluster {
    publisher: Publisher,
    bootstraps: Bootstraps,
    watchdog: Watchdog,
    shared: Arc<Mutex<Shared>>,
    /// Completes when the first commit is published.
    synced: CancellationToken,
    /// Completes when the process shall end.
    stopping: CancellationToken,
    /// Which Pod is whose.
    pods: Pods,
    reloads: reload::Metrics,
}

#[derive(Default)]
struct Shared {
    progress: Option<watch::Receiver<Progress>>,
    watch: Option<kubernetes::Metrics>,
    leader: Option<leader::Metrics>,
}

impl Cluster {
    /// Nothing is known yet.
    pub(crate) fn new(
        publisher: Publisher,
        bootstraps: Bootstraps,
        watchdog: Watchdog,
        stopping: CancellationToken,
    ) -> Cluster {
        Cluster {
            publisher,
            bootstraps,
            watchdog,
            shared: Arc::default(),
            synced: CancellationToken::new(),
            stopping,
            pods: Pods::default(),
            reloads: reload::Metrics::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Each member is replaced as a whole.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when the first commit is published.
    pub(crate) fn synced(&self) -> CancellationToken {
        self.synced.clone()
    }

    /// Which Pod is whose.
    pub(crate) fn pods(&self) -> Pods {
        self.pods.clone()
    }

    /// Counts of configurations that were applied and refused.
    pub(crate) fn reloads(&self) -> &reload::Metrics {
        &self.reloads
    }

    /// Every status as it is published.
    pub(crate) async fn statuses(&self, control: &Control) -> Vec<Status> {
        let publisher = self.publisher.clone();
        control.query(move |pipeline| publisher.statuses(pipeline)).await.unwrap_or_default()
    }

    /// What Envoy has against bootstraps of fleets.
    pub(crate) fn refused_bootstraps(&self, pipeline: &Pipeline) -> Vec<Problem> {
        self.publisher.refused_bootstraps(pipeline)
    }

    /// Ready once the first commit is published, until the process is told to end. An API server that does not answer
    /// later on changes nothing: proxies are served all the same.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.stopping.is_cancelled() {
            return Err("stopping".to_owned());
        }
        if self.synced.is_cancelled() {
            return Ok(());
        }
        let progress = self.lock().progress.as_ref().map(|progress| progress.borrow().clone());
        let waiting = progress.map(|progress| progress.waiting.join("; ")).unwrap_or_default();
        Err(format!("the cluster's objects are not read yet: {waiting}"))
    }

    /// Registers what the watch, the leader and reloads count.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let shared = self.lock();
        if let Some(watch) = &shared.watch {
            watch.register(registry);
        }
        if let Some(leader) = &shared.leader {
            leader.register(registry);
        }
        self.reloads.register(registry);
    }

    /// Starts watching and, once this replica leads, writing. Also returns what is observed of the infrastructure.
    pub(crate) async fn start(
        &self,
        plan: &Plan,
        kubeconfig: Option<&Path>,
        ca: Option<Arc<str>>,
        control: &Control,
        feeds: &Feeds,
    ) -> anyhow::Result<(Tasks, watch::Receiver<Observed>)> {
        let mut tasks = Tasks::default();
        let (leader, task) = leader(&plan.cluster, kubeconfig).await?;
        let stop = tasks.stop_token();
        tasks.spawn("leader", async move { task.run(stop.cancelled()).await });

        let client = kubernetes::connect(kubeconfig).await?;
        let mut options = kubernetes::Options::new(&plan.cluster.namespace, store::references);
        options.scope = plan.cluster.scope.clone();
        options.mode = plan.cluster.mode;
        options.witness = Some(Arc::new(Ledger(leader.clone())));
        let watch = kubernetes::watch(client, options);
        {
            let mut shared = self.lock();
            shared.progress = Some(watch.progress.clone());
            shared.watch = Some(watch.metrics.clone());
            shared.leader = Some(leader.metrics().clone());
        }
        let observed = watch.observed.clone();
        let flow = Flow {
            cluster: self.clone(),
            control: control.clone(),
            feeds: feeds.clone(),
            leader,
            settings: plan.settings.clone(),
            ca,
        };
        let stop = tasks.stop_token();
        tasks.spawn("watch", async move {
            tokio::select! {
                () = flow.run(watch) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok((tasks, observed))
    }
}

async fn leader(plan: &ClusterPlan, kubeconfig: Option<&Path>) -> anyhow::Result<(Leader, leader::Task)> {
    let settings = leader::Settings {
        namespace: plan.namespace.to_string(),
        identity: identity(),
        controller: plan.controller.clone(),
        mode: plan.mode,
        namespaces: plan.namespaces(),
        election: plan.election,
        rate: plan.rate,
        keep: infra::keep,
    };
    // A client of its own: writes do not wait behind watches for a connection.
    let client = kubernetes::connect(kubeconfig).await?;
    Leader::new(client, settings).context("provider.kubernetes.leaderElection")
}

/// Name of this process in the Lease: the Pod's, with something that no other process of the Pod ever had.
fn identity() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let pod = variable("POD_NAME").or_else(|| variable("HOSTNAME")).or_else(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        Some(name.trim().to_owned())
    });
    let random = RandomState::new().hash_one((std::process::id(), std::time::SystemTime::now()));
    format!("{}_{random:016x}", pod.unwrap_or_else(|| "ferrogate".to_owned()))
}

/// From the watch to the pipeline, and from the data plane to the statuses.
struct Flow {
    cluster: Cluster,
    control: Control,
    feeds: Feeds,
    leader: Leader,
    settings: pipeline::Settings,
    ca: Option<Arc<str>>,
}

impl Flow {
    async fn run(self, watch: Watch) {
        let Watch { mut updates, mut observed, mut progress, .. } = watch;
        let Some(first) = updates.next().await else { return };
        // What is observed is there by then: without it every Gateway would lose its address for a moment.
        if progress.wait_for(|progress| progress.synced).await.is_err() {
            return;
        }
        let mut known = Vec::new();
        say(&first.problems, &mut known);
        let seen = observed.borrow_and_update().clone();
        self.note_pods(&seen);
        let publisher = &self.cluster.publisher;
        publisher.aim(Target { leader: self.leader.clone(), observed: seen, ca: self.ca.clone() });
        let settings = Some(self.settings.clone());
        self.control.change(Change { update: Some(first), complete: true, settings }).await;
        self.leader.synced();
        self.cluster.synced.cancel();

        let publisher = publisher.clone();
        let more = move |pipeline: &Pipeline| publisher.refused_bootstraps(pipeline);
        let objects = async {
            while let Some(update) = updates.next().await {
                say(&update.problems, &mut known);
                self.control.update(update).await;
            }
        };
        tokio::select! {
            () = objects => {}
            () = self.follow(observed) => {}
            () = self.cluster.watchdog.run(&self.control, Some(self.leader.events()), more) => {}
        }
    }

    /// Draws conclusions whenever the cluster or a proxy says something new.
    async fn follow(&self, mut observed: watch::Receiver<Observed>) {
        let mut deliveries = self.feeds.deliveries().subscribe();
        let mut fleets = self.leader.fleets().changes();
        let mut commits = self.control.view();
        let mut answers = self.cluster.bootstraps.answers();
        loop {
            let seen = observed.borrow_and_update().clone();
            deliveries.mark_unchanged();
            fleets.mark_unchanged();
            commits.mark_unchanged();
            answers.mark_unchanged();
            self.note_pods(&seen);
            let publisher = self.cluster.publisher.clone();
            publisher.observe(seen);
            let Some(deadline) = self.control.query(move |pipeline| publisher.refresh(pipeline)).await else {
                return;
            };
            let due = async {
                match deadline {
                    Some(at) => tokio::time::sleep(at.saturating_duration_since(Instant::now())).await,
                    None => std::future::pending().await,
                }
            };
            let gone = tokio::select! {
                changed = observed.changed() => changed.is_err(),
                changed = deliveries.changed() => changed.is_err(),
                changed = fleets.changed() => changed.is_err(),
                changed = commits.changed() => changed.is_err(),
                changed = answers.changed() => changed.is_err(),
                () = due => false,
            };
            if gone {
                return;
            }
            tokio::time::sleep(REST).await;
        }
    }

    fn note_pods(&self, observed: &Observed) {
        let pods = observed.pods.iter().flat_map(|pods| pods.values());
        self.cluster.pods.replace(pods.map(|pod| ProxyPod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            addresses: pod.ips.clone(),
            fleet: pod.fleet.clone(),
        }));
    }
}

/// Logs problems that were not known before.
fn say(problems: &[Problem], known: &mut Vec<Problem>) {
    for problem in problems.iter().filter(|problem| !known.contains(problem)) {
        match problem.severity {
            Severity::Warning => tracing::warn!("{problem}"),
            _ => tracing::error!("{problem}"),
        }
    }
    known.clear();
    known.extend_from_slice(problems);
}
