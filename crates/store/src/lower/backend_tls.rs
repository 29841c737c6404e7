//! TLS towards backends, and what it trusts.

use std::sync::Arc;

use ir::{
    Kind,
    tls::{SubjectAltName, TlsParameters, TlsVersion},
};

use super::{Lowering, text};
use crate::{
    bundle,
    facts::{BackendTls, BackendTlsPolicy, CertificateRef, ClientTls, ClusterTrustBundle, Trust},
};

impl Lowering<'_> {
    pub(super) fn backend_tls_policy(&mut self, policy: &api::BackendTlsPolicy) -> BackendTlsPolicy {
        let validation = &policy.spec.validation;
        let well_known = validation.well_known_ca_certificates.as_deref();
        BackendTlsPolicy {
            meta: self.meta(Kind::BackendTlsPolicy, &policy.metadata),
            targets: (policy.spec.target_refs.iter())
                .filter_map(|target| self.policy_target(target))
                .collect(),
            // The schema sees to it that one of the two is there.
            trust: self
                .trust(&validation.ca_certificate_refs, well_known)
                .unwrap_or(Trust::Authorities([].into())),
            hostname: text(&validation.hostname),
            names: (validation.subject_alt_names.iter())
                .filter_map(|name| match name.type_ {
                    api::SubjectAltNameType::Hostname => {
                        name.hostname.as_deref().map(|name| SubjectAltName::Dns(text(name)))
                    }
                    api::SubjectAltNameType::Uri => {
                        name.uri.as_deref().map(|uri| SubjectAltName::Uri(text(uri)))
                    }
                })
                .collect(),
        }
    }

    /// Whose certificates are trusted; `None` when neither is given.
    pub(super) fn trust(
        &mut self,
        references: &[api::LocalObjectReference],
        well_known: Option<&str>,
    ) -> Option<Trust> {
        match well_known.filter(|name| !name.is_empty()) {
            Some("System") => Some(Trust::System),
            Some(other) => Some(Trust::Other(text(other))),
            None if references.is_empty() => None,
            None => Some(Trust::Authorities(
                references.iter().map(|r| self.authority(&r.group, &r.kind, None, &r.name)).collect(),
            )),
        }
    }

    /// A reference to an object that holds authorities.
    pub(super) fn authority(
        &mut self,
        group: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> CertificateRef {
        let target = match (group, kind) {
            ("", "ConfigMap") => Some(Kind::ConfigMap),
            ("", "Secret") => Some(Kind::Secret),
            // Envoy Gateway does not look at the group, and manifests of its users leave it empty.
            ("" | ir::object::CERTIFICATES_GROUP, "ClusterTrustBundle") => Some(Kind::ClusterTrustBundle),
            _ => None,
        };
        CertificateRef {
            group: text(group),
            kind: text(kind),
            namespace: namespace.map(text),
            name: text(name),
            target: target.map(|kind| self.target(kind, namespace, name)),
        }
    }

    pub(super) fn backend_tls(&mut self, tls: &api::BackendTlsSettings) -> BackendTls {
        BackendTls {
            trust: self.trust(&tls.ca_certificate_refs, tls.well_known_ca_certificates.as_deref()),
            insecure: tls.insecure_skip_verify,
            sni: tls.sni.as_deref().map(text),
            sni_of_endpoint: tls.auto_sni_from_endpoint_hostname,
            client: ClientTls {
                certificate: tls.client_certificate_ref.as_ref().map(|r| self.certificate_ref(r)),
                parameters: TlsParameters {
                    min: tls.min_version.map(version),
                    max: tls.max_version.map(version),
                    ciphers: texts(&tls.ciphers),
                    curves: texts(&tls.ecdh_curves),
                    signature_algorithms: texts(&tls.signature_algorithms),
                },
                alpn: tls.alpn_protocols.as_deref().map(texts),
            },
        }
    }

    pub(super) fn cluster_trust_bundle(&mut self, object: &api::ClusterTrustBundle) -> ClusterTrustBundle {
        ClusterTrustBundle {
            meta: self.meta(Kind::ClusterTrustBundle, &object.metadata),
            bundle: bundle::read(object.spec.trust_bundle.as_bytes()),
        }
    }
}

fn version(version: api::TlsVersion) -> TlsVersion {
    match version {
        api::TlsVersion::Auto => TlsVersion::Auto,
        api::TlsVersion::V1_0 => TlsVersion::V1_0,
        api::TlsVersion::V1_1 => TlsVersion::V1_1,
        api::TlsVersion::V1_2 => TlsVersion::V1_2,
        api::TlsVersion::V1_3 => TlsVersion::V1_3,
    }
}

fn texts(list: &[String]) -> Box<[Arc<str>]> {
    list.iter().map(|item| text(item)).collect()
}
