//! The HTTP connection manager and its filters.

use std::sync::LazyLock;

use envoy_api::{
    access_log::AccessLog,
    any,
    core::Http3ProtocolOptions,
    cors::Cors,
    encode,
    grpc_stats::{FilterConfig as GrpcStats, filter_config::PerMethodStatSpecifier},
    grpc_web::GrpcWeb,
    hcm::{
        HttpConnectionManager, HttpFilter, Rds,
        http_connection_manager::{CodecType, RouteSpecifier},
        http_filter,
    },
    http_rbac::Rbac,
    router::{Router, router::UpstreamAccessLogOptions},
    stateful_session::StatefulSession,
    well_known::{Any, boolean},
};
use ir::{
    downstream::HttpSettings,
    listener::{Http, HttpFilter as Filter},
};

use super::{
    config_source, downstream, limits, misdirected, rate_limit, response, telemetry::Encoded, wire::Fields,
};

/// Filter that a route's CORS policy is for.
pub(super) const CORS_FILTER: &str = "envoy.filters.http.cors";
/// Filter that a route's session persistence is for.
pub(super) const SESSION_FILTER: &str = "envoy.filters.http.stateful_session";
/// Filter that keeps routes to a dynamic resolver from reaching the proxy itself.
pub(super) const LOOPBACK_FILTER: &str = "envoy.filters.http.rbac.dfp_loopback_deny";

/// Adds the fields of an HTTP connection manager that gets its routes by RDS.
pub(super) fn connection_manager(fields: &mut Fields, http: &Http, telemetry: &Encoded) {
    fields.message(&HttpConnectionManager {
        stat_prefix: http.stat_prefix.to_string(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(config_source::ads_without_timeout()),
            route_config_name: http.route_configuration.to_string(),
        })),
        ..Default::default()
    });
    let settings = &*http.settings;
    if *settings == HttpSettings::default() {
        fields.raw(&DEFAULTS);
    } else {
        fields.message(&downstream::manager(settings));
    }
    fields.raw(&telemetry.manager);
    if http.by_quic {
        fields.raw(&BY_QUIC);
    }
    if http.notes_connection {
        fields.raw(&misdirected::NOTE);
    }
    // The set is in the order in which filters act. What is the listener's own stands in between; filters that compress and
    // the router come last.
    let (overrides, others): (Vec<&Filter>, Vec<&Filter>) =
        http.filters.iter().partition(|f| matches!(f, Filter::CustomResponse(_)));
    let (early, others): (Vec<&Filter>, Vec<&Filter>) =
        others.into_iter().partition(|f| matches!(f, Filter::Fault | Filter::Cors));
    filters(fields, &overrides);
    if let Some(path) = &settings.health_check {
        fields.raw(&encoded(downstream::health_check(path)));
    }
    filters(fields, &early);
    if !settings.late.is_empty() {
        fields.raw(&encoded(downstream::late(&settings.late)));
    }
    filters(fields, &others);
    for compressor in limits::compressor_filters(&http.filters) {
        fields.raw(&encoded(compressor));
    }
    if settings.envoy_headers || !telemetry.upstream.is_empty() {
        fields.raw(&encoded(router(settings.envoy_headers, telemetry.upstream.clone())));
    } else {
        fields.raw(&ROUTER);
    }
}

fn filters(fields: &mut Fields, filters: &[&Filter]) {
    let mut named: Option<&str> = None;
    let mut buffered = false;
    for filter in filters {
        match filter {
            // A policy that is merged over several others may have several forms; Envoy knows filters by name.
            Filter::CustomResponse(overrides) if named == Some(&*overrides.policy) => {}
            Filter::CustomResponse(overrides) => {
                named = Some(&*overrides.policy);
                fields.raw(&encoded(response::response_filter(overrides)));
            }
            Filter::Fault => fields.raw(&FAULT),
            Filter::Cors => fields.raw(&CORS),
            Filter::SessionPersistence => fields.raw(&SESSION),
            Filter::Buffer(_) if buffered => {}
            Filter::Buffer(limit) => {
                buffered = true;
                fields.raw(&encoded(limits::buffer_filter(*limit)));
            }
            Filter::LoopbackGuard => fields.raw(&LOOPBACK),
            Filter::LocalRateLimit => fields.raw(&LOCAL_LIMIT),
            Filter::RequestBandwidth => fields.raw(&REQUEST_BANDWIDTH),
            Filter::ResponseBandwidth => fields.raw(&RESPONSE_BANDWIDTH),
            Filter::GrpcWeb => fields.raw(&GRPC_WEB),
            Filter::GrpcStatistics => fields.raw(&GRPC_STATISTICS),
            Filter::Compressor(_) => {}
        }
    }
}

/// The filter that sends requests on, as the last of `http_filters`; with headers that begin with `X-Envoy-`, or without.
/// `logs` are of each attempt.
pub(super) fn router(envoy_headers: bool, logs: Vec<AccessLog>) -> HttpFilter {
    let config = Router {
        suppress_envoy_headers: !envoy_headers,
        // Each attempt has a line of its own, with its own outcome.
        upstream_log_options: (!logs.is_empty()).then(|| UpstreamAccessLogOptions {
            flush_upstream_log_on_upstream_stream: true,
            ..Default::default()
        }),
        upstream_log: logs,
        ..Default::default()
    };
    filter("envoy.filters.http.router", any(&config))
}

pub(super) fn filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn encoded(filter: HttpFilter) -> Vec<u8> {
    encode(&HttpConnectionManager { http_filters: vec![filter], ..Default::default() })
}

static ROUTER: LazyLock<Vec<u8>> = LazyLock::new(|| encoded(router(false, Vec::new())));

/// HTTP/3.
static BY_QUIC: LazyLock<Vec<u8>> = LazyLock::new(|| {
    encode(&HttpConnectionManager {
        codec_type: CodecType::Http3.into(),
        http3_protocol_options: Some(Http3ProtocolOptions::default()),
        ..Default::default()
    })
});

static FAULT: LazyLock<Vec<u8>> = LazyLock::new(|| encoded(limits::fault_filter()));

static LOCAL_LIMIT: LazyLock<Vec<u8>> = LazyLock::new(|| encoded(rate_limit::local_filter()));

static REQUEST_BANDWIDTH: LazyLock<Vec<u8>> =
    LazyLock::new(|| encoded(limits::bandwidth_filter(limits::REQUEST_BANDWIDTH_FILTER)));

static RESPONSE_BANDWIDTH: LazyLock<Vec<u8>> =
    LazyLock::new(|| encoded(limits::bandwidth_filter(limits::RESPONSE_BANDWIDTH_FILTER)));

static CORS: LazyLock<Vec<u8>> = LazyLock::new(|| encoded(filter(CORS_FILTER, any(&Cors {}))));

/// Off unless a route says how. It names no session here: a copy of the first route's (as Envoy Gateway has it) would
/// drain the listener whenever that route changes.
static SESSION: LazyLock<Vec<u8>> = LazyLock::new(|| {
    encoded(HttpFilter { disabled: true, ..filter(SESSION_FILTER, any(&StatefulSession::default())) })
});

/// Allows everything unless a route says otherwise.
static LOOPBACK: LazyLock<Vec<u8>> =
    LazyLock::new(|| encoded(filter(LOOPBACK_FILTER, any(&Rbac::default()))));

static GRPC_WEB: LazyLock<Vec<u8>> =
    LazyLock::new(|| encoded(filter("envoy.filters.http.grpc_web", any(&GrpcWeb {}))));

static GRPC_STATISTICS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let statistics = GrpcStats {
        emit_filter_state: true,
        per_method_stat_specifier: boolean(true).map(PerMethodStatSpecifier::StatsForAllMethods),
        ..Default::default()
    };
    encoded(filter("envoy.filters.http.grpc_stats", any(&statistics)))
});

/// What connection managers have of which nothing else is said.
static DEFAULTS: LazyLock<Vec<u8>> = LazyLock::new(|| encode(&downstream::manager(&HttpSettings::default())));
