//! The task that owns the hub: starts and stops sources, fetches, and hands on what changed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::Client;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use super::{
    Head, Options, Progress, Timing, Updates, Watch,
    backoff::{Backoff, jittered},
    decode::{Decoder, Item},
    discovery::discover,
    hub::{Fetch, Hub, Order, Served},
    metrics::Metrics,
    observed::Observed,
    resource::Resource,
    server::{Failure, FailureKind, Server},
    source::{Event, Events, Pages, Source, SourceId},
};
use crate::mailbox::{Writer, mailbox};

/// Events of all sources that may wait for the hub. A source that finds it full waits, and reads no more from the API
/// server meanwhile. Each is a page at most, so this is some 10 MB.
const EVENTS: usize = 16;

/// Events that are taken before their changes are handed on: a burst becomes one update.
const BURST: usize = 256;

/// How often it is said what the first lists wait for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts all tasks.
pub(super) fn start(client: Client, options: Options) -> Watch {
    let metrics = Metrics::default();
    let (progress_writer, progress) = watch::channel(Progress::default());
    let (observed_writer, observed) = watch::channel(Observed::default());
    let (events, inbox) = mpsc::channel(EVENTS);
    let (answers, answered) = mpsc::channel(EVENTS);
    let server = Server::new(client, options.timing.answer);
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let (writer, reader) = mailbox(move || stop.notify_one());
    let runner = Runner {
        server,
        timing: options.timing,
        hub: Hub::new(options, metrics.clone(), Instant::now()),
        events,
        answers,
        discover: Arc::new(Notify::new()),
        tasks: JoinSet::new(),
        sources: BTreeMap::new(),
        metrics: metrics.clone(),
        updates: writer,
        revision: 0,
        observed: observed_writer,
        progress: progress_writer,
    };
    tokio::spawn(async move {
        // With the runner go all of its tasks.
        tokio::select! {
            () = runner.run(inbox, answered) => {}
            () = stopped.notified() => {}
        }
    });
    Watch { updates: Updates(reader), observed, progress, metrics }
}

/// What comes of something that the hub ordered.
enum Answer {
    Got(Fetch<ir::ObjectRef>, Result<Option<Item>, Failure>),
    Listed(Fetch<Arc<str>>, Result<Vec<Item>, Failure>),
    Discovered(Served),
}

struct Runner {
    server: Server,
    timing: Timing,
    hub: Hub,
    events: Events,
    answers: mpsc::Sender<Answer>,
    discover: Arc<Notify>,
    tasks: JoinSet<()>,
    sources: BTreeMap<SourceId, AbortHandle>,
    metrics: Metrics,
    updates: Writer<Head>,
    revision: u64,
    observed: watch::Sender<Observed>,
    progress: watch::Sender<Progress>,
}

impl Runner {
    async fn run(
        mut self,
        mut events: mpsc::Receiver<(SourceId, Event)>,
        mut answers: mpsc::Receiver<Answer>,
    ) {
        self.start_discovery();
        let mut patience = interval(PATIENCE);
        patience.set_missed_tick_behavior(MissedTickBehavior::Delay);
        patience.reset();
        let mut burst = Vec::with_capacity(BURST);
        loop {
            self.hand_on();
            self.obey();
            let deadline = self.hub.deadline();
            tokio::select! {
                _ = events.recv_many(&mut burst, BURST) => {
                    for (source, event) in burst.drain(..) {
                        self.hub.event(source, event, Instant::now());
                    }
                }
                Some(answer) = answers.recv() => self.answer(answer),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.hub.tick(Instant::now());
                }
                _ = patience.tick(), if self.revision == 0 => {
                    let waiting = self.hub.progress().waiting.join("; ");
                    tracing::warn!("nothing is published yet, first lists are not complete: {waiting}");
                }
                // Tasks that have ended are forgotten.
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        let now = Instant::now();
        match answer {
            Answer::Got(fetch, found) => self.hub.fetched(fetch, found, now),
            Answer::Listed(fetch, found) => self.hub.listed(fetch, found, now),
            Answer::Discovered(served) => self.hub.discovered(&served, now),
        }
    }

    /// Hands on what changed.
    fn hand_on(&mut self) {
        if let Some(changes) = self.hub.take_changes() {
            self.revision += 1;
            if self.revision == 1 {
                tracing::info!(objects = changes.objects.len(), "everything was listed");
            }
            let head = Head { revision: self.revision, problems: changes.problems };
            self.updates.put(head, changes.objects);
        }
        if let Some(observed) = self.hub.take_observed() {
            self.observed.send_replace(observed);
        }
        if !self.progress.borrow().synced {
            let progress = self.hub.progress();
            self.progress.send_if_modified(|known| {
                let changed = *known != progress;
                *known = progress;
                changed
            });
        }
    }

    /// Does what the hub orders.
    fn obey(&mut self) {
        let mut again = false;
        for order in self.hub.take_orders() {
            match order {
                Order::Start(id, version) => self.start_source(id, version),
                Order::Stop(id) => {
                    if let Some(task) = self.sources.remove(&id) {
                        task.abort();
                    }
                }
                Order::Get(fetch) => self.get(fetch),
                Order::List(fetch) => self.list(fetch),
                Order::DiscoverAgain => again = true,
            }
        }
        if again {
            let (discover, absence) = (self.discover.clone(), self.timing.absence);
            self.tasks.spawn(async move {
                sleep(absence).await;
                discover.notify_one();
            });
        }
    }

    fn start_source(&mut self, id: SourceId, version: &'static str) {
        let wanted = self.hub.wanted();
        let Some(view) = self.hub.source(id) else { return };
        let source = Source {
            id,
            server: self.server.clone(),
            decoder: Decoder { resource: view.resource.clone(), version, wanted },
            namespace: view.namespace.cloned(),
            timing: self.timing,
            events: self.events.clone(),
            discover: self.discover.clone(),
            metrics: self.metrics.source(view.resource.kind),
        };
        let task = self.tasks.spawn(source.run());
        self.sources.insert(id, task);
    }

    fn decoder(&self, id: SourceId) -> Option<Decoder> {
        let view = self.hub.source(id)?;
        Some(Decoder { resource: view.resource.clone(), version: view.version, wanted: self.hub.wanted() })
    }

    fn get(&mut self, fetch: Fetch<ir::ObjectRef>) {
        let Some(decoder) = self.decoder(fetch.source) else { return };
        let (server, timing, answers) = (self.server.clone(), self.timing, self.answers.clone());
        self.tasks.spawn(async move {
            let object = &fetch.what;
            let path = decoder.resource.object(decoder.version, &object.namespace, &object.name);
            let found = retried(timing, || async {
                match server.get(&path).await {
                    Ok(body) => std::str::from_utf8(&body)
                        .ok()
                        .and_then(|json| decoder.read(json))
                        .ok_or_else(|| Failure::garbled(format!("{object} cannot be read")))
                        .map(Some),
                    Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
                    Err(failure) => Err(failure),
                }
            })
            .await;
            // Nobody listens any more only when all ends.
            let _ = answers.send(Answer::Got(fetch, found)).await;
        });
    }

    fn list(&mut self, fetch: Fetch<Arc<str>>) {
        let Some(decoder) = self.decoder(fetch.source) else { return };
        let (server, timing, answers) = (self.server.clone(), self.timing, self.answers.clone());
        self.tasks.spawn(async move {
            let found = retried(timing, || async {
                let collection = decoder.resource.collection(decoder.version, Some(&fetch.what));
                let mut pages = Pages::new(&server, collection, timing.page);
                let mut items = Vec::new();
                while let Some(page) = pages.next().await? {
                    items.extend(decoder.read_page(&page)?);
                }
                Ok(items)
            })
            .await;
            let _ = answers.send(Answer::Listed(fetch, found)).await;
        });
    }

    /// Asks which kinds there are, now and then and whenever somebody wants to know.
    fn start_discovery(&mut self) {
        let resources: Vec<Arc<Resource>> = self.hub.discoverable();
        let (server, timing, answers) = (self.server.clone(), self.timing, self.answers.clone());
        let wake = self.discover.clone();
        self.tasks.spawn(async move {
            let mut backoff = Backoff::new(timing);
            let mut failing = false;
            loop {
                let pause = match discover(&server, &resources).await {
                    Ok(served) => {
                        backoff.reset();
                        failing = false;
                        if answers.send(Answer::Discovered(served)).await.is_err() {
                            return;
                        }
                        jittered(timing.discovery)
                    }
                    Err(failure) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!("the API server does not tell which kinds it has: {failure}");
                        }
                        backoff.after(&failure)
                    }
                };
                // Whoever asks in a row is answered once in a while.
                sleep(timing.first_delay).await;
                let _ = timeout(pause, wake.notified()).await;
            }
        });
    }
}

/// Tries until it works, or is refused for good.
async fn retried<T, F: Future<Output = Result<T, Failure>>>(
    timing: Timing,
    mut ask: impl FnMut() -> F,
) -> Result<T, Failure> {
    let mut backoff = Backoff::new(timing);
    loop {
        match ask().await {
            Err(failure)
                if matches!(
                    failure.kind,
                    FailureKind::Passing | FailureKind::Garbled | FailureKind::Expired
                ) =>
            {
                tracing::debug!(%failure, "fetch failed");
                sleep(backoff.after(&failure)).await;
            }
            result => return result,
        }
    }
}
