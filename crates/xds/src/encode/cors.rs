//! CORS policies of routes.

use std::sync::Arc;

use envoy_api::{
    any,
    cors::CorsPolicy,
    matcher::StringMatcher,
    well_known::{Any, boolean},
};
use ir::route::Cors;

use super::matching::{exact, push_quoted, regex};

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

/// Every `*` in an origin stands for any text, as in `*` or `https://*.example.com`.
fn origin(origin: &str) -> StringMatcher {
    if !origin.contains(WILDCARD) {
        return exact(origin);
    }
    let mut pattern = String::with_capacity(origin.len() + 8);
    for (index, part) in origin.split(WILDCARD).enumerate() {
        if index > 0 {
            pattern.push_str(".*");
        }
        push_quoted(&mut pattern, part);
    }
    regex(&pattern)
}

/// Envoy takes `*` for everything only when it stands alone.
fn list_or_any(values: &[Arc<str>]) -> String {
    if values.iter().any(|value| &**value == WILDCARD) { WILDCARD.to_owned() } else { values.join(", ") }
}
