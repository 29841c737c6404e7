//! TLS towards one backend: what BackendTLSPolicy, Backend and the Gateway say about it, put together. The one place
//! that decides it, whichever kind of route or policy refers to the backend.

use std::sync::Arc;

use bytes::Bytes;
use ir::{
    ObjectRef,
    tls::{SubjectAltName, TlsParameters, TlsVersion, UpstreamTls, Verification},
};
use store::{
    ObjectId,
    facts::{self, BackendTlsPolicy, CertificateRef, ClientTls, Trust},
};

use crate::{
    Reader,
    secret::{self, SecretKey},
    trust::{self, Referrer, Untrusted},
};

/// Reason of a backend that cannot be reached over TLS as it should be.
pub(crate) const INVALID_BACKEND_TLS: &str = "InvalidBackendTLS";

/// TLS towards one backend, whichever Gateway uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// The authorities that are trusted; `None` when the backend's certificate is not looked at.
    pub authorities: Option<SecretKey>,
    /// Names of which the certificate must have one.
    pub names: Box<[SubjectAltName]>,
    /// Server name to ask for.
    pub sni: Option<Arc<str>>,
    /// Asks for the endpoint's own host name.
    pub sni_of_endpoint: bool,
    /// The proxy's own side, as far as the Backend says.
    pub client: ClientSide,
    /// The policy that had a say in it.
    pub policy: Option<ObjectId>,
}

/// The proxy's own side of TLS towards backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSide {
    /// The Secret with the certificate that is shown.
    pub certificate: Option<ObjectId>,
    /// What a handshake may agree on.
    pub parameters: TlsParameters,
    /// Protocols to offer; `None` for those of the cluster's HTTP versions.
    pub alpn: Option<Box<[Arc<str>]>>,
    /// Why the certificate that should be shown cannot be.
    pub broken: Option<Broken>,
}

/// A certificate that should be shown to backends and cannot be. Copies of requests never go without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// A sentence.
    pub message: Arc<str>,
    /// True when requests and connections do not go without it either. They do, as with Envoy Gateway, when it is the
    /// Gateway itself that names it: its condition tells.
    pub refuses: bool,
}

/// A backend cannot be reached as it is told to be.
#[derive(Clone, Debug)]
pub(crate) struct Unusable {
    /// A sentence.
    pub message: String,
    /// The policy that had a say in it.
    pub policy: Option<ObjectId>,
}

/// TLS towards a Service, ServiceImport or Backend; `None` for plain text. `section` is the name of the port, for a
/// Backend its number.
///
/// What a policy says goes before what the Backend says, field by field, but for `insecureSkipVerify`, which a policy
/// has no word for.
pub(crate) fn of(
    target: ObjectId,
    section: Option<&str>,
    reader: &mut Reader<'_>,
) -> Result<Option<Arc<BackendTls>>, Unusable> {
    let policy = policy_of(target, section, reader);
    let id = policy.map(|policy| policy.meta.id);
    let own = reader.backend(target).and_then(|backend| backend.tls.as_ref());
    if policy.is_none() && own.is_none() {
        return Ok(None);
    }
    let unusable = |message: String| Unusable { message, policy: id };
    let of_backend = match own {
        Some(own) => usable(target, own, reader).map_err(unusable)?,
        None => None,
    };
    let of_policy = match policy {
        Some(policy) => Some(usable_policy(policy, reader).map_err(|untrusted| {
            unusable(format!("{}: {}", reader.object(policy.meta.id), untrusted.message()))
        })?),
        None => None,
    };
    let insecure = own.is_some_and(|own| own.insecure);
    let authorities = of_policy.or(of_backend).filter(|_| !insecure);
    if authorities.is_none() && !insecure {
        return Err(unusable(format!(
            "{}: tls.caCertificateRefs or tls.wellKnownCACertificates must be set, here or by a BackendTLSPolicy for the port",
            reader.object(target)
        )));
    }
    let client = match own {
        Some(own) => client_side(&own.client, &reader.object(target), reader).map_err(unusable)?,
        None => ClientSide::default(),
    };
    let sni = policy.map(|policy| &policy.hostname).or(own.and_then(|own| own.sni.as_ref()));
    let names = match policy {
        Some(policy) => policy.names.clone(),
        None => [].into(),
    };
    Ok(Some(Arc::new(BackendTls {
        authorities,
        names,
        sni_of_endpoint: sni.is_none() && own.is_some_and(|own| own.sni_of_endpoint),
        sni: sni.cloned(),
        client,
        policy: id,
    })))
}

/// The policy for a backend: the oldest for the port, else the oldest for all of it.
pub fn policy_of<'a>(
    target: ObjectId,
    section: Option<&str>,
    reader: &mut Reader<'a>,
) -> Option<&'a BackendTlsPolicy> {
    let policies = reader.backend_tls_policies_of(target);
    let find = |section: Option<&str>| {
        (policies.iter().copied()).find(|policy| {
            policy.targets.iter().any(|t| t.object == target && t.section.as_deref() == section)
        })
    };
    section.and_then(|section| find(Some(section))).or_else(|| find(None))
}

/// The authorities that a Backend trusts.
fn usable(
    id: ObjectId,
    tls: &facts::BackendTls,
    reader: &mut Reader<'_>,
) -> Result<Option<SecretKey>, String> {
    if tls.insecure {
        return Ok(None);
    }
    let Some(of_backend) = &tls.trust else { return Ok(None) };
    trusted(id, of_backend, reader)
        .map(Some)
        .map_err(|untrusted| format!("{}: tls.{}", reader.object(id), untrusted.message()))
}

/// The authorities that a policy trusts, or why it is of no use.
pub(crate) fn usable_policy(
    policy: &BackendTlsPolicy,
    reader: &mut Reader<'_>,
) -> Result<SecretKey, Untrusted> {
    trusted(policy.meta.id, &policy.trust, reader)
}

fn trusted(id: ObjectId, trust: &Trust, reader: &mut Reader<'_>) -> Result<SecretKey, Untrusted> {
    match trust {
        Trust::System => Ok(SecretKey::System),
        Trust::Other(name) => Err(Untrusted::Reference(format!(
            "wellKnownCACertificates: {name} is not known here; the only set by name is System"
        ))),
        Trust::Authorities(references) => {
            authorities(id, references, reader).map(|_| SecretKey::Authorities(id, None))
        }
    }
}

/// The text of the authorities that a policy or Backend refers to. Its references have no namespace, so all lead to its
/// own.
pub(crate) fn authorities(
    id: ObjectId,
    references: &[CertificateRef],
    reader: &mut Reader<'_>,
) -> Result<Bytes, Untrusted> {
    let object = reader.object(id);
    let (group, kind) = (object.kind.group(), object.kind.name());
    let referrer = Referrer { group, kind, namespace: &object.namespace };
    trust::resolve(referrer, references, reader).map(|bundles| trust::pem(&bundles))
}

/// The proxy's own side as an object gives it; its certificate must be of the object's namespace.
pub(crate) fn client_side(
    client: &ClientTls,
    owner: &ObjectRef,
    reader: &mut Reader<'_>,
) -> Result<ClientSide, String> {
    let certificate = match &client.certificate {
        Some(reference) => Some(client_certificate(reference, owner, reader)?),
        None => None,
    };
    Ok(ClientSide {
        certificate,
        parameters: client.parameters.clone(),
        alpn: client.alpn.clone(),
        broken: None,
    })
}

/// The Secret with a client certificate.
pub(crate) fn client_certificate(
    reference: &CertificateRef,
    owner: &ObjectRef,
    reader: &mut Reader<'_>,
) -> Result<ObjectId, String> {
    let Some(target) = reference.target else {
        return Err(format!(
            "clientCertificateRef: {} {} of group {:?} is no Secret",
            reference.kind, reference.name, reference.group
        ));
    };
    let secret = reader.object(target.id);
    if secret.namespace != owner.namespace {
        return Err(format!("clientCertificateRef: {secret} is not in the namespace of {owner}"));
    }
    usable_certificate(target.id, reader).map_err(|message| format!("clientCertificateRef: {message}"))
}

/// A Secret whose certificate Envoy takes, whatever the Secret's type. Whether it is valid in time is the backend's to
/// judge.
pub(crate) fn usable_certificate(id: ObjectId, reader: &mut Reader<'_>) -> Result<ObjectId, String> {
    let object = reader.object(id);
    let Some(secret) = reader.secret(id) else { return Err(format!("{object} does not exist")) };
    let refused = match secret.pair() {
        Ok(certificate) => certificate.refused_by_envoy(),
        Err(error) => Some(error.to_string()),
    };
    refused.map_or(Ok(id), |reason| Err(format!("{object} cannot be used: {reason}")))
}

/// TLS as a cluster has it: the Backend's own side over that of the Gateway, field by field. Also what SDS must serve
/// for it.
pub(crate) fn upstream(
    tls: &BackendTls,
    of_gateway: &ClientSide,
    reader: &mut Reader<'_>,
) -> (UpstreamTls, Vec<SecretKey>) {
    let (own, broad) = (&tls.client, of_gateway);
    let list = |of: fn(&TlsParameters) -> &Box<[Arc<str>]>| {
        let narrow = of(&own.parameters);
        if narrow.is_empty() { of(&broad.parameters).clone() } else { narrow.clone() }
    };
    let certificate = own.certificate.or(broad.certificate).map(SecretKey::Certificate);
    let verification = tls.authorities.map(|key| Verification {
        authorities: secret::name(key, reader),
        names: match (&tls.sni, &*tls.names) {
            (Some(sni), []) => [SubjectAltName::Dns(sni.clone())].into(),
            (_, names) => names.into(),
        },
    });
    let upstream = UpstreamTls {
        sni: tls.sni.clone(),
        sni_of_endpoint: tls.sni_of_endpoint,
        verification,
        certificate: certificate.map(|key| secret::name(key, reader)),
        parameters: TlsParameters {
            min: own.parameters.min.or(broad.parameters.min).or(Some(TlsVersion::V1_2)),
            max: own.parameters.max.or(broad.parameters.max).or(Some(TlsVersion::V1_3)),
            ciphers: list(|p| &p.ciphers),
            curves: list(|p| &p.curves),
            signature_algorithms: list(|p| &p.signature_algorithms),
        },
        alpn: own.alpn.clone().or_else(|| broad.alpn.clone()),
    };
    (upstream, tls.authorities.into_iter().chain(certificate).collect())
}

/// True when some policy gives a Backend the authorities that its own `tls` leaves open: one for all of it, or one for
/// each of its ports.
pub(crate) fn completed_by_policies(backend: &facts::Backend, reader: &mut Reader<'_>) -> bool {
    let id = backend.meta.id;
    let policies = reader.backend_tls_policies_of(id);
    let sections: Vec<Option<&str>> = (policies.iter().flat_map(|policy| policy.targets.iter()))
        .filter(|target| target.object == id)
        .map(|target| target.section.as_deref())
        .collect();
    let ports = backend.ports();
    sections.contains(&None)
        || (!ports.is_empty() && ports.iter().all(|port| sections.contains(&Some(port.to_string().as_str()))))
}
