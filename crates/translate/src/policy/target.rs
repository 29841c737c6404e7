//! Which policies are for an object, and which of them has a scope.

use std::{borrow::Cow, sync::Arc};

use ir::{Kind, ObjectRef};
use store::{
    ObjectId,
    facts::{self, Selectable, SelectedNamespaces, Target, TargetSelector},
};

use super::scope::Scope;
use crate::{Finding, Reader};

/// The parts of an object that a policy is for: `None` for the whole of it. Each once, names in the order of the policy.
pub(super) fn claims(
    policy: &facts::Policy,
    target: ObjectId,
    reader: &mut Reader<'_>,
) -> Vec<Option<Arc<str>>> {
    let mut sections: Vec<Option<Arc<str>>> = Vec::new();
    if selected(policy, target, reader) {
        sections.push(None);
    }
    for named in policy.targets.iter().filter(|named| named.object == target) {
        if !sections.contains(&named.section) {
            sections.push(named.section.clone());
        }
    }
    sections
}

/// The policy that has a scope: the oldest of those that claim it, then by namespace and name.
pub fn holder(
    kind: Kind,
    target: ObjectId,
    section: Option<&str>,
    reader: &mut Reader<'_>,
) -> Option<ObjectId> {
    let mut claiming: Vec<(i64, ObjectRef, ObjectId)> = Vec::new();
    for policy in reader.policies_on(kind, target) {
        let named = policy.targets.iter().any(|t| t.object == target && t.section.as_deref() == section);
        if named || (section.is_none() && selected(policy, target, reader)) {
            claiming.push((policy.meta.created, reader.object(policy.meta.id), policy.meta.id));
        }
    }
    claiming.into_iter().min().map(|(_, _, id)| id)
}

/// The policy of the first scope that has one, and where that scope stands.
pub(super) fn closest(kind: Kind, scopes: &[Scope], reader: &mut Reader<'_>) -> Option<(ObjectId, usize)> {
    scopes.iter().enumerate().find_map(|(i, scope)| {
        let policy = holder(kind, scope.object, scope.section.as_deref(), reader)?;
        Some((policy, i))
    })
}

/// The policies that one is merged over, with their scopes, the closest first: that of the first broader scope that has
/// one, if the policy says how to merge, and if that one says so as well, the next.
pub fn parents(
    kind: Kind,
    policy: ObjectId,
    broader: &[Scope],
    reader: &mut Reader<'_>,
) -> Vec<(ObjectId, Scope)> {
    let mut parents: Vec<(ObjectId, Scope)> = Vec::new();
    let mut last = policy;
    for scope in broader {
        if reader.policy(last).is_none_or(|last| last.merge.is_none()) {
            break;
        }
        let holder = holder(kind, scope.object, scope.section.as_deref(), reader);
        // One that has several scopes is not merged over itself.
        let other = holder.filter(|holder| *holder != last);
        if let Some(parent) = other {
            parents.push((parent, scope.clone()));
            last = parent;
        }
    }
    parents
}

/// Whether one of a policy's selectors chooses an object.
fn selected(policy: &facts::Policy, target: ObjectId, reader: &mut Reader<'_>) -> bool {
    let Some(object) = reader.selectable(target) else { return false };
    policy.selectors.iter().any(|selector| chooses(selector, policy, target, object, reader))
}

fn chooses(
    selector: &TargetSelector,
    policy: &facts::Policy,
    target: ObjectId,
    object: &Selectable,
    reader: &mut Reader<'_>,
) -> bool {
    if selector.kind != object.kind || !selector.labels.matches(&object.labels) {
        return false;
    }
    let own = object.namespace == policy.meta.namespace;
    let namespace = match &selector.namespaces {
        SelectedNamespaces::Same => own,
        SelectedNamespaces::All => true,
        SelectedNamespaces::Selector(labels) => {
            let of_namespace = reader.namespace_labels(object.namespace_object, object.namespace);
            labels
                .as_ref()
                .zip(of_namespace.map(Cow::into_owned))
                .is_some_and(|(s, labels)| s.matches(&labels))
        }
    };
    if !namespace || own {
        return namespace;
    }
    let from = reader.object(policy.meta.id);
    let target = Target { id: target, namespace: object.namespace };
    reader.granted((from.kind.group(), from.kind.name()), &from.namespace, target)
}

/// A section that its object does not have.
pub(super) fn not_found(policy: &ObjectRef, scope: &Scope, reader: &Reader<'_>) -> Finding {
    let section = scope.section.as_deref().unwrap_or_default();
    Finding::new(
        "spec.targetRefs",
        "TargetNotFound",
        format!(
            "{} has no section {section} for this {} to act on",
            reader.object(scope.object),
            policy.kind
        ),
    )
}

/// A scope that an older policy has.
pub(super) fn conflicted(holder: &ObjectRef, scope: &Scope, reader: &Reader<'_>) -> Finding {
    let target = reader.object(scope.object);
    let target = match &scope.section {
        Some(section) => format!("section {section} of {target}"),
        None => target.to_string(),
    };
    Finding::new(
        "spec.targetRefs",
        "Conflicted",
        format!("{target} has a {} already: {}/{}", holder.kind, holder.namespace, holder.name),
    )
}
