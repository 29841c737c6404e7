//! What a policy says of clusters.

use std::sync::Arc;

use api::{
    backendtrafficpolicy::{AdmissionControl as AdmissionSpec, BackendTrafficPolicySpec, GrpcSuccessCode},
    clustersettings::{
        self, BackendConnection, CircuitBreaker as BreakerSpec, ClusterSettings, DnsLookupFamily,
        Http2Settings, InvalidMessageAction, ProxyProtocolVersion, TcpKeepalive as KeepaliveSpec,
    },
    envoyproxy::RoutingType,
};
use ir::traffic::{
    AdmissionControl, CircuitBreaker, ClusterTraffic, Dns, DnsFamily, Http2, Http2Keepalive, ProxyProtocol,
    RetryBudget, Routing, TcpKeepalive,
};
use store::facts::Policy;

use super::{Findings, balancing, health, span};
use crate::Reader;

/// Windows of HTTP/2 flow control (RFC 9113 §6.9): at least the initial one, less than 2³¹.
const WINDOW: std::ops::RangeInclusive<u64> = 65_535..=2_147_483_647;
/// Further attempts that a retry budget always allows, unless it says otherwise.
const MIN_RETRY_CONCURRENCY: u32 = 3;

/// Reads the parts of a policy that clusters have.
pub(super) fn read(
    spec: &BackendTrafficPolicySpec,
    policy: &Policy,
    reader: &Reader<'_>,
    findings: &mut Findings,
) -> ClusterTraffic {
    let object = reader.object(policy.meta.id);
    let source = Arc::from(format!("{}/{}", object.namespace, object.name));
    ClusterTraffic {
        client_protocol: spec.use_client_protocol.unwrap_or(false),
        admission: spec.admission_control.as_ref().map(admission),
        routing: spec.routing_type.map(|routing| match routing {
            RoutingType::Endpoint => Routing::Endpoint,
            RoutingType::Service => Routing::Service,
        }),
        ..of_settings(&spec.cluster, source, findings)
    }
}

/// Reads what is said of a cluster that proxies use for requests of their own: no route says the rest of it.
pub(super) fn of_own(settings: &ClusterSettings, findings: &mut Findings) -> ClusterTraffic {
    let http = settings.timeout.as_ref().and_then(|timeout| timeout.http.as_ref());
    ClusterTraffic {
        max_stream_duration: span(http.and_then(|http| http.max_stream_duration.as_ref())),
        hash: settings.load_balancer.as_ref().and_then(balancing::hash),
        ..of_settings(settings, "".into(), findings)
    }
}

/// `source` is the name of the policy that says it.
fn of_settings(settings: &ClusterSettings, source: Arc<str>, findings: &mut Findings) -> ClusterTraffic {
    let tcp = settings.timeout.as_ref().and_then(|timeout| timeout.tcp.as_ref());
    let http = settings.timeout.as_ref().and_then(|timeout| timeout.http.as_ref());
    let connection = settings.connection.as_ref();
    let preconnect = connection.and_then(|connection| connection.preconnect.as_ref());
    let health = settings.health_check.as_ref();
    ClusterTraffic {
        load_balancer: settings.load_balancer.as_ref().and_then(|lb| balancing::read(lb, findings)),
        proxy_protocol: settings.proxy_protocol.as_ref().map(|protocol| match protocol.version {
            ProxyProtocolVersion::V1 => ProxyProtocol::V1,
            ProxyProtocolVersion::V2 => ProxyProtocol::V2,
        }),
        tcp_keepalive: settings.tcp_keepalive.as_ref().map(keepalive),
        active_health: health.and_then(|health| health.active.as_ref()).and_then(health::active),
        passive_health: health.and_then(|health| health.passive.as_ref()).map(health::passive),
        panic_threshold: health.and_then(|health| health.panic_threshold),
        circuit_breaker: settings.circuit_breaker.as_ref().map(breaker),
        connect_timeout: span(tcp.and_then(|tcp| tcp.connect_timeout.as_ref())),
        idle_timeout: span(http.and_then(|http| http.connection_idle_timeout.as_ref())),
        max_connection_duration: span(http.and_then(|http| http.max_connection_duration.as_ref())),
        buffer_limit: connection.and_then(|connection| buffer_limit(connection, findings)),
        preconnect_per_endpoint: preconnect.and_then(|preconnect| preconnect.per_endpoint_percent),
        preconnect_predictive: preconnect.and_then(|preconnect| preconnect.predictive_percent),
        dns: settings.dns.as_ref().map(|dns| self::dns(dns, source)),
        http2: settings.http2.as_ref().map(|http2| self::http2(http2, findings)),
        ..ClusterTraffic::default()
    }
}

pub(in crate::policy) fn keepalive(spec: &KeepaliveSpec) -> TcpKeepalive {
    let seconds = |text| span(text).map(|span| u32::try_from(span.as_secs()).unwrap_or(u32::MAX));
    TcpKeepalive {
        probes: spec.probes,
        idle: seconds(spec.idle_time.as_ref()),
        interval: seconds(spec.interval.as_ref()),
    }
}

fn breaker(spec: &BreakerSpec) -> CircuitBreaker {
    CircuitBreaker {
        connections: spec.max_connections,
        pending: spec.max_pending_requests,
        requests: spec.max_parallel_requests,
        retries: spec.max_parallel_retries,
        per_connection: spec.max_requests_per_connection,
        connections_per_endpoint: spec.per_endpoint.as_ref().map(|endpoint| endpoint.max_connections),
        retry_budget: spec.retry_budget.as_ref().map(|budget| RetryBudget {
            share: super::fraction(&budget.percent),
            min_concurrency: budget.min_retry_concurrency.unwrap_or(MIN_RETRY_CONCURRENCY),
        }),
    }
}

fn buffer_limit(connection: &BackendConnection, findings: &mut Findings) -> Option<u32> {
    let limit = connection.buffer_limit.as_ref()?;
    let bytes = limit.bytes().and_then(|bytes| u32::try_from(bytes).ok());
    if bytes.is_none() {
        findings.add("spec.connection.bufferLimit", format!("{} must be below 4Gi", limit.0));
    }
    bytes
}

fn dns(spec: &clustersettings::Dns, policy: Arc<str>) -> Dns {
    Dns {
        refresh: span(spec.dns_refresh_rate.as_ref()),
        respects_ttl: spec.respect_dns_ttl.unwrap_or(true),
        family: spec.lookup_family.map(|family| match family {
            DnsLookupFamily::IPv4 => DnsFamily::V4Only,
            DnsLookupFamily::IPv6 => DnsFamily::V6Only,
            DnsLookupFamily::IPv4Preferred => DnsFamily::V4Preferred,
            DnsLookupFamily::IPv6Preferred => DnsFamily::V6Preferred,
            DnsLookupFamily::IPv4AndIPv6 => DnsFamily::All,
        }),
        policy,
    }
}

pub(in crate::policy) fn http2(spec: &Http2Settings, findings: &mut Findings) -> Http2 {
    let mut window = |field: &str, size: Option<&api::Quantity>| {
        let size = size?;
        let bytes = size.bytes().filter(|bytes| WINDOW.contains(bytes));
        if bytes.is_none() {
            let (least, most) = (WINDOW.start(), WINDOW.end());
            let message = format!("{} must be between {least} and {most} bytes", size.0);
            findings.add(&format!("spec.http2.{field}"), message);
        }
        bytes.and_then(|bytes| u32::try_from(bytes).ok())
    };
    Http2 {
        stream_window: window("initialStreamWindowSize", spec.initial_stream_window_size.as_ref()),
        connection_window: window(
            "initialConnectionWindowSize",
            spec.initial_connection_window_size.as_ref(),
        ),
        max_streams: spec.max_concurrent_streams,
        resets_streams: spec.on_invalid_message.map(|on| on == InvalidMessageAction::TerminateStream),
        keepalive: spec.connection_keepalive.as_ref().map(|keepalive| Http2Keepalive {
            interval: span(keepalive.interval.as_ref()),
            timeout: span(keepalive.timeout.as_ref()),
            jitter: keepalive.interval_jitter,
            idle_interval: span(keepalive.idle_interval.as_ref()),
        }),
    }
}

fn admission(spec: &AdmissionSpec) -> AdmissionControl {
    let success = spec.success_criteria.as_ref();
    AdmissionControl {
        window: span(spec.sampling_window.as_ref()),
        min_success: spec.min_success_rate,
        aggression: spec.rejection_aggression,
        min_rate: spec.min_request_rate,
        max_rejection: spec.max_rejection_percent,
        http_success: success
            .and_then(|success| success.http.as_ref())
            .map(|http| http.status_codes.iter().flatten().map(|code| code.0).collect()),
        grpc_success: success
            .and_then(|success| success.grpc.as_ref())
            .map(|grpc| grpc.status_codes.iter().flatten().map(|code| status_number(*code)).collect()),
    }
}

/// The number of a gRPC status: the registry of statuses counts from `OK`, and the type lists them in that order.
fn status_number(code: GrpcSuccessCode) -> u32 {
    code as u32
}
