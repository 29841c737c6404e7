//! Requests stay in the zone of their proxy.

use std::{collections::BTreeMap, net::SocketAddr};

use e2e_kubernetes::{Bed, Space, eventually};
use serde_json::{Value, json};

/// Requests of which the shares of backends are counted.
const MANY: u32 = 60;
/// The Service with an endpoint in the zone of the proxies (the bed's only Node is there) and one in another.
const SERVICE: &str = "zoned";
const NEAR: (&str, &str) = ("near", "zone-a");
const FAR: (&str, &str) = ("far", "zone-b");

/// A Service without a selector; whoever puts its slices says which zones there are.
fn service(distribution: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": SERVICE },
        "spec": {
            "ports": [{ "name": "http", "port": 80, "targetPort": 3000 }],
            "trafficDistribution": distribution,
        },
    })
}

async fn slice(space: &Space, backends: &[(&str, &str)]) {
    let mut endpoints = Vec::new();
    for (app, zone) in backends {
        let pods = space.list_in("Pod", &space.name, &format!("app={app}")).await;
        let address = &pods[0]["status"]["podIP"];
        let ready = json!({ "ready": true, "serving": true, "terminating": false });
        endpoints.push(json!({ "addresses": [address], "zone": zone, "conditions": ready }));
    }
    space
        .put(&json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": SERVICE, "labels": { "kubernetes.io/service-name": SERVICE } },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": 3000, "protocol": "TCP" }],
            "endpoints": endpoints,
        }))
        .await;
}

/// A policy for the route; no word on zones when `local` is null.
fn policy(local: &Value) -> Value {
    let zones = if local.is_null() { json!({}) } else { json!({ "zoneAware": { "preferLocal": local } }) };
    let mut balancer = json!({ "type": "RoundRobin" });
    balancer.as_object_mut().unwrap().extend(zones.as_object().unwrap().clone());
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "BackendTrafficPolicy",
        "metadata": { "name": "balance" },
        "spec": {
            "targetRefs": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "web" }],
            "loadBalancer": balancer,
        },
    })
}

/// How many requests each backend got of [`MANY`]; every one is answered.
async fn shares(at: SocketAddr) -> BTreeMap<String, u32> {
    let mut client = e2e::Client::http1(at).await;
    let mut shares = BTreeMap::new();
    for _ in 0..MANY {
        let reply = client.send(e2e::get("shop.example.com", "/")).await;
        assert_eq!(reply.status, 200);
        let app = reply.backend().split('-').next().unwrap_or_default().to_owned();
        *shares.entry(app).or_default() += 1;
    }
    shares
}

async fn until(at: SocketAddr, what: &str, is_so: impl Fn(u32, u32) -> bool) {
    eventually(what, async || {
        let shares = shares(at).await;
        let of = |name: &str| shares.get(name).copied().unwrap_or_default();
        is_so(of(NEAR.0), of(FAR.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_stay_in_the_zone_of_their_proxy_while_it_has_endpoints() {
    Bed::run("zones", async |space| {
        let ((near, _), (far, _)) = (NEAR, FAR);
        space.echo(near, 1).await;
        space.echo(far, 1).await;
        space.put(&service(&Value::Null)).await;
        slice(space, &[NEAR, FAR]).await;
        space.route("web", "shop", "shop.example.com", SERVICE).await;
        let at = space.gateway("shop", &e2e::manifest::http("http", 80), 80).await;
        space.answers(at, "shop.example.com", 200).await;
        let spread = |near: u32, far: u32| near > MANY / 4 && far > MANY / 4;
        until(at, "nothing is said of zones: both have their turns", spread).await;

        let force = json!({ "minEndpointsThreshold": 1, "force": { "minEndpointsInZoneThreshold": 1 } });
        space.put(&policy(&force)).await;
        until(at, "all stay in the zone", |near, far| near == MANY && far == 0).await;
        slice(space, &[FAR]).await;
        until(at, "none is left in the zone: another serves", |near, far| near == 0 && far == MANY).await;
        slice(space, &[NEAR, FAR]).await;
        until(at, "they return to the zone", |near, far| near == MANY && far == 0).await;
        let many = json!({ "minEndpointsThreshold": 3 });
        space.put(&policy(&many)).await;
        until(at, "two endpoints are too few for zones to count", spread).await;
        space.remove("BackendTrafficPolicy", "balance").await;

        space.put(&service(&json!("PreferClose"))).await;
        until(at, "the Service itself asks for it", |near, far| near == MANY && far == 0).await;
    })
    .await;
}
