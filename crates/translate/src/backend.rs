//! Validity of Backend objects.

use std::net::IpAddr;

use ir::cluster::Address;
use store::facts::{self, BackendKind};

use crate::{Finding, Reader, backend_tls};

/// What is wrong with a Backend as a whole; `None` when routes may use it.
///
/// Loopback addresses and single-label hosts would reach into the proxy's own host: they are accepted only where the
/// proxy runs on the operator's machine.
pub fn invalid(backend: &facts::Backend, reader: &mut Reader<'_>) -> Option<Finding> {
    invalid_tls(backend, reader).or_else(|| invalid_address(backend, reader))
}

/// A Backend with TLS must say whom it trusts, by itself or by a policy. Whether those that it names can be had is for
/// the routes that use it.
fn invalid_tls(backend: &facts::Backend, reader: &mut Reader<'_>) -> Option<Finding> {
    let tls = backend.tls.as_ref()?;
    if !tls.insecure && tls.trust.is_none() && !backend_tls::completed_by_policies(backend, reader) {
        return Some(Finding::new(
            "spec.tls",
            "InvalidBackendRef",
            "caCertificateRefs or wellKnownCACertificates must be set, or insecureSkipVerify, or a BackendTLSPolicy for the Backend",
        ));
    }
    let namespace = tls.client.certificate.as_ref()?.namespace.as_ref()?;
    (*namespace != reader.object(backend.meta.id).namespace).then(|| {
        Finding::new(
            "spec.tls.clientCertificateRef.namespace",
            "InvalidBackendRef",
            format!("the client certificate must be in the namespace of the Backend, not in {namespace}"),
        )
    })
}

fn invalid_address(backend: &facts::Backend, reader: &mut Reader<'_>) -> Option<Finding> {
    let BackendKind::Endpoints(endpoints) = &backend.kind else { return None };
    if reader.settings().allow_local_backends {
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
