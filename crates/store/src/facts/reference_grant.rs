//! Facts of ReferenceGrant.

use std::sync::Arc;

use super::Meta;

/// What is kept of a ReferenceGrant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceGrant {
    /// Common part; its namespace is the one that grants.
    pub meta: Meta,
    /// `spec.from`.
    pub from: Box<[GrantFrom]>,
    /// `spec.to`.
    pub to: Box<[GrantTo]>,
}

/// Who may refer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantFrom {
    /// API group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
}

/// What may be referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantTo {
    /// API group; empty for core.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Name; `None` for all of the kind.
    pub name: Option<Arc<str>>,
}
