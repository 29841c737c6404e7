//! The resources of one fleet of proxies: current snapshot, what changed lately, what proxies have proved.

mod feeds;
mod log;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ir::resource::{Delivery, Resource, ResourceType, ResourceUpdate, Version};
use prometheus_client::metrics::gauge::Gauge;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{mpsc, oneshot, watch};

pub use feeds::{FeedStatus, Feeds};
pub use log::Changes;
use log::Log;
pub(crate) use snapshot::find_fragment;
pub use snapshot::{HeldFragment, HeldResource, Key, Quarantine, Snapshot};

use crate::{
    debug::StreamDebug,
    delivery::{Deliveries, DeliveryReport},
    session::{Event, Refusal},
};

/// Where a feed is in its life; streams watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was applied yet. Streams answer nothing: an empty answer would take away what proxies have.
    Waiting,
    /// There is a snapshot of this generation.
    Live(u64),
    /// The fleet is gone; streams end.
    Removed,
}

/// One connected stream, as its feed knows it.
pub(crate) struct Follower {
    /// All revisions up to this are in force at the proxy.
    pub(crate) acked: Option<u64>,
    /// Asks the stream's task for its state.
    pub(crate) inspect: mpsc::Sender<oneshot::Sender<StreamDebug>>,
}

#[derive(Default)]
struct State {
    snapshot: Arc<Snapshot>,
    log: Log,
    /// Resources whose current version no proxy accepted yet, with the last version that one did accept. Endpoints
    /// are left out: Envoy refuses them never in practice, and they change most.
    unproven: FxHashMap<Key, Option<Arc<Resource>>>,
    /// Refusals that the machine of a proxy caused; the next acceptance ends them.
    transient: FxHashSet<Key>,
    followers: BTreeMap<u64, Follower>,
}

/// The resources of one fleet.
pub(crate) struct Feed {
    pub(crate) key: Arc<str>,
    quarantine: bool,
    /// How much all fleets have in quarantine.
    quarantined: Gauge,
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
    progress: watch::Sender<u64>,
    deliveries: Deliveries,
}

impl Feed {
    pub(crate) fn new(key: Arc<str>, quarantine: bool, quarantined: Gauge, deliveries: Deliveries) -> Self {
        Feed {
            key,
            quarantine,
            quarantined,
            state: Mutex::default(),
            phase: watch::Sender::new(Phase::Waiting),
            progress: watch::Sender::new(0),
            deliveries,
        }
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// A counter that rises when a stream comes, goes or has more in force.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.lock().snapshot)
    }

    /// Listeners and routes that a proxy accepted before their current versions, which none has accepted yet.
    pub(crate) fn accepted_before(&self) -> Vec<Arc<Resource>> {
        let state = self.lock();
        let held = |kind| matches!(kind, ResourceType::Listener | ResourceType::Route);
        state
            .unproven
            .iter()
            .filter(|((kind, _), _)| held(*kind))
            .filter_map(|(_, good)| good.clone())
            .collect()
    }

    /// The snapshot and what changed in it since `generation`.
    pub(crate) fn latest(&self, generation: u64) -> (Arc<Snapshot>, Changes) {
        let state = self.lock();
        (Arc::clone(&state.snapshot), state.log.since(generation))
    }

    /// Puts a commit in force.
    pub(crate) fn apply(&self, revision: u64, update: ResourceUpdate) {
        let mut state = self.lock();
        let mut next = Snapshot::clone(&state.snapshot);
        next.revision = next.revision.max(revision);
        let mut changed: Vec<Key> = Vec::with_capacity(update.changed.len() + update.removed.len());
        for resource in update.changed {
            let before = next.get(resource.kind, &resource.name).cloned();
            let key = next.key_of(&resource);
            if before.as_ref().is_some_and(|b| b.version == resource.version) {
                continue;
            }
            state.doubt(&key, before);
            self.settle(&mut next, &key, Some(&resource));
            next.insert(&key, resource);
            changed.push(key);
        }
        for key in update.removed {
            if next.remove(key.0, &key.1) {
                state.unproven.remove(&key);
                state.transient.remove(&key);
                self.settle(&mut next, &key, None);
                changed.push(key);
            }
        }
        self.publish(state, next, changed);
    }

    /// Makes a snapshot current and wakes the streams.
    fn publish(&self, mut state: MutexGuard<'_, State>, mut next: Snapshot, changed: Vec<Key>) {
        next.generation += 1;
        let generation = next.generation;
        state.log.push(generation, changed);
        let before = std::mem::replace(&mut state.snapshot, Arc::new(next));
        self.quarantined.inc_by(held(&state.snapshot) - held(&before));
        drop(state);
        self.phase.send_replace(Phase::Live(generation));
    }

    /// Lifts quarantine and reports that spoke of older content.
    fn settle(&self, next: &mut Snapshot, key: &Key, now: Option<&Resource>) {
        if !next.quarantine.is_empty() {
            Arc::make_mut(&mut next.quarantine).lift(key, now);
        }
        self.deliveries.retain(&self.key, key.0, &key.1, |report| match (&report.fragment, now) {
            (_, None) => false,
            (None, Some(resource)) => report.version == resource.version,
            (Some(name), Some(resource)) => {
                find_fragment(&resource.fragments, name).is_some_and(|f| f.hash == report.version.0)
            }
        });
    }

    /// Takes in what a stream learned from its proxy.
    pub(crate) fn learn(&self, events: &[Event]) {
        let mut state = self.lock();
        let mut next: Option<Snapshot> = None;
        let mut changed: Vec<Key> = Vec::new();
        for event in events {
            match event {
                Event::Acked { kind, entries, .. } => {
                    for (name, version) in entries {
                        if self.accepted(&mut state, &mut next, *kind, name, *version) {
                            changed.push((*kind, Arc::clone(name)));
                        }
                    }
                }
                Event::Refused(refusal) => {
                    if !state.is_current(refusal) {
                        continue;
                    }
                    self.report_refusal(refusal);
                    if refusal.transient {
                        state.transient.insert((refusal.kind, Arc::clone(&refusal.name)));
                    } else if self.quarantine && state.hold(&mut next, refusal) {
                        changed.push((refusal.kind, Arc::clone(&refusal.name)));
                    }
                }
                _ => {}
            }
        }
        if let (Some(next), false) = (next, changed.is_empty()) {
            self.publish(state, next, changed);
        }
    }

    /// Notes that a proxy runs this version. True when that lifts a quarantine.
    fn accepted(
        &self,
        state: &mut State,
        next: &mut Option<Snapshot>,
        kind: ResourceType,
        name: &Arc<str>,
        version: Version,
    ) -> bool {
        let Some(resource) = state.snapshot.get(kind, name).filter(|r| r.version == version).cloned() else {
            return false;
        };
        let key = (kind, Arc::clone(name));
        state.unproven.remove(&key);
        let over = state.transient.remove(&key);
        if matches!(kind, ResourceType::Listener | ResourceType::Route)
            && (over || !self.deliveries.refused(&self.key, kind, name))
        {
            self.deliveries.put(DeliveryReport {
                feed: Arc::clone(&self.key),
                kind,
                name: Arc::clone(name),
                fragment: None,
                version,
                delivery: Delivery::Accepted,
                owners: resource.owners.clone(),
            });
        }
        let held = next.as_ref().unwrap_or(&state.snapshot).quarantine.resource(kind, name).is_some();
        if held {
            let next = next.get_or_insert_with(|| Snapshot::clone(&state.snapshot));
            Arc::make_mut(&mut next.quarantine).lift(&key, None);
        }
        held
    }

    fn report_refusal(&self, refusal: &Refusal) {
        self.deliveries.put(DeliveryReport {
            feed: Arc::clone(&self.key),
            kind: refusal.kind,
            name: Arc::clone(&refusal.name),
            fragment: refusal.fragment.clone(),
            version: refusal.version,
            delivery: Delivery::Rejected { message: Arc::clone(&refusal.message) },
            owners: refusal.owners.clone(),
        });
    }

    /// Ends all streams; the feed is not used again.
    pub(crate) fn end(&self) {
        self.phase.send_replace(Phase::Removed);
        self.quarantined.dec_by(held(&self.lock().snapshot));
        self.deliveries.forget(&self.key);
        self.bump();
    }

    pub(crate) fn join(&self, id: u64, follower: Follower) {
        self.lock().followers.insert(id, follower);
        self.bump();
    }

    pub(crate) fn leave(&self, id: u64) {
        self.lock().followers.remove(&id);
        self.bump();
    }

    /// Notes that the proxy of this stream has all revisions up to `acked` in force.
    pub(crate) fn advance(&self, id: u64, acked: u64) {
        if let Some(follower) = self.lock().followers.get_mut(&id) {
            // Work for an older revision may come up again when the proxy asks again; it was in force all the same.
            follower.acked = follower.acked.max(Some(acked));
        }
        self.bump();
    }

    pub(crate) fn inspectors(&self) -> Vec<mpsc::Sender<oneshot::Sender<StreamDebug>>> {
        self.lock().followers.values().map(|f| f.inspect.clone()).collect()
    }

    pub(crate) fn status(&self) -> FeedStatus {
        let state = self.lock();
        FeedStatus {
            revision: state.snapshot.revision,
            streams: state.followers.len(),
            acked: state.followers.values().filter_map(|f| f.acked).max(),
            acked_by_all: state.followers.values().map(|f| f.acked).min().flatten(),
            quarantined: state.snapshot.quarantine.len(),
        }
    }

    fn bump(&self) {
        self.progress.send_modify(|n| *n += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A new version is unproven; what a proxy accepted before it is kept until one accepts it.
    fn doubt(&mut self, key: &Key, before: Option<Arc<Resource>>) {
        if key.0 != ResourceType::Endpoints {
            self.unproven.entry(key.clone()).or_insert(before);
        }
    }

    /// True when the refusal speaks of content that is still in the snapshot.
    fn is_current(&self, refusal: &Refusal) -> bool {
        self.snapshot.get(refusal.kind, &refusal.name).is_some_and(|current| match &refusal.fragment {
            None => current.version == refusal.version,
            Some(name) => {
                find_fragment(&current.fragments, name).is_some_and(|f| f.hash == refusal.version.0)
            }
        })
    }

    /// Quarantines what no proxy accepted. True when that is new.
    fn hold(&self, next: &mut Option<Snapshot>, refusal: &Refusal) -> bool {
        let key = (refusal.kind, Arc::clone(&refusal.name));
        let Some(good) = self.unproven.get(&key) else { return false };
        let known = &next.as_ref().unwrap_or(&self.snapshot).quarantine;
        if known.holds(&key, refusal.fragment.as_ref(), refusal.version) {
            return false;
        }
        let next = next.get_or_insert_with(|| Snapshot::clone(&self.snapshot));
        let quarantine = Arc::make_mut(&mut next.quarantine);
        match &refusal.fragment {
            None => {
                let held = HeldResource { version: refusal.version, good: good.clone() };
                quarantine.resources.insert(key, held);
            }
            Some(name) => {
                let good = refusal
                    .good
                    .clone()
                    .or_else(|| good.as_ref().and_then(|r| find_fragment(&r.fragments, name)).cloned());
                let held = HeldFragment { hash: refusal.version.0, good };
                quarantine.fragments.entry(key.1).or_default().insert(Arc::clone(name), held);
            }
        }
        true
    }
}

/// How much is in quarantine, as a gauge counts.
fn held(snapshot: &Snapshot) -> i64 {
    i64::try_from(snapshot.quarantine.len()).unwrap_or(i64::MAX)
}
