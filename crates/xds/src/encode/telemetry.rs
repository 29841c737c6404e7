//! Telemetry of a listener, encoded once for all of its filter chains.

use std::sync::LazyLock;

use envoy_api::{
    access_log::AccessLog,
    any,
    core::{GrpcService, HeaderValue, TypedExtensionConfig, grpc_service},
    encode,
    hcm::{HttpConnectionManager, RequestIdExtension},
    listener::Listener,
    request_id::UuidRequestIdConfig,
    resource_detectors::StaticConfigResourceDetectorConfig,
    tcp_proxy::TcpProxy,
    well_known::boolean,
};
use ir::telemetry::{Collector, Fields, LogType, RequestIdTracing, Telemetry};

use super::{access_log, tracing};

/// What listeners and their filters have of telemetry.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    /// Fields of an `envoy.config.listener.v3.Listener`.
    pub listener: Vec<u8>,
    /// Fields of a connection manager.
    pub manager: Vec<u8>,
    /// Fields of a TCP proxy.
    pub tcp_proxy: Vec<u8>,
    /// Logs of what routes take.
    pub routes: Vec<AccessLog>,
    /// Logs of attempts at backends.
    pub upstream: Vec<AccessLog>,
}

/// The parts of a listener's telemetry. That of fleets without settings is encoded once.
pub(super) fn encoded(telemetry: &Telemetry) -> std::borrow::Cow<'static, Encoded> {
    static DEFAULT: LazyLock<Encoded> = LazyLock::new(|| parts(&Telemetry::default()));
    let plain = Telemetry { grpc_statistics: telemetry.grpc_statistics, ..Telemetry::default() };
    if *telemetry == plain {
        std::borrow::Cow::Borrowed(&*DEFAULT)
    } else {
        std::borrow::Cow::Owned(parts(telemetry))
    }
}

fn parts(telemetry: &Telemetry) -> Encoded {
    let routes = access_log::of(&telemetry.logs, LogType::Route);
    let listener = access_log::of(&telemetry.logs, LogType::Listener);
    Encoded {
        listener: encode(&Listener { access_log: listener, ..Default::default() }),
        manager: encode(&HttpConnectionManager {
            access_log: routes.clone(),
            tracing: telemetry.tracing.as_ref().map(tracing::of_proxy),
            request_id_extension: telemetry.request_id.map(request_id),
            ..Default::default()
        }),
        tcp_proxy: encode(&TcpProxy { access_log: routes.clone(), ..Default::default() }),
        upstream: access_log::of(&telemetry.logs, LogType::Upstream),
        routes,
    }
}

fn request_id(of_traces: RequestIdTracing) -> RequestIdExtension {
    RequestIdExtension {
        typed_config: Some(any(&UuidRequestIdConfig {
            pack_trace_reason: boolean(of_traces.packs),
            use_request_id_for_trace_sampling: boolean(of_traces.samples),
        })),
    }
}

/// A service that Envoy calls over one of its clusters.
pub(super) fn grpc_service(cluster: &str) -> GrpcService {
    let envoy = grpc_service::EnvoyGrpc { cluster_name: cluster.to_owned(), ..Default::default() };
    GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(envoy)),
        ..Default::default()
    }
}

/// An OpenTelemetry collector as a service.
pub(super) fn collector(collector: &Collector) -> GrpcService {
    let envoy = grpc_service::EnvoyGrpc {
        cluster_name: collector.cluster.to_string(),
        authority: collector.authority.to_string(),
        ..Default::default()
    };
    let headers = collector.headers.iter();
    GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(envoy)),
        initial_metadata: headers
            .map(|(name, value)| HeaderValue {
                key: name.to_string(),
                value: value.to_string(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// Attributes of the resource that spans are of.
pub(super) fn resource(attributes: &Fields) -> Vec<TypedExtensionConfig> {
    if attributes.is_empty() {
        return Vec::new();
    }
    let config = StaticConfigResourceDetectorConfig {
        attributes: attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    };
    vec![TypedExtensionConfig {
        name: "envoy.tracers.opentelemetry.resource_detectors.static_config".to_owned(),
        typed_config: Some(any(&config)),
    }]
}
