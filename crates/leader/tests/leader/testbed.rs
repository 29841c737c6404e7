//! The same against a real API server, where there is one: `FERROGATE_TESTBED_KUBECONFIG` names its kubeconfig. It
//! must know the CRDs of Gateway API, and its user must be allowed everything. The leader itself has no more rights than
//! Envoy Gateway's chart gives a controller, so that its image can be changed and nothing else.

use std::{collections::BTreeMap, env, path::Path, time::Duration};

use ir::{
    Condition, ConditionStatus, Kind, ObjectRef,
    status::{ListenerStatus, ParentReference, ParentStatus, Status, StatusBody},
};
use kube::{
    Client,
    api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    discovery::ApiResource,
};
use leader::{Fleet, Live, Place, Settings};
use serde_json::{Value, json};

use crate::{CONTROLLER, Running, elected};

const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

/// A namespace of one test at the API server; it is deleted at the end of a test that passes.
struct Bed {
    client: Client,
    namespace: String,
}

impl Bed {
    /// None, with loud words, where no API server is named.
    async fn open(test: &str) -> Option<Bed> {
        let Some(file) = env::var_os("FERROGATE_TESTBED_KUBECONFIG") else {
            eprintln!("SKIPPED {test}: FERROGATE_TESTBED_KUBECONFIG names no kubeconfig of an API server");
            return None;
        };
        let client = client(Path::new(&file), None).await;
        let bed = Bed { client, namespace: format!("leader-{test}-{}", std::process::id()) };
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": bed.namespace } });
        bed.api("v1", "Namespace", "").create(&PostParams::default(), &object(namespace)).await.unwrap();
        Some(bed)
    }

    fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&kube::api::GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    fn own(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        self.api(api_version, kind, &self.namespace)
    }

    async fn create(&self, document: Value) -> DynamicObject {
        let api = self.own(document["apiVersion"].as_str().unwrap(), document["kind"].as_str().unwrap());
        api.create(&PostParams::default(), &object(document)).await.unwrap()
    }

    /// A client with the rights of a controller that Envoy Gateway's chart has installed in the namespace.
    async fn controller(&self) -> Client {
        let rbac = "rbac.authorization.k8s.io/v1";
        let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
        let gateway_api = "gateway.networking.k8s.io";
        let statuses = ["gatewayclasses/status", "gateways/status", "httproutes/status"];
        let infra = ["create", "get", "list", "delete", "deletecollection", "patch", "watch"];
        let cluster = [
            rule(gateway_api, &["gatewayclasses"], &["get", "list", "patch", "update", "watch"]),
            rule(gateway_api, &["gateways", "httproutes"], &["get", "list", "watch"]),
            rule(gateway_api, &statuses, &["update"]),
        ];
        let own = [
            rule("", &["serviceaccounts", "services", "configmaps"], &infra),
            rule("apps", &["deployments", "daemonsets"], &infra),
            rule("autoscaling", &["horizontalpodautoscalers"], &infra),
            rule("policy", &["poddisruptionbudgets"], &infra),
            rule(
                "coordination.k8s.io",
                &["leases"],
                &["get", "list", "watch", "create", "update", "patch", "delete"],
            ),
        ];
        let user = format!("system:serviceaccount:{}:envoy-gateway", self.namespace);
        for (kind, namespace, rules) in
            [("ClusterRole", "", &cluster[..]), ("Role", &*self.namespace, &own[..])]
        {
            let metadata = json!({ "name": self.namespace });
            let role = json!({ "apiVersion": rbac, "kind": kind, "metadata": metadata, "rules": rules });
            self.api(rbac, kind, namespace).create(&PostParams::default(), &object(role)).await.unwrap();
            let binding = format!("{kind}Binding");
            let document = json!({ "apiVersion": rbac, "kind": binding, "metadata": metadata,
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": self.namespace },
                "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }] });
            self.api(rbac, &binding, namespace)
                .create(&PostParams::default(), &object(document))
                .await
                .unwrap();
        }
        let file = env::var_os("FERROGATE_TESTBED_KUBECONFIG").unwrap();
        client(Path::new(&file), Some(user)).await
    }

    fn settings(&self) -> Settings {
        Settings { namespace: self.namespace.clone(), ..elected("testbed") }
    }

    async fn close(self) {
        let all = DeleteParams::default();
        for kind in ["ClusterRole", "ClusterRoleBinding"] {
            self.api("rbac.authorization.k8s.io/v1", kind, "").delete(&self.namespace, &all).await.unwrap();
        }
        self.api("v1", "Namespace", "").delete(&self.namespace, &all).await.unwrap();
    }
}

async fn client(file: &Path, user: Option<String>) -> Client {
    let kubeconfig = Kubeconfig::read_from(file).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    config.default_retry = false;
    config.auth_info.impersonate = user;
    Client::try_from(config).unwrap()
}

fn object(document: Value) -> DynamicObject {
    serde_json::from_value(document).unwrap()
}

/// Waits until an object is as it should be; yields it.
async fn until(api: &Api<DynamicObject>, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..300 {
        last = api
            .get_opt(name)
            .await
            .unwrap()
            .map_or(Value::Null, |found| serde_json::to_value(found).unwrap());
        if holds(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{name} is never {what}: {last:#}")
}

fn condition(kind: &'static str, generation: i64) -> Condition {
    Condition {
        kind,
        status: ConditionStatus::True,
        reason: kind.into(),
        message: "It is".to_owned(),
        observed_generation: generation,
    }
}

fn route_status(namespace: &str, generation: i64) -> Status {
    let parent = ParentReference {
        group: "gateway.networking.k8s.io".into(),
        kind: "Gateway".into(),
        namespace: None,
        name: "edge".into(),
        section_name: None,
        port: None,
    };
    let parents = vec![ParentStatus { parent, conditions: vec![condition("Accepted", generation)] }];
    Status {
        object: ObjectRef::new(Kind::HttpRoute, namespace, "web"),
        body: StatusBody::Route { parents },
        problems: Vec::new(),
    }
}

impl Bed {
    /// A class of ours, a Gateway, and a route that another controller has written to. Yields the name of the class.
    async fn configure(&self) -> String {
        let class = json!({ "apiVersion": GATEWAY_API, "kind": "GatewayClass", "metadata": { "name": self.namespace },
            "spec": { "controllerName": CONTROLLER } });
        self.classes().create(&PostParams::default(), &object(class)).await.unwrap();
        self.create(json!({ "apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": { "name": "edge" },
            "spec": { "gatewayClassName": self.namespace,
                "listeners": [{ "name": "web", "port": 80, "protocol": "HTTP" }] } }))
            .await;
        self.create(json!({ "apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": { "name": "web" },
            "spec": { "parentRefs": [{ "name": "edge" }] } }))
            .await;
        let others = json!({ "status": { "parents": [{ "parentRef": { "name": "other" },
            "controllerName": "example.com/others",
            "conditions": [{ "type": "Accepted", "status": "True", "reason": "Accepted", "message": "theirs",
                "lastTransitionTime": "2026-01-01T00:00:00Z" }] }] } });
        self.routes().patch_status("web", &PatchParams::default(), &Patch::Merge(&others)).await.unwrap();
        self.namespace.clone()
    }

    fn classes(&self) -> Api<DynamicObject> {
        self.api(GATEWAY_API, "GatewayClass", "")
    }

    fn routes(&self) -> Api<DynamicObject> {
        self.own(GATEWAY_API, "HTTPRoute")
    }

    async fn unconfigure(self) {
        self.classes().delete(&self.namespace, &DeleteParams::default()).await.unwrap();
        self.close().await;
    }
}

fn parents(route: &Value) -> usize {
    route["status"]["parents"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn statuses_and_finalizers_are_written() {
    let Some(bed) = Bed::open("statuses").await else { return };
    let class = bed.configure().await;
    let running = Running::synced(bed.controller().await, bed.settings());
    let statuses = running.leader.statuses();
    statuses.set(&Status {
        object: ObjectRef::new(Kind::GatewayClass, "", &class),
        body: StatusBody::Conditions(vec![condition("Accepted", 1)]),
        problems: Vec::new(),
    });
    statuses.set(&Status {
        object: ObjectRef::new(Kind::Gateway, &bed.namespace, "edge"),
        body: StatusBody::Gateway {
            fleet: format!("{}/edge", bed.namespace).into(),
            addresses: vec!["192.0.2.1".into()],
            conditions: vec![condition("Accepted", 1), condition("Programmed", 1)],
            listeners: vec![ListenerStatus {
                name: "web".into(),
                supported_kinds: vec!["HTTPRoute"],
                attached_routes: 1,
                conditions: vec![condition("Accepted", 1)],
            }],
            attached_listener_sets: 0,
        },
        problems: Vec::new(),
    });
    running.leader.classes().set(&class, true);
    let gateway = until(&bed.own(GATEWAY_API, "Gateway"), "edge", "programmed", |gateway| {
        gateway["status"]["conditions"][1]["status"] == "True"
    })
    .await;
    assert_eq!(gateway["status"]["listeners"][0]["attachedRoutes"], 1);
    let finalizer = "gateway-exists-finalizer.gateway.networking.k8s.io";
    until(&bed.classes(), &class, "accepted and kept", |class| {
        class["status"]["conditions"][0]["status"] == "True"
            && class["metadata"]["finalizers"] == json!([finalizer])
    })
    .await;
    running.leader.classes().set(&class, false);
    until(&bed.classes(), &class, "free", |class| class["metadata"]["finalizers"].is_null()).await;
    running.stop().await;
    let lease = bed.own("coordination.k8s.io/v1", "Lease").get(leader::lease::NAME).await.unwrap();
    assert_eq!(lease.data["spec"]["holderIdentity"], "");
    bed.unconfigure().await;
}

#[tokio::test]
async fn entries_of_routes_are_written_kept_and_taken_away() {
    let Some(bed) = Bed::open("entries").await else { return };
    bed.configure().await;
    let routes = bed.routes();
    let running = Running::synced(bed.controller().await, bed.settings());
    let statuses = running.leader.statuses();
    statuses.set(&route_status(&bed.namespace, 1));
    let route = until(&routes, "web", "written", |route| parents(route) == 2).await;
    assert_eq!(route["status"]["parents"][0]["conditions"][0]["message"], "theirs");
    assert_eq!(route["status"]["parents"][1]["controllerName"], CONTROLLER);
    assert_eq!(route["spec"]["parentRefs"][0]["name"], "edge", "the spec is as it was");

    // The API server keeps what we write as we write it: nothing is written twice.
    let version = route["metadata"]["resourceVersion"].as_str().unwrap();
    let live = Live { generation: 1, resource_version: version, status: route.get("status"), exact: true };
    let object_ref = ObjectRef::new(Kind::HttpRoute, &bed.namespace, "web");
    statuses.observe(&object_ref, live);
    statuses.set(&route_status(&bed.namespace, 1));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let again = until(&routes, "web", "there", |route| !route.is_null()).await;
    assert_eq!(again["metadata"]["resourceVersion"], route["metadata"]["resourceVersion"]);

    // Somebody edits the spec: our version is old, and the write for the new generation succeeds all the same.
    let edit = json!({ "spec": { "hostnames": ["a.example.com"] } });
    routes.patch("web", &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
    statuses.set(&route_status(&bed.namespace, 2));
    until(&routes, "web", "observed", |route| {
        route["status"]["parents"][1]["conditions"][0]["observedGeneration"] == 2
    })
    .await;
    statuses.clear(&object_ref);
    until(&routes, "web", "left", |route| parents(route) == 1).await;
    running.stop().await;
    bed.unconfigure().await;
}

fn labels() -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "envoy"),
        ("app.kubernetes.io/component", "proxy"),
        ("app.kubernetes.io/managed-by", "envoy-gateway"),
        ("gateway.envoyproxy.io/owning-gateway-namespace", "shop"),
        ("gateway.envoyproxy.io/owning-gateway-name", "edge"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn workload(bed: &Bed, kind: &str, image: &str) -> Value {
    let mut workload = json!({ "apiVersion": "apps/v1", "kind": kind,
        "metadata": { "name": "envoy-edge", "namespace": bed.namespace, "labels": labels() },
        "spec": { "selector": { "matchLabels": labels() }, "template": {
            "metadata": { "labels": labels() },
            "spec": { "nodeSelector": { "none": "such" }, "containers": [{ "name": "envoy", "image": image }] } } } });
    if kind == "Deployment" {
        workload["spec"]["replicas"] = 0.into();
    }
    workload
}

fn objects(bed: &Bed, workload: Value) -> Vec<Value> {
    let plain = |version: &str, kind: &str| {
        json!({ "apiVersion": version, "kind": kind,
            "metadata": { "name": "envoy-edge", "namespace": bed.namespace, "labels": labels() } })
    };
    let mut service = plain("v1", "Service");
    service["spec"] = json!({ "type": "ClusterIP", "selector": labels(),
        "ports": [{ "name": "http-80", "port": 80, "targetPort": 10080, "protocol": "TCP" }] });
    let mut budget = plain("policy/v1", "PodDisruptionBudget");
    budget["spec"] = json!({ "minAvailable": 1, "selector": { "matchLabels": labels() } });
    vec![plain("v1", "ServiceAccount"), plain("v1", "ConfigMap"), workload, service, budget]
}

fn fleet(bed: &Bed, objects: Vec<Value>) -> Fleet {
    Fleet {
        name: "shop/edge".into(),
        namespace: bed.namespace.clone(),
        selector: labels(),
        objects: Some(objects),
        place: Place::Infrastructure,
    }
}

async fn applied(running: &Running) {
    let mut changes = running.leader.fleets().changes();
    let is_applied = || running.leader.fleets().states().get("shop/edge").is_some_and(|state| state.applied);
    crate::within(async {
        while !is_applied() {
            changes.changed().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn infrastructure_is_applied_mended_switched_and_deleted() {
    let Some(bed) = Bed::open("fleets").await else { return };
    let deployments = bed.own("apps/v1", "Deployment");
    // As an older controller left it: with a selector of its own.
    let mut old = workload(&bed, "Deployment", "old");
    let selector = json!({ "matchLabels": { "gateway.envoyproxy.io/owning-gateway-name": "edge" } });
    old["spec"]["selector"] = selector.clone();
    let patch = PatchParams::apply("envoy-gateway").force();
    let uid = deployments.patch("envoy-edge", &patch, &Patch::Apply(&old)).await.unwrap().metadata.uid;

    let running = Running::synced(bed.controller().await, bed.settings());
    let fleets = running.leader.fleets();
    fleets.set(fleet(&bed, objects(&bed, workload(&bed, "Deployment", "one"))));
    applied(&running).await;
    let image = |live: &Value| live["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let live = until(&deployments, "envoy-edge", "changed", |live| image(live) == "one").await;
    assert_eq!(live["spec"]["selector"], selector);
    assert_eq!(live["metadata"]["uid"].as_str(), uid.as_deref(), "it is the same object");

    // What the API server and its controllers add is no edit.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let live =
        until(&deployments, "envoy-edge", "seen", |live| live["status"]["observedGeneration"].is_i64()).await;
    fleets.observe(&live);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let noticed = until(&deployments, "envoy-edge", "there", |live| !live.is_null()).await;
    assert_eq!(noticed["metadata"]["resourceVersion"], live["metadata"]["resourceVersion"]);

    let edit = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "envoy", "image": "bad" }] } } } });
    let edited =
        deployments.patch("envoy-edge", &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
    fleets.observe(&serde_json::to_value(edited).unwrap());
    until(&deployments, "envoy-edge", "mended", |live| image(live) == "one").await;

    fleets.set(fleet(&bed, objects(&bed, workload(&bed, "DaemonSet", "two"))));
    until(&bed.own("apps/v1", "DaemonSet"), "envoy-edge", "there", |live| !live.is_null()).await;
    until(&deployments, "envoy-edge", "gone", Value::is_null).await;
    applied(&running).await;

    fleets.remove("shop/edge");
    for (version, kind) in [
        ("apps/v1", "DaemonSet"),
        ("v1", "Service"),
        ("policy/v1", "PodDisruptionBudget"),
        ("v1", "ServiceAccount"),
        ("v1", "ConfigMap"),
    ] {
        until(&bed.own(version, kind), "envoy-edge", "gone", Value::is_null).await;
    }
    running.stop().await;
    bed.close().await;
}
