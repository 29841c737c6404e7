//! Status of policies: one entry for each Gateway, ListenerSet or listener that a policy acts on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ir::{
    Condition, ConditionStatus, ObjectRef,
    status::{ParentReference, ParentStatus, Status, StatusBody},
};
use store::ObjectId;

use super::{PolicyOutput, Relations, Scope, scope};
use crate::{Dep, Finding, Reader, route, status::problem};

/// Most entries that a status may have (Gateway API, `PolicyStatus.ancestors`).
const MAX_ANCESTORS: usize = 16;

/// Reason of `Warning` for deprecated fields.
const DEPRECATED_FIELD: &str = "DeprecatedField";
/// Reason of `Warning` for warnings of different reasons.
const SEVERAL_WARNINGS: &str = "Warnings";

/// A policy at one object, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the policy is for.
    pub of: Scope,
    /// The Gateway, ListenerSet or listener where it acts.
    pub at: Scope,
    /// What status calls it.
    pub ancestor: ParentReference,
    /// Why the policy is not for it at all.
    pub refused: Option<Finding>,
    /// Why the policy cannot be applied there.
    pub invalid: Option<Finding>,
    /// The policies that it is merged over there, the closest first.
    pub merged: Vec<ObjectRef>,
    /// Rules of the route that have policies of their own.
    pub overriding: Vec<Arc<str>>,
    /// The scope that the policy has there, with its Gateway; `None` for policies of routes.
    pub scope: Option<(ObjectId, Scope)>,
    /// What its author should know: reasons with sentences.
    pub warnings: Vec<(&'static str, String)>,
    /// True for one listener of a place that has an entry of its own: it says only what is true of this listener.
    pub partial: bool,
}

impl Place {
    pub(super) fn new(of: Scope, at: Scope, reader: &Reader<'_>) -> Self {
        Place {
            ancestor: scope::ancestor(&at, reader),
            of,
            at,
            refused: None,
            invalid: None,
            merged: Vec::new(),
            overriding: Vec::new(),
            scope: None,
            warnings: Vec::new(),
            partial: false,
        }
    }
}

/// Several findings as one, with all of their sentences; `None` without any.
pub(super) fn joined(findings: &[Finding]) -> Option<Finding> {
    let first = findings.first()?;
    let messages: Vec<&str> = findings.iter().map(|finding| &*finding.message).collect();
    Some(Finding::new(first.field.clone(), first.reason, messages.join("; ")))
}

/// The status of one policy. `None` when it acts on nothing of ours. `relations` tells the relations in a Gateway.
pub fn unit<'a>(
    id: ObjectId,
    reader: &mut Reader<'_>,
    output: Option<&PolicyOutput>,
    relations: impl Fn(ObjectId) -> Option<&'a Relations>,
) -> Option<Status> {
    reader.record(Dep::PolicyStatus(id));
    let output = output?;
    let mut entries: BTreeMap<Key, Entry> = BTreeMap::new();
    for place in &output.places {
        let entry = entries.entry(key(&place.ancestor)).or_default();
        entry.ancestor.get_or_insert_with(|| place.ancestor.clone());
        entry.add(place, output, reader, &relations);
    }
    if entries.is_empty() {
        return None;
    }
    let problems = problems(output, &entries);
    let ancestors = entries.into_values().filter_map(|entry| entry.finish(output)).collect();
    let ancestors = truncated(ancestors, output.generation);
    Some(Status { object: output.object.clone(), body: StatusBody::Policy { ancestors }, problems })
}

type Key = (Option<Arc<str>>, Arc<str>, Arc<str>, Option<Arc<str>>);

fn key(reference: &ParentReference) -> Key {
    let ParentReference { namespace, kind, name, section_name, .. } = reference.clone();
    (namespace, name, kind, section_name)
}

/// What is said of one object.
#[derive(Default)]
struct Entry {
    ancestor: Option<ParentReference>,
    accepted: bool,
    against: Option<Finding>,
    warnings: Vec<(&'static str, String)>,
    merged: Vec<String>,
    overridden: Option<String>,
}

impl Entry {
    fn add<'a>(
        &mut self,
        place: &Place,
        output: &PolicyOutput,
        reader: &mut Reader<'_>,
        relations: &impl Fn(ObjectId) -> Option<&'a Relations>,
    ) {
        let against = place.refused.as_ref().or(place.invalid.as_ref());
        if self.against.is_none() {
            self.against = against.cloned();
        }
        if place.refused.is_some() {
            return;
        }
        let over: Vec<String> =
            place.merged.iter().map(|other| format!("{}/{}", other.namespace, other.name)).collect();
        match &over[..] {
            [] => {}
            [other] => self.merge(format!("Merged with policy {other}")),
            others => self.merge(format!("Merged with policies {}", others.join(", "))),
        }
        if place.partial {
            return;
        }
        self.accepted = true;
        self.warnings.extend(place.warnings.iter().cloned());
        let kind = output.object.kind;
        if !place.overriding.is_empty() {
            let rules = place.overriding.join(", ");
            self.overridden =
                Some(format!("Other policies of kind {kind} have effect in its place: rules {rules}"));
        }
        let Some((gateway, scope)) = &place.scope else { return };
        reader.record(Dep::Relations(kind, *gateway));
        let Some(relations) = relations(*gateway) else { return };
        if let Some(places) = listed(&relations.merged(scope), reader) {
            self.merge(format!("Other policies of kind {kind} are merged over it: {places}"));
        }
        if let Some(places) = listed(&relations.overriding(scope), reader) {
            self.overridden =
                Some(format!("Other policies of kind {kind} have effect in its place: {places}"));
        }
    }

    /// Notes what it is merged with; each once.
    fn merge(&mut self, sentence: String) {
        if !self.merged.contains(&sentence) {
            self.merged.push(sentence);
        }
    }

    fn finish(self, output: &PolicyOutput) -> Option<ParentStatus> {
        let condition = |kind, status, reason: &'static str, message: String| Condition {
            kind,
            status,
            reason: reason.into(),
            message,
            observed_generation: output.generation,
        };
        let mut conditions = Vec::new();
        match self.against {
            Some(finding) => conditions.push(condition(
                "Accepted",
                ConditionStatus::False,
                finding.reason,
                finding.message.into_owned(),
            )),
            None if self.accepted => conditions.push(condition(
                "Accepted",
                ConditionStatus::True,
                "Accepted",
                "The policy is accepted".to_owned(),
            )),
            None => {}
        }
        let merged = (!self.merged.is_empty()).then(|| self.merged.join("; "));
        for (kind, message) in [("Merged", merged), ("Overridden", self.overridden)] {
            conditions.extend(message.map(|message| condition(kind, ConditionStatus::True, kind, message)));
        }
        let mut warnings = self.warnings;
        if self.accepted && !output.deprecated.is_empty() {
            let fields: Vec<String> = (output.deprecated.iter())
                .map(|(field, instead)| format!("{field} is deprecated, use {instead} instead"))
                .collect();
            warnings.push((DEPRECATED_FIELD, fields.join("; ")));
        }
        if let Some((first, _)) = warnings.first() {
            let several = warnings.iter().any(|(reason, _)| reason != first);
            let reason = if several { SEVERAL_WARNINGS } else { first };
            let messages: Vec<&str> = warnings.iter().map(|(_, message)| &**message).collect();
            conditions.push(condition("Warning", ConditionStatus::True, reason, messages.join("; ")));
        }
        (!conditions.is_empty()).then_some(ParentStatus { parent: self.ancestor?, conditions })
    }
}

/// Scopes in words, by what they are; `None` when there is none.
fn listed(scopes: &BTreeSet<&Scope>, reader: &Reader<'_>) -> Option<String> {
    let mut by_word: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for scope in scopes {
        let object = reader.object(scope.object);
        let (word, name) = match (&scope.section, route::of(object.kind)) {
            (_, Some(_)) => ("routes", format!("{}/{}", object.namespace, object.name)),
            (Some(section), _) => ("listeners", format!("{}/{}/{section}", object.namespace, object.name)),
            (None, None) => ("listener sets", format!("{}/{}", object.namespace, object.name)),
        };
        by_word.entry(word).or_default().insert(name);
    }
    let parts: Vec<String> = (by_word.into_iter())
        .map(|(word, names)| format!("{word} {}", names.into_iter().collect::<Vec<_>>().join(", ")))
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Entries that fit: those that are not accepted first, then those overridden, then by namespace and name. The last one
/// says that others were left out.
pub(crate) fn truncated(mut ancestors: Vec<ParentStatus>, generation: i64) -> Vec<ParentStatus> {
    if ancestors.len() <= MAX_ANCESTORS {
        return ancestors;
    }
    let has = |entry: &ParentStatus, kind: &str, status| {
        entry.conditions.iter().any(|c| c.kind == kind && c.status == status)
    };
    ancestors.sort_by_key(|entry| {
        let rank = match () {
            () if has(entry, "Accepted", ConditionStatus::False) => 0,
            () if has(entry, "Overridden", ConditionStatus::True) => 1,
            () => 2,
        };
        (rank, key(&entry.parent))
    });
    let left_out = ancestors.len() - MAX_ANCESTORS;
    ancestors.truncate(MAX_ANCESTORS);
    if let Some(last) = ancestors.last_mut() {
        last.conditions.push(Condition {
            kind: "Aggregated",
            status: ConditionStatus::True,
            reason: "Aggregated".into(),
            message: format!("{left_out} more objects that the policy acts on have no place here"),
            observed_generation: generation,
        });
    }
    ancestors
}

fn problems(output: &PolicyOutput, entries: &BTreeMap<Key, Entry>) -> Vec<ir::Problem> {
    let mut problems: Vec<ir::Problem> = (entries.values())
        .filter_map(|entry| entry.against.clone())
        .map(|finding| problem(&output.object, "Accepted", finding))
        .collect();
    problems.dedup();
    problems
}
