//! BackendTLSPolicy: TLS towards a backend, and what its certificate must show.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::LocalObjectReference,
    policy::{PolicyStatus, PolicyTargetReference},
    text::{AbsoluteUri, AnnotationValue, Hostname, PreciseHostname, WellKnownCaCertificates},
};

/// Which backends are reached over TLS, and whose certificates are trusted there.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "BackendTLSPolicy",
    root = "BackendTlsPolicy",
    namespaced
)]
#[kube(
    plural = "backendtlspolicies",
    status = "PolicyStatus",
    shortname = "btlspolicy",
    category = "gateway-api",
    derive = "PartialEq",
    schema = "disabled",
    label("gateway.networking.k8s.io/policy", "Direct")
)]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicySpec {
    /// The backends, in the policy's own namespace: Services, ServiceImports or Backends, all of each or one port
    /// (`sectionName`: the name of a Service's port, the number of a Backend's). Of several policies for the same
    /// backend and port the oldest holds; one for a port goes before one for all of the backend.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = (
        "self.all(p1, self.all(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name ? ((!has(p1.sectionName) || p1.sectionName == '') == (!has(p2.sectionName) || p2.sectionName == '')) : true))",
        "references to the same target must all name a sectionName, or none of them"
    ))]
    #[x_kube(validation = (
        "self.all(p1, self.exists_one(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.sectionName) || p1.sectionName == '') && (!has(p2.sectionName) || p2.sectionName == '')) || (has(p1.sectionName) && has(p2.sectionName) && p1.sectionName == p2.sectionName))))",
        "sectionName must be unique among references to the same target"
    ))]
    pub target_refs: Vec<PolicyTargetReference>,
    /// What the backend's certificate must show.
    pub validation: BackendTlsPolicyValidation,
    /// Settings that only this implementation knows. None is known today.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub options: BTreeMap<String, AnnotationValue>,
}

/// What a backend's certificate must show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    r#"!(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0 && has(self.wellKnownCACertificates) && self.wellKnownCACertificates != "")"#,
    "caCertificateRefs and wellKnownCACertificates must not both be set"
))]
#[x_kube(validation = (
    r#"(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0 || has(self.wellKnownCACertificates) && self.wellKnownCACertificates != "")"#,
    "caCertificateRefs or wellKnownCACertificates must be set"
))]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicyValidation {
    /// Authorities that are trusted: ConfigMaps, Secrets or ClusterTrustBundles with the key `ca.crt`.
    #[serde(default, rename = "caCertificateRefs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// Trust in a set of authorities by name: `System`, those that the proxy's system trusts.
    #[serde(default, rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<WellKnownCaCertificates>,
    /// Server name to ask for (SNI). The certificate must be for it, unless `subjectAltNames` says otherwise.
    pub hostname: PreciseHostname,
    /// Names of which the certificate must have at least one, in the place of `hostname`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A name that a certificate may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    r#"!(self.type == "Hostname" && (!has(self.hostname) || self.hostname == ""))"#,
    "hostname must be set when type is Hostname"
))]
#[x_kube(validation = (
    r#"!(self.type != "Hostname" && has(self.hostname) && self.hostname != "")"#,
    "hostname must not be set when type is not Hostname"
))]
#[x_kube(validation = (
    r#"!(self.type == "URI" && (!has(self.uri) || self.uri == ""))"#,
    "uri must be set when type is URI"
))]
#[x_kube(validation = (
    r#"!(self.type != "URI" && has(self.uri) && self.uri != "")"#,
    "uri must not be set when type is not URI"
))]
#[serde(rename_all = "camelCase")]
pub struct SubjectAltName {
    /// Which of the other fields is set.
    pub type_: SubjectAltNameType,
    /// A DNS name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    /// A URI, such as a SPIFFE id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<AbsoluteUri>,
}

/// What a name in a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SubjectAltNameType {
    /// A DNS name.
    Hostname,
    /// A URI.
    #[serde(rename = "URI")]
    Uri,
}
