//! An API server that is away, slow, busy or forgetful: traffic goes on, and what was missed is made up for.

use std::time::Duration;

use e2e_kubernetes::{Bed, Space, condition};
use serde_json::json;

use crate::{clients, none_failed, shop};

/// How long each trouble lasts.
const TROUBLE: Duration = Duration::from_secs(20);
/// How long the API server is away: longer than any pause between two tries of ours, and than the Lease.
const AWAY: Duration = Duration::from_mins(2);

/// How long nothing must be sent for proxies to count as up to date.
const QUIET: Duration = Duration::from_secs(1);

/// Edits the route to take one more host.
async fn edit(space: &Space, host: &str) -> serde_json::Value {
    space.merge("HTTPRoute", "web", &json!({ "spec": { "hostnames": ["shop.example.com", host] } })).await
}

/// Waits until the last edit is in force and told of.
async fn made_up_for(space: &Space, at: std::net::SocketAddr, host: &str, edited: &serde_json::Value) {
    space.answers(at, host, 200).await;
    space
        .until("HTTPRoute", "web", "its status follows", |route| {
            let accepted = condition(&route["status"]["parents"][0]["conditions"], "Accepted");
            accepted["observedGeneration"] == edited["metadata"]["generation"]
        })
        .await;
    space.bed.controller().is_as_from_scratch().await;
}

#[tokio::test]
async fn an_api_server_that_is_down_stops_no_traffic() {
    Bed::run("api_down", async |space| {
        let at = shop(space).await;
        let clients = clients(at);
        space.bed.order(&["process", "down", "kube-apiserver"]).await;
        tokio::time::sleep(AWAY).await;
        space.bed.order(&["process", "start", "kube-apiserver"]).await;
        e2e_kubernetes::eventually("the API server answers", async || space.get("HTTPRoute", "web").await)
            .await;
        let edited = edit(space, "later.example.com").await;
        made_up_for(space, at, "later.example.com", &edited).await;
        none_failed(clients).await;
    })
    .await;
}

#[tokio::test]
async fn a_slow_busy_or_unsteady_api_server_stops_no_traffic_and_delays_changes_at_most() {
    Bed::run("api_slow", async |space| {
        let at = shop(space).await;
        let clients = clients(at);
        for (number, fault) in ["delay=5s", "status=429", "cut=2s", "status=500"].iter().enumerate() {
            space.bed.fault(fault).await;
            tokio::time::sleep(TROUBLE / 2).await;
            let host = format!("fault-{number}.example.com");
            let edited = edit(space, &host).await;
            tokio::time::sleep(TROUBLE / 2).await;
            space.bed.fault("none").await;
            made_up_for(space, at, &host, &edited).await;
        }
        none_failed(clients).await;
    })
    .await;
}

#[tokio::test]
async fn a_history_that_is_gone_is_read_anew_without_a_flap() {
    Bed::run("compacted", async |space| {
        let at = shop(space).await;
        let controller = space.bed.controller();
        let pod = controller.leader().await;
        let pushes = async || controller.metrics(&pod).await.sum("ferrogate_xds_bytes_total", "");
        let clients = clients(at);
        // The proxies' own endpoints come after their first answers, and proxies of tests before may still be there,
        // which are told of the end of their Gateway.
        let before =
            e2e_kubernetes::eventually("these proxies alone are left, and have everything", async || {
                let before = pushes().await;
                tokio::time::sleep(QUIET).await;
                let streams = controller.metrics(&pod).await.sum("ferrogate_xds_streams", "");
                let now = pushes().await;
                (streams < 1.5 && (now - before).abs() < 1.0).then_some(now)
            })
            .await;
        space.bed.order(&["process", "down", "kube-apiserver"]).await;
        space.bed.order(&["compact"]).await;
        space.bed.order(&["process", "start", "kube-apiserver"]).await;
        e2e_kubernetes::eventually("the API server answers", async || space.get("HTTPRoute", "web").await)
            .await;
        // Its memory of events is empty now, so watches of before are answered with 410.
        tokio::time::sleep(TROUBLE / 2).await;
        let sent = pushes().await - before;
        assert!(
            sent.abs() < 1.0,
            "a list that says the same sends nothing to proxies, but {sent} bytes came"
        );
        let edited = edit(space, "after.example.com").await;
        made_up_for(space, at, "after.example.com", &edited).await;
        none_failed(clients).await;
    })
    .await;
}
