//! Facts of Secret, ConfigMap and Namespace.

use std::{collections::BTreeMap, sync::Arc};

use ir::SecretBytes;

use super::Meta;
use crate::{
    Bundle, BundleError, Certificate, CertificateError, Revocations, RevocationsError, bundle, certificate,
    crl,
};

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
    /// The authorities in it, read once; `None` for those of a certificate of its own, which few ask for.
    pub(crate) bundle: Option<Result<Arc<Bundle>, BundleError>>,
    /// The lists of revoked certificates in it, read once; `None` for those of a certificate, which few ask for.
    pub(crate) revocations: Option<Result<Arc<Revocations>, RevocationsError>>,
}

impl Secret {
    /// The certificate in it with its key, whatever the Secret's type.
    pub fn pair(&self) -> Result<Arc<Certificate>, CertificateError> {
        self.certificate.clone().unwrap_or_else(|| certificate::parse(&self.data).map(Arc::new))
    }

    /// The lists of revoked certificates in it.
    pub fn revocations(&self) -> Result<Arc<Revocations>, RevocationsError> {
        self.revocations.clone().unwrap_or_else(|| crl::of_secret(&self.data))
    }

    /// The authorities in it.
    pub fn bundle(&self) -> Result<Arc<Bundle>, BundleError> {
        self.bundle.clone().unwrap_or_else(|| bundle::of_secret(&self.data))
    }
}

/// What is kept of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMap {
    /// Common part.
    pub meta: Meta,
    /// `data`, by key.
    pub data: BTreeMap<Arc<str>, Arc<str>>,
    /// What is text of `binaryData`, by key.
    pub binary: BTreeMap<Arc<str>, Arc<str>>,
    /// The authorities in it, read once.
    pub bundle: Result<Arc<Bundle>, BundleError>,
    /// The lists of revoked certificates in it, read once.
    pub revocations: Result<Arc<Revocations>, RevocationsError>,
}

/// What is kept of a Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Common part.
    pub meta: Meta,
    /// Labels; `kubernetes.io/metadata.name` is always there, as an API server sees to.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}
