//! Events on objects: what is found wrong with them, told once.
//!
//! An Event is named after what it says, so a process that says the same again, after a restart or in a later term,
//! finds it there. Events end by themselves, an hour later unless the API server is told otherwise; what stays wrong is
//! not said again.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ir::problem::Subject;
use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use xxhash_rust::xxh3::Xxh3Default;

use crate::{
    EVENT_GAP,
    call::{ApiServer, Failure, Path, Verb},
    metrics::Metrics,
    queue::{Pace, Verdict},
    work::{Desk, Work},
};

/// Longest back-off.
const LONGEST: Duration = Duration::from_secs(60);
/// Most bytes of a message that an API server takes.
const MOST_BYTES: usize = 1024;
/// Namespace of Events on objects that are in none.
const CLUSTER: &str = "default";

/// What an Event says, and of which object. There is one at a time for each object and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The object that it is about.
    pub object: Subject,
    /// Why, as one word in upper camel case.
    pub reason: String,
    /// What is wrong and what to do; a longer one than 1,024 bytes is cut.
    pub message: String,
}

type Key = (Subject, String);

/// What is to be said, and whether it has been.
#[derive(Debug)]
pub(crate) struct Wish {
    message: String,
    said: bool,
}

/// Takes Events. Clones share.
#[derive(Clone, Debug)]
pub struct EventWriter(Arc<Events>);

#[derive(Debug)]
pub(crate) struct Events {
    desk: Desk<Key, FxHashMap<Key, Wish>>,
    api: ApiServer,
    controller: Arc<str>,
    instance: String,
    metrics: Metrics,
    /// In this term the API server has refused one: the roles that Envoy Gateway's chart gives allow none.
    forbidden: Mutex<bool>,
}

impl EventWriter {
    pub(crate) fn new(api: ApiServer, controller: Arc<str>, instance: &str, metrics: Metrics) -> Self {
        let pace = Pace { gap: EVENT_GAP, longest: LONGEST };
        let desk = Desk::new(FxHashMap::default(), pace);
        let forbidden = Mutex::new(false);
        EventWriter(Arc::new(Events {
            desk,
            api,
            controller,
            instance: instance.to_owned(),
            metrics,
            forbidden,
        }))
    }

    /// Everything that there is to say now. What was said before with the same words is not said again; what is not
    /// among it is forgotten, so that it is said when it comes again.
    pub fn set(&self, events: Vec<Event>) {
        let mut desk = self.0.desk.open();
        let mut known = std::mem::take(desk.state());
        for Event { object, reason, message } in events {
            let key = (object, reason);
            let wish = known.remove(&key).filter(|wish| wish.message == message);
            if wish.is_none() {
                desk.push(&key);
            }
            desk.state().insert(key, wish.unwrap_or(Wish { message, said: false }));
        }
    }

    pub(crate) fn work(&self) -> Arc<Events> {
        self.0.clone()
    }
}

impl Work for Events {
    type Key = Key;
    type State = FxHashMap<Key, Wish>;

    fn desk(&self) -> &Desk<Self::Key, Self::State> {
        &self.desk
    }

    fn begin(&self, state: &mut Self::State) -> Vec<Self::Key> {
        *self.forbidden() = false;
        state.iter().filter(|(_, wish)| !wish.said).map(|(key, _)| key.clone()).collect()
    }

    async fn carry_out(self: Arc<Self>, key: Self::Key) -> Verdict {
        let wish = self.desk.open().state().get(&key).map(|wish| (wish.message.clone(), wish.said));
        let Some((message, false)) = wish else { return Verdict::Forget };
        if *self.forbidden() {
            return Verdict::Done;
        }
        match self.say(&key, &message).await {
            // One with this name says the same.
            Ok(()) | Err(Failure::Conflict) => {
                if let Some(wish) =
                    self.desk.open().state().get_mut(&key).filter(|wish| wish.message == message)
                {
                    wish.said = true;
                }
                Verdict::Done
            }
            // The object is gone, or served in another version: there is nothing to say it of.
            Err(Failure::NotFound | Failure::NotLeading) => Verdict::Done,
            Err(Failure::Forbidden(words)) => {
                if !std::mem::replace(&mut *self.forbidden(), true) {
                    tracing::info!(
                        "findings are not told as Events, for want of the right to create them (`events`, verb `create`): {words}"
                    );
                }
                Verdict::Done
            }
            Err(Failure::Invalid(words)) => {
                tracing::warn!(object = %key.0, reason = key.1, "the API server refuses an Event: {words}");
                Verdict::Done
            }
            Err(Failure::Busy(pause)) => Verdict::Again(pause),
            Err(_) => Verdict::Again(Duration::ZERO),
        }
    }

    fn waiting(&self, depth: usize) {
        self.metrics.waiting("event", depth);
    }
}

impl Events {
    fn forbidden(&self) -> std::sync::MutexGuard<'_, bool> {
        self.forbidden.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one Event. The object is read before, because an Event without its `uid` is not shown with it.
    async fn say(&self, key: &Key, message: &str) -> Result<(), Failure> {
        let object = &key.0;
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let live = Path::object(&object.api_version, &object.kind, namespace, &object.name);
        let live = self.api.call(Verb::Get, &live).await?;
        let document = self.document(key, message, &live["metadata"]);
        let place = if namespace.is_empty() { CLUSTER } else { namespace };
        let result = self.api.call(Verb::Create(document), &Path::all("v1", "Event", place)).await;
        self.metrics.event(&result);
        result.map(|_| ())
    }

    fn document(&self, (object, reason): &Key, message: &str, metadata: &Value) -> Value {
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default().to_string();
        let mut end = message.len().min(MOST_BYTES);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let mut hash = Xxh3Default::new();
        (object, reason, message, metadata["uid"].as_str()).hash(&mut hash);
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": format!("{}.{:016x}", object.name, hash.finish()),
                "namespace": object.namespace.as_deref().unwrap_or(CLUSTER),
            },
            "involvedObject": {
                "apiVersion": object.api_version,
                "kind": object.kind,
                "namespace": object.namespace,
                "name": object.name,
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "type": "Warning",
            "reason": reason,
            "message": &message[..end],
            "source": { "component": &*self.controller },
            "reportingComponent": &*self.controller,
            "reportingInstance": self.instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        })
    }
}
