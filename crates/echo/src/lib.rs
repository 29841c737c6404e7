//! The echo backend: says what request arrived, over HTTP/1, HTTP/2, h2c, gRPC and WebSocket.
//!
//! It stands behind the examples and the end-to-end tests. One plain-text port speaks HTTP/1.1 and HTTP/2 with
//! prior knowledge, told apart by the connection preface; a TLS port negotiates the same two by ALPN. Every
//! HTTP request is answered with an [`Answer`] in JSON, every gRPC request with messages of [`grpc`], every
//! WebSocket message with itself. Requests steer the answer with the headers (or query parameters) that
//! [`Knobs`] lists.

mod answer;
mod connection;
pub mod grpc;
mod knobs;
mod listen;
mod tls;
mod websocket;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use answer::{Answer, TlsAnswer};
pub use knobs::{BadKnob, Knobs};
pub use listen::{Running, serve};
pub use tls::Certificate;

/// Response header that carries [`Options::backend`] on every answer, gRPC and WebSocket handshakes included.
pub const BACKEND_HEADER: &str = "x-echo-backend";

/// Path that answers 503 while [`Options::serving`] is false; otherwise it is as any other.
pub const HEALTH_PATH: &str = "/healthz";

/// Where the echo backend listens and what it says about itself.
///
/// The default listens nowhere, is named `echo`, uses a self-signed certificate for `localhost`, is well and gives
/// open requests five seconds at the end.
#[derive(Debug, Clone)]
pub struct Options {
    /// Plain-text addresses: HTTP/1.1 and HTTP/2 with prior knowledge (h2c). Port 0 picks a free one.
    pub plain: Vec<SocketAddr>,
    /// TLS addresses: HTTP/1.1 and HTTP/2 by ALPN. Port 0 picks a free one.
    pub tls: Vec<SocketAddr>,
    /// Unix stream sockets, plain text. A socket left behind by a process that is gone is replaced.
    pub unix: Vec<PathBuf>,
    /// The certificate of the TLS addresses.
    pub certificate: Certificate,
    /// PEM file of the authorities of which clients must show a certificate; `None` asks for none.
    pub client_authorities: Option<PathBuf>,
    /// Name of this backend in every answer, so that a caller sees which of several answered.
    pub backend: String,
    /// What health checks are told, by [`HEALTH_PATH`] and by gRPC's health service; all else is answered as ever. It
    /// may change at any time.
    pub serving: Arc<AtomicBool>,
    /// How long open requests and WebSockets may take after the shutdown signal before they are cut off.
    pub drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plain: Vec::new(),
            tls: Vec::new(),
            unix: Vec::new(),
            certificate: Certificate::SelfSigned { names: vec!["localhost".to_owned()] },
            client_authorities: None,
            backend: "echo".to_owned(),
            serving: Arc::new(AtomicBool::new(true)),
            drain: Duration::from_secs(5),
        }
    }
}

/// Why the echo backend could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is taken, not ours, or not permitted.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address as asked for.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A certificate or key file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate and key do not fit together, or rustls does not take them.
    #[error("cannot use the certificate: {0}")]
    Tls(#[from] rustls::Error),
    /// No self-signed certificate can be made, usually because a name is not a DNS name.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}
