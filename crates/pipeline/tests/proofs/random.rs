//! Random edits over all kinds: after each commit the running state equals a build from scratch.

use std::{collections::BTreeMap, fmt, sync::Arc};

use api::Object;
use ir::{Kind, ObjectRef, infra::Installation, resource::ResourceType, status::Status};
use pipeline::{ChangeSet, Commit, Infrastructure, Pipeline, Settings};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    objects::{CLIENTS, Choices, EXPIRY, KINDS, MERGING, NAMES, NAMESPACES, SHARING, reference},
    policies::chain_of_client_policies,
};

/// One edit, as the choices that it is made from. Smaller numbers stand for simpler choices, so that a failing run
/// shrinks to objects with little in them.
#[derive(Clone)]
struct Edit {
    choices: Vec<u8>,
    kinds: &'static [Kind],
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut choices = Choices::new(&self.choices);
        match choices.pick(16) {
            12..=14 => write!(f, "delete the object at {} modulo their number", choices.pick(256)),
            15 => f.write_str("settings or time"),
            _ => {
                let kind = self.kinds[choices.pick(self.kinds.len())];
                write!(f, "{}", choices.object(kind))
            }
        }
    }
}

/// Encoded resources of a fleet.
type Bodies = BTreeMap<(ResourceType, Arc<str>), Vec<u8>>;

/// What listeners to commits have been told, put together again.
#[derive(Default)]
struct Told {
    fleets: BTreeMap<Arc<str>, Bodies>,
    statuses: BTreeMap<ObjectRef, Status>,
}

impl Told {
    fn take(&mut self, commit: Commit) {
        for fleet in commit.removed_fleets {
            assert!(self.fleets.remove(&fleet).is_some(), "{fleet} was removed and never there");
        }
        for (fleet, update) in commit.resources {
            let resources = self.fleets.entry(fleet).or_default();
            for resource in update.changed {
                let key = (resource.kind, resource.name.clone());
                let old = resources.insert(key, resource.body().to_vec());
                assert_ne!(
                    old,
                    Some(resource.body().to_vec()),
                    "{} was sent without a change",
                    resource.name
                );
            }
            for key in update.removed {
                assert!(resources.remove(&key).is_some(), "{key:?} was removed and never there");
            }
        }
        for (object, status) in commit.statuses {
            match status {
                Some(status) => self.statuses.insert(object, status),
                None => self.statuses.remove(&object),
            };
        }
    }

    fn check(&self, pipeline: &Pipeline) {
        let fleets: BTreeMap<Arc<str>, Bodies> = (pipeline.fleets().iter())
            .map(|(name, fleet)| {
                let resources = fleet.resources.iter();
                (name.clone(), resources.map(|(key, r)| (key.clone(), r.body().to_vec())).collect())
            })
            .collect();
        assert_eq!(self.fleets.keys().collect::<Vec<_>>(), fleets.keys().collect::<Vec<_>>());
        for (name, resources) in &fleets {
            let told = &self.fleets[name];
            assert_eq!(
                told.keys().collect::<Vec<_>>(),
                resources.keys().collect::<Vec<_>>(),
                "resources of {name}"
            );
            for (key, body) in resources {
                assert!(told[key] == *body, "{name}: {key:?} differs from what was told");
            }
        }
        let statuses: BTreeMap<ObjectRef, Status> =
            pipeline.statuses().map(|status| (status.object.clone(), status.clone())).collect();
        assert_eq!(self.statuses, statuses);
    }
}

/// Applies one edit to what is declared, and to the change set.
fn edit(edit: &Edit, declared: &mut BTreeMap<ObjectRef, Value>, now: &mut i64, changes: &mut ChangeSet) {
    let mut choices = Choices::new(&edit.choices);
    let action = choices.pick(16);
    match action {
        12..=14 if !declared.is_empty() => {
            let at = choices.pick(declared.len());
            let Some(object) = declared.keys().nth(at).cloned() else { return };
            declared.remove(&object);
            changes.apply.retain(|other| reference(other) != object);
            changes.delete.push(object);
        }
        15 => match choices.pick(3) {
            0 => changes.settings = Some(settings(&mut choices)),
            1 => {
                *now += 1000;
                changes.now = Some(*now);
            }
            _ => {
                *now = (*now).max(EXPIRY) + 10;
                changes.now = Some(*now);
            }
        },
        _ => {
            let kind = edit.kinds[choices.pick(edit.kinds.len())];
            let document = choices.object(kind);
            let object = Object::from_json(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
            let key = reference(&object);
            changes.delete.retain(|other| *other != key);
            changes.apply.push(object);
            declared.insert(key, document);
        }
    }
}

fn settings(choices: &mut Choices<'_>) -> Settings {
    Settings {
        controller_name: choices.of(&[store::DEFAULT_CONTROLLER_NAME, "example.com/other"]).into(),
        infrastructure: match choices.pick(3) {
            0 => Infrastructure::Kubernetes,
            1 => Infrastructure::Host { listen: "127.0.0.1".into() },
            _ => Infrastructure::Host { listen: "0.0.0.0".into() },
        },
        enable_backend: choices.pick(2) == 0,
        implicit_gateway_class: choices.pick(2) == 0,
        implicit_namespaces: choices.pick(2) == 0,
        allow_local_backends: choices.pick(2) == 1,
        installation: installation(choices.pick(2) == 1),
        merge_backends: choices.pick(2) == 1,
        ..Settings::default()
    }
}

/// An installation whose configuration file has the Gateways of every class merged, or says nothing of it.
fn installation(merged: bool) -> Arc<Installation> {
    let base = merged.then(|| json!({"mergeGateways": true}).into());
    Installation { base, controller_namespace: NAMESPACES[0].into(), ..Installation::default() }.into()
}

/// A store with enough in it that the first edits already meet something.
fn start(merged: bool) -> Settings {
    Settings {
        installation: installation(merged),
        enable_backend: true,
        implicit_gateway_class: true,
        implicit_namespaces: true,
        ..Settings::default()
    }
}

fn run(commits: &[Vec<Edit>], start: &Settings) {
    run_from(&[], commits, start);
}

/// Commits after one with the first objects.
fn run_from(first: &[Value], commits: &[Vec<Edit>], start: &Settings) {
    let mut pipeline = Pipeline::new(start.clone());
    let empty = Pipeline::new(start.clone()).store().sizes();
    let objects = || first.iter().map(|document| (Object::from_json(document).unwrap(), document.clone()));
    let mut declared: BTreeMap<ObjectRef, Value> =
        objects().map(|(object, document)| (reference(&object), document)).collect();
    let mut now = EXPIRY - 100_000;
    let mut told = Told::default();
    let apply = objects().map(|(object, _)| object).collect();
    told.take(pipeline.commit(ChangeSet { apply, now: Some(now), ..ChangeSet::default() }));
    for edits in commits {
        let mut changes = ChangeSet::default();
        for one in edits {
            edit(one, &mut declared, &mut now, &mut changes);
        }
        told.take(pipeline.commit(changes));
        let differences = pipeline.audit();
        assert!(differences.is_empty(), "incremental and from scratch differ: {differences:#?}");
        told.check(&pipeline);
    }
    // The same objects given at once to another process end in the same state.
    let mut other = Pipeline::new(pipeline.store().settings().clone());
    let apply = declared.values().map(|document| Object::from_json(document).unwrap()).collect();
    let mut all = Told::default();
    all.take(other.commit(ChangeSet { apply, now: Some(now), ..ChangeSet::default() }));
    all.check(&other);
    assert_eq!(all.statuses, told.statuses);
    assert!(all.fleets == told.fleets, "another process with the same objects sends something else");
    // Nothing of what is gone stays behind.
    told.take(pipeline.commit(ChangeSet { delete: declared.into_keys().collect(), ..ChangeSet::default() }));
    told.check(&pipeline);
    assert_eq!(pipeline.store().sizes(), empty, "ids leak");
    assert!(pipeline.fleets().is_empty());
    assert_eq!(pipeline.explain("", ""), []);
}

fn commits(length: usize, kinds: &'static [Kind]) -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let edit = prop::collection::vec(any::<u8>(), 90).prop_map(move |choices| Edit { choices, kinds });
    prop::collection::vec(prop::collection::vec(edit, 1..4), 1..length)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 12000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_end_where_a_fresh_start_ends(commits in commits(40, &KINDS)) {
        run(&commits, &start(false));
    }

    #[test]
    fn edits_of_merged_gateways_end_where_a_fresh_start_ends(commits in commits(40, &MERGING)) {
        run(&commits, &start(true));
    }

    #[test]
    fn edits_of_shared_clusters_end_where_a_fresh_start_ends(commits in commits(40, &SHARING)) {
        run(&commits, &Settings { merge_backends: true, ..start(false) });
    }

    #[test]
    fn edits_of_merged_client_policies_end_where_a_fresh_start_ends(commits in commits(40, &CLIENTS)) {
        let settings = Settings { merge_backends: true, ..start(false) };
        run_from(&chain_of_client_policies(), &commits, &settings);
    }
}

#[test]
fn a_chain_of_client_policies_is_merged_before_the_first_edit() {
    let mut pipeline = Pipeline::new(start(false));
    let apply =
        chain_of_client_policies().iter().map(|document| Object::from_json(document).unwrap()).collect();
    pipeline.commit(ChangeSet { apply, now: Some(EXPIRY - 100_000), ..ChangeSet::default() });
    let merged =
        |status: &&Status| format!("{status:?}").contains("Merged with policies default/two, default/one");
    assert_eq!(pipeline.statuses().filter(merged).count(), 1);
}

#[test]
fn the_generator_makes_every_kind() {
    for kind in KINDS {
        for seed in 0..50u8 {
            let bytes: Vec<u8> = (0..120u32).map(|i| (i * 37 + u32::from(seed) * 101 % 251) as u8).collect();
            let document = Choices::new(&bytes).object(kind);
            let object = Object::from_json(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
            assert_eq!(reference(&object).kind, kind);
            assert!(kind == Kind::GatewayClass || !object.name().is_empty());
        }
    }
    assert!(NAMES.len() > 2 && NAMESPACES.len() > 1);
}
