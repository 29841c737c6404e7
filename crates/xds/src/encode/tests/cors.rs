use ir::route::{Action, Cors, Redirect, RedirectPort, RouteMatch, Rule, StringMatch, ValueMatch};
use serde_json::{Value, json};

use super::{HOST, encoded, forward, forwarding, one_route, prefix, rule, text};
use crate::encode::cors_preflight_field;

fn cors() -> Cors {
    Cors {
        allow_origins: [text("https://www.example.com"), text("https://*.example.org:8080"), text("*")]
            .into(),
        allow_methods: [text("GET"), text("POST")].into(),
        allow_headers: [text("x-a"), text("*")].into(),
        expose_headers: [text("x-b"), text("x-c")].into(),
        max_age: Some(600),
        allow_credentials: true,
    }
}

fn get() -> RouteMatch {
    let headers = [ValueMatch { name: text("x-org"), value: StringMatch::Exact(text("a")) }];
    RouteMatch { method: Some(text("GET")), headers: headers.into(), ..prefix("/foo") }
}

fn preflight(rule: &Rule, matched: &RouteMatch) -> Option<Value> {
    cors_preflight_field(rule, matched, HOST).map(|field| one_route(&field))
}

#[test]
fn origins_with_wildcards_are_patterns_and_lists_are_joined() {
    let rule = Rule { cors: Some(cors()), ..forwarding(forward()) };
    assert_eq!(
        encoded(&rule, &prefix("/"))["typedPerFilterConfig"]["envoy.filters.http.cors"],
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
            "allowOriginStringMatch": [
                {"exact": "https://www.example.com"},
                {"safeRegex": {"regex": r"https://.*\.example\.org:8080"}},
                {"safeRegex": {"regex": ".*"}},
            ],
            "allowMethods": "GET, POST",
            // Envoy knows the wildcard only when it stands alone.
            "allowHeaders": "*",
            "exposeHeaders": "x-b, x-c",
            "maxAge": "600",
            "allowCredentials": true,
            "forwardNotMatchingPreflights": false,
        })
    );
}

#[test]
fn an_empty_policy_says_no_in_so_many_words() {
    let empty = Cors {
        allow_origins: [].into(),
        allow_methods: [].into(),
        allow_headers: [].into(),
        expose_headers: [].into(),
        max_age: None,
        allow_credentials: false,
    };
    let rule = Rule { cors: Some(empty), ..forwarding(forward()) };
    assert_eq!(
        encoded(&rule, &prefix("/"))["typedPerFilterConfig"]["envoy.filters.http.cors"],
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
            "allowCredentials": false, "forwardNotMatchingPreflights": false,
        })
    );
}

#[test]
fn a_match_by_method_gets_a_route_for_its_preflights() {
    let rule = Rule { cors: Some(cors()), ..forwarding(forward()) };
    let found = preflight(&rule, &get()).unwrap();
    assert_eq!(found["name"], "httproute/default/shop/rule/0/match/0/cors-preflight/*_example_com");
    assert_eq!(
        found["match"],
        json!({
            "pathSeparatedPrefix": "/foo",
            "headers": [
                {"name": "x-org", "stringMatch": {"exact": "a"}},
                {"name": ":method", "stringMatch": {"exact": "OPTIONS"}},
                {"name": "origin", "stringMatch": {"safeRegex": {"regex": ".*"}}},
                {"name": "access-control-request-method", "stringMatch": {"safeRegex": {"regex": ".*"}}},
            ],
        })
    );
    assert_eq!(found["route"], encoded(&rule, &get())["route"]);
    assert_eq!(found["typedPerFilterConfig"], encoded(&rule, &get())["typedPerFilterConfig"]);
}

#[test]
fn preflights_are_not_redirected() {
    let redirect =
        Redirect { scheme: None, hostname: None, path: None, port: RedirectPort::OfListener, status: 302 };
    let rule = Rule { cors: Some(cors()), ..rule(Action::Redirect(redirect)) };
    // The filter answers them, and acts on routes to clusters alone.
    for method in [None, Some(text("GET")), Some(text("OPTIONS"))] {
        let found = preflight(&rule, &RouteMatch { method, ..get() }).unwrap();
        assert_eq!(
            found["route"],
            json!({
                "cluster": "invalid-backend-cluster", "clusterNotFoundResponseCode": "INTERNAL_SERVER_ERROR",
            })
        );
        assert!(found["typedPerFilterConfig"]["envoy.filters.http.cors"].is_object());
    }
}

#[test]
fn other_matches_need_no_route_for_preflights() {
    let with_cors = Rule { cors: Some(cors()), ..forwarding(forward()) };
    assert_eq!(preflight(&forwarding(forward()), &get()), None);
    assert_eq!(preflight(&with_cors, &RouteMatch { method: None, ..get() }), None);
    assert_eq!(preflight(&with_cors, &RouteMatch { method: Some(text("OPTIONS")), ..get() }), None);
    let cookies = [ValueMatch { name: text("c"), value: StringMatch::Exact(text("1")) }];
    assert_eq!(preflight(&with_cors, &RouteMatch { cookies: cookies.into(), ..get() }), None);
}
