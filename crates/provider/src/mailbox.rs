//! A channel of one place whose full side merges: the reader gets everything, in as few updates as it can take.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use api::Object;
use ir::ObjectRef;
use tokio::sync::Notify;

/// The side that writes. Dropping it ends the stream.
pub(crate) struct Writer<H>(Arc<Shared<H>>);

/// The side that reads. Dropping it runs `on_drop`.
pub(crate) struct Reader<H> {
    shared: Arc<Shared<H>>,
    on_drop: Box<dyn Fn() + Send + Sync>,
}

/// What waited: the newest head, and all objects since the last taking, ordered by reference.
pub(crate) struct Taken<H> {
    /// What an update says beside its objects.
    pub(crate) head: H,
    /// Objects that are new or changed.
    pub(crate) apply: Vec<Object>,
    /// Objects that are gone.
    pub(crate) delete: Vec<ObjectRef>,
}

struct Shared<H> {
    state: Mutex<State<H>>,
    ready: Notify,
}

struct State<H> {
    /// The update under way: its newest head.
    waiting: Option<H>,
    /// Objects of the update under way; none for those that are gone. As large as the set of objects at most.
    objects: BTreeMap<ObjectRef, Option<Object>>,
    closed: bool,
}

/// A channel; `on_drop` is called when nobody will read any more.
pub(crate) fn mailbox<H>(on_drop: impl Fn() + Send + Sync + 'static) -> (Writer<H>, Reader<H>) {
    let state = State { waiting: None, objects: BTreeMap::new(), closed: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), ready: Notify::new() });
    (Writer(shared.clone()), Reader { shared, on_drop: Box::new(on_drop) })
}

impl<H> Shared<H> {
    fn lock(&self) -> MutexGuard<'_, State<H>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H> Writer<H> {
    /// Adds to the update that waits, or begins one. Of several entries for an object the last counts.
    pub(crate) fn put(&self, head: H, changes: impl IntoIterator<Item = (ObjectRef, Option<Object>)>) {
        let mut state = self.0.lock();
        state.objects.extend(changes);
        state.waiting = Some(head);
        drop(state);
        self.0.ready.notify_one();
    }
}

impl<H> Drop for Writer<H> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.ready.notify_one();
    }
}

impl<H> Reader<H> {
    /// The next update; none when there will be no more. Cancel safe.
    pub(crate) async fn next(&self) -> Option<Taken<H>> {
        loop {
            if let Some(taken) = self.take() {
                return taken;
            }
            self.shared.ready.notified().await;
        }
    }

    /// The update that waits, if any; the inner option is none at the end.
    fn take(&self) -> Option<Option<Taken<H>>> {
        let mut state = self.shared.lock();
        let Some(head) = state.waiting.take() else {
            return state.closed.then_some(None);
        };
        let objects = std::mem::take(&mut state.objects);
        drop(state);
        let mut taken = Taken { head, apply: Vec::new(), delete: Vec::new() };
        for (reference, object) in objects {
            match object {
                Some(object) => taken.apply.push(object),
                None => taken.delete.push(reference),
            }
        }
        Some(Some(taken))
    }
}

impl<H> Drop for Reader<H> {
    fn drop(&mut self) {
        (self.on_drop)();
    }
}
