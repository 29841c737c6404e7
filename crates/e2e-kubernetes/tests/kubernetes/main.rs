//! A whole installation against a real API server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests fail by panicking, and figures are printed"
)]

mod checks;
mod figures;
mod merged;
mod mirrors;
mod outages;
mod replicas;
mod roles;
mod rolling;
mod rules;
mod scaling;
mod statuses;
mod takeover;
mod zones;

use std::net::SocketAddr;

use e2e::Loop;
use e2e_kubernetes::Space;

/// A Gateway with a route to a backend of two Pods, and where it is reached.
async fn shop(space: &Space) -> SocketAddr {
    space.echo("web", 2).await;
    space.route("web", "shop", "shop.example.com", "web").await;
    let at = space.gateway("shop", &e2e::manifest::http("http", 80), 80).await;
    space.answers(at, "shop.example.com", 200).await;
    at
}

/// Clients of [`shop`]: connections that are kept, and one for each request.
fn clients(at: SocketAddr) -> Loop {
    let mut clients = Loop::new();
    clients.http1(at, "shop.example.com", "/kept");
    clients.h2c(at, "shop.example.com", "/h2c");
    clients.http1_fresh(at, "shop.example.com", "/fresh");
    clients
}

/// Ends the clients: not one request may have failed.
async fn none_failed(clients: Loop) {
    let report = clients.stop().await;
    println!("{} requests, {} bad", report.good, report.bad.len());
    assert!(report.good > 50, "clients were at work: {}", report.good);
    assert!(
        report.bad.is_empty(),
        "{} of {} failed: {:#?}",
        report.bad.len(),
        report.good,
        &report.bad[..report.bad.len().min(5)]
    );
}
