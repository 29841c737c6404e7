//! Why one of two routes that both take a request is tried first.
//!
//! The order itself is made in translation (`translate::precedence`) and stands in the virtual host. Here the first
//! difference between two routes is told in its terms, from what they ask for.

use std::cmp::{Ordering, Reverse};

use envoy_api::{
    matcher::{StringMatcher, string_matcher::MatchPattern},
    route::{
        RouteMatch, header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier, route_match::PathSpecifier,
    },
};

use crate::{matching::path_suffix, origin::Origin};

/// Path matches from the weakest, with their length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Path {
    Any,
    Suffix(usize),
    Prefix(usize),
    Regex(usize),
    Exact(usize),
}

/// How much a match asks for.
struct Rank {
    path: Path,
    method: bool,
    /// How many, and how many of them by a whole value.
    headers: (usize, usize),
    cookies: (usize, usize),
    query: (usize, usize),
}

impl Rank {
    fn of(wanted: &RouteMatch) -> Rank {
        let suffix = wanted.headers.iter().find_map(path_suffix);
        let path = match (&wanted.path_specifier, suffix) {
            (_, Some(length)) => Path::Suffix(length),
            (Some(PathSpecifier::Path(path)), None) => Path::Exact(path.len()),
            (Some(PathSpecifier::SafeRegex(regex)), None) => Path::Regex(regex.regex.len()),
            (Some(PathSpecifier::PathSeparatedPrefix(prefix)), None) => Path::Prefix(prefix.len()),
            (Some(PathSpecifier::Prefix(prefix)), None) if prefix != "/" => Path::Prefix(prefix.len()),
            _ => Path::Any,
        };
        let headers = wanted.headers.iter().filter(|header| !header.name.starts_with(':'));
        let headers: Vec<bool> = headers
            .map(|header| match &header.header_match_specifier {
                Some(HeaderMatchSpecifier::StringMatch(value)) => is_exact(value),
                _ => false,
            })
            .collect();
        let query = wanted.query_parameters.iter().map(|parameter| {
            match &parameter.query_parameter_match_specifier {
                Some(QueryParameterMatchSpecifier::StringMatch(value)) => is_exact(value),
                _ => false,
            }
        });
        let cookies = wanted.cookies.iter().map(|cookie| cookie.string_match.as_ref().is_some_and(is_exact));
        Rank {
            path,
            method: wanted.headers.iter().any(|header| header.name == ":method"),
            headers: counted(headers.into_iter()),
            cookies: counted(cookies),
            query: counted(query),
        }
    }
}

fn counted(exact: impl Iterator<Item = bool>) -> (usize, usize) {
    exact.fold((0, 0), |(all, whole), exact| (all + 1, whole + usize::from(exact)))
}

fn is_exact(value: &StringMatcher) -> bool {
    matches!(value.match_pattern, Some(MatchPattern::Exact(_)))
}

/// Why the first of two routes goes before the second.
pub(crate) fn why(winner: (&RouteMatch, &Origin), loser: (&RouteMatch, &Origin)) -> String {
    let (a, b) = (Rank::of(winner.0), Rank::of(loser.0));
    if a.path != b.path {
        return by_path(a.path, b.path);
    }
    if a.method != b.method {
        return reason(a.method, "the other names a method");
    }
    for (what, a, b) in [
        ("header", a.headers, b.headers),
        ("cookie", a.cookies, b.cookies),
        ("query parameter", a.query, b.query),
    ] {
        if a.0 != b.0 {
            return reason(a > b, &format!("the other matches more {what}s ({} over {})", a.0, b.0));
        }
        if a.1 != b.1 {
            return reason(
                a > b,
                &format!("the other matches more {what}s by their whole value ({} over {})", a.1, b.1),
            );
        }
    }
    by_origin(winner.1, loser.1)
}

fn by_path(winner: Path, loser: Path) -> String {
    let (kind, length) = match winner {
        Path::Exact(length) => ("an exact path", length),
        Path::Regex(length) => ("a regular expression", length),
        Path::Prefix(length) => ("a path prefix", length),
        Path::Suffix(length) => ("a method of any service", length),
        Path::Any => ("any path", 0),
    };
    let same = std::mem::discriminant(&winner) == std::mem::discriminant(&loser);
    let text = if same {
        format!("the other has the longer path ({length} characters)")
    } else {
        format!("the other matches {kind}, which goes before what this one matches")
    };
    reason(winner > loser, &text)
}

/// Why one goes before the other whatever they match: by age, name and place.
pub(crate) fn by_origin(winner: &Origin, loser: &Origin) -> String {
    let same_object = (&winner.named.kind, &winner.named.namespace, &winner.named.name)
        == (&loser.named.kind, &loser.named.namespace, &loser.named.name);
    if same_object {
        let (a, b) = ((winner.rule, winner.matched), (loser.rule, loser.matched));
        return match a.0.cmp(&b.0) {
            Ordering::Equal => reason(a.1 <= b.1, "the other is an earlier match of the same rule"),
            _ => reason(
                a.0 < b.0,
                &format!("the other is in an earlier rule of the same object ({})", winner.rule),
            ),
        };
    }
    let key = |origin: &Origin| Reverse(origin.created);
    if winner.created != loser.created {
        return reason(key(winner) > key(loser), "the other's object is older");
    }
    let name = |origin: &Origin| (origin.named.namespace.clone(), origin.named.name.clone());
    match name(winner).cmp(&name(loser)) {
        Ordering::Equal => "the other is an HTTPRoute of the same name".to_owned(),
        order => reason(
            order == Ordering::Less,
            "both are of the same age, and the other's namespace and name come first in the alphabet",
        ),
    }
}

/// The reason, if it agrees with the order in the virtual host.
fn reason(agrees: bool, text: &str) -> String {
    if agrees { text.to_owned() } else { "the other stands before it in the virtual host".to_owned() }
}
