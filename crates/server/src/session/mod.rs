//! One delta ADS stream as a state machine without IO: requests, new targets and time go in, responses come out.
//!
//! **Invariant:** [`Session::poll`] makes one response at a time, from the newest target, when the stream has room
//! for it. Nothing is queued, so a slow reader costs names and versions, never bodies.
//!
//! Order (make before break): secrets, clusters, endpoints, then listeners and routes as far as the clusters that
//! they name are warm, then removals once no body that is in force or on its way needs what they take.
//!
//! Envoy drains a listener or chain that goes and routes by its table meanwhile, and one that comes back under the name
//! begins with that table. So a table that goes is not taken away: it is sent without what has ended, and stays in
//! force until the proxy lets it go.

mod batch;
mod clusters;
mod compose;
mod decide;
mod event;
mod holders;
mod inspect;
mod refusal;
mod removal;
mod requests;
mod target;
#[cfg(test)]
mod tests;
mod trial;
mod types;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use ir::resource::{Resource, ResourceType};
use rustc_hash::FxHashMap;

pub use self::event::{Event, Outgoing, Refusal, Violation};
use self::{
    clusters::{Gates, Opened},
    holders::Holders,
    types::{Tags, TypeState, index},
};
use crate::{Settings, feed::Snapshot};

/// After a listener is accepted Envoy asks for its routes. Until it does, or for this long, the listener does not
/// count as being in force. 500 ms: Envoy asks within a few.
const ROUTES_ASKED_WITHIN: Duration = Duration::from_millis(500);

/// State of one stream.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    target: Arc<Snapshot>,
    types: [TypeState; ResourceType::ALL.len()],
    holders: Holders,
    gates: Gates,
    tags: Tags,
    events: Vec<Event>,
    /// Number of the last response.
    seq: u64,
    /// Bytes of resources sent.
    bytes: u64,
    started: Instant,
    polled: Instant,
    /// Route configurations that are gone from the target and that the proxy still asks for: it drains what routes by
    /// them.
    draining: BTreeSet<Arc<str>>,
    /// Route configurations that rest between two sends.
    resting: BTreeSet<(Instant, Arc<str>)>,
    /// Listeners to send again, and how often that was tried.
    retries: BTreeSet<(Instant, Arc<str>)>,
    attempts: FxHashMap<Arc<str>, u32>,
    /// When to stop waiting for the answers to bodies; the waiting time is constant, so it is in order.
    patience: VecDeque<(Instant, ResourceType, Arc<str>, u64)>,
    /// When the proxy last accepted listeners.
    listeners_acked: Option<Instant>,
    accepted_before: Vec<Arc<Resource>>,
    /// Types that are not served, with the answer owed for them.
    unknown: VecDeque<requests::UnknownType>,
    unknown_seen: BTreeSet<Arc<str>>,
}

impl Session {
    /// A stream that has just connected and works towards `target`. `accepted_before` are listeners and routes in
    /// versions before those of the target: a proxy that connects again may still have them.
    pub fn new(
        settings: Arc<Settings>,
        target: Arc<Snapshot>,
        accepted_before: Vec<Arc<Resource>>,
        now: Instant,
    ) -> Self {
        let mut types: [TypeState; ResourceType::ALL.len()] = Default::default();
        for kind in [ResourceType::Listener, ResourceType::Route] {
            types[index(kind)].counts_removals = true;
        }
        Session {
            settings,
            target,
            types,
            holders: Holders::default(),
            gates: Gates::default(),
            tags: Tags::default(),
            events: Vec::new(),
            seq: 0,
            bytes: 0,
            started: now,
            polled: now,
            draining: BTreeSet::new(),
            resting: BTreeSet::new(),
            retries: BTreeSet::new(),
            attempts: FxHashMap::default(),
            patience: VecDeque::new(),
            listeners_acked: None,
            accepted_before,
            unknown: VecDeque::new(),
            unknown_seen: BTreeSet::new(),
        }
    }

    /// The next response, if there is one to send now. Call it again until there is none, whenever the stream has
    /// room; each response is made from the newest target.
    pub fn poll(&mut self, now: Instant) -> Option<Outgoing> {
        self.expire(now);
        self.polled = now;
        if let Some(unknown) = self.unknown.pop_front() {
            return Some(self.answer_unknown(unknown));
        }
        for kind in ResourceType::ALL {
            if let Some(outgoing) = self.next_update(kind, now) {
                return Some(outgoing);
            }
        }
        removal::ORDER.into_iter().find_map(|kind| self.next_removal(kind, now))
    }

    /// When to poll again though nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let settling = self.settling();
        [
            self.gates.deadline(),
            self.resting.first().map(|(at, _)| *at),
            self.retries.first().map(|(at, _)| *at),
            self.patience.front().map(|(at, ..)| *at),
            self.removals_allowed_at(),
            settling,
        ]
        .into_iter()
        .flatten()
        // What is past was seen by the last poll and waits for something else.
        .filter(|at| *at > self.polled)
        .min()
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The generation of the target that the stream works towards.
    pub fn generation(&self) -> u64 {
        self.target.generation()
    }

    /// The revision that the stream works towards.
    pub fn revision(&self) -> u64 {
        self.target.revision()
    }

    /// Bytes of resources sent so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Everything up to this revision is in force at the proxy: sent and accepted, or refused. `None` before the
    /// proxy has asked for all there is.
    pub fn acked_revision(&self, now: Instant) -> Option<u64> {
        let asked = [ResourceType::Cluster, ResourceType::Listener]
            .into_iter()
            .all(|kind| self.state(kind).started || self.target.len(kind) == 0);
        if !asked || self.types.iter().all(|t| !t.started) {
            return None;
        }
        let revision = self.target.revision();
        let done = self.tags.oldest().map_or(revision, |oldest| oldest.saturating_sub(1));
        let settling = self.settling().is_some_and(|until| now < until);
        Some(if settling { done.min(revision.saturating_sub(1)) } else { done })
    }

    /// Until when routes that the proxy has not asked for are expected to be asked for.
    fn settling(&self) -> Option<Instant> {
        let routes = self.state(ResourceType::Route);
        if routes.names.len() >= self.target.len(ResourceType::Route) {
            return None;
        }
        self.listeners_acked.map(|at| at + ROUTES_ASKED_WITHIN)
    }

    fn state(&self, kind: ResourceType) -> &TypeState {
        &self.types[index(kind)]
    }

    /// The state of a type, and the tags that its changes count in.
    fn split(&mut self, kind: ResourceType) -> (&mut TypeState, &mut Tags) {
        (&mut self.types[index(kind)], &mut self.tags)
    }

    /// Lets go what waited for a point in time that has passed.
    fn expire(&mut self, now: Instant) {
        let opened = self.gates.expire(now, self.settings.gate);
        self.opened(opened);
        self.retry_due(now);
        while self.resting.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = self.resting.pop_first() else { break };
            let (state, tags) = self.split(ResourceType::Route);
            state.unpark(&name, tags);
        }
        while self.patience.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, kind, name, seq)) = self.patience.pop_front() else { break };
            let pending = self.holders.get(kind, &name).and_then(|h| h.pending.as_ref());
            if let Some(version) = pending.filter(|p| p.seq == seq).map(|p| p.body.version) {
                self.holders.acked(kind, &name, version);
                let (state, tags) = self.split(kind);
                state.unpark(&name, tags);
            }
        }
        if self.settling().is_some_and(|until| until <= now) {
            self.listeners_acked = None;
        }
    }

    /// Clusters became usable: what waited for them is looked at again.
    fn opened(&mut self, opened: Vec<Opened>) {
        for Opened { cluster, after, timed_out } in opened {
            let mut waited = false;
            for kind in [ResourceType::Listener, ResourceType::Route] {
                for name in self.holders.waiting_for(kind, &cluster) {
                    waited = true;
                    let (state, tags) = self.split(kind);
                    state.unpark(&name, tags);
                }
            }
            if waited {
                self.events.push(if timed_out {
                    Event::GateTimedOut { cluster }
                } else {
                    Event::GateOpened { after }
                });
            }
        }
    }
}
