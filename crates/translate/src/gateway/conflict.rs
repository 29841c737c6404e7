//! Conflicts between listeners of a Gateway (Gateway API, Gateway.spec.listeners).

use super::listener::{Judged, Protocol};
use crate::{Finding, Reader};

/// Which listeners can share a port: those of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Marks listeners that conflict. Listeners that are unsound by themselves take no part.
pub(super) fn mark(judged: &mut [Judged<'_>], reader: &Reader<'_>) {
    let mut ports: Vec<u16> = judged.iter().map(|j| j.fact.port).collect();
    ports.sort_unstable();
    ports.dedup();
    for port in ports {
        let on_port: Vec<usize> =
            (0..judged.len()).filter(|i| judged[*i].fact.port == port && judged[*i].sound()).collect();
        mark_protocols(judged, &on_port);
        mark_hostnames(judged, &on_port, reader);
        mark_single(judged, &on_port, Protocol::Tcp);
        mark_single(judged, &on_port, Protocol::Udp);
    }
}

/// Two families on one port: all of them lose.
fn mark_protocols(judged: &mut [Judged<'_>], on_port: &[usize]) {
    let mut families: Vec<Family> = on_port.iter().filter_map(|i| family(judged[*i].protocol)).collect();
    families.sort_unstable();
    families.dedup();
    if families.len() < 2 {
        return;
    }
    let losers: Vec<usize> =
        on_port.iter().copied().filter(|i| family(judged[*i].protocol).is_some()).collect();
    let names = names(judged, &losers);
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

/// The same hostname twice for one protocol: all of them lose.
fn mark_hostnames(judged: &mut [Judged<'_>], on_port: &[usize], reader: &Reader<'_>) {
    for &i in on_port {
        if !matches!(judged[i].protocol, Protocol::Http | Protocol::Https | Protocol::Tls) {
            continue;
        }
        let same: Vec<usize> = (on_port.iter().copied())
            .filter(|j| {
                family(judged[*j].protocol) == family(judged[i].protocol)
                    && judged[*j].fact.hostname == judged[i].fact.hostname
            })
            .collect();
        if same.len() > 1 && judged[i].conflicted.is_none() {
            let host = judged[i]
                .fact
                .hostname
                .map_or("no hostname".to_owned(), |h| format!("hostname {}", reader.name(h)));
            judged[i].conflicted = Some(Finding::new(
                ".hostname",
                "HostnameConflict",
                format!("Listeners on port {} share {host}: {}", judged[i].fact.port, names(judged, &same)),
            ));
        }
    }
}

/// TCP and UDP listeners have nothing to be told apart by: the first on a port stays, later ones lose.
fn mark_single(judged: &mut [Judged<'_>], on_port: &[usize], protocol: Protocol) {
    let mut same =
        on_port.iter().copied().filter(|i| judged[*i].protocol == protocol).collect::<Vec<_>>().into_iter();
    let Some(first) = same.next() else { return };
    for i in same {
        let message = format!(
            "Listener {} already has {} port {}, which only one listener can have",
            judged[first].fact.name, judged[i].fact.protocol, judged[i].fact.port
        );
        judged[i].conflicted.get_or_insert(Finding::new(".port", "ProtocolConflict", message));
    }
}

fn names(judged: &[Judged<'_>], indexes: &[usize]) -> String {
    indexes.iter().map(|i| &*judged[*i].fact.name).collect::<Vec<_>>().join(", ")
}
