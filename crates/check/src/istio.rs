//! Istio's Gateways that share a certificate: the cause of its well-known 404s.

use std::collections::{BTreeMap, BTreeSet};

use ir::problem::Subject;
use serde_json::Value;

use crate::{Finding, Place, code};

const GROUP: &str = "networking.istio.io/";

/// What makes two servers meet: the certificate, the port, and the workload that serves both.
type Meeting<'a> = (&'a str, u64, String);

/// A server of a Gateway.
struct Server<'a> {
    gateway: Subject,
    index: usize,
    hosts: Vec<&'a str>,
}

pub(crate) fn check(documents: &[Value], findings: &mut Vec<Finding>) {
    let istio = |kind: &'static str| {
        documents.iter().filter(move |document| {
            text(document, "apiVersion").starts_with(GROUP) && text(document, "kind") == kind
        })
    };
    let mut meetings: BTreeMap<Meeting<'_>, Vec<Server<'_>>> = BTreeMap::new();
    for gateway in istio("Gateway") {
        let selector = gateway.pointer("/spec/selector").map(Value::to_string).unwrap_or_default();
        let servers = gateway.pointer("/spec/servers").and_then(Value::as_array).into_iter().flatten();
        for (index, server) in servers.enumerate() {
            let certificate = ["/tls/credentialName", "/tls/serverCertificate"]
                .into_iter()
                .find_map(|path| server.pointer(path).and_then(Value::as_str));
            let port = server.pointer("/port/number").and_then(Value::as_u64);
            let Some((certificate, port)) = certificate.zip(port) else { continue };
            let hosts = server.get("hosts").and_then(Value::as_array).into_iter().flatten();
            let hosts = hosts.filter_map(Value::as_str).collect();
            let key = (certificate, port, selector.clone());
            meetings.entry(key).or_default().push(Server { gateway: subject(gateway), index, hosts });
        }
    }
    let virtual_services: Vec<&Value> = istio("VirtualService").collect();
    for ((certificate, port, _), servers) in meetings {
        let gateways: BTreeSet<&Subject> = servers.iter().map(|server| &server.gateway).collect();
        if gateways.len() < 2 {
            continue;
        }
        let mut hit: BTreeSet<&str> =
            servers.iter().flat_map(|server| server.hosts.iter().copied()).collect();
        for service in &virtual_services {
            if gateways.iter().any(|gateway| is_bound(service, gateway)) {
                let hosts = service.pointer("/spec/hosts").and_then(Value::as_array).into_iter().flatten();
                hit.extend(hosts.filter_map(Value::as_str));
            }
        }
        let names: Vec<String> = gateways.iter().map(ToString::to_string).collect();
        let message = format!(
            "{} show certificate {certificate} on port {port}; requests for {} may be answered with 404",
            names.join(" and "),
            hit.into_iter().collect::<Vec<_>>().join(", ")
        );
        let mut places = servers.iter().map(|server| Place {
            object: server.gateway.clone(),
            field: format!("spec.servers[{}].tls", server.index),
        });
        let Some(first) = places.next() else { continue };
        let mut finding = Finding::new(code::ISTIO_CERTIFICATE_SHARED, first.object, first.field, message);
        finding.places.extend(places);
        findings.push(finding);
    }
}

/// Whether a VirtualService names a Gateway, as `namespace/name` or, in its own namespace, as `name`.
fn is_bound(service: &Value, gateway: &Subject) -> bool {
    let own = subject(service).namespace;
    let names = service.pointer("/spec/gateways").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).any(|name| match name.split_once('/') {
        Some((namespace, name)) => gateway.namespace.as_deref() == Some(namespace) && gateway.name == name,
        None => gateway.namespace == own && gateway.name == name,
    })
}

fn subject(document: &Value) -> Subject {
    let metadata = |name: &str| document.pointer(&format!("/metadata/{name}")).and_then(Value::as_str);
    Subject {
        api_version: text(document, "apiVersion").to_owned(),
        kind: text(document, "kind").to_owned(),
        namespace: Some(metadata("namespace").unwrap_or("default").to_owned()),
        name: metadata("name").unwrap_or_default().to_owned(),
    }
}

fn text<'a>(document: &'a Value, name: &str) -> &'a str {
    document.get(name).and_then(Value::as_str).unwrap_or_default()
}
