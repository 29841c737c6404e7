//! What listeners on one port mean to each other.

use rustc_hash::FxHashMap;
use store::NameId;

use super::{
    listener::{Judged, Protocol},
    misdirected,
};
use crate::{Reader, host::wider};

/// For each listener the hostnames of other ready listeners on its port, told apart by the same means (server name or
/// host), that its own covers, in the order of the list (Gateway API, listener isolation). Those that are closed to its
/// clients count as well.
///
/// Every hostname looks for those that could cover it (a wildcard for each of its suffixes, and none at all), so the
/// work grows with the number of listeners and not with its square.
pub(super) fn narrower(judged: &[Judged<'_>], reader: &Reader<'_>) -> Vec<Vec<NameId>> {
    let mut narrower = vec![Vec::new(); judged.len()];
    let mut by_hostname: FxHashMap<(u16, bool, &str), Vec<usize>> = FxHashMap::default();
    let isolated = |j: &Judged<'_>| matches!(j.protocol, Protocol::Http | Protocol::Https | Protocol::Tls);
    let key = |j: &Judged<'_>| (j.fact.port, misdirected::by_name(j));
    for (i, listener) in judged.iter().enumerate().filter(|(_, j)| isolated(j)) {
        let (port, by_name) = key(listener);
        let hostname = listener.fact.hostname.map_or("", |name| reader.name(name));
        by_hostname.entry((port, by_name, hostname)).or_default().push(i);
    }
    for listener in judged.iter().filter(|j| isolated(j) && (j.ready() || j.closed)) {
        let Some(name) = listener.fact.hostname else { continue };
        let (port, by_name) = key(listener);
        let hostname: &str = reader.name(name);
        for wider in wider(hostname) {
            for i in by_hostname.get(&(port, by_name, &*wider)).into_iter().flatten() {
                let broader = &judged[*i];
                // Where TLS is passed through, backends ask for what they want.
                let closed = broader.protocol == Protocol::Https && listener.closed_to(broader.validation());
                if listener.ready() || closed {
                    narrower[*i].push(name);
                }
            }
        }
    }
    narrower
}
