//! The task of one stream: moves messages between the connection, the session and the feed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use envoy_api::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    Authorizer, Event, Feeds, Outgoing, Session, StreamDebug,
    connection::Lane,
    feed::{Feed, Follower, Phase},
};

/// Responses between the task and the connection. One: the next is made from the newest target, when there is room.
pub(crate) const RESPONSES: usize = 1;
/// Questions of the admin port that wait for the task.
const INSPECTIONS: usize = 4;
/// How long the first request of a stream may take. Envoy sends it at once.
const FIRST_REQUEST: Duration = Duration::from_secs(30);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

type Response = Result<DeltaDiscoveryResponse, Status>;

/// What all streams of a server share.
pub(crate) struct Shared {
    pub(crate) feeds: Feeds,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) shutdown: CancellationToken,
}

/// Serves one stream to its end. The proxy gets the status of the end, if it still listens.
pub(crate) async fn run<S>(shared: Arc<Shared>, lane: Lane, requests: S, responses: mpsc::Sender<Response>)
where
    S: Stream<Item = Result<DeltaDiscoveryRequest, Status>> + Send + Unpin,
{
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let end = tokio::select! {
        end = converse(&shared, id, &lane, requests, &responses) => end,
        () = shared.shutdown.cancelled() => Err(Status::unavailable("the control plane shuts down")),
        () = responses.closed() => Ok(()),
    };
    match end {
        Ok(()) => tracing::debug!(stream = id, "xDS stream ended"),
        Err(status) => {
            tracing::debug!(stream = id, %status, "xDS stream ended by us");
            // Room for it or not: a proxy that does not read finds out by the closed connection.
            let _full_or_gone = responses.try_send(Err(status));
        }
    }
}

async fn converse<S>(
    shared: &Shared,
    id: u64,
    lane: &Lane,
    mut requests: S,
    responses: &mpsc::Sender<Response>,
) -> Result<(), Status>
where
    S: Stream<Item = Result<DeltaDiscoveryRequest, Status>> + Send + Unpin,
{
    let first = tokio::time::timeout(FIRST_REQUEST, requests.next()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no request came"))?;
    let Some(first) = first.transpose()? else { return Ok(()) };
    let node = first.node.clone().unwrap_or_default();
    let grant = shared.authorizer.authorize(&lane.peer, &node).await;
    let grant = grant.map_err(|denied| {
        shared.feeds.metrics().denied.inc();
        tracing::warn!(stream = id, node = node.id, from = ?lane.peer.address, %denied, "xDS stream refused");
        Status::from(denied)
    })?;
    let feed = shared.feeds.feed(&grant.feed);
    let granted = async {
        let phase = live(&feed, &lane.old).await?;
        let (inspect, inspections) = mpsc::channel(INSPECTIONS);
        let membership = Membership::new(shared, Arc::clone(&feed), id, inspect);
        tracing::info!(stream = id, feed = %feed.key, node = node.id, "proxy connected");
        let settings = Arc::clone(shared.feeds.settings());
        let session = Session::new(settings, feed.snapshot(), feed.accepted_before(), Instant::now());
        let (feed, node) = (Arc::clone(&feed), node.id.clone());
        let mut task = Task { feeds: &shared.feeds, feed, id, node, session, acked: None };
        task.request(first)?;
        let end = task.work(requests, responses, phase, inspections, &lane.old).await;
        drop(membership);
        tracing::info!(stream = id, feed = %task.feed.key, "proxy disconnected");
        end
    };
    tokio::select! {
        end = granted => end,
        denied = grant.revoked => {
            shared.feeds.metrics().denied.inc();
            tracing::warn!(stream = id, feed = %feed.key, node = node.id, %denied, "xDS stream ended: the proxy may not have it any more");
            Err(denied.into())
        }
    }
}

/// Waits until the feed has resources.
async fn live(feed: &Feed, old: &CancellationToken) -> Result<watch::Receiver<Phase>, Status> {
    let mut phase = feed.phase();
    let known = tokio::select! {
        known = phase.wait_for(|phase| *phase != Phase::Waiting) => known.map(|phase| *phase),
        () = old.cancelled() => return Err(aged()),
    };
    match known {
        Ok(Phase::Live(_)) => Ok(phase),
        _ => Err(gone(&feed.key)),
    }
}

/// The end of a stream whose connection is old. Envoy connects again without a line in its log.
fn aged() -> Status {
    Status::unavailable("the connection has reached its age: connect again")
}

fn gone(key: &str) -> Status {
    Status::unavailable(format!("the fleet {key} is gone"))
}

/// Counts the stream for as long as it lives.
struct Membership<'a> {
    shared: &'a Shared,
    feed: Arc<Feed>,
    id: u64,
}

impl<'a> Membership<'a> {
    fn new(
        shared: &'a Shared,
        feed: Arc<Feed>,
        id: u64,
        inspect: mpsc::Sender<oneshot::Sender<StreamDebug>>,
    ) -> Self {
        shared.feeds.metrics().streams.inc();
        feed.join(id, Follower { acked: None, inspect });
        Membership { shared, feed, id }
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.shared.feeds.metrics().streams.dec();
        self.feed.leave(self.id);
    }
}

struct Task<'a> {
    feeds: &'a Feeds,
    feed: Arc<Feed>,
    id: u64,
    node: String,
    session: Session,
    acked: Option<u64>,
}

impl Task<'_> {
    async fn work<S>(
        &mut self,
        mut requests: S,
        responses: &mpsc::Sender<Response>,
        mut phase: watch::Receiver<Phase>,
        mut inspections: mpsc::Receiver<oneshot::Sender<StreamDebug>>,
        old: &CancellationToken,
    ) -> Result<(), Status>
    where
        S: Stream<Item = Result<DeltaDiscoveryRequest, Status>> + Send + Unpin,
    {
        // True when the session may have something to send.
        let mut ready = true;
        loop {
            if old.is_cancelled() && self.acked == Some(self.session.revision()) {
                return Err(aged());
            }
            let deadline = self.session.deadline().map(tokio::time::Instant::from_std);
            tokio::select! {
                biased;
                request = requests.next() => {
                    let Some(request) = request.transpose()? else { return Ok(()) };
                    self.request(request)?;
                    ready = true;
                }
                changed = phase.changed() => {
                    let now = *phase.borrow_and_update();
                    if changed.is_err() || now == Phase::Removed {
                        return Err(gone(&self.feed.key));
                    }
                    let (snapshot, changes) = self.feed.latest(self.session.generation());
                    self.session.set_target(snapshot, &changes);
                    ready = true;
                }
                asked = inspections.recv() => {
                    if let Some(asked) = asked {
                        // Who asked may have gone.
                        let _gone = asked.send(self.debug());
                    }
                }
                room = responses.reserve(), if ready => {
                    let Ok(room) = room else { return Ok(()) };
                    match self.session.poll(Instant::now()) {
                        Some(outgoing) => {
                            self.count(&outgoing);
                            room.send(Ok(outgoing.response));
                        }
                        None => ready = false,
                    }
                    self.settle();
                }
                () = sleep_until(deadline) => ready = true,
                () = old.cancelled(), if !old.is_cancelled() => {}
            }
        }
    }

    fn request(&mut self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        let taken = self.session.request(request, Instant::now());
        self.settle();
        taken.map_err(|violation| Status::resource_exhausted(violation.to_string()))
    }

    /// Hands on what the session learned.
    fn settle(&mut self) {
        let events = self.session.take_events();
        if !events.is_empty() {
            events.iter().for_each(|event| self.note(event));
            self.feed.learn(&events);
        }
        let acked = self.session.acked_revision(Instant::now());
        if acked != self.acked
            && let Some(acked) = acked
        {
            self.acked = Some(acked);
            self.feed.advance(self.id, acked);
        }
    }

    fn note(&self, event: &Event) {
        let metrics = self.feeds.metrics();
        let stream = self.id;
        match event {
            Event::Acked { kind, latency, .. } => {
                metrics.acks.get_or_create(&(*kind).into()).inc();
                metrics.ack_latency.observe(latency.as_secs_f64());
            }
            Event::Nacked { kind, message } => {
                metrics.nacks.get_or_create(&(*kind).into()).inc();
                tracing::warn!(stream, feed = %self.feed.key, r#type = kind.short(), %message, "Envoy refuses a response");
            }
            Event::Refused(refusal) => tracing::warn!(
                stream,
                feed = %self.feed.key,
                r#type = refusal.kind.short(),
                name = %refusal.name,
                virtual_host = refusal.fragment.as_deref(),
                version = %refusal.version,
                "held back: Envoy refuses it"
            ),
            Event::GateOpened { after } => metrics.gate_waits.observe(after.as_secs_f64()),
            Event::GateTimedOut { cluster } => {
                metrics.gate_timeouts.inc();
                tracing::warn!(stream, %cluster, "cluster not warm in time, its routes go out");
            }
            Event::UnknownType { url } => {
                tracing::warn!(stream, %url, "proxy asks for a type that is not served");
            }
        }
    }

    fn count(&self, outgoing: &Outgoing) {
        if let Some(kind) = outgoing.kind {
            let metrics = self.feeds.metrics();
            metrics.pushes.get_or_create(&kind.into()).inc();
            metrics.bytes.get_or_create(&kind.into()).inc_by(outgoing.bytes as u64);
        }
    }

    fn debug(&self) -> StreamDebug {
        StreamDebug {
            feed: self.feed.key.to_string(),
            stream: self.id,
            node: self.node.clone(),
            revision: self.session.revision(),
            acked_revision: self.acked,
            bytes: self.session.bytes(),
            phase: self.session.phase(),
            cold_clusters: self.session.cold_clusters(),
            types: self.session.inspect(),
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
