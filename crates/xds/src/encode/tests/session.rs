use std::time::Duration;

use ir::route::{Forward, PathMatch, SessionCarrier, SessionPersistence};
use serde_json::{Value, json};

use super::{encoded, forward, forwarding, on, text};

fn persistence(carrier: SessionCarrier, path: PathMatch) -> Value {
    let session = SessionPersistence { name: text("session-a"), carrier };
    let rule = forwarding(Forward { session: Some(session), ..forward() });
    encoded(&rule, &on(path))["typedPerFilterConfig"]["envoy.filters.http.stateful_session"].clone()
}

#[test]
fn a_cookie_has_the_path_of_the_match() {
    let ttl = Some(Duration::from_secs(3600));
    assert_eq!(
        persistence(SessionCarrier::Cookie { ttl }, PathMatch::Prefix(text("/cart"))),
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
            "statefulSession": {"sessionState": {
                "name": "envoy.http.stateful_session.cookie",
                "typedConfig": {
                    "@type": "type.googleapis.com/envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState",
                    "cookie": {"name": "session-a", "path": "/cart", "ttl": "3600s"},
                },
            }},
        })
    );
    let path = |path: PathMatch| {
        let found = persistence(SessionCarrier::Cookie { ttl: None }, path);
        found["statefulSession"]["sessionState"]["typedConfig"]["cookie"]["path"].as_str().unwrap().to_owned()
    };
    assert_eq!(path(PathMatch::Prefix(text("/"))), "/");
    // A browser would not send a cookie of `/cart/` to `/cart`, which the prefix takes.
    assert_eq!(path(PathMatch::Prefix(text("/cart/"))), "/cart");
    assert_eq!(path(PathMatch::Exact(text("/cart/"))), "/cart/");
    assert_eq!(path(PathMatch::Regex(text("/v1/.*/pay"))), "/v1");
    assert_eq!(path(PathMatch::Regex(text("/v1/p[0-9]+"))), "/v1");
    assert_eq!(path(PathMatch::Regex(text("/v1/pay"))), "/v1/pay");
    assert_eq!(path(PathMatch::Regex(text("/.*"))), "/");
    assert_eq!(path(PathMatch::Regex(text(""))), "/");
}

#[test]
fn a_header_has_a_name_only() {
    assert_eq!(
        persistence(SessionCarrier::Header, PathMatch::Prefix(text("/")))["statefulSession"]["sessionState"],
        json!({
            "name": "envoy.http.stateful_session.header",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState",
                "name": "session-a",
            },
        })
    );
}
