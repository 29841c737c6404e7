use std::time::Duration;

use ir::route::{
    Forward, HeaderMutations, HeaderValue, Mirror, PathRewrite, Retry, Rule, Target, WeightedCluster,
};
use serde_json::{Value, json};

use super::{action, encoded, forward, forwarding, prefix, text};
use crate::encode::clusters_of;

fn header(name: &str, value: &str, append: bool) -> HeaderValue {
    HeaderValue { name: text(name), value: text(value), append }
}

fn weighted(name: &str, weight: u32) -> WeightedCluster {
    WeightedCluster {
        name: text(name),
        weight,
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        host_rewrite: None,
    }
}

fn mirror(numerator: Option<u32>, denominator: u32) -> Mirror {
    Mirror { cluster: text("mirror"), numerator, denominator }
}

#[test]
fn without_settings_only_cluster_and_websocket_remain() {
    let plain = action(Forward { websocket: false, ..forward() });
    assert_eq!(plain, json!({"cluster": "httproute/default/shop/rule/0"}));
}

#[test]
fn weighted_clusters_carry_their_own_changes() {
    let changed = WeightedCluster {
        request_headers: HeaderMutations {
            add: [header("x-a", "1", true)].into(),
            remove: [text("x-b")].into(),
        },
        response_headers: HeaderMutations {
            add: [header("x-c", "2", false)].into(),
            remove: [text("x-d")].into(),
        },
        host_rewrite: Some(text("internal.example.com")),
        ..weighted("second", 3)
    };
    let target = Target::Weighted { clusters: [weighted("first", 1), changed].into(), missing_status: None };
    let found = action(Forward { target, websocket: false, ..forward() });
    assert_eq!(
        found,
        json!({
            "clusterNotFoundResponseCode": "INTERNAL_SERVER_ERROR",
            "weightedClusters": {"clusters": [
                {"name": "first", "weight": 1},
                {
                    "name": "second", "weight": 3, "hostRewriteLiteral": "internal.example.com",
                    "requestHeadersToAdd": [{"header": {"key": "x-a", "value": "1"}}],
                    "requestHeadersToRemove": ["x-b"],
                    "responseHeadersToAdd": [
                        {"header": {"key": "x-c", "value": "2"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD"},
                    ],
                    "responseHeadersToRemove": ["x-d"],
                },
            ]},
        })
    );
}

#[test]
fn missing_clusters_answer_500_or_503() {
    let code = |missing_status| {
        let target = Target::Weighted { clusters: [weighted("a", 1)].into(), missing_status };
        action(Forward { target, ..forward() })["clusterNotFoundResponseCode"].clone()
    };
    assert_eq!(code(None), "INTERNAL_SERVER_ERROR");
    assert_eq!(code(Some(500)), "INTERNAL_SERVER_ERROR");
    // Envoy's default, so it is left out.
    assert_eq!(code(Some(503)), Value::Null);
}

#[test]
fn a_rewritten_host_is_told_to_the_backend() {
    let found = action(Forward { host_rewrite: Some(text("internal")), ..forward() });
    assert_eq!(found["hostRewriteLiteral"], "internal");
    assert_eq!(found["appendXForwardedHost"], true);
}

#[test]
fn paths_are_rewritten_whole_or_by_element() {
    let rewritten = |matched: &str, rewrite: PathRewrite| {
        let rule = forwarding(Forward { path_rewrite: Some(rewrite), websocket: false, ..forward() });
        let mut action = encoded(&rule, &prefix(matched))["route"].clone();
        action.as_object_mut().unwrap().remove("cluster");
        action
    };
    let full = |path: &str| PathRewrite::Full(text(path));
    let by = |path: &str| PathRewrite::Prefix(text(path));
    let whole = |path: &str| json!({"regexRewrite": {"pattern": {"regex": "^/.*$"}, "substitution": path}});
    assert_eq!(rewritten("/foo", full("/bar")), whole("/bar"));
    // A backslash would start a reference to a group.
    assert_eq!(rewritten("/foo", full(r"/a\1")), whole(r"/a\\1"));
    assert_eq!(rewritten("/foo", by("/bar")), json!({"prefixRewrite": "/bar"}));
    assert_eq!(rewritten("/foo", by("/bar/")), json!({"prefixRewrite": "/bar"}));
    assert_eq!(rewritten("/", by("/bar")), json!({"prefixRewrite": "/bar/"}));
    assert_eq!(
        rewritten("/foo", by("/")),
        json!({"regexRewrite": {"pattern": {"regex": r"^/foo\/*"}, "substitution": "/"}})
    );
}

#[test]
fn timeouts_are_emitted_as_they_are_even_when_zero() {
    let found = |timeout| action(Forward { timeout: Some(timeout), ..forward() });
    let short = found(Duration::from_millis(1500));
    assert_eq!((&short["timeout"], &short["idleTimeout"]), (&json!("1.500s"), &json!("3600s")));
    // Without a limit of the request, silence is no limit either.
    let none = found(Duration::ZERO);
    assert_eq!((&none["timeout"], &none["idleTimeout"]), (&json!("0s"), &json!("0s")));
    assert_eq!(action(forward())["timeout"], Value::Null);
}

#[test]
fn retries_default_to_two_on_503() {
    let none = Retry { attempts: None, codes: None, backoff: None, per_try_timeout: None };
    let policy = |retry| action(Forward { retry: Some(retry), ..forward() })["retryPolicy"].clone();
    let expected = json!({
        "retryOn": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "numRetries": 2,
        "retriableStatusCodes": [503],
        "hostSelectionRetryMaxAttempts": "5",
        "retryHostPredicate": [{
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            },
        }],
    });
    assert_eq!(policy(none.clone()), expected);
    let given = policy(Retry {
        attempts: Some(0),
        codes: Some([500, 502].into()),
        backoff: Some(Duration::from_millis(200)),
        per_try_timeout: Some(Duration::from_secs(3)),
    });
    assert_eq!(given["numRetries"], 0);
    assert_eq!(given["retriableStatusCodes"], json!([500, 502]));
    assert_eq!(given["retryBackOff"], json!({"baseInterval": "0.200s"}));
    assert_eq!(given["perTryTimeout"], "3s");
    // Envoy refuses an interval of zero.
    assert_eq!(policy(Retry { backoff: Some(Duration::ZERO), ..none })["retryBackOff"], Value::Null);
}

#[test]
fn mirrors_get_their_share_in_millionths() {
    let policies = |mirrors: &[Mirror]| {
        action(Forward { mirrors: mirrors.into(), ..forward() })["requestMirrorPolicies"].clone()
    };
    let share = |numerator, denominator| {
        policies(&[mirror(Some(numerator), denominator)])[0]["runtimeFraction"]["defaultValue"].clone()
    };
    assert_eq!(
        policies(&[mirror(None, 100)]),
        json!([{
            "cluster": "mirror", "disableShadowHostSuffixAppend": true,
            "runtimeFraction": {"defaultValue": {"numerator": 100}},
        }])
    );
    assert_eq!(share(20, 100), json!({"numerator": 200_000, "denominator": "MILLION"}));
    assert_eq!(share(1, 3), json!({"numerator": 333_333, "denominator": "MILLION"}));
    assert_eq!(share(7, 5), json!({"numerator": 1_000_000, "denominator": "MILLION"}));
    assert_eq!(policies(&[mirror(Some(0), 100)]), Value::Null);
}

#[test]
fn headers_are_set_added_and_removed_in_order() {
    let rule = Rule {
        request_headers: HeaderMutations {
            add: [header("X-Add", "a", true), header("X-Set", "b", false), header("X-Empty", "", false)]
                .into(),
            remove: [text("X-Gone"), text("x-too")].into(),
        },
        response_headers: HeaderMutations {
            add: [header("x-r", "100%", true)].into(),
            remove: [text("server")].into(),
        },
        ..forwarding(forward())
    };
    let found = encoded(&rule, &prefix("/"));
    assert_eq!(
        found["requestHeadersToAdd"],
        json!([
            {"header": {"key": "X-Add", "value": "a"}},
            {"header": {"key": "X-Set", "value": "b"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD"},
            {"header": {"key": "X-Empty"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD", "keepEmptyValue": true},
        ])
    );
    assert_eq!(found["requestHeadersToRemove"], json!(["X-Gone", "x-too"]));
    assert_eq!(found["responseHeadersToAdd"], json!([{"header": {"key": "x-r", "value": "100%%"}}]));
    assert_eq!(found["responseHeadersToRemove"], json!(["server"]));
}

#[test]
fn a_rule_names_targets_and_mirrors_but_not_the_stand_in() {
    let names = |forward: Forward| {
        let rule = forwarding(forward);
        clusters_of(&rule).map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(forward()), ["httproute/default/shop/rule/0"]);
    let clusters = [weighted("b", 1), weighted("invalid-backend-cluster", 1), weighted("a", 1)];
    let target = Target::Weighted { clusters: clusters.into(), missing_status: Some(500) };
    let mirrors = [mirror(Some(0), 100), Mirror { cluster: text("copy"), ..mirror(None, 100) }];
    assert_eq!(names(Forward { target, mirrors: mirrors.into(), ..forward() }), ["b", "a", "copy"]);
}
