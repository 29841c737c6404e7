//! Certificates that TLS libraries take, in files and in Secrets.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};

use api::k8s_openapi::ByteString;
use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::StatusCode,
    routing::{any, post},
};
use serde_json::{Value, json};

use super::{
    cluster::Cluster,
    local,
    material::{Names, generate},
};

const NAMESPACE: &str = "gateways";

#[test]
fn the_server_takes_its_certificate_and_the_proxies_one() {
    let home = tempfile::tempdir().unwrap();
    let set = generate(&Names::of_cluster(NAMESPACE, "cluster.local")).unwrap();
    local::write(home.path(), &set, false).unwrap();
    for (folder, name) in [("envoy-gateway", None), ("envoy", None), ("envoy-rate-limit", Some("*.gateways"))]
    {
        let clients = server::Clients::Certified { name: name.map(str::to_owned) };
        server::Tls::load(&home.path().join("certs").join(folder), clients, server::Protocols::Http2)
            .unwrap();
    }
    assert_eq!(
        set.pairs.iter().map(|pair| pair.name).collect::<Vec<_>>(),
        ["envoy-gateway", "envoy", "envoy-rate-limit"]
    );
    assert_eq!(set.hmac.len(), 32);
    assert_eq!(
        Names::of_cluster(NAMESPACE, "cluster.local").control_plane,
        [
            "envoy-gateway",
            "envoy-gateway.gateways",
            "envoy-gateway.gateways.svc",
            "envoy-gateway.gateways.svc.cluster.local"
        ]
    );
}

#[test]
fn files_are_kept_unless_told_otherwise() {
    let home = tempfile::tempdir().unwrap();
    let (one, two) = (generate(&Names::local()).unwrap(), generate(&Names::local()).unwrap());
    let key = home.path().join("certs/envoy/tls.key");
    local::write(home.path(), &one, false).unwrap();
    local::write(home.path(), &two, false).unwrap();
    assert_eq!(std::fs::read_to_string(&key).unwrap(), one.pairs[1].key);
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    local::write(home.path(), &two, true).unwrap();
    assert_eq!(std::fs::read_to_string(&key).unwrap(), two.pairs[1].key);
    assert_eq!(std::fs::read(home.path().join("certs/envoy-oidc-hmac/hmac-secret")).unwrap(), two.hmac);
}

/// Objects by path, and how often each was written.
#[derive(Clone, Default)]
struct Store {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    writes: Arc<Mutex<Vec<String>>>,
}

const SECRETS: &str = "/api/v1/namespaces/gateways/secrets";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

async fn create(State(store): State<Store>, Json(mut object): Json<Value>) -> Json<Value> {
    let path = format!("{SECRETS}/{}", object["metadata"]["name"].as_str().unwrap());
    object["metadata"]["resourceVersion"] = json!("1");
    store.writes.lock().unwrap().push(format!("POST {path}"));
    store.objects.lock().unwrap().insert(path, object.clone());
    Json(object)
}

async fn one(
    State(store): State<Store>,
    Path(_): Path<String>,
    request: Request,
) -> (StatusCode, Json<Value>) {
    let path = request.uri().path().to_owned();
    let mut objects = store.objects.lock().unwrap().clone();
    let Some(there) = objects.get_mut(&path) else {
        let status = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404});
        return (StatusCode::NOT_FOUND, Json(status));
    };
    if request.method() == "PUT" {
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
        let object: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(object["metadata"]["resourceVersion"], there["metadata"]["resourceVersion"]);
        store.writes.lock().unwrap().push(format!("PUT {path}"));
        store.objects.lock().unwrap().insert(path, object.clone());
        return (StatusCode::OK, Json(object));
    }
    (StatusCode::OK, Json(there.clone()))
}

impl Store {
    /// A scripted API server, and a client of it.
    async fn serve(&self) -> Cluster {
        let router = Router::new()
            .route(SECRETS, post(create))
            .route(&format!("{SECRETS}/{{name}}"), any(one))
            .route(&format!("{WEBHOOKS}/{{name}}"), any(one))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        Cluster::new(kube::Client::try_from(config).unwrap(), NAMESPACE)
    }

    fn data(&self, secret: &str, key: &str) -> Vec<u8> {
        let object = self.objects.lock().unwrap()[&format!("{SECRETS}/{secret}")].clone();
        serde_json::from_value::<ByteString>(object["data"][key].clone()).unwrap().0
    }

    fn written(&self) -> usize {
        std::mem::take(&mut *self.writes.lock().unwrap()).len()
    }
}

#[tokio::test]
async fn secrets_are_made_kept_and_replaced() {
    let store = Store::default();
    let cluster = store.serve().await;
    let names = Names::of_cluster(NAMESPACE, "cluster.local");
    let (one, two) = (generate(&names).unwrap(), generate(&names).unwrap());
    cluster.publish(&one, false).await.unwrap();
    assert_eq!(store.written(), 4);
    let first = store.objects.lock().unwrap()[&format!("{SECRETS}/envoy")].clone();
    assert_eq!(
        (&first["type"], &first["metadata"]["labels"]["control-plane"]),
        (&json!("kubernetes.io/tls"), &json!("envoy-gateway"))
    );
    cluster.publish(&two, false).await.unwrap();
    assert_eq!(store.written(), 0, "what is there is kept");
    assert_eq!(store.data("envoy", "tls.key"), one.pairs[1].key.as_bytes());
    let path = format!("{SECRETS}/envoy");
    store.objects.lock().unwrap().get_mut(&path).unwrap()["metadata"]["labels"]["team"] = json!("edge");
    cluster.publish(&two, true).await.unwrap();
    assert_eq!(store.written(), 4);
    assert_eq!(store.data("envoy", "tls.key"), two.pairs[1].key.as_bytes());
    assert_eq!(store.data("envoy-oidc-hmac", "hmac-secret"), two.hmac);
    let labels = store.objects.lock().unwrap()[&path]["metadata"]["labels"].clone();
    assert_eq!(labels, json!({"control-plane": "envoy-gateway", "team": "edge"}));
}

#[tokio::test]
async fn the_webhook_learns_the_authority_where_there_is_one() {
    let store = Store::default();
    let cluster = store.serve().await;
    let set = generate(&Names::of_cluster(NAMESPACE, "cluster.local")).unwrap();
    cluster.publish(&set, false).await.unwrap();
    store.written();
    cluster.tell_webhook().await.unwrap();
    assert_eq!(store.written(), 0, "there is no webhook");
    let path = format!("{WEBHOOKS}/envoy-gateway-topology-injector.{NAMESPACE}");
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "envoy-gateway-topology-injector.gateways", "resourceVersion": "7"},
        "webhooks": [{
            "name": "topology.webhook.gateway.envoyproxy.io",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"service": {"name": "envoy-gateway", "namespace": NAMESPACE}},
        }],
    });
    store.objects.lock().unwrap().insert(path.clone(), webhook);
    cluster.tell_webhook().await.unwrap();
    assert_eq!(store.written(), 1);
    let bundle = store.objects.lock().unwrap()[&path]["webhooks"][0]["clientConfig"]["caBundle"].clone();
    assert_eq!(serde_json::from_value::<ByteString>(bundle).unwrap().0, set.authority.as_bytes());
    cluster.tell_webhook().await.unwrap();
    assert_eq!(store.written(), 0, "it knows");
}
