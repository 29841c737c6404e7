use ir::route::{Action, PathMatch, PathRewrite, Redirect, RedirectPort};
use serde_json::{Value, json};

use super::{HOST, on, one_route, prefix, rule, text};
use crate::encode::route_field;

fn redirect() -> Redirect {
    Redirect { scheme: None, hostname: None, path: None, port: RedirectPort::OfListener, status: 301 }
}

/// The redirect of a match on a listener.
fn at(redirect: Redirect, path: PathMatch, port: u16, tls: bool) -> Value {
    one_route(&route_field(&rule(Action::Redirect(redirect)), None, &on(path), HOST, port, tls))["redirect"]
        .clone()
}

fn on_plain_80(redirect: Redirect, prefix: &str) -> Value {
    at(redirect, PathMatch::Prefix(text(prefix)), 80, false)
}

#[test]
fn only_what_is_given_changes() {
    assert_eq!(on_plain_80(redirect(), "/"), json!({}));
    let given = Redirect {
        scheme: Some(text("https")),
        hostname: Some(text("www.example.org")),
        path: Some(PathRewrite::Full(text("/gone"))),
        port: RedirectPort::OfScheme,
        status: 308,
    };
    assert_eq!(
        on_plain_80(given, "/"),
        json!({
            "schemeRedirect": "https", "hostRedirect": "www.example.org", "pathRedirect": "/gone",
            "responseCode": "PERMANENT_REDIRECT",
        })
    );
}

#[test]
fn statuses_have_names() {
    for (status, name) in [
        (301, Value::Null),
        (302, json!("FOUND")),
        (303, json!("SEE_OTHER")),
        (307, json!("TEMPORARY_REDIRECT")),
        (308, json!("PERMANENT_REDIRECT")),
    ] {
        assert_eq!(on_plain_80(Redirect { status, ..redirect() }, "/")["responseCode"], name);
    }
}

#[test]
fn the_schemes_own_port_is_left_out() {
    let port = |scheme: Option<&str>, port, listener, tls| {
        let redirect = Redirect { scheme: scheme.map(text), port, ..redirect() };
        at(redirect, PathMatch::Prefix(text("/")), listener, tls)["portRedirect"].as_u64()
    };
    // The listener's, when the route has neither scheme nor port.
    assert_eq!(port(None, RedirectPort::OfListener, 80, false), None);
    assert_eq!(port(None, RedirectPort::OfListener, 443, true), None);
    assert_eq!(port(None, RedirectPort::OfListener, 8080, false), Some(8080));
    assert_eq!(port(None, RedirectPort::OfListener, 443, false), Some(443));
    // That of the scheme that the route has.
    assert_eq!(port(Some("https"), RedirectPort::OfScheme, 80, false), None);
    assert_eq!(port(Some("http"), RedirectPort::OfScheme, 443, true), None);
    // The route's.
    assert_eq!(port(Some("https"), RedirectPort::Given(443), 80, false), None);
    assert_eq!(port(Some("http"), RedirectPort::Given(443), 80, false), Some(443));
    assert_eq!(port(Some("https"), RedirectPort::Given(80), 80, false), Some(80));
    assert_eq!(port(None, RedirectPort::Given(443), 443, true), None);
    assert_eq!(port(None, RedirectPort::Given(9090), 80, false), Some(9090));
}

#[test]
fn the_schemes_own_port_takes_the_place_of_an_odd_one() {
    let port = |scheme: Option<&str>, port, hostname: Option<&str>, tls| {
        let scheme = scheme.map(text);
        let redirect = Redirect { scheme, port, hostname: hostname.map(text), ..redirect() };
        at(redirect, PathMatch::Prefix(text("/")), 8080, tls)["portRedirect"].as_u64()
    };
    // `Host: example.com:8080` would keep its port.
    assert_eq!(port(Some("https"), RedirectPort::OfScheme, None, false), Some(443));
    assert_eq!(port(Some("https"), RedirectPort::Given(443), None, false), Some(443));
    assert_eq!(port(None, RedirectPort::Given(443), None, true), Some(443));
    assert_eq!(port(None, RedirectPort::Given(80), None, false), Some(80));
    // Another host takes the request's port along.
    assert_eq!(port(Some("https"), RedirectPort::OfScheme, Some("example.org"), false), None);
    assert_eq!(port(None, RedirectPort::OfListener, Some("example.org"), false), Some(8080));
}

#[test]
fn a_replaced_prefix_is_a_path_element() {
    let to = |prefix: &str, replacement: &str| {
        on_plain_80(Redirect { path: Some(PathRewrite::Prefix(text(replacement))), ..redirect() }, prefix)
    };
    assert_eq!(to("/foo", "/bar"), json!({"prefixRewrite": "/bar"}));
    assert_eq!(to("/foo/", "/bar/"), json!({"prefixRewrite": "/bar"}));
    // `/x` becomes `/bar/x`, not `/barx`.
    assert_eq!(to("/", "/bar"), json!({"prefixRewrite": "/bar/"}));
}

#[test]
fn a_prefix_replaced_by_the_root_leaves_one_slash() {
    let to_root = |prefix: &str, replacement: &str| {
        on_plain_80(Redirect { path: Some(PathRewrite::Prefix(text(replacement))), ..redirect() }, prefix)
    };
    let pattern =
        |pattern: &str| json!({"regexRewrite": {"pattern": {"regex": pattern}, "substitution": "/"}});
    assert_eq!(to_root("/foo", "/"), pattern(r"^/foo\/*"));
    assert_eq!(to_root("/foo", ""), pattern(r"^/foo\/*"));
    assert_eq!(to_root("/foo/", "/"), pattern(r"^/foo\/*"));
    assert_eq!(to_root("/v1.0/(a)", ""), pattern(r"^/v1\.0/\(a\)\/*"));
    assert_eq!(to_root("/", "/"), pattern(r"^/\/*"));
}

#[test]
fn without_a_prefix_the_whole_path_is_replaced() {
    let redirect = Redirect { path: Some(PathRewrite::Prefix(text("/bar/"))), ..redirect() };
    let found = at(redirect, PathMatch::Exact(text("/foo")), 80, false);
    assert_eq!(found, json!({"prefixRewrite": "/bar/"}));
}

#[test]
fn a_direct_response_has_no_body() {
    let rule = rule(Action::Direct { status: 503 });
    let found = one_route(&route_field(&rule, None, &prefix("/"), HOST, 80, false));
    assert_eq!(found["directResponse"], json!({"status": 503}));
    assert_eq!(found["route"], Value::Null);
}
