//! Listeners of a proxy: where it accepts connections and how it treats them until a route is chosen.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    Metadata, ObjectRef,
    downstream::{ConnectionSettings, HttpSettings, SocketSettings},
    telemetry::Telemetry,
    tls::{ClientValidation, TlsParameters},
    traffic::{Compressor, ResponseOverrides},
};

/// A listener of Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerRef {
    /// The Gateway or ListenerSet that it is part of.
    pub owner: ObjectRef,
    /// Its name there.
    pub name: Arc<str>,
    /// The Gateway: its owner, or the one that its ListenerSet is for.
    pub gateway: ObjectRef,
}

/// Transport protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// As Kubernetes writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        }
    }
}

/// One socket that a proxy listens on, with the filter chains of every Gateway listener on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// xDS name: that of the first Gateway listener on the port.
    pub name: Arc<str>,
    /// Address to bind, such as `0.0.0.0`.
    pub address: Arc<str>,
    /// Port to bind, on the proxy (a Gateway port below 1024 is shifted in a cluster).
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// Fails to bind when another process listens there, instead of sharing the port with it unnoticed.
    pub exclusive: bool,
    /// Takes IPv4 as well although the address is IPv6.
    pub ipv4_compat: bool,
    /// What it says of all connections.
    pub settings: Arc<SocketSettings>,
    /// What it has of telemetry.
    pub telemetry: Arc<Telemetry>,
    /// Chains chosen by SNI, in the order of the Gateway's listeners.
    pub chains: Box<[FilterChain]>,
    /// The chain for everything else; all plain HTTP listeners of the port share it.
    pub default_chain: Option<FilterChain>,
    /// Gateways (and ListenerSets) that own listeners on the port.
    pub owners: Box<[ObjectRef]>,
}

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterChain {
    /// xDS name of the chain.
    pub name: Arc<str>,
    /// Server names (SNI) that select the chain; empty for any.
    pub server_names: Box<[Arc<str>]>,
    /// Termination of TLS; `None` for plaintext and passthrough.
    pub tls: Option<DownstreamTls>,
    /// What it says of its connections.
    pub connection: ConnectionSettings,
    /// What is spoken inside.
    pub network: Network,
}

/// The network filter of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// HTTP with routes.
    Http(Http),
    /// Bytes.
    Tcp {
        /// Where to.
        target: TcpTarget,
        /// Prefix of its statistics.
        stat_prefix: Arc<str>,
        /// Endpoints are chosen by the hash of the client's address.
        by_source: bool,
    },
    /// Datagrams to one cluster; for a listener without routes, to `EmptyCluster`.
    Udp {
        /// Cluster name.
        cluster: Arc<str>,
        /// Prefix of its statistics.
        stat_prefix: Arc<str>,
        /// Endpoints are chosen by the hash of the client's address.
        by_source: bool,
    },
}

/// Where the bytes of a connection go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpTarget {
    /// To this cluster; for a listener without routes, to `EmptyCluster`.
    Cluster(Arc<str>),
    /// To this cluster, but for a share of connections that are refused, because the backends that they are meant for
    /// cannot be used.
    Partly {
        /// Cluster name.
        cluster: Arc<str>,
        /// Weight of the connections that it gets.
        weight: u32,
        /// Weight of those that are refused.
        refused: u32,
    },
    /// To the host that the client names by SNI, on port 443, through this cluster, which is a dynamic forward proxy.
    ServerName(Arc<str>),
}

impl TcpTarget {
    /// The cluster.
    pub fn cluster(&self) -> &Arc<str> {
        match self {
            TcpTarget::Cluster(cluster)
            | TcpTarget::Partly { cluster, .. }
            | TcpTarget::ServerName(cluster) => cluster,
        }
    }
}

impl Network {
    /// The cluster that the filter names itself; `None` for HTTP, whose routes name clusters.
    pub fn cluster(&self) -> Option<&Arc<str>> {
        match self {
            Network::Http(_) => None,
            Network::Tcp { target, .. } => Some(target.cluster()),
            Network::Udp { cluster, .. } => Some(cluster),
        }
    }
}

/// Settings of an HTTP connection manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Name of the route configuration (RDS).
    pub route_configuration: Arc<str>,
    /// Prefix of its statistics, such as `http-10080`.
    pub stat_prefix: Arc<str>,
    /// HTTP filters that some route on this listener needs; the router is always there.
    pub filters: BTreeSet<HttpFilter>,
    /// Changes of the order of its filters, made one after the other.
    pub order: Arc<[FilterMove]>,
    /// Notes protocol and server name of the connection in a header of each request, for routes that tell requests of
    /// this listener from those that came over its connections for another listener.
    pub notes_connection: bool,
    /// It is spoken over QUIC: HTTP/3.
    pub by_quic: bool,
    /// What it says of requests.
    pub settings: Arc<HttpSettings>,
}

/// HTTP filters that act earlier or later than they would by themselves. Filters are named by how their names begin:
/// there may be several of a kind. Where no filter is named so, nothing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterMove {
    /// The filters.
    pub filter: Arc<str>,
    /// The filters that they act before or after: before all of them, or after all.
    pub anchor: Arc<str>,
    /// They act before.
    pub before: bool,
}

/// An HTTP filter that has to be on a listener because a route uses it. They act in the order in which they stand here,
/// which is part of the contract with users' patches: that of Envoy Gateway's list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HttpFilter {
    /// Responses that take the place of others, of one policy.
    CustomResponse(Arc<ResponseOverrides>),
    /// Delays and errors made on purpose.
    Fault,
    /// Cross-origin resource sharing.
    Cors,
    /// Session persistence.
    SessionPersistence,
    /// Buffering of whole requests, for a route with this many bytes at most.
    Buffer(u32),
    /// What keeps routes to a dynamic resolver from reaching the proxy itself.
    LoopbackGuard,
    /// Limits of requests in a time.
    LocalRateLimit,
    /// Limits of requests' bytes in a time.
    RequestBandwidth,
    /// Limits of responses' bytes in a time.
    ResponseBandwidth,
    /// Translation of gRPC-Web to gRPC.
    GrpcWeb,
    /// Statistics of calls by service and method.
    GrpcStatistics,
    /// Compression of responses, as a route has it.
    Compressor(Compressor),
}

/// Termination of TLS on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownstreamTls {
    /// Names of the certificate secrets (SDS), in the order of `certificateRefs`.
    pub certificates: Box<[Arc<str>]>,
    /// ALPN protocols in order of preference; empty for none.
    pub alpn: Box<[Arc<str>]>,
    /// What a handshake may agree on.
    pub parameters: TlsParameters,
    /// Clients may go on with a session by tickets that they keep.
    pub tickets: bool,
    /// Clients may go on with a session that the proxy keeps.
    pub sessions: bool,
    /// What clients must show; `None` when they are not asked for a certificate.
    pub client: Option<Arc<ClientValidation>>,
}

/// A virtual host: the routes of one hostname on one route configuration, or the answer to requests for the hostnames of
/// other listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualHost {
    /// xDS name.
    pub name: Arc<str>,
    /// The domains it answers, `*` for all: one for routes, one for each other listener whose requests it refuses.
    pub domains: Box<[Arc<str>]>,
    /// Gateway and listener it belongs to.
    pub metadata: Metadata,
    /// It has statistics of its own.
    pub counted: bool,
}
