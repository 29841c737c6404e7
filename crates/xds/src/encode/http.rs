//! The HTTP connection manager and its filters.

use std::{borrow::Cow, sync::LazyLock};

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
    config_source, downstream, filter_order, limits, misdirected, rate_limit, response, telemetry::Encoded,
    wire::Fields,
};

/// Filter that a route's CORS policy is for.
pub(super) const CORS_FILTER: &str = "envoy.filters.http.cors";
/// Filter that a route's session persistence is for.
pub(super) const SESSION_FILTER: &str = "envoy.filters.http.stateful_session";
/// Filter that keeps routes to a dynamic resolver from reaching the proxy itself.
pub(super) const LOOPBACK_FILTER: &str = "envoy.filters.http.rbac.dfp_loopback_deny";

const GRPC_WEB_FILTER: &str = "envoy.filters.http.grpc_web";
const GRPC_STATISTICS_FILTER: &str = "envoy.filters.http.grpc_stats";

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
    let mut all = in_order(http);
    for moved in http.order.iter() {
        filter_order::apply(moved, &mut all);
    }
    for (_, bytes) in &all {
        fields.raw(bytes);
    }
    if settings.envoy_headers || !telemetry.upstream.is_empty() {
        fields.raw(&encoded(router(settings.envoy_headers, telemetry.upstream.clone())));
    } else {
        fields.raw(&ROUTER);
    }
}

/// An encoded filter with its name.
type Named = (Cow<'static, str>, Cow<'static, [u8]>);

/// The filters of a connection manager, but for the router, which stays the last, in the order in which they act by
/// themselves. The set is in this order; what is the listener's own stands in between, and filters that compress come
/// last.
fn in_order(http: &Http) -> Vec<Named> {
    let settings = &*http.settings;
    let (overrides, others): (Vec<&Filter>, Vec<&Filter>) =
        http.filters.iter().partition(|f| matches!(f, Filter::CustomResponse(_)));
    let (early, others): (Vec<&Filter>, Vec<&Filter>) =
        others.into_iter().partition(|f| matches!(f, Filter::Fault | Filter::Cors));
    let mut all = Vec::new();
    filters(&mut all, &overrides);
    all.extend(settings.health_check.as_ref().map(|path| made(downstream::health_check(path))));
    filters(&mut all, &early);
    if !settings.late.is_empty() {
        all.push(made(downstream::late(&settings.late)));
    }
    filters(&mut all, &others);
    all.extend(limits::compressor_filters(&http.filters).into_iter().map(made));
    all
}

fn made(filter: HttpFilter) -> Named {
    (filter.name.clone().into(), encoded(filter).into())
}

fn filters(all: &mut Vec<Named>, filters: &[&Filter]) {
    let mut buffered = false;
    for filter in filters {
        let (name, bytes): (&'static str, &'static [u8]) = match filter {
            Filter::CustomResponse(overrides) => {
                all.push(made(response::response_filter(overrides)));
                continue;
            }
            Filter::Fault => (limits::FAULT_FILTER, &FAULT),
            Filter::Cors => (CORS_FILTER, &CORS),
            Filter::SessionPersistence => (SESSION_FILTER, &SESSION),
            Filter::Buffer(_) if buffered => continue,
            Filter::Buffer(limit) => {
                buffered = true;
                all.push(made(limits::buffer_filter(*limit)));
                continue;
            }
            Filter::LoopbackGuard => (LOOPBACK_FILTER, &LOOPBACK),
            Filter::LocalRateLimit => (rate_limit::LOCAL_LIMIT_FILTER, &LOCAL_LIMIT),
            Filter::RequestBandwidth => (limits::REQUEST_BANDWIDTH_FILTER, &REQUEST_BANDWIDTH),
            Filter::ResponseBandwidth => (limits::RESPONSE_BANDWIDTH_FILTER, &RESPONSE_BANDWIDTH),
            Filter::GrpcWeb => (GRPC_WEB_FILTER, &GRPC_WEB),
            Filter::GrpcStatistics => (GRPC_STATISTICS_FILTER, &GRPC_STATISTICS),
            Filter::Compressor(_) => continue,
        };
        all.push((name.into(), bytes.into()));
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

static GRPC_WEB: LazyLock<Vec<u8>> = LazyLock::new(|| encoded(filter(GRPC_WEB_FILTER, any(&GrpcWeb {}))));

static GRPC_STATISTICS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let statistics = GrpcStats {
        emit_filter_state: true,
        per_method_stat_specifier: boolean(true).map(PerMethodStatSpecifier::StatsForAllMethods),
        ..Default::default()
    };
    encoded(filter(GRPC_STATISTICS_FILTER, any(&statistics)))
});

/// What connection managers have of which nothing else is said.
static DEFAULTS: LazyLock<Vec<u8>> = LazyLock::new(|| encode(&downstream::manager(&HttpSettings::default())));
