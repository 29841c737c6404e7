//! Access logs, traces and metrics of proxies.

use std::{collections::BTreeMap, ops::Deref};

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clustersettings::ClusterSettings,
    common::{BackendObjectReference, Fraction, HttpHeader, is_false, one},
    config::{
        Opaque,
        declare::{choices, settings},
    },
};

choices! {
    /// Which requests an access log is about.
    ProxyAccessLogType {
        /// Those that listeners refused before a route was found.
        Listener,
        /// Those that routes took.
        Route,
        /// Those that went to backends, one line for each try.
        Upstream,
    }
    /// How a line of an access log is written.
    ProxyAccessLogFormatType {
        /// As text.
        Text,
        /// As a JSON object.
        JSON,
    }
    /// Where an access log goes.
    ProxyAccessLogSinkType {
        /// To a server of Envoy's access log service.
        ALS,
        /// To a file.
        File,
        /// To an OpenTelemetry collector.
        OpenTelemetry,
    }
    /// What an access log service is told of.
    AlsEnvoyProxyAccessLogType {
        /// HTTP requests.
        HTTP,
        /// TCP connections.
        TCP,
    }
    /// Where traces go.
    TracingProviderType {
        /// To an OpenTelemetry collector.
        OpenTelemetry,
        /// To Zipkin.
        Zipkin,
        /// To Datadog.
        Datadog,
    }
    /// Which traces a sampler of OpenTelemetry takes.
    SamplerType {
        /// All.
        AlwaysOn,
        /// None.
        AlwaysOff,
        /// A share.
        TraceIdRatio,
        /// As the caller decided, else all.
        ParentBasedAlwaysOn,
        /// As the caller decided, else none.
        ParentBasedAlwaysOff,
        /// As the caller decided, else a share.
        ParentBasedTraceIdRatio,
    }
    /// Where the value of a tag comes from.
    CustomTagType {
        /// It is given.
        Literal,
        /// An environment variable of the proxy.
        Environment,
        /// A header of the request.
        RequestHeader,
    }
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
    /// What becomes of the id of a request when traces are taken.
    RequestIdTracing {
        /// It tells whether the request is traced, and whether it is traced depends on it.
        PackAndSample,
        /// Whether the request is traced depends on it.
        Sample,
        /// It tells whether the request is traced.
        Pack,
        /// Nothing.
        Disable,
    }
    /// Where a log of health checks goes.
    HealthCheckLogSinkType {
        /// To a file.
        File,
    }
    /// Which results of health checks are logged.
    HealthCheckLogMatch {
        /// Each failure.
        Failure,
        /// The first failure of a series.
        FailureSeriesStart,
        /// Each success.
        Success,
        /// Changes to healthy.
        HealthyTransition,
    }
}

settings! {
    /// Access logs, traces and metrics.
    ProxyTelemetry {
        /// Access logs; one to standard output when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        access_log: Option<ProxyAccessLog>,
        /// Traces; none when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        tracing: Option<ProxyTracing>,
        /// Metrics.
        #[serde(skip_serializing_if = "Option::is_none")]
        metrics: Option<ProxyMetrics>,
        /// Ids of requests.
        #[serde(rename = "requestID", skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestIdSettings>,
        /// A log of health checks; none when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        health_check_log: Option<HealthCheckLog>,
    }
    /// Access logs.
    ProxyAccessLog {
        /// Whether there are none.
        #[serde(skip_serializing_if = "is_false")]
        disable: bool,
        /// The logs.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(min = 1, max = 50))]
        settings: Vec<ProxyAccessLogSetting>,
    }
    /// Headers that an access log service is told.
    AlsHttpAccessLog {
        /// Of requests.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        request_headers: Vec<String>,
        /// Of responses.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        response_headers: Vec<String>,
        /// Trailers of responses.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        response_trailers: Vec<String>,
    }
    /// Settings of Zipkin.
    ZipkinTracing {
        /// Whether ids of traces have 128 bits.
        #[serde(rename = "enable128BitTraceId", skip_serializing_if = "Option::is_none")]
        enable_128_bit_trace_id: Option<bool>,
        /// Whether client and server spans have ids of their own.
        #[serde(skip_serializing_if = "Option::is_none")]
        disable_shared_span_context: Option<bool>,
    }
    /// Settings of OpenTelemetry.
    OpenTelemetryTracing {
        /// Headers of requests to the collector.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 32))]
        headers: Vec<HttpHeader>,
        /// Attributes of the resource.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        resource_attributes: BTreeMap<String, String>,
        /// Which traces are taken.
        #[serde(skip_serializing_if = "Option::is_none")]
        sampler: Option<OpenTelemetrySampler>,
    }
    /// Names of spans.
    SpanName {
        /// Of the proxy as a server.
        #[serde(skip_serializing_if = "Option::is_none")]
        server: Option<String>,
        /// Of the proxy as a client of backends.
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<String>,
    }
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
    /// Ids of requests.
    RequestIdSettings {
        /// What becomes of them when traces are taken; `PackAndSample` when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        tracing: Option<RequestIdTracing>,
    }
}

/// One access log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyAccessLogSetting {
    /// How a line is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ProxyAccessLogFormat>,
    /// Which lines are written, in CEL; all expressions must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub matches: Vec<String>,
    /// Where lines go.
    #[schemars(length(min = 1, max = 50))]
    pub sinks: Vec<ProxyAccessLogSink>,
    /// Which requests it is about; those of listeners and routes when unset.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<ProxyAccessLogType>,
}

/// How a line of an access log is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.type) || self.type != 'Text' || (has(self.text) && !has(self.json))",
    "text must be set for type Text, and json must not"
))]
#[x_kube(validation = (
    "!has(self.type) || self.type != 'JSON' || (has(self.json) && !has(self.text))",
    "json must be set for type JSON, and text must not"
))]
#[x_kube(validation = (
    "has(self.type) || has(self.text) || has(self.json)",
    "text or json must be set where type is not"
))]
#[serde(rename_all = "camelCase")]
pub struct ProxyAccessLogFormat {
    /// Which of the two fields below counts; for OpenTelemetry both may be there without a type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<ProxyAccessLogFormatType>,
    /// Text with command operators such as `%START_TIME%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A JSON object whose values have command operators.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, String>,
}

/// Where an access log goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("(self.type == 'ALS') == has(self.als)", "als must be set for type ALS, and for no other"))]
#[x_kube(validation = ("(self.type == 'File') == has(self.file)", "file must be set for type File, and for no other"))]
#[x_kube(validation = (
    "(self.type == 'OpenTelemetry') == has(self.openTelemetry)",
    "openTelemetry must be set for type OpenTelemetry, and for no other"
))]
#[serde(rename_all = "camelCase")]
pub struct ProxyAccessLogSink {
    /// Which of the fields below counts.
    #[serde(rename = "type")]
    pub type_: ProxyAccessLogSinkType,
    /// A server of Envoy's access log service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub als: Option<AlsEnvoyProxyAccessLog>,
    /// A file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileEnvoyProxyAccessLog>,
    /// An OpenTelemetry collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OpenTelemetryEnvoyProxyAccessLog>,
}

/// A file of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileEnvoyProxyAccessLog {
    /// Its path, such as `/dev/stdout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub path: Option<String>,
}

/// A server of Envoy's access log service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.type == 'HTTP' || !has(self.http)", "http may only be set for type HTTP"))]
#[x_kube(validation = ("!has(self.backendRef)", "backendRefs must be used instead of backendRef"))]
#[x_kube(validation = (
    "!has(self.backendRefs) || self.backendRefs.all(ref, (ref.group == '' && ref.kind == 'Service') || (ref.group == 'gateway.envoyproxy.io' && ref.kind == 'Backend'))",
    "each of backendRefs must be a Service or a Backend"
))]
#[x_kube(validation = (
    "has(self.backendRefs) && size(self.backendRefs) > 0",
    "backendRefs must have at least one backend"
))]
#[serde(rename_all = "camelCase")]
pub struct AlsEnvoyProxyAccessLog {
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
    /// Name of the log; namespace and name of the EnvoyProxy when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub log_name: Option<String>,
    /// What it is told of.
    #[serde(rename = "type")]
    pub type_: AlsEnvoyProxyAccessLogType,
    /// Headers that it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<AlsHttpAccessLog>,
}

/// An OpenTelemetry collector of logs.
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
#[x_kube(validation = (
    "!has(self.resources) || !has(self.resourceAttributes)",
    "resources and resourceAttributes must not both be set"
))]
#[serde(rename_all = "camelCase")]
pub struct OpenTelemetryEnvoyProxyAccessLog {
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
    /// Headers of requests to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub headers: Vec<HttpHeader>,
    /// Older form of `resourceAttributes`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, String>,
    /// Attributes of the resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource_attributes: BTreeMap<String, String>,
}

fn otlp_port() -> i32 {
    4317
}

/// A server that telemetry is sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TelemetryBackendRef {
    /// The backend.
    #[serde(flatten)]
    pub reference: BackendObjectReference,
    /// Share of the traffic, relative to the sum of all weights.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
    /// Whether it is used only while the others are down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
}

impl Deref for TelemetryBackendRef {
    type Target = BackendObjectReference;

    fn deref(&self) -> &BackendObjectReference {
        &self.reference
    }
}

/// Traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!(has(self.samplingRate) && has(self.samplingFraction))",
    "samplingRate and samplingFraction must not both be set"
))]
#[serde(rename_all = "camelCase")]
pub struct ProxyTracing {
    /// Where they go.
    pub provider: TracingProvider,
    /// Share of requests that are traced, in percent; all when neither this nor `samplingFraction` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub sampling_rate: Option<u32>,
    /// Share of requests that are traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_fraction: Option<Fraction>,
    /// Share of requests that are traced because their client asks for it; none when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_sampling_fraction: Option<Fraction>,
    /// Share of requests that are traced at most; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overall_sampling_fraction: Option<Fraction>,
    /// Older form of `tags`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Tags of spans; their values have command operators.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Names of spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_name: Option<SpanName>,
}

/// Where traces go.
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
#[x_kube(validation = (
    "!has(self.openTelemetry) || self.type == 'OpenTelemetry'",
    "openTelemetry is for type OpenTelemetry only"
))]
#[serde(rename_all = "camelCase")]
pub struct TracingProvider {
    /// What is there.
    #[serde(default = "open_telemetry", rename = "type")]
    pub type_: TracingProviderType,
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
    /// Name of the service in traces; made from the Gateway's when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub service_name: Option<String>,
    /// Settings of Zipkin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<ZipkinTracing>,
    /// Settings of OpenTelemetry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OpenTelemetryTracing>,
}

fn open_telemetry() -> TracingProviderType {
    TracingProviderType::OpenTelemetry
}

/// Which traces are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.samplingPercentage) || self.type in ['TraceIdRatio', 'ParentBasedTraceIdRatio']",
    "samplingPercentage is for types TraceIdRatio and ParentBasedTraceIdRatio only"
))]
#[serde(rename_all = "camelCase")]
pub struct OpenTelemetrySampler {
    /// How that is decided.
    #[serde(default = "always_on", rename = "type")]
    pub type_: SamplerType,
    /// The share, for samplers that take one; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_percentage: Option<Fraction>,
}

fn always_on() -> SamplerType {
    SamplerType::AlwaysOn
}

/// A tag of spans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomTag {
    /// Which of the fields below counts.
    #[serde(default = "literal", rename = "type")]
    pub type_: CustomTagType,
    /// A value that is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub literal: Option<LiteralTag>,
    /// An environment variable of the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<LookedUpTag>,
    /// A header of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header: Option<LookedUpTag>,
}

fn literal() -> CustomTagType {
    CustomTagType::Literal
}

/// A value that is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiteralTag {
    /// The value.
    pub value: String,
}

/// A value that is looked up by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LookedUpTag {
    /// The name.
    pub name: String,
    /// The value where nothing is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_value: Option<String>,
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

/// A log of health checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.matches) || size(self.matches) == 0 || (self.matches.exists(m, m == 'Failure' || m == 'FailureSeriesStart') && self.matches.exists(m, m == 'Success' || m == 'HealthyTransition'))",
    "matches must name a kind of failure and a kind of success"
))]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckLog {
    /// Where it goes; to standard output when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1))]
    pub sinks: Vec<HealthCheckLogSink>,
    /// Which results are logged; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub matches: Vec<HealthCheckLogMatch>,
}

/// Where a log of health checks goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.type != 'File' || has(self.file)", "file must be set for type File"))]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckLogSink {
    /// Which of the fields below counts.
    #[serde(rename = "type")]
    pub type_: HealthCheckLogSinkType,
    /// A file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileEnvoyProxyAccessLog>,
}
