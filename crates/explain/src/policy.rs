//! The effective policy: where a policy acts, and who says what there.

use ir::{
    Condition, ConditionStatus, Kind, ObjectRef,
    status::{ParentReference, StatusBody},
};
use pipeline::{Part, Pipeline};
use serde::{Deserialize, Serialize};

use crate::{Setting, Unanswerable, origin};

/// A policy with all places where it acts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyExplanation {
    /// The policy, such as `BackendTrafficPolicy default/shop`.
    pub policy: String,
    /// Where it acts, or would. Policies for backends have none: their conditions tell.
    pub places: Vec<Place>,
    /// What its status says, by ancestor.
    pub conditions: Vec<Said>,
}

/// A policy at one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// What it is for: a rule, a route, a listener, a ListenerSet, a Gateway.
    pub target: String,
    /// The Gateway, ListenerSet or listener where it acts.
    pub at: String,
    /// Why it is not applied; unset when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_applied: Option<String>,
    /// The broader policies that it is merged over (`mergeType`), the closest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_over: Vec<String>,
    /// The broader policy that has no effect here because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Other>,
    /// Narrower policies that are merged over it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<Other>,
    /// Narrower policies that have effect in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Other>,
    /// What holds there, by field, with the policy that the field comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
    /// What of it has no effect all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Another policy of the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Other {
    /// The policy.
    pub policy: String,
    /// What it is for.
    pub target: String,
}

/// A condition of the status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// The ancestor.
    pub ancestor: String,
    /// Type of the condition, such as `Accepted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub holds: bool,
    /// Reason.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// Tells the effective policy. `kind` may be written in any case.
///
/// # Errors
/// When there is no such kind of policies, or no such policy.
pub fn policy(
    pipeline: &Pipeline,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<PolicyExplanation, Unanswerable> {
    let policies = || Kind::ALL.iter().copied().filter(|kind| kind.is_policy());
    let Some(kind) = policies().find(|known| known.name().eq_ignore_ascii_case(kind)) else {
        let known: Vec<&str> = policies().map(Kind::name).collect();
        let message = format!("{kind:?} is no kind of policies; known are {}", known.join(", "));
        return Err(Unanswerable::Question(message));
    };
    let policy = ObjectRef::new(kind, namespace, name);
    if pipeline.store().find(&policy).and_then(|id| pipeline.store().fact(id)).is_none() {
        return Err(Unanswerable::Question(format!(
            "there is no {policy}; name it as KIND/NAME with --namespace, or as KIND/NAMESPACE/NAME"
        )));
    }
    let places = pipeline.places_of_policy(&policy).into_iter().map(place).collect();
    let conditions = match pipeline.status(&policy).map(|status| &status.body) {
        Some(StatusBody::Policy { ancestors }) => ancestors
            .iter()
            .flat_map(|entry| entry.conditions.iter().map(|condition| said(&entry.parent, condition)))
            .collect(),
        _ => Vec::new(),
    };
    Ok(PolicyExplanation { policy: policy.to_string(), places, conditions })
}

fn place(place: pipeline::PolicyPlace) -> Place {
    let other =
        |(part, policy): (Part, ObjectRef)| Other { policy: policy.to_string(), target: part.to_string() };
    Place {
        target: place.of.to_string(),
        at: place.at.to_string(),
        not_applied: place.against,
        merged_over: place.merged_over.iter().map(ToString::to_string).collect(),
        replaces: place.replaces.map(other),
        merged: place.merged.into_iter().map(other).collect(),
        replaced: place.replaced.into_iter().map(other).collect(),
        settings: origin::settings(place.fields),
        warnings: place.warnings,
    }
}

fn said(ancestor: &ParentReference, condition: &Condition) -> Said {
    let namespace = ancestor.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let section = ancestor.section_name.as_ref().map(|name| format!(" listener {name}")).unwrap_or_default();
    Said {
        ancestor: format!("{} {namespace}{}{section}", ancestor.kind, ancestor.name),
        kind: condition.kind.to_owned(),
        holds: condition.status == ConditionStatus::True,
        reason: condition.reason.to_string(),
        message: condition.message.clone(),
    }
}
