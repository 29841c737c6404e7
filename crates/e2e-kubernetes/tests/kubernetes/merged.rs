//! Gateways of a class that share proxies.

use e2e::manifest as m;
use e2e_kubernetes::{Bed, condition, eventually};

use crate::{clients, none_failed};

#[tokio::test]
async fn merged_gateways_share_an_address_and_come_and_go_by_themselves() {
    Bed::run("merged", async |space| {
        let system = space.bed.controller().space();
        let class = format!("merged-{}", space.name);
        space.echo("web", 2).await;
        space
            .apply(&format!(
                "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: {{ name: {class}, namespace: {ns} }}\n\
                 spec: {{ mergeGateways: true }}\n---\n\
                 apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{ name: {class} }}\nspec:\n  \
                 controllerName: gateway.envoyproxy.io/gatewayclass-controller\n  parametersRef: {{ group: \
                 gateway.envoyproxy.io, kind: EnvoyProxy, name: {class}, namespace: {ns} }}\n",
                ns = system.name
            ))
            .await;
        let gateway = |name: &str, host: &str| {
            let listeners = format!("{}  hostname: {host}\n", m::http("http", 80));
            let own = m::gateway(name, &listeners);
            let line = own.lines().find(|line| line.contains("gatewayClassName")).unwrap().to_owned();
            own.replace(&line, &format!("  gatewayClassName: {class}"))
        };
        space.apply(&gateway("shop", "shop.example.com")).await;
        space.route("web", "shop", "shop.example.com", "web").await;
        let at = space.address("shop", 80).await;
        space.answers(at, "shop.example.com", 200).await;
        let labels = format!("gateway.envoyproxy.io/owning-gatewayclass={class}");
        let fleets = async || system.list_in("Deployment", &system.name, &labels).await;
        assert_eq!(fleets().await.len(), 1, "one fleet for the class");
        let clients = clients(at);
        for _ in 0..2 {
            space.apply(&gateway("team", "team.example.com")).await;
            space.route("team", "team", "team.example.com", "web").await;
            assert_eq!(space.address("team", 80).await, at, "the address is the class's");
            space.answers(at, "team.example.com", 200).await;
            assert_eq!(fleets().await.len(), 1);
            space.remove("HTTPRoute", "team").await;
            space.remove("Gateway", "team").await;
            space.answers(at, "team.example.com", 404).await;
        }
        let class_status = space.get("GatewayClass", &class).await.unwrap();
        assert_eq!(condition(&class_status["status"]["conditions"], "Accepted")["status"], "True");
        none_failed(clients).await;
        space.remove("HTTPRoute", "web").await;
        space.remove("Gateway", "shop").await;
        eventually("the fleet goes with the last Gateway", async || fleets().await.is_empty().then_some(())).await;
        space.remove("GatewayClass", &class).await;
        eventually("the class can go", async || {
            space.get("GatewayClass", &class).await.is_none().then_some(())
        })
        .await;
    })
    .await;
}
