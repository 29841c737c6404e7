//! Backend.

use ir::{
    Kind,
    cluster::{Address, Protocol},
};

use super::{Lowering, labels, port, text};
use crate::facts::{Backend, BackendEndpoint, BackendKind};

impl Lowering<'_> {
    pub(super) fn backend(&mut self, backend: &api::Backend) -> Backend {
        let spec = &backend.spec;
        let endpoints = || spec.endpoints.iter().filter_map(endpoint).collect();
        Backend {
            meta: self.meta(Kind::Backend, &backend.metadata),
            kind: match spec.type_ {
                api::BackendType::Endpoints => BackendKind::Endpoints(endpoints()),
                api::BackendType::DynamicResolver => BackendKind::DynamicResolver,
            },
            protocol: spec.app_protocols.first().map(|protocol| match protocol {
                api::AppProtocolType::H2c => Protocol::Http2,
                api::AppProtocolType::Ws | api::AppProtocolType::Wss => Protocol::Http1Only,
            }),
            labels: labels(&backend.metadata),
            fallback: spec.fallback.unwrap_or(false),
            tls: spec.tls.as_ref().map(|tls| self.backend_tls(tls).into()),
            namesake: self.object(
                Kind::BackendTlsPolicy,
                &self.namespace.clone(),
                backend.metadata.name.as_deref().unwrap_or_default(),
            ),
        }
    }
}

/// An endpoint; the schema sees to it that exactly one of its three forms is there.
fn endpoint(endpoint: &api::BackendEndpoint) -> Option<BackendEndpoint> {
    let address = if let Some(fqdn) = &endpoint.fqdn {
        Address::Host(text(&fqdn.hostname), port(fqdn.port)?)
    } else if let Some(ip) = &endpoint.ip {
        Address::Ip(ip.address.parse().ok()?, port(ip.port)?)
    } else {
        Address::Unix(text(&endpoint.unix.as_ref()?.path))
    };
    Some(BackendEndpoint {
        address,
        hostname: endpoint.hostname.as_deref().map(text),
        zone: endpoint.zone.as_deref().map(text),
    })
}
