//! The loop of every writer: while this process leads, work on the keys that are due, some at a time.

use std::{
    fmt::Debug,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustc_hash::FxHashMap;
use tokio::{
    sync::Notify,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Clock, Leadership, Moment, chance,
    gate::Gate,
    queue::{Pace, Queue, Verdict},
};

/// Wishes of one sort and how they are carried out.
pub(crate) trait Work: Send + Sync + 'static {
    /// What a wish is about.
    type Key: Clone + Ord + Hash + Debug + Send + Sync + 'static;
    /// What is wished, and what is known of the live objects.
    type State: Send + 'static;

    /// The desk that the wishes lie on.
    fn desk(&self) -> &Desk<Self::Key, Self::State>;

    /// This process leads from now on: every key that there may be something to do for. What was known of the live
    /// objects may be old.
    fn begin(&self, state: &mut Self::State) -> Vec<Self::Key>;

    /// Carries out what is wished for a key now. Calls end by themselves when the term does.
    fn carry_out(self: Arc<Self>, key: Self::Key) -> impl Future<Output = Verdict> + Send;

    /// Tells how many keys wait.
    fn waiting(&self, depth: usize);
}

/// Wishes, and the queue of those that are to be carried out.
#[derive(Debug)]
pub(crate) struct Desk<K, S> {
    clock: Clock,
    inner: Mutex<Inner<K, S>>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner<K, S> {
    state: S,
    queue: Queue<K>,
    /// Whether this process leads; else nothing is queued, because all is when it begins to.
    leads: bool,
}

/// The desk while somebody works at it.
pub(crate) struct Open<'a, K, S> {
    inner: MutexGuard<'a, Inner<K, S>>,
    desk: &'a Desk<K, S>,
}

impl<K: Clone + Ord + Hash, S> Open<'_, K, S> {
    /// What is wished and known.
    pub(crate) fn state(&mut self) -> &mut S {
        &mut self.inner.state
    }

    /// There is something to do for this key.
    pub(crate) fn push(&mut self, key: &K) {
        let now = self.desk.clock.now();
        self.push_at(key, now);
    }

    /// There is something to do for this key from then on.
    pub(crate) fn push_at(&mut self, key: &K, at: Moment) {
        if self.inner.leads {
            self.inner.queue.push_at(key, at);
            self.desk.changed.notify_one();
        }
    }
}

impl<K: Clone + Ord + Hash, S> Desk<K, S> {
    pub(crate) fn new(state: S, pace: Pace) -> Self {
        let inner = Inner { state, queue: Queue::new(pace), leads: false };
        Desk { clock: Clock::new(), inner: Mutex::new(inner), changed: Notify::new() }
    }

    /// Opens the desk; it must not be held over an await.
    pub(crate) fn open(&self) -> Open<'_, K, S> {
        Open { inner: self.inner.lock().unwrap_or_else(PoisonError::into_inner), desk: self }
    }

    /// The moment on the desk's clock.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }
}

/// Carries out wishes while this process leads, until `ended`.
pub(crate) async fn run<W: Work>(work: Arc<W>, gate: Arc<Gate>, ended: CancellationToken, workers: usize) {
    let mut leadership = gate.leadership();
    while !ended.is_cancelled() {
        let leads = matches!(*leadership.borrow_and_update(), Leadership::Leading { .. });
        if let Some(over) = gate.over().filter(|_| leads) {
            lead(&work, &over, workers).await;
            continue;
        }
        tokio::select! {
            () = ended.cancelled() => return,
            changed = leadership.changed() => if changed.is_err() { return },
        }
    }
}

/// One term.
async fn lead<W: Work>(work: &Arc<W>, over: &CancellationToken, workers: usize) {
    let desk = work.desk();
    {
        let mut open = desk.open();
        open.inner.leads = true;
        let keys = work.begin(&mut open.inner.state);
        let now = desk.now();
        for key in keys {
            open.inner.queue.push(&key, now);
        }
    }
    let mut tasks = JoinSet::new();
    let mut running: FxHashMap<Id, W::Key> = FxHashMap::default();
    while !over.is_cancelled() {
        let due = start(work, &mut tasks, &mut running, workers);
        tokio::select! {
            () = over.cancelled() => {}
            () = desk.changed.notified() => {}
            () = until(desk.clock, due) => {}
            Some(ended) = tasks.join_next_with_id() => finish(work, &mut running, ended),
        }
    }
    desk.open().inner.leads = false;
    // Calls have ended with the term, so that this takes no time.
    while let Some(ended) = tasks.join_next_with_id().await {
        finish(work, &mut running, ended);
    }
    desk.open().inner.queue.clear();
    work.waiting(0);
}

/// Begins work on the keys that are due; yields when the next one is, if there is a worker for it.
fn start<W: Work>(
    work: &Arc<W>,
    tasks: &mut JoinSet<Verdict>,
    running: &mut FxHashMap<Id, W::Key>,
    workers: usize,
) -> Option<Moment> {
    let desk = work.desk();
    let mut open = desk.open();
    while running.len() < workers
        && let Some(key) = open.inner.queue.take(desk.now())
    {
        let task = tasks.spawn(work.clone().carry_out(key.clone()));
        running.insert(task.id(), key);
    }
    work.waiting(open.inner.queue.waiting());
    // Without a free worker the end of a task is what is waited for.
    open.inner.queue.next_due().filter(|_| running.len() < workers)
}

fn finish<W: Work>(
    work: &Arc<W>,
    running: &mut FxHashMap<Id, W::Key>,
    ended: Result<(Id, Verdict), tokio::task::JoinError>,
) {
    let (id, verdict) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            tracing::error!(%error, "work on a wish broke off");
            (error.id(), Verdict::Again(std::time::Duration::ZERO))
        }
    };
    let Some(key) = running.remove(&id) else { return };
    let desk = work.desk();
    let now = desk.now();
    desk.open().inner.queue.finish(&key, now, verdict, chance::fraction());
}

async fn until(clock: Clock, due: Option<Moment>) {
    match due {
        Some(due) => tokio::time::sleep_until(clock.instant(due)).await,
        None => std::future::pending().await,
    }
}
