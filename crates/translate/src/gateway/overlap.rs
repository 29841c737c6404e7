//! Overlapping TLS configurations (GEP-3567): HTTP/2 clients reuse a connection for every name that its certificate
//! covers, so a request can arrive on a connection that was made for another listener.

use std::collections::{BTreeMap, BTreeSet};

use api::tls::MisdirectedRequests;
use store::{NameIndex, ObjectId};

use super::{
    listener::{Judged, OVERLAPPING_CERTIFICATES, OVERLAPPING_HOSTNAMES, Protocol},
    misdirected,
};
use crate::{Finding, Reader};

/// Listeners that a message names before it says that there are more.
const NAMED: usize = 5;

/// Other listeners by index, each with an own name and the one of theirs that it overlaps.
type Partners<'a> = BTreeMap<usize, (&'a str, &'a str)>;

/// Two listeners in words, with how they overlap.
type Pair = (&'static str, String);

/// Marks HTTPS listeners of one port whose hostnames or certificates overlap. Returns what their Gateways shall say.
pub(super) fn mark(judged: &mut [Judged<'_>], reader: &Reader<'_>) -> BTreeMap<ObjectId, Finding> {
    let mut ports: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (i, listener) in judged.iter().enumerate() {
        if listener.protocol == Protocol::Https && listener.ready() {
            ports.entry(listener.fact.port).or_default().push(i);
        }
    }
    let mut findings: Vec<(usize, Finding)> = Vec::new();
    let mut pairs: BTreeMap<ObjectId, (BTreeSet<MisdirectedRequests>, Vec<Pair>)> = BTreeMap::new();
    for on_port in ports.values().filter(|on_port| on_port.len() > 1) {
        let certificates = by_certificate(judged, on_port);
        let hostnames = by_hostname(judged, on_port, reader);
        for &i in on_port {
            let (reason, partners) = match (&certificates[&i], &hostnames[&i]) {
                (none, partners) if none.is_empty() => (OVERLAPPING_HOSTNAMES, partners),
                (partners, _) => (OVERLAPPING_CERTIFICATES, partners),
            };
            if partners.is_empty() {
                continue;
            }
            let (gateway, mode) = (judged[i].gateway, judged[i].mode);
            // Within a Gateway each pair is told once, of those with others' listeners each Gateway tells.
            let told = pairs.entry(gateway).or_default();
            told.0.insert(mode);
            for j in partners.keys().copied().filter(|j| *j > i || judged[*j].gateway != gateway) {
                let pair = format!("{} and {}", judged[i.min(j)].label(), judged[i.max(j)].label());
                told.1.push((reason, pair));
            }
            findings.push((i, finding(judged, reason, partners, judged[i].mode)));
        }
    }
    for (i, finding) in findings {
        judged[i].overlapping = Some(finding);
    }
    pairs.into_iter().map(|(gateway, (modes, pairs))| (gateway, of_gateway(pairs, &modes))).collect()
}

/// Partners of each listener by the names in their certificates.
fn by_certificate<'a>(judged: &'a [Judged<'_>], on_port: &[usize]) -> BTreeMap<usize, Partners<'a>> {
    let names = |i: usize| judged[i].certificates.iter().flat_map(|c| c.alternative_names.iter());
    let mut index = NameIndex::default();
    for &i in on_port {
        names(i).for_each(|name| index.add(name, i));
    }
    let partners = |i: usize| {
        let of_name = |name: &'a std::sync::Arc<str>| {
            index.overlapping(name).map(move |(j, other)| (j, (&**name, other)))
        };
        names(i).flat_map(of_name).filter(move |(j, _)| *j != i)
    };
    on_port.iter().map(|i| (*i, some_of(partners(*i)))).collect()
}

/// Partners of each listener by hostname; a listener without one overlaps all.
fn by_hostname<'a>(
    judged: &[Judged<'_>],
    on_port: &[usize],
    reader: &Reader<'a>,
) -> BTreeMap<usize, Partners<'a>> {
    let text = |i: usize| judged[i].fact.hostname.map(|name| &**reader.name(name));
    let mut index = NameIndex::default();
    for &i in on_port {
        text(i).into_iter().for_each(|name| index.add(name, i));
    }
    let of = |i: usize| -> Partners<'a> {
        let Some(own) = text(i) else {
            return some_of(
                on_port.iter().filter(|j| **j != i).map(|j| (*j, ("*", text(*j).unwrap_or("*")))),
            );
        };
        let any = on_port.iter().filter(|j| text(**j).is_none()).map(|j| (*j, (own, "*")));
        let named = index.overlapping(own).filter(|(j, _)| *j != i).map(|(j, other)| (j, (own, other)));
        some_of(any.chain(named))
    };
    on_port.iter().map(|i| (*i, of(*i))).collect()
}

/// The first partners: as many as are named, and one more when there are more.
fn some_of<'a>(partners: impl Iterator<Item = (usize, (&'a str, &'a str))>) -> Partners<'a> {
    let mut some = Partners::new();
    for (j, names) in partners {
        some.entry(j).or_insert(names);
        if some.len() > NAMED {
            break;
        }
    }
    some
}

fn finding(
    judged: &[Judged<'_>],
    reason: &'static str,
    partners: &Partners<'_>,
    mode: MisdirectedRequests,
) -> Finding {
    let (field, what) = match reason {
        OVERLAPPING_CERTIFICATES => (".tls.certificateRefs", "Names in the certificates"),
        _ => (".hostname", "Hostnames"),
    };
    let name = |(j, (own, other)): (&usize, &(&str, &str))| {
        format!("{} ({own} with its {other})", judged[*j].label())
    };
    let others = partners.iter().map(name).collect();
    let consequence = misdirected::consequence(mode, reason == OVERLAPPING_CERTIFICATES);
    Finding::new(field, reason, format!("{what} overlap with those of {}. {consequence}", listed(others)))
}

/// What the condition of a Gateway says: all pairs that a listener of it is in.
fn of_gateway(pairs: Vec<Pair>, modes: &BTreeSet<MisdirectedRequests>) -> Finding {
    let by_certificate = pairs.iter().any(|(reason, _)| *reason == OVERLAPPING_CERTIFICATES);
    let reason = if by_certificate { OVERLAPPING_CERTIFICATES } else { OVERLAPPING_HOSTNAMES };
    let pairs = pairs.into_iter().map(|(_, pair)| pair).collect();
    let consequence = match modes.iter().next() {
        Some(mode) if modes.len() == 1 => misdirected::consequence(*mode, by_certificate),
        _ => "Their modes differ, and the condition of each says what its own means",
    };
    let message = format!(
        "The TLS configurations of these listeners overlap: {}; their conditions name what they share. {consequence}",
        listed(pairs),
    );
    Finding::new("spec.listeners", reason, message)
}

/// Things in a row, with an end when there are too many.
fn listed(mut things: Vec<String>) -> String {
    let more = things.len() > NAMED;
    things.truncate(NAMED);
    things.join(", ") + if more { " and more" } else { "" }
}
