//! Facts of policies, of whatever kind.

use std::{collections::BTreeMap, sync::Arc};

use ir::Kind;
use serde_json::Value;

use super::{CertificateRef, LabelSelector, Meta, Target};
use crate::{NameId, ObjectId};

/// What is kept of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Common part.
    pub meta: Meta,
    /// `targetRef`, else `targetRefs`, in order; without those of kinds that are not read.
    pub targets: Box<[PolicyTarget]>,
    /// `targetSelectors`, in order; without those of kinds that are not read.
    pub selectors: Box<[TargetSelector]>,
    /// True when it was `targetRef`, which is deprecated.
    pub by_target_ref: bool,
    /// `mergeType`.
    pub merge: Option<MergeType>,
    /// `spec` as JSON without its targets, because that is what is merged: a typed form has lost what was left unset.
    pub document: Arc<Value>,
    /// ConfigMaps with bodies of responses that it refers to.
    pub references: Box<[Target]>,
    /// Authorities of clients that it refers to, in order.
    pub authorities: Box<[CertificateRef]>,
    /// Lists of revoked certificates that it refers to, in order.
    pub revocations: Box<[CertificateRef]>,
}

/// An object that a policy names, in the policy's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyTarget {
    /// The object, which may be absent.
    pub object: ObjectId,
    /// `sectionName`: listener, rule, name of a Service's port or number of a Backend's; `None` for the whole object.
    pub section: Option<Arc<str>>,
}

/// Objects that a policy chooses by their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSelector {
    /// Their kind.
    pub kind: Kind,
    /// Their namespaces.
    pub namespaces: SelectedNamespaces,
    /// Their labels.
    pub labels: LabelSelector,
}

/// Namespaces in which a selector chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectedNamespaces {
    /// The policy's own.
    Same,
    /// All.
    All,
    /// Those whose labels match; `None` when no selector was given, which matches nothing.
    Selector(Option<LabelSelector>),
}

/// How a policy goes together with one of a broader scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeType {
    /// Kubernetes' strategic merge.
    Strategic,
    /// JSON merge patch (RFC 7396).
    Json,
}

/// What selectors of policies look at: a Gateway, ListenerSet or route with its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selectable {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: NameId,
    /// The Namespace object it lives in, whether or not it is known.
    pub namespace_object: ObjectId,
    /// `metadata.labels`.
    pub labels: Arc<BTreeMap<Arc<str>, Arc<str>>>,
}
