//! Service and EndpointSlice.

use std::{net::IpAddr, sync::Arc};

use ir::{
    Kind,
    cluster::Zones,
    infra::labels::{OWNING_GATEWAY_CLASS, OWNING_GATEWAY_NAME, OWNING_GATEWAY_NAMESPACE},
};

use super::{Lowering, labels, port, text};
use crate::facts::{
    EndpointSlice, Service, ServiceImport, ServiceKind, ServicePort, SliceAddress, SliceEndpoint, SlicePort,
};

/// Label of an EndpointSlice that names its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Label of an EndpointSlice that names its ServiceImport (Multi-Cluster Services API).
const IMPORT_NAME_LABEL: &str = "multicluster.kubernetes.io/service-name";
/// Annotation that asks for topology-aware routing.
const TOPOLOGY_MODE_ANNOTATION: &str = "service.kubernetes.io/topology-mode";

impl Lowering<'_> {
    pub(super) fn service(&mut self, service: &api::Service) -> Service {
        let spec = service.spec.clone().unwrap_or_default();
        let kind = match (spec.type_.as_deref(), spec.cluster_ip.as_deref()) {
            (Some("ExternalName"), _) => {
                ServiceKind::ExternalName(text(spec.external_name.as_deref().unwrap_or_default()))
            }
            (_, Some("None")) => ServiceKind::Headless,
            (_, address) => ServiceKind::ClusterIp(address.and_then(|address| address.parse().ok())),
        };
        let label = |key: &str| service.metadata.labels.as_ref().and_then(|l| l.get(key)).cloned();
        let owner =
            (label(OWNING_GATEWAY_NAMESPACE), label(OWNING_GATEWAY_NAME), label(OWNING_GATEWAY_CLASS));
        let proxy_of = match owner {
            (Some(namespace), Some(name), None) => Some(self.object(Kind::Gateway, &namespace, &name)),
            (None, None, Some(class)) => Some(self.object(Kind::GatewayClass, "", &class)),
            _ => None,
        };
        Service {
            meta: self.meta(Kind::Service, &service.metadata),
            kind,
            ports: (spec.ports.iter().flatten())
                .filter_map(|p| {
                    Some(ServicePort {
                        name: text(p.name.as_deref().unwrap_or_default()),
                        port: port(p.port)?,
                        protocol: text(p.protocol.as_deref().unwrap_or("TCP")),
                        app_protocol: p.app_protocol.as_deref().map(text),
                    })
                })
                .collect(),
            labels: labels(&service.metadata),
            zones: zones(service),
            proxy_of,
        }
    }

    pub(super) fn service_import(&mut self, import: &api::ServiceImport) -> ServiceImport {
        let own = self.namespace.clone();
        let name = import.metadata.name.as_deref().unwrap_or_default();
        ServiceImport {
            meta: self.meta(Kind::ServiceImport, &import.metadata),
            service: self.object(Kind::Service, &own, name),
            labels: labels(&import.metadata),
            address: import.spec.ips.first().and_then(|address| address.parse().ok()),
            ports: (import.spec.ports.iter())
                .filter_map(|p| {
                    Some(ServicePort {
                        name: text(p.name.as_deref().unwrap_or_default()),
                        port: port(p.port)?,
                        protocol: text(p.protocol.as_deref().unwrap_or("TCP")),
                        app_protocol: p.app_protocol.as_deref().map(text),
                    })
                })
                .collect(),
        }
    }

    pub(super) fn endpoint_slice(&mut self, slice: &api::EndpointSlice) -> EndpointSlice {
        let own = self.namespace.clone();
        let label = |key: &str| slice.metadata.labels.as_ref().and_then(|l| l.get(key)).cloned();
        let (service, import) = (label(SERVICE_NAME_LABEL), label(IMPORT_NAME_LABEL));
        let fqdn = slice.address_type == "FQDN";
        EndpointSlice {
            meta: self.meta(Kind::EndpointSlice, &slice.metadata),
            service: service.map(|name| self.object(Kind::Service, &own, &name)),
            import: import.map(|name| self.object(Kind::ServiceImport, &own, &name)),
            fqdn,
            ports: (slice.ports.iter().flatten())
                .filter_map(|p| {
                    Some(SlicePort {
                        name: text(p.name.as_deref().unwrap_or_default()),
                        port: p.port.and_then(port)?,
                        protocol: text(p.protocol.as_deref().unwrap_or("TCP")),
                    })
                })
                .collect(),
            endpoints: (slice.endpoints.iter().flatten()).flat_map(|e| slice_endpoints(e, fqdn)).collect(),
        }
    }
}

/// `spec.trafficDistribution` of any value prefers the own zone outright; the older annotation asks for a spread that
/// needs at least three endpoints in it.
fn zones(service: &api::Service) -> Option<Zones> {
    if service.spec.as_ref().is_some_and(|s| s.traffic_distribution.is_some()) {
        return Some(Zones::ZoneAware { min_cluster_size: 1, force_local_min_size: Some(1) });
    }
    let mode = service.metadata.annotations.as_ref().and_then(|a| a.get(TOPOLOGY_MODE_ANNOTATION));
    mode.is_some_and(|m| m.eq_ignore_ascii_case("auto"))
        .then_some(Zones::ZoneAware { min_cluster_size: 3, force_local_min_size: Some(3) })
}

/// An endpoint of a slice, once for each of its addresses. Unknown conditions mean: ready and serving, not terminating
/// (Kubernetes, EndpointConditions).
fn slice_endpoints(endpoint: &api::core::Endpoint, fqdn: bool) -> impl Iterator<Item = SliceEndpoint> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let terminating = conditions.terminating.unwrap_or(false);
    let draining = match conditions.serving {
        Some(serving) => terminating || !serving,
        None => terminating || !conditions.ready.unwrap_or(true),
    };
    let zone: Option<Arc<str>> = endpoint.zone.as_deref().map(text);
    endpoint.addresses.iter().filter_map(move |address| {
        let address = if fqdn {
            SliceAddress::Host(text(address))
        } else {
            SliceAddress::Ip(address.parse::<IpAddr>().ok()?)
        };
        Some(SliceEndpoint { address, zone: zone.clone(), draining })
    })
}
