use ir::route::{PathMatch, RouteMatch, StringMatch, ValueMatch};
use serde_json::{Value, json};

use super::{encoded, forward, forwarding, on, prefix, text};

fn matched(matched: &RouteMatch) -> Value {
    encoded(&forwarding(forward()), matched)["match"].clone()
}

fn exact(name: &str, value: &str) -> ValueMatch {
    ValueMatch { name: text(name), value: StringMatch::Exact(text(value)) }
}

fn regex(name: &str, value: &str) -> ValueMatch {
    ValueMatch { name: text(name), value: StringMatch::Regex(text(value)) }
}

#[test]
fn prefixes_are_path_elements() {
    assert_eq!(matched(&prefix("/")), json!({"prefix": "/"}));
    assert_eq!(matched(&prefix("/foo")), json!({"pathSeparatedPrefix": "/foo"}));
    assert_eq!(matched(&prefix("/foo/")), json!({"pathSeparatedPrefix": "/foo"}));
    assert_eq!(matched(&prefix("/foo/bar/")), json!({"pathSeparatedPrefix": "/foo/bar"}));
}

#[test]
fn exact_paths_keep_their_slash_and_patterns_are_untouched() {
    assert_eq!(matched(&on(PathMatch::Exact(text("/foo/")))), json!({"path": "/foo/"}));
    assert_eq!(matched(&on(PathMatch::Regex(text(r"/v\d/.*")))), json!({"safeRegex": {"regex": r"/v\d/.*"}}));
}

#[test]
fn the_method_comes_after_the_headers() {
    let wanted = RouteMatch {
        method: Some(text("GET")),
        headers: [exact("X-Org", "a"), regex("version", "v[12]")].into(),
        ..prefix("/")
    };
    assert_eq!(
        matched(&wanted)["headers"],
        json!([
            {"name": "X-Org", "stringMatch": {"exact": "a"}},
            {"name": "version", "stringMatch": {"safeRegex": {"regex": "v[12]"}}},
            {"name": ":method", "stringMatch": {"exact": "GET"}},
        ])
    );
}

#[test]
fn query_parameters_and_cookies_match_by_value() {
    let wanted = RouteMatch {
        query: [exact("user", ""), regex("page", "[0-9]+")].into(),
        cookies: [exact("lang", "de"), regex("beta", "on|1")].into(),
        ..prefix("/")
    };
    let found = matched(&wanted);
    assert_eq!(
        found["queryParameters"],
        json!([
            {"name": "user", "stringMatch": {"exact": ""}},
            {"name": "page", "stringMatch": {"safeRegex": {"regex": "[0-9]+"}}},
        ])
    );
    assert_eq!(
        found["cookies"],
        json!([
            {"name": "lang", "stringMatch": {"exact": "de"}},
            {"name": "beta", "stringMatch": {"safeRegex": {"regex": "on|1"}}},
        ])
    );
}
