//! Rolling updates of everything while clients are at work.

use std::time::Duration;

use e2e_kubernetes::{Bed, condition};
use serde_json::{Value, json};

use crate::{clients, none_failed, shop};

fn marked(mark: &str) -> Value {
    json!({ "spec": { "template": { "metadata": { "annotations": { "e2e/mark": mark } } } } })
}

#[tokio::test]
async fn backends_are_rolled_without_a_failed_request() {
    Bed::run("roll_backend", async |space| {
        let at = shop(space).await;
        let clients = clients(at);
        for round in 0..2 {
            space.merge("Deployment", "web", &marked(&round.to_string())).await;
            space.rolled_out("Deployment", "web").await;
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        none_failed(clients).await;
    })
    .await;
}

/// An EnvoyProxy whose proxies drain quickly, so that tests need not wait a minute for each.
fn proxies(replicas: u32, mark: &str) -> String {
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: {{ name: proxies }}\nspec:\n  \
         shutdown: {{ drainTimeout: 20s, minDrainDuration: 5s }}\n  provider:\n    type: Kubernetes\n    kubernetes:\n      \
         envoyDeployment:\n        replicas: {replicas}\n        pod: {{ annotations: {{ e2e/mark: \"{mark}\" }} }}\n"
    )
}

#[tokio::test]
async fn proxies_are_rolled_and_scaled_without_a_failed_request() {
    Bed::run("roll_proxy", async |space| {
        space.apply(&proxies(1, "0")).await;
        space.echo("web", 2).await;
        space.route("web", "shop", "shop.example.com", "web").await;
        let parameters = "  infrastructure:\n    parametersRef: { group: gateway.envoyproxy.io, kind: EnvoyProxy, name: proxies }\n  listeners:";
        let gateway = e2e::manifest::gateway("shop", &e2e::manifest::http("http", 80)).replace("  listeners:", parameters);
        space.apply(&gateway).await;
        let at = space.address("shop", 80).await;
        space.answers(at, "shop.example.com", 200).await;
        let fleet = space.fleet("shop").await;
        let system = space.bed.controller().space();
        let clients = clients(at);
        for (replicas, mark) in [(1, "1"), (3, "1"), (3, "2"), (1, "2")] {
            space.apply(&proxies(replicas, mark)).await;
            system
                .until("Deployment", &fleet, &format!("{replicas} proxies, mark {mark}"), |deployment| {
                    let template = &deployment["spec"]["template"]["metadata"]["annotations"];
                    let status = &deployment["status"];
                    deployment["spec"]["replicas"] == replicas
                        && template["e2e/mark"] == mark
                        && status["observedGeneration"] == deployment["metadata"]["generation"]
                        && status["updatedReplicas"] == replicas
                        && status["availableReplicas"] == replicas
                        && status["replicas"] == replicas
                })
                .await;
        }
        // The last ones drain.
        tokio::time::sleep(Duration::from_secs(8)).await;
        none_failed(clients).await;
    })
    .await;
}

#[tokio::test]
async fn the_controller_is_rolled_without_a_failed_request() {
    Bed::run("roll_controller", async |space| {
        let at = shop(space).await;
        let controller = space.bed.controller();
        let clients = clients(at);
        for mark in ["one", "two"] {
            controller.roll(&format!("{mark}-{}", space.name)).await;
            let host = format!("{mark}.example.com");
            let hosts = json!({ "spec": { "hostnames": ["shop.example.com", host] } });
            space.merge("HTTPRoute", "web", &hosts).await;
            space.answers(at, &host, 200).await;
        }
        none_failed(clients).await;
    })
    .await;
}

/// A release and the next one: the same program, but for the version that it gives. Its proxies drain by an image of
/// the configuration, so they stay.
#[tokio::test]
async fn another_version_comes_and_goes_without_a_failed_request() {
    Bed::run("upgrade", async |space| {
        let at = shop(space).await;
        let controller = space.bed.controller();
        let gateway = format!("{}/shop", space.name);
        let (image, version) = (controller.image().await, env!("CARGO_PKG_VERSION"));
        let next = std::env::var("FERROGATE_NEXT_VERSION").unwrap();
        let fleet = space.fleet("shop").await;
        let served = controller.served(&gateway).await;
        let proxies = controller.space().get("Deployment", &fleet).await.unwrap();
        let clients = clients(at);
        for (image, version) in [("ferrogate/next:test", &*next), (&*image, version)] {
            controller.upgrade(image).await;
            for pod in controller.pods().await {
                let gives = controller.run(&pod, &["/usr/local/bin/envoy-gateway", "version"]).await;
                assert!(gives.contains(version), "{gives}");
            }
            assert_eq!(controller.served(&gateway).await, served, "{version} serves the same");
            let host = format!("v-{}.example.com", version.replace('.', "-").to_lowercase());
            let hosts = |hosts: &[&str]| json!({ "spec": { "hostnames": hosts } });
            space.merge("HTTPRoute", "web", &hosts(&["shop.example.com", &host])).await;
            space.answers(at, &host, 200).await;
            space.merge("HTTPRoute", "web", &hosts(&["shop.example.com"])).await;
            space.answers(at, &host, 404).await;
            let now = controller.space().get("Deployment", &fleet).await.unwrap();
            assert_eq!(
                now["metadata"]["generation"], proxies["metadata"]["generation"],
                "proxies stay as they are"
            );
        }
        none_failed(clients).await;
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_starts_without_a_controller_is_not_ready_instead_of_empty() {
    Bed::run("no_controller", async |space| {
        let at = shop(space).await;
        let controller = space.bed.controller();
        let system = controller.space();
        let fleet = space.fleet("shop").await;
        let labels = format!("gateway.envoyproxy.io/owning-gateway-namespace={}", space.name);
        controller.scale(0).await;
        let old = system.list_in("Pod", &system.name, &labels).await;
        for pod in &old {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let now = kube::api::DeleteParams::default().grace_period(0);
            system.api_in("Pod", &system.name).delete(name, &now).await.unwrap();
        }
        let is_ready = |pod: &Value| condition(&pod["status"]["conditions"], "Ready")["status"] == "True";
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            for pod in system.list_in("Pod", &system.name, &labels).await {
                let new = old.iter().all(|old| old["metadata"]["uid"] != pod["metadata"]["uid"]);
                assert!(!new || !is_ready(&pod), "a proxy without configuration is ready: {}", pod["status"]);
            }
        }
        assert!(e2e::Client::try_http1(at).await.is_none(), "nobody answers, and nobody answers 404");
        controller.scale(1).await;
        system.rolled_out("Deployment", &fleet).await;
        space.answers(at, "shop.example.com", 200).await;
    })
    .await;
}
