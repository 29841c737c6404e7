//! Envoy's admin interface over TCP, inside the Pod.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// Envoy answers from its main thread, which a big configuration update can hold up for seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer: 100 bytes for each of 10,000 listeners.
const MAX_ANSWER: usize = 1 << 20;
/// Open connections of each listener, without the counts of single workers.
const CONNECTIONS: &str = "/stats?format=json&filter=%5Elistener%5C..*%5C.downstream_cx_active%24";
/// Listeners that serve no traffic: admin, metrics, readiness.
const OWN: [&str; 3] = ["listener.admin.", "_19001.", "_19003."];

/// A client of the admin interface at the first of its addresses that answers.
#[derive(Debug)]
pub(super) struct Admin {
    addresses: Vec<SocketAddr>,
}

impl Admin {
    pub(super) fn new(addresses: impl Into<Vec<SocketAddr>>) -> Admin {
        Admin { addresses: addresses.into() }
    }

    /// Asks for an action.
    pub(super) async fn post(&self, path: &str) -> anyhow::Result<()> {
        self.request(Method::POST, path).await.map(drop)
    }

    /// How many connections are open on the listeners of traffic.
    pub(super) async fn connections(&self) -> anyhow::Result<u64> {
        let body = self.request(Method::GET, CONNECTIONS).await?;
        sum(&body).context("the statistics cannot be read")
    }

    async fn request(&self, method: Method, path: &str) -> anyhow::Result<Bytes> {
        let answered = tokio::time::timeout(PATIENCE, self.exchange(method, path)).await;
        answered.with_context(|| format!("Envoy gives no answer to {path}"))?
    }

    async fn exchange(&self, method: Method, path: &str) -> anyhow::Result<Bytes> {
        let stream = TcpStream::connect(&self.addresses[..]).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or with this process.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(header::HOST, "admin");
        let request = request.header(header::CONNECTION, "close").body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        anyhow::ensure!(status.is_success(), "Envoy answers {path} with {status}");
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok(body.map_err(|error| anyhow::anyhow!(error))?.to_bytes())
    }
}

/// True when nobody listens: Envoy has gone.
pub(super) fn is_gone(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, NetworkUnreachable};
    // The last address speaks for all: a machine without IPv6 has no `::1`.
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|e| matches!(e.kind(), ConnectionRefused | AddrNotAvailable | NetworkUnreachable))
}

#[derive(Deserialize)]
struct Stats {
    stats: Vec<Stat>,
}

#[derive(Deserialize)]
struct Stat {
    name: String,
    value: u64,
}

/// The sum over listeners of traffic.
pub(super) fn sum(json: &[u8]) -> Result<u64, serde_json::Error> {
    let Stats { stats } = serde_json::from_slice(json)?;
    let counts =
        |stat: &&Stat| !OWN.iter().any(|own| stat.name.contains(own)) && !stat.name.contains(".worker_");
    Ok(stats.iter().filter(counts).map(|stat| stat.value).sum())
}
