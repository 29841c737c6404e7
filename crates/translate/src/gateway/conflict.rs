//! Conflicts between the listeners of a Gateway and its ListenerSets (Gateway API, `Gateway.spec.listeners` and
//! `ListenerSetSpec.listeners`), and between those of merged Gateways.
//!
//! Listeners of the Gateway itself that conflict all lose: its author has to decide. Between others precedence decides:
//! the Gateway before ListenerSets, and of these the first in order. Of merged Gateways the first in order keeps a
//! hostname, but protocols that do not go together on a port lose whichever Gateways they are of, as with Envoy Gateway.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};
use store::{NameId, ObjectId};

use super::listener::{Judged, Protocol};
use crate::{Finding, Reader};

/// Which listeners can share a port: those of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Family {
    Http,
    Tls,
    Tcp,
}

fn family(protocol: Protocol) -> Option<Family> {
    match protocol {
        Protocol::Http => Some(Family::Http),
        Protocol::Https | Protocol::Tls => Some(Family::Tls),
        Protocol::Tcp => Some(Family::Tcp),
        // UDP has ports of its own.
        Protocol::Udp | Protocol::Unknown => None,
    }
}

/// Marks listeners that conflict. They are given in the order of precedence, each Gateway's together; those that are
/// unsound by themselves take no part.
pub(super) fn mark(judged: &mut [Judged<'_>], reader: &Reader<'_>) {
    let mut ports: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (i, listener) in judged.iter().enumerate().filter(|(_, j)| j.sound()) {
        ports.entry(listener.fact.port).or_default().push(i);
    }
    for on_port in ports.values() {
        let of_gateways: Vec<&[usize]> =
            on_port.chunk_by(|a, b| judged[*a].gateway == judged[*b].gateway).collect();
        let several = of_gateways.len() > 1;
        for of_gateway in &of_gateways {
            mark_protocols(judged, of_gateway);
        }
        if several {
            mark_protocols(judged, on_port);
        }
        for of_gateway in of_gateways {
            mark_hostnames(judged, of_gateway, reader);
            mark_single(judged, of_gateway, Protocol::Tcp);
            mark_single(judged, of_gateway, Protocol::Udp);
        }
        if several {
            mark_taken(judged, on_port, reader);
        }
    }
}

/// Two families on one port: one of them stays, if precedence tells which.
fn mark_protocols(judged: &mut [Judged<'_>], on_port: &[usize]) {
    let families: Vec<(usize, Family)> =
        on_port.iter().filter_map(|i| Some((*i, family(judged[*i].protocol)?))).collect();
    if !several(families.iter().map(|(_, family)| *family)) {
        return;
    }
    let own = || families.iter().filter(|(i, _)| !judged[*i].of_set()).map(|(_, family)| *family);
    let mut winner = own().next();
    let nobody = several(own());
    let torn = if winner.is_none() { torn_sets(judged, &families) } else { FxHashSet::default() };
    let mut losers = Vec::new();
    for (i, family) in &families {
        if nobody || torn.contains(&judged[*i].id.owner) || *winner.get_or_insert(*family) != *family {
            losers.push(*i);
        }
    }
    let all: Vec<usize> = families.iter().map(|(i, _)| *i).collect();
    let names = names(judged, &all);
    for i in losers {
        judged[i].conflicted = Some(Finding::new(
            ".protocol",
            "ProtocolConflict",
            format!(
                "Listeners on one port need protocols that go together; on port {} these do not: {names}",
                judged[i].fact.port
            ),
        ));
    }
}

fn several(mut families: impl Iterator<Item = Family>) -> bool {
    let first = families.next();
    families.any(|family| Some(family) != first)
}

/// ListenerSets that have several families on the port themselves: all of these listeners lose.
fn torn_sets(judged: &[Judged<'_>], families: &[(usize, Family)]) -> FxHashSet<ObjectId> {
    let mut first: FxHashMap<ObjectId, Family> = FxHashMap::default();
    let differs = |(i, family): &(usize, Family)| {
        let owner = judged[*i].id.owner;
        (*first.entry(owner).or_insert(*family) != *family).then_some(owner)
    };
    families.iter().filter_map(differs).collect()
}

/// The same hostname more than once: one of them stays, if precedence tells which.
fn mark_hostnames(judged: &mut [Judged<'_>], on_port: &[usize], reader: &Reader<'_>) {
    let mut by_hostname: FxHashMap<Option<NameId>, Vec<usize>> = FxHashMap::default();
    for i in on_port.iter().copied() {
        let listener = &judged[i];
        if matches!(listener.protocol, Protocol::Http | Protocol::Https | Protocol::Tls)
            && listener.conflicted.is_none()
        {
            by_hostname.entry(listener.fact.hostname).or_default().push(i);
        }
    }
    for (hostname, same) in by_hostname.into_iter().filter(|(_, same)| same.len() > 1) {
        let own = same.iter().filter(|i| !judged[**i].of_set()).count();
        let mut owners = FxHashSet::default();
        let twice_in_a_set = !same.iter().all(|i| owners.insert(judged[*i].id.owner));
        // The Gateway's own come first.
        let stays = match own {
            0 => !twice_in_a_set,
            1 => true,
            _ => false,
        };
        let host = hostname.map_or("no hostname".to_owned(), |h| format!("hostname {}", reader.name(h)));
        let names = names(judged, &same);
        for i in same.into_iter().skip(usize::from(stays)) {
            judged[i].conflicted = Some(Finding::new(
                ".hostname",
                "HostnameConflict",
                format!("Listeners on port {} share {host}: {names}", judged[i].fact.port),
            ));
        }
    }
}

/// TCP and UDP listeners have nothing to be told apart by: the first on a port stays, later ones lose.
fn mark_single(judged: &mut [Judged<'_>], on_port: &[usize], protocol: Protocol) {
    let candidates = on_port.iter().copied();
    let mut same = candidates
        .filter(|i| judged[*i].protocol == protocol && judged[*i].conflicted.is_none())
        .collect::<Vec<_>>()
        .into_iter();
    let Some(first) = same.next() else { return };
    for i in same {
        let message = format!(
            "Listener {} already has {} port {}, which only one listener can have",
            judged[first].label(),
            judged[i].fact.protocol,
            judged[i].fact.port
        );
        judged[i].conflicted = Some(Finding::new(".port", "ProtocolConflict", message));
    }
}

/// What a listener of another Gateway has already, whether that one is in conflict or not: hostname and family on a port,
/// or for TCP and UDP the port. It is no matter of precedence within a Gateway, so the first keeps it.
fn mark_taken(judged: &mut [Judged<'_>], on_port: &[usize], reader: &Reader<'_>) {
    let mut first: FxHashMap<(Option<Family>, Option<NameId>), usize> = FxHashMap::default();
    for i in on_port.iter().copied() {
        let listener = &judged[i];
        let key = (family(listener.protocol), listener.fact.hostname);
        let holder = *first.entry(key).or_insert(i);
        if judged[holder].gateway == listener.gateway {
            continue;
        }
        let host =
            listener.fact.hostname.map_or(String::new(), |h| format!(" with hostname {}", reader.name(h)));
        let message = format!(
            "Listener {} already has {} port {}{host}; merged Gateways share their ports, so each listener needs a hostname or port of its own",
            judged[holder].label(),
            listener.fact.protocol,
            listener.fact.port
        );
        judged[i].conflicted = Some(Finding::new(".hostname", "HostnameConflict", message));
    }
}

fn names(judged: &[Judged<'_>], indexes: &[usize]) -> String {
    indexes.iter().map(|i| judged[*i].label()).collect::<Vec<_>>().join(", ")
}
