//! What the API server is told, and what is left to others.

use e2e::manifest as m;
use e2e_kubernetes::{Bed, condition, eventually, second_controller};
use serde_json::{Value, json};

const OURS: &str = "gateway.envoyproxy.io/gatewayclass-controller";

fn parents(route: &Value) -> Vec<(String, String)> {
    let parents = route["status"]["parents"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<(String, String)> = parents
        .iter()
        .map(|parent| (text(&parent["controllerName"]), text(&parent["parentRef"]["name"])))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn every_kind_has_its_status() {
    Bed::run("statuses", async |space| {
        space.apply("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: { name: small }\nspec: { concurrency: 1 }\n").await;
        super::shop(space).await;
        let parameters = json!({ "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "small" });
        let patch = json!({ "spec": { "infrastructure": { "parametersRef": parameters } } });
        space.merge("Gateway", "shop", &patch).await;
        let holds = |list: &Value, kind: &str| condition(list, kind)["status"] == "True";
        space.until("GatewayClass", "ferrogate", "accepted", |class| holds(&class["status"]["conditions"], "Accepted")).await;
        space.until("EnvoyProxy", "small", "accepted", |proxy| holds(&proxy["status"]["ancestors"][0]["conditions"], "Accepted")).await;
        let gateway = space
            .until("Gateway", "shop", "programmed with one route", |gateway| {
                let listener = &gateway["status"]["listeners"][0];
                holds(&gateway["status"]["conditions"], "Programmed")
                    && holds(&listener["conditions"], "Programmed")
                    && listener["attachedRoutes"] == 1
                    && condition(&gateway["status"]["conditions"], "Accepted")["observedGeneration"] == 2
            })
            .await;
        assert!(holds(&gateway["status"]["conditions"], "Accepted"));
        let route = space
            .until("HTTPRoute", "web", "accepted", |route| {
                let conditions = &route["status"]["parents"][0]["conditions"];
                holds(conditions, "Accepted") && holds(conditions, "ResolvedRefs")
            })
            .await;
        assert_eq!(parents(&route), [(OURS.to_owned(), "shop".to_owned())]);
    })
    .await;
}

#[tokio::test]
async fn two_controllers_share_a_route_and_leave_each_other_their_entries() {
    Bed::run("two_controllers", async |space| {
        let theirs = "example.com/second";
        let class = format!("second-{}", space.name);
        space
            .put(&json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
                "metadata": { "name": class }, "spec": { "controllerName": theirs } }))
            .await;
        let mut second = second_controller(space, theirs).await;
        super::shop(space).await;
        let gateway = m::gateway("others", &m::http("http", 80))
            .replace("gatewayClassName: ferrogate", &format!("gatewayClassName: {class}"));
        space.apply(&gateway).await;
        let both = json!({ "spec": { "parentRefs": [{ "name": "shop" }, { "name": "others" }] } });
        space.merge("HTTPRoute", "web", &both).await;
        let entry = |controller: &str, gateway: &str| (controller.to_owned(), gateway.to_owned());
        let expected = [entry(theirs, "others"), entry(OURS, "shop")];
        space
            .until("HTTPRoute", "web", "both controllers' entries", |route| parents(route) == expected)
            .await;
        // For a while each sees the other's writes; neither answers them.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let before = space.get("HTTPRoute", "web").await.unwrap()["metadata"]["resourceVersion"].clone();
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let after = space.get("HTTPRoute", "web").await.unwrap()["metadata"]["resourceVersion"].clone();
        assert_eq!(before, after, "they write against each other");
        let leaves = json!({ "spec": { "parentRefs": [{ "name": "others" }] } });
        space.merge("HTTPRoute", "web", &leaves).await;
        space.until("HTTPRoute", "web", "their entry alone", |route| parents(route) == expected[..1]).await;
        second.kill().await.unwrap();
        space.remove("GatewayClass", &class).await;
        // The class's finalizer was theirs, and they are not there any more.
        space.merge("GatewayClass", &class, &json!({ "metadata": { "finalizers": null } })).await;
    })
    .await;
}

#[tokio::test]
async fn a_storm_of_edits_ends_with_the_status_of_the_last() {
    Bed::run("edits", async |space| {
        super::shop(space).await;
        let controller = space.bed.controller();
        let leader = controller.leader().await;
        let writes =
            async || controller.metrics(&leader).await.sum("ferrogate_status_update_total", "HTTPRoute");
        let before = writes().await;
        let edits = 60;
        for number in 0..edits {
            let host = format!("host-{number}.example.com");
            space.merge("HTTPRoute", "web", &json!({ "spec": { "hostnames": [host] } })).await;
        }
        let generation = space.get("HTTPRoute", "web").await.unwrap()["metadata"]["generation"].clone();
        space
            .until("HTTPRoute", "web", "its status is of the last edit", |route| {
                let accepted = condition(&route["status"]["parents"][0]["conditions"], "Accepted");
                accepted["observedGeneration"] == generation
            })
            .await;
        let made = writes().await - before;
        println!("{edits} edits, {made} attempts to write a status");
        assert!(made <= f64::from(edits) * 1.1, "{made} writes for {edits} edits");
    })
    .await;
}

#[tokio::test]
async fn a_status_that_somebody_spoils_is_mended() {
    Bed::run("drift", async |space| {
        super::shop(space).await;
        let mut route = space.get("HTTPRoute", "web").await.unwrap();
        route["status"]["parents"][0]["conditions"][0]["status"] = "False".into();
        let api = space.api_in("HTTPRoute", &space.name);
        let document = serde_json::from_value::<kube::api::DynamicObject>(route).unwrap();
        api.replace_status("web", &Default::default(), &document).await.unwrap();
        space
            .until("HTTPRoute", "web", "accepted again", |route| {
                condition(&route["status"]["parents"][0]["conditions"], "Accepted")["status"] == "True"
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn infrastructure_that_somebody_changes_or_deletes_is_mended() {
    Bed::run("repair", async |space| {
        super::shop(space).await;
        let fleet = space.fleet("shop").await;
        let system = space.bed.controller().space();
        let spoilt = json!({ "spec": { "externalTrafficPolicy": "Cluster" } });
        system.merge("Service", &fleet, &spoilt).await;
        let policy = |service: &Value| service["spec"]["externalTrafficPolicy"] == "Local";
        system.until("Service", &fleet, "as it was", policy).await;
        system
            .merge(
                "Deployment",
                &fleet,
                &json!({ "spec": { "template": { "spec": { "serviceAccountName": "other" } } } }),
            )
            .await;
        let account = fleet.clone();
        system
            .until("Deployment", &fleet, "as it was", |deployment| {
                deployment["spec"]["template"]["spec"]["serviceAccountName"] == account.as_str()
            })
            .await;
        system.remove("Service", &fleet).await;
        eventually("the Service is made again", async || {
            let service = system.get("Service", &fleet).await?;
            service["metadata"]["deletionTimestamp"].is_null().then_some(())
        })
        .await;
        let at = space.address("shop", 80).await;
        space.answers(at, "shop.example.com", 200).await;
    })
    .await;
}

#[tokio::test]
async fn a_gateway_is_known_in_its_own_namespace() {
    Bed::run("alias", async |space| {
        super::shop(space).await;
        let service = space.until("Service", "shop-ferrogate", "made", |_| true).await;
        let fleet = space.fleet("shop").await;
        let target = format!("{fleet}.envoy-gateway-system.svc.cluster.local");
        assert_eq!(service["spec"]["externalName"], target.as_str());
        space.remove("Gateway", "shop").await;
        eventually("it goes with the Gateway", async || {
            space.get("Service", "shop-ferrogate").await.is_none().then_some(())
        })
        .await;
    })
    .await;
}
