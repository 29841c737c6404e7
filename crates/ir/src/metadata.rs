//! What the resources of a proxy say about where they came from (`filter_metadata["envoy-gateway"]`).

use std::sync::Arc;

use crate::ObjectRef;

/// A Kubernetes object, and the part of it, that an xDS resource stands for. Access logs and extensions read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// The object.
    pub object: ObjectRef,
    /// Listener name, rule name or port of the part; `None` for the whole.
    pub section: Option<Arc<str>>,
    /// Annotations under `gateway.envoyproxy.io/`, that prefix cut off, ascending by key.
    pub annotations: Arc<[(Arc<str>, Arc<str>)]>,
}
