//! One watch: lists a resource, follows it from there, and begins again when it must.
//!
//! A source knows where it is in the API server's history and nothing else. What its events mean is the hub's matter,
//! so a list may be broken off at any point and begun again.

use bytes::Bytes;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};

use std::{sync::Arc, time::Duration};

use super::{
    Timing,
    backoff::{Backoff, jittered},
    decode::{self, Bookmark, Decoder, Identity, Item, Line, Name, Page, Version},
    metrics::SourceMetrics,
    resource::encode,
    server::{Failure, FailureKind, Lines, Server},
};

/// Which source: numbers are not used again, so what a source said before it was stopped is recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SourceId(pub(super) u32);

/// Something that a source tells.
#[derive(Debug)]
pub(super) enum Event {
    /// A list begins; one that had begun before counts no more.
    ListBegins,
    /// Objects of the list.
    Listed(Vec<Item>),
    /// The list is complete, as of this version.
    ListEnds(Version),
    /// Changes, in order.
    Changed(Vec<Change>),
    /// A request failed; it will be made again.
    Failed(Failure),
    /// Requests work again.
    Recovered,
}

/// A change in a watch.
#[derive(Debug)]
pub(super) enum Change {
    /// An object appeared or changed.
    Applied(Item),
    /// An object is gone, as of this version.
    Deleted(Name, Version),
}

/// Where events go, with the name of who sends.
pub(super) type Events = mpsc::Sender<(SourceId, Event)>;

/// One resource, in one namespace or in all.
pub(super) struct Source {
    pub(super) id: SourceId,
    pub(super) server: Server,
    pub(super) decoder: Decoder,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) timing: Timing,
    pub(super) events: Events,
    /// Asks for a look at which kinds there are.
    pub(super) discover: Arc<Notify>,
    pub(super) metrics: SourceMetrics,
}

/// Why a watch ended.
enum End {
    /// The API server ended it, or a limit of ours did: go on where it was.
    Over,
    /// Nobody listens any more.
    Unheard,
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> End {
        End::Failed(failure)
    }
}

/// A watch under way.
struct Position {
    /// Where to go on; none before a list was complete.
    version: Option<String>,
    /// True while the stream sends a list.
    listing: bool,
    /// True when the latest request failed.
    failing: bool,
    /// True once an object or a bookmark came.
    alive: bool,
}

impl Source {
    /// Runs until nobody listens any more.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(self.timing);
        let mut streaming = self.timing.streaming_lists;
        let mut position = Position { version: None, listing: false, failing: false, alive: false };
        loop {
            let began = Instant::now();
            position.alive = false;
            let had_list = position.version.is_some();
            let end = self.step(&mut position, streaming).await;
            let healthy = position.alive || began.elapsed() >= self.timing.healthy;
            // A list that was not streamed to its end is asked for in pages: some servers do not know the end's mark.
            if !had_list && position.version.is_none() && matches!(end, Err(End::Over)) {
                streaming = false;
            }
            let delay = match end {
                Err(End::Unheard) => return,
                Ok(()) => Duration::ZERO,
                Err(End::Over) if healthy => {
                    backoff.reset();
                    // One that ends at once, over and over, must not keep a core busy.
                    jittered(self.timing.first_delay / 4)
                }
                Err(End::Over) => backoff.step(),
                Err(End::Failed(failure)) => {
                    // The API server does not stream lists.
                    if streaming && !had_list && matches!(failure.kind, FailureKind::Refused) {
                        streaming = false;
                        continue;
                    }
                    if failure.loses_position() {
                        position.version = None;
                    }
                    if failure.kind == FailureKind::NotFound {
                        self.discover.notify_one();
                    }
                    if had_list && position.alive && failure.kind != FailureKind::Garbled {
                        backoff.reset();
                    }
                    self.metrics.failures.inc();
                    // To begin with a list after 410 is the normal course of things.
                    let normal = failure.kind == FailureKind::Expired;
                    let delay = backoff.after(&failure);
                    if !normal {
                        position.failing = true;
                        if self.send(Event::Failed(failure)).await.is_err() {
                            return;
                        }
                    }
                    delay
                }
            };
            sleep(delay).await;
        }
    }

    /// Lists or watches once. Ok when a list in pages is complete.
    async fn step(&self, position: &mut Position, streaming: bool) -> Result<(), End> {
        match &position.version {
            Some(version) => {
                let query = format!("resourceVersion={version}&");
                self.follow(&query, position).await
            }
            None if streaming => {
                self.send(Event::ListBegins).await?;
                position.listing = true;
                let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&";
                self.follow(query, position).await
            }
            None => {
                self.send(Event::ListBegins).await?;
                position.listing = false;
                let version = self.list(position).await?;
                self.send(Event::ListEnds(Version::new(&version))).await?;
                position.version = Some(version);
                Ok(())
            }
        }
    }

    /// Lists in pages; all pages show the same moment.
    async fn list(&self, position: &mut Position) -> Result<String, End> {
        self.metrics.lists.inc();
        let collection = self.decoder.resource.collection(self.decoder.version, self.namespace.as_deref());
        let mut pages = Pages::new(&self.server, collection, self.timing.page);
        while let Some(page) = pages.next().await? {
            let items = self.decoder.read_page(&page)?;
            self.metrics.events.inc_by(items.len() as u64);
            position.alive = true;
            self.answered(position).await?;
            self.send(Event::Listed(items)).await?;
        }
        Ok(pages.version)
    }

    fn identify(&self, json: &str) -> Option<Identity> {
        self.metrics.events.inc();
        self.decoder.identify(json)
    }

    /// Follows changes until the stream ends.
    async fn follow(&self, query: &str, position: &mut Position) -> Result<(), End> {
        self.metrics.watches.inc();
        let mut path = self.decoder.resource.collection(self.decoder.version, self.namespace.as_deref());
        let limit = jittered(self.timing.watch);
        path.push_str(query);
        path.push_str(&format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={}",
            limit.as_secs().max(1)
        ));
        let mut lines = self.server.stream(&path).await?;
        self.answered(position).await?;
        while let Some(next) = self.lines(&mut lines).await {
            position.alive = true;
            self.take(next, position).await?;
        }
        Err(End::Over)
    }

    /// The next lines; none when the stream has ended, was cut, or is silent for too long. All of these are the normal
    /// course of things.
    async fn lines(&self, lines: &mut Lines) -> Option<Vec<Bytes>> {
        match timeout(self.timing.silence, lines.next()).await {
            Ok(Ok(next)) => next,
            Ok(Err(failure)) => {
                tracing::debug!(kind = %self.decoder.resource, %failure, "watch cut");
                None
            }
            Err(_) => {
                tracing::debug!(kind = %self.decoder.resource, "watch silent");
                None
            }
        }
    }

    /// Takes the lines of one read. What came before a broken one counts.
    async fn take(&self, lines: Vec<Bytes>, position: &mut Position) -> Result<(), End> {
        let mut changes = Vec::new();
        let mut end = Ok(());
        for line in lines {
            match self.read_line(&line) {
                Ok(Told::Change(change, version)) => {
                    changes.push(change);
                    if !position.listing && !version.is_empty() {
                        position.version = Some(version);
                    }
                }
                Ok(Told::Bookmark(bookmark)) => {
                    if position.listing && bookmark.ends_list() {
                        self.tell(std::mem::take(&mut changes), true).await?;
                        position.listing = false;
                        let version = bookmark.into_version();
                        self.send(Event::ListEnds(Version::new(&version))).await?;
                        position.version = Some(version);
                    } else if !position.listing {
                        end = position.go_to(bookmark.into_version());
                        if end.is_err() {
                            break;
                        }
                    }
                }
                Ok(Told::Nothing) => {}
                Err(failure) => {
                    end = Err(End::Failed(failure));
                    break;
                }
            }
        }
        self.tell(changes, position.listing).await?;
        end
    }

    async fn tell(&self, changes: Vec<Change>, listing: bool) -> Result<(), End> {
        if changes.is_empty() {
            return Ok(());
        }
        if !listing {
            return self.send(Event::Changed(changes)).await;
        }
        let items = changes.into_iter().filter_map(|change| match change {
            Change::Applied(item) => Some(item),
            Change::Deleted(..) => None,
        });
        self.send(Event::Listed(items.collect())).await
    }

    fn read_line(&self, line: &[u8]) -> Result<Told, Failure> {
        let garbled =
            |error: serde_json::Error| Failure::garbled(format!("an event cannot be read: {error}"));
        let line: Line<'_> = serde_json::from_slice(line).map_err(garbled)?;
        let json = line.object.get();
        match &*line.kind {
            "ADDED" | "MODIFIED" => Ok(self.identify(json).map_or(Told::Nothing, |identity| {
                let version = identity.text.clone();
                Told::Change(Change::Applied(self.decoder.content(identity, json)), version)
            })),
            "DELETED" => Ok(self.identify(json).map_or(Told::Nothing, |identity| {
                Told::Change(Change::Deleted(identity.name, Version::new(&identity.text)), identity.text)
            })),
            "BOOKMARK" => serde_json::from_str(json).map(Told::Bookmark).map_err(garbled),
            "ERROR" => Err(Failure::from_status(http::StatusCode::INTERNAL_SERVER_ERROR, json.as_bytes())),
            _ => Ok(Told::Nothing),
        }
    }

    async fn answered(&self, position: &mut Position) -> Result<(), End> {
        match std::mem::take(&mut position.failing) {
            true => self.send(Event::Recovered).await,
            false => Ok(()),
        }
    }

    async fn send(&self, event: Event) -> Result<(), End> {
        self.events.send((self.id, event)).await.map_err(|_| End::Unheard)
    }
}

/// What a line told.
enum Told {
    /// A change, and the version up to which everything is known thereby.
    Change(Change, String),
    Bookmark(Bookmark),
    Nothing,
}

impl Position {
    /// Goes on from a bookmark. An API server that is behind what it said before has lost its history (a restored
    /// backup) and would keep silent about everything up to there, so all is listed anew.
    fn go_to(&mut self, version: String) -> Result<(), End> {
        let behind = |known: &String| Version::new(known).is_newer_than(Version::new(&version));
        if self.version.as_ref().is_some_and(behind) && version.parse::<u64>().is_ok() {
            let message = "the API server went back in its history".to_owned();
            return Err(End::Failed(Failure { kind: FailureKind::Expired, message, retry_after: None }));
        }
        self.version = Some(version);
        Ok(())
    }
}

/// The pages of a list.
pub(super) struct Pages<'a> {
    server: &'a Server,
    collection: String,
    size: usize,
    /// Where the next page begins; none when there is no more.
    next: Option<String>,
    /// The version that the list shows, known once a page came.
    pub(super) version: String,
}

impl<'a> Pages<'a> {
    /// `collection` is a path with an open query.
    pub(super) fn new(server: &'a Server, collection: String, size: usize) -> Pages<'a> {
        Pages { server, collection, size, next: Some(String::new()), version: String::new() }
    }

    /// The body of the next page; none when there is no more.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(token) = self.next.take() else { return Ok(None) };
        let mut path = format!("{}limit={}", self.collection, self.size);
        if !token.is_empty() {
            path.push_str("&continue=");
            encode(&token, &mut path);
        }
        let body = self.server.get(&path).await?;
        let Page { metadata, .. } = decode::page(&body)?;
        self.next = metadata.next.filter(|token| !token.is_empty());
        self.version = metadata.resource_version;
        Ok(Some(body))
    }
}
