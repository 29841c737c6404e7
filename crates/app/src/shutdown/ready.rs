//! Where Envoy's hook waits until the proxy has drained.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::{net::TcpListener, time::Instant};

/// How often the file is looked for: a hook that waits this much longer than needed is not noticed.
const POLL: Duration = Duration::from_millis(250);

struct Waiting {
    file: PathBuf,
    timeout: Duration,
}

/// Serves `/healthz` and `/shutdown/ready` until `stop` completes and nobody waits any more.
pub(super) async fn serve(
    listener: TcpListener,
    file: &Path,
    timeout: Duration,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let waiting = Arc::new(Waiting { file: file.to_owned(), timeout });
    let router = Router::new()
        .route("/healthz", get(async || StatusCode::OK))
        .route("/shutdown/ready", get(wait))
        .with_state(waiting);
    Ok(axum::serve(listener, router).with_graceful_shutdown(stop).await?)
}

/// Answers when the file is there: 200; 500 when it does not come in time, and the kubelet then ends Envoy.
async fn wait(State(waiting): State<Arc<Waiting>>) -> StatusCode {
    let deadline = Instant::now() + waiting.timeout;
    loop {
        if tokio::fs::try_exists(&waiting.file).await.unwrap_or(false) {
            return StatusCode::OK;
        }
        if Instant::now() >= deadline {
            tracing::error!(timeout = ?waiting.timeout, "the proxy has not drained in time");
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + POLL)).await;
    }
}
