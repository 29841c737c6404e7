//! What is wished of one fleet, and what this process has applied of it in this term.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use super::{
    FLEET_GAP, LONGEST_REPAIR, Place,
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

/// What a workload keeps whatever is wished of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// Its selector, which never changes, if it is another than the document's.
    pub(super) selector: Option<Value>,
    /// The object as it was found, if it says something as well in another form.
    pub(super) found: Option<Arc<Value>>,
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
    /// What a workload keeps of the one that was found.
    pub(super) kept: Kept,
    /// Whether we set the number of replicas; else an autoscaler does, and its changes are no edits.
    pub(super) sets_replicas: bool,
}

/// One fleet.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) namespace: String,
    pub(super) selector: BTreeMap<String, String>,
    pub(super) place: Place,
    pub(super) wish: Wish,
    pub(super) applied: BTreeMap<Id, Applied>,
    /// The objects beside which no others were found (or were deleted).
    pub(super) alone: Option<BTreeSet<Id>>,
    /// When the last repair was due, and how long after it the next may be.
    repair: Option<(Moment, Duration)>,
}

impl Record {
    pub(super) fn wish(
        &mut self,
        namespace: String,
        selector: BTreeMap<String, String>,
        place: Place,
        wish: Wish,
    ) {
        self.namespace = namespace;
        self.selector = selector;
        self.place = place;
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
