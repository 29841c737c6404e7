//! Clusters and their endpoints.

use std::{net::IpAddr, sync::Arc};

use crate::{Metadata, ObjectRef, telemetry::ClusterStatistics, tls::UpstreamTls, traffic::ClusterTraffic};

/// Name in weighted targets that stands for backends that cannot be reached. No cluster has it, so Envoy answers
/// requests that it is chosen for with the target's status for missing clusters.
pub const INVALID_BACKEND_CLUSTER: &str = "invalid-backend-cluster";

/// Name of the cluster of TCP, TLS and UDP listeners that have no route. It has no endpoints, so connections are
/// closed.
pub const EMPTY_CLUSTER: &str = "EmptyCluster";

/// A set of endpoints that routes send requests to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// xDS name.
    pub name: Arc<str>,
    /// How endpoints become known.
    pub discovery: Discovery,
    /// The protocol towards the endpoints.
    pub protocol: Protocol,
    /// The route rule (or other user) that it was made for; `None` for system clusters.
    pub metadata: Option<Metadata>,
    /// Policies that have a say in it, the most specific one first: of a route of connections, which has no place of its
    /// own to tell it.
    pub policies: Box<[ObjectRef]>,
    /// How requests are spread over zones.
    pub zones: Zones,
    /// TLS towards each backend, by its index; `None` for one that is reached in plain text. Empty when all are.
    pub tls: Box<[Option<UpstreamTls>]>,
    /// What a policy says of it.
    pub traffic: ClusterTraffic,
    /// Host of health checks that name none: that of the route.
    pub health_host: Arc<str>,
    /// What is counted of it.
    pub statistics: ClusterStatistics,
    /// Its name in statistics; `None` for its own.
    pub stat_name: Option<Arc<str>>,
    /// Objects that it was made from.
    pub owners: Box<[ObjectRef]>,
}

/// Name of the transport socket by which a cluster reaches its backend of this index. Endpoints ask for it by name.
pub fn transport_socket_name(cluster: &str, index: usize) -> Arc<str> {
    format!("{cluster}/tls/{index}").into()
}

/// How the endpoints of a cluster become known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// By a `ClusterLoadAssignment` of this name (EDS).
    Eds {
        /// `service_name`.
        service_name: Arc<str>,
    },
    /// By resolving host names.
    Dns {
        /// Localities with host names as addresses.
        localities: Box<[Locality]>,
    },
    /// By the request's own host (Envoy's dynamic forward proxy).
    DynamicForwardProxy,
}

/// The protocol that a cluster speaks to its endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1, Envoy's default; nothing is emitted. Over TLS also HTTP/2, where the backend agrees to it (ALPN).
    #[default]
    Http1,
    /// HTTP/1.1 even where the connection could negotiate HTTP/2 (WebSocket backends).
    Http1Only,
    /// HTTP/2 alone; in plain text with prior knowledge.
    Http2,
}

impl Protocol {
    /// Whether Envoy may speak HTTP/2 to endpoints. Checks by gRPC need it: Envoy refuses clusters that have these and
    /// do not speak it. `over_tls` is true where all endpoints are reached over TLS.
    #[must_use]
    pub fn may_be_http2(self, traffic: &ClusterTraffic, over_tls: bool) -> bool {
        traffic.client_protocol
            || match self {
                Protocol::Http1 => over_tls,
                Protocol::Http1Only => false,
                Protocol::Http2 => true,
            }
    }
}

/// How requests are spread over zones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Zones {
    /// By locality weight: one locality per backend reference.
    #[default]
    LocalityWeighted,
    /// The proxy's own zone first.
    ZoneAware {
        /// Endpoints that a cluster must have for it (`min_cluster_size`).
        min_cluster_size: u32,
        /// Endpoints that the own zone must have to take all of its traffic; `None` for Envoy's proportional spread.
        force_local_min_size: Option<u32>,
    },
}

/// The endpoints of an EDS cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// `cluster_name`.
    pub name: Arc<str>,
    /// One locality per backend reference (and zone, where zones count).
    pub localities: Box<[Locality]>,
    /// Objects that it was made from.
    pub owners: Box<[ObjectRef]>,
}

/// Endpoints that share a weight and a priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locality {
    /// Region: the name of the backend reference it stands for.
    pub region: Option<Arc<str>>,
    /// Zone.
    pub zone: Option<Arc<str>>,
    /// Weight of the locality.
    pub weight: Option<u32>,
    /// 0 is used first.
    pub priority: u32,
    /// The backend; `None` for an invalid one.
    pub metadata: Option<Metadata>,
    /// Name of the cluster's transport socket for its endpoints; `None` for plain text.
    pub transport_socket: Option<Arc<str>>,
    /// How its endpoints are checked, where that differs from their addresses.
    pub health: EndpointHealth,
    /// The endpoints.
    pub endpoints: Box<[Endpoint]>,
}

/// How the endpoints of a locality are checked, where that differs from their addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointHealth {
    /// The port that is checked; `None` for the endpoint's own.
    pub port: Option<u16>,
    /// Checks name the endpoint's host name.
    pub by_hostname: bool,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// Host name that Envoy may use in health checks and auto host rewrite.
    pub hostname: Option<Arc<str>>,
    /// Gets no new requests but finishes those it has.
    pub draining: bool,
}

/// Address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IP address and port.
    Ip(IpAddr, u16),
    /// Host name, to be resolved, and port.
    Host(Arc<str>, u16),
    /// Path of a Unix socket.
    Unix(Arc<str>),
}
