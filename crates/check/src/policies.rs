//! Policies: those for nothing, those whose place others have, and deprecated fields.

use ir::{ConditionStatus, Kind, status::StatusBody};
use serde_json::{Map, Value, json};
use store::{Fact, ObjectId, facts::PolicyTarget};

use crate::{Finding, Patch, code, world::World};

pub(crate) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_policy()) {
        for (object, fact) in world.of_kind(kind) {
            let (targets, by_selector, single): (&[PolicyTarget], bool, bool) = match fact {
                Fact::Policy(policy) => (&policy.targets, !policy.selectors.is_empty(), policy.by_target_ref),
                Fact::BackendTlsPolicy(policy) => (&policy.targets, false, false),
                _ => continue,
            };
            for (index, target) in targets.iter().enumerate().filter(|(_, t)| !world.exists(t.object)) {
                let name = world.store.object(target.object).map(ToString::to_string).unwrap_or_default();
                let field =
                    if single { "spec.targetRef".to_owned() } else { format!("spec.targetRefs[{index}]") };
                let message = format!("{name} does not exist");
                findings.push(Finding::new(code::POLICY_DANGLING, object, field, message));
            }
            let acts = world.store.targets_of(fact.meta().id).next().is_some();
            if by_selector && targets.is_empty() && !acts {
                let message = "no object has the labels that it chooses";
                findings.push(Finding::new(code::POLICY_DANGLING, object, "spec.targetSelectors", message));
            }
            if targets.is_empty() && !by_selector {
                let message = "none of its targets is of a kind that such a policy can be for";
                findings.push(Finding::new(code::POLICY_DANGLING, object, "spec.targetRefs", message));
            }
        }
    }
    conditions(world, findings);
}

/// What conditions say that no problem says.
fn conditions(world: &World<'_>, findings: &mut Vec<Finding>) {
    for status in world.pipeline.statuses() {
        let entries: Vec<&[ir::Condition]> = match &status.body {
            StatusBody::Policy { ancestors } => ancestors.iter().map(|entry| &*entry.conditions).collect(),
            StatusBody::Parameters { ancestors } => {
                ancestors.iter().map(|entry| &*entry.conditions).collect()
            }
            _ => continue,
        };
        let mut said: Vec<&str> = Vec::new();
        for condition in entries.into_iter().flatten().filter(|c| c.status == ConditionStatus::True) {
            let code = match (condition.kind, &*condition.reason) {
                ("Overridden", _) => code::POLICY_OVERRIDDEN,
                ("Warning", "DeprecatedField") => code::FIELD_DEPRECATED,
                _ => continue,
            };
            if said.contains(&&*condition.message) {
                continue;
            }
            said.push(&condition.message);
            // `spec.targetRef is deprecated, use …`
            let field = match code == code::FIELD_DEPRECATED {
                true => condition.message.split(' ').next().unwrap_or_default(),
                false => "",
            };
            let finding = Finding::new(code, &status.object, field, &*condition.message);
            findings.push(
                match plural(world, world.store.find(&status.object)).filter(|_| field == "spec.targetRef") {
                    Some(patch) => finding.with(patch),
                    None => finding,
                },
            );
        }
    }
}

/// `targetRef` as the first of `targetRefs`.
fn plural(world: &World<'_>, policy: Option<ObjectId>) -> Option<Patch> {
    let Fact::Policy(policy) = world.store.fact(policy?)? else { return None };
    let target = policy.targets.first()?;
    let object = world.store.object(target.object)?;
    let mut reference = Map::new();
    let mut set = |name: &str, value: &str| reference.insert(name.to_owned(), Value::from(value));
    set("group", object.kind.group());
    set("kind", object.kind.name());
    set("name", &object.name);
    if let Some(section) = &target.section {
        set("sectionName", section);
    }
    Some(Patch::Json(json!([
        { "op": "remove", "path": "/spec/targetRef" },
        { "op": "add", "path": "/spec/targetRefs", "value": [reference] },
    ])))
}
