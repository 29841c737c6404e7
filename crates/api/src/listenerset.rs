//! ListenerSet: listeners that others than its owner add to a Gateway.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::Condition,
    gateway::{ListenerStatus, waiting_to_be_programmed},
    listener::{HTTPS_TERMINATES, Listener, PLAIN_WITHOUT_TLS, PORTS_WITHOUT_HOSTNAME, TLS_HAS_MODE},
    text::{Group, Kind, Namespace, ObjectName},
};

/// Listeners for a Gateway, which must allow them by its `allowedListeners`.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(group = "gateway.networking.k8s.io", version = "v1", kind = "ListenerSet", namespaced)]
#[kube(
    status = "ListenerSetStatus",
    shortname = "lset",
    category = "gateway-api",
    derive = "PartialEq",
    schema = "disabled"
)]
#[kube(
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.conditions[?(@.type==\"Accepted\")].status"}"#
)]
#[kube(
    printcolumn = r#"{"name":"Programmed","type":"string","jsonPath":".status.conditions[?(@.type==\"Programmed\")].status"}"#
)]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway that the listeners are for.
    pub parent_ref: ParentGatewayReference,
    /// The listeners. Names need to be unique in this list only.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = PLAIN_WITHOUT_TLS, validation = HTTPS_TERMINATES)]
    #[x_kube(validation = TLS_HAS_MODE, validation = PORTS_WITHOUT_HOSTNAME)]
    #[x_kube(validation = (
        "self.all(l1, self.exists_one(l2, l1.name == l2.name))",
        "names of listeners must be unique within the ListenerSet"
    ))]
    #[x_kube(validation = (
        "self.all(l1, !has(l1.port) || self.exists_one(l2, has(l2.port) && l1.port == l2.port && l1.protocol == l2.protocol && (has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : !has(l1.hostname) && !has(l2.hostname))))",
        "port, protocol and hostname together must be unique for each listener"
    ))]
    pub listeners: Vec<Listener>,
}

/// A reference to a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentGatewayReference {
    /// API group.
    #[serde(default = "crate::common::gateway_group")]
    pub group: Group,
    /// Kind.
    #[serde(default = "crate::common::gateway_kind")]
    pub kind: Kind,
    /// Namespace of the Gateway; the ListenerSet's own when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Name of the Gateway.
    pub name: ObjectName,
}

/// State of a ListenerSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetStatus {
    /// `Accepted` and `Programmed`.
    #[serde(default = "waiting_to_be_programmed", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// State of each listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<ListenerStatus>,
}
