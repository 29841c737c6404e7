//! Kubernetes' own kinds. Their types are k8s-openapi's, except for Secret, whose contents must not be printed.

use std::{collections::BTreeMap, fmt, ops::Deref, sync::Arc};

use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Deserialize, Deserializer};

pub use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace as CoreNamespace, Service, ServicePort, ServiceSpec},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
};

/// Annotation in which `kubectl apply` keeps the whole object, contents of Secrets included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Bytes that must stay secret: `Debug` tells their number, and nothing serializes them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecretBytes(Arc<[u8]>);

impl SecretBytes {
    /// The bytes themselves. Take care where they go.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, shared. Take care where they go.
    pub fn shared(&self) -> Arc<[u8]> {
        Arc::clone(&self.0)
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        SecretBytes(bytes.into())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} secret bytes>", self.0.len())
    }
}

/// Authorities that may be trusted in the whole cluster. The type is our own because `v1alpha1` and `v1beta1`, which are
/// alike, are both read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ClusterTrustBundle {
    /// Name, labels and so on.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The authorities.
    pub spec: ClusterTrustBundleSpec,
}

/// Authorities, and who vouches for them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTrustBundleSpec {
    /// The signer that the authorities belong to, if any.
    #[serde(default)]
    pub signer_name: Option<String>,
    /// The authorities' certificates as PEM.
    pub trust_bundle: String,
}

/// Certificates and credentials. It can be read from a document but not written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Secret {
    /// Name, labels and so on, without the annotation in which kubectl keeps a copy of the contents.
    pub metadata: ObjectMeta,
    /// Type, such as `kubernetes.io/tls`; `Opaque` when the document has none.
    pub type_: String,
    /// Contents by key: `data`, over which `stringData` goes.
    pub data: SecretData,
}

/// Contents of a Secret by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecretData(pub BTreeMap<String, SecretBytes>);

impl Deref for SecretData {
    type Target = BTreeMap<String, SecretBytes>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let secret = k8s_openapi::api::core::v1::Secret::deserialize(deserializer)?;
        Ok(Secret::from(secret))
    }
}

impl From<k8s_openapi::api::core::v1::Secret> for Secret {
    fn from(secret: k8s_openapi::api::core::v1::Secret) -> Self {
        let mut metadata = secret.metadata;
        if let Some(annotations) = &mut metadata.annotations {
            annotations.remove(LAST_APPLIED);
        }
        let data = secret.data.into_iter().flatten().map(|(key, ByteString(bytes))| (key, bytes.into()));
        let text =
            secret.string_data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes().into()));
        Secret {
            metadata,
            type_: secret.type_.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "Opaque".to_owned()),
            data: SecretData(data.chain(text).collect()),
        }
    }
}
