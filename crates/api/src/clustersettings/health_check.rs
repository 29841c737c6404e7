//! How unhealthy endpoints are found.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HttpStatus;
use crate::{
    config::declare::{choices, options},
    envoyproxy::HealthCheckLog,
    text::{Duration, PreciseHostname},
};

options! {
    /// How unhealthy endpoints are found.
    HealthCheck {
        /// By requests of the proxy's own.
        /// Envoy: `Cluster.health_checks`.
        active: ActiveHealthCheck,
        /// By the answers that they give to clients.
        /// Envoy: `Cluster.outlier_detection`.
        passive: PassiveHealthCheck,
        /// Share of healthy endpoints, in percent, below which all endpoints get requests; 50 by default, 0 for never.
        /// Envoy: `Cluster.common_lb_config.healthy_panic_threshold`.
        #[schemars(range(min = 0, max = 100))]
        panic_threshold: u32,
    }
    /// Bytes that are sent, and bytes that are waited for.
    TcpActiveHealthChecker {
        /// Bytes to send; none when unset.
        /// Envoy: `HealthCheck.tcp_health_check.send`.
        send: ActiveHealthCheckPayload,
        /// Bytes that have to come back; none when unset.
        /// Envoy: `HealthCheck.tcp_health_check.receive`.
        receive: ActiveHealthCheckPayload,
    }
    /// gRPC's own protocol for health checks.
    GrpcActiveHealthChecker {
        /// The service that is asked about; the server as a whole when unset.
        /// Envoy: `HealthCheck.grpc_health_check.service_name`.
        service: String,
    }
    /// Where checks go instead of the endpoint itself.
    HealthCheckOverrides {
        /// The port.
        /// Envoy: `Endpoint.health_check_config.port_value`.
        #[schemars(range(min = 1, max = 65535))]
        port: i32,
    }
}

choices! {
    /// What an active check speaks.
    ActiveHealthCheckerType {
        /// HTTP.
        HTTP,
        /// TCP.
        TCP,
        /// gRPC.
        GRPC,
    }
    /// How bytes are written.
    ActiveHealthCheckPayloadType {
        /// As text.
        Text,
        /// In base64.
        Binary,
    }
}

/// Checks by requests of the proxy's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.type == 'HTTP' ? has(self.http) : !has(self.http)",
    "http must be set for type HTTP, and for no other"
))]
#[x_kube(validation = (
    "self.type == 'TCP' ? has(self.tcp) : !has(self.tcp)",
    "tcp must be set for type TCP, and for no other"
))]
#[x_kube(validation = ("has(self.grpc) ? self.type == 'GRPC' : true", "grpc is for type GRPC only"))]
#[serde(rename_all = "camelCase")]
pub struct ActiveHealthCheck {
    /// Time for each check.
    /// Envoy: `HealthCheck.timeout`.
    #[serde(default = "second")]
    pub timeout: Duration,
    /// Time between checks.
    /// Envoy: `HealthCheck.interval`.
    #[serde(default = "three_seconds")]
    pub interval: Duration,
    /// Time before the first check, at most: it is drawn at random.
    /// Envoy: `HealthCheck.initial_jitter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_jitter: Option<Duration>,
    /// Failures in a row after which an endpoint is unhealthy. One is enough for status codes that are not expected.
    /// Envoy: `HealthCheck.unhealthy_threshold`.
    #[serde(default = "three")]
    #[schemars(range(min = 1))]
    pub unhealthy_threshold: u32,
    /// Successes in a row after which an endpoint is healthy again.
    /// Envoy: `HealthCheck.healthy_threshold`.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub healthy_threshold: u32,
    /// What checks speak.
    /// Envoy: `HealthCheck.http_health_check`, `tcp_health_check` or `grpc_health_check`.
    pub type_: ActiveHealthCheckerType,
    /// The request, for type `HTTP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpActiveHealthChecker>,
    /// The bytes, for type `TCP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpActiveHealthChecker>,
    /// The call, for type `GRPC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcActiveHealthChecker>,
    /// Where checks go instead of the endpoint itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<HealthCheckOverrides>,
    /// A log of the checks, in place of the EnvoyProxy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_log: Option<HealthCheckLog>,
}

fn second() -> Duration {
    "1s".into()
}

fn three_seconds() -> Duration {
    "3s".into()
}

fn three() -> u32 {
    3
}

fn one() -> u32 {
    1
}

/// The request of an active check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.requestBody) || (has(self.method) && self.method.upperAscii() in ['POST','PUT'])",
    "requestBody is for methods POST and PUT only"
))]
#[serde(rename_all = "camelCase")]
pub struct HttpActiveHealthChecker {
    /// Its host; that of the endpoint or of the route when unset.
    /// Envoy: `HealthCheck.http_health_check.host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<PreciseHostname>,
    /// Its path.
    /// Envoy: `HealthCheck.http_health_check.path`.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// Its method; `GET` by default.
    /// Envoy: `HealthCheck.http_health_check.method`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub method: Option<String>,
    /// Status codes of a healthy endpoint; 200 by default.
    /// Envoy: `HealthCheck.http_health_check.expected_statuses`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_statuses: Vec<HttpStatus>,
    /// Status codes that count towards `unhealthyThreshold` instead of making the endpoint unhealthy at once.
    /// Envoy: `HealthCheck.http_health_check.retriable_statuses`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retriable_statuses: Vec<HttpStatus>,
    /// What the body of the answer must hold.
    /// Envoy: `HealthCheck.http_health_check.receive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_response: Option<ActiveHealthCheckPayload>,
    /// Its body.
    /// Envoy: `HealthCheck.http_health_check.send`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body: Option<ActiveHealthCheckPayload>,
}

/// Bytes of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.type == 'Text' ? has(self.text) : !has(self.text)",
    "text must be set for type Text, and for no other"
))]
#[x_kube(validation = (
    "self.type == 'Binary' ? has(self.binary) : !has(self.binary)",
    "binary must be set for type Binary, and for no other"
))]
#[serde(rename_all = "camelCase")]
pub struct ActiveHealthCheckPayload {
    /// Which of the fields below counts.
    pub type_: ActiveHealthCheckPayloadType,
    /// The bytes as text.
    /// Envoy: `HealthCheck.Payload.text`, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes in base64.
    /// Envoy: `HealthCheck.Payload.binary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "byte"))]
    pub binary: Option<String>,
}

/// Checks by the answers that endpoints give to clients: those that fail get no requests for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassiveHealthCheck {
    /// Whether failures to reach an endpoint are told from errors that it answers.
    /// Envoy: `OutlierDetection.split_external_local_origin_errors`.
    #[serde(default)]
    pub split_external_local_origin_errors: bool,
    /// Time between looks at what was counted.
    /// Envoy: `OutlierDetection.interval`.
    #[serde(default = "three_seconds")]
    pub interval: Duration,
    /// Failures to reach an endpoint, in a row, after which it is left out; they count with
    /// `splitExternalLocalOriginErrors`.
    /// Envoy: `OutlierDetection.consecutive_local_origin_failure`.
    #[serde(default = "five")]
    pub consecutive_local_origin_failures: u32,
    /// Answers 502, 503 and 504, in a row, after which an endpoint is left out; they do not count when unset.
    /// Envoy: `OutlierDetection.consecutive_gateway_failure`, `enforcing_consecutive_gateway_failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_gateway_errors: Option<u32>,
    /// Answers of 500 and above, in a row, after which an endpoint is left out.
    /// Envoy: `OutlierDetection.consecutive_5xx`.
    #[serde(default = "five", rename = "consecutive5XxErrors")]
    pub consecutive_5xx_errors: u32,
    /// Time for which an endpoint is left out the first time; it grows with each further time.
    /// Envoy: `OutlierDetection.base_ejection_time`.
    #[serde(default = "half_a_minute")]
    pub base_ejection_time: Duration,
    /// Share of endpoints, in percent, that are left out at most.
    /// Envoy: `OutlierDetection.max_ejection_percent`.
    #[serde(default = "ten")]
    #[schemars(range(min = 0, max = 100))]
    pub max_ejection_percent: i32,
    /// Share of failures, in percent, from which on an endpoint is left out; it does not count when unset.
    /// Envoy: `OutlierDetection.failure_percentage_threshold`, `enforcing_failure_percentage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub failure_percentage_threshold: Option<u32>,
    /// Whether one endpoint may be left out even where `maxEjectionPercent` allows none.
    /// Envoy: `OutlierDetection.always_eject_one_host`.
    #[serde(default)]
    pub always_eject_one_endpoint: bool,
}

fn five() -> u32 {
    5
}

fn half_a_minute() -> Duration {
    "30s".into()
}

fn ten() -> i32 {
    10
}
