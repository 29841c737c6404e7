//! Which DNS names, plain or with a wildcard in front, cover or meet which.

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
    !label.is_empty() && !label.contains('*') && rest.eq_ignore_ascii_case(parent)
}

/// Whether two names, each plain or with a wildcard in front, have a host name in common: the overlap of Gateway API's
/// `OverlappingTLSConfig` (GEP-3567).
pub fn names_overlap(a: &str, b: &str) -> bool {
    dns_name_matches(a, b) || dns_name_matches(b, a)
}

/// Names of several holders (listeners with their certificates), to find who has a host name in common with whom.
///
/// Names must be in lower case. A question costs as much as its answer is long, however many names there are:
/// certificates may hold thousands, and a port may have as many listeners.
#[derive(Debug, Default)]
pub struct NameIndex<'a> {
    same: FxHashMap<&'a str, Vec<usize>>,
    /// Plain names by what follows their first label.
    below: FxHashMap<&'a str, Vec<(usize, &'a str)>>,
}

impl<'a> NameIndex<'a> {
    /// Adds a name of a holder.
    pub fn add(&mut self, name: &'a str, holder: usize) {
        self.same.entry(name).or_default().push(holder);
        if let Some(parent) = parent(name) {
            self.below.entry(parent).or_default().push((holder, name));
        }
    }

    /// The holders of names that overlap `name`, with these names; those of equal names first.
    pub fn overlapping(&self, name: &str) -> impl Iterator<Item = (usize, &'a str)> + '_ {
        let wildcard = parent(name).map(|parent| format!("*.{parent}"));
        let below = name.strip_prefix("*.").and_then(|parent| self.below.get(parent));
        let same = [Some(name), wildcard.as_deref()].map(|name| self.same.get_key_value(name?));
        let same = same.into_iter().flatten();
        same.flat_map(|(name, holders)| holders.iter().map(|holder| (*holder, *name)))
            .chain(below.into_iter().flatten().copied())
    }
}

/// What a plain name has after its first label.
fn parent(name: &str) -> Option<&str> {
    name.split_once('.')
        .filter(|(label, _)| !label.is_empty() && !label.contains('*'))
        .map(|(_, parent)| parent)
}

/// The name that clients compare a host with, for a DNS name of a certificate in lower case: a dot at its end does not
/// count, as in Chrome and curl.
///
/// # Errors
/// In words that follow the name, when clients find no host by it (RFC 5280 §4.2.1.6, RFC 9525 §6.3).
pub(super) fn sought(name: &str) -> Result<&str, &'static str> {
    const MOST: usize = 253;
    const MOST_OF_LABEL: usize = 63;
    const NO_NAME: &str = "is no DNS name";
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = name.strip_prefix("*.").unwrap_or(name);
    if !name.is_ascii() {
        return Err("is not ASCII: certificates hold the A-label (xn--)");
    }
    if plain.contains('*') {
        return Err("has a wildcard that is not the whole first label");
    }
    let letters =
        |label: &str| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let label = |label: &str| (1..=MOST_OF_LABEL).contains(&label.len()) && letters(label);
    if name.len() > MOST || !plain.split('.').all(label) {
        return Err(NO_NAME);
    }
    // No top-level domain is a number (RFC 3696 §2).
    let last = plain.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is an IP address, or part of one, which clients look for among the IP addresses alone");
    }
    Ok(name)
}
