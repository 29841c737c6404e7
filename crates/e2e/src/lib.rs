//! What the end-to-end tests are made of: a running gateway, backends that say what arrived, and clients.
//!
//! A [`Gateway`] is the real binary with real Envoy, started over a folder of manifests that the test edits. Its
//! backends are [`Backends`] inside the test process. Everything is on 127.0.0.1 and every wait has an end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "support of tests: it fails by panicking, and tells what the gateway logged"
)]

mod backends;
mod certificate;
mod client;
mod collector;
mod echoes;
mod gateway;
mod grpc;
mod http3;
pub mod manifest;
mod tls;
mod traffic;
mod websocket;

pub use backends::{Backends, TlsBackend};
pub use certificate::{Authority, Certificate};
pub use client::{At, Broken, Client, Question, Reply, get, request};
pub use collector::{Collector, Entry, Span};
pub use echoes::{Echoes, tcp_echo, udp_echo};
pub use gateway::{Gateway, binary, envoy, free_port};
pub use grpc::{Call, Channel, Ended};
pub use http3::Http3;
pub use tls::{Resuming, Shown};
pub use traffic::{Loop, Report};
pub use websocket::websocket_echo;

use std::time::{Duration, Instant};

/// Long enough for anything on a busy machine; every wait ends with it.
pub const SOON: Duration = Duration::from_secs(20);

/// Tries until `attempt` gives something.
///
/// # Panics
/// After [`SOON`], with `what`.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(started.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
