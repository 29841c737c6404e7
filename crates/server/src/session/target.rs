//! A new target: what it changes for this stream.

use std::sync::Arc;

use ir::resource::ResourceType;

use super::{Session, holders::Holders, types::Work};
use crate::feed::{Changes, Snapshot};

impl Session {
    /// Works towards `target` from now on. `changes` are those since the target before; more of them do no harm.
    pub fn set_target(&mut self, target: Arc<Snapshot>, changes: &Changes) {
        self.target = target;
        match changes {
            Changes::Names(groups) => {
                for (kind, name) in groups.iter().flat_map(|group| group.iter()) {
                    self.changed(*kind, name);
                }
            }
            Changes::All => {
                for kind in ResourceType::ALL {
                    self.compare_all(kind);
                }
            }
        }
    }

    /// Looks at every name that the proxy wants or has.
    pub(super) fn compare_all(&mut self, kind: ResourceType) {
        let state = self.state(kind);
        let mut names: Vec<Arc<str>> = state.served.keys().chain(&state.names).cloned().collect();
        if state.wildcard {
            names.extend(self.target.names(kind).cloned());
        }
        names.sort_unstable();
        names.dedup();
        for name in &names {
            self.changed(kind, name);
        }
    }

    /// The content of this name is not what it was, or may not be.
    pub(super) fn changed(&mut self, kind: ResourceType, name: &Arc<str>) {
        let state = self.state(kind);
        if !state.started || !(state.subscribed(name) || state.served.contains_key(name)) {
            return;
        }
        let current = self.target.get(kind, name).cloned();
        if kind == ResourceType::Cluster {
            match &current {
                Some(cluster) if !state.served.contains_key(name) || self.gates.is_cold(name) => {
                    self.gates.expect(cluster);
                }
                Some(_) => {}
                None => self.gates.drop_cluster(name),
            }
        }
        self.forget_refusals(kind, name);
        let tag = self.target.revision();
        let (state, tags) = self.split(kind);
        state.mark(name, Work { tag, forced: false }, tags);
    }

    /// A refusal holds for the content that was refused.
    fn forget_refusals(&mut self, kind: ResourceType, name: &Arc<str>) {
        let current = self.target.get(kind, name).cloned();
        let state = &mut self.types[super::types::index(kind)];
        if let Some(refused) = state.refused.get(name)
            && current.as_ref().is_none_or(|r| r.version != *refused)
        {
            state.refused.remove(name);
        }
        if Holders::holds(kind) && self.holders.get(kind, name).is_some_and(|h| !h.refused.is_empty()) {
            let fragments = current.as_ref().map(|r| &r.fragments);
            self.holders.entry(kind, name).refused.retain(|fragment, hash| {
                fragments
                    .and_then(|all| crate::feed::find_fragment(all, fragment))
                    .is_some_and(|f| f.hash == *hash)
            });
        }
    }
}
