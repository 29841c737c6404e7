//! Which policies are for an object, and which of them has a scope.

use std::{borrow::Cow, sync::Arc};

use ir::{Kind, ObjectRef};
use store::{
    ObjectId,
    facts::{self, Selectable, SelectedNamespaces, Target, TargetSelector},
};

use super::scope::{self, Scope};
use crate::{AttachListener, Finding, Reader};

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

/// The policy of the most specific scope around a listener that has one, with that scope.
pub(super) fn closest(
    kind: Kind,
    listener: &AttachListener,
    reader: &mut Reader<'_>,
) -> Option<(ObjectId, Scope)> {
    scope::around_listener(listener).into_iter().find_map(|scope| {
        let policy = holder(kind, scope.object, scope.section.as_deref(), reader)?;
        Some((policy, scope))
    })
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
