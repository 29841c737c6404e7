//! Which of several matching routes wins (Gateway API, HTTPRouteRule.matches).

use std::{cmp::Reverse, sync::Arc};

use ir::{
    Kind,
    route::{PathMatch, RouteMatch, StringMatch, ValueMatch},
};

/// Order of a route entry in a virtual host: the smaller key is tried first. Fields in order of weight.
///
/// Routes of all kinds stand in one order: Gateway API compares calls by service, method and headers, which are path and
/// headers of their requests. The specification leaves regular expressions to implementations; Envoy Gateway puts them between exact paths and
/// prefixes. Counts of exact header and query matches break ties before age does, also as Envoy Gateway has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    path: Reverse<PathRank>,
    method: Reverse<bool>,
    headers: Reverse<(usize, usize)>,
    cookies: Reverse<(usize, usize)>,
    query: Reverse<(usize, usize)>,
    created: i64,
    namespace: Arc<str>,
    name: Arc<str>,
    kind: Kind,
    rule: u16,
    entry: u32,
}

/// Rank of a path match: kind first, then length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Any,
    Suffix(usize),
    Prefix(usize),
    Regex(usize),
    Exact(usize),
}

/// What decides between routes that match alike: the older one wins, then the one whose `namespace/name` is first in
/// the alphabet, then the earlier rule and match.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// Creation time in seconds.
    pub created: i64,
    /// Namespace of the route.
    pub namespace: &'a Arc<str>,
    /// Name of the route.
    pub name: &'a Arc<str>,
    /// Kind of the route: of two that have all else in common, the HTTPRoute goes first.
    pub kind: Kind,
    /// Index of the rule.
    pub rule: u16,
    /// Index of the match within the rule, counting extra entries made from it.
    pub entry: u32,
}

impl OrderKey {
    /// The key of one match where routes are tried in the order in which they are written (`preserveRouteOrder` of
    /// EnvoyProxy): the older route first, in it the earlier rule and match.
    pub fn as_written(origin: &Origin<'_>) -> Self {
        OrderKey::ranked(PathRank::Any, false, Default::default(), origin)
    }

    /// The key of one match.
    pub fn new(matched: &RouteMatch, origin: &Origin<'_>) -> Self {
        let rank = |values: &[ValueMatch]| {
            (values.len(), values.iter().filter(|v| matches!(v.value, StringMatch::Exact(_))).count())
        };
        let path = match &matched.path {
            PathMatch::Exact(path) => PathRank::Exact(path.len()),
            PathMatch::Regex(path) => PathRank::Regex(path.len()),
            // A trailing slash is ignored, so `/` matches everything and ranks as no path at all.
            PathMatch::Prefix(path) => match path.trim_end_matches('/').len() {
                0 => PathRank::Any,
                length => PathRank::Prefix(length),
            },
            // A method in any service: below each service, above every header (GRPCRouteRule.matches).
            PathMatch::Suffix(path) => PathRank::Suffix(path.len()),
        };
        let values = [rank(&matched.headers), rank(&matched.cookies), rank(&matched.query)];
        OrderKey::ranked(path, matched.method.is_some(), values, origin)
    }

    /// The key of a path, a method, and of what headers, cookies and query have to be.
    fn ranked(
        path: PathRank,
        method: bool,
        [headers, cookies, query]: [(usize, usize); 3],
        origin: &Origin<'_>,
    ) -> Self {
        OrderKey {
            path: Reverse(path),
            method: Reverse(method),
            headers: Reverse(headers),
            cookies: Reverse(cookies),
            query: Reverse(query),
            created: origin.created,
            namespace: origin.namespace.clone(),
            name: origin.name.clone(),
            kind: origin.kind,
            rule: origin.rule,
            entry: origin.entry,
        }
    }
}
