//! Global rate limits.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Prometheus,
    declare::{choices, settings},
};
use crate::{common::SecretObjectReference, text::Duration};

choices! {
    /// A database for global rate limits.
    RateLimitDatabaseBackendType {
        /// Redis.
        Redis,
    }
}

settings! {
    /// What the rate limit service tells about itself.
    RateLimitTelemetry {
        /// Metrics.
        #[serde(skip_serializing_if = "Option::is_none")]
        metrics: Option<RateLimitMetrics>,
        /// Traces.
        #[serde(skip_serializing_if = "Option::is_none")]
        tracing: Option<RateLimitTracing>,
    }
    /// Metrics of the rate limit service.
    RateLimitMetrics {
        /// The port where Prometheus reads them.
        #[serde(skip_serializing_if = "Option::is_none")]
        prometheus: Option<Prometheus>,
    }
    /// Traces of the rate limit service.
    RateLimitTracing {
        /// Share of requests that is traced, in percent; 100 when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        sampling_rate: Option<u32>,
        /// Where traces are sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        provider: Option<RateLimitTracingProvider>,
    }
    /// TLS to a Redis server.
    RedisTls {
        /// Certificate that is shown to it.
        #[serde(skip_serializing_if = "Option::is_none")]
        certificate_ref: Option<SecretObjectReference>,
    }
}

/// Global rate limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Where counts are kept.
    pub backend: RateLimitDatabaseBackend,
    /// How long a proxy waits for an answer; 20ms when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether requests are turned away when there is no answer.
    #[serde(default)]
    pub fail_closed: bool,
    /// What the rate limit service tells about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<RateLimitTelemetry>,
}

/// Where counts of rate limits are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitDatabaseBackend {
    /// What is there.
    #[serde(rename = "type")]
    pub type_: RateLimitDatabaseBackendType,
    /// A Redis server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RateLimitRedisSettings>,
}

/// A Redis server: its address is given either here or in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("has(self.url) != has(self.urlRef)", "exactly one of url and urlRef must be set"))]
#[serde(rename_all = "camelCase")]
pub struct RateLimitRedisSettings {
    /// Host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A Secret that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_ref: Option<RedisUrlSource>,
    /// TLS to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTls>,
}

/// The address of a Redis server in a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.secretKeyRef.optional) || !self.secretKeyRef.optional",
    "secretKeyRef.optional must not be true"
))]
#[serde(rename_all = "camelCase")]
pub struct RedisUrlSource {
    /// The Secret and its key.
    pub secret_key_ref: SecretKeySelector,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeySelector {
    /// Name of the Secret.
    #[serde(default)]
    pub name: String,
    /// The key.
    pub key: String,
    /// Whether it may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Where traces of the rate limit service are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitTracingProvider {
    /// What is there; `OpenTelemetry` when unset.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Where it is.
    pub url: String,
}
