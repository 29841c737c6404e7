//! Traces of requests.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TelemetryBackendRef, otlp_port};
use crate::{
    clustersettings::ClusterSettings,
    common::{BackendObjectReference, Fraction, HttpHeader},
    config::declare::{choices, settings},
};

choices! {
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
}

settings! {
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
    /// Ids of requests.
    RequestIdSettings {
        /// What becomes of them when traces are taken; `PackAndSample` when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        tracing: Option<RequestIdTracing>,
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
