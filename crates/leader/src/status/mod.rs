//! Statuses: the wish is compared with the live one and written only where they differ.
//!
//! The roles that Envoy Gateway's chart gives allow `update` on `/status` and no `patch`, so every write is a
//! replacement of the status that was seen, with its `resourceVersion` as precondition: what others have written
//! meanwhile is a conflict and never lost.

mod record;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ir::{
    Kind, ObjectRef,
    status::{Status, StatusBody},
};
use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use status_json::{MAX_MESSAGE, Merge, Shape};
use tokio::time::Instant;

use crate::{
    STATUS_GAP,
    call::{ApiServer, Failure, Path, Verb},
    metrics::Metrics,
    queue::{Pace, Verdict},
    work::{Desk, Work},
};
pub use record::Live;
pub(crate) use record::newer;
use record::{Record, Seen, generation};

/// Longest back-off of one status.
const LONGEST: Duration = Duration::from_secs(30);
/// What the API server refuses or forbids, it may take after an upgrade of CRDs or roles.
const REFUSED: Duration = Duration::from_secs(60);
/// Lengths of messages that are tried one after the other, in characters, when a status is too large.
const MESSAGE_LIMITS: [usize; 3] = [MAX_MESSAGE, 512, 64];

/// What is wished and known of each object.
#[derive(Debug, Default)]
pub(crate) struct State {
    records: FxHashMap<ObjectRef, Record>,
    /// Kinds of which the watch shows every object: one without a record has nothing of ours.
    watched: BTreeSet<Kind>,
    /// Versions of kinds that are not served in their best one.
    versions: BTreeMap<Kind, &'static str>,
}

impl State {
    fn version(&self, kind: Kind) -> &'static str {
        self.versions.get(&kind).copied().unwrap_or(kind.version())
    }
}

/// Takes wishes for statuses. Clones share; no method waits.
#[derive(Clone, Debug)]
pub struct StatusWriter(Arc<Statuses>);

#[derive(Debug)]
pub(crate) struct Statuses {
    desk: Desk<ObjectRef, State>,
    api: ApiServer,
    controller: Arc<str>,
    metrics: Metrics,
}

impl StatusWriter {
    pub(crate) fn new(api: ApiServer, controller: Arc<str>, metrics: Metrics) -> Self {
        let pace = Pace { gap: STATUS_GAP, longest: LONGEST };
        let desk = Desk::new(State::default(), pace);
        StatusWriter(Arc::new(Statuses { desk, api, controller, metrics }))
    }

    /// The status that an object shall have, in place of what was wished before.
    pub fn set(&self, status: &Status) {
        let mut desk = self.0.desk.open();
        let record = desk.state().records.entry(status.object.clone()).or_default();
        record.wish = Some(Arc::new(status.body.clone()));
        record.absent = false;
        record.settled = None;
        desk.push(&status.object);
    }

    /// The object shall have no status of ours any more: our entries are taken away.
    pub fn clear(&self, object: &ObjectRef) {
        let mut desk = self.0.desk.open();
        let state = desk.state();
        if !state.records.contains_key(object) && state.watched.contains(&object.kind) {
            return;
        }
        let record = state.records.entry(object.clone()).or_default();
        record.wish = None;
        record.settled = None;
        if record.absent {
            state.records.remove(object);
        } else {
            desk.push(object);
        }
    }

    /// The object as the watch has seen it. What is not wished is found thereby, be it left from an earlier run or
    /// written by somebody else. Who calls this for one object of a kind calls it for all, and before
    /// [`StatusWriter::clear`]; for kinds that it is never called for, objects are read when something is wished.
    /// Kinds that have no status of ours are passed over.
    pub fn observe(&self, object: &ObjectRef, live: Live<'_>) {
        if Shape::of(object.kind).is_none() {
            return;
        }
        let mut desk = self.0.desk.open();
        desk.state().watched.insert(object.kind);
        let record = desk.state().records.entry(object.clone()).or_default();
        if record.see(Seen::new(live)) {
            record.absent = false;
            // What is not ours is kept all the same: the wish for a new object comes after it.
            if record.wish.is_some() || has_ours(object, live.status, &self.0.controller) {
                desk.push(object);
            }
        }
    }

    /// Objects of a kind are read and written in this version of its group from now on.
    pub fn served(&self, kind: Kind, version: &'static str) {
        let mut desk = self.0.desk.open();
        let state = desk.state();
        if state.version(kind) == version {
            return;
        }
        state.versions.insert(kind, version);
        // What was not found in the other version may be there in this one.
        let of_kind = state.records.iter_mut().filter(|(object, _)| object.kind == kind);
        let tried: Vec<ObjectRef> = of_kind
            .map(|(object, record)| {
                (record.absent, record.settled) = (false, None);
                object.clone()
            })
            .collect();
        tried.iter().for_each(|object| desk.push(object));
    }

    /// The object is gone. What is wished for it is kept, because it may come again as it was.
    pub fn gone(&self, object: &ObjectRef) {
        let mut desk = self.0.desk.open();
        if let Some(record) = desk.state().records.get_mut(object) {
            record.live = None;
            record.absent = true;
            if record.wish.is_none() {
                desk.state().records.remove(object);
            }
        }
    }

    pub(crate) fn work(&self) -> Arc<Statuses> {
        self.0.clone()
    }
}

/// Whether any entry is ours; statuses with one owner tell nothing of who wrote them.
fn has_ours(object: &ObjectRef, status: Option<&Value>, controller: &str) -> bool {
    Shape::of(object.kind)
        .is_some_and(|shape| status_json::merge(status, None, shape, context(controller, "", 0)).is_some())
}

fn context<'a>(controller: &'a str, now: &'a str, message_limit: usize) -> Merge<'a> {
    Merge { controller, now, message_limit }
}

impl Work for Statuses {
    type Key = ObjectRef;
    type State = State;

    fn desk(&self) -> &Desk<Self::Key, Self::State> {
        &self.desk
    }

    fn begin(&self, state: &mut Self::State) -> Vec<Self::Key> {
        state.records.values_mut().for_each(|record| record.settled = None);
        state.records.keys().cloned().collect()
    }

    async fn carry_out(self: Arc<Self>, key: Self::Key) -> Verdict {
        match self.write(&key).await {
            Ok(verdict) => verdict,
            Err(failure) => self.failed(&key, &failure),
        }
    }

    fn waiting(&self, depth: usize) {
        self.metrics.waiting("status", depth);
    }
}

impl Statuses {
    /// Compares, and writes if something differs.
    async fn write(&self, object: &ObjectRef) -> Result<Verdict, Failure> {
        let Some(record) = self.desk.open().state().records.get(object).cloned() else {
            return Ok(Verdict::Forget);
        };
        let Some(shape) = Shape::of(object.kind) else { return Ok(Verdict::Forget) };
        if record.absent {
            return Ok(Verdict::Done);
        }
        if record.wish.is_none() && shape == Shape::Owned {
            return Ok(self.written(object, true));
        }
        let wished = record.wish.as_deref().and_then(generation);
        let live = match record.live {
            // What is older than the wish is not what the wish was made of.
            Some(live) if wished.is_none_or(|wished| live.generation >= wished) => live,
            _ => self.read(object).await?,
        };
        if wished.is_some_and(|wished| wished < live.generation) {
            // The object has changed since; the wish that follows from that is on its way.
            return Ok(Verdict::Done);
        }
        if record.settled.as_ref() == Some(&live.resource_version) {
            return Ok(Verdict::Done);
        }
        let wish = record.wish.as_ref();
        let live = if live.suffices(shape, &self.controller) || !self.differs(&live, wish, shape) {
            live
        } else {
            self.read(object).await?
        };
        self.replace(object, wish, shape, &live).await?;
        Ok(self.written(object, record.wish.is_none()))
    }

    fn differs(&self, live: &Seen, wish: Option<&Arc<StatusBody>>, shape: Shape) -> bool {
        let context = context(&self.controller, "", MAX_MESSAGE);
        status_json::merge(live.status().as_ref(), wish.map(Arc::as_ref), shape, context).is_some()
    }

    /// Writes the status if it differs, with shorter messages if it must be.
    async fn replace(
        &self,
        object: &ObjectRef,
        wish: Option<&Arc<StatusBody>>,
        shape: Shape,
        live: &Seen,
    ) -> Result<(), Failure> {
        let now = now();
        let body = wish.map(Arc::as_ref);
        for limit in MESSAGE_LIMITS {
            let context = context(&self.controller, &now, limit);
            let Some(status) = status_json::merge(live.status().as_ref(), body, shape, context) else {
                self.metrics.statuses_unchanged.inc();
                return Ok(());
            };
            match self.put(object, live, status).await {
                Err(Failure::TooLarge) => {
                    tracing::warn!(%object, limit, "the status is too large; its messages are cut");
                }
                Err(failure) => return Err(failure),
                Ok(answer) => {
                    let seen = Seen::of(&answer);
                    let differs = status_json::merge(seen.status().as_ref(), body, shape, context).is_some();
                    let mut desk = self.desk.open();
                    if let Some(record) = desk.state().records.get_mut(object) {
                        // An older CRD takes less than was written: to write it again would change nothing.
                        // The same holds for a status that was cut to be taken at all. Another wish may have come.
                        let as_far_as_possible = differs || limit < MAX_MESSAGE;
                        if as_far_as_possible && same(record.wish.as_ref(), wish) {
                            record.settled = Some(seen.resource_version.clone());
                        }
                        record.see(seen);
                    }
                    return Ok(());
                }
            }
        }
        Err(Failure::TooLarge)
    }

    async fn put(&self, object: &ObjectRef, live: &Seen, status: Value) -> Result<Value, Failure> {
        let version = self.desk.open().state().version(object.kind);
        let mut document = json!({
            "apiVersion": object.kind.api_version_in(version),
            "kind": object.kind.name(),
            "metadata": { "name": object.name, "resourceVersion": live.resource_version },
            "status": status,
        });
        if !object.namespace.is_empty() {
            document["metadata"]["namespace"] = object.namespace.as_ref().into();
        }
        let begun = Instant::now();
        let result = self.api.call(Verb::Replace(document), &path(object, version).status()).await;
        if !matches!(result, Err(Failure::NotLeading)) {
            self.metrics.status(object.kind.name(), &result, begun.elapsed());
        }
        result
    }

    async fn read(&self, object: &ObjectRef) -> Result<Seen, Failure> {
        let version = self.desk.open().state().version(object.kind);
        let seen = Seen::of(&self.api.call(Verb::Get, &path(object, version)).await?);
        if let Some(record) = self.desk.open().state().records.get_mut(object) {
            record.see(seen.clone());
        }
        Ok(seen)
    }

    /// A record without a wish has done its service, unless a wish has come meanwhile or the watch keeps it.
    fn written(&self, object: &ObjectRef, cleared: bool) -> Verdict {
        if !cleared {
            return Verdict::Done;
        }
        let mut desk = self.desk.open();
        let state = desk.state();
        let is_done = state.records.get(object).is_some_and(|record| record.wish.is_none());
        if is_done && !state.watched.contains(&object.kind) {
            state.records.remove(object);
        }
        Verdict::Forget
    }

    fn failed(&self, object: &ObjectRef, failure: &Failure) -> Verdict {
        match failure {
            Failure::NotLeading => return Verdict::Done,
            Failure::NotFound => {
                let mut desk = self.desk.open();
                if let Some(record) = desk.state().records.get_mut(object) {
                    record.live = None;
                    record.absent = true;
                }
                return Verdict::Done;
            }
            Failure::Conflict => {
                if let Some(record) = self.desk.open().state().records.get_mut(object) {
                    record.live = None;
                }
                tracing::debug!(%object, "the object has changed before its status was written");
            }
            failure => tracing::warn!(%object, reason = %failure, "the status could not be written"),
        }
        match failure {
            Failure::Busy(pause) => Verdict::Again(*pause),
            Failure::Forbidden(_) | Failure::Invalid(_) | Failure::TooLarge => Verdict::Again(REFUSED),
            _ => Verdict::Again(Duration::ZERO),
        }
    }
}

/// Whether two wishes are the same one, not merely equal.
fn same(one: Option<&Arc<StatusBody>>, other: Option<&Arc<StatusBody>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

fn path(object: &ObjectRef, version: &str) -> Path {
    let api_version = object.kind.api_version_in(version);
    Path::object(&api_version, object.kind.name(), &object.namespace, &object.name)
}

/// The time in RFC 3339 with seconds, as conditions have it.
fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
