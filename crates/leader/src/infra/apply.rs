//! One round of a fleet: apply what is wished, then delete what is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ir::infra::{DeployMode, labels};
use serde_json::Value;

use super::{
    FIELD_MANAGER, FleetState, Fleets, Place, again,
    fleet::{Applied, Kept, Record, Wish},
    object::{Id, hash, live_hash, query, selects},
};
use crate::{
    call::{Failure, Path, Verb},
    queue::Verdict,
};

/// What went wrong in a round.
#[derive(Debug, Default)]
struct Trouble {
    /// In words, with the object.
    errors: Vec<String>,
    failures: Vec<Failure>,
}

impl Trouble {
    fn add(&mut self, what: impl std::fmt::Display, failure: Failure) {
        self.errors.push(format!("{what}: {failure}"));
        self.failures.push(failure);
    }
}

impl Fleets {
    /// Brings one fleet to what is wished.
    pub(super) async fn round(&self, name: &Arc<str>) -> Verdict {
        let Some(record) = self.desk.open().state().fleets.get(name).cloned() else { return Verdict::Forget };
        let mut trouble = Trouble::default();
        match &record.wish {
            Wish::Hold => return Verdict::Done,
            Wish::Nothing => self.clear(name, &record, &mut trouble).await,
            Wish::Objects(objects) => self.reach(name, &record, objects, &mut trouble).await,
        }
        if trouble.failures.contains(&Failure::NotLeading) {
            return Verdict::Done;
        }
        for error in &trouble.errors {
            match record.place {
                Place::Infrastructure => {
                    tracing::warn!(fleet = %name, %error, "infrastructure could not be written");
                }
                Place::User => tracing::debug!(fleet = %name, %error, "a Gateway is not made known"),
            }
        }
        let done = trouble.errors.is_empty();
        if done && record.wish == Wish::Nothing {
            self.publish(name, None);
            return self.removed(name);
        }
        let is_wished = record.wish != Wish::Nothing;
        self.publish(name, Some(FleetState { applied: done && is_wished, errors: trouble.errors }));
        if done { Verdict::Done } else { again(&trouble.failures) }
    }

    /// Forgets a fleet that is gone, unless it is wished again meanwhile.
    fn removed(&self, name: &Arc<str>) -> Verdict {
        let mut desk = self.desk.open();
        let state = desk.state();
        if state.fleets.get(name).is_some_and(|record| record.wish == Wish::Nothing) {
            state.fleets.remove(name);
            state.owners.retain(|_, fleet| fleet != name);
        } else if let Some(record) = state.fleets.get_mut(name) {
            // What was applied before the removal is not there any more.
            record.forget();
        }
        Verdict::Forget
    }

    /// Applies the objects in order; one that fails does not hold up the others.
    async fn reach(&self, name: &Arc<str>, record: &Record, objects: &[Value], trouble: &mut Trouble) {
        let mut wished = BTreeSet::new();
        // Kinds of which everything wished stands: the old may go when the new is there, never before.
        let mut standing: BTreeMap<Box<str>, bool> = BTreeMap::new();
        for document in objects {
            let Some(id) = Id::of(document) else {
                trouble.add(name, Failure::Invalid("a document without kind or name".to_owned()));
                continue;
            };
            wished.insert(id.clone());
            let result = self.one(name, record, &id, document).await;
            let stands = standing.entry(id.kind.clone()).or_insert(true);
            *stands &= result.is_ok();
            match result {
                Ok(()) => {}
                Err(Failure::NotLeading) => return trouble.add(&id, Failure::NotLeading),
                Err(failure) => trouble.add(&id, failure),
            }
        }
        if record.alone.as_ref() == Some(&wished) {
            return;
        }
        let before = trouble.errors.len();
        for &(api_version, kind) in record.place.kinds() {
            // A workload of another kind is the old one of a switch; it waits for the new one too.
            let stands = |kind: &str| standing.get(kind).copied().unwrap_or(true);
            let is_workload = api_version == "apps/v1";
            if stands(kind) && (!is_workload || (stands("Deployment") && stands("DaemonSet"))) {
                self.prune(record, api_version, kind, &wished, trouble).await;
            }
        }
        if trouble.errors.len() == before && standing.values().all(|stands| *stands) {
            let mut desk = self.desk.open();
            if let Some(record) = desk.state().fleets.get_mut(name) {
                record.applied.retain(|id, _| wished.contains(id));
                record.alone = Some(wished);
            }
        }
    }

    /// Applies one object, unless it stands already.
    async fn one(&self, name: &Arc<str>, record: &Record, id: &Id, document: &Value) -> Result<(), Failure> {
        let wished = hash(document);
        let known = record.applied.get(id);
        if known.is_some_and(|known| known.document == Some(wished)) {
            return Ok(());
        }
        let mut document = document.clone();
        let kept = match known {
            Some(known) => known.kept.clone(),
            None => self.inspect(record, id, &document).await?,
        };
        if let Some(found) = &kept.found {
            (self.keep)(found, &mut document);
        }
        if let Some(selector) = &kept.selector {
            document["spec"]["selector"] = selector.clone();
            if !selects(selector, &document["spec"]["template"]["metadata"]["labels"]) {
                return Err(Failure::Invalid(
                    "it exists with a selector that does not fit its Pods any more, and selectors never change; \
                     delete it, so that it is created anew"
                        .to_owned(),
                ));
            }
        }
        let sets_replicas = document["spec"]["replicas"].is_number();
        let result = self.api.call(Verb::Apply { manager: FIELD_MANAGER, document }, &id.path()).await;
        if result != Err(Failure::NotLeading) {
            self.metrics.applied(&id.kind, &id.namespace, &id.name, &result);
        }
        let mut desk = self.desk.open();
        let state = desk.state();
        let applied = state.fleets.get_mut(name).map(|record| &mut record.applied);
        match result {
            Ok(answer) => {
                let version = answer["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                let stands = Applied {
                    document: Some(wished),
                    live: live_hash(&answer, sets_replicas),
                    resource_version: version.into(),
                    kept,
                    sets_replicas,
                };
                applied.map(|applied| applied.insert(id.clone(), stands));
                state.owners.insert(id.clone(), name.clone());
                Ok(())
            }
            Err(failure) => {
                // It may not be what it was: the next round looks at it first.
                applied.map(|applied| applied.remove(id));
                Err(failure)
            }
        }
    }

    /// Looks at an object before its first apply: whether we may take it, and what it keeps.
    async fn inspect(&self, record: &Record, id: &Id, document: &Value) -> Result<Kept, Failure> {
        let must_be_ours = self.mode == DeployMode::GatewayNamespace || record.place == Place::User;
        if !must_be_ours && !id.is_workload() {
            return Ok(Kept::default());
        }
        let live = match self.api.call(Verb::Get, &id.path()).await {
            Err(Failure::NotFound) => return Ok(Kept::default()),
            live => live?,
        };
        if must_be_ours {
            let labels = &live["metadata"]["labels"];
            let owning = record.selector.iter().filter(|(name, _)| decides_ownership(name));
            if let Some((name, value)) = owning.into_iter().find(|(name, value)| labels[*name] != **value) {
                return Err(Failure::Invalid(format!(
                    "it exists and is not of this Gateway: its label {name} is not {value}; \
                     rename one of the two, or delete it"
                )));
            }
        }
        if !id.is_workload() {
            return Ok(Kept::default());
        }
        let selector = &live["spec"]["selector"];
        let differs = selector.is_object() && *selector != document["spec"]["selector"];
        let selector = differs.then(|| selector.clone());
        let says_the_same = (self.keep)(&live, &mut document.clone());
        Ok(Kept { selector, found: says_the_same.then(|| live.into()) })
    }

    /// Deletes objects of a kind that carry the fleet's labels and are not wished.
    async fn prune(
        &self,
        record: &Record,
        api_version: &str,
        kind: &str,
        wished: &BTreeSet<Id>,
        trouble: &mut Trouble,
    ) {
        let items = match self.list(api_version, kind, &record.namespace, &query(&record.selector)).await {
            Ok(items) => items,
            Err(failure) => return trouble.add(format_args!("{kind} objects"), failure),
        };
        for item in items {
            let Some(id) = Id::of_item(api_version, kind, &item) else { continue };
            if !wished.contains(&id)
                && let Err(failure) = self.delete(&id, &item).await
            {
                trouble.add(&id, failure);
            }
        }
    }

    /// Deletes everything that carries the fleet's labels.
    async fn clear(&self, name: &Arc<str>, record: &Record, trouble: &mut Trouble) {
        tracing::info!(fleet = %name, "infrastructure is deleted");
        for &(api_version, kind) in record.place.kinds() {
            self.prune(record, api_version, kind, &BTreeSet::new(), trouble).await;
        }
    }

    /// Objects of a kind with these labels; none where the API server does not know the kind.
    pub(super) async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Value>, Failure> {
        // Without a selector, everything of everybody would be meant.
        if selector.is_empty() {
            return Ok(Vec::new());
        }
        let path = Path::all(api_version, kind, namespace);
        match self.api.call(Verb::List { selector: selector.to_owned() }, &path).await {
            Ok(mut list) => match list["items"].take() {
                Value::Array(items) => Ok(items),
                _ => Ok(Vec::new()),
            },
            Err(Failure::NotFound) => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes the object that was seen, and no other that may have its name by now.
    pub(super) async fn delete(&self, id: &Id, seen: &Value) -> Result<(), Failure> {
        if seen["metadata"]["deletionTimestamp"].is_string() {
            return Ok(());
        }
        let uid = seen["metadata"]["uid"].as_str().map(str::to_owned);
        let result = match self.api.call(Verb::Delete { uid }, &id.path()).await {
            // Gone, or another object by now.
            Err(Failure::NotFound | Failure::Conflict) => Ok(()),
            result => result.map(|_| ()),
        };
        if result != Err(Failure::NotLeading) {
            self.metrics.deleted(&id.kind, &id.namespace, &id.name, &result);
        }
        if result.is_ok() {
            tracing::info!(object = %id, "deleted");
        }
        result
    }
}

/// Labels that tell whose an object is; of those of infrastructure, the ones that Envoy Gateway compares.
fn decides_ownership(label: &str) -> bool {
    [
        labels::MANAGED_BY,
        labels::OWNING_GATEWAY_NAMESPACE,
        labels::OWNING_GATEWAY_NAME,
        labels::OWNING_GATEWAY_CLASS,
        labels::COMPONENT,
        labels::GATEWAY_NAME,
    ]
    .contains(&label)
}
