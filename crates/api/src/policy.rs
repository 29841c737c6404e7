//! What policies share: what they are attached to, and their status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{Condition, ParentReference},
    text::{GatewayController, Group, Kind, ObjectName, SectionName},
};

/// One target by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargetReference {
    /// API group of the target.
    pub group: Group,
    /// Kind of the target.
    pub kind: Kind,
    /// Name of the target.
    pub name: ObjectName,
    /// One part of the target, such as a port of a Service or a listener of a Gateway. All of it when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<SectionName>,
}

/// What controllers think of a policy, by the object that it affects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Entries by ancestor and controller.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// What a controller thinks of a policy with regard to one ancestor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorStatus {
    /// The Gateway or ListenerSet, perhaps one listener of it, that the policy affects.
    pub ancestor_ref: ParentReference,
    /// The controller that wrote this entry.
    pub controller_name: GatewayController,
    /// `Accepted` and others.
    #[schemars(length(min = 1, max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
