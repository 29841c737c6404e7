//! Merging a policy over broader ones, as documents.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use store::{
    ObjectId,
    facts::{self, MergeType},
};

use super::{PolicyKind, Version};
use crate::{Finding, Reader};

/// The document that settings are read from, with the policies that it was made from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The document: `spec` without targets.
    pub document: Arc<Value>,
    /// The policies: the narrowest first, each merged over the next. There is one at least.
    policies: Vec<Arc<facts::Policy>>,
    /// Which of them each field comes from; empty when there is one.
    origins: Origins,
    /// Why they could not be merged.
    trouble: Option<Finding>,
}

impl Source {
    /// A policy of a kind, merged over `parents`, the closest of which comes first.
    pub(crate) fn new(
        kind: &dyn PolicyKind,
        policy: &Arc<facts::Policy>,
        parents: &[ObjectId],
        reader: &mut Reader<'_>,
    ) -> Source {
        let mut policies = vec![policy.clone()];
        for parent in parents {
            policies.extend(reader.policy(*parent).cloned());
        }
        let mut broader = policies.iter().rev();
        let mut document = broader.next().unwrap_or(policy).document.clone();
        let mut trouble = None;
        for narrower in broader {
            let (merged, finding) = over(kind, narrower, &document);
            document = Arc::new(merged);
            trouble = trouble.or(finding);
        }
        let mut origins = Origins::new();
        if policies.len() > 1 {
            let said: Vec<(ObjectId, &Value)> =
                policies.iter().map(|policy| (policy.meta.id, &*policy.document)).collect();
            walk("", &document, &said, &mut origins);
        }
        Source { document, policies, origins, trouble }
    }

    /// The policy that is merged over the others.
    pub fn policy(&self) -> &facts::Policy {
        &self.policies[0]
    }

    /// The policy that has contributed what stands at a path below `spec`: references in it are to that policy's
    /// namespace. The narrowest one when none has.
    pub fn owner(&self, path: &str) -> &facts::Policy {
        let says = |policy: &&Arc<facts::Policy>| {
            let value = path.split('.').try_fold(&*policy.document, |value, name| value.get(name));
            value.is_some_and(|value| !value.is_null())
        };
        self.policies.iter().find(says).unwrap_or(&self.policies[0])
    }

    /// What was found in the document, and why it could not be merged.
    pub(crate) fn judged(&self, findings: Vec<Finding>, reader: &Reader<'_>) -> Vec<Finding> {
        let findings = findings.into_iter().map(|finding| self.blamed(finding, reader));
        findings.chain(self.trouble.clone()).collect()
    }

    /// A finding that names the broader policies whose fields are wrong: the narrower one's author does not see them.
    pub(crate) fn blamed(&self, finding: Finding, reader: &Reader<'_>) -> Finding {
        let field = finding.field.strip_prefix("spec.").unwrap_or_default();
        let field = field.split('[').next().unwrap_or_default();
        let broader: BTreeSet<_> = (self.origins.iter())
            .filter(|(path, id)| **id != self.policy().meta.id && overlap(path, field))
            .map(|(_, id)| reader.object(*id))
            .collect();
        if broader.is_empty() {
            return finding;
        }
        let names: Vec<String> = broader.iter().map(ToString::to_string).collect();
        Finding { message: format!("{} (from {})", finding.message, names.join(", ")).into(), ..finding }
    }
}

/// Whether one of two paths is the other, or stands below it.
fn overlap(a: &str, b: &str) -> bool {
    let below =
        |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    below(a, b) || below(b, a)
}

/// The policy that each field comes from, by the field's path below `spec`. A list is one field.
pub type Origins = BTreeMap<String, ObjectId>;

/// Reads a policy, merged over `parents`.
pub(super) fn version(
    kind: &'static dyn PolicyKind,
    policy: &Arc<facts::Policy>,
    parents: &[ObjectId],
    reader: &mut Reader<'_>,
) -> Version {
    let source = Source::new(kind, policy, parents, reader);
    let (settings, findings) = kind.read(&source, reader);
    let findings = source.judged(findings, reader).into();
    Version { settings, findings, origins: source.origins }
}

/// A policy merged over the document of broader ones, and why it could not be.
fn over(kind: &dyn PolicyKind, policy: &facts::Policy, base: &Value) -> (Value, Option<Finding>) {
    let mut document = base.clone();
    for (path, fields) in kind.alternatives() {
        drop_others(&mut document, &policy.document, path, fields);
    }
    let merged = match policy.merge {
        Some(MergeType::Strategic) => {
            patch::strategic_merge(&mut document, &policy.document, kind.merge_keys())
        }
        Some(MergeType::Json) => {
            patch::json_merge(&mut document, &policy.document);
            Ok(())
        }
        // It has effect in the place of the others.
        None => return (Value::clone(&policy.document), None),
    };
    let trouble = merged.err().map(|error| {
        Finding::new(
            format!("spec.{}", error.path),
            "Invalid",
            format!("The policy cannot be merged: {error}"),
        )
    });
    (document, trouble)
}

/// Takes those of `fields` that the narrower policy does not have out of the broader one's object at `path`, when the
/// narrower one has another of them there.
fn drop_others(base: &mut Value, narrower: &Value, path: &str, fields: &[&str]) {
    let names = || path.split('.').filter(|name| !name.is_empty());
    let Some(own) = names().try_fold(narrower, |value, name| value.get(name)) else { return };
    if !fields.iter().any(|field| own.get(field).is_some()) {
        return;
    }
    let base = names().try_fold(base, |value, name| value.get_mut(name));
    if let Some(Value::Object(base)) = base {
        base.retain(|name, _| !fields.contains(&&**name) || own.get(name).is_some());
    }
}

/// Notes the leaves of `value`; `said` is what the policies have in its place, the narrowest first.
fn walk(path: &str, value: &Value, said: &[(ObjectId, &Value)], out: &mut Origins) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let said: Vec<(ObjectId, &Value)> =
                    said.iter().filter_map(|(id, value)| Some((*id, value.get(name)?))).collect();
                walk(&path, value, &said, out);
            }
        }
        _ => out.extend(said.first().map(|(id, _)| (path.to_owned(), *id))),
    }
}
