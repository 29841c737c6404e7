//! Facts of Secret, ConfigMap and Namespace.

use std::{collections::BTreeMap, sync::Arc};

use ir::SecretBytes;

use super::Meta;
use crate::{Certificate, CertificateError};

/// What is kept of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Common part.
    pub meta: Meta,
    /// `type`.
    pub kind: Arc<str>,
    /// `data`, by key.
    pub data: BTreeMap<Arc<str>, SecretBytes>,
    /// The certificate in it, read once; `None` when the Secret is not of type `kubernetes.io/tls`.
    pub certificate: Option<Result<Arc<Certificate>, CertificateError>>,
}

/// What is kept of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMap {
    /// Common part.
    pub meta: Meta,
    /// `data`, by key.
    pub data: BTreeMap<Arc<str>, Arc<str>>,
}

/// What is kept of a Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Common part.
    pub meta: Meta,
    /// Labels; `kubernetes.io/metadata.name` is always there, as an API server sees to.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}
