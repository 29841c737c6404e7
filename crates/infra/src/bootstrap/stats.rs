//! Metrics: the port for Prometheus, and collectors that they are sent to.

use api::envoyproxy::{
    CompressorType, IpFamily, ProxyMetrics, ProxyOpenTelemetrySink, StringMatch, StringMatchType,
};
use bootstrap::{HTTP_OPTIONS, Metrics, endpoint, socket, type_url};
use ir::{
    infra::{MetricSink, SinkTls},
    secret::AuthoritiesSource,
    tls::SubjectAltName,
};
use serde_json::{Value, json};

use crate::{metadata::Fleet, names};

/// What proxies do with their statistics, in a Pod and on a host.
pub(crate) fn metrics(spec: Option<&ProxyMetrics>, sinks: &[MetricSink]) -> Metrics {
    let settings = spec.map_or(&[][..], |metrics| &metrics.sinks);
    let resolved = sinks.iter().filter_map(|sink| {
        let settings = settings.get(sink.index)?.open_telemetry.as_ref()?;
        let name = format!("otel_metric_sink_{}", sink.index);
        Some((cluster(&name, sink), stats_sink(&name, sink, settings)))
    });
    let (clusters, sinks) = resolved.unzip();
    Metrics { stats_config: config(spec), clusters, sinks }
}

/// Which statistics there are, and which parts of their names are tags.
fn config(spec: Option<&ProxyMetrics>) -> Value {
    let mut config = bootstrap::stats_config();
    let matches = spec.map_or(&[][..], |metrics| &metrics.matches);
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

/// A collector as a cluster.
fn cluster(name: &str, sink: &MetricSink) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "0.250s",
        "load_assignment": endpoint(name, &socket(&sink.host, sink.port)),
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

/// What is sent to a collector, and how.
fn stats_sink(cluster: &str, sink: &MetricSink, settings: &ProxyOpenTelemetrySink) -> Value {
    let mut service = json!({ "envoy_grpc": { "cluster_name": cluster, "authority": sink.authority } });
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
}
