//! How proxies talk to backends: settings that BackendTrafficPolicy has, and every reference to a backend of the
//! proxies' own (collectors of logs and traces, authorization services).

mod health_check;
mod load_balancer;

pub use health_check::*;
pub use load_balancer::*;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::Fraction,
    config::declare::{choices, options},
    text::{Duration, Quantity},
};

options! {
    /// How proxies talk to a backend.
    ClusterSettings {
        /// How endpoints are chosen; the one with the fewest requests when unset.
        /// Envoy: `Cluster.load_balancing_policy`.
        load_balancer: LoadBalancer,
        /// When and how requests are tried again; never when unset.
        /// Envoy: `RouteAction.retry_policy`.
        retry: Retry,
        /// The PROXY protocol, which tells backends the client's address; not spoken when unset.
        /// Envoy: transport socket `envoy.transport_sockets.upstream_proxy_protocol`.
        proxy_protocol: ProxyProtocol,
        /// TCP keepalive of connections to backends; off when unset.
        tcp_keepalive: TcpKeepalive,
        /// How unhealthy endpoints are found.
        health_check: HealthCheck,
        /// Limits beyond which requests fail at once.
        circuit_breaker: CircuitBreaker,
        /// Time limits.
        timeout: Timeout,
        /// Buffers and connections made ahead of need.
        connection: BackendConnection,
        /// How host names of backends are resolved.
        dns: Dns,
        /// HTTP/2 towards backends that speak it.
        http2: Http2Settings,
    }
    /// TCP keepalive. What is left out is the kernel's.
    TcpKeepalive {
        /// Probes without an answer after which a connection is dead; 9 by default.
        /// Envoy: `TcpKeepalive.keepalive_probes`; on listeners the socket option `TCP_KEEPCNT`.
        probes: u32,
        /// Idle time before the first probe; `7200s` by default.
        /// Envoy: `TcpKeepalive.keepalive_time`; on listeners the socket option `TCP_KEEPIDLE`.
        idle_time: Duration,
        /// Time between probes; `75s` by default.
        /// Envoy: `TcpKeepalive.keepalive_interval`; on listeners the socket option `TCP_KEEPINTVL`.
        interval: Duration,
    }
    /// What requests are tried again for: all of them count together.
    RetryOn {
        /// Events.
        /// Envoy: `RetryPolicy.retry_on`.
        triggers: Vec<TriggerEnum>,
        /// Status codes, which count with the trigger `retriable-status-codes`.
        /// Envoy: `RetryPolicy.retriable_status_codes`.
        http_status_codes: Vec<HttpStatus>,
    }
    /// Each further attempt.
    PerRetryPolicy {
        /// Time for each attempt.
        /// Envoy: `RetryPolicy.per_try_timeout`.
        timeout: Duration,
        /// Time between attempts.
        back_off: BackOffPolicy,
    }
    /// Time between attempts: it grows exponentially and is drawn at random.
    BackOffPolicy {
        /// Time before the first further attempt, at most.
        /// Envoy: `RetryPolicy.retry_back_off.base_interval`.
        base_interval: Duration,
        /// Time that it does not grow beyond; ten times `baseInterval` when unset.
        /// Envoy: `RetryPolicy.retry_back_off.max_interval`.
        max_interval: Duration,
    }
    /// Time limits.
    Timeout {
        /// Of connections.
        tcp: TcpTimeout,
        /// Of HTTP.
        http: HttpTimeout,
    }
    /// Time limits of connections.
    TcpTimeout {
        /// Time to connect, TLS included; `10s` by default.
        /// Envoy: `Cluster.connect_timeout`.
        connect_timeout: Duration,
    }
    /// Time limits of HTTP.
    HttpTimeout {
        /// Time without requests after which a connection is closed; `1h` by default.
        /// Envoy: `HttpProtocolOptions.common_http_protocol_options.idle_timeout`.
        connection_idle_timeout: Duration,
        /// Time after which a connection is closed; none by default.
        /// Envoy: `HttpProtocolOptions.common_http_protocol_options.max_connection_duration`.
        max_connection_duration: Duration,
        /// Time until the whole answer is there.
        /// Envoy: `RouteAction.timeout`.
        request_timeout: Duration,
        /// Time after which a stream is reset; `0s` for none.
        /// Envoy: `RouteAction.max_stream_duration`.
        max_stream_duration: Duration,
        /// Time without traffic after which a stream is reset; the listener's when unset.
        /// Envoy: `RouteAction.idle_timeout`.
        stream_idle_timeout: Duration,
    }
    /// Buffers, and connections made ahead of need.
    BackendConnection {
        /// Bytes that are buffered for a connection before it is read no further; 32768 by default.
        /// Envoy: `Cluster.per_connection_buffer_limit_bytes`.
        buffer_limit: Quantity,
        /// Bytes that the kernel buffers for a connection. It has no effect.
        socket_buffer_limit: Quantity,
        /// Connections made ahead of need; none when unset.
        preconnect: PreconnectPolicy,
    }
    /// Connections made ahead of need.
    PreconnectPolicy {
        /// Connections to each endpoint, in percent of those that its streams need: 100 to 300.
        /// Envoy: `Cluster.preconnect_policy.per_upstream_preconnect_ratio`, a hundredth of it.
        #[schemars(range(min = 100, max = 300))]
        per_endpoint_percent: u32,
        /// Connections to all endpoints together, in percent of those that streams need, at the endpoint that the
        /// balancer will choose next: at least 100.
        /// Envoy: `Cluster.preconnect_policy.predictive_preconnect_ratio`, a hundredth of it.
        #[schemars(range(min = 100))]
        predictive_percent: u32,
    }
    /// How host names are resolved.
    Dns {
        /// Time after which a name is resolved again; `30s` by default.
        /// Envoy: `DnsCluster.dns_refresh_rate`.
        dns_refresh_rate: Duration,
        /// Whether the answer's time to live goes before `dnsRefreshRate`; true by default.
        /// Envoy: `DnsCluster.respect_dns_ttl`.
        respect_dns_ttl: bool,
        /// Addresses of which family are asked for.
        /// Envoy: `DnsCluster.dns_lookup_family`.
        lookup_family: DnsLookupFamily,
    }
    /// HTTP/2, of a listener or towards backends.
    Http2Settings {
        /// Bytes that a stream may have in flight; `64Ki` by default.
        /// Envoy: `Http2ProtocolOptions.initial_stream_window_size`.
        initial_stream_window_size: Quantity,
        /// Bytes that a connection may have in flight; `1Mi` by default.
        /// Envoy: `Http2ProtocolOptions.initial_connection_window_size`.
        initial_connection_window_size: Quantity,
        /// Streams that a connection may have at once; 100 by default on listeners.
        /// Envoy: `Http2ProtocolOptions.max_concurrent_streams`.
        #[schemars(range(min = 1, max = 2_147_483_647))]
        max_concurrent_streams: u32,
        /// What ends when a message breaks the rules of HTTP; the connection by default.
        /// Envoy: `Http2ProtocolOptions.override_stream_error_on_invalid_http_message`.
        on_invalid_message: InvalidMessageAction,
        /// Pings that keep a connection alive; none when unset.
        /// Envoy: `Http2ProtocolOptions.connection_keepalive`.
        connection_keepalive: Http2KeepaliveSettings,
    }
    /// Pings of HTTP/2 connections.
    #[x_kube(validation = (
        "!has(self.timeout) || !has(self.interval) || duration(self.timeout) < duration(self.interval)",
        "timeout must be shorter than interval"
    ))]
    Http2KeepaliveSettings {
        /// Time between pings.
        /// Envoy: `KeepaliveSettings.interval`.
        interval: Duration,
        /// Time without an answer after which the connection is dead.
        /// Envoy: `KeepaliveSettings.timeout`.
        timeout: Duration,
        /// Part of the interval, in percent, that is added at random; 15 by default.
        /// Envoy: `KeepaliveSettings.interval_jitter`.
        #[schemars(range(min = 0, max = 100))]
        interval_jitter: u32,
        /// Idle time after which a new stream is preceded by a ping.
        /// Envoy: `KeepaliveSettings.connection_idle_interval`.
        idle_interval: Duration,
    }
}

choices! {
    /// What ends when a message breaks the rules of HTTP.
    InvalidMessageAction {
        /// The connection.
        TerminateConnection,
        /// The stream alone.
        TerminateStream,
    }
    /// Versions of the PROXY protocol.
    ProxyProtocolVersion {
        /// The first, which is text.
        V1,
        /// The second, which is binary.
        V2,
    }
    /// Addresses of which family a name is resolved to.
    DnsLookupFamily {
        /// IPv4 alone.
        IPv4,
        /// IPv6 alone.
        IPv6,
        /// IPv6 where there is no IPv4.
        IPv4Preferred,
        /// IPv4 where there is no IPv6.
        IPv6Preferred,
        /// Both, of which the faster one is used.
        IPv4AndIPv6,
    }
}

/// A status code of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct HttpStatus(#[schemars(range(min = 100, max = 599))] pub u16);

/// When and how requests are tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Attempts after the first.
    /// Envoy: `RetryPolicy.num_retries`.
    #[serde(default = "two")]
    #[schemars(range(min = 0))]
    pub num_retries: i32,
    /// Attempts at endpoints of one priority before those of the next are tried; without limit when unset or 0.
    /// Envoy: `RetryPolicy.retry_priority` (`envoy.retry_priorities.previous_priorities`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_attempts_per_priority: Option<i32>,
    /// What requests are tried again for; failures to connect, refused streams, gRPC's `unavailable` and `cancelled`,
    /// and status 503 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_on: Option<RetryOn>,
    /// Each further attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_retry: Option<PerRetryPolicy>,
}

fn two() -> i32 {
    2
}

/// An event that requests are tried again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TriggerEnum {
    /// A status of 500 or above, or no answer at all.
    #[serde(rename = "5xx")]
    Error5xx,
    /// Status 502, 503 or 504.
    GatewayError,
    /// No answer: the connection breaks or the time runs out.
    Reset,
    /// As `reset`, as long as the request has not been sent.
    ResetBeforeRequest,
    /// The connection cannot be made.
    ConnectFailure,
    /// A status between 400 and 499 that may pass: 409.
    #[serde(rename = "retriable-4xx")]
    Retriable4xx,
    /// The backend refuses the stream.
    RefusedStream,
    /// A status of `httpStatusCodes`.
    RetriableStatusCodes,
    /// gRPC status `cancelled` in the headers of the answer.
    Cancelled,
    /// gRPC status `deadline-exceeded` in the headers of the answer.
    DeadlineExceeded,
    /// gRPC status `internal` in the headers of the answer.
    Internal,
    /// gRPC status `resource-exhausted` in the headers of the answer.
    ResourceExhausted,
    /// gRPC status `unavailable` in the headers of the answer.
    Unavailable,
}

/// The PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyProtocol {
    /// Its version.
    /// Envoy: `ProxyProtocolUpstreamTransport.config.version`.
    pub version: ProxyProtocolVersion,
}

/// Limits beyond which requests fail at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Connections to the backend.
    /// Envoy: `CircuitBreakers.thresholds.max_connections`.
    #[serde(default = "many")]
    #[schemars(range(min = 0, max = 4_294_967_295_u32))]
    pub max_connections: u32,
    /// Requests that wait for a connection.
    /// Envoy: `CircuitBreakers.thresholds.max_pending_requests`.
    #[serde(default = "many")]
    #[schemars(range(min = 0, max = 4_294_967_295_u32))]
    pub max_pending_requests: u32,
    /// Requests at once.
    /// Envoy: `CircuitBreakers.thresholds.max_requests`.
    #[serde(default = "many")]
    #[schemars(range(min = 0, max = 4_294_967_295_u32))]
    pub max_parallel_requests: u32,
    /// Further attempts at once.
    /// Envoy: `CircuitBreakers.thresholds.max_retries`.
    #[serde(default = "many")]
    #[schemars(range(min = 0, max = 4_294_967_295_u32))]
    pub max_parallel_retries: u32,
    /// Requests that a connection is used for; without limit when unset.
    /// Envoy: `HttpProtocolOptions.common_http_protocol_options.max_requests_per_connection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_u32))]
    pub max_requests_per_connection: Option<u32>,
    /// Limits of each endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_endpoint: Option<PerEndpointCircuitBreakers>,
    /// Further attempts at once by their share of all requests; it goes before `maxParallelRetries`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_budget: Option<RetryBudget>,
}

/// Limits of each endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PerEndpointCircuitBreakers {
    /// Connections to the endpoint.
    /// Envoy: `CircuitBreakers.per_host_thresholds.max_connections`.
    #[serde(default = "many")]
    #[schemars(range(min = 0, max = 4_294_967_295_u32))]
    pub max_connections: u32,
}

fn many() -> u32 {
    1024
}

/// Further attempts at once by their share of all requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// The share of active and waiting requests.
    /// Envoy: `CircuitBreakers.thresholds.retry_budget.budget_percent`.
    pub percent: Fraction,
    /// Further attempts at once that are always allowed; 3 by default.
    /// Envoy: `CircuitBreakers.thresholds.retry_budget.min_retry_concurrency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_retry_concurrency: Option<u32>,
}
