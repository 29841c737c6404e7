//! All fleets, by key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ir::resource::ResourceUpdate;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::{Feed, Phase, Snapshot};
use crate::{Settings, debug::StreamDebug, delivery::Deliveries, metrics::Metrics};

/// What is known of one fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedStatus {
    /// The newest revision.
    pub revision: u64,
    /// Connected streams.
    pub streams: usize,
    /// The newest revision up to which everything is in force at one proxy at least.
    pub acked: Option<u64>,
    /// The newest revision up to which everything is in force at every connected proxy.
    pub acked_by_all: Option<u64>,
    /// Resources and virtual hosts in quarantine.
    pub quarantined: usize,
}

struct Inner {
    feeds: Mutex<FxHashMap<Arc<str>, Arc<Feed>>>,
    deliveries: Deliveries,
    settings: Arc<Settings>,
    metrics: Metrics,
}

/// The resources of all fleets of proxies, each under its key (such as `default/eg`). A cheap handle: clones share.
#[derive(Clone)]
pub struct Feeds {
    inner: Arc<Inner>,
}

impl Default for Feeds {
    fn default() -> Self {
        Feeds::new(Settings::default())
    }
}

impl Feeds {
    /// No fleets yet.
    pub fn new(settings: Settings) -> Self {
        let inner = Inner {
            feeds: Mutex::default(),
            deliveries: Deliveries::default(),
            settings: Arc::new(settings),
            metrics: Metrics::default(),
        };
        Feeds { inner: Arc::new(inner) }
    }

    /// Puts the changes of one commit in force for a fleet, and makes the fleet known. Call it once with an empty
    /// update for a fleet without resources: until the first call its proxies are told nothing and keep what they
    /// have.
    pub fn apply(&self, key: &str, revision: u64, update: ResourceUpdate) {
        self.feed(key).apply(revision, update);
    }

    /// Forgets a fleet and ends its streams. A proxy that comes again waits until the key is known again.
    pub fn remove(&self, key: &str) {
        let feed = self.lock().remove(key);
        if let Some(feed) = feed {
            feed.end();
        }
    }

    /// Keys of all fleets with resources, ascending.
    pub fn keys(&self) -> Vec<Arc<str>> {
        let mut keys: Vec<_> = self
            .lock()
            .values()
            .filter(|f| matches!(*f.phase().borrow(), Phase::Live(_)))
            .map(|f| Arc::clone(&f.key))
            .collect();
        keys.sort_unstable();
        keys
    }

    /// The current resources of a fleet; `None` when nothing was applied under this key.
    pub fn snapshot(&self, key: &str) -> Option<Arc<Snapshot>> {
        self.known(key).map(|feed| feed.snapshot())
    }

    /// How far a fleet's proxies are; `None` when nothing was applied under this key.
    pub fn status(&self, key: &str) -> Option<FeedStatus> {
        self.known(key).map(|feed| feed.status())
    }

    /// Waits until one proxy of the fleet at least has everything up to `revision` in force. May wait forever:
    /// callers add their own time limit.
    pub async fn acked(&self, key: &str, revision: u64) {
        self.until(key, |status| status.acked.is_some_and(|acked| acked >= revision)).await;
    }

    /// Waits until the status of a fleet satisfies `condition`. May wait forever.
    pub async fn until(&self, key: &str, condition: impl Fn(&FeedStatus) -> bool) {
        let feed = self.feed(key);
        let mut progress = feed.progress();
        loop {
            progress.mark_unchanged();
            if condition(&feed.status()) {
                return;
            }
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// What proxies said about resources.
    pub fn deliveries(&self) -> &Deliveries {
        &self.inner.deliveries
    }

    /// Counters of all streams.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Limits and waiting times.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.inner.settings
    }

    /// The state of every stream, for the admin port. Streams that end meanwhile are left out.
    pub async fn debug(&self) -> Vec<StreamDebug> {
        let feeds: Vec<Arc<Feed>> = self.lock().values().cloned().collect();
        let mut all = Vec::new();
        for inspector in feeds.iter().flat_map(|feed| feed.inspectors()) {
            let (answer, asked) = oneshot::channel();
            if inspector.send(answer).await.is_ok()
                && let Ok(debug) = asked.await
            {
                all.push(debug);
            }
        }
        all.sort_by(|a, b| (&a.feed, a.stream).cmp(&(&b.feed, b.stream)));
        all
    }

    /// The feed of this key, made when it is not known yet: a proxy may connect before the first commit.
    pub(crate) fn feed(&self, key: &str) -> Arc<Feed> {
        let mut feeds = self.lock();
        if let Some(feed) = feeds.get(key) {
            return Arc::clone(feed);
        }
        let key: Arc<str> = key.into();
        let feed = Feed::new(
            Arc::clone(&key),
            self.inner.settings.quarantine,
            self.inner.metrics.quarantined.clone(),
            self.inner.deliveries.clone(),
        );
        let feed = Arc::new(feed);
        feeds.insert(key, Arc::clone(&feed));
        feed
    }

    fn known(&self, key: &str) -> Option<Arc<Feed>> {
        self.lock().get(key).filter(|f| matches!(*f.phase().borrow(), Phase::Live(_))).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<Arc<str>, Arc<Feed>>> {
        // Every change is a single insertion or removal.
        self.inner.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
