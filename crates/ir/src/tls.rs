//! TLS: what both sides of a proxy have in common, and what connections to backends need.

use std::sync::Arc;

use crate::downstream::TextMatch;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// Envoy chooses.
    Auto,
    /// TLS 1.0.
    V1_0,
    /// TLS 1.1.
    V1_1,
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// What a handshake may agree on. An empty list leaves the choice to Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsParameters {
    /// Oldest version.
    pub min: Option<TlsVersion>,
    /// Newest version.
    pub max: Option<TlsVersion>,
    /// Cipher suites for TLS up to 1.2, in BoringSSL's names.
    pub ciphers: Box<[Arc<str>]>,
    /// Elliptic curves.
    pub curves: Box<[Arc<str>]>,
    /// Signature algorithms.
    pub signature_algorithms: Box<[Arc<str>]>,
}

/// A name that a certificate must have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectAltName {
    /// A DNS name.
    Dns(Arc<str>),
    /// A URI.
    Uri(Arc<str>),
}

/// What a client must show when it connects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientValidation {
    /// Name of the secret (SDS) with the authorities that are trusted; `None` when certificates are only looked at.
    pub authorities: Option<Arc<str>>,
    /// Turns clients away that show no certificate.
    pub required: bool,
    /// Lets clients in whose certificate is of none of the authorities.
    pub untrusted: bool,
    /// Lets certificates in whose time is over.
    pub expired: bool,
    /// SHA-256 of public keys, in base64: the certificate's must be one of them, or the certificate one of the next
    /// list. Nothing is asked for when both are empty.
    pub key_hashes: Box<[Arc<str>]>,
    /// SHA-256 of certificates, in hexadecimal digits.
    pub certificate_hashes: Box<[Arc<str>]>,
    /// Names of which the certificate must have one. None are asked for when there are none.
    pub names: Box<[NameMatch]>,
}

/// Match of a name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameMatch {
    /// Kind of the name.
    pub kind: NameKind,
    /// What it is like.
    pub text: TextMatch,
}

/// Kinds of alternative names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A DNS name.
    Dns,
    /// A mail address.
    Email,
    /// An IP address.
    Ip,
    /// A URI.
    Uri,
    /// Of a kind of its own, by object identifier.
    Other(Arc<str>),
}

/// TLS towards the endpoints of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Server name to ask for; `None` for the host of the request, where all backends of the cluster agree on that.
    pub sni: Option<Arc<str>>,
    /// Asks for the endpoint's own host name.
    pub sni_of_endpoint: bool,
    /// What the backend's certificate must show; `None` when it is not looked at.
    pub verification: Option<Verification>,
    /// Name of the secret (SDS) with the certificate that is shown to the backend.
    pub certificate: Option<Arc<str>>,
    /// What a handshake may agree on.
    pub parameters: TlsParameters,
    /// Protocols to offer (ALPN), most wanted first; `None` for those of the cluster's HTTP versions.
    pub alpn: Option<Box<[Arc<str>]>>,
}

/// What a backend's certificate must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Name of the secret (SDS) with the authorities that are trusted.
    pub authorities: Arc<str>,
    /// Names of which it must have one. None are asked for when there are none; then the server name that was asked
    /// for, if any, must be among its names.
    pub names: Box<[SubjectAltName]>,
}
