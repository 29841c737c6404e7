//! Fact of EnvoyProxy.

use std::sync::Arc;

use serde_json::Value;

use super::{BackendTarget, CertificateRef, Meta};

/// What is kept of an EnvoyProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyProxy {
    /// Common part.
    pub meta: Meta,
    /// `spec` as JSON, because that is what is merged: a typed form has lost what was left unset.
    pub spec: Arc<Value>,
    /// The backends that telemetry goes to, because only objects can be looked up.
    pub backends: TelemetryBackends,
    /// `backendTLS.clientCertificateRef`.
    pub client_certificate: Option<CertificateRef>,
}

/// Where telemetry goes: the `backendRefs` of each list below `telemetry`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetryBackends {
    /// Of `accessLog.settings[].sinks[]`.
    pub logs: Box<[Box<[Collector]>]>,
    /// Of `tracing.provider`.
    pub traces: Collector,
    /// Of `metrics.sinks[]`.
    pub metrics: Box<[Collector]>,
}

/// The backends of one collector; none where it is given by host and port.
pub type Collector = Box<[CollectorRef]>;

/// A reference to a backend of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorRef {
    /// What it refers to.
    pub backend: BackendTarget,
    /// `weight`.
    pub weight: u32,
    /// `fallback`: it is used only while the others are down.
    pub fallback: bool,
}
