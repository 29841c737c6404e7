//! Small models to JSON: only the parts that a rule is about are compared.

mod arbitrary;
mod cluster;
mod commands;
mod corpus;
mod cors;
mod downstream;
mod forward;
mod listener;
mod matching;
mod misdirected;
mod redirect;
mod session;
mod splice;
mod tls;
mod validate;

use std::sync::Arc;

use envoy_api::json;
use ir::{
    Kind, Metadata, ObjectRef,
    listener::VirtualHost,
    route::{Action, Forward, HeaderMutations, PathMatch, RouteMatch, Rule, Target},
};
use serde_json::{Value, json};

use super::route_field;

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const VIRTUAL_HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";

/// Host of the routes that tests encode.
const HOST: &str = "*.example.com";

fn to_json(type_url: &str, bytes: &[u8]) -> Value {
    json::to_value(type_url, bytes).unwrap()
}

fn text(text: &str) -> Arc<str> {
    text.into()
}

fn of(kind: Kind, namespace: &str, name: &str, section: Option<&str>) -> Metadata {
    Metadata {
        object: ObjectRef::new(kind, namespace, name),
        section: section.map(text),
        annotations: [].into(),
    }
}

fn shop() -> Metadata {
    of(Kind::HttpRoute, "default", "shop", None)
}

fn virtual_host() -> VirtualHost {
    VirtualHost {
        name: text("default/edge/http/*_example_com"),
        domains: [text(HOST)].into(),
        metadata: of(Kind::Gateway, "default", "edge", Some("http")),
        counted: false,
    }
}

/// A match of a prefix and nothing else.
fn prefix(prefix: &str) -> RouteMatch {
    on(PathMatch::Prefix(text(prefix)))
}

fn on(path: PathMatch) -> RouteMatch {
    RouteMatch { index: 0, path, method: None, headers: [].into(), query: [].into(), cookies: [].into() }
}

/// Forwarding to the rule's own cluster with nothing else.
fn forward() -> Forward {
    Forward {
        target: Target::Cluster(text("httproute/default/shop/rule/0")),
        host_rewrite: None,
        path_rewrite: None,
        mirrors: [].into(),
        timeout: None,
        retry: None,
        session: None,
        websocket: true,
        dynamic_host: false,
    }
}

fn rule(action: Action) -> Rule {
    Rule {
        index: 0,
        metadata: shop(),
        matches: [prefix("/")].into(),
        action,
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        cors: None,
    }
}

fn forwarding(forward: Forward) -> Rule {
    rule(Action::Forward(Box::new(forward)))
}

/// The one route in a field of a virtual host.
fn one_route(field: &[u8]) -> Value {
    let host = to_json(VIRTUAL_HOST, field);
    let routes = host["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 1, "{host}");
    routes[0].clone()
}

/// The route of a rule and a match on a plain listener on port 80.
fn encoded(rule: &Rule, matched: &RouteMatch) -> Value {
    one_route(&route_field(rule, None, matched, HOST, 80, false))
}

/// The `route` of a rule that forwards, for the match `/`.
fn action(forward: Forward) -> Value {
    encoded(&forwarding(forward), &prefix("/"))["route"].clone()
}

#[test]
fn a_route_is_named_after_its_place_and_tells_its_object() {
    let mut metadata = of(Kind::HttpRoute, "default", "shop", Some("checkout"));
    metadata.annotations = [(text("a"), text("1")), (text("b"), text(""))].into();
    let rule = Rule { index: 3, metadata, ..forwarding(forward()) };
    let matched = RouteMatch { index: -1, ..prefix("/") };
    assert_eq!(
        encoded(&rule, &matched),
        json!({
            "name": "httproute/default/shop/rule/3/match/-1/*_example_com",
            "match": {"prefix": "/"},
            "metadata": {"filterMetadata": {"envoy-gateway": {"resources": [{
                "kind": "HTTPRoute", "namespace": "default", "name": "shop", "sectionName": "checkout",
                "annotations": {"a": "1", "b": ""},
            }]}}},
            "route": {
                "cluster": "httproute/default/shop/rule/0",
                "upgradeConfigs": [{"upgradeType": "websocket"}],
            },
        })
    );
}
