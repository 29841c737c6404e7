//! Envoy's admin interface over its Unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Longest answer: a configuration dump of 10,000 routes has about 40 MB.
const MAX_ANSWER: usize = 256 << 20;
/// Envoy answers from its main thread, which a big configuration update can hold up for seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of one Envoy's admin interface. It stays valid over restarts of that Envoy.
#[derive(Debug, Clone)]
pub struct Admin {
    socket: PathBuf,
}

/// An answer of the admin interface.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Content, JSON or text as asked for.
    pub body: Bytes,
}

/// The admin interface did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody listens: Envoy is not up (yet).
    #[error("cannot connect to {}: {source}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The exchange broke off; Envoy is probably gone.
    #[error("the admin interface broke off: {0}")]
    Http(#[from] hyper::Error),
    /// The path is no path, or the answer is too long or came to no end.
    #[error("the admin interface: {0}")]
    Other(String),
}

impl Admin {
    /// A client for the admin socket of a bootstrap.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Reads a page, such as `/stats?format=json`.
    ///
    /// # Errors
    /// When Envoy does not answer. An HTTP error status is an answer.
    pub async fn get(&self, path: &str) -> Result<Reply, AdminError> {
        self.request(Method::GET, path).await
    }

    /// Asks for an action, such as `/logging?level=debug`.
    ///
    /// # Errors
    /// When Envoy does not answer. An HTTP error status is an answer.
    pub async fn post(&self, path: &str) -> Result<Reply, AdminError> {
        self.request(Method::POST, path).await
    }

    async fn request(&self, method: Method, path: &str) -> Result<Reply, AdminError> {
        let exchange = self.exchange(method, path);
        let late = || AdminError::Other(format!("no answer to {path} within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| late())?
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<Reply, AdminError> {
        let connected = UnixStream::connect(&self.socket).await;
        let stream =
            connected.map_err(|source| AdminError::Connect { socket: self.socket.clone(), source })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder().method(method).uri(path).header(header::HOST, "admin");
        let request =
            request.body(Empty::<Bytes>::new()).map_err(|error| AdminError::Other(error.to_string()))?;
        let answer = async {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(broken)?.to_bytes();
            Ok(Reply { status: parts.status, body })
        };
        // The connection moves only while it is polled, so it is polled beside the exchange; it ends with it.
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            reply = &mut answer => reply,
            ended = connection => {
                ended?;
                answer.await
            }
        }
    }
}

fn broken(error: Box<dyn std::error::Error + Send + Sync>) -> AdminError {
    if error.is::<LengthLimitError>() {
        return AdminError::Other(format!("the answer is longer than {MAX_ANSWER} bytes"));
    }
    match error.downcast::<hyper::Error>() {
        Ok(error) => AdminError::Http(*error),
        Err(error) => AdminError::Other(error.to_string()),
    }
}
