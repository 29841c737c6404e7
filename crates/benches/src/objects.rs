//! Manifests: one Gateway; for each route a Service and an EndpointSlice of its own.

use anyhow::Result;
use api::Object;
use serde_json::{Value, json};

use crate::run::Hosts;

/// The Gateway; `ports` besides 80, each with a listener.
pub(crate) fn gateway(ports: &[u16]) -> Result<Object> {
    let all = [80].iter().chain(ports);
    let listeners: Vec<Value> =
        all.map(|port| json!({"name": format!("p{port}"), "port": port, "protocol": "HTTP"})).collect();
    object(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": "default", "name": "eg"},
        "spec": {"gatewayClassName": "eg", "listeners": listeners},
    }))
}

/// One route with one path.
pub(crate) fn route(hosts: Hosts, i: usize, path: &str) -> Result<Object> {
    let host = match hosts {
        Hosts::Own => format!("host-{i}.example.com"),
        Hosts::Shared => "shop.example.com".to_owned(),
    };
    object(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"namespace": "default", "name": format!("route-{i}")},
        "spec": {
            "parentRefs": [{"name": "eg", "sectionName": "p80"}],
            "hostnames": [host],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "backendRefs": [{"name": format!("service-{i}"), "port": 80}],
            }],
        },
    }))
}

/// The Service of a route.
pub(crate) fn service(i: usize) -> Result<Object> {
    object(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "name": format!("service-{i}")},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    }))
}

/// The EndpointSlice of a Service: three endpoints, the last of which can be told apart.
pub(crate) fn slice(i: usize, last: u8) -> Result<Object> {
    let address = |last: u8| format!("10.{}.{}.{last}", i / 250 % 250, i % 250);
    let endpoints =
        [1, 2, last].map(|last| json!({"addresses": [address(last)], "conditions": {"ready": true}}));
    object(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "default", "name": format!("service-{i}-x"),
            "labels": {"kubernetes.io/service-name": format!("service-{i}")},
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    }))
}

fn object(document: &Value) -> Result<Object> {
    Ok(Object::from_json(document)?)
}
