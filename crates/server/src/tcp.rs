//! Listening on a TCP port, with TLS.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    Clients, Connection, Peer, Server, Tls,
    serve::{BACKLOG, ServeError},
};

/// Handshakes at once: they cost time on a CPU (about 1 ms each), so more of them only take longer each.
const HANDSHAKES: usize = 64;
/// How long to rest when the system gives no connections, for lack of file descriptors for example.
const REST: Duration = Duration::from_millis(100);

type Secured = Connection<TlsStream<TcpStream>>;

/// A TCP port that is taken, but where nobody can connect yet: see [`Server::bind_tcp`].
#[derive(Debug)]
pub struct Door {
    server: Server,
    socket: TcpSocket,
    address: SocketAddr,
    tls: Tls,
}

impl Server {
    /// Takes a TCP port. Connections are refused until [`Door::serve`] opens it, so that no proxy waits at a replica
    /// that has nothing to say yet, and a load balancer sends it to another one.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn bind_tcp(&self, address: SocketAddr, tls: Tls) -> Result<Door, ServeError> {
        let bound = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // A restarted process need not wait for the last connections of the one before.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let (socket, address) = bound().map_err(|source| ServeError::Port { address, source })?;
        Ok(Door { server: self.clone(), socket, address, tls })
    }
}

impl Door {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to listen when `synced` completes, and serves until `shutdown` does; then the streams end.
    ///
    /// # Errors
    /// When listening is not possible.
    pub async fn serve(
        self,
        synced: impl Future<Output = ()> + Send,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let mut shutdown = Box::pin(shutdown);
        tokio::select! {
            () = synced => {}
            () = &mut shutdown => return Ok(()),
        }
        let address = self.address;
        let listener = self.socket.listen(BACKLOG).map_err(|source| ServeError::Port { address, source })?;
        tracing::info!(%address, "proxies can connect");
        let (secured, incoming) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let handshake = self.server.connections().handshake;
        let welcome = welcome(listener, self.tls, handshake, secured, stop.clone());
        let _stopped = stop.clone().drop_guard();
        let serving = self.server.serve(ReceiverStream::new(incoming), async move {
            shutdown.await;
            // No handshake begins any more, and the port refuses connections.
            stop.cancel();
        });
        tokio::join!(serving, welcome);
        Ok(())
    }
}

/// Accepts connections and hands them on when their handshake is done; a slow one holds up no other.
async fn welcome(
    listener: TcpListener,
    tls: Tls,
    patience: Duration,
    secured: mpsc::Sender<Secured>,
    stop: CancellationToken,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let accepted = async {
            // Who comes when all are busy waits in the kernel's queue.
            let permit = Arc::clone(&handshakes).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, (tcp, from)) = tokio::select! {
            () = stop.cancelled() => return,
            (permit, accepted) = accepted => match accepted {
                Ok(connection) => (permit, connection),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            }
        };
        let (tls, secured, stop) = (tls.clone(), secured.clone(), stop.clone());
        tokio::spawn(async move {
            let secure = async {
                let connection = match tokio::time::timeout(patience, secure(tcp, &tls)).await {
                    Ok(Ok(io)) => io,
                    Ok(Err(error)) => return note(from, &error),
                    Err(_) => return tracing::debug!(%from, "TLS handshake given up: it takes too long"),
                };
                let certified = matches!(tls.clients(), Clients::Certified { .. });
                let peer = Peer::at(from.ip(), certified);
                // Nobody takes it when the server stops.
                let _stopped = secured.send(Connection::new(connection, peer)).await;
            };
            tokio::select! {
                () = secure => {}
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
}

async fn secure(tcp: TcpStream, tls: &Tls) -> io::Result<TlsStream<TcpStream>> {
    // Small messages of a conversation in turns.
    tcp.set_nodelay(true)?;
    TlsAcceptor::from(tls.current()).accept(tcp).await
}

/// Who connects and leaves without a word is a health check of the port; a refused certificate is worth a line.
fn note(from: SocketAddr, error: &io::Error) {
    if error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>()) {
        tracing::warn!(%from, %error, "TLS handshake failed");
    } else {
        tracing::debug!(%from, %error, "connection ended in its TLS handshake");
    }
}
