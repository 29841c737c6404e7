//! Which DNS names, plain or with a wildcard in front, cover or meet which.

use std::cmp;

use rustc_hash::FxHashMap;

/// Whether a name in a certificate, or a listener's hostname, covers a host name: the same, or a wildcard for exactly
/// one label in front (RFC 9525 §6.3). Case does not count. A wildcard covers no other wildcard but itself.
pub fn dns_name_matches(pattern: &str, name: &str) -> bool {
    if pattern.eq_ignore_ascii_case(name) {
        return true;
    }
    let (Some(parent), Some((label, rest))) = (pattern.strip_prefix("*."), name.split_once('.')) else {
        return false;
    };
    !label.is_empty() && label != "*" && rest.eq_ignore_ascii_case(parent)
}

/// Whether two names, each plain or with a wildcard in front, have a host name in common: the overlap of Gateway API's
/// `OverlappingTLSConfig` (GEP-3567).
pub fn names_overlap(a: &str, b: &str) -> bool {
    dns_name_matches(a, b) || dns_name_matches(b, a)
}

/// The first name of `a` that overlaps one of `b`, with the first of `b` that it overlaps.
///
/// Names must be in lower case. The cost is linear: certificates may hold thousands of names.
pub fn first_overlap<'a, 'b, A, B>(a: &'a [A], b: &'b [B]) -> Option<(&'a str, &'b str)>
where
    A: AsRef<str>,
    B: AsRef<str>,
{
    // Where each name of `b` stands first, and the first plain name below each parent.
    let mut names: FxHashMap<&str, usize> = FxHashMap::default();
    let mut children: FxHashMap<&str, usize> = FxHashMap::default();
    for (index, name) in b.iter().map(AsRef::as_ref).enumerate() {
        names.entry(name).or_insert(index);
        if let Some(parent) = parent(name) {
            children.entry(parent).or_insert(index);
        }
    }
    let mut wildcard = String::new();
    a.iter().map(AsRef::as_ref).find_map(|name| {
        let same = names.get(name).copied();
        let other = match (name.strip_prefix("*."), parent(name)) {
            (Some(below), _) => children.get(below).copied(),
            (None, Some(parent)) => {
                wildcard.clear();
                wildcard.push_str("*.");
                wildcard.push_str(parent);
                names.get(wildcard.as_str()).copied()
            }
            (None, None) => None,
        };
        let first = match (same, other) {
            (Some(same), Some(other)) => cmp::min(same, other),
            (same, other) => same.or(other)?,
        };
        Some((name, b.get(first)?.as_ref()))
    })
}

/// What a plain name has after its first label.
fn parent(name: &str) -> Option<&str> {
    name.split_once('.').filter(|(label, _)| !label.is_empty() && *label != "*").map(|(_, parent)| parent)
}
