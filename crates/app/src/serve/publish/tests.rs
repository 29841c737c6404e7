//! The flow behind the pipeline against an API server in this process.

use std::{sync::Arc, time::Duration};

use api::Object;
use leader::{Leader, Rate, Settings, lease::Timing, testing::Fake};
use pipeline::{ChangeSet, Pipeline};
use provider::kubernetes::{FleetState, Observed, ProxyService, Workload, WorkloadKind};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Publisher, Target};
use crate::{bootstraps::Bootstraps, control::Outlet};

const GATEWAY: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/eg";
const ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/shop";
const CLASS: &str = "/apis/gateway.networking.k8s.io/v1/gatewayclasses/ours";
const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/envoy-gateway-system/leases/5b9825d2.gateway.envoyproxy.io";
const WRITES: &[&str] = &["PUT", "PATCH", "POST", "DELETE"];

fn objects() -> [(&'static str, Value); 3] {
    let group = "gateway.networking.k8s.io/v1";
    let metadata = |name: &str| json!({ "name": name, "namespace": "default", "generation": 1, "uid": "u1" });
    [
        (
            CLASS,
            json!({
                "apiVersion": group, "kind": "GatewayClass", "metadata": { "name": "ours", "generation": 1 },
                "spec": { "controllerName": "gateway.envoyproxy.io/gatewayclass-controller" }
            }),
        ),
        (
            GATEWAY,
            json!({
                "apiVersion": group, "kind": "Gateway", "metadata": metadata("eg"),
                "spec": {
                    "gatewayClassName": "ours",
                    "listeners": [{
                        "name": "http", "port": 80, "protocol": "HTTP",
                        "allowedRoutes": { "namespaces": { "from": "Same" } }
                    }]
                }
            }),
        ),
        (
            ROUTE,
            json!({
                "apiVersion": group, "kind": "HTTPRoute", "metadata": metadata("shop"),
                "spec": { "parentRefs": [{ "name": "eg" }], "rules": [{}] }
            }),
        ),
    ]
}

/// A control plane whose objects come from a test.
struct Plant {
    pipeline: Pipeline,
    publisher: Publisher,
    fake: Fake,
    leader: Leader,
    stop: CancellationToken,
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Plant {
    fn new(fake: &Fake, identity: &str, election: Option<Timing>) -> Plant {
        Plant::with(fake, identity, election, Bootstraps::unasked())
    }

    fn with(fake: &Fake, identity: &str, election: Option<Timing>, bootstraps: Bootstraps) -> Plant {
        let settings = Settings {
            namespace: "envoy-gateway-system".to_owned(),
            identity: identity.to_owned(),
            controller: pipeline::Settings::default().controller_name,
            mode: ir::infra::DeployMode::ControllerNamespace,
            namespaces: Vec::new(),
            election,
            rate: Rate { qps: 1000, burst: 1000 },
            keep: infra::keep,
        };
        let (leader, task) = Leader::new(fake.client(), settings).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(task.run(stop.clone().cancelled_owned()));
        tokio::spawn(bootstraps.clone().serve(stop.clone()));
        let publisher = Publisher::new(server::Feeds::default(), bootstraps);
        publisher.aim(Target { leader: leader.clone(), observed: Observed::default(), ca: None });
        let pipeline = Pipeline::new(pipeline::Settings::default());
        Plant { pipeline, publisher, fake: fake.clone(), leader, stop }
    }

    fn commit(&mut self, apply: &[Value]) {
        let apply = apply.iter().map(|object| Object::from_json(object).unwrap()).collect();
        let commit = self.pipeline.commit(ChangeSet { apply, ..ChangeSet::default() });
        self.publisher.committed(&self.pipeline, &commit);
    }

    /// Everything at once, as from the first lists.
    fn cold_start(&mut self) {
        let mut objects: Vec<Value> = objects().into_iter().map(|(_, object)| object).collect();
        // No route attaches from a namespace that is not there.
        objects.push(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } }));
        self.commit(&objects);
        self.leader.synced();
    }

    fn condition(&self, path: &str, list: &str, kind: &str) -> Value {
        let object = self.fake.get(path).unwrap();
        let conditions = object.pointer(list).and_then(Value::as_array).cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
    }

    async fn until_programmed(&self, status: &str) {
        let programmed =
            |_: &Fake| self.condition(GATEWAY, "/status/conditions", "Programmed")["status"] == status;
        self.fake.until("programmed", programmed).await;
    }

    /// Long enough for everything that is due.
    async fn rest(&self) {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

fn cluster() -> Fake {
    let fake = Fake::new();
    for (path, object) in objects() {
        fake.put(path, object);
    }
    fake
}

/// The fleet of a Gateway that runs.
fn observed(available: u32) -> Observed {
    observed_as("default/eg", available)
}

/// A fleet that runs.
fn observed_as(fleet: &str, available: u32) -> Observed {
    let service = ProxyService {
        namespace: "envoy-gateway-system".into(),
        name: "envoy-default-eg".into(),
        kind: "ClusterIP".into(),
        local: false,
        load_balancer: Vec::new(),
        external_ips: Vec::new(),
        cluster_ips: vec!["10.0.0.7".into()],
        ports: Vec::new(),
    };
    let workload = Workload {
        kind: WorkloadKind::Deployment,
        namespace: "envoy-gateway-system".into(),
        name: "envoy-default-eg".into(),
        generation: 1,
        observed_generation: 1,
        desired: 1,
        updated: available,
        available,
    };
    let state = FleetState { services: vec![Arc::new(service)], workloads: vec![Arc::new(workload)] };
    let fleets = [(Arc::from(fleet), state)].into();
    Observed { fleets: Arc::new(fleets), ..Observed::default() }
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_writes_each_status_once_and_makes_the_infrastructure() {
    let mut plant = Plant::new(&cluster(), "one", None);
    plant.cold_start();
    plant.until_programmed("False").await;
    plant.rest().await;
    let programmed = plant.condition(GATEWAY, "/status/conditions", "Programmed");
    assert_eq!(programmed["reason"], "AddressNotAssigned");
    assert_eq!(plant.condition(CLASS, "/status/conditions", "Accepted")["status"], "True");
    assert_eq!(plant.condition(ROUTE, "/status/parents/0/conditions", "Accepted")["status"], "True");
    for path in [GATEWAY, CLASS, ROUTE] {
        let writes = plant.fake.calls(WRITES, &format!("{path}/status"));
        assert_eq!(writes.len(), 1, "{path}: {writes:#?}");
    }
    let paths = plant.fake.paths();
    for kind in ["deployments", "services", "serviceaccounts", "configmaps"] {
        let start = format!("/namespaces/envoy-gateway-system/{kind}/");
        assert_eq!(paths.iter().filter(|path| path.contains(&start)).count(), 1, "{kind}: {paths:?}");
    }
    let class = plant.fake.get(CLASS).unwrap();
    assert_eq!(
        class["metadata"]["finalizers"],
        json!(["gateway-exists-finalizer.gateway.networking.k8s.io"])
    );
}

#[tokio::test(start_paused = true)]
async fn a_gateway_is_programmed_with_an_address_and_a_proxy_in_one_write_each() {
    let mut plant = Plant::new(&cluster(), "one", None);
    plant.cold_start();
    plant.until_programmed("False").await;
    plant.rest().await;
    plant.fake.forget_calls();

    plant.publisher.observe(observed(1));
    plant.publisher.refresh(&plant.pipeline);
    plant.until_programmed("True").await;
    plant.rest().await;
    let gateway = plant.fake.get(GATEWAY).unwrap();
    assert_eq!(gateway["status"]["addresses"], json!([{ "type": "IPAddress", "value": "10.0.0.7" }]));
    assert_eq!(plant.fake.calls(WRITES, "").len(), 1, "{:#?}", plant.fake.calls(WRITES, ""));

    // The same again, and news that matter to nobody.
    plant.publisher.observe(observed(2));
    plant.publisher.refresh(&plant.pipeline);
    plant.rest().await;
    assert_eq!(plant.fake.calls(WRITES, "").len(), 1);

    plant.publisher.observe(observed(0));
    plant.publisher.refresh(&plant.pipeline);
    plant.until_programmed("False").await;
    assert_eq!(plant.condition(GATEWAY, "/status/conditions", "Programmed")["reason"], "NoResources");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_lead_writes_nothing() {
    let fake = cluster();
    let held = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "spec": {
            "holderIdentity": "another", "leaseDurationSeconds": 3600, "leaseTransitions": 1,
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z"
        }
    });
    fake.put(LEASE, held);
    let mut plant = Plant::new(&fake, "two", Some(Timing::default()));
    plant.cold_start();
    plant.publisher.observe(observed(1));
    plant.publisher.refresh(&plant.pipeline);
    plant.rest().await;
    assert!(!plant.fake.calls(&["GET"], "leases").is_empty(), "it asks for the Lease");
    let writes = plant.fake.calls(WRITES, "");
    assert!(writes.is_empty(), "{writes:#?}");
    let statuses = plant.publisher.statuses(&plant.pipeline);
    assert_eq!(statuses.len(), 3, "it knows them all the same");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_before_everything_was_read() {
    let mut plant = Plant::new(&cluster(), "one", None);
    let [(_, class), ..] = objects();
    plant.commit(&[class]);
    plant.rest().await;
    assert!(plant.fake.calls(&[], "").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_new_target_is_given_everything() {
    let mut plant = Plant::new(&cluster(), "one", None);
    plant.cold_start();
    plant.until_programmed("False").await;
    let other = cluster();
    let next = Plant::new(&other, "two", None);
    plant.publisher.aim(Target { leader: next.leader.clone(), observed: observed(1), ca: None });
    plant.commit(&[]);
    next.leader.synced();
    next.until_programmed("True").await;
    next.rest().await;
    assert_eq!(next.fake.calls(WRITES, "/status").len(), 3);
}

/// The EnvoyProxy of the class.
fn proxy(merged: bool) -> Value {
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
        "metadata": { "name": "proxy", "namespace": "default", "generation": 1 },
        "spec": { "mergeGateways": merged },
    })
}

#[tokio::test(start_paused = true)]
async fn merged_gateways_share_infrastructure_that_outlives_their_parameters() {
    const OTHER: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/other";
    let mut plant = Plant::new(&cluster(), "one", None);
    plant.cold_start();
    plant.rest().await;
    let deployments = |plant: &Plant| -> Vec<String> {
        let paths = plant.fake.paths().into_iter();
        paths.filter_map(|path| Some(path.split_once("/deployments/")?.1.to_owned())).collect()
    };
    assert_eq!(deployments(&plant), ["envoy-default-eg-e41e7b31"]);

    let [(_, mut class), (_, mut other), _] = objects();
    class["spec"]["parametersRef"] = json!({
        "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "proxy", "namespace": "default",
    });
    other["metadata"]["name"] = "other".into();
    other["spec"]["listeners"][0]["hostname"] = "other.example.com".into();
    plant.fake.put(OTHER, other.clone());
    plant.commit(&[class, other, proxy(true)]);
    plant.publisher.observe(observed_as("ours", 1));
    plant.publisher.refresh(&plant.pipeline);
    plant.until_programmed("True").await;
    plant.rest().await;
    let shared = deployments(&plant);
    assert_eq!(shared.len(), 1, "{shared:?}");
    assert!(shared[0].starts_with("envoy-ours-"), "{shared:?}");
    for gateway in [GATEWAY, OTHER] {
        let programmed = plant.condition(gateway, "/status/conditions", "Programmed");
        assert_eq!(programmed["status"], "True", "{gateway}: {programmed}");
        let status = plant.fake.get(gateway).unwrap()["status"].clone();
        assert_eq!(status["addresses"], json!([{ "type": "IPAddress", "value": "10.0.0.7" }]));
    }
    let finalizers = plant.fake.get(CLASS).unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(finalizers, json!(["gateway-exists-finalizer.gateway.networking.k8s.io"]));

    // The Service that was made comes by the watch, and tells that merged proxies run when the parameters are gone.
    let service = plant.fake.paths().into_iter().find(|path| path.contains("/services/envoy-ours-")).unwrap();
    let service = plant.fake.get(&service).unwrap();
    plant.commit(&[service]);
    let gone = ir::ObjectRef::new(ir::Kind::EnvoyProxy, "default", "proxy");
    let commit = plant.pipeline.commit(ChangeSet { delete: vec![gone], ..ChangeSet::default() });
    plant.publisher.committed(&plant.pipeline, &commit);
    plant.rest().await;
    assert_eq!(deployments(&plant), shared);
    for gateway in [GATEWAY, OTHER] {
        let accepted = plant.condition(gateway, "/status/conditions", "Accepted");
        assert_eq!(accepted["reason"], "InvalidParameters", "{gateway}: {accepted}");
        assert_eq!(plant.condition(gateway, "/status/conditions", "Programmed")["status"], "True");
    }

    plant.commit(&[proxy(false)]);
    plant.rest().await;
    let mut apart = deployments(&plant);
    apart.sort();
    assert_eq!(apart.len(), 2, "{apart:?}");
    assert!(apart.iter().all(|name| name.starts_with("envoy-default-")), "{apart:?}");
}

#[tokio::test]
async fn a_bootstrap_that_envoy_refuses_replaces_no_proxy() {
    const PROXY: &str = "/apis/gateway.envoyproxy.io/v1alpha1/namespaces/default/envoyproxies/proxy";
    let envoy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/envoy/1.40.0/envoy");
    // This program cannot be Envoy's guard.
    let guard = ["/bin/sh", "-c", "shift; exec \"$@\"", "guard"].map(Into::into);
    let bootstraps = Bootstraps::of(host::Validator::guarded(envoy.into(), guard.into()));
    let fake = cluster();
    let mut plant = Plant::with(&fake, "one", None, bootstraps.clone());
    let mut answers = bootstraps.answers();
    let [(_, mut class), (_, gateway), _] = objects();
    class["spec"]["parametersRef"] = json!({
        "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "proxy", "namespace": "default",
    });
    let with_layer = |name: &str| {
        let value = format!("layered_runtime: {{layers: [{{name: {name}, static_layer: {{x: 1}}}}]}}");
        let mut proxy = proxy(false);
        proxy["spec"] = json!({ "bootstrap": { "type": "Merge", "value": value } });
        proxy
    };
    fake.put(PROXY, with_layer("mine"));
    plant.commit(&[class, gateway, with_layer("mine")]);
    plant.leader.synced();
    let args = |plant: &Plant| -> Option<Value> {
        let path = plant.fake.paths().into_iter().find(|path| path.contains("/deployments/"))?;
        plant.fake.get(&path)?.pointer("/spec/template/spec/containers/0/args").cloned()
    };
    // Nothing is made before Envoy has answered.
    answers.changed().await.unwrap();
    assert_eq!(args(&plant), None);
    plant.publisher.refresh(&plant.pipeline);
    fake.until("the Deployment is made", |_| args(&plant).is_some()).await;
    let before = args(&plant).unwrap();
    assert!(before.to_string().contains("mine"), "{before}");

    // The name of a layer that every bootstrap has.
    plant.commit(&[with_layer("global_config")]);
    answers.changed().await.unwrap();
    plant.publisher.refresh(&plant.pipeline);
    let accepted = |plant: &Plant, path: &str, list: &str| plant.condition(path, list, "Accepted");
    for (path, list) in [
        (GATEWAY, "/status/conditions"),
        (CLASS, "/status/conditions"),
        (PROXY, "/status/ancestors/0/conditions"),
    ] {
        fake.until(path, |_| accepted(&plant, path, list)["reason"] == "InvalidParameters").await;
        let message = accepted(&plant, path, list)["message"].to_string();
        assert!(message.contains("Envoy refuses") && message.contains("Duplicate layer name"), "{message}");
    }
    let problems = plant.publisher.refused_bootstraps(&plant.pipeline);
    assert_eq!(problems.iter().map(|problem| &*problem.object.name).collect::<Vec<_>>(), ["proxy"]);
    assert_eq!(args(&plant), Some(before));

    plant.commit(&[with_layer("other")]);
    answers.changed().await.unwrap();
    plant.publisher.refresh(&plant.pipeline);
    fake.until("accepted again", |_| accepted(&plant, GATEWAY, "/status/conditions")["status"] == "True")
        .await;
    fake.until("replaced", |_| args(&plant).is_some_and(|args| args.to_string().contains("other"))).await;
}
