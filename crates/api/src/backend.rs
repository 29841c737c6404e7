//! Backend: a backend by IP address, host name or Unix socket (Envoy Gateway's kind).

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{Condition, LocalObjectReference, SecretObjectReference, is_false},
    text::{PreciseHostname, WellKnownCaCertificates},
    tls::{TlsFingerprintType, TlsVersion},
};

/// An IPv4 address, or the usual forms of an IPv6 address.
pub(crate) const IP_ADDRESS: &str = r"^((25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}(25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)$|^(([0-9a-fA-F]{1,4}:){1,7}[0-9a-fA-F]{1,4}|::|(([0-9a-fA-F]{1,4}:){0,5})?(:[0-9a-fA-F]{1,4}){1,2})$";
/// A DNS name, perhaps with a dot at its end.
pub(crate) const FQDN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\.?$";

/// Where a backend is and what it speaks.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(group = "gateway.envoyproxy.io", version = "v1alpha1", kind = "Backend", namespaced)]
#[kube(
    status = "BackendStatus",
    shortname = "be",
    category = "envoy-gateway",
    derive = "PartialEq",
    schema = "disabled"
)]
#[kube(
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Accepted\")].reason"}"#
)]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[x_kube(validation = (
    "self.type != 'DynamicResolver' || !has(self.endpoints)",
    "endpoints must not be set when type is DynamicResolver"
))]
#[x_kube(validation = (
    "self.type != 'DynamicResolver' || !has(self.tls) || !(has(self.tls.autoSNIFromEndpointHostname) && self.tls.autoSNIFromEndpointHostname)",
    "tls.autoSNIFromEndpointHostname must not be true when type is DynamicResolver"
))]
#[x_kube(validation = (
    "!has(self.tls) || !(has(self.tls.autoSNIFromEndpointHostname) && self.tls.autoSNIFromEndpointHostname) || self.endpoints.all(e, (!has(e.ip) && !has(e.unix)) || has(e.hostname))",
    "every ip and unix endpoint needs a hostname when tls.autoSNIFromEndpointHostname is true"
))]
#[serde(rename_all = "camelCase")]
pub struct BackendSpec {
    /// Whether endpoints are listed here, or resolved from the Host header of each request.
    /// Envoy: an `EDS` or DNS cluster; `envoy.clusters.dynamic_forward_proxy` for `DynamicResolver`.
    #[serde(default)]
    pub type_: BackendType,
    /// The endpoints. Host names must not be mixed with the other forms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = (
        "self.all(f, has(f.fqdn)) || !self.exists(f, has(f.fqdn))",
        "fqdn endpoints must not be mixed with ip or unix endpoints"
    ))]
    pub endpoints: Vec<BackendEndpoint>,
    /// What the backend speaks, when it is not plain HTTP/1.1.
    /// Envoy: `HttpProtocolOptions.explicit_http_config`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub app_protocols: Vec<AppProtocolType>,
    /// Whether the backend takes traffic only when the others of the rule are down.
    /// Envoy: `LocalityLbEndpoints.priority`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
    /// TLS to the backend. Settings of a BackendTLSPolicy go before these.
    /// Envoy: transport socket `envoy.transport_sockets.tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTlsSettings>,
}

/// Where the endpoints of a backend come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BackendType {
    /// From the list `endpoints`.
    #[default]
    Endpoints,
    /// From the Host header of each request, by DNS.
    DynamicResolver,
}

/// What a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum AppProtocolType {
    /// HTTP/2 without TLS.
    #[serde(rename = "gateway.envoyproxy.io/h2c")]
    H2c,
    /// WebSocket.
    #[serde(rename = "gateway.envoyproxy.io/ws")]
    Ws,
    /// WebSocket over TLS.
    #[serde(rename = "gateway.envoyproxy.io/wss")]
    Wss,
}

/// One endpoint: exactly one of `fqdn`, `ip` and `unix`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(has(self.fqdn) || has(self.ip) || has(self.unix))",
    "one of fqdn, ip and unix must be set"
))]
#[x_kube(validation = (
    "((has(self.fqdn) && !(has(self.ip) || has(self.unix))) || (has(self.ip) && !(has(self.fqdn) || has(self.unix))) || (has(self.unix) && !(has(self.ip) || has(self.fqdn))))",
    "only one of fqdn, ip and unix may be set"
))]
#[serde(rename_all = "camelCase")]
pub struct BackendEndpoint {
    /// Host name of the endpoint, for TLS server names and health checks.
    /// Envoy: `Endpoint.hostname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "hostname")]
    pub hostname: Option<String>,
    /// An endpoint by host name, resolved by DNS.
    /// Envoy: cluster `envoy.cluster.dns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<FqdnEndpoint>,
    /// An endpoint by IP address.
    /// Envoy: `Address.socket_address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpEndpoint>,
    /// An endpoint by Unix socket.
    /// Envoy: `Address.pipe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix: Option<UnixSocket>,
    /// Zone of the endpoint, for routing that prefers near ones.
    /// Envoy: `Locality.zone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

fn hostname(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    PreciseHostname::json_schema(generator)
}

/// An endpoint by IP address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpEndpoint {
    /// IPv4 or IPv6 address.
    #[schemars(
        length(min = 3, max = 45),
        regex(
            pattern = IP_ADDRESS
        )
    )]
    pub address: String,
    /// Port.
    #[schemars(range(min = 0, max = 65535))]
    pub port: i32,
}

/// An endpoint by host name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FqdnEndpoint {
    /// The host name; a dot at its end keeps search domains away.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = FQDN)
    )]
    pub hostname: String,
    /// Port.
    #[schemars(range(min = 0, max = 65535))]
    pub port: i32,
}

/// An endpoint by Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnixSocket {
    /// Path of the socket. A leading `@` names a socket in the abstract namespace.
    #[x_kube(validation = ("size(self) <= 108", "the path of a Unix socket may have at most 108 characters"))]
    pub path: String,
}

/// TLS to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    r#"!(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0 && has(self.wellKnownCACertificates) && self.wellKnownCACertificates != "")"#,
    "caCertificateRefs and wellKnownCACertificates must not both be set"
))]
#[x_kube(validation = (
    r#"!((has(self.insecureSkipVerify) && self.insecureSkipVerify) && ((has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0) || (has(self.wellKnownCACertificates) && self.wellKnownCACertificates != "")))"#,
    "caCertificateRefs and wellKnownCACertificates must not be set when insecureSkipVerify is true"
))]
#[x_kube(validation = (
    "!(has(self.sni) && has(self.autoSNIFromEndpointHostname) && self.autoSNIFromEndpointHostname)",
    "sni and autoSNIFromEndpointHostname must not both be used"
))]
#[x_kube(validation = (
    "has(self.minVersion) && self.minVersion == '1.3' ? !has(self.ciphers) : true",
    "ciphers has no effect and must not be set when minVersion is 1.3"
))]
#[x_kube(validation = (
    r#"has(self.minVersion) && has(self.maxVersion) ? {"Auto":0,"1.0":1,"1.1":2,"1.2":3,"1.3":4}[self.minVersion] <= {"1.0":1,"1.1":2,"1.2":3,"1.3":4,"Auto":5}[self.maxVersion] : !has(self.minVersion) && has(self.maxVersion) ? 3 <= {"1.0":1,"1.1":2,"1.2":3,"1.3":4,"Auto":5}[self.maxVersion] : true"#,
    "minVersion must not be above maxVersion; without minVersion, maxVersion must be at least 1.2"
))]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsSettings {
    /// Authorities that are trusted: ConfigMaps, Secrets or ClusterTrustBundles with the key `ca.crt`.
    /// Envoy: `CertificateValidationContext.trusted_ca`, by SDS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// Trust in a set of authorities by name, such as `System`.
    /// Envoy: `CertificateValidationContext.trusted_ca`, by SDS.
    #[serde(default, rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<WellKnownCaCertificates>,
    /// Whether the backend's certificate is not checked at all.
    /// Envoy: `CertificateValidationContext.trust_chain_verification`.
    #[serde(default)]
    pub insecure_skip_verify: bool,
    /// Server name to ask for; the request's host name when unset.
    /// Envoy: `UpstreamTlsContext.sni`; when unset `HttpProtocolOptions.upstream_http_protocol_options.auto_sni`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<PreciseHostname>,
    /// Whether the endpoint's host name is the server name to ask for.
    /// Envoy: `UpstreamTlsContext.auto_host_sni`.
    #[serde(default, rename = "autoSNIFromEndpointHostname", skip_serializing_if = "is_false")]
    pub auto_sni_from_endpoint_hostname: bool,
    /// Certificate that is shown to the backend.
    /// Envoy: `CommonTlsContext.tls_certificate_sds_secret_configs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
    /// Oldest TLS version; 1.2 when unset.
    /// Envoy: `TlsParameters.tls_minimum_protocol_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Newest TLS version; 1.3 when unset.
    /// Envoy: `TlsParameters.tls_maximum_protocol_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// Cipher suites for TLS up to 1.2, in BoringSSL's names.
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
    /// Fingerprints of the handshake to record. They are of clients of listeners alone, so this has no effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fingerprints: Vec<TlsFingerprintType>,
}

/// State of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    /// `Accepted` and others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
