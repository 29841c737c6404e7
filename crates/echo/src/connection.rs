//! One connection: protocol detection, the knobs, and which of HTTP, gRPC and WebSocket answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{self, TlsAnswer};
use crate::{BACKEND_HEADER, HEALTH_PATH, Knobs, grpc, websocket};

/// Body of every response.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Keys of `x-echo-fail-first` that are remembered; at 100 bytes each about a megabyte. Beyond that all counts
/// begin anew.
const MAX_KEYS: usize = 10_000;

/// What all connections share.
pub(crate) struct Server {
    /// [`Options::backend`](crate::Options::backend).
    pub(crate) backend: String,
    serving: Arc<AtomicBool>,
    /// Finish what is open, accept nothing new.
    pub(crate) stop: CancellationToken,
    /// Drop everything now.
    pub(crate) kill: CancellationToken,
    seen: Mutex<BTreeMap<String, u32>>,
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address, `unix` for a Unix socket.
    pub(crate) remote: String,
    pub(crate) tls: Option<TlsAnswer>,
}

/// The connection is to be dropped without an answer.
#[derive(Debug, thiserror::Error)]
#[error("dropped on request")]
pub(crate) struct Dropped;

impl Server {
    pub(crate) fn new(backend: String, serving: Arc<AtomicBool>) -> Self {
        Self {
            backend,
            serving,
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            seen: Mutex::new(BTreeMap::new()),
        }
    }

    /// [`Options::serving`](crate::Options::serving).
    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// Whether this request is one that is to fail, when it asks for failure at all.
    fn within_first(&self, knobs: &Knobs, path: &str) -> bool {
        let Some(first) = knobs.fail_first else { return true };
        let key = knobs.key.as_deref().unwrap_or(path);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_KEYS && !seen.contains_key(key) {
            seen.clear();
        }
        let count = seen.entry(key.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count <= first
    }
}

/// Serves one connection until it is closed, the server stops, or a request asks to drop it.
pub(crate) async fn run<I>(io: I, peer: Peer, server: Arc<Server>, tracker: TaskTracker)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let dropped = CancellationToken::new();
    let context = Arc::new(Context { peer, server: Arc::clone(&server), dropped: dropped.clone(), tracker });
    let service = service_fn(move |request| answer(Arc::clone(&context), request));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // RFC 8441: WebSockets over HTTP/2.
    builder.http2().enable_connect_protocol();
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service));
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            () = dropped.cancelled() => return,
            () = server.kill.cancelled() => return,
            () = server.stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            done = connection.as_mut() => {
                if let Err(error) = done {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
        }
    }
}

/// What a request needs to know of its connection.
pub(crate) struct Context {
    pub(crate) peer: Peer,
    pub(crate) server: Arc<Server>,
    pub(crate) tracker: TaskTracker,
    dropped: CancellationToken,
}

async fn answer(context: Arc<Context>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    let knobs = match Knobs::read(request.headers(), request.uri().query()) {
        Ok(knobs) => knobs,
        Err(problem) => return Ok(answer::refusal(&problem)),
    };
    let failing = context.server.within_first(&knobs, request.uri().path());
    if let Some(delay) = knobs.delay {
        tokio::time::sleep(delay).await;
    }
    if failing && knobs.close {
        context.dropped.cancel();
        return Err(Dropped);
    }
    let is_grpc = grpc::is_grpc(&request);
    let unwell = request.uri().path() == HEALTH_PATH && !context.server.is_serving();
    let asked = if failing { failure(&knobs, is_grpc) } else { None };
    let status = asked.or(unwell.then_some(StatusCode::SERVICE_UNAVAILABLE.as_u16()));
    let mut response = if is_grpc {
        grpc::answer(&context, request, status).await
    } else if status.is_none() && websocket::is_handshake(&request) {
        websocket::accept(&context, request)
    } else {
        answer::answer(&context, request, status).await?
    };
    if let Ok(value) = HeaderValue::from_str(&context.server.backend) {
        response.headers_mut().insert(BACKEND_HEADER, value);
    }
    for (name, value) in knobs.headers {
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

/// The status that the knobs ask for; `x-echo-fail-first` alone means "unavailable" in the caller's protocol.
fn failure(knobs: &Knobs, is_grpc: bool) -> Option<u16> {
    let unavailable = if is_grpc { grpc::UNAVAILABLE } else { StatusCode::SERVICE_UNAVAILABLE.as_u16() };
    knobs.status.or(knobs.fail_first.map(|_| unavailable))
}

/// A body without content, which lets HTTP/2 end the stream with the headers.
pub(crate) fn empty() -> Body {
    Empty::new().boxed_unsync()
}
