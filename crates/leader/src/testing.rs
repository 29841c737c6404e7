//! An API server in this process: objects by path, versions, preconditions, status as a part of its own, server-side
//! apply in outline, and faults by order. For tests, of this crate and of those that drive it.

#![allow(clippy::unwrap_used, reason = "it fails by panicking, as the tests that it is for")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// What happens to a call instead of, or before, its effect.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is answered with this status and has no effect.
    Answer(u16),
    /// It is answered by 429 with `Retry-After`.
    Busy(u64),
    /// It has its effect, and the answer comes so late.
    Slow(Duration),
    /// It is answered by 413 when it is longer than this.
    Limit(usize),
}

/// A fault for calls of some method whose path contains a text, so many times.
struct Order {
    method: &'static str,
    path: &'static str,
    times: usize,
    fault: Fault,
}

/// One call that came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its method.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// Its query; empty when there is none.
    pub query: String,
    /// The document that was sent; null when there was none.
    pub body: Value,
    /// When it came.
    pub at: tokio::time::Instant,
    /// The status that it was answered with.
    pub status: u16,
}

#[derive(Default)]
struct Store {
    objects: BTreeMap<String, Value>,
    version: u64,
    uids: u64,
    orders: Vec<Order>,
    calls: Vec<Call>,
    /// Fields of statuses that are dropped, as by an older CRD.
    pruned: Vec<&'static str>,
}

/// An API server in this process. Clones share.
#[derive(Clone, Default)]
pub struct Fake {
    store: Arc<Mutex<Store>>,
    called: Arc<Notify>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fake").field("objects", &self.paths()).finish_non_exhaustive()
    }
}

impl Fake {
    /// One that holds nothing.
    pub fn new() -> Fake {
        Fake::default()
    }

    /// A client that calls it without a socket, so that time can stand still.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.router(), "default")
    }

    /// A client that calls it over loopback.
    pub async fn loopback(&self) -> kube::Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, self.router()).into_future());
        let mut config = kube::Config::new(format!("http://{address}").parse().unwrap());
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    fn router(&self) -> Router {
        Router::new().fallback(handle).with_state(self.clone())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// Puts an object there, as somebody else would; yields its version.
    pub fn put(&self, path: &str, mut object: Value) -> String {
        let mut store = self.store();
        store.uids += 1;
        object["metadata"]["uid"] = format!("uid-{}", store.uids).into();
        object["metadata"]["name"] = path.rsplit('/').next().unwrap().into();
        if let Some((_, rest)) = path.split_once("/namespaces/") {
            object["metadata"]["namespace"] = rest.split('/').next().unwrap().into();
        }
        if object["metadata"]["generation"].is_null() {
            object["metadata"]["generation"] = 1.into();
        }
        store.save(path, object)["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    /// Changes an object, as somebody else would.
    pub fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut store = self.store();
        let mut object = store.objects[path].clone();
        change(&mut object);
        store.save(path, object)
    }

    /// Removes an object, as somebody else would.
    pub fn remove(&self, path: &str) {
        self.store().objects.remove(path);
    }

    /// An object as it stands, if it is there.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.store().objects.get(path).cloned()
    }

    /// Paths of all objects.
    pub fn paths(&self) -> Vec<String> {
        self.store().objects.keys().cloned().collect()
    }

    /// All objects without what differs from run to run.
    pub fn contents(&self) -> BTreeMap<String, Value> {
        let mut objects = self.store().objects.clone();
        objects.retain(|path, _| !path.contains("/leases/"));
        for object in objects.values_mut() {
            for field in ["uid", "resourceVersion", "generation"] {
                object["metadata"].as_object_mut().unwrap().remove(field);
            }
        }
        objects
    }

    /// The next calls of a method whose path contains a text meet this fault, so many times.
    pub fn order(&self, method: &'static str, path: &'static str, times: usize, fault: Fault) {
        self.store().orders.push(Order { method, path, times, fault });
    }

    /// All calls are answered as they should be from now on.
    pub fn no_faults(&self) {
        self.store().orders.clear();
    }

    /// Fields of statuses that are dropped from now on.
    pub fn prune(&self, field: &'static str) {
        self.store().pruned.push(field);
    }

    /// Calls of these methods whose path contains the text, Leases apart unless the text names them, and without the
    /// look for left-over fleets at the beginning of each term.
    pub fn calls(&self, methods: &[&str], path: &str) -> Vec<Call> {
        let store = self.store();
        let matching = store.calls.iter().filter(|call| {
            (methods.is_empty() || methods.contains(&call.method.as_str()))
                && call.path.contains(path)
                && (path.contains("leases") || !call.path.contains("/leases"))
                && (!call.query.starts_with("labelSelector") || call.query.contains("owning-gateway"))
        });
        matching.cloned().collect()
    }

    /// Forgets the calls that came so far.
    pub fn forget_calls(&self) {
        self.store().calls.clear();
    }

    /// Waits until a condition on the calls and objects holds.
    pub async fn until(&self, what: &str, holds: impl Fn(&Fake) -> bool) {
        let limit = tokio::time::Instant::now() + Duration::from_secs(300);
        while !holds(self) {
            let called = self.called.notified();
            let step = tokio::time::timeout(Duration::from_millis(100), called);
            let _ = step.await;
            assert!(tokio::time::Instant::now() < limit, "never {what}; calls: {:#?}", self.calls(&[], ""));
        }
    }
}

impl Store {
    fn save(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if let Some(old) = self.objects.get(path)
            && old["spec"] != object["spec"]
        {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = generation.into();
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn fault(&mut self, method: &Method, path: &str) -> Option<Fault> {
        let order = self
            .orders
            .iter_mut()
            .find(|order| order.times > 0 && order.method == method.as_str() && path.contains(order.path))?;
        order.times -= 1;
        Some(order.fault.clone())
    }
}

async fn handle(
    State(fake): State<Fake>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let query = uri.query().unwrap_or_default().to_owned();
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    let fault = fake.store().fault(&method, &path);
    let mut response = match &fault {
        Some(Fault::Answer(code)) => refuse(*code, "by order"),
        Some(Fault::Busy(seconds)) => {
            let mut response = refuse(429, "by order");
            response.headers_mut().insert("retry-after", HeaderValue::from(*seconds));
            response
        }
        Some(Fault::Limit(limit)) if body.len() > *limit => refuse(413, "by order"),
        _ => serve(&mut fake.store(), &method, &path, &query, &headers, document.clone()),
    };
    let call = Call {
        method: method.to_string(),
        path,
        query,
        body: document,
        at: tokio::time::Instant::now(),
        status: response.status().as_u16(),
    };
    fake.store().calls.push(call);
    fake.called.notify_waiters();
    if let Some(Fault::Slow(time)) = fault {
        tokio::time::sleep(time).await;
    }
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

fn serve(
    store: &mut Store,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    mut document: Value,
) -> Response {
    let (object_path, is_status) = match path.strip_suffix("/status") {
        Some(object) => (object.to_owned(), true),
        None => (path.to_owned(), false),
    };
    let old = store.objects.get(&object_path).cloned();
    match *method {
        Method::GET if old.is_some() => answer(&old.unwrap()),
        Method::GET if is_collection(path) => list(store, path, query),
        Method::GET => refuse(404, "not found"),
        Method::POST => {
            let target = format!("{path}/{}", document["metadata"]["name"].as_str().unwrap());
            if store.objects.contains_key(&target) {
                return refuse(409, "already exists");
            }
            answer(&create(store, &target, document))
        }
        Method::PUT => {
            let Some(mut new) = old else { return refuse(404, "not found") };
            let wanted = &document["metadata"]["resourceVersion"];
            if !wanted.is_null() && *wanted != new["metadata"]["resourceVersion"] {
                return refuse(409, "the object has been modified");
            }
            if is_status {
                new["status"] = document["status"].take();
                for field in store.pruned.clone() {
                    new["status"].as_object_mut().unwrap().remove(field);
                }
            } else {
                document["metadata"]["uid"] = new["metadata"]["uid"].take();
                new = document;
            }
            answer(&store.save(&object_path, new))
        }
        Method::PATCH => patch(store, &object_path, query, headers, old, document),
        Method::DELETE => {
            let Some(old) = old else { return refuse(404, "not found") };
            let uid = &document["preconditions"]["uid"];
            if !uid.is_null() && *uid != old["metadata"]["uid"] {
                return refuse(409, "another object");
            }
            store.objects.remove(&object_path);
            answer(&json!({ "kind": "Status", "status": "Success" }))
        }
        _ => refuse(405, "method"),
    }
}

fn create(store: &mut Store, path: &str, mut object: Value) -> Value {
    store.uids += 1;
    object["metadata"]["uid"] = format!("uid-{}", store.uids).into();
    object["metadata"]["generation"] = 1.into();
    store.save(path, object)
}

fn patch(
    store: &mut Store,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    old: Option<Value>,
    document: Value,
) -> Response {
    let is_apply = headers["content-type"] == "application/apply-patch+yaml";
    if is_apply {
        assert!(query.contains("fieldManager=envoy-gateway") && query.contains("force=true"), "{query}");
    }
    let Some(old) = old else {
        return if is_apply { answer(&create(store, path, document)) } else { refuse(404, "not found") };
    };
    let wanted = &document["metadata"]["resourceVersion"];
    if !wanted.is_null() && *wanted != old["metadata"]["resourceVersion"] {
        return refuse(409, "the object has been modified");
    }
    let mut new = old.clone();
    merge(&mut new, document);
    if path.contains("/apis/apps/") && new["spec"]["selector"] != old["spec"]["selector"] {
        return refuse(422, "spec.selector: field is immutable");
    }
    if new == old { answer(&old) } else { answer(&store.save(path, new)) }
}

/// Maps are merged, everything else is replaced.
fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (field, value) in new {
                if value.is_null() {
                    old.remove(&field);
                } else {
                    merge(old.entry(field).or_insert(Value::Null), value);
                }
            }
        }
        (old, new) => *old = new,
    }
}

/// Kinds stand in lower case and in the plural; names of this test's objects never end like that.
fn is_collection(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap();
    let kinds = [
        "serviceaccounts",
        "configmaps",
        "deployments",
        "daemonsets",
        "services",
        "horizontalpodautoscalers",
        "poddisruptionbudgets",
    ];
    kinds.contains(&last)
}

fn list(store: &Store, path: &str, query: &str) -> Response {
    let selector = query.strip_prefix("labelSelector=").unwrap_or_default();
    let selector = selector.replace("%2F", "/").replace("%3D", "=").replace("%2C", ",");
    assert!(!selector.is_empty(), "a list without selector: {path}");
    let (root, plural) = path.rsplit_once('/').unwrap();
    let items = store.objects.iter().filter(|(object, item)| {
        let (collection, _) = object.rsplit_once('/').unwrap();
        let in_place = if root.contains("/namespaces/") {
            collection == path
        } else {
            collection.starts_with(root) && collection.ends_with(&format!("/{plural}"))
        };
        in_place
            && selector.split(',').all(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                item["metadata"]["labels"][name] == value
            })
    });
    // Items of a list have no kind, as with a real API server.
    let items: Vec<Value> = items
        .map(|(_, item)| {
            let mut item = item.clone();
            item.as_object_mut().unwrap().remove("kind");
            item.as_object_mut().unwrap().remove("apiVersion");
            item
        })
        .collect();
    answer(&json!({ "items": items }))
}

fn answer(object: &Value) -> Response {
    object.to_string().into_response()
}

fn refuse(code: u16, message: &str) -> Response {
    let body = json!({ "kind": "Status", "status": "Failure", "code": code, "message": message });
    (StatusCode::from_u16(code).unwrap(), body.to_string()).into_response()
}
