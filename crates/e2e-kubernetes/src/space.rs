//! A namespace of one test, and what is done in it.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Bed, eventually};

/// Spaces of this process so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// API versions of the kinds that tests use.
const KINDS: [(&str, &str); 22] = [
    ("Namespace", "v1"),
    ("Node", "v1"),
    ("Pod", "v1"),
    ("Service", "v1"),
    ("Secret", "v1"),
    ("ConfigMap", "v1"),
    ("Event", "v1"),
    ("ServiceAccount", "v1"),
    ("Deployment", "apps/v1"),
    ("DaemonSet", "apps/v1"),
    ("HorizontalPodAutoscaler", "autoscaling/v2"),
    ("PodDisruptionBudget", "policy/v1"),
    ("Lease", "coordination.k8s.io/v1"),
    ("EndpointSlice", "discovery.k8s.io/v1"),
    ("GatewayClass", "gateway.networking.k8s.io/v1"),
    ("Gateway", "gateway.networking.k8s.io/v1"),
    ("HTTPRoute", "gateway.networking.k8s.io/v1"),
    ("Backend", "gateway.envoyproxy.io/v1alpha1"),
    ("EnvoyProxy", "gateway.envoyproxy.io/v1alpha1"),
    ("BackendTrafficPolicy", "gateway.envoyproxy.io/v1alpha1"),
    ("ClusterRole", "rbac.authorization.k8s.io/v1"),
    ("Role", "rbac.authorization.k8s.io/v1"),
];

/// A namespace of one test.
#[derive(Debug)]
pub struct Space {
    /// Where it is.
    pub bed: Bed,
    /// Its name.
    pub name: String,
}

/// A condition by type in a list of conditions; null when there is none.
#[must_use]
pub fn condition<'a>(conditions: &'a Value, kind: &str) -> &'a Value {
    let all = conditions.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

impl Space {
    pub(crate) async fn create(bed: Bed, test: &str) -> Space {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", test.replace('_', "-"), std::process::id());
        // A name has 63 characters, and those of infrastructure are made of it.
        let name = name.chars().skip(name.len().saturating_sub(40)).collect::<String>();
        let space = Space { bed, name: name.trim_start_matches('-').to_owned() };
        space
            .put(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": space.name } }))
            .await;
        space
    }

    pub(crate) async fn delete(&self) {
        let _ = self.api_in("Namespace", "").delete(&self.name, &DeleteParams::background()).await;
    }

    /// All that is in the space, as far as tests make it.
    pub(crate) async fn dump(&self) -> String {
        let mut text = String::new();
        for kind in ["Gateway", "HTTPRoute", "EnvoyProxy", "Backend", "Deployment", "Pod", "Service"] {
            for object in self.list(kind).await {
                let (name, status) = (&object["metadata"]["name"], &object["status"]);
                text.push_str(&format!("{kind} {name}: {}\n", serde_json::to_string(status).unwrap()));
            }
        }
        text
    }

    /// Objects of a kind in a namespace; none for cluster-scoped kinds.
    ///
    /// # Panics
    /// When tests do not know the kind.
    #[must_use]
    pub fn api_in(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (_, version) = KINDS.iter().find(|(known, _)| *known == kind).expect("a kind that tests know");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.bed.client.clone(), &resource),
            namespace => Api::namespaced_with(self.bed.client.clone(), namespace, &resource),
        }
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let global = ["Namespace", "Node", "GatewayClass", "ClusterRole"].contains(&kind);
        self.api_in(kind, if global { "" } else { &self.name })
    }

    /// Applies documents; those without a namespace go to this one.
    ///
    /// # Panics
    /// When the API server refuses one.
    pub async fn apply(&self, manifests: &str) {
        for document in serde_yaml_ng::Deserializer::from_str(manifests) {
            let value = Value::deserialize(document).expect("YAML");
            if !value.is_null() {
                self.put(&value).await;
            }
        }
    }

    /// Applies a document.
    ///
    /// # Panics
    /// When the API server refuses it.
    pub async fn put(&self, document: &Value) {
        let (kind, name) =
            (document["kind"].as_str().unwrap(), document["metadata"]["name"].as_str().unwrap());
        let api = match document["metadata"]["namespace"].as_str() {
            Some(namespace) => self.api_in(kind, namespace),
            None => self.api(kind),
        };
        let parameters = PatchParams::apply("e2e").force();
        api.patch(name, &parameters, &Patch::Apply(document))
            .await
            .unwrap_or_else(|e| panic!("{kind} {name}: {e}"));
    }

    /// An object, if it exists.
    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.api(kind).get_opt(name).await.ok().flatten().map(|object| serde_json::to_value(object).unwrap())
    }

    /// All objects of a kind in the space; none when the API server does not answer.
    pub async fn list(&self, kind: &str) -> Vec<Value> {
        self.list_in(kind, &self.name, "").await
    }

    /// Objects of a kind with these labels (all when empty) in a namespace.
    pub async fn list_in(&self, kind: &str, namespace: &str, labels: &str) -> Vec<Value> {
        let list = self.api_in(kind, namespace).list(&ListParams::default().labels(labels)).await;
        list.map(|list| list.items.iter().map(|item| serde_json::to_value(item).unwrap()).collect())
            .unwrap_or_default()
    }

    /// Merges a patch into an object.
    ///
    /// # Panics
    /// When the API server refuses it.
    pub async fn merge(&self, kind: &str, name: &str, patch: &Value) -> Value {
        let patched = self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        serde_json::to_value(patched.unwrap_or_else(|e| panic!("{kind} {name}: {e}"))).unwrap()
    }

    /// Deletes an object.
    ///
    /// # Panics
    /// When the API server refuses it.
    pub async fn remove(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::background()).await.unwrap();
    }

    /// Waits until an object is as `is_so` wants it, and returns it.
    pub async fn until(&self, kind: &str, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{kind} {name}: {what}"), async || {
            self.get(kind, name).await.filter(|object| is_so(object))
        })
        .await
    }

    /// A backend of this many Pods behind a Service of its name; it waits until all are ready.
    pub async fn echo(&self, name: &str, replicas: u32) {
        self.apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  selector: {{ app: {name} }}\n  \
             ports: [{{ name: http, port: 80, targetPort: 3000 }}]\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n  replicas: {replicas}\n  \
             selector: {{ matchLabels: {{ app: {name} }} }}\n  strategy: {{ rollingUpdate: {{ maxUnavailable: 0 }} }}\n  \
             template:\n    metadata: {{ labels: {{ app: {name} }} }}\n    spec:\n      containers:\n      - name: echo\n        \
             image: ferrogate/ferrogate:test\n        args: [echo, --listen, 0.0.0.0:3000]\n        \
             env: [{{ name: POD_NAME, valueFrom: {{ fieldRef: {{ fieldPath: metadata.name }} }} }}]\n        \
             readinessProbe: {{ httpGet: {{ path: /, port: 3000 }}, periodSeconds: 1 }}\n        \
             lifecycle: {{ preStop: {{ sleep: {{ seconds: 5 }} }} }}\n"
        ))
        .await;
        self.rolled_out("Deployment", name).await;
    }

    /// Waits until all replicas of a Deployment are new and available.
    pub async fn rolled_out(&self, kind: &str, name: &str) {
        self.until(kind, name, "rolled out", is_rolled_out).await;
    }

    /// A Gateway with these listeners (YAML, a list without indentation) and the address of its port; it waits until
    /// the Gateway is programmed.
    pub async fn gateway(&self, name: &str, listeners: &str, port: u16) -> SocketAddr {
        self.apply(&e2e::manifest::gateway(name, listeners)).await;
        self.address(name, port).await
    }

    /// Where a Gateway is reached, once it is programmed.
    pub async fn address(&self, name: &str, port: u16) -> SocketAddr {
        let gateway = self
            .until("Gateway", name, "programmed", |gateway| {
                condition(&gateway["status"]["conditions"], "Programmed")["status"] == "True"
            })
            .await;
        let address = gateway["status"]["addresses"][0]["value"].as_str().expect("an address");
        SocketAddr::new(address.parse().expect("an IP address"), port)
    }

    /// A route to a Service of this space.
    pub async fn route(&self, name: &str, gateway: &str, host: &str, service: &str) {
        let rules = format!("- backendRefs:\n  - name: {service}\n    port: 80\n");
        self.apply(&e2e::manifest::route(name, gateway, &[host], &rules)).await;
    }

    /// Waits until a host answers with this status at an address.
    pub async fn answers(&self, at: SocketAddr, host: &str, status: u16) {
        eventually(&format!("{host} answers {status}"), async || {
            let mut client = e2e::Client::try_http1(at).await?;
            let reply = client.try_send(e2e::get(host, "/")).await?;
            (reply.status == status).then_some(())
        })
        .await;
    }

    /// Name and namespace of the objects that run a Gateway's proxies.
    pub async fn fleet(&self, gateway: &str) -> String {
        let labels = format!(
            "gateway.envoyproxy.io/owning-gateway-namespace={},gateway.envoyproxy.io/owning-gateway-name={gateway}",
            self.name
        );
        eventually("the proxies' Deployment", async || {
            let found = self.list_in("Deployment", crate::controller::NAMESPACE, &labels).await;
            found.first().map(|found| found["metadata"]["name"].as_str().unwrap().to_owned())
        })
        .await
    }
}

/// Whether all replicas of a Deployment are new and available, and the old ones gone.
#[must_use]
pub(crate) fn is_rolled_out(deployment: &Value) -> bool {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && number(&status["updatedReplicas"]) == wanted
        && number(&status["replicas"]) == wanted
        && number(&status["availableReplicas"]) == wanted
}
