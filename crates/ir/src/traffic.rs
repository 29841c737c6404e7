//! How proxies talk to backends, as policies say it: what clusters have of it, and what routes have.

mod limits;
mod response;
mod route;

use std::{sync::Arc, time::Duration};

pub use limits::*;
pub use response::*;
pub use route::*;

use crate::downstream::Http1;

/// What a policy says of a cluster. Where something is not said, Envoy Gateway's defaults hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterTraffic {
    /// HTTP/1 as clients speak it: what a ClientTrafficPolicy says of the listener.
    pub http1: Option<Arc<Http1>>,
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// The PROXY protocol towards endpoints.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// TCP keepalive.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Checks by requests of the proxy's own.
    pub active_health: Option<ActiveHealthCheck>,
    /// Checks by what endpoints answer to clients.
    pub passive_health: Option<PassiveHealthCheck>,
    /// Share of healthy endpoints, in percent, below which all get requests.
    pub panic_threshold: Option<u32>,
    /// Limits beyond which requests fail at once.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Time to connect.
    pub connect_timeout: Option<Duration>,
    /// Time without requests after which a connection is closed.
    pub idle_timeout: Option<Duration>,
    /// Time after which a connection is closed.
    pub max_connection_duration: Option<Duration>,
    /// Time after which a request of the proxy's own ends; of clients' requests routes say it.
    pub max_stream_duration: Option<Duration>,
    /// What is hashed of requests of the proxy's own to choose an endpoint; of clients' requests routes say it.
    pub hash: Option<HashKey>,
    /// Bytes buffered for a connection.
    pub buffer_limit: Option<u32>,
    /// Connections ahead of need to each endpoint, in percent of those needed.
    pub preconnect_per_endpoint: Option<u32>,
    /// Connections ahead of need to all endpoints, in percent of those needed.
    pub preconnect_predictive: Option<u32>,
    /// How names are resolved.
    pub dns: Option<Dns>,
    /// HTTP/2 towards backends that speak it.
    pub http2: Option<Http2>,
    /// Backends are spoken to in the version of HTTP that the client speaks.
    pub client_protocol: bool,
    /// Requests refused at random while too many fail.
    pub admission: Option<AdmissionControl>,
    /// Whether Services are reached by their endpoints or by their cluster IP; `None` for the Gateway's own way.
    pub routing: Option<Routing>,
}

/// How Services are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// By their endpoints, which the proxy chooses from.
    #[default]
    Endpoint,
    /// By their cluster IP, so that the cluster's network chooses.
    Service,
}

/// How endpoints are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// The rule.
    pub rule: Balancing,
    /// Time after which a new endpoint gets its full share.
    pub slow_start: Option<Duration>,
    /// Headers in which requests name the endpoint they want; empty for none.
    pub override_headers: Box<[Arc<str>]>,
    /// How zones count.
    pub zones: ZonePreference,
}

/// The rule by which endpoints are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// The one of two with fewer requests.
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
    /// By hash.
    ConsistentHash {
        /// Entries of the table: a prime number. What is hashed, routes say.
        table_size: u64,
    },
    /// By reported load.
    Utilization(Box<Utilization>),
}

/// How reported load weighs. Zero counts as not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Utilization {
    /// Time for which reports must have come.
    pub blackout: Option<Duration>,
    /// Time after which a report counts no more.
    pub expiration: Option<Duration>,
    /// Time between changes of weights.
    pub update: Option<Duration>,
    /// How much errors weigh, in percent.
    pub error_penalty: Option<u32>,
    /// Metrics that make up the load.
    pub metrics: Box<[Arc<str>]>,
    /// Reports on connections of their own.
    pub out_of_band: Option<OutOfBand>,
}

/// Reports on connections of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutOfBand {
    /// Time between reports.
    pub period: Option<Duration>,
    /// Port that reports; `None` for the endpoint's own.
    pub port: Option<u16>,
    /// `:authority` of the request for reports.
    pub authority: Option<Arc<str>>,
}

/// How zones count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ZonePreference {
    /// As the backends themselves ask for it.
    #[default]
    Unset,
    /// The proxy's own zone goes first.
    Local {
        /// Endpoints below which zones do not count.
        min_cluster_size: u64,
        /// Share of requests for which they do, in percent.
        percentage: Option<u32>,
        /// Endpoints that the own zone must have to take all of its requests; `None` for Envoy's proportional spread.
        force_local_min_size: Option<u32>,
    },
    /// By weight; other zones weigh 1.
    Weighted(Box<[(Arc<str>, u32)]>),
}

impl ZonePreference {
    /// True when endpoints are grouped by zone.
    pub fn by_zone(&self) -> bool {
        *self != ZonePreference::Unset
    }
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// TCP keepalive, times in seconds. What is not set is the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Probes without an answer after which a connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub idle: Option<u32>,
    /// Time between probes.
    pub interval: Option<u32>,
}

/// Checks by requests of the proxy's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveHealthCheck {
    /// Time for each check.
    pub timeout: Duration,
    /// Time between checks.
    pub interval: Duration,
    /// Time before the first, at most.
    pub initial_jitter: Option<Duration>,
    /// Failures in a row after which an endpoint is unhealthy.
    pub unhealthy_threshold: u32,
    /// Successes in a row after which it is healthy again.
    pub healthy_threshold: u32,
    /// What is sent.
    pub checker: HealthChecker,
    /// Port that is checked; `None` for the endpoint's own.
    pub port: Option<u16>,
    /// Where results are logged.
    pub log: Option<HealthCheckLog>,
}

/// What a check sends, and what has to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthChecker {
    /// A request.
    Http {
        /// Its host; `None` for the endpoint's or the route's.
        host: Option<Arc<str>>,
        /// Its path.
        path: Arc<str>,
        /// Its method, in capitals; `None` for GET.
        method: Option<Arc<str>>,
        /// Status codes of a healthy endpoint, ascending.
        expected: Box<[u16]>,
        /// Status codes that are not taken for unhealthy at once, ascending.
        retriable: Box<[u16]>,
        /// What the body must hold.
        receive: Option<Payload>,
        /// The body sent.
        send: Option<Payload>,
    },
    /// Bytes.
    Tcp {
        /// Sent.
        send: Option<Payload>,
        /// Waited for.
        receive: Option<Payload>,
    },
    /// gRPC's own protocol.
    Grpc {
        /// The service asked about; empty for the server as a whole.
        service: Arc<str>,
    },
}

/// Bytes of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Text.
    Text(Arc<str>),
    /// Bytes.
    Binary(Box<[u8]>),
}

/// Where results of checks are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckLog {
    /// Files.
    pub paths: Box<[Arc<str>]>,
    /// Every failure is logged, and not only the first of a series.
    pub all_failures: bool,
    /// Every success is logged, and not only the first of a series.
    pub all_successes: bool,
}

/// Checks by what endpoints answer to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassiveHealthCheck {
    /// Failures to reach an endpoint are told from errors that it answers.
    pub splits_origin: bool,
    /// Time between looks.
    pub interval: Duration,
    /// Failures to reach an endpoint in a row.
    pub local_failures: u32,
    /// Answers 502 to 504 in a row; `None` when they do not count.
    pub gateway_errors: Option<u32>,
    /// Answers of 500 and above in a row.
    pub errors: u32,
    /// Time for which an endpoint is left out.
    pub ejection_time: Duration,
    /// Share of endpoints left out at most, in percent.
    pub max_ejection: u32,
    /// Share of failures, in percent; `None` when it does not count.
    pub failure_percentage: Option<u32>,
    /// One endpoint may be left out whatever the share.
    pub always_one: bool,
}

/// Limits beyond which requests fail at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// Connections.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// Requests.
    pub requests: u32,
    /// Further attempts.
    pub retries: u32,
    /// Requests of each connection.
    pub per_connection: Option<u32>,
    /// Connections to each endpoint.
    pub connections_per_endpoint: Option<u32>,
    /// Further attempts by their share of all requests.
    pub retry_budget: Option<RetryBudget>,
}

/// Further attempts by their share of all requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// The share, as numerator and denominator.
    pub share: (u32, u32),
    /// Attempts that are always allowed.
    pub min_concurrency: u32,
}

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Time after which a name is resolved again.
    pub refresh: Option<Duration>,
    /// The answer's time to live goes first.
    pub respects_ttl: bool,
    /// Addresses asked for.
    pub family: Option<DnsFamily>,
    /// Name of the policy that says so, as `namespace/name`.
    pub policy: Arc<str>,
}

/// Addresses that a name is resolved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsFamily {
    /// IPv4 alone.
    V4Only,
    /// IPv6 alone.
    V6Only,
    /// IPv6 where there is no IPv4.
    V4Preferred,
    /// IPv4 where there is no IPv6.
    V6Preferred,
    /// Both.
    All,
}

/// HTTP/2 towards backends that speak it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http2 {
    /// Bytes of a stream in flight.
    pub stream_window: Option<u32>,
    /// Bytes of a connection in flight.
    pub connection_window: Option<u32>,
    /// Streams at once.
    pub max_streams: Option<u32>,
    /// A message that breaks the rules ends the stream alone.
    pub resets_streams: Option<bool>,
    /// Pings.
    pub keepalive: Option<Http2Keepalive>,
}

/// Pings of HTTP/2 connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http2Keepalive {
    /// Time between pings.
    pub interval: Option<Duration>,
    /// Time to answer.
    pub timeout: Option<Duration>,
    /// Part of the interval, in percent, added at random.
    pub jitter: Option<u32>,
    /// Idle time after which a stream is preceded by a ping.
    pub idle_interval: Option<Duration>,
}

/// Requests refused at random while too many fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionControl {
    /// Time over which requests are counted.
    pub window: Option<Duration>,
    /// Share of successes, in percent, below which requests are refused.
    pub min_success: Option<u32>,
    /// How steeply refusals grow.
    pub aggression: Option<u32>,
    /// Requests a second below which none is refused.
    pub min_rate: Option<u32>,
    /// Share refused at most, in percent.
    pub max_rejection: Option<u32>,
    /// Status codes that are successes; `None` for the default.
    pub http_success: Option<Box<[u16]>>,
    /// gRPC statuses that are successes, by number; `None` for the default.
    pub grpc_success: Option<Box<[u32]>>,
}
