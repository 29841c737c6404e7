//! What proxies are given by SDS: certificates with their keys, and authorities that they trust.

use std::sync::Arc;

use bytes::Bytes;
use ir::{
    Kind,
    secret::{Authorities, AuthoritiesSource, Revocations, SYSTEM_AUTHORITIES, TlsCertificate},
};
use store::{
    ObjectId,
    facts::{CertificateRef, Trust},
};

use crate::{Reader, backend_tls, gateway::frontend, policy::client_traffic, trust};

/// Something that SDS serves. Every listener and cluster that needs it shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretKey {
    /// The certificate in a Secret, with its key.
    Certificate(ObjectId),
    /// The authorities that a BackendTLSPolicy, a Backend or a ClientTrafficPolicy trusts. Lists of revoked certificates are
    /// those of the same policy, or of the ClientTrafficPolicy that is merged with it.
    Authorities(ObjectId, Option<ObjectId>),
    /// The authorities that clients of a Gateway must have their certificates from: on a port, or on all that have none
    /// of their own.
    Clients(ObjectId, Option<u16>),
    /// The authorities that the proxy's system trusts.
    System,
}

/// What is served under a key.
#[derive(Clone, Debug)]
pub enum Served {
    /// A certificate.
    Certificate(TlsCertificate),
    /// Authorities.
    Authorities(Authorities),
}

/// The name in xDS.
pub(crate) fn name(key: SecretKey, reader: &mut Reader<'_>) -> Arc<str> {
    match key {
        SecretKey::Certificate(id) => {
            let object = reader.object(id);
            format!("{}/{}", object.namespace, object.name).into()
        }
        SecretKey::Authorities(id, lists) if reader.kind(id) == Some(Kind::ClientTrafficPolicy) => {
            client_traffic::name_of_authorities(id, lists, reader)
        }
        SecretKey::Authorities(id, _) => {
            let object = reader.object(id);
            let (namespace, name) = (&object.namespace, &object.name);
            // Envoy Gateway names both alike, so that one of two with the same name is served for the other.
            let namesake = reader.backend(id).map(|backend| backend.namesake);
            if namesake.is_some_and(|policy| reader.backend_tls_policy(policy).is_some()) {
                format!("backend/{name}/{namespace}-ca").into()
            } else {
                format!("{name}/{namespace}-ca").into()
            }
        }
        SecretKey::Clients(id, port) => {
            let object = reader.object(id);
            let part = port.map_or("default".to_owned(), |port| port.to_string());
            format!("gateway/{}/{}/{part}/ca.crt", object.namespace, object.name).into()
        }
        SecretKey::System => SYSTEM_AUTHORITIES.into(),
    }
}

/// What is served under a key; `None` when there is nothing that can be.
pub fn unit(key: SecretKey, reader: &mut Reader<'_>) -> Option<Served> {
    let name = name(key, reader);
    match key {
        SecretKey::Certificate(id) => {
            let certificate = reader.secret(id)?.pair().ok()?;
            Some(Served::Certificate(TlsCertificate {
                name,
                chain: certificate.chain.clone(),
                key: certificate.key.clone(),
                ocsp_staple: certificate.ocsp_staple.clone(),
                owner: reader.object(id),
            }))
        }
        SecretKey::Authorities(id, lists) if reader.kind(id) == Some(Kind::ClientTrafficPolicy) => {
            let policy = reader.policy(id)?.clone();
            let other = lists.and_then(|id| reader.policy(id)).cloned();
            let with_lists = other.as_ref().unwrap_or(&policy);
            let (pem, revocations) = client_traffic::authorities(&policy, with_lists, reader)?;
            let references = policy.authorities.iter().chain(&with_lists.revocations);
            let owners = std::iter::once(id).chain(lists);
            Some(inline((name, revocations), owners, references, pem, reader))
        }
        SecretKey::Authorities(id, _) => {
            let trust = match reader.kind(id)? {
                Kind::BackendTlsPolicy => &reader.backend_tls_policy(id)?.trust,
                _ => reader.backend(id)?.tls.as_ref()?.trust.as_ref()?,
            };
            let Trust::Authorities(references) = trust else { return None };
            let pem = backend_tls::authorities(id, references, reader).ok()?;
            Some(inline((name, None), [id], references.iter(), pem, reader))
        }
        SecretKey::Clients(id, port) => {
            let gateway = reader.gateway(id)?;
            let validation = gateway.tls.as_ref()?.frontend.as_ref()?.of(port)?;
            let bundles = frontend::usable(id, validation, reader);
            let pem = Some(trust::pem(&bundles)).filter(|pem| !pem.is_empty())?;
            Some(inline((name, None), [id], validation.authorities.iter(), pem, reader))
        }
        SecretKey::System => Some(Served::Authorities(Authorities {
            name,
            source: AuthoritiesSource::File(reader.settings().system_authorities.clone()),
            revocations: None,
            owners: [].into(),
        })),
    }
}

/// Authorities that objects refer to. These and what they refer to own them.
fn inline<'a>(
    (name, revocations): (Arc<str>, Option<Revocations>),
    referrers: impl IntoIterator<Item = ObjectId>,
    references: impl Iterator<Item = &'a CertificateRef>,
    pem: Bytes,
    reader: &Reader<'_>,
) -> Served {
    let sources = references.filter_map(|r| r.target).map(|target| reader.object(target.id));
    let owners = referrers.into_iter().map(|id| reader.object(id)).chain(sources).collect();
    Served::Authorities(Authorities { name, source: AuthoritiesSource::Inline(pem), revocations, owners })
}
