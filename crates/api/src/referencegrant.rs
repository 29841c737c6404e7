//! ReferenceGrant: consent of a namespace to references from others.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{Group, Kind, Namespace, ObjectName};

/// Who may refer to what in this namespace. Each `from` may refer to each `to`.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(group = "gateway.networking.k8s.io", version = "v1", kind = "ReferenceGrant", namespaced)]
#[kube(shortname = "refgrant", category = "gateway-api", derive = "PartialEq", schema = "disabled")]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantSpec {
    /// Who may refer.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub from: Vec<ReferenceGrantFrom>,
    /// What may be referred to.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects that may refer: all of one kind in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantFrom {
    /// API group of the referrer.
    pub group: Group,
    /// Kind of the referrer.
    pub kind: Kind,
    /// Namespace of the referrer.
    pub namespace: Namespace,
}

/// Objects of this namespace that may be referred to: all of one kind, or one by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantTo {
    /// API group of the object; empty for the core group.
    pub group: Group,
    /// Kind of the object.
    pub kind: Kind,
    /// Name of the object; every object of the kind when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ObjectName>,
}
