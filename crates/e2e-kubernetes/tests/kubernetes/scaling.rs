//! What an EnvoyProxy makes beside the proxies themselves: an autoscaler and a disruption budget.

use e2e_kubernetes::{Bed, Space, eventually};
use serde_json::{Value, json};

use crate::shop;

/// An EnvoyProxy with this inside of `kubernetes`, and a mark by which its effect is known.
fn proxies(kubernetes: &str, mark: &str) -> String {
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: {{ name: proxies }}\nspec:\n  \
         shutdown: {{ drainTimeout: 5s, minDrainDuration: 1s }}\n  provider:\n    type: Kubernetes\n    kubernetes:\n      \
         envoyDeployment: {{ pod: {{ annotations: {{ e2e/mark: \"{mark}\" }} }} }}\n{kubernetes}"
    )
}

/// Autoscaler and budget as text below `kubernetes`.
fn both(most: u32, budget: &str) -> String {
    format!("      envoyHpa: {{ minReplicas: 2, maxReplicas: {most} }}\n      envoyPDB: {{ {budget} }}\n")
}

async fn gone(system: &Space, name: &str) {
    for kind in ["HorizontalPodAutoscaler", "PodDisruptionBudget"] {
        eventually(&format!("{kind} {name} is gone"), async || {
            system.get(kind, name).await.is_none().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn autoscalers_and_budgets_are_as_the_parameters_say() {
    Bed::run("scaling", async |space| {
        space.apply(&proxies("", "0")).await;
        let at = shop(space).await;
        let parameters = json!({ "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "proxies" });
        let patch = json!({ "spec": { "infrastructure": { "parametersRef": parameters } } });
        space.merge("Gateway", "shop", &patch).await;
        let fleet = space.fleet("shop").await;
        let system = space.bed.controller().space();
        let marked = |mark: &str| {
            let mark = mark.to_owned();
            move |deployment: &Value| {
                deployment["spec"]["template"]["metadata"]["annotations"]["e2e/mark"] == mark.as_str()
            }
        };
        system.until("Deployment", &fleet, "mark 0", marked("0")).await;
        gone(&system, &fleet).await;

        space.apply(&proxies(&both(4, "minAvailable: 1"), "1")).await;
        let scaler = system.until("HorizontalPodAutoscaler", &fleet, "made", |_| true).await;
        let spec = &scaler["spec"];
        assert_eq!((&spec["minReplicas"], &spec["maxReplicas"]), (&json!(2), &json!(4)));
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": fleet });
        assert_eq!(spec["scaleTargetRef"], target);
        assert_eq!(spec["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        let budget = system.until("PodDisruptionBudget", &fleet, "made", |_| true).await;
        assert_eq!(budget["spec"]["minAvailable"], 1);
        let deployment = system.until("Deployment", &fleet, "mark 1", marked("1")).await;
        assert_eq!(budget["spec"]["selector"], deployment["spec"]["selector"], "it counts the proxies");

        // The number of proxies is the autoscaler's: what changes otherwise leaves it alone.
        system.merge("Deployment", &fleet, &json!({ "spec": { "replicas": 3 } })).await;
        space.apply(&proxies(&both(5, "maxUnavailable: 50%"), "2")).await;
        let changed = |scaler: &Value| scaler["spec"]["maxReplicas"] == 5;
        system.until("HorizontalPodAutoscaler", &fleet, "changed", changed).await;
        let changed = |budget: &Value| {
            budget["spec"]["maxUnavailable"] == "50%" && budget["spec"]["minAvailable"].is_null()
        };
        system.until("PodDisruptionBudget", &fleet, "changed", changed).await;
        let deployment = system.until("Deployment", &fleet, "mark 2", marked("2")).await;
        assert_eq!(deployment["spec"]["replicas"], 3);

        space.apply(&proxies("", "3")).await;
        gone(&system, &fleet).await;
        let deployment = system.until("Deployment", &fleet, "mark 3", marked("3")).await;
        assert_eq!(deployment["spec"]["replicas"], 1, "the parameters' number counts again");

        space.apply(&proxies(&both(4, "minAvailable: 1"), "4")).await;
        system.until("PodDisruptionBudget", &fleet, "made again", |_| true).await;
        space.answers(at, "shop.example.com", 200).await;
        space.remove("Gateway", "shop").await;
        gone(&system, &fleet).await;
    })
    .await;
}
