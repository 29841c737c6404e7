//! A channel of one place whose full side merges: the reader gets everything, in as few updates as it can take.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use api::Object;
use ir::ObjectRef;
use tokio::sync::Notify;

use super::{Update, catalog::Changes};

/// The side that writes. Dropping it ends the stream.
pub(super) struct Writer(Arc<Shared>);

/// The side that reads. Dropping it runs `on_drop`.
pub(super) struct Reader {
    shared: Arc<Shared>,
    on_drop: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Default)]
struct State {
    /// The update under way: its newest part, without objects.
    waiting: Option<Update>,
    /// Objects of the update under way; none for those that are gone. As large as the set of objects at most.
    objects: BTreeMap<ObjectRef, Option<Object>>,
    closed: bool,
}

/// A channel; `on_drop` is called when nobody will read any more.
pub(super) fn mailbox(on_drop: impl Fn() + Send + Sync + 'static) -> (Writer, Reader) {
    let shared = Arc::new(Shared::default());
    (Writer(shared.clone()), Reader { shared, on_drop: Box::new(on_drop) })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Adds to the update that waits, or begins one. `update` comes without objects; these are in `changes`.
    pub(super) fn put(&self, update: Update, changes: Changes) {
        let mut state = self.0.lock();
        state.objects.extend(changes.delete.into_iter().map(|reference| (reference, None)));
        state.objects.extend(changes.apply.into_iter().map(|(reference, object)| (reference, Some(object))));
        state.waiting = Some(update);
        drop(state);
        self.0.ready.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.ready.notify_one();
    }
}

impl Reader {
    /// The next update; none when there will be no more. Cancel safe.
    pub(super) async fn next(&self) -> Option<Update> {
        loop {
            if let Some(taken) = self.take() {
                return taken;
            }
            self.shared.ready.notified().await;
        }
    }

    /// The update that waits, if any.
    fn take(&self) -> Option<Option<Update>> {
        let mut state = self.shared.lock();
        let Some(mut update) = state.waiting.take() else {
            return state.closed.then_some(None);
        };
        for (reference, object) in std::mem::take(&mut state.objects) {
            match object {
                Some(object) => update.apply.push(object),
                None => update.delete.push(reference),
            }
        }
        Some(Some(update))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        (self.on_drop)();
    }
}
