//! 10,000 routes are checked in under two seconds of CPU.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{fs, time::Duration};

use api::Object;
use check::{Input, check};
use pipeline::{ChangeSet, Pipeline, Settings};
use serde_json::{Value, json};

const ROUTES: usize = 10_000;

fn object(document: &Value) -> Object {
    Object::from_json(document).unwrap()
}

/// One Gateway, and for each route a Service with an endpoint. Every hundredth route refers to a Service that is not
/// there, and every hundredth asks for what the one before it asks for.
fn objects() -> Vec<Object> {
    let mut all = vec![object(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "namespace": "default", "name": "eg" },
        "spec": { "gatewayClassName": "eg", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] },
    }))];
    for i in 0..ROUTES {
        let host = if i % 100 == 1 { i - 1 } else { i };
        let backend = if i % 100 == 50 { format!("gone-{i}") } else { format!("web-{i}") };
        all.push(object(&json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "namespace": "default", "name": format!("route-{i:05}") },
            "spec": {
                "parentRefs": [{ "name": "eg" }],
                "hostnames": [format!("host-{host}.example.com")],
                "rules": [{
                    "matches": [{ "path": { "type": "PathPrefix", "value": "/cart" } }],
                    "backendRefs": [{ "name": backend, "port": 80 }],
                }],
            },
        })));
        all.push(object(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "default", "name": format!("web-{i}") },
            "spec": { "ports": [{ "name": "http", "port": 80 }] },
        })));
        all.push(object(&json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "namespace": "default", "name": format!("web-{i}-1"),
                "labels": { "kubernetes.io/service-name": format!("web-{i}") },
            },
            "ports": [{ "name": "http", "port": 8080 }],
            "endpoints": [{ "addresses": ["10.0.0.1"] }],
        })));
    }
    all
}

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn ten_thousand_routes_take_less_than_two_seconds() {
    let mut pipeline = Pipeline::new(Settings {
        implicit_gateway_class: true,
        implicit_namespaces: true,
        ..Settings::default()
    });
    pipeline.commit(ChangeSet { apply: objects(), now: Some(1_798_761_600), ..ChangeSet::default() });
    let started = cpu();
    let findings = check(&Input { pipeline: &pipeline, loading: &[], foreign: &[], margin: 0 });
    let took = cpu() - started;
    let count = |id: &str| findings.iter().filter(|finding| finding.code.id == id).count();
    assert_eq!((count("FG401"), count("FG306"), findings.len()), (ROUTES / 100, ROUTES / 100, ROUTES / 50));
    assert!(took < Duration::from_secs(2), "{took:?}");
}
