//! The gRPC service and its listeners.

use std::{
    future::Future,
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use envoy_api::{
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse},
    service::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixSocket,
    sync::mpsc,
};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, UnixListenerStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding, transport::server::Connected};

use crate::{
    Authorizer, Feeds, Peer,
    stream::{self, RESPONSES, Shared},
};

/// Largest request. Envoy tells every name and version when it reconnects: 64 MiB are 500,000 names of 100 bytes.
const MAX_REQUEST: usize = 64 << 20;
/// A proxy that is gone without a word is noticed after interval and timeout. 30 s + 10 s: Envoy's own default for
/// upstream health is of that order, and an idle stream costs one ping.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted; a fleet of proxies may come at once after a restart.
const BACKLOG: u32 = 1_024;

/// Why serving ended or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The Unix socket could not be made.
    #[error("cannot listen on {}: {source} (is the folder there and writable?)", path.display())]
    Bind {
        /// Path of the socket.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The gRPC server failed.
    #[error("the xDS server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
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

impl<IO> Connected for Connection<IO> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Serves the resources of all fleets. Clones share; one server may listen in many places.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// A server of these feeds. `authorizer` decides which of them a connection gets.
    pub fn new(feeds: Feeds, authorizer: impl Authorizer) -> Self {
        let shared = Shared { feeds, authorizer: Arc::new(authorizer), shutdown: CancellationToken::new() };
        Server { shared: Arc::new(shared) }
    }

    /// The resources that it serves.
    pub fn feeds(&self) -> &Feeds {
        &self.shared.feeds
    }

    /// Listens on a new Unix socket of mode 0600, and takes every connection on it for a proxy of the fleet
    /// `feed_key`. A socket file that is in the way is replaced, and it is removed at the end. Listening has begun when
    /// this returns; the future that it returns serves until `shutdown` completes.
    ///
    /// # Errors
    /// When the socket cannot be made. The future fails when the gRPC server does.
    pub fn serve_unix(
        &self,
        path: &Path,
        feed_key: &str,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<impl Future<Output = Result<(), ServeError>> + Send + 'static, ServeError> {
        let listener = listen(path).map_err(|source| ServeError::Bind { path: path.to_owned(), source })?;
        let peer = Peer::of_feed(feed_key);
        let incoming = UnixListenerStream::new(listener)
            .map(move |accepted| accepted.map(|io| Connection::new(io, peer.clone())));
        let server = self.clone();
        let path = path.to_owned();
        Ok(async move {
            let served = server.serve(incoming, shutdown).await;
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "socket file is gone already");
            }
            served
        })
    }

    /// Serves connections from any source until `shutdown` completes; then streams of these connections end.
    ///
    /// # Errors
    /// When the gRPC server fails.
    pub async fn serve<I, IO>(
        &self,
        incoming: I,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError>
    where
        I: Stream<Item = io::Result<Connection<IO>>> + Send,
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // A token of its own: one listener can end while others go on.
        let token = self.shared.shutdown.child_token();
        let shared = Shared {
            feeds: self.shared.feeds.clone(),
            authorizer: Arc::clone(&self.shared.authorizer),
            shutdown: token.clone(),
        };
        let service = AggregatedDiscoveryServiceServer::new(Ads { shared: Arc::new(shared) })
            .max_decoding_message_size(MAX_REQUEST)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let until = {
            let token = token.clone();
            async move {
                tokio::select! {
                    () = shutdown => token.cancel(),
                    () = token.cancelled() => {}
                }
            }
        };
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, until)
            .await?;
        Ok(())
    }
}

/// A socket that nobody but us can connect to at any time: its mode is set before it listens.
fn listen(path: &Path) -> io::Result<tokio::net::UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)
}

/// The gRPC service.
struct Ads {
    shared: Arc<Shared>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<DiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented(
            "this server speaks the incremental protocol alone: set api_type DELTA_GRPC in Envoy's ads_config",
        ))
    }

    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let (responses, stream) = mpsc::channel(RESPONSES);
        tokio::spawn(stream::run(Arc::clone(&self.shared), peer, request.into_inner(), responses));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
