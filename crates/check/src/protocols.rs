//! The protocol towards backends.

use std::collections::BTreeSet;

use ir::{Kind, ObjectRef};
use serde_json::json;
use store::{Fact, facts::ServicePort};

use crate::{Finding, Patch, code, world::World};

/// The value that means HTTP/2 in plain text.
const H2C: &str = "kubernetes.io/h2c";
/// Values that are known (GEP-1911, and Envoy Gateway's own).
const KNOWN: [&str; 9] = [
    H2C,
    "kubernetes.io/ws",
    "kubernetes.io/wss",
    "gateway.envoyproxy.io/h2c",
    "gateway.envoyproxy.io/ws",
    "gateway.envoyproxy.io/wss",
    "http",
    "https",
    "grpc",
];
/// What people write who mean HTTP/2 or gRPC.
const MEANS_HTTP2: [&str; 7] =
    ["h2c", "h2", "http2", "kubernetes.io/h2", "grpc-web", "gRPC", "kubernetes.io/grpc"];

/// Ports that routes of HTTP requests use.
pub(crate) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    let mut seen: BTreeSet<(&ObjectRef, u16)> = BTreeSet::new();
    for route in &world.routes {
        let grpc = route.object.kind == Kind::GrpcRoute;
        for (rule, of_rule) in route.rules.iter().enumerate() {
            for (index, backend) in of_rule.backends.iter().enumerate() {
                let Some((id, number)) =
                    backend.backend.target.map(|target| target.id).zip(backend.backend.port)
                else {
                    continue;
                };
                let Some(object) = world.store.object(id) else { continue };
                let ports = match world.store.fact(id) {
                    Some(Fact::Service(service)) => &service.ports,
                    Some(Fact::ServiceImport(import)) => &import.ports,
                    _ => continue,
                };
                let Some((at, port)) = ports.iter().enumerate().find(|(_, port)| port.port == number) else {
                    continue;
                };
                if !seen.insert((object, number)) {
                    continue;
                }
                let field = format!("spec.rules[{rule}].backendRefs[{index}]");
                let found = judge(object, (at, port), grpc);
                findings.extend(found.map(|finding| finding.and(route.object, field)));
            }
        }
    }
}

fn judge(object: &ObjectRef, (at, port): (usize, &ServicePort), grpc: bool) -> Option<Finding> {
    let field = format!("spec.ports[{at}].appProtocol");
    let set = |operation: &str| {
        Patch::Json(
            json!([{ "op": operation, "path": format!("/spec/ports/{at}/appProtocol"), "value": H2C }]),
        )
    };
    match port.app_protocol.as_deref() {
        // A GRPCRoute speaks HTTP/2 whatever the port says.
        Some("grpc") if !grpc => {
            let message = format!("appProtocol grpc of port {} is deprecated", port.port);
            Some(Finding::new(code::PROTOCOL_DEPRECATED, object, field, message).with(set("replace")))
        }
        Some(value) if !KNOWN.contains(&value) && MEANS_HTTP2.contains(&value) => {
            let message = format!("appProtocol {value} of port {} is not known", port.port);
            Some(Finding::new(code::PROTOCOL_UNKNOWN, object, field, message).with(set("replace")))
        }
        None if !grpc && is_grpc(&port.name) => {
            let message = format!(
                "port {} is named {} and has no appProtocol, so an HTTPRoute speaks HTTP/1.1 to it",
                port.port, port.name
            );
            Some(Finding::new(code::GRPC_BACKEND_HTTP1, object, field, message).with(set("add")))
        }
        _ => None,
    }
}

/// Whether the name of a port says gRPC, by itself or as the first part of it.
fn is_grpc(name: &str) -> bool {
    name == "grpc" || name.starts_with("grpc-")
}
