//! Validity of Backend objects.

use std::net::IpAddr;

use ir::cluster::Address;
use store::{
    Settings,
    facts::{self, BackendKind},
};

use crate::Finding;

/// What is wrong with a Backend as a whole; `None` when routes may use it.
///
/// Loopback addresses and single-label hosts would reach into the proxy's own host: they are accepted only where the
/// proxy runs on the operator's machine.
pub fn invalid(backend: &facts::Backend, settings: &Settings) -> Option<Finding> {
    let BackendKind::Endpoints(endpoints) = &backend.kind else { return None };
    if settings.allow_local_backends {
        return None;
    }
    endpoints.iter().enumerate().find_map(|(i, endpoint)| match &endpoint.address {
        Address::Ip(ip, _) if is_loopback(*ip) => Some(Finding::new(
            format!("spec.endpoints[{i}].ip.address"),
            "InvalidAddress",
            format!(
                "IP address {ip} is in the loopback range, which only proxies on the operator's host may use"
            ),
        )),
        Address::Host(host, _) if !host.trim_end_matches('.').contains('.') => Some(Finding::new(
            format!("spec.endpoints[{i}].fqdn.hostname"),
            "InvalidAddress",
            format!("hostname {host} must be a domain name of at least two labels"),
        )),
        _ => None,
    })
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    }
}
