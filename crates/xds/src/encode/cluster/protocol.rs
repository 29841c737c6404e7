//! What a cluster speaks to its endpoints.

use envoy_api::{
    admission_control::{
        AdmissionControl, admission_control,
        admission_control::{
            SuccessCriteria,
            success_criteria::{GrpcCriteria, HttpCriteria},
        },
    },
    any,
    core::{
        Http1ProtocolOptions, HttpProtocolOptions as CommonOptions, RuntimeDouble, RuntimeFeatureFlag,
        RuntimePercent, RuntimeUInt32, UpstreamHttpProtocolOptions,
    },
    duration,
    hcm::HttpFilter,
    http_protocol_options::{
        HttpProtocolOptions,
        http_protocol_options::{
            AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
            explicit_http_config::ProtocolConfig,
        },
    },
    types::{Int32Range, Percent},
    upstream_codec::UpstreamCodec,
    well_known::{boolean, uint32},
};
use ir::{
    cluster::Protocol,
    downstream::Http1,
    traffic::{AdmissionControl as Admission, ClusterTraffic},
};

use crate::encode::{downstream, hash, http::filter};

/// What the way to the endpoints has to do with the protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    /// Requests name the endpoints, too: a dynamic forward proxy.
    pub dynamic: bool,
    /// All endpoints are reached over TLS, so the HTTP version is agreed with them (ALPN).
    pub tls: bool,
    /// The name of each request's host is asked for.
    pub by_request: bool,
}

impl Way {
    /// A dynamic forward proxy with options has to take SNI and the name to verify from the request; Envoy refuses it
    /// otherwise.
    fn of_request(self) -> Option<UpstreamHttpProtocolOptions> {
        (self.dynamic || self.by_request).then(|| UpstreamHttpProtocolOptions {
            auto_sni: true,
            auto_san_validation: self.dynamic,
            ..Default::default()
        })
    }
}

/// The options of a cluster; `None` where Envoy's own hold.
pub(super) fn options(protocol: Protocol, traffic: &ClusterTraffic, way: Way) -> Option<HttpProtocolOptions> {
    let per_connection = traffic.circuit_breaker.as_ref().and_then(|breaker| breaker.per_connection);
    let common = CommonOptions {
        idle_timeout: traffic.idle_timeout.map(duration),
        max_connection_duration: traffic.max_connection_duration.map(duration),
        max_stream_duration: traffic.max_stream_duration.map(duration),
        max_requests_per_connection: per_connection.and_then(uint32),
        ..Default::default()
    };
    let common = (common != CommonOptions::default()).then_some(common);
    let of_clients = traffic.http1.as_deref().and_then(http1_of_clients);
    let needed = protocol != Protocol::Http1
        || traffic.client_protocol
        || traffic.admission.is_some()
        || traffic.hash.is_some()
        || of_clients.is_some();
    if !needed && !way.tls && common.is_none() {
        return None;
    }
    let http1 = || of_clients.clone().unwrap_or_default();
    let http2 = || downstream::http2(traffic.http2.as_ref());
    let explicit = |config| {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) })
    };
    Some(HttpProtocolOptions {
        common_http_protocol_options: common,
        upstream_http_protocol_options: way.of_request(),
        upstream_protocol_options: Some(match protocol {
            _ if traffic.client_protocol => {
                UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                    http_protocol_options: Some(http1()),
                    http2_protocol_options: Some(http2()),
                    ..Default::default()
                })
            }
            Protocol::Http1 if way.tls => UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
                http_protocol_options: Some(http1()),
                http2_protocol_options: Some(http2()),
                ..Default::default()
            }),
            Protocol::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(http2())),
            Protocol::Http1 | Protocol::Http1Only => explicit(ProtocolConfig::HttpProtocolOptions(http1())),
        }),
        hash_policy: traffic.hash.as_ref().map(hash::policies).unwrap_or_default(),
        http_filters: traffic.admission.as_ref().map(filters).unwrap_or_default(),
        ..Default::default()
    })
}

/// HTTP/1 as clients speak it, but for what only they send.
fn http1_of_clients(http1: &Http1) -> Option<Http1ProtocolOptions> {
    downstream::http1(&Http1 { ignored_upgrades: [].into(), ..http1.clone() })
}

/// Filters of requests on their way to endpoints; the codec comes last.
fn filters(admission: &Admission) -> Vec<HttpFilter> {
    let percent = |share: u32| RuntimePercent {
        default_value: Some(Percent { value: f64::from(share) }),
        ..Default::default()
    };
    let http = admission.http_success.as_deref().filter(|codes| !codes.is_empty());
    let grpc = admission.grpc_success.as_deref().filter(|codes| !codes.is_empty());
    let criteria = SuccessCriteria {
        http_criteria: http.map(|codes| HttpCriteria {
            http_success_status: (codes.iter())
                .map(|code| Int32Range { start: i32::from(*code), end: i32::from(*code) + 1 })
                .collect(),
        }),
        grpc_criteria: grpc.map(|codes| GrpcCriteria { grpc_success_status: codes.to_vec() }),
    };
    let config = AdmissionControl {
        enabled: Some(RuntimeFeatureFlag { default_value: boolean(true), ..Default::default() }),
        sampling_window: admission.window.map(duration),
        aggression: admission
            .aggression
            .map(|aggression| RuntimeDouble { default_value: f64::from(aggression), ..Default::default() }),
        sr_threshold: admission.min_success.map(percent),
        rps_threshold: admission
            .min_rate
            .map(|rate| RuntimeUInt32 { default_value: rate, ..Default::default() }),
        max_rejection_probability: admission.max_rejection.map(percent),
        evaluation_criteria: Some(admission_control::EvaluationCriteria::SuccessCriteria(criteria)),
    };
    let codec = any(&UpstreamCodec {});
    vec![
        filter("envoy.filters.http.admission_control", any(&config)),
        filter("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec", codec),
    ]
}
