//! Which requests a route takes.

use envoy_api::{
    matcher::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
    route::{
        CookieMatcher, HeaderMatcher, QueryParameterMatcher, RouteMatch as Message,
        header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier,
        route_match::{ConnectMatcher, PathSpecifier},
    },
};
use ir::route::{PathMatch, RouteMatch, StringMatch};

const METHOD: &str = ":method";
const PATH: &str = ":path";

/// The match as the route has it.
pub(super) fn route_match(matched: &RouteMatch) -> Message {
    let mut message = without_method(matched);
    message.headers.extend(matched.method.as_deref().map(|method| header(METHOD, exact(method))));
    message
}

/// The match for CONNECT requests, which have no path.
pub(super) fn connect_match(matched: &RouteMatch) -> Message {
    Message { path_specifier: Some(PathSpecifier::ConnectMatcher(ConnectMatcher {})), ..route_match(matched) }
}

/// The preflight requests of browsers for requests that the match takes: the same but for the method, and with the
/// headers that make a request a preflight.
pub(super) fn preflight_match(matched: &RouteMatch) -> Message {
    let mut message = without_method(matched);
    message.headers.extend([
        header(METHOD, exact("OPTIONS")),
        header("origin", regex(".*")),
        header("access-control-request-method", regex(".*")),
    ]);
    message
}

fn without_method(matched: &RouteMatch) -> Message {
    // One more for the method, which most matches with headers have.
    let mut headers = Vec::with_capacity(matched.headers.len() + 1);
    headers.extend(matched.headers.iter().map(|wanted| header(&wanted.name, string(&wanted.value))));
    if let PathMatch::Suffix(suffix) = &matched.path {
        let pattern = Some(MatchPattern::Suffix(suffix.to_string()));
        headers.push(header(PATH, StringMatcher { match_pattern: pattern, ..Default::default() }));
    }
    let query = matched.query.iter().map(|wanted| QueryParameterMatcher {
        name: wanted.name.to_string(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(string(
            &wanted.value,
        ))),
    });
    let cookies = matched.cookies.iter().map(|wanted| CookieMatcher {
        name: wanted.name.to_string(),
        string_match: Some(string(&wanted.value)),
        ..Default::default()
    });
    Message {
        path_specifier: Some(path(&matched.path)),
        headers,
        query_parameters: query.collect(),
        cookies: cookies.collect(),
        ..Default::default()
    }
}

fn path(path: &PathMatch) -> PathSpecifier {
    match path {
        PathMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
        PathMatch::Prefix(prefix) => match without_trailing_slash(prefix) {
            // Envoy refuses `path_separated_prefix: /`.
            "" => PathSpecifier::Prefix("/".to_owned()),
            prefix => PathSpecifier::PathSeparatedPrefix(prefix.to_owned()),
        },
        PathMatch::Regex(pattern) => PathSpecifier::SafeRegex(regex_matcher(pattern)),
        // Envoy has no path match of its own for it: a match of the header `:path` decides.
        PathMatch::Suffix(_) => PathSpecifier::Prefix("/".to_owned()),
    }
}

/// A path prefix as it matches: a trailing slash is ignored (Gateway API, `PathPrefix`), so the root is empty.
pub(super) fn without_trailing_slash(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// A matcher of a header's value.
pub(super) fn header(name: &str, value: StringMatcher) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(value)),
        ..Default::default()
    }
}

/// A matcher of a value.
pub(super) fn string(value: &StringMatch) -> StringMatcher {
    let pattern = match value {
        StringMatch::Exact(value) => return exact(value),
        StringMatch::Regex(pattern) => return regex(pattern),
        StringMatch::Prefix(prefix) => MatchPattern::Prefix(prefix.to_string()),
        StringMatch::Suffix(suffix) => MatchPattern::Suffix(suffix.to_string()),
    };
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

/// A matcher of the whole string.
pub(super) fn exact(value: &str) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Exact(value.to_owned())), ..Default::default() }
}

/// A matcher of the whole string by a regular expression.
pub(super) fn regex(pattern: &str) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(MatchPattern::SafeRegex(regex_matcher(pattern))),
        ..Default::default()
    }
}

/// A regular expression (RE2), as it is.
pub(super) fn regex_matcher(pattern: &str) -> RegexMatcher {
    RegexMatcher { regex: pattern.to_owned(), ..Default::default() }
}

/// Appends text to a regular expression so that it matches itself.
pub(super) fn push_quoted(pattern: &mut String, text: &str) {
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
}
