//! Rendered objects.

use std::sync::Arc;

use serde_json::Value;

/// The objects of one fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// Name of the fleet.
    pub fleet: Arc<str>,
    /// Namespace of all its objects.
    pub namespace: String,
    /// The objects, in the order in which they are to be applied.
    pub objects: Vec<RenderedObject>,
    /// The Service by which the Gateway is known in its own namespace, where that is another one.
    pub alias: Option<RenderedObject>,
}

/// One object, complete for server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedObject {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The document: `apiVersion`, `kind`, `metadata` and the rest.
    pub body: Value,
}

/// A kind of object that runs proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// Who the Pods are to the API server.
    ServiceAccount,
    /// Files that tell Envoy where its certificates are.
    ConfigMap,
    /// Where traffic enters.
    Service,
    /// The Pods, by number.
    Deployment,
    /// The Pods, one for each node.
    DaemonSet,
    /// Decides on the number of Pods.
    HorizontalPodAutoscaler,
    /// How many Pods may be down on purpose.
    PodDisruptionBudget,
}

impl ObjectKind {
    /// All kinds, in the order in which their objects are applied.
    pub const ALL: [ObjectKind; 7] = [
        ObjectKind::ServiceAccount,
        ObjectKind::ConfigMap,
        ObjectKind::Service,
        ObjectKind::Deployment,
        ObjectKind::DaemonSet,
        ObjectKind::HorizontalPodAutoscaler,
        ObjectKind::PodDisruptionBudget,
    ];

    /// The `kind` of its documents.
    pub const fn name(self) -> &'static str {
        match self {
            ObjectKind::ServiceAccount => "ServiceAccount",
            ObjectKind::ConfigMap => "ConfigMap",
            ObjectKind::Service => "Service",
            ObjectKind::Deployment => "Deployment",
            ObjectKind::DaemonSet => "DaemonSet",
            ObjectKind::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            ObjectKind::PodDisruptionBudget => "PodDisruptionBudget",
        }
    }

    /// The kind in paths of the API server.
    pub const fn plural(self) -> &'static str {
        match self {
            ObjectKind::ServiceAccount => "serviceaccounts",
            ObjectKind::ConfigMap => "configmaps",
            ObjectKind::Service => "services",
            ObjectKind::Deployment => "deployments",
            ObjectKind::DaemonSet => "daemonsets",
            ObjectKind::HorizontalPodAutoscaler => "horizontalpodautoscalers",
            ObjectKind::PodDisruptionBudget => "poddisruptionbudgets",
        }
    }

    /// API group; empty for the core group.
    pub const fn group(self) -> &'static str {
        match self {
            ObjectKind::ServiceAccount | ObjectKind::ConfigMap | ObjectKind::Service => "",
            ObjectKind::Deployment | ObjectKind::DaemonSet => "apps",
            ObjectKind::HorizontalPodAutoscaler => "autoscaling",
            ObjectKind::PodDisruptionBudget => "policy",
        }
    }

    /// Version of the API.
    pub const fn version(self) -> &'static str {
        match self {
            ObjectKind::HorizontalPodAutoscaler => "v2",
            _ => "v1",
        }
    }

    /// The `apiVersion` of its documents.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }
}
