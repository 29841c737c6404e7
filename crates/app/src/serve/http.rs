//! The ports for probes and Prometheus.

use std::net::SocketAddr;

use anyhow::Context;
use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{admin, gateway::Gateway};

/// Takes a port.
pub(super) async fn bind(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for {what}"))
}

/// `/healthz` and `/readyz`.
pub(super) async fn health(listener: TcpListener, gateway: Gateway, stop: CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(admin::ready))
        .with_state(gateway);
    serve(listener, router, stop).await;
}

/// `/metrics`.
pub(super) async fn metrics(listener: TcpListener, gateway: Gateway, stop: CancellationToken) {
    serve(listener, Router::new().route("/metrics", get(admin::metrics)).with_state(gateway), stop).await;
}

async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(%error, "a port cannot be served any more");
    }
}
