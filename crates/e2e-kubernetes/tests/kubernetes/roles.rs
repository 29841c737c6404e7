//! What the control plane may do when somebody else wrote its roles.

use std::panic::AssertUnwindSafe;

use e2e_kubernetes::{Bed, Space, condition};
use futures::FutureExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{clients, none_failed, shop};

const READ: [&str; 3] = ["get", "list", "watch"];
const INFRA: [&str; 7] = ["create", "get", "list", "delete", "deletecollection", "patch", "watch"];
/// Kinds of Gateway API and of Envoy Gateway with a status.
const GATEWAY: [&str; 8] = [
    "gateways",
    "listenersets",
    "grpcroutes",
    "httproutes",
    "tcproutes",
    "tlsroutes",
    "udproutes",
    "backendtlspolicies",
];
const ENVOY: [&str; 7] = [
    "envoyproxies",
    "envoypatchpolicies",
    "clienttrafficpolicies",
    "backendtrafficpolicies",
    "securitypolicies",
    "envoyextensionpolicies",
    "backends",
];

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

fn statuses(group: &str, kinds: &[&str]) -> Value {
    let all: Vec<String> = kinds.iter().map(|kind| format!("{kind}/status")).collect();
    rule(group, &all.iter().map(String::as_str).collect::<Vec<_>>(), &["update"])
}

/// Kind, name and rules of each role, as the chart of Envoy Gateway 1.9 has them by default.
fn of_envoy_gateway() -> [(&'static str, &'static str, Value); 4] {
    let (gateway, envoy) = ("gateway.networking.k8s.io", "gateway.envoyproxy.io");
    let cluster = json!([
        rule("", &["nodes", "namespaces"], &READ),
        rule(gateway, &["gatewayclasses"], &["get", "list", "patch", "update", "watch"]),
        rule(gateway, &["gatewayclasses/status"], &["update"]),
        rule("multicluster.x-k8s.io", &["serviceimports"], &READ),
        rule("", &["configmaps", "secrets", "services"], &READ),
        rule("", &["pods", "pods/binding"], &["get", "list", "patch", "update", "watch"]),
        rule("apps", &["deployments", "daemonsets"], &READ),
        rule("discovery.k8s.io", &["endpointslices"], &READ),
        rule(envoy, &ENVOY, &READ),
        rule(envoy, &["httproutefilters"], &READ),
        statuses(envoy, &ENVOY),
        rule(gateway, &GATEWAY, &READ),
        rule(gateway, &["referencegrants"], &READ),
        statuses(gateway, &GATEWAY),
    ]);
    let infra = json!([
        rule("", &["serviceaccounts", "services", "configmaps"], &INFRA),
        rule("apps", &["deployments", "daemonsets"], &INFRA),
        rule("autoscaling", &["horizontalpodautoscalers"], &INFRA),
        rule("policy", &["poddisruptionbudgets"], &INFRA),
        rule("certificates.k8s.io", &["clustertrustbundles"], &READ),
    ]);
    let all = ["get", "list", "watch", "create", "update", "patch", "delete"];
    let leader = json!([
        rule("", &["configmaps"], &all),
        rule("coordination.k8s.io", &["leases"], &all),
        rule("", &["events"], &["create", "patch"]),
    ]);
    [
        ("ClusterRole", "envoy-gateway-role", cluster),
        ("ClusterRole", "envoy-gateway-gateway-services", json!([])),
        ("Role", "envoy-gateway-infra-manager", infra),
        ("Role", "envoy-gateway-leader-election", leader),
    ]
}

/// Gives a role other rules; returns those it had.
async fn replace(system: &Space, kind: &str, name: &str, rules: &Value) -> Value {
    let api = system.api_in(kind, if kind == "Role" { &system.name } else { "" });
    let before = serde_json::to_value(api.get(name).await.unwrap()).unwrap()["rules"].take();
    let patch = json!({ "rules": rules });
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    before
}

#[tokio::test]
async fn the_roles_of_envoy_gateway_are_enough() {
    Bed::run("roles", async |space| {
        let controller = space.bed.controller();
        let system = controller.space();
        let mut before = Vec::new();
        for (kind, name, rules) in of_envoy_gateway() {
            before.push((kind, name, replace(&system, kind, name, &rules).await));
        }
        let body = async {
            // It begins with these roles, and makes, serves, changes, reports and takes down a Gateway.
            controller.roll(&format!("roles-{}", space.name)).await;
            let at = shop(space).await;
            let clients = clients(at);
            let hosts = json!({ "spec": { "hostnames": ["shop.example.com", "more.example.com"] } });
            let edited = space.merge("HTTPRoute", "web", &hosts).await;
            space.answers(at, "more.example.com", 200).await;
            space
                .until("HTTPRoute", "web", "its status follows", |route| {
                    let accepted = condition(&route["status"]["parents"][0]["conditions"], "Accepted");
                    accepted["observedGeneration"] == edited["metadata"]["generation"]
                })
                .await;
            none_failed(clients).await;
            let fleet = space.fleet("shop").await;
            space.remove("Gateway", "shop").await;
            let gone = async || system.get("Deployment", &fleet).await.is_none().then_some(());
            e2e_kubernetes::eventually("its proxies are gone", gone).await;
        };
        let outcome = AssertUnwindSafe(body).catch_unwind().await;
        for (kind, name, rules) in before {
            replace(&system, kind, name, &rules).await;
        }
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    })
    .await;
}
