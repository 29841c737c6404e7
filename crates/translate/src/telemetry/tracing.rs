//! Traces of requests.

use std::sync::Arc;

use api::envoyproxy::{self as spec, ProxyTracing as Spec, RequestIdTracing as Choice, SamplerType};
use ir::{
    cluster::Protocol,
    telemetry::{Collector, ProxyTracing, RequestIdTracing, Sampler, TracingProvider},
    traffic::Tracing,
};

use super::{
    Lookup, OwnCluster, Source, access_log,
    backends::{self, Wanted},
};
use crate::policy::backend_traffic::{fraction, telemetry::tags};

/// Name of the cluster that traces go to.
const CLUSTER: &str = "tracing";

/// Traces of a fleet with the cluster that they go to.
///
/// # Errors
/// A sentence that names the field that cannot be used.
pub(super) fn read(
    spec: &Spec,
    service: impl FnOnce() -> Arc<str>,
    source: &Source<'_>,
    lookup: &mut Lookup<'_, '_>,
) -> Result<(ProxyTracing, OwnCluster), String> {
    let provider = &spec.provider;
    let (cluster, authority) = backends::cluster(
        &Wanted {
            name: CLUSTER.into(),
            field: "spec.telemetry.tracing.provider".to_owned(),
            backends: source.backends.map(|backends| &*backends.traces),
            by_reference: !provider.backend_refs.is_empty(),
            host: provider.host.as_deref().map(|host| (host, provider.port)),
            settings: provider.backend_settings.as_ref(),
            protocol: match provider.type_ {
                spec::TracingProviderType::OpenTelemetry => Protocol::Http2,
                spec::TracingProviderType::Zipkin | spec::TracingProviderType::Datadog => Protocol::Http1,
            },
            counted: true,
        },
        source,
        lookup,
    )?;
    let sampler = provider.open_telemetry.as_ref().and_then(|settings| settings.sampler.as_ref());
    let names = spec.span_name.as_ref();
    let name = |name: Option<&String>| name.map_or_else(|| "".into(), |name| name.as_str().into());
    let tracing = ProxyTracing {
        cluster: cluster.name.clone(),
        service: provider.service_name.as_deref().map_or_else(service, Arc::from),
        settings: Tracing {
            // A sampler sees only what Envoy has chosen before.
            sampling: (spec.sampling_rate.map(|percent| (percent, 100)))
                .or_else(|| spec.sampling_fraction.as_ref().map(fraction))
                .filter(|_| sampler.is_none()),
            client_sampling: spec.client_sampling_fraction.as_ref().map(fraction),
            overall_sampling: spec.overall_sampling_fraction.as_ref().map(fraction),
            tags: tags(&spec.custom_tags, &spec.tags),
            operation: name(names.and_then(|names| names.client.as_ref())),
            upstream_operation: name(names.and_then(|names| names.server.as_ref())),
        },
        provider: match provider.type_ {
            spec::TracingProviderType::OpenTelemetry => {
                open_telemetry(provider.open_telemetry.as_ref(), cluster.name.clone(), authority)
            }
            spec::TracingProviderType::Zipkin => {
                let settings = provider.zipkin.as_ref();
                TracingProvider::Zipkin {
                    long_ids: settings.and_then(|zipkin| zipkin.enable_128_bit_trace_id).unwrap_or(false),
                    shared_context: !settings
                        .and_then(|zipkin| zipkin.disable_shared_span_context)
                        .unwrap_or(false),
                }
            }
            spec::TracingProviderType::Datadog => TracingProvider::Datadog,
        },
    };
    Ok((tracing, cluster))
}

fn open_telemetry(
    settings: Option<&spec::OpenTelemetryTracing>,
    cluster: Arc<str>,
    authority: Arc<str>,
) -> TracingProvider {
    let headers = settings.map(|settings| headers(&settings.headers)).unwrap_or_default();
    TracingProvider::OpenTelemetry {
        collector: Collector { cluster, authority, headers },
        resource: (settings.map(|settings| access_log::fields(&settings.resource_attributes)))
            .unwrap_or_default(),
        sampler: settings.and_then(|settings| settings.sampler.as_ref()).map(self::sampler),
    }
}

fn sampler(spec: &spec::OpenTelemetrySampler) -> Sampler {
    let parent_based = matches!(
        spec.type_,
        SamplerType::ParentBasedAlwaysOn
            | SamplerType::ParentBasedAlwaysOff
            | SamplerType::ParentBasedTraceIdRatio
    );
    let ratio = match spec.type_ {
        SamplerType::AlwaysOn | SamplerType::ParentBasedAlwaysOn => None,
        SamplerType::AlwaysOff | SamplerType::ParentBasedAlwaysOff => Some((0, 100)),
        SamplerType::TraceIdRatio | SamplerType::ParentBasedTraceIdRatio => {
            Some(spec.sampling_percentage.as_ref().map_or((100, 100), fraction))
        }
    };
    Sampler { ratio, parent_based }
}

/// What ids of requests have to do with traces; `None` for Envoy's own way.
pub(super) fn request_id(choice: Choice) -> Option<RequestIdTracing> {
    match choice {
        Choice::PackAndSample => None,
        Choice::Sample => Some(RequestIdTracing { packs: false, samples: true }),
        Choice::Pack => Some(RequestIdTracing { packs: true, samples: false }),
        Choice::Disable => Some(RequestIdTracing { packs: false, samples: false }),
    }
}

/// Headers of requests to a collector, in order.
pub(super) fn headers(list: &[api::HttpHeader]) -> Box<[(Arc<str>, Arc<str>)]> {
    list.iter().map(|header| (Arc::from(&*header.name), Arc::from(&*header.value))).collect()
}
