//! Misdirected requests (GEP-3567): requests that come over a connection which was made for another listener of the port,
//! because a client reuses connections for every name that their certificate covers.

use std::sync::Arc;

use api::tls::MisdirectedRequests::{self, DowngradeAlpn, Misdirect421, Serve};
use ir::tls::ClientValidation;
use rustc_hash::{FxHashMap, FxHashSet};
use store::facts::{self, MISDIRECTED_REQUESTS};

use super::listener::{Judged, Protocol};
use crate::{Finding, Reader};

/// Most route configurations on a port, of listeners told apart by server name, of which each refuses requests for the
/// hosts of all others. Such lists grow with the square: those of 64 are 4,032 names, some 100 KB in each proxy; those of
/// 1,000 would be 25 MB, and a listener that comes or goes would change all 1,000. Beyond, a route configuration refuses
/// what can go wrong: requests for hosts that its listener's certificates are for, since clients send no others over the
/// connection, and for those that lie within its own hostname, which it would serve else. Others get 404.
const MOST_TOLD: usize = 64;

/// Modes by the values of the annotation, which are those of the fields.
const MODES: [(&str, MisdirectedRequests); 3] =
    [("Misdirect421", Misdirect421), ("Serve", Serve), ("DowngradeALPN", DowngradeAlpn)];

/// The mode of a Gateway: that of its own annotation, else of its class's, else the controller's. Also what is wrong with
/// an annotation, which then counts as absent. A ClientTrafficPolicy has a say before them (`clients.rs`).
pub(super) fn mode(
    gateway: &facts::Gateway,
    reader: &mut Reader<'_>,
) -> (MisdirectedRequests, Option<Finding>) {
    let class = reader.gateway_class(gateway.class).and_then(|class| class.misdirected.as_ref());
    let mut finding = None;
    let given = [("the Gateway", gateway.misdirected.as_ref()), ("its GatewayClass", class)];
    let mode = given.into_iter().find_map(|(holder, value)| {
        let value = value?;
        let known = MODES.iter().find(|(name, _)| **name == **value);
        if known.is_none() {
            let names: Vec<&str> = MODES.iter().map(|(name, _)| *name).collect();
            finding.get_or_insert(Finding::new(
                format!("metadata.annotations[{MISDIRECTED_REQUESTS}]"),
                "InvalidAnnotation",
                format!(
                    "The annotation {MISDIRECTED_REQUESTS} of {holder} has no effect: {value:?} is not one of {}",
                    names.join(", ")
                ),
            ));
        }
        known.map(|(_, mode)| *mode)
    });
    (mode.unwrap_or(reader.settings().misdirected_requests), finding)
}

/// What a mode means for listeners that overlap, in a sentence; by their certificates or only by hostnames.
pub(super) fn consequence(mode: MisdirectedRequests, by_certificate: bool) -> &'static str {
    match (mode, by_certificate) {
        (Misdirect421, _) => {
            "Mode Misdirect421: HTTP/2 stays on, and a request over a connection that was made for another listener gets 421, so that the client repeats it over a new one"
        }
        (Serve, _) => {
            "Mode Serve: HTTP/2 stays on, listeners with the same certificates serve each other's hosts, and other requests over a connection that was made for another listener get 421"
        }
        (DowngradeAlpn, true) => {
            "Mode DowngradeALPN: these listeners do not offer HTTP/2, which gRPC needs, unless a ClientTrafficPolicy names ALPN protocols"
        }
        (DowngradeAlpn, false) => {
            "Mode DowngradeALPN: HTTP/2 stays on, as no certificate covers names of both"
        }
    }
}

/// The protocols that an HTTPS listener offers in the handshake (ALPN). A list that somebody gave always wins, also an
/// empty one, which means none.
pub(super) fn alpn(given: Option<&[Arc<str>]>, listener: &Judged<'_>) -> Box<[Arc<str>]> {
    match given {
        Some(given) => given.into(),
        None if listener.mode == DowngradeAlpn && listener.shares_certificate_names() => {
            ["http/1.1".into()].into()
        }
        None => ["h2".into(), "http/1.1".into()].into(),
    }
}

/// Where the routes of a listener stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Door {
    /// Index of the listener that gives the route configuration its name: its own, or the first on the port that it has
    /// to share it with.
    pub table: usize,
    /// Which requests for other listeners' hosts the route configuration answers with 421.
    pub guard: Guard,
    /// The port has so many listeners that only those are refused which its certificates are for.
    pub crowded: bool,
}

/// Which requests for other listeners' hosts a route configuration answers with 421.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// None.
    #[default]
    Open,
    /// Those for listeners that ask clients for certificates, and not as this one does: whoever made the connection has
    /// not shown what they ask for. All such requests, in whatever protocol, are refused.
    Certificates,
    /// Those, and others over connections that are shared.
    Shared,
}

/// The door of each listener.
pub(super) fn doors(judged: &[Judged<'_>]) -> Vec<Door> {
    let mut first: FxHashMap<_, usize> = FxHashMap::default();
    let mut tables: Vec<usize> = (0..judged.len()).collect();
    // Tables of listeners that connections choose by server name, by port.
    let mut chosen: FxHashMap<u16, FxHashSet<usize>> = FxHashMap::default();
    // What these ask of clients, by port, and those that are closed; `None` where nothing that clients show would do.
    let mut asked: FxHashMap<u16, FxHashSet<Option<&ClientValidation>>> = FxHashMap::default();
    for closed in judged.iter().filter(|listener| listener.closed) {
        asked.entry(closed.fact.port).or_default().insert(closed.validation());
    }
    for (i, own) in judged.iter().enumerate().filter(|(_, listener)| listener.ready()) {
        // Plain HTTP listeners of a port are told apart by host only.
        let shared = match own.protocol {
            Protocol::Http => Some((Vec::new(), None)),
            // One's clients have not shown what another asks for.
            Protocol::Https if own.mode == Serve => Some((certificates(own), own.validation())),
            _ => None,
        };
        if let Some(shared) = shared {
            tables[i] = *first.entry((own.fact.port, own.protocol, shared)).or_insert(i);
        }
        if by_name(own) {
            chosen.entry(own.fact.port).or_default().insert(tables[i]);
            asked.entry(own.fact.port).or_default().extend(own.validation().map(Some));
        }
    }
    let guard = |i: usize| {
        let (own, port) = (&judged[i], judged[i].fact.port);
        if own.protocol != Protocol::Https || !own.ready() {
            return Guard::Open;
        }
        if own.mode != DowngradeAlpn && chosen.get(&port).is_some_and(|tables| tables.len() > 1) {
            return Guard::Shared;
        }
        let others = asked.get(&port).into_iter().flatten();
        if others.into_iter().any(|other| other.is_none() || *other != own.validation()) {
            return Guard::Certificates;
        }
        Guard::Open
    };
    let crowded = |i: usize| {
        let on_port = chosen.get(&judged[i].fact.port);
        guard(i) != Guard::Open && on_port.is_some_and(|tables| tables.len() > MOST_TOLD)
    };
    (0..judged.len()).map(|i| Door { table: tables[i], guard: guard(i), crowded: crowded(i) }).collect()
}

/// True when connections choose the listener by server name.
pub(super) fn by_name(listener: &Judged<'_>) -> bool {
    matches!(listener.protocol, Protocol::Https | Protocol::Tls)
}

/// The certificates of a listener in an order of their own.
fn certificates(listener: &Judged<'_>) -> Vec<store::ObjectId> {
    let mut ids: Vec<_> = listener.certificates.iter().map(|certificate| certificate.id).collect();
    ids.sort_unstable();
    ids
}
