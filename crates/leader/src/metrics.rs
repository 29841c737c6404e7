//! Counters of the leader, under the names of Envoy Gateway's dashboards where these have one.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::call::Failure;

/// A write of a status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabels {
    /// Kind of the object.
    kind: &'static str,
    /// `success` or `failure`.
    status: &'static str,
    /// Why it failed, such as `conflict`; empty for a success.
    reason: &'static str,
}

/// A kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// Kind of the object.
    kind: &'static str,
}

/// A write of an object of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ObjectLabels {
    /// Kind of the object.
    kind: String,
    /// Its name.
    name: String,
    /// Its namespace.
    namespace: String,
    /// `success` or `failure`.
    status: &'static str,
    /// Why it failed, such as `forbidden`; empty for a success.
    reason: &'static str,
}

/// A write of an Event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EventLabels {
    /// `success` or `failure`.
    status: &'static str,
    /// Why it failed, such as `forbidden`; empty for a success.
    reason: &'static str,
}

/// A queue of wishes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabel {
    /// `status`, `infrastructure`, `class` or `event`.
    queue: &'static str,
}

/// What the leader counts. Clones share.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Writes of statuses.
    pub status_updates: Family<StatusLabels, Counter>,
    /// Seconds that a write of a status took.
    pub status_update_duration: Family<KindLabel, Histogram>,
    /// Statuses that were compared and found as wished.
    pub statuses_unchanged: Counter,
    /// Applied objects of fleets.
    pub applies: Family<ObjectLabels, Counter>,
    /// Deleted objects of fleets.
    pub deletes: Family<ObjectLabels, Counter>,
    /// Changed finalizers of classes.
    pub finalizers: Family<StatusLabels, Counter>,
    /// Events on objects.
    pub events: Family<EventLabels, Counter>,
    /// Wishes that wait.
    pub depth: Family<QueueLabel, Gauge>,
    /// 1 while this process leads.
    pub leader: Gauge,
}

/// 5 ms to 10 s, doubling: below is noise, above the call is given up.
fn seconds() -> Histogram {
    Histogram::new((0..12).map(|n| 0.005 * f64::from(1_u32 << n)))
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            status_updates: Family::default(),
            status_update_duration: Family::new_with_constructor(seconds),
            statuses_unchanged: Counter::default(),
            applies: Family::default(),
            deletes: Family::default(),
            finalizers: Family::default(),
            events: Family::default(),
            depth: Family::default(),
            leader: Gauge::default(),
        }
    }
}

fn outcome<T>(result: &Result<T, Failure>) -> (&'static str, &'static str) {
    match result {
        Ok(_) => ("success", ""),
        Err(failure) => ("failure", failure.word()),
    }
}

impl Metrics {
    /// Registers all of them; counters get the suffix `_total` where they are shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("status_update", "Writes of statuses", self.status_updates.clone());
        registry.register(
            "status_update_duration_seconds",
            "Time that a write of a status took",
            self.status_update_duration.clone(),
        );
        registry.register(
            "status_unchanged",
            "Statuses that were compared and found as wished",
            self.statuses_unchanged.clone(),
        );
        registry.register("resource_apply", "Applied objects of proxies", self.applies.clone());
        registry.register("resource_delete", "Deleted objects of proxies", self.deletes.clone());
        registry.register("finalizer_update", "Changed finalizers of classes", self.finalizers.clone());
        registry.register("event_create", "Events on objects about findings", self.events.clone());
        registry.register("leader_queue_depth", "Wishes that wait to be written", self.depth.clone());
        registry.register("leader_election_master_status", "Whether this process leads", self.leader.clone());
    }

    pub(crate) fn status<T>(&self, kind: &'static str, result: &Result<T, Failure>, took: Duration) {
        let (status, reason) = outcome(result);
        self.status_updates.get_or_create(&StatusLabels { kind, status, reason }).inc();
        self.status_update_duration.get_or_create(&KindLabel { kind }).observe(took.as_secs_f64());
    }

    pub(crate) fn finalizer<T>(&self, result: &Result<T, Failure>) {
        let (status, reason) = outcome(result);
        self.finalizers.get_or_create(&StatusLabels { kind: "GatewayClass", status, reason }).inc();
    }

    pub(crate) fn event<T>(&self, result: &Result<T, Failure>) {
        let (status, reason) = outcome(result);
        self.events.get_or_create(&EventLabels { status, reason }).inc();
    }

    pub(crate) fn applied<T>(&self, kind: &str, namespace: &str, name: &str, result: &Result<T, Failure>) {
        self.applies.get_or_create(&object(kind, namespace, name, result)).inc();
    }

    pub(crate) fn deleted<T>(&self, kind: &str, namespace: &str, name: &str, result: &Result<T, Failure>) {
        self.deletes.get_or_create(&object(kind, namespace, name, result)).inc();
    }

    pub(crate) fn waiting(&self, queue: &'static str, depth: usize) {
        self.depth.get_or_create(&QueueLabel { queue }).set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    pub(crate) fn leading(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}

fn object<T>(kind: &str, namespace: &str, name: &str, result: &Result<T, Failure>) -> ObjectLabels {
    let (status, reason) = outcome(result);
    ObjectLabels {
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        status,
        reason,
    }
}
