//! Access logs, traces and metrics of proxies.

mod access_log;
mod metrics;
mod tracing;

use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{access_log::*, metrics::*, tracing::*};
use crate::{
    common::{BackendObjectReference, one},
    config::declare::settings,
};

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
