//! The rules of Kubernetes' own kinds that matter here. Their OpenAPI schemas hold types only; API servers check the
//! rest in code, and so must this.

use std::net::{Ipv4Addr, Ipv6Addr};

use api::{ConfigMap, EndpointSlice, Object, Secret, Service};

use crate::{
    finding::{Finding, reason},
    names,
};

/// How many endpoints an EndpointSlice may have.
const MAX_ENDPOINTS: usize = 1000;
/// How many addresses one endpoint may have.
const MAX_ADDRESSES: usize = 100;
/// How many ports an EndpointSlice may have.
const MAX_SLICE_PORTS: usize = 100;
/// How many bytes all contents of a Secret or ConfigMap may have.
const MAX_DATA: usize = 1 << 20;
/// Protocols that ports may have.
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Checks an object of one of Kubernetes' own kinds; others pass.
pub(crate) fn check(object: &Object, findings: &mut Vec<Finding>) {
    match object {
        Object::Service(service) => check_service(service, findings),
        Object::EndpointSlice(slice) => check_slice(slice, findings),
        Object::Secret(secret) => check_secret(secret, findings),
        Object::ConfigMap(map) => check_config_map(map, findings),
        _ => {}
    }
}

fn check_service(service: &Service, findings: &mut Vec<Finding>) {
    let Some(spec) = &service.spec else {
        findings.push(Finding::rejected("spec", reason::REQUIRED, "must be set"));
        return;
    };
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    one_of("spec.type", kind, &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"], findings);
    let external = kind == "ExternalName";
    if external {
        match spec.external_name.as_deref().map(|name| name.strip_suffix('.').unwrap_or(name)) {
            None | Some("") => findings.push(Finding::rejected(
                "spec.externalName",
                reason::REQUIRED,
                "must be set for a Service of type ExternalName",
            )),
            Some(name) if !names::is_subdomain(name) => {
                let message = format!("{name:?} must be a host name in lower case");
                findings.push(Finding::rejected("spec.externalName", reason::INVALID, message));
            }
            Some(_) => {}
        }
    }
    let headless = spec.cluster_ip.as_deref() == Some("None");
    if let Some(address) = spec.cluster_ip.as_deref().filter(|text| !text.is_empty() && *text != "None")
        && address.parse::<std::net::IpAddr>().is_err()
    {
        let message = format!("{address:?} must be an IP address, None or empty");
        findings.push(Finding::rejected("spec.clusterIP", reason::INVALID, message));
    }
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !external && !headless {
        findings.push(Finding::rejected("spec.ports", reason::REQUIRED, "must have at least one port"));
    }
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        check_port(&format!("{path}.port"), port.port, findings);
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        one_of(&format!("{path}.protocol"), protocol, &PROTOCOLS, findings);
        check_app_protocol(&path, port.app_protocol.as_deref(), findings);
        let name = port.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            if ports.len() > 1 {
                let message = "must be set when a Service has several ports";
                findings.push(Finding::rejected(format!("{path}.name"), reason::REQUIRED, message));
            }
            continue;
        }
        check_port_name(&path, name, findings);
        if ports.iter().take(index).any(|earlier| earlier.name.as_deref() == Some(name)) {
            let message = format!("{name:?} is the name of an earlier port too");
            findings.push(Finding::rejected(format!("{path}.name"), reason::DUPLICATE, message));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let same = |earlier: &&api::core::ServicePort| {
            earlier.port == port.port
                && earlier.protocol.as_deref().unwrap_or("TCP") == port.protocol.as_deref().unwrap_or("TCP")
        };
        if ports.iter().take(index).any(|earlier| same(&earlier)) {
            let message = format!("port {} stands in the list twice with the same protocol", port.port);
            findings.push(Finding::rejected(format!("spec.ports[{index}]"), reason::DUPLICATE, message));
        }
    }
}

fn check_slice(slice: &EndpointSlice, findings: &mut Vec<Finding>) {
    one_of("addressType", &slice.address_type, &["IPv4", "IPv6", "FQDN"], findings);
    too_many("endpoints", slice.endpoints.iter().flatten().count(), MAX_ENDPOINTS, findings);
    for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        let path = format!("endpoints[{index}].addresses");
        if endpoint.addresses.is_empty() {
            findings.push(Finding::rejected(
                path.as_str(),
                reason::REQUIRED,
                "must have at least one address",
            ));
        }
        too_many(&path, endpoint.addresses.len(), MAX_ADDRESSES, findings);
        for (position, address) in endpoint.addresses.iter().enumerate() {
            let valid = match slice.address_type.as_str() {
                "IPv4" => address.parse::<Ipv4Addr>().is_ok(),
                "IPv6" => address.parse::<Ipv6Addr>().is_ok(),
                "FQDN" => names::is_subdomain(address),
                _ => true,
            };
            if !valid {
                let message = format!("{address:?} is no address of addressType {}", slice.address_type);
                findings.push(Finding::rejected(format!("{path}[{position}]"), reason::INVALID, message));
            }
        }
    }
    let ports = slice.ports.as_deref().unwrap_or_default();
    too_many("ports", ports.len(), MAX_SLICE_PORTS, findings);
    for (index, port) in ports.iter().enumerate() {
        let path = format!("ports[{index}]");
        if let Some(number) = port.port {
            check_port(&format!("{path}.port"), number, findings);
        }
        one_of(&format!("{path}.protocol"), port.protocol.as_deref().unwrap_or("TCP"), &PROTOCOLS, findings);
        check_app_protocol(&path, port.app_protocol.as_deref(), findings);
        let name = |port: &api::core::EndpointPort| port.name.clone().unwrap_or_default();
        if !name(port).is_empty() {
            check_port_name(&path, &name(port), findings);
        }
        // A slice has at most 100 ports, or is refused above; the square of that is small.
        if ports.iter().take(index.min(MAX_SLICE_PORTS)).any(|earlier| name(earlier) == name(port)) {
            let message = format!("{:?} is the name of an earlier port too", name(port));
            findings.push(Finding::rejected(format!("{path}.name"), reason::DUPLICATE, message));
        }
    }
}

fn check_secret(secret: &Secret, findings: &mut Vec<Finding>) {
    check_data(secret.data.iter().map(|(key, bytes)| (key, bytes.len())), findings);
    // Types with fixed keys; the others are free.
    let required: &[&str] = match secret.type_.as_str() {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        _ => &[],
    };
    for key in required.iter().filter(|key| !secret.data.contains_key(**key)) {
        let message = format!("must be set in a Secret of type {}", secret.type_);
        findings.push(Finding::rejected(format!("data[{key}]"), reason::REQUIRED, message));
    }
}

fn check_config_map(map: &ConfigMap, findings: &mut Vec<Finding>) {
    let text = map.data.iter().flatten().map(|(key, text)| (key, text.len()));
    let bytes = map.binary_data.iter().flatten().map(|(key, bytes)| (key, bytes.0.len()));
    check_data(text.chain(bytes), findings);
    for key in map.binary_data.iter().flat_map(|binary| binary.keys()) {
        if map.data.as_ref().is_some_and(|data| data.contains_key(key)) {
            let message = format!("the key {key:?} stands in data too");
            findings.push(Finding::rejected("binaryData", reason::DUPLICATE, message));
        }
    }
}

fn check_data<'k>(entries: impl Iterator<Item = (&'k String, usize)>, findings: &mut Vec<Finding>) {
    let mut total = 0;
    for (key, size) in entries {
        total += size;
        if !names::is_data_key(key) {
            let message = format!("the key {key:?} must be at most 253 letters, digits, '-', '_' and '.'");
            findings.push(Finding::rejected("data", reason::INVALID, message));
        }
    }
    if total > MAX_DATA {
        let message = format!("all contents together must have at most {MAX_DATA} bytes, not {total}");
        findings.push(Finding::rejected("data", reason::TOO_LONG, message));
    }
}

fn check_port(path: &str, port: i32, findings: &mut Vec<Finding>) {
    if !(1..=65535).contains(&port) {
        let message = format!("{port} must be a port: 1 to 65535");
        findings.push(Finding::rejected(path, reason::INVALID, message));
    }
}

fn check_port_name(path: &str, name: &str, findings: &mut Vec<Finding>) {
    if !names::is_label(name) {
        let message = format!("{name:?} must be a DNS label: lower-case letters, digits and '-'");
        findings.push(Finding::rejected(format!("{path}.name"), reason::INVALID, message));
    }
}

fn check_app_protocol(path: &str, protocol: Option<&str>, findings: &mut Vec<Finding>) {
    if let Some(protocol) = protocol.filter(|protocol| !names::is_qualified(protocol)) {
        let message = format!("{protocol:?} must be a name such as http or kubernetes.io/h2c");
        findings.push(Finding::rejected(format!("{path}.appProtocol"), reason::INVALID, message));
    }
}

fn one_of(path: &str, value: &str, options: &[&str], findings: &mut Vec<Finding>) {
    if !options.contains(&value) {
        let message = format!("{value:?} is not one of {}", options.join(", "));
        findings.push(Finding::rejected(path, reason::NOT_SUPPORTED, message));
    }
}

fn too_many(path: &str, count: usize, limit: usize, findings: &mut Vec<Finding>) {
    if count > limit {
        let message = format!("must have at most {limit} entries, not {count}");
        findings.push(Finding::rejected(path, reason::TOO_MANY, message));
    }
}
