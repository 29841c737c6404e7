//! A new target: what it changes for this stream.

use std::sync::Arc;

use ir::resource::ResourceType;

use super::{Session, decide::Effective, holders::Holders, types::Work};
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
        self.forget_refusals(kind, name);
        if kind == ResourceType::Cluster {
            self.expect_cluster(name);
        }
        let tag = self.target.revision();
        let (state, tags) = self.split(kind);
        state.mark(name, Work { tag, forced: false }, tags);
    }

    /// A cluster that the proxy does not have is waited for, if it will be sent.
    fn expect_cluster(&mut self, name: &Arc<str>) {
        let has = self.state(ResourceType::Cluster).served.contains_key(name);
        match self.effective(ResourceType::Cluster, name) {
            Effective::Serve(cluster) if !has || self.gates.is_cold(name) => {
                let served = &self.state(ResourceType::Secret).served;
                let has = |name: &Arc<str>| served.get(name).is_some_and(|served| served.acked.is_some());
                let missing = cluster.secrets.iter().filter(|name| !has(name)).cloned().collect();
                self.gates.expect(&cluster, missing);
            }
            Effective::Serve(_) => {}
            Effective::Keep => {
                let opened = self.gates.give_up(name);
                self.opened(opened.into_iter().collect());
            }
            Effective::Absent => {
                self.gates.drop_cluster(name);
                self.look_at_drained();
            }
        }
    }

    /// A cluster is gone: route configurations that the proxy drains may name it.
    fn look_at_drained(&mut self) {
        let tag = self.target.revision();
        let (state, tags) = (&mut self.types[super::types::index(ResourceType::Route)], &mut self.tags);
        for name in &self.draining {
            state.mark(name, Work { tag, forced: false }, tags);
        }
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
