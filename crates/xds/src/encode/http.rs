//! The HTTP connection manager and its filters.

use std::sync::LazyLock;

use envoy_api::{
    any,
    core::{Http2ProtocolOptions, HttpProtocolOptions, http_protocol_options::HeadersWithUnderscoresAction},
    cors::Cors,
    encode,
    grpc_stats::{FilterConfig as GrpcStats, filter_config::PerMethodStatSpecifier},
    grpc_web::GrpcWeb,
    hcm::{
        HttpConnectionManager, HttpFilter, Rds,
        http_connection_manager::{PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation},
        http_filter,
    },
    http_rbac::Rbac,
    router::Router,
    stateful_session::StatefulSession,
    well_known::{Any, boolean, uint32},
};
use ir::listener::{Http, HttpFilter as Filter};

use super::{access_log, config_source, limits, misdirected, rate_limit, response, wire::Fields};

/// Filter that a route's CORS policy is for.
pub(super) const CORS_FILTER: &str = "envoy.filters.http.cors";
/// Filter that a route's session persistence is for.
pub(super) const SESSION_FILTER: &str = "envoy.filters.http.stateful_session";
/// Filter that keeps routes to a dynamic resolver from reaching the proxy itself.
pub(super) const LOOPBACK_FILTER: &str = "envoy.filters.http.rbac.dfp_loopback_deny";

/// Adds the fields of an HTTP connection manager that gets its routes by RDS.
pub(super) fn connection_manager(fields: &mut Fields, http: &Http) {
    fields.message(&HttpConnectionManager {
        stat_prefix: http.stat_prefix.to_string(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(config_source::ads_without_timeout()),
            route_config_name: http.route_configuration.to_string(),
        })),
        ..Default::default()
    });
    fields.raw(&DEFAULTS);
    if http.notes_connection {
        fields.raw(&misdirected::NOTE);
    }
    // The set is in the order in which filters act; those that compress and the router come last.
    let mut named: Option<&str> = None;
    let mut buffered = false;
    for filter in &http.filters {
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
    for compressor in limits::compressor_filters(&http.filters) {
        fields.raw(&encoded(compressor));
    }
    fields.raw(&ROUTER);
}

/// The filter that sends requests on, as the last of `http_filters`.
pub(super) fn router() -> HttpFilter {
    filter("envoy.filters.http.router", any(&Router { suppress_envoy_headers: true, ..Default::default() }))
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

static ROUTER: LazyLock<Vec<u8>> = LazyLock::new(|| encoded(router()));

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

/// What all connection managers have.
static DEFAULTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    encode(&HttpConnectionManager {
        access_log: vec![access_log::of_routes()],
        common_http_protocol_options: Some(HttpProtocolOptions {
            headers_with_underscores_action: HeadersWithUnderscoresAction::RejectRequest.into(),
            ..Default::default()
        }),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: uint32(100),
            initial_stream_window_size: uint32(64 << 10),
            initial_connection_window_size: uint32(1 << 20),
            ..Default::default()
        }),
        normalize_path: boolean(true),
        merge_slashes: true,
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::UnescapeAndRedirect.into(),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        use_remote_address: boolean(true),
        ..Default::default()
    })
});
