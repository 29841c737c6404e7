//! The thread that owns the pipeline: one writer, no locks.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use ::ir::{Kind, ObjectRef, Problem, status::Status};
use pipeline::{ChangeSet, Commit, Pipeline, Settings};
use provider::Update;
use server::Feeds;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests that may wait for the thread. Senders wait when it is full; nothing is dropped.
const QUEUE: usize = 64;
/// Longest sleep between two looks at the clock while some certificate has a date ahead: a moved clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

enum Request {
    Update(Box<Change>, oneshot::Sender<()>),
    Query(Box<dyn FnOnce(&Pipeline) + Send>),
}

/// What one commit is made of.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Objects and problems; `None` leaves both as they are.
    pub update: Option<Update>,
    /// Whether the update holds every object that there is: all others are gone.
    pub complete: bool,
    /// New settings.
    pub settings: Option<Settings>,
}

/// Who carries further what a commit changed. It runs on the pipeline's thread, so it must not wait.
pub(crate) trait Outlet: Send {
    /// A commit is done, and its resources have been handed to the feeds: `commit.resources` tells of which fleets.
    fn committed(&mut self, pipeline: &Pipeline, commit: &Commit);
}

/// Nobody: whoever wants to know asks.
impl Outlet for () {
    fn committed(&mut self, _: &Pipeline, _: &Commit) {}
}

/// What the rest of the process sees of the pipeline's results.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Number of the last commit; 0 before the first.
    pub revision: u64,
    /// Fleets that must run, by name.
    pub fleets: Arc<std::collections::BTreeMap<Arc<str>, pipeline::FleetSpec>>,
    /// Problems of loading: files and rejected objects.
    pub loading: Arc<[Problem]>,
}

/// A handle to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    requests: mpsc::Sender<Request>,
    view: watch::Receiver<View>,
}

impl Control {
    /// Starts the thread. It ends when all handles are gone; the future completes when it has ended, also by a panic.
    pub(crate) fn start(
        settings: Settings,
        feeds: Feeds,
        outlet: impl Outlet + 'static,
    ) -> std::io::Result<(Control, impl Future<Output = ()> + Send + 'static)> {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (publish, view) = watch::channel(View::default());
        let (alive, ended) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("pipeline".to_owned()).spawn(move || {
            // Dropped with the thread, whatever ends it.
            let _alive = alive;
            let outlet = Box::new(outlet);
            let worker =
                Worker { pipeline: Pipeline::new(settings), feeds, publish, loading: [].into(), outlet };
            runtime.block_on(worker.run(inbox));
        })?;
        let ended = async move {
            let _ = ended.await;
        };
        Ok((Control { requests, view }, ended))
    }

    /// Commits changes and returns when that is done. The provider merges what comes meanwhile into one update, so a
    /// busy pipeline commits larger changes less often.
    pub(crate) async fn update(&self, update: Update) {
        self.change(Change { update: Some(update), ..Change::default() }).await;
    }

    /// Commits a change of any kind and returns when that is done.
    pub(crate) async fn change(&self, change: Change) {
        let (done, committed) = oneshot::channel();
        // The thread ends only with the process: then there is nothing to wait for.
        if self.requests.send(Request::Update(Box::new(change), done)).await.is_ok() {
            let _ = committed.await;
        }
    }

    /// Asks something of the pipeline. `None` when the process is about to end.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Pipeline) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Query(Box::new(move |pipeline| drop(answer.send(ask(pipeline)))));
        self.requests.send(request).await.ok()?;
        answered.await.ok()
    }

    /// Every status as of the last commit.
    pub(crate) async fn statuses(&self) -> Vec<Status> {
        self.query(|pipeline| pipeline.statuses().cloned().collect()).await.unwrap_or_default()
    }

    /// Follows the results.
    pub(crate) fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }
}

struct Worker {
    pipeline: Pipeline,
    feeds: Feeds,
    publish: watch::Sender<View>,
    loading: Arc<[Problem]>,
    outlet: Box<dyn Outlet>,
}

impl Worker {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        loop {
            let due = self.until_boundary();
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(Request::Update(change, done)) => {
                        let changes = self.change_set(*change);
                        self.commit(changes);
                        // Nobody waits when the process is about to end.
                        let _ = done.send(());
                    }
                    Some(Request::Query(ask)) => ask(&self.pipeline),
                    None => return,
                },
                () = tokio::time::sleep(due) => self.commit(ChangeSet::default()),
            }
        }
    }

    fn change_set(&mut self, change: Change) -> ChangeSet {
        let Change { update, complete, settings } = change;
        let Some(mut update) = update else { return ChangeSet { settings, ..ChangeSet::default() } };
        self.loading = update.problems.into();
        if complete {
            let kept: BTreeSet<ObjectRef> = update.apply.iter().filter_map(reference).collect();
            let store = self.pipeline.store();
            let known = store.facts().filter_map(|fact| store.object(fact.meta().id));
            update.delete.extend(known.filter(|object| !kept.contains(*object)).cloned());
        }
        ChangeSet { apply: update.apply, delete: update.delete, settings, ..ChangeSet::default() }
    }

    /// Until the next moment at which a certificate begins or ends to be valid.
    fn until_boundary(&self) -> Duration {
        let ahead = self.pipeline.next_boundary().map(|at| u64::try_from(at - now()).unwrap_or(0));
        ahead.map_or(LONGEST_SLEEP, Duration::from_secs).clamp(Duration::from_secs(1), LONGEST_SLEEP)
    }

    fn commit(&mut self, mut changes: ChangeSet) {
        let started = Instant::now();
        changes.now = Some(now());
        let mut commit = self.pipeline.commit(changes);
        log(&commit, started.elapsed());
        for fleet in &commit.removed_fleets {
            self.feeds.remove(fleet);
        }
        for (fleet, update) in &mut commit.resources {
            self.feeds.apply(fleet, commit.revision, std::mem::take(update));
        }
        self.outlet.committed(&self.pipeline, &commit);
        let fleets =
            self.pipeline.fleets().iter().map(|(name, fleet)| (name.clone(), fleet.spec.clone())).collect();
        let loading = self.loading.clone();
        self.publish.send_replace(View { revision: commit.revision, fleets: Arc::new(fleets), loading });
    }
}

fn reference(object: &api::Object) -> Option<ObjectRef> {
    let kind = Kind::find(object.kind().group, object.kind().name)?;
    Some(ObjectRef::new(kind, object.namespace(), object.name()))
}

fn log(commit: &Commit, took: Duration) {
    let recomputed: u64 = commit.work.iter().map(|(_, work)| work.recomputed).sum();
    let changed: usize = commit.resources.iter().map(|(_, u)| u.changed.len() + u.removed.len()).sum();
    tracing::debug!(
        revision = commit.revision,
        recomputed,
        resources = changed,
        statuses = commit.statuses.len(),
        us = took.as_micros(),
        "committed"
    );
    for (object, status) in &commit.statuses {
        for problem in status.iter().flat_map(|s| s.problems.iter()) {
            warn(object, problem);
        }
    }
}

fn warn(object: &ObjectRef, problem: &Problem) {
    tracing::warn!(%object, field = %problem.field, reason = %problem.reason, "{}", problem.message);
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}
