//! Access logs of proxies, and of health checks.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TelemetryBackendRef, otlp_port};
use crate::{
    clustersettings::ClusterSettings,
    common::{BackendObjectReference, HttpHeader, is_false},
    config::declare::{choices, settings},
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
