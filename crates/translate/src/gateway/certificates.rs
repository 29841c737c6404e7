//! `certificateRefs` of a listener: permitted, present, usable.

use std::sync::Arc;

use ir::ObjectRef;
use store::{
    ObjectId,
    facts::{CertificateRef, ListenerTls},
};

use super::Owner;
use crate::{Finding, Reader};

/// A certificate that a listener can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The Secret.
    pub id: ObjectId,
    /// Name in xDS: `<namespace>/<name>` of the Secret.
    pub xds_name: Arc<str>,
    /// Index of the first reference to it in `certificateRefs`.
    pub reference: usize,
    /// What a person should know about it although it is served.
    pub weakness: Option<String>,
    /// DNS names among its alternative names that clients find hosts by, lower case.
    pub alternative_names: Box<[Arc<str>]>,
}

/// The certificates that can be served, and what is wrong with the others.
///
/// Some good and some bad certificates: the listener serves the good ones and says so
/// (`PartiallyInvalidCertificateRef`). None good: `RefNotPermitted` when every reference lacks a grant, otherwise
/// `InvalidCertificateRef`.
pub(super) fn resolve(
    owner: &Owner<'_>,
    tls: &ListenerTls,
    reader: &mut Reader<'_>,
) -> (Vec<Certificate>, Option<Finding>) {
    let object = owner.object;
    let mut served: Vec<Certificate> = Vec::new();
    let mut seen: Vec<&store::Certificate> = Vec::new();
    let mut problems: Vec<(&'static str, String)> = Vec::new();
    for (i, reference) in tls.certificates.iter().enumerate() {
        match resolve_one(owner, reference, reader) {
            Ok((id, certificate)) => {
                if seen.iter().any(|other| other.conflicts_with(certificate)) {
                    problems.push((
                        "InvalidCertificateRef",
                        format!(
                            "certificateRefs[{i}]: {} has the same key algorithm and names as an earlier certificate of the listener",
                            described(reference, object)
                        ),
                    ));
                    continue;
                }
                seen.push(certificate);
                let secret = reader.object(id);
                served.push(Certificate {
                    id,
                    reference: i,
                    weakness: certificate.weakness().map(|text| format!("{secret}: {text}")),
                    xds_name: format!("{}/{}", secret.namespace, secret.name).into(),
                    alternative_names: certificate.alternative_names.clone(),
                });
            }
            Err((reason, message)) => problems.push((reason, format!("certificateRefs[{i}]: {message}"))),
        }
    }
    let finding = (!problems.is_empty()).then(|| {
        let reason = if !served.is_empty() {
            "PartiallyInvalidCertificateRef"
        } else if problems.iter().all(|(reason, _)| *reason == "RefNotPermitted") {
            "RefNotPermitted"
        } else {
            "InvalidCertificateRef"
        };
        let messages: Vec<String> = problems.into_iter().map(|(_, message)| message).collect();
        Finding::new(".tls.certificateRefs", reason, messages.join("; "))
    });
    (served, finding)
}

fn resolve_one<'a>(
    owner: &Owner<'_>,
    reference: &CertificateRef,
    reader: &mut Reader<'a>,
) -> Result<(ObjectId, &'a store::Certificate), (&'static str, String)> {
    let object = owner.object;
    let Some(target) = reference.target else {
        return Err((
            "InvalidCertificateRef",
            format!(
                "{} is not a Secret; only core Secrets can hold a certificate",
                described(reference, object)
            ),
        ));
    };
    if target.namespace != owner.meta.namespace
        && !reader.granted((object.kind.group(), object.kind.name()), &object.namespace, target)
    {
        return Err((
            "RefNotPermitted",
            format!(
                "{} is in another namespace and no ReferenceGrant there permits {}s of namespace {} to use it",
                described(reference, object),
                object.kind,
                object.namespace
            ),
        ));
    }
    let Some(secret) = reader.secret(target.id) else {
        return Err(("InvalidCertificateRef", format!("{} does not exist", described(reference, object))));
    };
    match &secret.certificate {
        Some(Ok(certificate)) => match certificate.validity(reader.now()) {
            store::Validity::Valid => match certificate.refused_for_listeners() {
                None => Ok((target.id, certificate)),
                Some(reason) => Err((
                    "InvalidCertificateRef",
                    format!("{} cannot be used: {reason}", described(reference, object)),
                )),
            },
            invalid => Err((
                "InvalidCertificateRef",
                format!("{} cannot be used: {invalid}", described(reference, object)),
            )),
        },
        Some(Err(error)) => Err((
            "InvalidCertificateRef",
            format!("{} cannot be used: {error}", described(reference, object)),
        )),
        None => Err((
            "InvalidCertificateRef",
            format!(
                "{} is of type {:?}; a certificate needs type kubernetes.io/tls",
                described(reference, object),
                secret.kind
            ),
        )),
    }
}

/// `Secret default/shop-tls`.
fn described(reference: &CertificateRef, object: &ObjectRef) -> String {
    let namespace = reference.namespace.as_ref().unwrap_or(&object.namespace);
    format!("{} {}/{}", reference.kind, namespace, reference.name)
}
