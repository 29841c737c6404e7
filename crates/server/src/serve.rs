//! The gRPC service and its listeners.

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use envoy_api::{
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse},
    service::AggregatedDiscoveryService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixSocket,
    sync::mpsc,
    task::JoinSet,
};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, UnixListenerStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    Authorizer, Connection, Connections, Feeds, Peer,
    connection::{self, Lane},
    stream::{self, RESPONSES, Shared},
};

/// Connections that wait to be accepted; a fleet of proxies may come at once after a restart.
pub(crate) const BACKLOG: u32 = 1_024;
/// How long connections may take to end when the server stops. Their streams have ended by then, so this is one round
/// trip; a peer that does not read is cut off.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why serving could not begin.
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
    /// The TCP port cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Port {
        /// Address and port.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// Serves the resources of all fleets. Clones share; one server may listen in many places.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("connections", &self.connections).finish_non_exhaustive()
    }
}

impl Server {
    /// A server of these feeds. `authorizer` decides which of them a connection gets.
    pub fn new(feeds: Feeds, authorizer: impl Authorizer) -> Self {
        let shared = Shared { feeds, authorizer: Arc::new(authorizer), shutdown: CancellationToken::new() };
        Server { shared: Arc::new(shared), connections: Arc::default() }
    }

    /// The same server with other limits for connections that come from now on.
    #[must_use]
    pub fn with_connections(mut self, connections: Connections) -> Self {
        self.connections = Arc::new(connections);
        self
    }

    /// Limits and waiting times of connections.
    pub fn connections(&self) -> &Connections {
        &self.connections
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
    /// When the socket cannot be made.
    pub fn serve_unix(
        &self,
        path: &Path,
        feed_key: &str,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<impl Future<Output = ()> + Send + 'static, ServeError> {
        let listener = listen(path).map_err(|source| ServeError::Bind { path: path.to_owned(), source })?;
        let peer = Peer::of_feed(feed_key);
        let incoming = UnixListenerStream::new(listener).filter_map(move |accepted| match accepted {
            Ok(io) => Some(Connection::new(io, peer.clone())),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                None
            }
        });
        let server = self.clone();
        let path = path.to_owned();
        Ok(async move {
            server.serve(incoming, shutdown).await;
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "socket file is gone already");
            }
        })
    }

    /// Serves connections from any source until `shutdown` completes, or no more come and the last has ended. At
    /// `shutdown` the streams of these connections end.
    pub async fn serve<I, IO>(&self, incoming: I, shutdown: impl Future<Output = ()> + Send + 'static)
    where
        I: Stream<Item = Connection<IO>> + Send,
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // A token of its own: one listener can end while others go on.
        let token = self.shared.shutdown.child_token();
        let shared = Shared {
            feeds: self.shared.feeds.clone(),
            authorizer: Arc::clone(&self.shared.authorizer),
            shutdown: token.clone(),
        };
        let ads = Ads { shared: Arc::new(shared) };
        let mut open = JoinSet::new();
        {
            let mut incoming = std::pin::pin!(incoming);
            let mut shutdown = std::pin::pin!(shutdown);
            let mut more = true;
            while more || !open.is_empty() {
                tokio::select! {
                    () = &mut shutdown => break,
                    () = token.cancelled() => break,
                    next = incoming.next(), if more => match next {
                        Some(connection) => {
                            let (ads, limits) = (ads.clone(), Arc::clone(&self.connections));
                            let token = token.clone();
                            open.spawn(async move {
                                connection::serve(ads, connection, &limits, token).await;
                            });
                        }
                        None => more = false,
                    },
                    Some(_ended) = open.join_next() => {}
                }
            }
        }
        token.cancel();
        let all = async { while open.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::debug!("connections cut off: their peers do not read");
        }
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
#[derive(Clone)]
pub(crate) struct Ads {
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
        let lane = request.extensions().get::<Lane>().cloned();
        let lane = lane.ok_or_else(|| Status::internal("the connection proves nothing"))?;
        let (responses, stream) = mpsc::channel(RESPONSES);
        tokio::spawn(stream::run(Arc::clone(&self.shared), lane, request.into_inner(), responses));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
