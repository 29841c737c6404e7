//! Objects that Envoy Gateway has left are taken over in place, and could be taken back.

use e2e_kubernetes::{Bed, condition};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{clients, none_failed, shop};

/// The Pods of a Gateway by uid, with their restarts, but for those on their way out.
async fn pods(space: &e2e_kubernetes::Space) -> Vec<(String, i64)> {
    let labels = format!("gateway.envoyproxy.io/owning-gateway-namespace={}", space.name);
    let found = space.list_in("Pod", "envoy-gateway-system", &labels).await;
    let mut pods: Vec<(String, i64)> = found
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| {
            let restarts = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
            let restarts = restarts.map(|status| status["restartCount"].as_i64().unwrap_or(0)).sum();
            (pod["metadata"]["uid"].as_str().unwrap().to_owned(), restarts)
        })
        .collect();
    pods.sort();
    pods
}

#[tokio::test]
async fn objects_of_envoy_gateway_are_adopted_without_a_restart() {
    Bed::run("takeover", async |space| {
        let at = shop(space).await;
        let controller = space.bed.controller();
        let system = controller.space();
        let fleet = space.fleet("shop").await;
        controller.scale(0).await;
        // As Envoy Gateway writes it: the bootstrap in YAML.
        let mut deployment = system.get("Deployment", &fleet).await.unwrap();
        let args = deployment.pointer_mut("/spec/template/spec/containers/0/args").unwrap();
        let at_text = args.as_array().unwrap().iter().position(|arg| arg == "--config-yaml").unwrap() + 1;
        let bootstrap: Value = serde_json::from_str(args[at_text].as_str().unwrap()).unwrap();
        let yaml = serde_yaml_ng::to_string(&bootstrap).unwrap();
        let args: Vec<Value> = args.as_array().unwrap().iter().enumerate()
            .map(|(i, arg)| if i == at_text { yaml.clone().into() } else { arg.clone() })
            .collect();
        let applied = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": fleet },
            "spec": { "selector": deployment["spec"]["selector"], "template": { "spec": { "containers": [{ "name": "envoy", "args": args }] } } },
        });
        let parameters = PatchParams::apply("someone").force();
        system.api_in("Deployment", &system.name).patch(&fleet, &parameters, &Patch::Apply(&applied)).await.unwrap();
        // No controller serves the new Pods, so the old ones stay until one does.
        controller.scale(1).await;
        system.rolled_out("Deployment", &fleet).await;
        space.answers(at, "shop.example.com", 200).await;
        // Now they run with Envoy Gateway's text, and a controller that has never seen them begins.
        let before = pods(space).await;
        let clients = clients(at);
        controller.roll(&format!("takeover-{}", space.name)).await;
        let edited = space.merge("HTTPRoute", "web", &json!({ "spec": { "hostnames": ["shop.example.com", "new.example.com"] } })).await;
        space.answers(at, "new.example.com", 200).await;
        space
            .until("HTTPRoute", "web", "its status is ours", |route| {
                let accepted = condition(&route["status"]["parents"][0]["conditions"], "Accepted");
                accepted["observedGeneration"] == edited["metadata"]["generation"]
            })
            .await;
        assert_eq!(pods(space).await, before, "no Pod was replaced or started again");
        let adopted = system.get("Deployment", &fleet).await.unwrap();
        assert_eq!(adopted.pointer("/spec/template/spec/containers/0/args").unwrap()[at_text], yaml.as_str());
        none_failed(clients).await;
    })
    .await;
}
