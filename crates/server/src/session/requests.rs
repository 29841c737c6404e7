//! Requests of the proxy: subscriptions, what it has from before, answers.

use std::{sync::Arc, time::Instant};

use envoy_api::discovery::DeltaDiscoveryRequest;
use ir::resource::{Resource, ResourceType, Version};

use super::{
    Event, Outgoing, Session, Violation,
    decide::Effective,
    holders::Holders,
    types::{FOREIGN, Sent, Served, Work},
};

/// Types that are not served and yet answered, per stream. More than a handful is a broken client.
const MAX_UNKNOWN_TYPES: usize = 16;

/// A type that is not served: the answer says that nothing of it exists.
#[derive(Debug)]
pub(super) struct UnknownType {
    url: Arc<str>,
    names: Vec<String>,
}

impl Session {
    /// Takes in a request. Subscriptions count even when the nonce is stale: the nonce speaks of the answer alone.
    ///
    /// # Errors
    /// When the stream must end because the proxy asks for too much.
    pub fn request(&mut self, request: DeltaDiscoveryRequest, now: Instant) -> Result<(), Violation> {
        let Some(kind) = ResourceType::from_type_url(&request.type_url) else {
            self.unknown_type(request);
            return Ok(());
        };
        if !request.response_nonce.is_empty()
            && let Some(sent) = self.split(kind).0.answered(&request.response_nonce)
        {
            match &request.error_detail {
                Some(error) => self.nack(kind, sent, &error.message, now),
                None => self.ack(kind, &sent, now),
            }
        }
        let first = !std::mem::replace(&mut self.split(kind).0.started, true);
        let names = request.resource_names_subscribe.len() + request.initial_resource_versions.len();
        let limit = self.settings.max_names;
        if names + self.state(kind).names.len() > limit {
            return Err(Violation::TooManyNames { limit });
        }
        if first {
            let wildcard = request.resource_names_subscribe.is_empty();
            self.begin(kind, request.initial_resource_versions, wildcard);
        }
        self.subscribe(kind, request.resource_names_subscribe, first);
        self.unsubscribe(kind, request.resource_names_unsubscribe);
        Ok(())
    }

    /// The first request of a type: what the proxy has, and whether it wants everything.
    fn begin(
        &mut self,
        kind: ResourceType,
        versions: impl IntoIterator<Item = (String, String)>,
        no_names: bool,
    ) {
        for (name, version) in versions {
            let name: Arc<str> = name.into();
            let version = u64::from_str_radix(&version, 16).map_or(FOREIGN, Version);
            let served = Served { sent: Some(version), acked: Some(version) };
            self.split(kind).0.served.insert(Arc::clone(&name), served);
            if Holders::holds(kind) {
                let is_it = |r: &&Arc<Resource>| r.kind == kind && r.name == name && r.version == version;
                let known = match self.effective(kind, &name) {
                    Effective::Serve(resource) if resource.version == version => Some(resource),
                    _ => self.accepted_before.iter().find(is_it).cloned(),
                };
                self.holders.claim(kind, &name, known);
            }
        }
        if self.state(ResourceType::Listener).started && self.state(ResourceType::Route).started {
            self.accepted_before = Vec::new();
        }
        if no_names && has_wildcard(kind) {
            let state = self.split(kind).0;
            (state.wildcard, state.legacy) = (true, true);
            state.owes_answer = state.served.is_empty();
            self.compare_all(kind);
        }
    }

    fn subscribe(&mut self, kind: ResourceType, names: Vec<String>, first: bool) {
        if names.is_empty() {
            return;
        }
        let all = has_wildcard(kind) && names.iter().any(|name| name == "*");
        if std::mem::take(&mut self.split(kind).0.legacy) && !all {
            self.end_wildcard(kind);
        }
        if all {
            let state = self.split(kind).0;
            state.owes_answer = !first || state.served.is_empty();
            state.wildcard = true;
            self.compare_all(kind);
        }
        let tag = self.target.revision();
        for name in names {
            if name == "*" {
                continue;
            }
            let name: Arc<str> = name.into();
            self.split(kind).0.names.insert(Arc::clone(&name));
            // What the proxy brought along on connecting is compared; what it asks for later is always answered.
            let brought = first && self.state(kind).served.contains_key(&name);
            self.changed(kind, &name);
            let (state, tags) = self.split(kind);
            state.mark(&name, Work { tag, forced: !brought }, tags);
        }
    }

    fn unsubscribe(&mut self, kind: ResourceType, names: Vec<String>) {
        let tag = self.target.revision();
        for name in names {
            if name == "*" {
                self.split(kind).0.legacy = false;
                self.end_wildcard(kind);
                continue;
            }
            let name: Arc<str> = name.into();
            let state = self.split(kind).0;
            if !state.names.remove(&name) {
                continue;
            }
            if state.wildcard {
                // It still belongs to "all", and the proxy has just forgotten it.
                let (state, tags) = self.split(kind);
                state.mark(&name, Work { tag, forced: true }, tags);
            } else {
                self.forget(kind, &name);
            }
        }
    }

    /// The proxy wants no more than the names that it asked for.
    fn end_wildcard(&mut self, kind: ResourceType) {
        let state = self.split(kind).0;
        state.wildcard = false;
        state.owes_answer = false;
        let others: Vec<Arc<str>> = state
            .served
            .keys()
            .chain(state.dirty.keys())
            .chain(state.parked.keys())
            .filter(|name| !state.names.contains(*name))
            .cloned()
            .collect();
        for name in others {
            self.forget(kind, &name);
        }
    }

    /// The proxy has dropped this resource and does not want it any more.
    fn forget(&mut self, kind: ResourceType, name: &Arc<str>) {
        let (state, tags) = self.split(kind);
        state.forget(name, tags);
        match kind {
            ResourceType::Cluster => self.gates.drop_cluster(name),
            ResourceType::Listener => self.holders.drop_holder(kind, name),
            ResourceType::Route => {
                self.holders.drop_holder(kind, name);
                self.draining.remove(name);
            }
            ResourceType::Secret | ResourceType::Endpoints => {}
        }
    }

    fn ack(&mut self, kind: ResourceType, sent: &Sent, now: Instant) {
        let mut accepted = Vec::with_capacity(sent.entries.len());
        for entry in &sent.entries {
            self.tags.release_entry(entry);
            let Some(version) = entry.version else { continue };
            accepted.push((Arc::clone(&entry.name), version));
            if let Some(served) = self.split(kind).0.served.get_mut(&entry.name) {
                served.acked = Some(version);
            }
            if Holders::holds(kind) {
                self.body_acked(kind, &entry.name, version);
            }
        }
        let names = sent.entries.iter().map(|e| &e.name);
        let opened = match kind {
            ResourceType::Cluster => self.gates.clusters_acked(names, now),
            ResourceType::Endpoints => self.gates.endpoints_acked(names, sent.seq, now),
            ResourceType::Secret => self.gates.secrets_acked(names, now),
            _ => Vec::new(),
        };
        if kind == ResourceType::Listener {
            self.attempts.retain(|name, _| accepted.iter().all(|(accepted, _)| accepted != name));
            self.listeners_acked = Some(now);
        }
        self.opened(opened);
        let latency = now.saturating_duration_since(sent.at);
        self.events.push(Event::Acked { kind, entries: accepted, latency });
    }

    fn body_acked(&mut self, kind: ResourceType, name: &Arc<str>, version: Version) {
        if !self.holders.acked(kind, name, version) {
            return;
        }
        let holder = self.holders.entry(kind, name);
        if holder.trial.as_mut().is_some_and(super::trial::Trial::accepted) {
            holder.trial = None;
        }
        let (state, tags) = self.split(kind);
        state.unpark(name, tags);
    }

    fn unknown_type(&mut self, request: DeltaDiscoveryRequest) {
        let url: Arc<str> = request.type_url.into();
        let asks = request.response_nonce.is_empty() || !request.resource_names_subscribe.is_empty();
        if !asks || (self.unknown_seen.len() >= MAX_UNKNOWN_TYPES && !self.unknown_seen.contains(&url)) {
            return;
        }
        if self.unknown_seen.insert(Arc::clone(&url)) {
            self.events.push(Event::UnknownType { url: Arc::clone(&url) });
        }
        let mut names = request.resource_names_subscribe;
        names.retain(|name| name != "*");
        match self.unknown.iter_mut().find(|u| u.url == url) {
            Some(owed) => {
                let room = self.settings.max_names.saturating_sub(owed.names.len());
                owed.names.extend(names.into_iter().take(room));
            }
            None => self.unknown.push_back(UnknownType { url, names }),
        }
    }

    pub(super) fn answer_unknown(&mut self, unknown: UnknownType) -> Outgoing {
        self.seq += 1;
        let response = self.response(&unknown.url, Vec::new(), unknown.names);
        Outgoing { response, kind: None, bytes: 0 }
    }
}

/// Types of which a proxy may ask for everything.
fn has_wildcard(kind: ResourceType) -> bool {
    matches!(kind, ResourceType::Listener | ResourceType::Cluster)
}
