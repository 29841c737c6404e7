//! Endpoints of a cluster (EDS, and inline for clusters that resolve names).

use envoy_api::{
    core,
    endpoint::{
        Endpoint, LbEndpoint, LocalityLbEndpoints, endpoint::HealthCheckConfig, lb_endpoint::HostIdentifier,
    },
    well_known::uint32,
};
use ir::cluster::{EndpointHealth, Endpoints, Locality};

use super::{address, metadata, tls, wire::Fields};

// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
const CLUSTER_NAME: u32 = 1;
const ENDPOINTS: u32 = 2;
/// `envoy.config.endpoint.v3.LocalityLbEndpoints.metadata`.
const LOCALITY_METADATA: u32 = 9;

/// An encoded `envoy.config.endpoint.v3.ClusterLoadAssignment`.
pub fn endpoints(endpoints: &Endpoints) -> Vec<u8> {
    // About 60 bytes an endpoint, and 200 for the locality's name and metadata.
    let count: usize = endpoints.localities.iter().map(|locality| locality.endpoints.len()).sum();
    let mut fields = Fields::with_capacity(64 + 60 * count + 200 * endpoints.localities.len());
    load_assignment(&mut fields, &endpoints.name, &endpoints.localities);
    fields.into_bytes()
}

/// The fields of a `ClusterLoadAssignment`.
pub(super) fn load_assignment(fields: &mut Fields, cluster_name: &str, localities: &[Locality]) {
    fields.string(CLUSTER_NAME, cluster_name);
    for locality in localities {
        fields.nested(ENDPOINTS, |message| {
            message.message(&lb_endpoints(locality));
            if let Some(of_backend) = &locality.metadata {
                metadata::field(message, LOCALITY_METADATA, of_backend);
            }
        });
    }
}

fn lb_endpoints(locality: &Locality) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        locality: Some(core::Locality {
            region: locality.region.as_deref().unwrap_or_default().to_owned(),
            zone: locality.zone.as_deref().unwrap_or_default().to_owned(),
            ..Default::default()
        }),
        lb_endpoints: (locality.endpoints.iter())
            .map(|endpoint| lb_endpoint(endpoint, locality.health, locality.transport_socket.as_deref()))
            .collect(),
        load_balancing_weight: locality.weight.and_then(uint32),
        priority: locality.priority,
        ..Default::default()
    }
}

/// Key under `filter_metadata` by which an endpoint asks for a transport socket.
const TRANSPORT_SOCKET: &str = "envoy.transport_socket_match";

fn lb_endpoint(
    endpoint: &ir::cluster::Endpoint,
    checks: EndpointHealth,
    transport_socket: Option<&str>,
) -> LbEndpoint {
    let check = HealthCheckConfig {
        port_value: checks.port.map(u32::from).unwrap_or_default(),
        hostname: endpoint.hostname.as_deref().filter(|_| checks.by_hostname).unwrap_or_default().to_owned(),
        ..Default::default()
    };
    let health = if endpoint.draining { core::HealthStatus::Draining } else { core::HealthStatus::Unknown };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(address::endpoint(&endpoint.address)),
            hostname: endpoint.hostname.as_deref().unwrap_or_default().to_owned(),
            health_check_config: (check != HealthCheckConfig::default()).then_some(check),
            ..Default::default()
        })),
        health_status: health.into(),
        metadata: transport_socket.map(|name| core::Metadata {
            filter_metadata: [(TRANSPORT_SOCKET.to_owned(), tls::matching(name))].into(),
            ..Default::default()
        }),
        // Required by locality-weighted balancing; equal for all.
        load_balancing_weight: uint32(1),
    }
}
