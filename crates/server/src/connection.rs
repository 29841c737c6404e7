//! One connection: HTTP/2 with limits, and an end to it.

use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use envoy_api::service::AggregatedDiscoveryServiceServer;
use http::{Request, Response, header};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, codec::CompressionEncoding, codegen::Service};

use crate::{BearerToken, Peer, serve::Ads};

/// The one service that is served.
const ADS: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/";

/// Limits and waiting times of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// How long a connection lasts; without end when `None`, the default.
    pub age: Option<ConnectionAge>,
    /// Largest request in bytes. Default 64 MiB: Envoy tells every name and version when it reconnects, and that are
    /// 500,000 names of 100 bytes.
    pub max_request: usize,
    /// How often a silent peer is asked for a sign of life. Default 30 s: Envoy's own default for upstream health is
    /// of that order, and an idle stream costs one ping.
    pub keepalive: Duration,
    /// How long it may take to give one. Default 10 s.
    pub keepalive_timeout: Duration,
    /// Longest TLS handshake. Default 10 s, Envoy's own connect timeout towards us.
    pub handshake: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Connections {
            age: None,
            max_request: 64 << 20,
            keepalive: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
        }
    }
}

/// How long a connection lasts. Its proxy connects again then, perhaps to another replica of the control plane, so
/// proxies spread over replicas that came later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionAge {
    /// Shortest age. Each connection gets a random one, so that proxies do not come all at once. Default 10 h.
    pub from: Duration,
    /// Longest age. Default 12 h.
    pub to: Duration,
    /// How long a stream may go on after that to finish what it sends. Default 2 min.
    pub grace: Duration,
}

impl Default for ConnectionAge {
    fn default() -> Self {
        ConnectionAge {
            from: Duration::from_secs(10 * 3_600),
            to: Duration::from_secs(12 * 3_600),
            grace: Duration::from_secs(120),
        }
    }
}

impl ConnectionAge {
    /// A random age between both ends.
    fn draw(&self) -> Duration {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        // The standard library's hasher has random keys: good enough to scatter.
        let dice = RandomState::new().hash_one(DRAWN.fetch_add(1, Ordering::Relaxed)) >> 32;
        let share = u32::try_from(dice).unwrap_or(u32::MAX);
        self.from + self.to.saturating_sub(self.from).mul_f64(f64::from(share) / f64::from(u32::MAX))
    }
}

/// A connection with what it proves about its peer.
#[derive(Debug)]
pub struct Connection<IO> {
    io: IO,
    peer: Peer,
}

impl<IO> Connection<IO> {
    /// A connection of this peer.
    pub fn new(io: IO, peer: Peer) -> Self {
        Connection { io, peer }
    }
}

/// What streams learn from their connection.
#[derive(Clone)]
pub(crate) struct Lane {
    /// Who is at the other end.
    pub(crate) peer: Peer,
    /// The connection has reached its age: streams end as soon as they have nothing in the air.
    pub(crate) old: CancellationToken,
}

/// Serves one connection until it ends, or gets too old, or `shutdown` comes and its streams have ended.
pub(crate) async fn serve<IO>(
    ads: Ads,
    connection: Connection<IO>,
    limits: &Connections,
    shutdown: CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Connection { io, peer } = connection;
    let from = peer.address;
    let lane = Lane { peer, old: CancellationToken::new() };
    let old = lane.old.clone();
    let service = AggregatedDiscoveryServiceServer::new(ads)
        .max_decoding_message_size(limits.max_request)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let service = service_fn(move |request| answer(service.clone(), lane.clone(), request));
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .keep_alive_interval(limits.keepalive)
        .keep_alive_timeout(limits.keepalive_timeout);
    let mut served = std::pin::pin!(http.serve_connection(TokioIo::new(io), service));
    let mut aged = std::pin::pin!(age(limits.age, &old));
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = &mut served => {
                if let Err(error) = ended {
                    tracing::debug!(?from, %error, "connection broke off");
                }
                return;
            }
            () = old.cancelled(), if !stopping => {
                stopping = true;
                served.as_mut().graceful_shutdown();
            }
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                served.as_mut().graceful_shutdown();
            }
            () = &mut aged => {
                tracing::debug!(?from, "connection cut off: it went on after its age");
                return;
            }
        }
    }
}

/// Tells when the connection is old, and completes when it is too old.
async fn age(age: Option<ConnectionAge>, old: &CancellationToken) {
    let Some(age) = age else { return std::future::pending().await };
    tokio::time::sleep(age.draw()).await;
    old.cancel();
    tokio::time::sleep(age.grace).await;
}

/// Takes a request to the service that it is for. Services other than ADS are refused in words.
async fn answer(
    mut service: AggregatedDiscoveryServiceServer<Ads>,
    mut lane: Lane,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if !request.uri().path().starts_with(ADS) {
        let refused = Status::unimplemented(
            "only the aggregated discovery service is served, in its incremental form: use ads_config with \
             api_type DELTA_GRPC, and `ads` as the config source of everything else",
        );
        return Ok(refused.into_http());
    }
    lane.peer.token = token(&request);
    request.extensions_mut().insert(lane);
    service.call(request).await
}

fn token(request: &Request<Incoming>) -> Option<BearerToken> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| BearerToken::new(token.trim()))
}
