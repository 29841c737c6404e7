//! What policies of all kinds have in common: the objects that they are for, and their status.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{Condition, LabelSelector, LabelSelectorRequirement, ParentReference, gateway_group},
    config::declare::choices,
    text::{GatewayController, Group, Kind, ObjectName, SectionName},
};

/// The objects that a policy is for: one of `targetRef` and `targetRefs`, or `targetSelectors`, perhaps with either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargetReferences {
    /// The object in the policy's namespace that it is for. Deprecated: use `targetRefs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<PolicyTargetReference>,
    /// The objects in the policy's namespace that it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<PolicyTargetReference>,
    /// Objects that it is for by their labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_selectors: Vec<TargetSelector>,
}

impl PolicyTargetReferences {
    /// The references that count: `targetRef` goes before the list.
    pub fn references(&self) -> &[PolicyTargetReference] {
        match &self.target_ref {
            Some(only) => std::slice::from_ref(only),
            None => &self.target_refs,
        }
    }
}

/// An object in the policy's namespace, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargetReference {
    /// API group of the object.
    pub group: Group,
    /// Kind of the object.
    pub kind: Kind,
    /// Name of the object.
    pub name: ObjectName,
    /// Name of a listener of a Gateway or ListenerSet, or of a rule of a route; all of the object when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<SectionName>,
}

/// Objects by their labels. A selector chooses whole objects, never parts of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "has(self.group) ? self.group == 'gateway.networking.k8s.io' : true ",
    "group must be gateway.networking.k8s.io"
))]
#[serde(rename_all = "camelCase")]
pub struct TargetSelector {
    /// API group of the objects.
    #[serde(default = "gateway_group")]
    pub group: Group,
    /// Kind of the objects.
    pub kind: Kind,
    /// Namespaces of the objects; the policy's own when unset. Objects of another namespace are chosen only where a
    /// ReferenceGrant there consents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<TargetSelectorNamespaces>,
    /// Labels that an object must have with exactly this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on single labels, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// Namespaces in which a selector chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.from != 'Selector' || has(self.selector)", "from Selector needs a selector"))]
#[serde(rename_all = "camelCase")]
pub struct TargetSelectorNamespaces {
    /// Which namespaces.
    #[serde(default = "same")]
    pub from: TargetNamespaceFrom,
    /// Labels of the namespaces, for `Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

fn same() -> TargetNamespaceFrom {
    TargetNamespaceFrom::Same
}

choices! {
    /// Which namespaces a selector chooses in.
    TargetNamespaceFrom {
        /// The policy's own.
        Same,
        /// All.
        All,
        /// Those with certain labels.
        Selector,
    }
}

/// Status of a policy of any kind: one entry per object that it acts on and controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Entries by object.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// What a controller thinks of a policy with regard to one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestorStatus {
    /// The object.
    pub ancestor_ref: ParentReference,
    /// The controller that wrote this entry.
    pub controller_name: GatewayController,
    /// `Accepted` and others.
    #[schemars(length(min = 1, max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
