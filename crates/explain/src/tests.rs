//! Questions to a small shop: what is told of each.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod curl;
mod http3;
mod settings;

use std::sync::Arc;

use admission::{Admission, UnknownFields};
use pipeline::{ChangeSet, Pipeline, Settings};

use super::*;

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: ferrogate}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: eg, namespace: default}
spec:
  gatewayClassName: ferrogate
  listeners:
  - {name: http, protocol: HTTP, port: 80}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shop-1, namespace: default, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.0.0.1], conditions: {ready: true}}
- {addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: default}
spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}]}
---
";

fn route(name: &str, hostnames: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  parentRefs: [{{name: eg}}]\n  hostnames: {hostnames}\n  rules:\n{rules}\n---\n"
    )
}

fn pipeline(routes: &str) -> Pipeline {
    of_text(&format!("{GATEWAY}{routes}"))
}

fn of_text(text: &str) -> Pipeline {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    std::fs::write(&file, text).unwrap();
    translated(file)
}

/// One of the set-ups of crate `check`, which have certificates.
fn set_up(name: &str) -> Pipeline {
    translated(set_up_file(name))
}

fn set_up_file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../checks").join(name).join("in.yaml")
}

fn translated(file: std::path::PathBuf) -> Pipeline {
    let loaded = provider::file::load(Arc::new(Admission::new()), &[file], UnknownFields::Refuse);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let settings = Settings {
        implicit_namespaces: true,
        implicit_gateway_class: true,
        enable_backend: true,
        ..Settings::default()
    };
    let mut pipeline = Pipeline::new(settings);
    pipeline.commit(ChangeSet { apply: loaded.objects, now: Some(1_800_000_000), ..ChangeSet::default() });
    pipeline
}

fn ask(routes: &str, question: &Question) -> Explanation {
    explain(&pipeline(routes), question).unwrap()
}

fn get(url: &str) -> Question {
    Question::get(url).unwrap()
}

/// The one outcome.
fn outcome(told: &Explanation) -> &Outcome {
    assert_eq!(told.outcomes.len(), 1, "{told:#?}");
    assert_eq!(told.outcomes[0].percent, 100.0);
    &told.outcomes[0].outcome
}

fn status(told: &Explanation) -> u16 {
    match outcome(told) {
        Outcome::Answered { status, .. } | Outcome::Redirected { status, .. } => *status,
        other => panic!("{other:?}"),
    }
}

const TO_SHOP: &str = "  - backendRefs: [{name: shop, port: 80}]";

#[test]
fn a_forwarded_request_is_told_from_the_socket_to_the_endpoints() {
    let rules = "  - matches: [{path: {value: /cart}, method: GET}]\n    timeouts: {request: 3s}\n    filters: [{type: \
                 URLRewrite, urlRewrite: {hostname: shop.local, path: {type: ReplacePrefixMatch, replacePrefixMatch: \
                 /basket}}}]\n    backendRefs: [{name: shop, port: 80}]";
    let told = ask(&route("shop", "[shop.example.com]", rules), &get("http://shop.example.com/cart/1?a=b"));
    let socket = told.socket.as_ref().unwrap();
    assert_eq!((socket.port, socket.gateway_port), (10080, 80));
    assert_eq!(socket.listeners, ["Gateway default/eg listener http"]);
    let host = told.virtual_host.as_ref().unwrap();
    assert_eq!((&*host.domain, &*host.listener), ("shop.example.com", "Gateway default/eg listener http"));
    let chosen = told.route.as_ref().unwrap();
    assert_eq!((&*chosen.object, &*chosen.field), ("HTTPRoute default/shop", "spec.rules[0].matches[0]"));
    let set = |name: &str| told.settings.iter().find(|setting| setting.name == name).unwrap();
    assert_eq!((&*set("timeout").value, &*set("timeout").field), ("3s", "spec.rules[0].timeouts.request"));
    assert_eq!(set("host rewrite").field, "spec.rules[0].filters[0]");
    let Outcome::Forwarded { request, headers, to } = outcome(&told) else { panic!("{told:#?}") };
    assert_eq!(request, "GET /basket/1?a=b at shop.local");
    assert_eq!(headers, &["x-forwarded-host: shop.example.com"]);
    assert_eq!(to.backends.len(), 1);
    let endpoints: Vec<_> = to.backends[0].endpoints.iter().map(|e| (&*e.address, e.draining)).collect();
    assert_eq!(endpoints, [("10.0.0.1:8080", false), ("10.0.0.2:8080", true)]);
}

#[test]
fn what_loses_is_told_with_the_rule_that_decides() {
    let rules = |path: &str| {
        format!("  - matches: [{{path: {{value: {path}}}}}]\n    backendRefs: [{{name: shop, port: 80}}]")
    };
    let exact =
        "  - matches: [{path: {type: Exact, value: /cart}}]\n    backendRefs: [{name: shop, port: 80}]";
    let header = "  - matches: [{path: {value: /cart}, headers: [{name: a, value: b}]}]\n    backendRefs: [{name: \
                  shop, port: 80}]";
    let all = route("exact", "[a.example.com]", exact)
        + &route("header", "[a.example.com]", header)
        + &route("long", "[a.example.com]", &rules("/cart"))
        + &route("other", "[a.example.com]", &rules("/cart"))
        + &route("root", "[a.example.com]", &rules("/"))
        + &route("wide", "['*.example.com']", &rules("/cart"));
    let mut question = get("http://a.example.com/cart");
    question.header("A: b").unwrap();
    let told = ask(&all, &question);
    assert_eq!(told.route.as_ref().unwrap().object, "HTTPRoute default/exact");
    let lost: Vec<(&str, &str)> = told.lost.iter().map(|l| (&*l.route.object, &*l.why)).collect();
    let exact = "the other matches an exact path, which goes before what this one matches";
    assert_eq!(
        lost,
        [
            ("HTTPRoute default/header", exact),
            ("HTTPRoute default/long", exact),
            ("HTTPRoute default/other", exact),
            ("HTTPRoute default/root", exact),
            (
                "HTTPRoute default/wide",
                "its hostname *.example.com is less specific than a.example.com, whose routes alone are looked at"
            ),
        ]
    );
    let told = ask(&all.replace("Exact, value: /cart", "Exact, value: /elsewhere"), &question);
    let lost: Vec<&str> = told.lost.iter().map(|l| &*l.why).collect();
    assert_eq!(lost[0], "the other matches more headers (1 over 0)");
    assert_eq!(lost[2], "the other matches a path prefix, which goes before what this one matches");
    question.headers.clear();
    let told = ask(&all.replace("Exact, value: /cart", "Exact, value: /elsewhere"), &question);
    let age = "both are of the same age, and the other's namespace and name come first in the alphabet";
    assert_eq!(told.lost[0].why, age);
}

#[test]
fn a_404_says_what_the_request_lacks() {
    let rules = "  - matches: [{path: {value: /cart}, headers: [{name: x-canary, value: '1'}]}]\n    backendRefs: \
                 [{name: shop, port: 80}]";
    let told = ask(&route("shop", "[shop.example.com]", rules), &get("http://shop.example.com/cart"));
    assert_eq!(status(&told), 404);
    assert_eq!(told.missed[0].why, "header x-canary is absent");
    let told = ask(&route("shop", "[shop.example.com]", rules), &get("http://other.example.com/cart"));
    let Outcome::Answered { status: 404, why, .. } = outcome(&told) else { panic!("{told:#?}") };
    assert!(why.ends_with("it has shop.example.com"), "{why}");
    let mut call = get("http://other.example.com/cart");
    call.header("content-type: application/grpc+proto").unwrap();
    let told = ask(&route("shop", "[shop.example.com]", rules), &call);
    assert!(matches!(outcome(&told), Outcome::Answered { grpc_status: Some(12), .. }), "{told:#?}");
}

#[test]
fn routes_that_did_not_make_it_are_told_where_they_are_missed() {
    let refused =
        route("shop", "[shop.example.com]", TO_SHOP).replace("name: eg}", "name: eg, sectionName: nope}");
    let told = ask(&refused, &get("http://shop.example.com/"));
    assert_eq!(status(&told), 404);
    assert_eq!(told.troubles[0].object, "HTTPRoute default/shop");
}

#[test]
fn failures_have_their_status_and_their_reason() {
    let rule = |backends: &str| format!("  - backendRefs: {backends}");
    let at = |backends: &str| {
        ask(&route("shop", "[a.example.com]", &rule(backends)), &get("http://a.example.com/"))
    };
    let told = at("[{name: nowhere, port: 80}]");
    assert_eq!(status(&told), 500);
    assert!(told.troubles.iter().any(|t| t.field.starts_with("spec.rules[0].backendRefs[0]")), "{told:#?}");
    let told = at("[{name: empty, port: 80}]");
    let Outcome::Answered { status: 503, why, .. } = outcome(&told) else { panic!("{told:#?}") };
    assert_eq!((&**why, told.notes.len()), ("the rule's backends have no endpoints", 0));
    let told = at("[{name: shop, port: 80, weight: 3}, {name: nowhere, port: 80, weight: 1}]");
    let shares: Vec<f64> = told.outcomes.iter().map(|possible| possible.percent).collect();
    assert_eq!(shares.iter().sum::<f64>(), 100.0);
    assert!(
        told.outcomes
            .iter()
            .any(|p| p.percent == 25.0 && matches!(p.outcome, Outcome::Answered { status: 500, .. })),
        "{told:#?}"
    );
}

#[test]
fn redirects_lead_where_envoy_leads() {
    let rules = "  - matches: [{path: {value: /old}}]\n    filters: [{type: RequestRedirect, requestRedirect: {scheme: \
                 https, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]";
    let told = ask(&route("shop", "[a.example.com]", rules), &get("http://a.example.com/old/x?y"));
    let Outcome::Redirected { status, location, .. } = outcome(&told) else { panic!("{told:#?}") };
    assert_eq!((*status, &**location), (301, "https://a.example.com/new/x?y"));
}

#[test]
fn preflight_requests_are_answered_whatever_the_rule_does() {
    let rule = |rest: &str| {
        let cors = "{type: CORS, cors: {allowOrigins: ['https://good.example']}}";
        format!("  - filters: [{cors}]\n    backendRefs: [{{name: {rest}, port: 80}}]")
    };
    let mut question = get("http://a.example.com/");
    question.method = "OPTIONS".to_owned();
    for line in ["origin: https://good.example", "access-control-request-method: GET"] {
        question.header(line).unwrap();
    }
    let told = ask(&route("shop", "[a.example.com]", &rule("shop")), &question);
    assert_eq!((status(&told), &*told.filters[0].does), (200, "answers the preflight request"));
    let nowhere = route("shop", "[a.example.com]", &rule("nowhere"));
    let told = ask(&nowhere, &question);
    assert_eq!((status(&told), &*told.filters[0].does), (200, "answers the preflight request"));
    question.method = "GET".to_owned();
    let told = ask(&nowhere, &question);
    assert_eq!((status(&told), &*told.filters[0].does), (500, "nothing: the route answers by itself"));
}

#[test]
fn paths_are_looked_at_in_their_normal_form() {
    let rules = "  - matches: [{path: {value: /cart}}]\n    backendRefs: [{name: shop, port: 80}]";
    let shop = route("shop", "[a.example.com]", rules);
    let told = ask(&shop, &get("http://a.example.com//x/../cart/./"));
    assert_eq!(told.route.as_ref().unwrap().object, "HTTPRoute default/shop");
    let told = ask(&shop, &get("http://a.example.com/cart%2fx"));
    let Outcome::Redirected { status, location, .. } = outcome(&told) else { panic!("{told:#?}") };
    assert_eq!((*status, &**location), (307, "/cart/x"));
}

#[test]
fn connections_that_nobody_takes_fail() {
    let shop = route("shop", "[a.example.com]", TO_SHOP);
    let told = ask(&shop, &get("https://a.example.com:80/"));
    assert!(matches!(outcome(&told), Outcome::Closed { why } if why.contains("plain HTTP")), "{told:#?}");
    let told = ask(&shop, &get("https://a.example.com/"));
    assert!(matches!(outcome(&told), Outcome::Closed { why } if why.contains("port 443")), "{told:#?}");
    let mut question = get("http://a.example.com/");
    question.gateway = Some("other".to_owned());
    let refused = explain(&pipeline(&shop), &question).unwrap_err().to_string();
    assert_eq!(refused, "there is no Gateway \"other\" with proxies; known: default/eg");
    question.header("x_y: 1").unwrap();
    question.gateway = None;
    assert_eq!(status(&ask(&shop, &question)), 400);
}

#[test]
fn handshakes_choose_listener_and_protocol() {
    let mut question = get("https://web.example.com/");
    let overlapping = set_up("fg202-tls-overlap");
    let told = explain(&overlapping, &question).unwrap();
    let chain = told.chain.as_ref().unwrap();
    assert_eq!((&*chain.name, &*chain.protocol), ("default/eg/wild", "HTTP/2"));
    assert_eq!(chain.certificates, ["default/wild"]);
    assert!(matches!(outcome(&told), Outcome::Forwarded { .. }), "{told:#?}");

    // A request for a host of the other listener, over the same connection.
    question.authority = "grpc.example.com".to_owned();
    let told = explain(&overlapping, &question).unwrap();
    assert_eq!(status(&told), 421);
    assert_eq!(told.route.as_ref().unwrap().object, "Ferrogate");
    assert_eq!(told.lost[0].route.object, "HTTPRoute default/shop");
    question.protocol = Some(Protocol::Http1);
    let told = explain(&overlapping, &question).unwrap();
    assert!(matches!(outcome(&told), Outcome::Forwarded { .. }), "HTTP/1.1 is left alone: {told:#?}");

    let mut question = get("https://grpc.example.com/");
    question.protocol = Some(Protocol::Http2);
    let told = explain(&set_up("fg203-grpc-downgraded"), &question).unwrap();
    assert_eq!(told.chain.as_ref().unwrap().protocol, "HTTP/1.1");
    assert!(told.notes[0].starts_with("the listener does not offer HTTP/2"), "{told:#?}");

    // One that asks for certificates and is not served leaves its hosts to nobody.
    let cases = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
    let closed = translated(cases.join("misdirected-certificates-closed/in.yaml"));
    let told = explain(&closed, &get("https://shop.example.com/")).unwrap();
    assert!(
        matches!(outcome(&told), Outcome::Answered { status: 421, why, .. } if why.contains("certificates"))
    );
    assert_eq!(told.virtual_host.as_ref().unwrap().listener, "Gateway default/eg listener wild");

    let told =
        explain(&set_up("fg206-certificate-for-other-names"), &get("https://shop.example.com/")).unwrap();
    assert!(told.notes[0].starts_with("no certificate of the listener is for"), "{told:#?}");
    let told = explain(&set_up("fg206-certificate-for-other-names"), &get("https://other.org/")).unwrap();
    assert!(matches!(outcome(&told), Outcome::Closed { why } if why.contains("server name")), "{told:#?}");
    let told = explain(&set_up("fg204-certificate-missing"), &get("https://shop.example.com/")).unwrap();
    assert!(
        told.troubles.iter().any(|trouble| trouble.field == "spec.listeners[1].tls.certificateRefs"),
        "{told:#?}"
    );
}

#[test]
fn policies_are_told_with_their_fields() {
    let policy = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: BackendTrafficPolicy\nmetadata: {name: slow, \
                  namespace: default}\nspec:\n  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: \
                  eg}]\n  timeout: {http: {requestTimeout: 7s}}\n---\n";
    let told = ask(&(route("shop", "[a.example.com]", TO_SHOP) + policy), &get("http://a.example.com/"));
    let timeout = told.settings.iter().find(|setting| setting.name == "timeout").unwrap();
    assert_eq!(
        (&*timeout.value, &*timeout.object, &*timeout.field),
        ("7s", "BackendTrafficPolicy default/slow", "spec.timeout.http.requestTimeout")
    );
    assert_eq!(told.policies[0].settings[0].field, "spec.timeout.http.requestTimeout");
}

#[test]
fn a_chain_of_merged_policies_is_told_field_by_field() {
    let policy = |name: &str, target: &str, says: &str| {
        format!(
            "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: ClientTrafficPolicy\nmetadata: {{name: {name}, namespace: \
             default}}\nspec: {{targetRefs: [{{group: gateway.networking.k8s.io, {target}}}], {says}}}\n---\n"
        )
    };
    let files = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: open, namespace: default}\nspec: \
                 {gatewayClassName: ferrogate, allowedListeners: {namespaces: {from: Same}}, listeners: [{name: own, \
                 protocol: HTTP, port: 8080}]}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\n\
                 metadata: {name: set, namespace: default}\nspec: {parentRef: {name: open}, listeners: [{name: more, \
                 protocol: HTTP, port: 8081}]}\n---\n"
        .to_owned()
        + &route("shop", "[a.example.com]", TO_SHOP).replace("{name: eg}", "{kind: ListenerSet, name: set}")
        + &policy("top", "kind: Gateway, name: open", "healthCheck: {path: /up}, path: {}, http3: {}")
        + &policy("mid", "kind: ListenerSet, name: set", "mergeType: JSONMerge, healthCheck: {path: /mid}")
        + &policy("low", "kind: ListenerSet, name: set, sectionName: more", "mergeType: StrategicMerge, grpc: {}");
    let pipeline = pipeline(&files);
    let told = policy::policy(&pipeline, "ClientTrafficPolicy", "default", "low").unwrap();
    let place = &told.places[0];
    assert_eq!(place.at, "ListenerSet default/set listener more");
    assert_eq!(place.merged_over, ["ClientTrafficPolicy default/mid", "ClientTrafficPolicy default/top"]);
    let said: Vec<(&str, &str)> =
        place.settings.iter().map(|s| (&*s.field, s.object.rsplit('/').next().unwrap())).collect();
    let wanted = [
        ("spec.grpc", "low"),
        ("spec.healthCheck.path", "mid"),
        ("spec.http3", "top"),
        ("spec.mergeType", "low"),
        ("spec.path", "top"),
    ];
    assert_eq!(said, wanted);
    let of = |name: &str| policy::policy(&pipeline, "ClientTrafficPolicy", "default", name).unwrap();
    let merged = |name: &str| of(name).places[0].merged.iter().map(|o| o.target.clone()).collect::<Vec<_>>();
    assert_eq!(merged("mid"), ["ListenerSet default/set listener more"]);
    assert_eq!(merged("top"), ["ListenerSet default/set", "ListenerSet default/set listener more"]);
    assert!(of("top").places[0].replaced.is_empty() && of("low").places[0].replaces.is_none());
    // A request to the listener is told the same.
    let question = Question { gateway: Some("default/open".into()), ..get("http://a.example.com:8081/") };
    let told = explain(&pipeline, &question).unwrap();
    let lines: Vec<&str> =
        told.policies.iter().flat_map(|p| p.merged_over.iter().map(String::as_str)).collect();
    assert_eq!(lines, ["ClientTrafficPolicy default/mid", "ClientTrafficPolicy default/top"], "{told:#?}");
}

#[test]
fn credentials_in_policies_are_not_told() {
    let policy = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: BackendTrafficPolicy\nmetadata: {name: sick, \
                  namespace: default}\nspec:\n  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: \
                  eg}]\n  responseOverride: [{match: {statusCodes: [{value: 404}]}, response: {header: {set: [{name: \
                  X-Token, value: abc}, {name: x-team, value: shop}]}}}]\n---\n";
    let told = ask(&(route("shop", "[a.example.com]", TO_SHOP) + policy), &get("http://a.example.com/"));
    let value = &*told.policies[0].settings[0].value;
    assert!(value.contains("X-Token") && value.contains("shop") && !value.contains("abc"), "{value}");
}

#[test]
fn differences_are_told_by_host_and_request() {
    let rules = |path: &str, weight: u32| {
        format!(
            "  - matches: [{{path: {{value: {path}}}}}]\n    backendRefs: [{{name: shop, port: 80, weight: 1}}, {{name: \
             other, port: 80, weight: {weight}}}]"
        )
    };
    let other =
        GATEWAY.split("---").filter(|document| document.contains("shop")).collect::<Vec<_>>().join("---");
    let other = format!("{}---\n", other.replace("shop", "other"));
    let with = |rules: &str| pipeline(&(route("shop", "[a.example.com]", rules) + &other));
    let old = with(&rules("/cart", 1));
    assert_eq!(difference(&old, &with(&rules("/cart", 1))), []);
    // Another name for the same is no difference in what is done, but in who says it.
    let new = with(&rules("/cart", 3));
    let changes = difference(&old, &new);
    let [change] = &changes[..] else { panic!("{changes:#?}") };
    assert_eq!((&*change.host, &*change.requests), ("a.example.com", "path prefix \"/cart\""));
    assert!(
        change
            .old
            .as_ref()
            .unwrap()
            .starts_with("to 50% Service default/shop port 80 + 50% Service default/other")
    );
    assert!(
        change
            .new
            .as_ref()
            .unwrap()
            .starts_with("to 25% Service default/shop port 80 + 75% Service default/other")
    );
    let moved = difference(&old, &with(&rules("/basket", 1)));
    assert_eq!(
        moved.iter().map(|c| (&*c.requests, c.old.is_some(), c.new.is_some())).collect::<Vec<_>>(),
        [("path prefix \"/basket\"", false, true), ("path prefix \"/cart\"", true, false)]
    );
}
