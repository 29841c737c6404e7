//! One controller and three, which may die at any moment.

use std::time::Duration;

use e2e::manifest as m;
use e2e_kubernetes::{Bed, Controller, condition, eventually};
use serde_json::{Value, json};

use crate::{clients, none_failed, shop};

/// Gateways that are made while controllers die.
const MADE: usize = 6;

#[tokio::test]
async fn a_controller_that_is_killed_in_the_middle_finishes_later() {
    Bed::run("killed", async |space| {
        let at = shop(space).await;
        let clients = clients(at);
        let controller = space.bed.controller();
        for number in 0..MADE {
            let name = format!("g{number}");
            space.apply(&m::gateway(&name, &m::http("http", 8080))).await;
            space.route(&name, &name, &format!("{name}.example.com"), "web").await;
            if number % 2 == 1 {
                // At another point of its writes each time.
                tokio::time::sleep(Duration::from_millis(40 * number as u64)).await;
                for pod in controller.pods().await {
                    controller.kill(&pod).await;
                }
            }
        }
        for number in 0..MADE {
            let name = format!("g{number}");
            let made = space.address(&name, 8080).await;
            space.answers(made, &format!("{name}.example.com"), 200).await;
        }
        let labels = format!("gateway.envoyproxy.io/owning-gateway-namespace={}", space.name);
        for kind in ["Deployment", "Service", "ServiceAccount", "ConfigMap"] {
            let found = controller.space().list_in(kind, "envoy-gateway-system", &labels).await;
            assert_eq!(found.len(), MADE + 1, "{kind}s: one for each Gateway");
        }
        controller.is_as_from_scratch().await;
        for number in 0..MADE {
            space.remove("Gateway", &format!("g{number}")).await;
        }
        eventually("all that was made for them is gone", async || {
            let found = controller.space().list_in("Deployment", "envoy-gateway-system", &labels).await;
            (found.len() == 1).then_some(())
        })
        .await;
        none_failed(clients).await;
    })
    .await;
}

#[tokio::test]
async fn of_three_replicas_another_leads_when_the_leader_dies() {
    Bed::run("leader", async |space| {
        let at = shop(space).await;
        let controller = space.bed.controller();
        controller.scale(3).await;
        let clients = clients(at);
        for round in 0..2 {
            let leader = controller.leader().await;
            controller.delete(&leader).await;
            let host = format!("round-{round}.example.com");
            let hosts = json!({ "spec": { "hostnames": ["shop.example.com", host] } });
            let edited = space.merge("HTTPRoute", "web", &hosts).await;
            space.answers(at, &host, 200).await;
            space
                .until("HTTPRoute", "web", "its status follows", |route| {
                    let accepted = condition(&route["status"]["parents"][0]["conditions"], "Accepted");
                    accepted["observedGeneration"] == edited["metadata"]["generation"]
                })
                .await;
            assert_ne!(controller.leader().await, leader);
            controller.ready(3).await;
        }
        controller.is_as_from_scratch().await;
        none_failed(clients).await;
    })
    .await;
}

/// The Pod that serves the proxy of a Gateway, and its stream.
async fn serving(controller: &Controller, gateway: &str) -> Option<(String, Value)> {
    for pod in controller.pods().await {
        let streams = controller.admin(&pod, "/streams").await.unwrap_or_default();
        let mut all = streams.as_array().into_iter().flatten();
        if let Some(stream) = all.find(|stream| stream["feed"] == gateway) {
            return Some((pod, stream.clone()));
        }
    }
    None
}

#[tokio::test]
async fn a_proxy_that_changes_replicas_is_sent_nothing_it_has() {
    Bed::run("moves", async |space| {
        let at = shop(space).await;
        let controller = space.bed.controller();
        controller.scale(2).await;
        let clients = clients(at);
        let gateway = format!("{}/shop", space.name);
        let serving = serving(&controller, &gateway).await.expect("some replica serves the proxy").0;
        controller.delete(&serving).await;
        let (other, _) = eventually("the proxy comes to the other replica", async || {
            self::serving(&controller, &gateway).await.filter(|(pod, _)| *pod != serving)
        })
        .await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let stream = self::serving(&controller, &gateway).await.expect("it stays").1;
        assert_eq!(stream["bytes"], 0, "{other} has sent what the proxy has: {stream}");
        none_failed(clients).await;
    })
    .await;
}
