//! An API server in this process: lists in pages, streamed lists, watches, bookmarks, and everything that goes wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{Router, body::Body, extract::State as Extracted, http::Uri, response::Response};
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::AbortHandle};

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// This status, with `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// Half of the answer, as if it were all.
    Truncated,
    /// The answer begins after this time.
    Slow(Duration),
    /// A watch that sends this line first.
    Line(&'static str),
    /// A watch that is cut after this time.
    CutAfter(Duration),
}

/// One change in history.
#[derive(Clone)]
struct Entry {
    revision: u64,
    collection: String,
    kind: &'static str,
    object: Value,
}

struct Trouble {
    pattern: String,
    fault: Fault,
    times: usize,
}

#[derive(Default)]
struct State {
    revision: u64,
    objects: BTreeMap<(String, String, String), Value>,
    history: Vec<Entry>,
    /// Watches cannot begin before this revision.
    compacted: u64,
    /// Plurals of CRDs that are not installed.
    missing: BTreeSet<String>,
    /// What CRDs bring: path of a group in a version, and plural.
    served: BTreeSet<(String, String)>,
    streaming: bool,
    troubles: Vec<Trouble>,
    snapshots: BTreeMap<String, (u64, Vec<Value>)>,
    requests: Vec<String>,
}

/// Kinds that have a CRD at first.
const SERVED: [(&str, &[&str]); 2] = [
    (
        "/apis/gateway.networking.k8s.io/v1",
        &["gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants"],
    ),
    ("/apis/gateway.envoyproxy.io/v1alpha1", &["backends", "envoyproxies", "backendtrafficpolicies"]),
];

/// The API server. It ends when dropped.
pub(super) struct Fake {
    shared: Shared,
    pub(super) address: SocketAddr,
    task: AbortHandle,
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    /// Counts changes; watches wait for it.
    changed: watch::Sender<u64>,
    /// Counts cuts; a watch ends when it is no more what it was.
    cuts: watch::Sender<u64>,
    /// Counts calls for bookmarks.
    bookmarks: watch::Sender<u64>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// Starts one that has all kinds and no object.
    pub(super) async fn start() -> Fake {
        let of_group = |(group, plurals): (&str, &[&str])| -> Vec<(String, String)> {
            plurals.iter().map(|plural| (group.to_owned(), (*plural).to_owned())).collect()
        };
        let served = SERVED.into_iter().flat_map(of_group).collect();
        let state = State { revision: 100, streaming: true, served, ..State::default() };
        let shared = Shared {
            state: Arc::new(Mutex::new(state)),
            changed: watch::channel(0).0,
            cuts: watch::channel(0).0,
            bookmarks: watch::channel(0).0,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }).abort_handle();
        Fake { shared, address, task }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Creates or changes an object; `collection` is `/api/v1/services` or the like. Returns its version.
    pub(super) fn put(&self, collection: &str, mut object: Value) -> u64 {
        let mut state = self.state();
        state.revision += 1;
        let revision = state.revision;
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        let key = key(collection, &object);
        let kind = match state.objects.insert(key, object.clone()) {
            Some(_) => "MODIFIED",
            None => "ADDED",
        };
        state.history.push(Entry { revision, collection: collection.to_owned(), kind, object });
        drop(state);
        self.shared.changed.send_modify(|n| *n += 1);
        revision
    }

    /// Deletes an object, if it is there.
    pub(super) fn delete(&self, collection: &str, namespace: &str, name: &str) {
        let mut state = self.state();
        let key = (collection.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(mut object) = state.objects.remove(&key) else { return };
        state.revision += 1;
        let revision = state.revision;
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        state.history.push(Entry { revision, collection: key.0, kind: "DELETED", object });
        drop(state);
        self.shared.changed.send_modify(|n| *n += 1);
    }

    /// Forgets history: watches that begin before now get 410.
    pub(super) fn compact(&self) {
        let mut state = self.state();
        state.revision += 1;
        state.compacted = state.revision;
        state.history.clear();
        state.snapshots.clear();
    }

    /// Cuts all watches.
    pub(super) fn cut(&self) {
        self.shared.cuts.send_modify(|n| *n += 1);
    }

    /// Sends a bookmark on all watches.
    pub(super) fn bookmark(&self) {
        self.shared.bookmarks.send_modify(|n| *n += 1);
    }

    /// Lets requests whose path and query contain `pattern` fail, this many times.
    pub(super) fn trouble(&self, pattern: &str, fault: Fault, times: usize) {
        self.state().troubles.push(Trouble { pattern: pattern.to_owned(), fault, times });
    }

    /// Lets everything work again.
    pub(super) fn heal(&self) {
        self.state().troubles.clear();
    }

    /// Removes or installs a CRD.
    pub(super) fn install(&self, plural: &str, installed: bool) {
        let mut state = self.state();
        if installed {
            state.missing.remove(plural);
        } else {
            state.missing.insert(plural.to_owned());
            state.objects.retain(|key, _| !key.0.ends_with(plural));
            drop(state);
            self.cut();
        }
    }

    /// Serves a kind in this version of its group alone, with the objects that there are.
    pub(super) fn serve(&self, plural: &str, group_version: &str) {
        let mut state = self.state();
        state.served.retain(|(_, other)| other != plural);
        state.served.insert((group_version.to_owned(), plural.to_owned()));
        let collection = format!("{group_version}/{plural}");
        let objects = std::mem::take(&mut state.objects).into_iter();
        state.objects = objects
            .map(|((old, namespace, name), object)| {
                let of_kind = old.rsplit('/').next() == Some(plural);
                ((if of_kind { collection.clone() } else { old }, namespace, name), object)
            })
            .collect();
        drop(state);
        self.cut();
    }

    /// Whether lists can be streamed.
    pub(super) fn set_streaming(&self, streaming: bool) {
        self.state().streaming = streaming;
    }

    /// Requests so far whose path and query contain all of these.
    pub(super) fn requests(&self, patterns: &[&str]) -> usize {
        let asked = |request: &&String| patterns.iter().all(|pattern| request.contains(pattern));
        self.state().requests.iter().filter(asked).count()
    }
}

fn key(collection: &str, object: &Value) -> (String, String, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (collection.to_owned(), text("/metadata/namespace"), text("/metadata/name"))
}

/// What a request asks for.
struct Asked {
    collection: String,
    group_version: String,
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
    query: BTreeMap<String, String>,
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: Vec<u8> = rest.by_ref().take(2).collect();
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl Asked {
    fn parse(uri: &Uri) -> Asked {
        let parts: Vec<String> = uri.path().split('/').skip(1).map(decode).collect();
        let root = if parts[0] == "api" { 2 } else { 3 };
        let group_version = format!("/{}", parts[..root.min(parts.len())].join("/"));
        let mut rest = parts.get(root..).unwrap_or_default();
        let mut namespace = None;
        if rest.first().is_some_and(|part| part == "namespaces") && rest.len() > 2 {
            namespace = Some(rest[1].clone());
            rest = &rest[2..];
        }
        let plural = rest.first().cloned().unwrap_or_default();
        let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        Asked {
            collection: format!("{group_version}/{plural}"),
            group_version,
            plural,
            namespace,
            name: rest.get(1).cloned(),
            query: pairs.map(|(key, value)| (key.to_owned(), decode(value))).collect(),
        }
    }

    fn query(&self, key: &str) -> &str {
        self.query.get(key).map_or("", String::as_str)
    }

    fn selects(&self, collection: &str, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let labelled = |pair: &str| pair.split_once('=').is_none_or(|(key, value)| labels[key] == *value);
        let of_type =
            |selector: &str| selector.strip_prefix("type!=").is_none_or(|kind| object["type"] != *kind);
        collection == self.collection
            && self.namespace.as_ref().is_none_or(|namespace| object["metadata"]["namespace"] == **namespace)
            && self.query("labelSelector").split(',').all(labelled)
            && self.query("fieldSelector").split(',').all(of_type)
    }
}

fn json_response(status: u16, retry_after: Option<u64>, body: Vec<u8>) -> Response {
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds.to_string());
    }
    response.body(Body::from(body)).unwrap()
}

fn status(code: u16, retry_after: Option<u64>) -> Response {
    let body =
        json!({ "kind": "Status", "apiVersion": "v1", "code": code, "message": format!("made up {code}") });
    json_response(code, retry_after, serde_json::to_vec(&body).unwrap())
}

async fn answer(Extracted(shared): Extracted<Shared>, uri: Uri) -> Response {
    let text = uri.to_string();
    let trouble = {
        let mut state = shared.state.lock().unwrap();
        state.requests.push(text.clone());
        let fits = |trouble: &&mut Trouble| trouble.times > 0 && text.contains(&trouble.pattern);
        state.troubles.iter_mut().find(fits).map(|trouble| {
            trouble.times -= 1;
            trouble.fault.clone()
        })
    };
    let asked = Asked::parse(&uri);
    match trouble {
        Some(Fault::Status(code, retry_after)) => return status(code, retry_after),
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    if asked.plural.is_empty() {
        return discovery(&shared, &asked);
    }
    if !is_there(&shared.state.lock().unwrap(), &asked) {
        return status(404, None);
    }
    if let Some(name) = &asked.name {
        return one(&shared, &asked, name);
    }
    if asked.query("watch") == "true" {
        return follow(shared, asked, trouble.as_ref());
    }
    let mut body = list(&shared, &asked);
    if matches!(trouble, Some(Fault::Truncated)) {
        let Ok(bytes) = &mut body else { return status(410, None) };
        bytes.truncate(bytes.len() / 2);
    }
    body.map_or_else(|code| status(code, None), |body| json_response(200, None, body))
}

/// True for kinds of the API server's own and for those that a CRD brings in this version.
fn is_there(state: &State, asked: &Asked) -> bool {
    let by_crd = state.served.iter().any(|(_, plural)| *plural == asked.plural);
    let served = state.served.contains(&(asked.group_version.clone(), asked.plural.clone()));
    !state.missing.contains(&asked.plural) && (served || !by_crd)
}

fn discovery(shared: &Shared, asked: &Asked) -> Response {
    let state = shared.state.lock().unwrap();
    let of_group: Vec<&String> = (state.served.iter())
        .filter(|(group_version, _)| *group_version == asked.group_version)
        .map(|(_, plural)| plural)
        .collect();
    if of_group.is_empty() {
        return status(404, None);
    }
    let resources: Vec<Value> = (of_group.into_iter())
        .filter(|plural| !state.missing.contains(*plural))
        .map(|plural| json!({ "name": plural }))
        .collect();
    json_response(200, None, serde_json::to_vec(&json!({ "resources": resources })).unwrap())
}

fn one(shared: &Shared, asked: &Asked, name: &str) -> Response {
    let state = shared.state.lock().unwrap();
    let namespace = asked.namespace.clone().unwrap_or_default();
    match state.objects.get(&(asked.collection.clone(), namespace, name.to_owned())) {
        Some(object) => json_response(200, None, serde_json::to_vec(object).unwrap()),
        None => status(404, None),
    }
}

fn selected(state: &State, asked: &Asked) -> Vec<Value> {
    let of = |((collection, ..), object): (&(String, String, String), &Value)| {
        asked.selects(collection, object).then(|| object.clone())
    };
    state.objects.iter().filter_map(of).collect()
}

fn list(shared: &Shared, asked: &Asked) -> Result<Vec<u8>, u16> {
    let mut state = shared.state.lock().unwrap();
    let token = asked.query("continue").to_owned();
    let (revision, items) = match token.as_str() {
        "" => (state.revision, selected(&state, asked)),
        token => state.snapshots.remove(token).ok_or(410_u16)?,
    };
    let limit = asked.query("limit").parse().unwrap_or(usize::MAX);
    let rest: Vec<Value> = items.iter().skip(limit).cloned().collect();
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if !rest.is_empty() {
        let token = format!("page {}", state.requests.len());
        metadata["continue"] = json!(token);
        state.snapshots.insert(token, (revision, rest));
    }
    let items: Vec<&Value> = items.iter().take(limit).collect();
    Ok(serde_json::to_vec(&json!({ "kind": "List", "metadata": metadata, "items": items })).unwrap())
}

fn line(kind: &str, object: &Value) -> String {
    json!({ "type": kind, "object": object }).to_string() + "\n"
}

fn expired() -> String {
    line("ERROR", &json!({ "kind": "Status", "code": 410, "reason": "Expired", "message": "too old" }))
}

fn bookmark(revision: u64, ends: bool) -> String {
    let annotations = if ends { json!({ "k8s.io/initial-events-end": "true" }) } else { json!({}) };
    let metadata = json!({ "resourceVersion": revision.to_string(), "annotations": annotations });
    line("BOOKMARK", &json!({ "metadata": metadata }))
}

fn follow(shared: Shared, asked: Asked, trouble: Option<&Fault>) -> Response {
    let state = shared.state.lock().unwrap();
    let mut first = String::new();
    let from = if asked.query("sendInitialEvents") == "true" {
        if !state.streaming {
            return status(422, None);
        }
        for object in selected(&state, &asked) {
            first.push_str(&line("ADDED", &object));
        }
        first.push_str(&bookmark(state.revision, true));
        state.revision
    } else {
        let from = asked.query("resourceVersion").parse().unwrap_or(0);
        if from < state.compacted {
            return json_response(200, None, expired().into_bytes());
        }
        from
    };
    drop(state);
    if let Some(Fault::Line(text)) = trouble {
        first.push_str(text);
    }
    let watch = Following {
        until: match trouble {
            Some(Fault::CutAfter(time)) => Some(tokio::time::Instant::now() + *time),
            _ => None,
        },
        changed: shared.changed.subscribe(),
        cuts: shared.cuts.subscribe(),
        bookmarks: shared.bookmarks.subscribe(),
        shared,
        asked,
        from,
        first: Some(first),
    };
    let lines = stream::unfold(watch, |mut watch| async move {
        let text = watch.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), watch))
    });
    Response::builder().status(200).body(Body::from_stream(lines)).unwrap()
}

struct Following {
    shared: Shared,
    asked: Asked,
    from: u64,
    first: Option<String>,
    until: Option<tokio::time::Instant>,
    changed: watch::Receiver<u64>,
    cuts: watch::Receiver<u64>,
    bookmarks: watch::Receiver<u64>,
}

impl Following {
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Some(first);
        }
        loop {
            self.changed.mark_unchanged();
            let news = self.news();
            if !news.is_empty() {
                return Some(news);
            }
            let limit = self.until.unwrap_or_else(|| tokio::time::Instant::now() + Duration::from_secs(600));
            tokio::select! {
                _ = self.changed.changed() => {}
                _ = self.cuts.changed() => return None,
                _ = self.bookmarks.changed() => {
                    let revision = self.shared.state.lock().unwrap().revision;
                    let news = self.news();
                    return Some(news + &bookmark(revision, false));
                }
                () = tokio::time::sleep_until(limit) => return None,
            }
        }
    }

    fn news(&mut self) -> String {
        let state = self.shared.state.lock().unwrap();
        if self.from < state.compacted {
            return expired();
        }
        let new = |entry: &&Entry| {
            entry.revision > self.from && self.asked.selects(&entry.collection, &entry.object)
        };
        let news = state.history.iter().filter(new).map(|entry| line(entry.kind, &entry.object)).collect();
        self.from = state.revision;
        news
    }
}
