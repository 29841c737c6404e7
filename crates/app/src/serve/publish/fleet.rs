//! What is remembered of one fleet between two judgements.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use ir::{ConditionStatus, ObjectRef};
use pipeline::{Pipeline, SocketSpec};
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
    /// The class of its Gateways.
    pub(super) class: Option<Arc<str>>,
    /// Why its infrastructure cannot be rendered.
    pub(super) failure: Option<String>,
    /// What Envoy has against its bootstrap.
    pub(super) refused: Option<String>,
    /// True while Envoy is asked about its bootstrap.
    pub(super) waits_for_envoy: bool,
    /// The last judgement of each Gateway.
    pub(super) verdicts: BTreeMap<ObjectRef, Verdict>,
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
    pub(super) gateways: &'a [Asked],
}

/// A Gateway of a fleet with what it asks for.
pub(super) struct Asked {
    pub(super) gateway: ObjectRef,
    /// IP addresses.
    pub(super) address: bool,
    /// An address by name.
    pub(super) hostname: bool,
}

impl FleetRecord {
    /// Notes what the fleet listens on. What is there at the start is taken for old, so that a new process changes no
    /// status.
    pub(super) fn note_sockets(&mut self, sockets: &[SocketSpec], started: bool) {
        let programmed = self.verdicts.values().any(is_programmed);
        let until = (started && programmed).then(|| Instant::now() + PATIENCE);
        let before = std::mem::take(&mut self.sockets);
        self.sockets = (sockets.iter())
            .map(|socket| (socket.name.clone(), before.get(&socket.name).copied().unwrap_or(until)))
            .collect();
    }

    /// When the patience with some socket ends.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.sockets.values().filter_map(|until| *until).filter(|until| *until > now).min()
    }

    /// Judges the Gateways of the fleet anew, and returns those that are judged otherwise than before.
    pub(super) fn judge(&mut self, inputs: &Inputs<'_>, now: Instant) -> Vec<ObjectRef> {
        let verdicts: BTreeMap<ObjectRef, Verdict> = (inputs.gateways.iter())
            .map(|asked| (asked.gateway.clone(), self.verdict(asked, inputs, now)))
            .collect();
        let before = std::mem::replace(&mut self.verdicts, verdicts);
        let changed =
            self.verdicts.iter().filter(|(gateway, verdict)| before.get(*gateway) != Some(*verdict));
        changed.map(|(gateway, _)| gateway.clone()).collect()
    }

    fn verdict(&self, asked: &Asked, inputs: &Inputs<'_>, now: Instant) -> Verdict {
        let failure = self.failure.as_deref().or(inputs.errors.first().map(String::as_str));
        let known = Known {
            infrastructure: inputs.infrastructure,
            namespace: inputs.namespace,
            nodes: inputs.nodes,
            ready_on: inputs.ready_on,
            feed: inputs.feed.as_ref(),
            asks_address: asked.address,
            asks_hostname: asked.hostname,
            failure,
            programmed: self.verdicts.get(&asked.gateway).is_some_and(is_programmed),
        };
        let mut addresses = known.addresses();
        let found = known.programmed(&mut addresses);
        let programmed =
            inputs.refusals.gateway(inputs.name, inputs.sockets, &asked.gateway).unwrap_or(found);
        let mut listeners = inputs.refusals.sockets(inputs.name, inputs.sockets, &asked.gateway);
        if inputs.feed.as_ref().is_some_and(|feed| feed.streams > 0) {
            for socket in inputs.sockets {
                let waits =
                    self.sockets.get(&socket.name).copied().flatten().is_some_and(|until| until > now);
                if waits && !inputs.refusals.accepts(inputs.name, &socket.name) {
                    let word = Word::no("Pending", "Proxies have not taken the listener yet");
                    let own = socket.listeners.iter().filter(|listener| listener.gateway == asked.gateway);
                    listeners.extend(own.map(|listener| (listener.clone(), word.clone())));
                }
            }
        }
        Verdict { addresses, programmed, listeners }
    }
}

fn is_programmed(verdict: &Verdict) -> bool {
    verdict.programmed.status == ConditionStatus::True
}

/// What each of some Gateways asks for.
pub(super) fn asked(pipeline: &Pipeline, gateways: &[ObjectRef]) -> Vec<Asked> {
    let store = pipeline.store();
    let asked = |gateway: &ObjectRef| {
        let addresses = match store.find(gateway).and_then(|id| store.fact(id)) {
            Some(Fact::Gateway(fact)) => &fact.addresses[..],
            _ => &[],
        };
        Asked {
            gateway: gateway.clone(),
            address: addresses.iter().any(|address| &*address.kind == "IPAddress" && address.value.is_some()),
            hostname: addresses.iter().any(|address| &*address.kind == "Hostname"),
        }
    };
    gateways.iter().map(asked).collect()
}
