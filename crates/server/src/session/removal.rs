//! Removals: last, and only what nothing needs any more.

use std::{sync::Arc, time::Instant};

use ir::resource::ResourceType;

use super::{
    Outgoing, Session,
    batch::{Batch, MAX_NAMES},
};

/// What uses something goes before what it uses.
pub(super) const ORDER: [ResourceType; 5] = [
    ResourceType::Listener,
    ResourceType::Route,
    ResourceType::Cluster,
    ResourceType::Endpoints,
    ResourceType::Secret,
];

impl Session {
    /// The next response that takes away resources of this type.
    pub(super) fn next_removal(&mut self, kind: ResourceType, now: Instant) -> Option<Outgoing> {
        if self.state(kind).removals.is_empty() || self.removals_allowed_at().is_some_and(|at| now < at) {
            return None;
        }
        let ready: Vec<(Arc<str>, u64)> = self
            .state(kind)
            .removals
            .iter()
            .filter(|(name, tag)| self.may_remove(kind, name, **tag))
            .take(MAX_NAMES)
            .map(|(name, tag)| (Arc::clone(name), *tag))
            .collect();
        if ready.is_empty() {
            return None;
        }
        let mut batch = Batch::new(kind);
        for (name, tag) in ready {
            let state = self.split(kind).0;
            state.removals.remove(&name);
            batch.remove(state.removal(name, tag));
        }
        Some(self.send(batch, now))
    }

    /// Listeners that go are in the same message as those that come: Envoy removes first, so that a new listener can
    /// have the address of one that goes, and takes over its socket.
    pub(super) fn take_listener_removals(&mut self, batch: &mut Batch) {
        let state = self.split(ResourceType::Listener).0;
        for (name, tag) in std::mem::take(&mut state.removals) {
            batch.remove(state.removal(name, tag));
        }
    }

    /// A proxy that connects again says which clusters it has before it says which routes: nothing is taken away
    /// before it had time to say all.
    pub(super) fn removals_allowed_at(&self) -> Option<Instant> {
        let asked = [ResourceType::Listener, ResourceType::Route].iter().all(|k| self.state(*k).started);
        if asked || self.types.iter().all(|t| t.removals.is_empty()) {
            return None;
        }
        Some(self.started + self.settings.gate)
    }

    fn may_remove(&self, kind: ResourceType, name: &str, tag: u64) -> bool {
        let done = |kind| !self.state(kind).unfinished(tag);
        match kind {
            // New routes are in force before old ones go.
            ResourceType::Listener => done(ResourceType::Listener) && done(ResourceType::Route),
            ResourceType::Route => done(ResourceType::Listener),
            // A body that is in force, or may come into force, still names it.
            ResourceType::Cluster => !self.holders.names_cluster(name),
            ResourceType::Endpoints | ResourceType::Secret => {
                done(ResourceType::Listener)
                    && self.state(ResourceType::Cluster).removals.values().all(|t| *t > tag)
            }
        }
    }
}
