//! Metrics of proxies.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TelemetryBackendRef, otlp_port};
use crate::{
    clustersettings::ClusterSettings,
    common::{BackendObjectReference, HttpHeader, is_false},
    config::{
        Opaque,
        declare::{choices, settings},
    },
};

choices! {
    /// Where metrics go.
    MetricSinkType {
        /// To an OpenTelemetry collector.
        OpenTelemetry,
    }
    /// How strings are compared.
    StringMatchType {
        /// They are equal.
        Exact,
        /// One begins with the other.
        Prefix,
        /// One ends with the other.
        Suffix,
        /// A regular expression matches (RE2 syntax).
        RegularExpression,
    }
    /// How responses are compressed.
    CompressorType {
        /// Gzip.
        Gzip,
        /// Brotli.
        Brotli,
        /// Zstandard.
        Zstd,
    }
}

settings! {
    /// Metrics.
    ProxyMetrics {
        /// The port where Prometheus reads them.
        #[serde(skip_serializing_if = "Option::is_none")]
        prometheus: Option<ProxyPrometheus>,
        /// Where they are sent.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 16))]
        sinks: Vec<ProxyMetricSink>,
        /// Which of them there are, by name; all when empty.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        matches: Vec<StringMatch>,
        /// Whether each virtual host has statistics of its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        enable_virtual_host_stats: Option<bool>,
        /// Whether each endpoint has statistics of its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        enable_per_endpoint_stats: Option<bool>,
        /// Whether sizes of requests and responses are counted.
        #[serde(skip_serializing_if = "Option::is_none")]
        enable_request_response_sizes_stats: Option<bool>,
        /// Whether gRPC calls are counted.
        #[serde(rename = "enableGRPCStats", skip_serializing_if = "Option::is_none")]
        enable_grpc_stats: Option<bool>,
        /// Name of a cluster in statistics, made of tokens such as `%ROUTE_NAME%`.
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster_stat_name: Option<String>,
    }
    /// A port where Prometheus reads metrics.
    ProxyPrometheus {
        /// Whether it is off.
        #[serde(skip_serializing_if = "is_false")]
        disable: bool,
        /// How answers are compressed; not at all when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        compression: Option<MetricsCompression>,
    }
}

/// How answers with metrics are compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricsCompression {
    /// The algorithm.
    #[serde(rename = "type")]
    pub type_: CompressorType,
    /// Settings of Gzip; there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gzip: Option<Opaque>,
    /// Settings of Brotli; there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brotli: Option<Opaque>,
    /// Settings of Zstandard; there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zstd: Option<Opaque>,
}

/// Where metrics are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.type != 'OpenTelemetry' || has(self.openTelemetry)",
    "openTelemetry must be set for type OpenTelemetry"
))]
#[serde(rename_all = "camelCase")]
pub struct ProxyMetricSink {
    /// What is there.
    #[serde(default = "metrics_collector", rename = "type")]
    pub type_: MetricSinkType,
    /// An OpenTelemetry collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<ProxyOpenTelemetrySink>,
}

fn metrics_collector() -> MetricSinkType {
    MetricSinkType::OpenTelemetry
}

/// An OpenTelemetry collector of metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "has(self.host) || (has(self.backendRefs) && size(self.backendRefs) > 0)",
    "host or backendRefs must be set"
))]
#[x_kube(validation = ("!has(self.backendRef)", "backendRefs must be used instead of backendRef"))]
#[x_kube(validation = (
    "!has(self.backendRefs) || self.backendRefs.all(ref, (ref.group == '' && ref.kind == 'Service') || (ref.group == 'gateway.envoyproxy.io' && ref.kind == 'Backend'))",
    "each of backendRefs must be a Service or a Backend"
))]
#[serde(rename_all = "camelCase")]
pub struct ProxyOpenTelemetrySink {
    /// Older form of `backendRefs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<BackendObjectReference>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub backend_refs: Vec<TelemetryBackendRef>,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_settings: Option<ClusterSettings>,
    /// Host; `backendRefs` go before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port of `host`.
    #[serde(default = "otlp_port")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: i32,
    /// Whether counters are sent as what they grew by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_counters_as_deltas: Option<bool>,
    /// Whether histograms are sent as what they grew by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_histograms_as_deltas: Option<bool>,
    /// Headers of requests to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub headers: Vec<HttpHeader>,
    /// Attributes of the resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource_attributes: BTreeMap<String, String>,
}

/// How a string is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StringMatch {
    /// How it is compared.
    #[serde(default = "exact", rename = "type")]
    pub type_: StringMatchType,
    /// What it is compared with.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

fn exact() -> StringMatchType {
    StringMatchType::Exact
}
