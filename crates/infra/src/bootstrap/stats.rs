//! Metrics: the port for Prometheus, and collectors that they are sent to.

use api::envoyproxy::{CompressorType, IpFamily, ProxyOpenTelemetrySink, StringMatch, StringMatchType};
use bootstrap::{HTTP_OPTIONS, endpoint, socket, type_url};
use ir::{
    infra::{MetricSink, SinkTls},
    secret::AuthoritiesSource,
    tls::SubjectAltName,
};
use serde_json::{Value, json};

use crate::{metadata::Fleet, names};

/// Which statistics there are, and which parts of their names are tags.
pub(super) fn config(fleet: &Fleet<'_>) -> Value {
    let mut config = bootstrap::stats_config();
    let matches = fleet.parameters.metrics().map_or(&[][..], |metrics| &metrics.matches);
    if !matches.is_empty() {
        let patterns: Vec<Value> = matches.iter().map(string_match).collect();
        config["stats_matcher"] = json!({ "inclusion_list": { "patterns": patterns } });
    }
    config
}

fn string_match(string: &StringMatch) -> Value {
    match string.type_ {
        StringMatchType::Exact => json!({ "exact": string.value }),
        StringMatchType::Prefix => json!({ "prefix": string.value }),
        StringMatchType::Suffix => json!({ "suffix": string.value }),
        StringMatchType::RegularExpression => json!({ "safe_regex": { "regex": string.value } }),
    }
}

/// A listener that shows the metrics of the admin interface, and nothing else of it.
pub(super) fn listener(fleet: &Fleet<'_>) -> Value {
    let v6 = fleet.parameters.ip_family() != IpFamily::IPv4;
    let address = if v6 { "::" } else { "0.0.0.0" };
    let filters = compressor(fleet).into_iter().collect();
    bootstrap::stats_listener(address, names::METRICS_PORT, v6, filters)
}

fn compressor(fleet: &Fleet<'_>) -> Option<Value> {
    let compression = fleet.parameters.metrics()?.prometheus.as_ref()?.compression.as_ref()?;
    let (name, message) = match compression.type_ {
        CompressorType::Gzip => ("gzip", "Gzip"),
        CompressorType::Brotli => ("brotli", "Brotli"),
        CompressorType::Zstd => ("zstd", "Zstd"),
    };
    Some(json!({
        "name": "envoy.filters.http.compressor",
        "typed_config": {
            "@type": type_url("envoy.extensions.filters.http.compressor.v3.Compressor"),
            "compressor_library": {
                "name": name,
                "typed_config": {
                    "@type": type_url(&format!("envoy.extensions.compression.{name}.compressor.v3.{message}")),
                },
            },
        },
    }))
}

/// The sinks with their settings, in order.
fn resolved<'a>(
    fleet: &'a Fleet<'_>,
) -> impl Iterator<Item = (String, &'a MetricSink, &'a ProxyOpenTelemetrySink)> {
    let settings = fleet.parameters.metrics().map_or(&[][..], |metrics| &metrics.sinks);
    fleet.wish.metric_sinks.iter().filter_map(|sink| {
        let settings = settings.get(sink.index)?.open_telemetry.as_ref()?;
        Some((format!("otel_metric_sink_{}", sink.index), sink, settings))
    })
}

/// Collectors as clusters.
pub(super) fn sink_clusters(fleet: &Fleet<'_>) -> Vec<Value> {
    resolved(fleet)
        .map(|(name, sink, _)| {
            let mut cluster = json!({
                "name": name,
                "type": "STRICT_DNS",
                "connect_timeout": "0.250s",
                "load_assignment": endpoint(&name, &socket(&sink.host, sink.port)),
                "typed_extension_protocol_options": {
                    HTTP_OPTIONS: {
                        "@type": type_url(HTTP_OPTIONS),
                        "explicit_http_config": { "http2_protocol_options": {} },
                    },
                },
            });
            if let Some(tls) = &sink.tls {
                cluster["transport_socket"] = transport_socket(tls);
            }
            cluster
        })
        .collect()
}

fn transport_socket(tls: &SinkTls) -> Value {
    let mut context =
        json!({ "@type": type_url("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext") });
    if let Some(sni) = &tls.sni {
        context["sni"] = json!(sni);
    }
    if let Some((source, names)) = &tls.verification {
        let authorities = match source {
            AuthoritiesSource::Inline(pem) => json!({ "inline_string": String::from_utf8_lossy(pem) }),
            AuthoritiesSource::File(path) => json!({ "filename": path }),
        };
        let mut validation = json!({ "trusted_ca": authorities });
        if !names.is_empty() {
            validation["match_typed_subject_alt_names"] = names.iter().map(subject_alt_name).collect();
        }
        context["common_tls_context"] = json!({ "validation_context": validation });
    }
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
}

fn subject_alt_name(name: &SubjectAltName) -> Value {
    let (kind, name) = match name {
        SubjectAltName::Dns(name) => ("DNS", name),
        SubjectAltName::Uri(uri) => ("URI", uri),
    };
    json!({ "san_type": kind, "matcher": { "exact": name } })
}

/// What is sent to collectors, and how.
pub(super) fn sinks(fleet: &Fleet<'_>) -> Vec<Value> {
    resolved(fleet)
        .map(|(name, sink, settings)| {
            let mut service = json!({ "envoy_grpc": { "cluster_name": name, "authority": sink.authority } });
            if !settings.headers.is_empty() {
                let headers = settings.headers.iter().map(|h| json!({ "key": h.name, "value": h.value }));
                service["initial_metadata"] = headers.collect();
            }
            let mut config = json!({
                "@type": type_url("envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig"),
                "grpc_service": service,
            });
            if let Some(deltas) = settings.report_counters_as_deltas {
                config["report_counters_as_deltas"] = deltas.into();
            }
            if let Some(deltas) = settings.report_histograms_as_deltas {
                config["report_histograms_as_deltas"] = deltas.into();
            }
            if !settings.resource_attributes.is_empty() {
                config["resource_detectors"] = json!([{
                    "name": "envoy.tracers.opentelemetry.resource_detectors.static_config",
                    "typed_config": {
                        "@type": type_url(
                            "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.\
                             StaticConfigResourceDetectorConfig"
                        ),
                        "attributes": settings.resource_attributes,
                    },
                }]);
            }
            json!({ "name": "envoy.stat_sinks.open_telemetry", "typed_config": config })
        })
        .collect()
}
