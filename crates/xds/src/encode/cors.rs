//! CORS policies of routes.

use std::sync::Arc;

use envoy_api::{
    any,
    core::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
    cors::CorsPolicy,
    matcher::StringMatcher,
    route::HeaderMatcher,
    well_known::{Any, boolean},
};
use ir::route::Cors;

use super::{
    command,
    matching::{exact, header, push_quoted, regex},
};

const WILDCARD: &str = "*";

/// The policy as the configuration that a route has for the CORS filter.
pub(super) fn policy(cors: &Cors) -> Any {
    any(&CorsPolicy {
        allow_origin_string_match: cors.allow_origins.iter().map(|origin| self::origin(origin)).collect(),
        allow_methods: list_or_any(&cors.allow_methods),
        allow_headers: list_or_any(&cors.allow_headers),
        expose_headers: cors.expose_headers.join(", "),
        max_age: cors.max_age.map(|seconds| seconds.to_string()).unwrap_or_default(),
        allow_credentials: boolean(cors.allow_credentials),
        // A preflight that fits no route must not reach the backend.
        forward_not_matching_preflights: boolean(false),
        ..Default::default()
    })
}

fn origin(origin: &str) -> StringMatcher {
    if !origin.contains(WILDCARD) {
        return exact(origin);
    }
    regex(&pattern(origin))
}

/// Every `*` in an origin stands for any text, as in `*` or `https://*.example.com`.
fn pattern(origin: &str) -> String {
    let mut pattern = String::with_capacity(origin.len() + 8);
    for (index, part) in origin.split(WILDCARD).enumerate() {
        if index > 0 {
            pattern.push_str(".*");
        }
        push_quoted(&mut pattern, part);
    }
    pattern
}

/// A matcher of requests that come from an origin which is allowed.
pub(super) fn allowed_origin(cors: &Cors) -> HeaderMatcher {
    let patterns: Vec<String> = cors.allow_origins.iter().map(|origin| pattern(origin)).collect();
    header("origin", regex(&patterns.join("|")))
}

/// What the CORS filter adds to responses for an origin that is allowed.
pub(super) fn answer_headers(cors: &Cors) -> Vec<HeaderValueOption> {
    let exposed = cors.expose_headers.join(", ");
    let header = |name: &str, value: &str| HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    };
    let mut headers = vec![header("access-control-allow-origin", "%REQ(ORIGIN)%")];
    headers.extend(cors.allow_credentials.then(|| header("access-control-allow-credentials", "true")));
    headers.extend(
        (!exposed.is_empty()).then(|| header("access-control-expose-headers", &command::escape(&exposed))),
    );
    headers
}

/// Envoy takes `*` for everything only when it stands alone.
fn list_or_any(values: &[Arc<str>]) -> String {
    if values.iter().any(|value| &**value == WILDCARD) { WILDCARD.to_owned() } else { values.join(", ") }
}
