//! Metrics and traces of the control plane itself.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::declare::{choices, settings};
use crate::{common::Fraction, text::Duration};

choices! {
    /// Where metrics or traces are sent.
    SinkType {
        /// An OpenTelemetry collector.
        OpenTelemetry,
    }
}

settings! {
    /// Metrics and traces of the control plane itself.
    Telemetry {
        /// Metrics.
        metrics: Metrics,
        /// Traces; none when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        traces: Option<Traces>,
    }
    /// Metrics of the control plane.
    Metrics {
        /// Where they are sent.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        sinks: Vec<Sink>,
        /// The port where Prometheus reads them.
        prometheus: Prometheus,
    }
    /// A port where Prometheus reads metrics.
    Prometheus {
        /// Whether it is off.
        disable: bool,
    }
}

/// Where metrics or traces are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sink {
    /// What is there.
    #[serde(rename = "type")]
    pub type_: SinkType,
    /// An OpenTelemetry collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OpenTelemetrySink>,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenTelemetrySink {
    /// Host.
    pub host: String,
    /// `grpc` or `http`.
    #[schemars(schema_with = "otlp_protocol")]
    pub protocol: String,
    /// Port.
    #[serde(default = "otlp_port")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: i32,
    /// How often metrics are sent; 60s when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_interval: Option<Duration>,
    /// How long sending may take; 30s when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_timeout: Option<Duration>,
}

fn otlp_port() -> i32 {
    4317
}

fn otlp_protocol(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["grpc", "http"] })
}

/// Traces of the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traces {
    /// Where they are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Sink>,
    /// Share that is traced; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate: Option<Fraction>,
}
