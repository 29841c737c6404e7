//! What the tests of a whole installation are made of: a test bed (`e2e/testbed`) in which the controller runs as its
//! own manifests say, spaces (namespaces) of tests, and clients.
//!
//! Tests run inside of the bed's network, because its addresses exist there alone: `make test-kubernetes` brings a bed
//! up and starts them there. Started otherwise each says loudly that it is skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "support of tests: it fails by panicking, and tells what it found"
)]

mod bed;
mod controller;
mod metrics;
mod space;

pub use bed::Bed;
pub use controller::{Controller, second_controller};
pub use metrics::Metrics;
pub use space::{Space, condition};

use std::time::{Duration, Instant};

/// Long enough for anything that a cluster on a busy machine does by itself.
pub const SOON: Duration = Duration::from_secs(90);

/// Tries until `attempt` gives something, and gives up after `limit`.
///
/// # Errors
/// After `limit`, with `what`.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Option<T>,
) -> Result<T, String> {
    let started = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return Ok(value);
        }
        if started.elapsed() > limit {
            return Err(format!("not within {limit:?}: {what}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tries until `attempt` gives something.
///
/// # Panics
/// After [`SOON`], with `what`.
pub async fn eventually<T>(what: &str, attempt: impl AsyncFnMut() -> Option<T>) -> T {
    within(SOON, what, attempt).await.unwrap_or_else(|words| panic!("{words}"))
}
