//! Merging a route's policy over a broader one, as documents.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use store::{
    ObjectId,
    facts::{self, MergeType},
};

use super::{PolicyKind, Version};
use crate::{Finding, Reader};

/// The document that settings are read from, with the policies that it was made from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The document: `spec` without targets.
    pub document: &'a Value,
    /// The policy.
    pub policy: &'a facts::Policy,
    /// The policy that it was merged over.
    pub parent: Option<&'a facts::Policy>,
}

impl<'a> Source<'a> {
    /// The policy that has contributed a field of `spec`: references in it are to that policy's namespace.
    pub fn owner(&self, field: &str) -> &'a facts::Policy {
        let own = self.policy.document.get(field).is_some();
        self.parent.filter(|_| !own).unwrap_or(self.policy)
    }
}

/// The policy that each field comes from, by the field's path below `spec`. A list is one field.
pub type Origins = BTreeMap<String, ObjectId>;

/// Reads a policy, merged over `parent`.
pub(super) fn version(
    kind: &'static dyn PolicyKind,
    policy: &Arc<facts::Policy>,
    parent: Option<ObjectId>,
    reader: &mut Reader<'_>,
) -> Version {
    let parent = parent.and_then(|parent| reader.policy(parent)).cloned();
    let (document, trouble) = document(kind, policy, parent.as_deref());
    let source = Source { document: &document, policy, parent: parent.as_deref() };
    let (settings, mut findings) = kind.read(&source, reader);
    findings.extend(trouble);
    let mut origins = Origins::new();
    if let Some(parent) = &parent {
        walk("", &document, Some(&policy.document), (policy.meta.id, parent.meta.id), &mut origins);
    }
    Version { settings, findings: findings.into(), origins }
}

/// The merged document, and why it could not be merged.
fn document(
    kind: &'static dyn PolicyKind,
    policy: &facts::Policy,
    parent: Option<&facts::Policy>,
) -> (Arc<Value>, Option<Finding>) {
    let (Some(parent), Some(merge)) = (parent, policy.merge) else {
        return (policy.document.clone(), None);
    };
    let mut document = Value::clone(&parent.document);
    let merged = match merge {
        MergeType::Strategic => patch::strategic_merge(&mut document, &policy.document, kind.merge_keys()),
        MergeType::Json => {
            patch::json_merge(&mut document, &policy.document);
            Ok(())
        }
    };
    let trouble = merged.err().map(|error| {
        Finding::new(
            format!("spec.{}", error.path),
            "Invalid",
            format!("The policy cannot be merged: {error}"),
        )
    });
    (Arc::new(document), trouble)
}

/// Notes the leaves of `value`; `own` is what the narrower policy has in its place.
fn walk(
    path: &str,
    value: &Value,
    own: Option<&Value>,
    (id, parent): (ObjectId, ObjectId),
    out: &mut Origins,
) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(&path, value, own.and_then(|own| own.get(name)), (id, parent), out);
            }
        }
        _ => drop(out.insert(path.to_owned(), if own.is_some() { id } else { parent })),
    }
}
