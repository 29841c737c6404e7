//! What is remembered of one fleet between two judgements.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use ir::{ConditionStatus, Kind, ObjectRef};
use pipeline::{FleetSpec, Pipeline, SocketSpec};
use provider::kubernetes::{FleetState as Infrastructure, Node};
use server::FeedStatus;
use store::Fact;

use crate::{
    conditions::{Refusals, Verdict, Word},
    serve::verdict::Known,
};

/// How long a new listener of a Gateway that is programmed waits for a proxy to take it. Envoy answers in
/// milliseconds; then it has no time, and may take the listener later.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is remembered of one fleet.
#[derive(Debug, Default)]
pub(super) struct FleetRecord {
    /// The class of its Gateway.
    pub(super) class: Option<Arc<str>>,
    /// Whether its Gateway asks for addresses.
    pub(super) asks_address: bool,
    /// Why its infrastructure cannot be rendered.
    pub(super) failure: Option<String>,
    /// The last judgement.
    pub(super) verdict: Option<Verdict>,
    /// Its sockets by name, with the time until which a new one is waited for.
    sockets: BTreeMap<Arc<str>, Option<Instant>>,
}

/// What a judgement depends on.
pub(super) struct Inputs<'a> {
    pub(super) name: &'a Arc<str>,
    pub(super) sockets: &'a [SocketSpec],
    pub(super) infrastructure: Option<&'a Infrastructure>,
    /// The namespace that it belongs to.
    pub(super) namespace: &'a str,
    pub(super) nodes: &'a BTreeMap<Arc<str>, Node>,
    /// Names of Nodes that a proxy is ready on, where that matters and is known.
    pub(super) ready_on: Option<&'a BTreeSet<Arc<str>>>,
    pub(super) feed: Option<FeedStatus>,
    pub(super) refusals: &'a Refusals,
    pub(super) errors: &'a [String],
    pub(super) asks_hostname: bool,
}

impl FleetRecord {
    /// Notes what the fleet listens on. What is there at the start is taken for old, so that a new process changes no
    /// status.
    pub(super) fn note_sockets(&mut self, sockets: &[SocketSpec], started: bool) {
        let until = (started && self.was_programmed()).then(|| Instant::now() + PATIENCE);
        let before = std::mem::take(&mut self.sockets);
        self.sockets = (sockets.iter())
            .map(|socket| (socket.name.clone(), before.get(&socket.name).copied().unwrap_or(until)))
            .collect();
    }

    fn was_programmed(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.programmed.status == ConditionStatus::True)
    }

    /// When the patience with some socket ends.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.sockets.values().filter_map(|until| *until).filter(|until| *until > now).min()
    }

    /// Judges the fleet anew; true when the result is another one than before.
    pub(super) fn judge(&mut self, inputs: &Inputs<'_>, now: Instant) -> bool {
        let failure = self.failure.as_deref().or(inputs.errors.first().map(String::as_str));
        let known = Known {
            infrastructure: inputs.infrastructure,
            namespace: inputs.namespace,
            nodes: inputs.nodes,
            ready_on: inputs.ready_on,
            feed: inputs.feed.as_ref(),
            asks_address: self.asks_address,
            asks_hostname: inputs.asks_hostname,
            failure,
            programmed: self.was_programmed(),
        };
        let mut addresses = known.addresses();
        let found = known.programmed(&mut addresses);
        let programmed = inputs.refusals.gateway(inputs.name).unwrap_or(found);
        let mut listeners = inputs.refusals.sockets(inputs.name, inputs.sockets);
        if inputs.feed.as_ref().is_some_and(|feed| feed.streams > 0) {
            for socket in inputs.sockets {
                let waits =
                    self.sockets.get(&socket.name).copied().flatten().is_some_and(|until| until > now);
                if waits && !inputs.refusals.accepts(inputs.name, &socket.name) {
                    let word = Word::no("Pending", "Proxies have not taken the listener yet");
                    listeners.extend(socket.listeners.iter().map(|name| (name.clone(), word.clone())));
                }
            }
        }
        let verdict = Some(Verdict { addresses, programmed, listeners });
        let changed = self.verdict != verdict;
        self.verdict = verdict;
        changed
    }
}

/// The Gateway that a fleet serves.
pub(super) fn gateway(spec: &FleetSpec) -> Option<ObjectRef> {
    let (namespace, name) = spec.gateway.split_once('/')?;
    Some(ObjectRef::new(Kind::Gateway, namespace, name))
}

/// Whether a Gateway asks for an address by name.
pub(super) fn asks_hostname(pipeline: &Pipeline, gateway: &ObjectRef) -> bool {
    let store = pipeline.store();
    match store.find(gateway).and_then(|id| store.fact(id)) {
        Some(Fact::Gateway(gateway)) => gateway.addresses.iter().any(|address| &*address.kind == "Hostname"),
        _ => false,
    }
}
