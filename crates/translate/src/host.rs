//! Hostnames: intersection of listeners and routes.

use std::sync::Arc;

use store::{NameId, Store};

/// A host that a virtual host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// Every host.
    Any,
    /// One hostname, perhaps with a leading wildcard label.
    Name(NameId),
}

impl Host {
    /// The host as a virtual host's domain; `*` for every host.
    pub fn text(self, store: &Store) -> Arc<str> {
        match self {
            Host::Any => "*".into(),
            Host::Name(name) => store.name(name).clone(),
        }
    }
}

/// True when `pattern` matches every name that `host` stands for: equal, or a wildcard over one or more labels
/// (Gateway API, Hostname: `*.example.com` matches `a.b.example.com`, not `example.com`).
pub fn covers(pattern: &str, host: &str) -> bool {
    if pattern == host {
        return true;
    }
    match pattern.strip_prefix('*') {
        // `suffix` begins with the dot, so a host that merely ends alike does not match; and for a wildcard host the
        // star stands in the place of at least one label.
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => false,
    }
}

/// The more specific of a listener's and a route's hostname when they intersect.
pub fn intersect<'a>(listener: &'a str, route: &'a str) -> Option<&'a str> {
    if covers(listener, route) {
        Some(route)
    } else if covers(route, listener) {
        Some(listener)
    } else {
        None
    }
}

/// Every pattern but the hostname itself that covers it: `*.b.c` and `*.c` for `a.b.c`, `*.c` for `*.b.c`; and the empty
/// one of listeners for any host.
pub fn wider(hostname: &str) -> impl Iterator<Item = String> + '_ {
    let skipped = usize::from(hostname.starts_with('*'));
    let dots = hostname.match_indices('.').skip(skipped);
    dots.map(|(at, _)| format!("*{}", &hostname[at..])).chain([String::new()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_or_more_labels_but_not_its_own_domain() {
        for host in ["a.example.com", "a.b.example.com", "*.example.com", "*.a.example.com"] {
            assert!(covers("*.example.com", host), "{host}");
        }
        for host in ["example.com", "badexample.com", "a.example.org", "*.com"] {
            assert!(!covers("*.example.com", host), "{host}");
        }
        assert!(covers("example.com", "example.com"));
        assert!(!covers("example.com", "a.example.com"));
    }

    #[test]
    fn the_more_specific_hostname_is_the_intersection() {
        assert_eq!(intersect("*.example.com", "a.example.com"), Some("a.example.com"));
        assert_eq!(intersect("a.example.com", "*.example.com"), Some("a.example.com"));
        assert_eq!(intersect("*.example.com", "*.a.example.com"), Some("*.a.example.com"));
        assert_eq!(intersect("a.example.com", "b.example.com"), None);
        assert_eq!(intersect("*.example.com", "*.example.org"), None);
    }

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
