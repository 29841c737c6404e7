//! Sockets: binding them, accepting, and the end of it all.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::TlsAnswer;
use crate::connection::{self, Peer, Server};
use crate::{Error, Options, tls};

/// A client that says nothing during the TLS handshake is cut off after this long.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after a failed accept (usually: out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An echo backend that listens.
#[derive(Debug)]
pub struct Running {
    /// The plain-text addresses, with the real port where port 0 was asked for; in the order of the options.
    pub plain: Vec<SocketAddr>,
    /// The TLS addresses, likewise.
    pub tls: Vec<SocketAddr>,
    /// The self-signed certificate, when one was made: clients that trust it can verify the backend.
    pub certificate_pem: Option<String>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Waits until the shutdown signal has come and everything is closed.
    pub async fn done(self) {
        // The task ends early only when the runtime itself does; there is nothing left to wait for then.
        let _ = self.task.await;
    }
}

/// Binds all addresses of `options` and serves until `shutdown` completes; then stops accepting, lets open
/// requests finish for [`Options::drain`], and cuts off the rest.
///
/// All addresses are bound when this returns.
///
/// # Errors
/// When an address cannot be bound or the certificate cannot be used; nothing is left listening then.
pub async fn serve(
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Running, Error> {
    let mut listeners = Vec::new();
    let (mut plain, mut tls, mut certificate_pem) = (Vec::new(), Vec::new(), None);
    for address in &options.plain {
        listeners.push(Listener::Plain(bind(*address, &mut plain).await?));
    }
    if !options.tls.is_empty() {
        let (config, pem) = tls::server_config(&options.certificate, options.client_authorities.as_deref())?;
        certificate_pem = pem;
        for address in &options.tls {
            let socket = bind(*address, &mut tls).await?;
            listeners.push(Listener::Tls(socket, TlsAcceptor::from(Arc::clone(&config))));
        }
    }
    for path in &options.unix {
        listeners.push(Listener::Unix(bind_unix(path).await?));
    }

    let server = Arc::new(Server::new(options.backend, options.serving));
    let tracker = TaskTracker::new();
    for listener in listeners {
        tracker.spawn(accept(listener, Arc::clone(&server), tracker.clone()));
    }
    let task = tokio::spawn(async move {
        shutdown.await;
        server.stop.cancel();
        tracker.close();
        if tokio::time::timeout(options.drain, tracker.wait()).await.is_err() {
            server.kill.cancel();
            tracker.wait().await;
        }
    });
    Ok(Running { plain, tls, certificate_pem, task })
}

enum Listener {
    Plain(TcpListener),
    Tls(TcpListener, TlsAcceptor),
    Unix(UnixSocket),
}

/// A listening Unix socket; its file goes with it.
struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn bind(address: SocketAddr, bound: &mut Vec<SocketAddr>) -> Result<TcpListener, Error> {
    let failed = |source| Error::Bind { address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    bound.push(listener.local_addr().map_err(failed)?);
    Ok(listener)
}

async fn bind_unix(path: &Path) -> Result<UnixSocket, Error> {
    let failed = |source| Error::Bind { address: path.display().to_string(), source };
    let listener = match UnixListener::bind(path) {
        // A socket that nobody answers on was left behind by a process that did not end well.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path).await {
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)?;
                UnixListener::bind(path)
            }
            _ => Err(error),
        },
        other => other,
    };
    Ok(UnixSocket { listener: listener.map_err(failed)?, path: path.to_owned() })
}

async fn accept(listener: Listener, server: Arc<Server>, tracker: TaskTracker) {
    let stop = server.stop.clone();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = next(&listener) => accepted,
        };
        match accepted {
            Ok(Accepted::Tcp(stream, remote, acceptor)) => {
                tracker.spawn(tcp(stream, remote, acceptor, Arc::clone(&server), tracker.clone()));
            }
            Ok(Accepted::Unix(stream)) => {
                let peer = Peer { remote: "unix".to_owned(), tls: None };
                tracker.spawn(connection::run(stream, peer, Arc::clone(&server), tracker.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

enum Accepted {
    Tcp(TcpStream, SocketAddr, Option<TlsAcceptor>),
    Unix(UnixStream),
}

async fn next(listener: &Listener) -> io::Result<Accepted> {
    match listener {
        Listener::Plain(socket) => {
            socket.accept().await.map(|(stream, remote)| Accepted::Tcp(stream, remote, None))
        }
        Listener::Tls(socket, acceptor) => {
            let (stream, remote) = socket.accept().await?;
            Ok(Accepted::Tcp(stream, remote, Some(acceptor.clone())))
        }
        Listener::Unix(socket) => socket.listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
    }
}

async fn tcp(
    stream: TcpStream,
    remote: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    server: Arc<Server>,
    tracker: TaskTracker,
) {
    // Small answers would otherwise wait for the peer's delayed acknowledgements.
    let _ = stream.set_nodelay(true);
    let mut peer = Peer { remote: remote.to_string(), tls: None };
    let Some(acceptor) = acceptor else {
        return connection::run(stream, peer, server, tracker).await;
    };
    match handshake(&acceptor, stream, &server.stop).await {
        Ok(stream) => {
            peer.tls = Some(TlsAnswer::of(stream.get_ref().1));
            connection::run(stream, peer, server, tracker).await;
        }
        Err(error) => tracing::debug!(%remote, %error, "TLS handshake failed"),
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    stop: &CancellationToken,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    tokio::select! {
        () = stop.cancelled() => Err(io::ErrorKind::Interrupted.into()),
        done = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)) => done?,
    }
}
