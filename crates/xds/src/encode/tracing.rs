//! Traces of requests: of all that a listener takes, and of those that a route takes.

use envoy_api::{
    any,
    core::TypedExtensionConfig,
    hcm::http_connection_manager::Tracing as OfManager,
    route::Tracing as Message,
    samplers::{AlwaysOnSamplerConfig, ParentBasedSamplerConfig, TraceIdRatioBasedSamplerConfig},
    trace::{
        DatadogConfig, OpenTelemetryConfig, ZipkinConfig, tracing::Http, tracing::http,
        zipkin_config::CollectorEndpointVersion,
    },
    tracing::{CustomTag, custom_tag},
    types::{FractionalPercent, Percent, fractional_percent::DenominatorType},
    well_known::{Any, boolean},
};
use ir::{
    telemetry::{ProxyTracing, Sampler, TracingProvider},
    traffic::{Tag, Tracing},
};

use super::{command, telemetry};

/// What a connection manager says of traces.
pub(super) fn of_proxy(tracing: &ProxyTracing) -> OfManager {
    let settings = &tracing.settings;
    let (name, config) = provider(tracing);
    OfManager {
        // Envoy's default is all, with which clients could have any request traced.
        client_sampling: Some(percent(settings.client_sampling.unwrap_or((0, 100)))),
        random_sampling: Some(percent(settings.sampling.unwrap_or((100, 100)))),
        overall_sampling: Some(percent(settings.overall_sampling.unwrap_or((100, 100)))),
        custom_tags: settings.tags.iter().map(|(name, tag)| custom_tag(name, tag)).collect(),
        provider: Some(Http {
            name: name.to_owned(),
            config_type: Some(http::ConfigType::TypedConfig(config)),
        }),
        spawn_upstream_span: boolean(true),
        operation: command::escape(&settings.operation).into_owned(),
        upstream_operation: command::escape(&settings.upstream_operation).into_owned(),
        ..Default::default()
    }
}

fn percent((part, whole): (u32, u32)) -> Percent {
    Percent { value: (f64::from(part) / f64::from(whole.max(1)) * 100.0).min(100.0) }
}

/// The name of a provider, which for Zipkin is Envoy Gateway's own, and its configuration.
fn provider(tracing: &ProxyTracing) -> (&'static str, Any) {
    match &tracing.provider {
        TracingProvider::OpenTelemetry { collector, resource, sampler } => {
            let config = OpenTelemetryConfig {
                grpc_service: Some(telemetry::collector(collector)),
                service_name: tracing.service.to_string(),
                resource_detectors: telemetry::resource(resource),
                sampler: sampler.map(self::sampler),
                ..Default::default()
            };
            ("envoy.tracers.opentelemetry", any(&config))
        }
        TracingProvider::Zipkin { long_ids, shared_context } => {
            let config = ZipkinConfig {
                collector_cluster: tracing.cluster.to_string(),
                collector_endpoint: "/api/v2/spans".to_owned(),
                trace_id_128bit: *long_ids,
                shared_span_context: boolean(*shared_context),
                collector_endpoint_version: CollectorEndpointVersion::HttpJson.into(),
                ..Default::default()
            };
            ("envoy.traces.zipkin", any(&config))
        }
        TracingProvider::Datadog => {
            let config = DatadogConfig {
                collector_cluster: tracing.cluster.to_string(),
                service_name: tracing.service.to_string(),
                ..Default::default()
            };
            ("envoy.tracers.datadog", any(&config))
        }
    }
}

fn sampler(sampler: Sampler) -> TypedExtensionConfig {
    let named = |name: &str, config| TypedExtensionConfig {
        name: format!("envoy.tracers.opentelemetry.samplers.{name}"),
        typed_config: Some(config),
    };
    let own = match sampler.ratio {
        None => named("always_on", any(&AlwaysOnSamplerConfig {})),
        Some(ratio) => {
            let config = TraceIdRatioBasedSamplerConfig { sampling_percentage: Some(share(ratio)) };
            named("trace_id_ratio_based", any(&config))
        }
    };
    if sampler.parent_based {
        named("parent_based", any(&ParentBasedSamplerConfig { wrapped_sampler: Some(own) }))
    } else {
        own
    }
}

/// What a route says of traces.
pub(super) fn of_route(tracing: &Tracing) -> Message {
    let none = FractionalPercent { numerator: 0, denominator: DenominatorType::Hundred.into() };
    Message {
        // Envoy's default is all, with which clients could have any request traced.
        client_sampling: Some(tracing.client_sampling.map_or(none, share)),
        random_sampling: tracing.sampling.map(share),
        overall_sampling: tracing.overall_sampling.map(share),
        custom_tags: tracing.tags.iter().map(|(name, tag)| custom_tag(name, tag)).collect(),
        operation: command::escape(&tracing.operation).into_owned(),
        upstream_operation: command::escape(&tracing.upstream_operation).into_owned(),
    }
}

/// A share in Envoy's terms, which has three denominators.
fn share((part, whole): (u32, u32)) -> FractionalPercent {
    let (numerator, denominator) = match whole {
        100 => (u64::from(part), DenominatorType::Hundred),
        1_000 | 10_000 => (u64::from(part) * u64::from(10_000 / whole), DenominatorType::TenThousand),
        // The product of a 32-bit number and a million fits.
        _ => (u64::from(part) * 1_000_000 / u64::from(whole.max(1)), DenominatorType::Million),
    };
    FractionalPercent {
        numerator: u32::try_from(numerator).unwrap_or(u32::MAX),
        denominator: denominator.into(),
    }
}

fn custom_tag(name: &str, tag: &Tag) -> CustomTag {
    CustomTag {
        tag: name.to_owned(),
        r#type: Some(match tag {
            Tag::Literal(value) => {
                custom_tag::Type::Literal(custom_tag::Literal { value: value.to_string() })
            }
            Tag::Environment { name, default } => {
                let (name, default_value) = (name.to_string(), default.to_string());
                custom_tag::Type::Environment(custom_tag::Environment { name, default_value })
            }
            Tag::Header { name, default } => {
                let (name, default_value) = (name.to_string(), default.to_string());
                custom_tag::Type::RequestHeader(custom_tag::Header { name, default_value })
            }
            Tag::Format(value) => custom_tag::Type::Value(command::escape(value).into_owned()),
        }),
    }
}
