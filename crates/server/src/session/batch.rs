//! Responses: which names go together, and what is remembered of them until the answer.

use std::{sync::Arc, time::Instant};

use envoy_api::{
    core::ControlPlane,
    discovery::{DeltaDiscoveryResponse, Resource as Wrapped},
    well_known::Any,
};
use ir::resource::{Resource, ResourceType, Version};

use super::{
    Outgoing, Session,
    decide::Decision,
    holders::Holders,
    types::{Entry, Sent, Work},
};

/// Names in one response, whatever their size. 4,096 × 60 bytes are 240 KiB of removed names.
pub(super) const MAX_NAMES: usize = 4_096;

/// A response in the making.
pub(super) struct Batch {
    kind: ResourceType,
    bodies: Vec<(Arc<Resource>, Version)>,
    absent: Vec<Arc<str>>,
    entries: Vec<Entry>,
    bytes: usize,
}

impl Batch {
    pub(super) fn new(kind: ResourceType) -> Self {
        Batch { kind, bodies: Vec::new(), absent: Vec::new(), entries: Vec::new(), bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(&mut self, body: Arc<Resource>, target: Version, tag: u64) {
        self.bytes += body.encoded_len();
        let entry = Entry { name: Arc::clone(&body.name), version: Some(body.version), tag: Some(tag) };
        self.entries.push(entry);
        self.bodies.push((body, target));
    }

    pub(super) fn remove(&mut self, entry: Entry) {
        self.absent.push(Arc::clone(&entry.name));
        self.entries.push(entry);
    }
}

impl Session {
    /// The next response of this type with new content or answers to subscriptions.
    pub(super) fn next_update(&mut self, kind: ResourceType, now: Instant) -> Option<Outgoing> {
        let mut batch = Batch::new(kind);
        while let Some(group) = self.split(kind).0.isolate.pop_front() {
            for (name, work) in group {
                self.consider(&mut batch, &name, work, now);
            }
            if !batch.is_empty() {
                return Some(self.send(batch, now));
            }
        }
        while !self.is_full(&batch) {
            let Some((name, work)) = self.split(kind).0.dirty.pop_first() else { break };
            self.consider(&mut batch, &name, work, now);
        }
        if batch.is_empty() {
            let state = self.split(kind).0;
            // What waits for clusters will be the first answer.
            if !state.owes_answer || !state.parked.is_empty() {
                return None;
            }
        } else if kind == ResourceType::Listener {
            self.take_listener_removals(&mut batch);
        }
        Some(self.send(batch, now))
    }

    fn is_full(&self, batch: &Batch) -> bool {
        let many = Holders::holds(batch.kind) && batch.bodies.len() >= self.settings.max_resources;
        many || batch.bytes >= self.settings.max_bytes || batch.entries.len() >= MAX_NAMES
    }

    fn consider(&mut self, batch: &mut Batch, name: &Arc<str>, work: Work, now: Instant) {
        let kind = batch.kind;
        match self.decide(kind, name, work, now) {
            Decision::Send { body, target, waits } => {
                batch.push(body, target, work.tag);
                if waits {
                    let (state, tags) = self.split(kind);
                    tags.add(work.tag);
                    state.park(name, Work { tag: work.tag, forced: false }, tags);
                }
            }
            Decision::Absent => {
                batch.remove(Entry { name: Arc::clone(name), version: None, tag: Some(work.tag) });
            }
            Decision::Remove => {
                let (state, tags) = self.split(kind);
                state.plan_removal(name, work.tag, tags);
            }
            Decision::Park => {
                let (state, tags) = self.split(kind);
                state.park(name, Work { forced: false, ..work }, tags);
            }
            Decision::Done => self.tags.release(work.tag),
        }
    }

    /// Makes the message and remembers it until its answer.
    pub(super) fn send(&mut self, batch: Batch, now: Instant) -> Outgoing {
        let Batch { kind, bodies, absent, entries, bytes } = batch;
        self.seq += 1;
        self.bytes += bytes as u64;
        let seq = self.seq;
        for (body, target) in &bodies {
            self.body_sent(body, *target, seq, now);
            self.split(kind).0.served.entry(Arc::clone(&body.name)).or_default().sent = Some(body.version);
        }
        if kind == ResourceType::Cluster {
            self.clusters_sent(&bodies, seq, now);
        }
        for name in &absent {
            self.gone(kind, name);
        }
        let (state, tags) = self.split(kind);
        state.owes_answer = false;
        state.await_answer(Sent { seq, at: now, entries }, tags);
        let resources = bodies.into_iter().map(|(body, _)| wrap(&body)).collect();
        let removed = absent.iter().map(|name| name.to_string()).collect();
        Outgoing { response: self.response(kind.type_url(), resources, removed), kind: Some(kind), bytes }
    }

    /// New clusters are waited for; endpoints that the proxy has are sent again, because a cluster that is warmed
    /// anew takes them from a new message only.
    fn clusters_sent(&mut self, clusters: &[(Arc<Resource>, Version)], seq: u64, now: Instant) {
        let gate = self.settings.gate;
        self.gates.sent(clusters.iter().map(|(c, _)| &c.name), seq, now, gate);
        let tag = self.target.revision();
        let (state, tags) = self.split(ResourceType::Endpoints);
        for endpoints in clusters.iter().filter_map(|(c, _)| c.endpoints.as_ref()) {
            if state.names.contains(endpoints) && state.sent(endpoints).is_some() {
                state.mark(endpoints, Work { tag, forced: true }, tags);
            }
        }
    }

    /// The proxy is told that a resource is gone.
    fn gone(&mut self, kind: ResourceType, name: &Arc<str>) {
        let state = self.split(kind).0;
        state.served.remove(name);
        if Holders::holds(kind) {
            self.holders.drop_holder(kind, name);
        }
    }

    /// A message with the next nonce, which is the number of the response.
    pub(super) fn response(
        &self,
        type_url: &str,
        resources: Vec<Wrapped>,
        removed_resources: Vec<String>,
    ) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            system_version_info: self.target.revision().to_string(),
            resources,
            type_url: type_url.to_owned(),
            removed_resources,
            nonce: self.seq.to_string(),
            control_plane: Some(ControlPlane { identifier: "ferrogate".to_owned() }),
            ..DeltaDiscoveryResponse::default()
        }
    }
}

fn wrap(resource: &Resource) -> Wrapped {
    Wrapped {
        name: resource.name.to_string(),
        version: resource.version.to_string(),
        resource: Some(Any {
            type_url: resource.kind.type_url().to_owned(),
            value: Vec::from(resource.body()),
        }),
        ..Wrapped::default()
    }
}
