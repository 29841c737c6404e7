//! The same against a real API server, where there is one: `FERROGATE_TESTBED_KUBECONFIG` names its kubeconfig. It
//! must know the CRDs of Gateway API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "functions shared by tests fail by panicking, and tell what they skip"
)]

use std::{collections::BTreeMap, env, path::Path, time::Duration};

use ir::{Kind, ObjectRef};
use kube::{
    Client,
    api::{Api, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    discovery::ApiResource,
};
use provider::{
    Update,
    kubernetes::{Options, PodName, Scope, Timing, Watch, connect, watch},
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
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
        let client = connect(Some(Path::new(&file))).await.unwrap();
        let bed = Bed { client, namespace: format!("provider-{test}-{}", std::process::id()) };
        let labels = json!({ "provider-test": bed.namespace });
        let metadata = json!({ "name": bed.namespace, "labels": labels });
        bed.put("", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })).await;
        Some(bed)
    }

    fn api(&self, document: &Value, namespace: &str) -> Api<DynamicObject> {
        let (api_version, kind) =
            (document["apiVersion"].as_str().unwrap(), document["kind"].as_str().unwrap());
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Creates or changes an object, and returns it as the API server has it.
    async fn put(&self, namespace: &str, document: Value) -> DynamicObject {
        let name = document["metadata"]["name"].as_str().unwrap().to_owned();
        let api = self.api(&document, namespace);
        let how = PatchParams::apply("provider-test").force();
        api.patch(&name, &how, &Patch::Apply(&document)).await.unwrap()
    }

    async fn own(&self, document: Value) -> DynamicObject {
        self.put(&self.namespace, document).await
    }

    async fn delete(&self, namespace: &str, document: &Value) {
        let name = document["metadata"]["name"].as_str().unwrap();
        let how = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        self.api(document, namespace).delete(name, &how).await.unwrap();
    }

    fn reference(&self, kind: Kind, name: &str) -> ObjectRef {
        ObjectRef::new(kind, &self.namespace, name)
    }

    async fn close(self) {
        let document =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace } });
        self.delete("", &document).await;
    }

    /// Only objects of the test's own namespace count.
    fn options(&self) -> Options {
        let selector = json!({ "matchLabels": { "provider-test": self.namespace } });
        Options {
            scope: Scope::Selector(serde_json::from_value(selector).unwrap()),
            timing: Timing { discovery: Duration::from_secs(1), ..Timing::default() },
            ..Options::new(&self.namespace, store::references)
        }
    }
}

struct Reader {
    watch: Watch,
    objects: BTreeMap<ObjectRef, api::Object>,
    latest: Update,
}

impl Reader {
    async fn start(client: &Client, options: Options) -> Reader {
        let watch = watch(client.clone(), options);
        let mut reader = Reader { watch, objects: BTreeMap::new(), latest: Update::default() };
        reader.next().await;
        reader
    }

    async fn next(&mut self) {
        let update = timeout(PATIENCE, self.watch.updates.next()).await.expect("no update").unwrap();
        for object in &update.apply {
            let kind = Kind::find(object.kind().group, object.kind().name).unwrap();
            self.objects.insert(ObjectRef::new(kind, object.namespace(), object.name()), object.clone());
        }
        for reference in &update.delete {
            self.objects.remove(reference);
        }
        self.latest = update;
    }

    /// Reads until an object is there as the API server returned it.
    async fn until_there(&mut self, reference: &ObjectRef, put: &DynamicObject) {
        let version = |object: &api::Object| object.metadata().resource_version.clone();
        while self.objects.get(reference).and_then(version) < put.metadata.resource_version {
            self.next().await;
        }
    }

    async fn until_gone(&mut self, reference: &ObjectRef) {
        while self.objects.contains_key(reference) {
            self.next().await;
        }
    }
}

fn gateway(secret: &str) -> Value {
    let tls = json!({ "certificateRefs": [{ "name": secret }] });
    let listener = json!({ "name": "https", "port": 443, "protocol": "HTTPS", "tls": tls });
    json!({
        "apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": { "name": "g" },
        "spec": { "gatewayClassName": "none", "listeners": [listener] },
    })
}

fn route(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": { "name": name },
        "spec": { "hostnames": [host], "parentRefs": [{ "name": "g" }] },
    })
}

fn secret(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": { "key": value } })
}

#[tokio::test]
async fn objects_are_followed_and_secrets_come_with_what_refers_to_them() {
    let Some(bed) = Bed::open("follow").await else { return };
    bed.own(secret("one", "1")).await;
    bed.own(secret("two", "1")).await;
    bed.own(gateway("one")).await;
    for number in 0..5 {
        bed.own(route(&format!("r{number}"), "one.example")).await;
    }
    let mut reader = Reader::start(&bed.client, bed.options()).await;
    let kinds = |kind: Kind, reader: &Reader| reader.objects.keys().filter(|r| r.kind == kind).count();
    assert_eq!(kinds(Kind::HttpRoute, &reader), 5);
    assert_eq!(kinds(Kind::Secret, &reader), 1);
    assert_eq!(kinds(Kind::Namespace, &reader), 1);
    let put = bed.own(gateway("two")).await;
    reader.until_there(&bed.reference(Kind::Gateway, "g"), &put).await;
    assert!(reader.objects.contains_key(&bed.reference(Kind::Secret, "two")));
    assert!(!reader.objects.contains_key(&bed.reference(Kind::Secret, "one")));
    let put = bed.own(secret("two", "2")).await;
    reader.until_there(&bed.reference(Kind::Secret, "two"), &put).await;
    let began = Instant::now();
    let put = bed.own(route("r1", "two.example")).await;
    reader.until_there(&bed.reference(Kind::HttpRoute, "r1"), &put).await;
    eprintln!("a change came {:?} after it was asked for", began.elapsed());
    bed.delete(&bed.namespace, &route("r2", "")).await;
    reader.until_gone(&bed.reference(Kind::HttpRoute, "r2")).await;
    assert_eq!(kinds(Kind::HttpRoute, &reader), 4);
    // A namespace that is not selected any more takes all of it away.
    let bare = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": bed.namespace } });
    bed.put("", bare).await;
    while reader
        .objects
        .keys()
        .any(|reference| *reference.namespace == *bed.namespace && reference.kind == Kind::HttpRoute)
    {
        reader.next().await;
    }
    bed.close().await;
}

#[tokio::test]
async fn pages_and_streams_yield_the_same() {
    let Some(bed) = Bed::open("pages").await else { return };
    for number in 0..7 {
        bed.own(route(&format!("r{number}"), "one.example")).await;
    }
    let streamed = Reader::start(&bed.client, bed.options()).await;
    let mut options = bed.options();
    options.timing = Timing { streaming_lists: false, page: 3, ..options.timing };
    let mut paged = Reader::start(&bed.client, options).await;
    let ours = |reader: &Reader| {
        let versions = reader.objects.iter().filter(|(reference, _)| reference.kind == Kind::HttpRoute);
        versions
            .map(|(r, object)| (r.clone(), object.metadata().resource_version.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(ours(&streamed), ours(&paged));
    assert_eq!(ours(&paged).len(), 7);
    let put = bed.own(route("r7", "two.example")).await;
    paged.until_there(&bed.reference(Kind::HttpRoute, "r7"), &put).await;
    bed.close().await;
}

#[tokio::test]
async fn a_kind_is_followed_as_soon_as_its_crd_is_there() {
    let Some(bed) = Bed::open("crds").await else { return };
    let crd = api::crds().into_iter().find(|crd| crd.spec.names.kind == "Backend").unwrap();
    let mut crd = serde_json::to_value(crd).unwrap();
    crd["apiVersion"] = json!("apiextensions.k8s.io/v1");
    crd["kind"] = json!("CustomResourceDefinition");
    let crds = bed.api(&crd, "");
    let name = crd["metadata"]["name"].as_str().unwrap().to_owned();
    if crds.get_opt(&name).await.unwrap().is_some() {
        eprintln!("SKIPPED: the CRD of Backend is installed already");
        return bed.close().await;
    }
    let mut reader = Reader::start(&bed.client, bed.options()).await;
    crds.create(&PostParams::default(), &serde_json::from_value(crd.clone()).unwrap()).await.unwrap();
    let backend = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend", "metadata": { "name": "b" },
        "spec": { "endpoints": [{ "fqdn": { "hostname": "one.example", "port": 80 } }] },
    });
    let api = bed.api(&backend, &bed.namespace);
    let how = PatchParams::apply("provider-test").force();
    let limit = Instant::now() + PATIENCE;
    while let Err(error) = api.patch("b", &how, &Patch::Apply(&backend)).await {
        assert!(Instant::now() < limit, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let reference = bed.reference(Kind::Backend, "b");
    while !reader.objects.contains_key(&reference) {
        reader.next().await;
    }
    crds.delete(&name, &DeleteParams::default()).await.unwrap();
    reader.until_gone(&reference).await;
    bed.close().await;
}

#[tokio::test]
async fn proxies_are_observed() {
    let Some(bed) = Bed::open("observe").await else { return };
    let mut reader = Reader::start(&bed.client, bed.options()).await;
    let labels = json!({
        "app.kubernetes.io/name": "envoy",
        "app.kubernetes.io/component": "proxy",
        "app.kubernetes.io/managed-by": "envoy-gateway",
        "gateway.envoyproxy.io/owning-gateway-namespace": "default",
        "gateway.envoyproxy.io/owning-gateway-name": "g",
    });
    let metadata = json!({ "name": "p", "labels": labels });
    bed.own(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": { "type": "NodePort", "ports": [{ "name": "http-80", "port": 80 }] },
    }))
    .await;
    // A Pod that nothing runs: no machine fulfils its selector.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": { "nodeSelector": { "none": "none" }, "containers": [{ "name": "c", "image": "none" }] },
    });
    let put = bed.own(pod.clone()).await;
    let name = PodName { namespace: bed.namespace.as_str().into(), name: "p".into() };
    let there = reader.watch.observed.wait_for(|observed| {
        let pods = observed.pods.as_ref().expect("Pods may be read");
        pods.contains_key(&name)
            && observed.fleets.get("default/g").is_some_and(|fleet| !fleet.services.is_empty())
    });
    let observed = timeout(PATIENCE, there).await.unwrap().unwrap().clone();
    let found = &observed.pods.unwrap()[&name];
    assert_eq!((Some(&*found.uid), &*found.fleet), (put.metadata.uid.as_deref(), "default/g"));
    let service = &observed.fleets["default/g"].services[0];
    assert!(service.ports[0].node_port.is_some() && !service.cluster_ips.is_empty());
    assert!(observed.nodes.values().any(|node| !node.internal.is_empty()));
    bed.delete(&bed.namespace, &pod).await;
    let gone = reader.watch.observed.wait_for(|o| o.pods.iter().all(|pods| !pods.contains_key(&name)));
    timeout(PATIENCE, gone).await.unwrap().unwrap();
    bed.close().await;
}
