//! TLS of listeners.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{SecretObjectReference, is_false},
    config::declare::{choices, options},
    envoyproxy::{StringMatch, StringMatchType},
    tls::{MisdirectedRequests, TlsFingerprintType, TlsVersion},
};

/// TLS of listeners that end it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "has(self.minVersion) && self.minVersion == '1.3' ? !has(self.ciphers) : true",
    "ciphers has no effect and must not be set when minVersion is 1.3"
))]
#[x_kube(validation = (
    r#"has(self.minVersion) && has(self.maxVersion) ? {"Auto":0,"1.0":1,"1.1":2,"1.2":3,"1.3":4}[self.minVersion] <= {"1.0":1,"1.1":2,"1.2":3,"1.3":4,"Auto":5}[self.maxVersion] : !has(self.minVersion) && has(self.maxVersion) ? 3 <= {"1.0":1,"1.1":2,"1.2":3,"1.3":4,"Auto":5}[self.maxVersion] : true"#,
    "minVersion must not be above maxVersion; without minVersion, maxVersion must be at least 1.2"
))]
#[serde(rename_all = "camelCase")]
pub struct ClientTlsSettings {
    /// What clients must show; they are not asked for a certificate when unset, and what a Gateway asks for is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_validation: Option<ClientValidationContext>,
    /// Oldest TLS version; 1.2 when unset.
    /// Envoy: `TlsParameters.tls_minimum_protocol_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Newest TLS version; 1.3 when unset.
    /// Envoy: `TlsParameters.tls_maximum_protocol_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// Cipher suites for TLS up to 1.2, in BoringSSL's names or IANA's.
    /// Envoy: `TlsParameters.cipher_suites`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ciphers: Vec<String>,
    /// Elliptic curves.
    /// Envoy: `TlsParameters.ecdh_curves`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ecdh_curves: Vec<String>,
    /// Signature algorithms.
    /// Envoy: `TlsParameters.signature_algorithms`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signature_algorithms: Vec<String>,
    /// Protocols that are offered (ALPN); unset and empty differ: empty offers none.
    /// Envoy: `CommonTlsContext.alpn_protocols`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn_protocols: Option<Vec<String>>,
    /// What becomes of requests over a connection that was made for another listener of the port; unset it is as the
    /// annotation `ferrogate.dev/misdirected-requests` of the Gateway or its class says. Not a field of Envoy Gateway.
    /// Envoy: `RouteConfiguration.virtual_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misdirected_requests: Option<MisdirectedRequests>,
    /// Fingerprints of the handshake to record.
    /// Envoy: `TlsInspector.enable_ja3_fingerprinting`, `enable_ja4_fingerprinting`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fingerprints: Vec<TlsFingerprintType>,
    /// Sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

/// What clients must show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.allowExpiredCertificate) || !self.allowExpiredCertificate || !has(self.mode) || self.mode in ['VerifyIfGiven', 'RequireAndVerify']",
    "allowExpiredCertificate is for modes VerifyIfGiven and RequireAndVerify only"
))]
#[serde(rename_all = "camelCase")]
pub struct ClientValidationContext {
    /// Whether clients without a certificate get in. Deprecated: use `mode: VerifyIfGiven`.
    /// Envoy: `DownstreamTlsContext.require_client_certificate`, the other way round.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Who gets in; `RequireAndVerify` by default.
    /// Envoy: `DownstreamTlsContext.require_client_certificate`,
    /// `CertificateValidationContext.trust_chain_verification`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ClientValidationModeType>,
    /// Authorities that are trusted: ConfigMaps, Secrets or ClusterTrustBundles with the key `ca.crt`.
    /// Envoy: `CertificateValidationContext.trusted_ca`, by SDS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<SecretObjectReference>,
    /// SHA-256 of public keys, in base64: the certificate's must be one of them.
    /// Envoy: `CertificateValidationContext.verify_certificate_spki`.
    #[serde(default, rename = "spkiHashes", skip_serializing_if = "Vec::is_empty")]
    pub spki_hashes: Vec<String>,
    /// SHA-256 of certificates, in hexadecimal digits: the client's must be one of them.
    /// Envoy: `CertificateValidationContext.verify_certificate_hash`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_hashes: Vec<String>,
    /// Names of which the certificate must have one.
    /// Envoy: `CertificateValidationContext.match_typed_subject_alt_names`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_alt_names: Option<SubjectAltNames>,
    /// Certificates that are revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<CrlContext>,
    /// Whether certificates whose time is over get in; false by default.
    /// Envoy: `CertificateValidationContext.allow_expired_certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_expired_certificate: Option<bool>,
}

/// Certificates that are revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrlContext {
    /// Lists of revoked certificates: ConfigMaps or Secrets with the key `ca.crl`.
    /// Envoy: `CertificateValidationContext.crl`.
    #[schemars(length(min = 1, max = 8))]
    pub refs: Vec<SecretObjectReference>,
    /// Whether authorities in between may be revoked, or have no list; false by default.
    /// Envoy: `CertificateValidationContext.only_verify_leaf_cert_crl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_verify_leaf_certificate: Option<bool>,
}

/// A name of a kind of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherSanMatch {
    /// The kind, as an object identifier such as `1.3.6.1.4.1.311.20.2.3`.
    /// Envoy: `SubjectAltNameMatcher.oid`.
    pub oid: String,
    /// How the name is compared.
    #[serde(default = "exact", rename = "type")]
    pub type_: StringMatchType,
    /// What the name is compared with.
    /// Envoy: `SubjectAltNameMatcher.matcher`.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

fn exact() -> StringMatchType {
    StringMatchType::Exact
}

options! {
    /// Names of which a certificate must have one.
    SubjectAltNames {
        /// DNS names.
        /// Envoy: `SubjectAltNameMatcher` of `DNS`.
        dns_names: Vec<StringMatch>,
        /// Mail addresses.
        /// Envoy: `SubjectAltNameMatcher` of `EMAIL`.
        email_addresses: Vec<StringMatch>,
        /// IP addresses.
        /// Envoy: `SubjectAltNameMatcher` of `IP_ADDRESS`.
        ip_addresses: Vec<StringMatch>,
        /// URIs.
        /// Envoy: `SubjectAltNameMatcher` of `URI`.
        uris: Vec<StringMatch>,
        /// Names of other kinds.
        /// Envoy: `SubjectAltNameMatcher` of `OTHER_NAME`.
        other_names: Vec<OtherSanMatch>,
    }
    /// Sessions.
    Session {
        /// How clients go on with a session over another connection; not at all by default.
        resumption: SessionResumption,
    }
    /// How clients go on with a session over another connection.
    SessionResumption {
        /// By tickets that clients keep.
        /// Envoy: `DownstreamTlsContext.disable_stateless_session_resumption`, the other way round.
        stateless: SessionTickets,
        /// By ids of sessions that the proxy keeps.
        /// Envoy: `DownstreamTlsContext.disable_stateful_session_resumption`, the other way round.
        stateful: SessionIds,
    }
    /// Tickets that clients keep.
    SessionTickets {}
    /// Sessions that the proxy keeps.
    SessionIds {}
}

choices! {
    /// Who gets in.
    ClientValidationModeType {
        /// Everybody; a certificate is asked for, and not checked.
        Request,
        /// Who shows a certificate, whatever it is.
        RequireAny,
        /// Who shows a certificate of a trusted authority, or none.
        VerifyIfGiven,
        /// Who shows a certificate of a trusted authority.
        RequireAndVerify,
    }
}
