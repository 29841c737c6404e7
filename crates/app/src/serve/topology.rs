//! The topology webhook: when a Pod of ours is bound to a Node, it learns the Node's zone, as an annotation that its
//! containers read. The API server puts the annotations of a Binding on the Pod, so nothing is written to Pods.
//!
//! Its registration (`MutatingWebhookConfiguration`) comes with the manifests of the installation, and says that Pods are
//! bound all the same when nobody answers.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use ::ir::infra::labels;
use anyhow::Context;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use provider::kubernetes::{Node, Observed};
use serde_json::{Value, json};
use server::Tls;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Where the API server asks.
pub(crate) const PATH: &str = "/inject-pod-topology";
/// Longest question that is read: a Binding has some hundred bytes.
const MAX_QUESTION: usize = 1 << 20;
/// Longest handshake. The API server waits for 10 s by default.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long to rest when the system gives no connections.
const REST: Duration = Duration::from_millis(100);

/// Takes the port.
pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address} for the topology webhook"))
}

/// Answers until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Tls,
    observed: watch::Receiver<Observed>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((connection, _)) => {
                let (tls, observed, stop) = (tls.clone(), observed.clone(), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = converse(connection, tls, observed) => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the topology webhook cannot accept connections");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn converse(connection: TcpStream, tls: Tls, observed: watch::Receiver<Observed>) {
    let handshake = TlsAcceptor::from(tls.current()).accept(connection);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await else { return };
    let service = service_fn(move |request| {
        let nodes = observed.borrow().nodes.clone();
        async move { Ok::<_, Infallible>(answer(request, &nodes).await) }
    });
    let talk = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = talk.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection of the topology webhook broke off");
    }
}

async fn answer(request: Request<Incoming>, nodes: &BTreeMap<Arc<str>, Node>) -> Response<Full<Bytes>> {
    let refuse = |status: StatusCode| {
        let mut response = Response::default();
        *response.status_mut() = status;
        response
    };
    if request.method() != Method::POST || request.uri().path() != PATH {
        return refuse(StatusCode::NOT_FOUND);
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_QUESTION).collect().await else {
        return refuse(StatusCode::BAD_REQUEST);
    };
    match serde_json::from_slice(&body.to_bytes()) {
        Ok(review) => Response::new(reviewed(&review, nodes).to_string().into()),
        Err(_) => refuse(StatusCode::BAD_REQUEST),
    }
}

/// The answer to an AdmissionReview of a Binding. Whatever is wrong with it, the Pod is bound.
fn reviewed(review: &Value, nodes: &BTreeMap<Arc<str>, Node>) -> Value {
    let request = &review["request"];
    let mut response = json!({ "uid": request["uid"], "allowed": true });
    let node = request["object"]["target"]["name"].as_str().and_then(|name| nodes.get(name));
    let places = node.map(|node| [(labels::ZONE, &node.zone), (labels::REGION, &node.region)]);
    let known: Vec<(&str, &str)> =
        places.iter().flatten().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    if !known.is_empty() {
        let patch = patch(&request["object"]["metadata"]["annotations"], &known);
        response["patchType"] = "JSONPatch".into();
        response["patch"] = BASE64_STANDARD.encode(patch.to_string()).into();
    }
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
}

/// Adds annotations to a Binding that has these.
fn patch(annotations: &Value, added: &[(&str, &str)]) -> Value {
    if !annotations.is_object() {
        let all: serde_json::Map<String, Value> =
            added.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        return json!([{ "op": "add", "path": "/metadata/annotations", "value": all }]);
    }
    let pointer =
        |name: &str| format!("/metadata/annotations/{}", name.replace('~', "~0").replace('/', "~1"));
    added.iter().map(|(name, value)| json!({ "op": "add", "path": pointer(name), "value": value })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(annotations: &Value, node: &str) -> Option<Value> {
        let there = Node { zone: Some("a".into()), region: Some("r".into()), ..Node::default() };
        let nodes = BTreeMap::from([("there".into(), there), ("plain".into(), Node::default())]);
        let object =
            json!({ "metadata": { "name": "p", "annotations": annotations }, "target": { "name": node } });
        let review = reviewed(&json!({ "request": { "uid": "7", "object": object } }), &nodes);
        assert_eq!((&review["response"]["uid"], &review["response"]["allowed"]), (&json!("7"), &json!(true)));
        let patch = BASE64_STANDARD.decode(review["response"]["patch"].as_str()?).unwrap();
        Some(serde_json::from_slice(&patch).unwrap())
    }

    #[test]
    fn a_pod_learns_the_place_of_its_node() {
        let all = json!({ "topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r" });
        let expected = json!([{ "op": "add", "path": "/metadata/annotations", "value": all }]);
        assert_eq!(patched(&Value::Null, "there"), Some(expected));
        let expected = json!([
            { "op": "add", "path": "/metadata/annotations/topology.kubernetes.io~1zone", "value": "a" },
            { "op": "add", "path": "/metadata/annotations/topology.kubernetes.io~1region", "value": "r" },
        ]);
        assert_eq!(patched(&json!({ "mine": "x" }), "there"), Some(expected));
        assert_eq!(patched(&Value::Null, "plain"), None);
        assert_eq!(patched(&Value::Null, "unknown"), None);
    }
}
