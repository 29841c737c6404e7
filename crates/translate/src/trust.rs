//! Authorities that are trusted: references to ConfigMaps, Secrets and ClusterTrustBundles, looked up.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ir::{Kind, ObjectRef};
use store::{
    Bundle, BundleError,
    facts::{CertificateRef, Target},
};

use crate::Reader;

/// Who refers to authorities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referrer<'a> {
    /// API group.
    pub group: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Namespace.
    pub namespace: &'a str,
}

/// Why authorities cannot be used, with a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Untrusted {
    /// A reference is to a kind that holds none.
    Kind(String),
    /// An object is not there, or holds none that can be read.
    Reference(String),
    /// A reference goes to another namespace, which does not consent.
    NotPermitted(String),
}

impl Untrusted {
    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        match self {
            Untrusted::Kind(message) | Untrusted::Reference(message) | Untrusted::NotPermitted(message) => {
                message
            }
        }
    }
}

/// The bundles that references lead to, in their order; never none. One bad reference spoils all: what it would have
/// added is unknown, and a connection must not depend on which authority happened to sign.
pub(crate) fn resolve(
    referrer: Referrer<'_>,
    references: &[CertificateRef],
    reader: &mut Reader<'_>,
) -> Result<Vec<Arc<Bundle>>, Untrusted> {
    let bundles: Vec<Arc<Bundle>> =
        each(referrer, references, reader).into_iter().collect::<Result<_, _>>()?;
    if bundles.is_empty() {
        return Err(Untrusted::Reference("caCertificateRefs is empty".to_owned()));
    }
    Ok(bundles)
}

/// What each reference leads to, in their order.
pub(crate) fn each(
    referrer: Referrer<'_>,
    references: &[CertificateRef],
    reader: &mut Reader<'_>,
) -> Vec<Result<Arc<Bundle>, Untrusted>> {
    let references = references.iter().enumerate();
    references.map(|(i, reference)| one(referrer, i, reference, reader)).collect()
}

fn one(
    referrer: Referrer<'_>,
    index: usize,
    reference: &CertificateRef,
    reader: &mut Reader<'_>,
) -> Result<Arc<Bundle>, Untrusted> {
    let field = format!("caCertificateRefs[{index}]");
    let holders = "authorities; use a ConfigMap, a Secret or a ClusterTrustBundle";
    let (target, object) = permitted(referrer, (&field, holders), reference, reader)?;
    match bundle(target, object.kind, reader) {
        None => Err(Untrusted::Reference(format!("{field}: {object} does not exist"))),
        Some(Err(error)) => Err(Untrusted::Reference(format!("{field}: {object} cannot be used: {error}"))),
        Some(Ok(bundle)) => Ok(bundle),
    }
}

/// What a reference leads to, if it may. `holders` says what can hold what is looked for.
fn permitted(
    referrer: Referrer<'_>,
    (field, holders): (&str, &str),
    reference: &CertificateRef,
    reader: &mut Reader<'_>,
) -> Result<(Target, ObjectRef), Untrusted> {
    let Some(target) = reference.target else {
        return Err(Untrusted::Kind(format!(
            "{field}: {} {} of group {:?} cannot hold {holders}",
            reference.kind, reference.name, reference.group
        )));
    };
    let object = reader.object(target.id);
    let own = object.namespace.is_empty() || *object.namespace == *referrer.namespace;
    if !own && !reader.granted((referrer.group, referrer.kind), referrer.namespace, target) {
        return Err(Untrusted::NotPermitted(format!(
            "{field}: no ReferenceGrant in namespace {} permits objects of kind {} in namespace {} to use {object}",
            object.namespace, referrer.kind, referrer.namespace
        )));
    }
    Ok((target, object))
}

/// The lists of revoked certificates that references lead to, as one text. One bad reference spoils all: nobody knows
/// whom it would have turned away.
pub(crate) fn revocations(
    referrer: Referrer<'_>,
    references: &[CertificateRef],
    reader: &mut Reader<'_>,
) -> Result<Bytes, Untrusted> {
    let now = reader.now();
    let mut text = BytesMut::new();
    for (index, reference) in references.iter().enumerate() {
        let field = format!("refs[{index}]");
        let holders = "lists of revoked certificates; use a ConfigMap or a Secret";
        let (target, object) = permitted(referrer, (&field, holders), reference, reader)?;
        let lists = match object.kind {
            Kind::ConfigMap => reader.config_map(target.id).map(|map| map.revocations.clone()),
            Kind::Secret => reader.secret(target.id).map(store::facts::Secret::revocations),
            kind => {
                let message = format!("{field}: a {kind} cannot hold {holders}");
                return Err(Untrusted::Kind(message));
            }
        };
        let unusable = |why: &dyn std::fmt::Display| {
            Untrusted::Reference(format!("{field}: {object} cannot be used: {why}"))
        };
        let lists = match lists {
            None => return Err(Untrusted::Reference(format!("{field}: {object} does not exist"))),
            Some(lists) => lists.map_err(|error| unusable(&error))?,
        };
        if let Some(why) = lists.invalid(now) {
            return Err(unusable(&why));
        }
        text.extend_from_slice(&lists.pem);
    }
    Ok(text.freeze())
}

fn bundle(target: Target, kind: Kind, reader: &mut Reader<'_>) -> Option<Result<Arc<Bundle>, BundleError>> {
    match kind {
        Kind::ConfigMap => reader.config_map(target.id).map(|map| map.bundle.clone()),
        Kind::Secret => reader.secret(target.id).map(store::facts::Secret::bundle),
        _ => reader.cluster_trust_bundle(target.id).map(|object| object.bundle.clone()),
    }
}

/// The bundles as one.
pub(crate) fn pem(bundles: &[Arc<Bundle>]) -> Bytes {
    match bundles {
        [only] => only.pem.clone(),
        _ => {
            let mut text = BytesMut::new();
            for (i, bundle) in bundles.iter().enumerate() {
                if i > 0 {
                    text.extend_from_slice(b"\n");
                }
                text.extend_from_slice(&bundle.pem);
            }
            text.freeze()
        }
    }
}
