//! Facts of TLS towards backends.

use std::sync::Arc;

use ir::tls::{SubjectAltName, TlsParameters};

use super::{CertificateRef, Meta, PolicyTarget};
use crate::{Bundle, BundleError};

/// What is kept of a BackendTLSPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTlsPolicy {
    /// Common part.
    pub meta: Meta,
    /// `spec.targetRefs` of kinds that are known, in order.
    pub targets: Box<[PolicyTarget]>,
    /// Whose certificates are trusted.
    pub trust: Trust,
    /// `validation.hostname`.
    pub hostname: Arc<str>,
    /// `validation.subjectAltNames`, in order.
    pub names: Box<[SubjectAltName]>,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// `caCertificateRefs`, in order.
    Authorities(Box<[CertificateRef]>),
    /// `wellKnownCACertificates: System`.
    System,
    /// Another well-known set, by its name.
    Other(Arc<str>),
}

/// `tls` of a Backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// Whose certificates are trusted; `None` when it does not say.
    pub trust: Option<Trust>,
    /// `insecureSkipVerify`.
    pub insecure: bool,
    /// `sni`.
    pub sni: Option<Arc<str>>,
    /// `autoSNIFromEndpointHostname`.
    pub sni_of_endpoint: bool,
    /// The proxy's own side.
    pub client: ClientTls,
}

/// The proxy's own side of TLS towards backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// `clientCertificateRef`.
    pub certificate: Option<CertificateRef>,
    /// Versions, ciphers, curves and signature algorithms.
    pub parameters: TlsParameters,
    /// `alpnProtocols`; `None` when unset, empty for no ALPN.
    pub alpn: Option<Box<[Arc<str>]>>,
}

/// What is kept of a ClusterTrustBundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTrustBundle {
    /// Common part.
    pub meta: Meta,
    /// `spec.trustBundle`, read.
    pub bundle: Result<Arc<Bundle>, BundleError>,
}
