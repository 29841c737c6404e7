//! Session persistence of routes.

use envoy_api::{
    any,
    core::TypedExtensionConfig,
    duration,
    http_types::Cookie,
    stateful_session::{StatefulSession, StatefulSessionPerRoute, stateful_session_per_route::Override},
    stateful_session_cookie::CookieBasedSessionState,
    stateful_session_header::HeaderBasedSessionState,
    well_known::Any,
};
use ir::route::{PathMatch, SessionCarrier, SessionPersistence};

use super::matching::without_trailing_slash;

/// The configuration that a route with this path has for the session filter.
pub(super) fn per_route(session: &SessionPersistence, path: &PathMatch) -> Any {
    let (name, state) = match &session.carrier {
        SessionCarrier::Cookie { ttl } => {
            let cookie = Cookie {
                name: session.name.to_string(),
                path: cookie_path(path).to_owned(),
                ttl: ttl.map(duration),
                ..Default::default()
            };
            let state = any(&CookieBasedSessionState { cookie: Some(cookie) });
            ("envoy.http.stateful_session.cookie", state)
        }
        SessionCarrier::Header => {
            let state = any(&HeaderBasedSessionState { name: session.name.to_string() });
            ("envoy.http.stateful_session.header", state)
        }
    };
    any(&StatefulSessionPerRoute {
        r#override: Some(Override::StatefulSession(StatefulSession {
            session_state: Some(TypedExtensionConfig { name: name.to_owned(), typed_config: Some(state) }),
            ..Default::default()
        })),
    })
}

/// The path of the cookie (GEP-1619): that of the match; of a regular expression, the segments that are plain text.
fn cookie_path(path: &PathMatch) -> &str {
    let path = match path {
        PathMatch::Exact(path) => path,
        PathMatch::Prefix(prefix) => without_trailing_slash(prefix),
        PathMatch::Regex(pattern) => plain_segments(pattern),
        PathMatch::Suffix(_) => "",
    };
    if path.is_empty() { "/" } else { path }
}

/// What comes before the segment with the first special character; everything when there is none.
fn plain_segments(pattern: &str) -> &str {
    let Some(special) = pattern.find(|character| r"\.+*?()|[]{}^$".contains(character)) else {
        return pattern;
    };
    let plain = pattern.get(..special).unwrap_or_default();
    let end = plain.rfind('/').unwrap_or_default();
    plain.get(..end).unwrap_or_default()
}
