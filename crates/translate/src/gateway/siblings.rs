//! What listeners on one port mean to each other.

use rustc_hash::FxHashMap;
use store::NameId;

use super::listener::{Judged, Protocol};
use crate::{ListenerId, Reader};

/// The listener that names the route configuration of each port's plain HTTP listeners: the first that is ready. They
/// are told apart by host only, so they share one.
pub(super) fn shared_tables(judged: &[Judged<'_>]) -> FxHashMap<u16, ListenerId> {
    let mut tables = FxHashMap::default();
    for listener in judged.iter().filter(|j| j.protocol == Protocol::Http && j.ready()) {
        tables.entry(listener.fact.port).or_insert(listener.id);
    }
    tables
}

/// For each listener the hostnames of other ready listeners on its port, of the same protocol, that its own covers, in
/// the order of the list (Gateway API, listener isolation).
///
/// Every hostname looks for those that could cover it (a wildcard for each of its suffixes, and none at all), so the
/// work grows with the number of listeners and not with its square.
pub(super) fn narrower(judged: &[Judged<'_>], reader: &Reader<'_>) -> Vec<Vec<NameId>> {
    let mut narrower = vec![Vec::new(); judged.len()];
    let mut by_hostname: FxHashMap<(u16, bool, &str), Vec<usize>> = FxHashMap::default();
    let isolated = |j: &Judged<'_>| matches!(j.protocol, Protocol::Http | Protocol::Https);
    let key = |j: &Judged<'_>| (j.fact.port, j.protocol == Protocol::Https);
    for (i, listener) in judged.iter().enumerate().filter(|(_, j)| isolated(j)) {
        let (port, tls) = key(listener);
        let hostname = listener.fact.hostname.map_or("", |name| reader.name(name));
        by_hostname.entry((port, tls, hostname)).or_default().push(i);
    }
    for listener in judged.iter().filter(|j| isolated(j) && j.ready()) {
        let Some(name) = listener.fact.hostname else { continue };
        let (port, tls) = key(listener);
        let hostname: &str = reader.name(name);
        for wider in wider(hostname) {
            for i in by_hostname.get(&(port, tls, &*wider)).into_iter().flatten() {
                narrower[*i].push(name);
            }
        }
    }
    narrower
}

/// Every pattern but the hostname itself that covers it: `*.b.c` and `*.c` for `a.b.c`, `*.c` for `*.b.c`; and the empty
/// one of listeners for any host.
fn wider(hostname: &str) -> impl Iterator<Item = String> + '_ {
    let skipped = usize::from(hostname.starts_with('*'));
    let dots = hostname.match_indices('.').skip(skipped);
    dots.map(|(at, _)| format!("*{}", &hostname[at..])).chain([String::new()])
}

#[cfg(test)]
mod tests {
    use super::wider;
    use crate::host::covers;

    #[test]
    fn patterns_that_are_wider_cover_the_hostname() {
        for (hostname, expected) in
            [("a.b.c", &["*.b.c", "*.c", ""][..]), ("*.b.c", &["*.c", ""]), ("local", &[""]), ("*.c", &[""])]
        {
            let patterns: Vec<String> = wider(hostname).collect();
            assert_eq!(patterns, expected);
            assert!(patterns.iter().all(|p| p.is_empty() || (p != hostname && covers(p, hostname))));
        }
    }
}
