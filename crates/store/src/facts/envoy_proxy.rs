//! Fact of EnvoyProxy.

use std::sync::Arc;

use serde_json::Value;

use super::{CertificateRef, Meta};
use crate::ObjectId;

/// What is kept of an EnvoyProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyProxy {
    /// Common part.
    pub meta: Meta,
    /// `spec` as JSON, because that is what is merged: a typed form has lost what was left unset.
    pub spec: Arc<Value>,
    /// First backend of each of `telemetry.metrics.sinks`, in order; `None` where a sink has no backend that can be
    /// looked up.
    pub sinks: Box<[Option<SinkBackend>]>,
    /// `backendTLS.clientCertificateRef`.
    pub client_certificate: Option<CertificateRef>,
}

/// Where a sink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkBackend {
    /// A Service or Backend.
    pub id: ObjectId,
    /// Port of the Service.
    pub port: Option<u16>,
}
