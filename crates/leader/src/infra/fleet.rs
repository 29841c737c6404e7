//! What is wished of one fleet, and what this process has applied of it in this term.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use super::{
    FLEET_GAP, LONGEST_REPAIR,
    object::{Id, live_hash},
};
use crate::{Moment, status::newer};

/// What a fleet shall have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Wish {
    /// What it has.
    #[default]
    Hold,
    /// These objects.
    Objects(Arc<Vec<Value>>),
    /// Nothing.
    Nothing,
}

/// One object as it stood after it was applied.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    /// Hash of the document that was applied; `None` when it has to be applied again.
    pub(super) document: Option<u64>,
    /// Hash of the object as the API server answered.
    pub(super) live: u64,
    /// Its version then.
    pub(super) resource_version: Box<str>,
    /// Its generation then; kinds without one have none.
    pub(super) generation: Option<i64>,
    /// Whether the watch has shown it since.
    pub(super) shown: bool,
    /// The selector that a workload keeps, if it is another than the document's.
    pub(super) selector: Option<Value>,
    /// Whether we set the number of replicas; else an autoscaler does, and its changes are no edits.
    pub(super) sets_replicas: bool,
}

/// An object of a fleet, as far as the watch shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// Kind, such as `Deployment`.
    pub kind: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// `metadata.generation`, of kinds that have one.
    pub generation: Option<i64>,
}

/// One fleet.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) namespace: String,
    pub(super) selector: BTreeMap<String, String>,
    pub(super) wish: Wish,
    pub(super) applied: BTreeMap<Id, Applied>,
    /// The objects beside which no others were found (or were deleted).
    pub(super) alone: Option<BTreeSet<Id>>,
    /// When the last repair was due, and how long after it the next may be.
    repair: Option<(Moment, Duration)>,
}

impl Record {
    pub(super) fn wish(&mut self, namespace: String, selector: BTreeMap<String, String>, wish: Wish) {
        self.namespace = namespace;
        self.selector = selector;
        self.wish = wish;
    }

    /// Everything is looked at anew: somebody else may have led meanwhile.
    pub(super) fn forget(&mut self) {
        self.applied.clear();
        self.alone = None;
        self.repair = None;
    }

    /// When the fleet is to be repaired because somebody else has changed this object.
    pub(super) fn observe(&mut self, id: &Id, object: &Value, now: Moment) -> Option<Moment> {
        let applied = self.applied.get_mut(id)?;
        let version = object["metadata"]["resourceVersion"].as_str()?;
        if !newer(&applied.resource_version, version)
            || live_hash(object, applied.sets_replicas) == applied.live
        {
            return None;
        }
        applied.document = None;
        Some(self.repair(now))
    }

    /// When the fleet is to be repaired because this object is gone.
    pub(super) fn gone(&mut self, id: &Id, now: Moment) -> Option<Moment> {
        self.applied.remove(id)?;
        Some(self.repair(now))
    }

    /// When the fleet is to be repaired because what the watch shows of these kinds is not what was applied: an object
    /// of another generation was edited, and one that is not there any more was deleted.
    pub(super) fn compare(&mut self, kinds: &[&str], shown: &[Shown<'_>], now: Moment) -> Option<Moment> {
        let mut gone = Vec::new();
        let mut is_edited = false;
        for (id, applied) in self.applied.iter_mut().filter(|(id, _)| kinds.contains(&&*id.kind)) {
            match shown.iter().find(|shown| id.is(shown.kind, shown.namespace, shown.name)) {
                Some(shown) => {
                    applied.shown = true;
                    // An older generation is one from before the apply, which the watch has not passed yet.
                    if shown.generation.is_some() && shown.generation > applied.generation {
                        applied.document = None;
                        // The next apply tells the generation; until then this edit is one.
                        applied.generation = shown.generation;
                        is_edited = true;
                    }
                }
                None if applied.shown => gone.push(id.clone()),
                None => {}
            }
        }
        for id in &gone {
            self.applied.remove(id);
        }
        (is_edited || !gone.is_empty()).then(|| self.repair(now))
    }

    /// At once after a time of rest; later and later while somebody else keeps changing what we apply, so that two
    /// controllers that disagree do not keep the API server busy.
    fn repair(&mut self, now: Moment) -> Moment {
        let (at, pause) = match self.repair {
            // The change is part of the repair that waits.
            Some((at, pause)) if at > now => (at, pause),
            Some((last, pause)) if now < last + pause + LONGEST_REPAIR => {
                (now.max(last + pause), (pause * 2).min(LONGEST_REPAIR))
            }
            _ => (now, FLEET_GAP),
        };
        self.repair = Some((at, pause));
        at
    }
}
