//! Tests against an API server in this process, and of the hub alone.

mod fake;
mod hub;
mod random;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ir::{Kind, ObjectRef};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Options, Scope, Sight, Timing, Watch, Witness, watch};
use crate::Update;
use fake::Fake;

/// Longest wait for anything. It passes only when something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/httproutes";
const GATEWAYS: &str = "/apis/gateway.networking.k8s.io/v1/gateways";
const SERVICES: &str = "/api/v1/services";
const SECRETS: &str = "/api/v1/secrets";
const NAMESPACES: &str = "/api/v1/namespaces";
const PODS: &str = "/api/v1/pods";
const NODES: &str = "/api/v1/nodes";
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";

/// As patient as an impatient test.
fn timing() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        page: 3,
        first_delay: ms(5),
        longest_delay: ms(40),
        forbidden_delay: ms(30),
        longest_retry_after: ms(400),
        answer: Duration::from_secs(5),
        silence: Duration::from_secs(10),
        healthy: ms(10),
        discovery: ms(50),
        absence: ms(100),
        hold: Duration::from_secs(2),
        ..Timing::default()
    }
}

/// What a Gateway of these tests refers to: the Secrets in its annotation `refs`, as `namespace/name`.
fn references(object: &api::Object) -> Vec<ObjectRef> {
    let annotations = object.metadata().annotations.as_ref();
    let names = annotations.and_then(|annotations| annotations.get("refs")).map_or("", String::as_str);
    let names = names.split(' ').filter_map(|name| name.split_once('/'));
    names.map(|(namespace, name)| ObjectRef::new(Kind::Secret, namespace, name)).collect()
}

fn options() -> Options {
    Options { timing: timing(), ..Options::new("system", references) }
}

async fn client(fake: &Fake) -> Client {
    let mut config = Config::new(format!("http://{}", fake.address).parse().unwrap());
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// A reader of updates who remembers what is in force.
struct Reader {
    watch: Watch,
    /// What is in force, with the value that the test gave it.
    objects: BTreeMap<String, String>,
    problems: Vec<String>,
    /// Objects of each update, in order.
    sent: Vec<Vec<String>>,
}

impl Reader {
    async fn start(fake: &Fake, options: Options) -> Reader {
        let watch = watch(client(fake).await, options);
        Reader { watch, objects: BTreeMap::new(), problems: Vec::new(), sent: Vec::new() }
    }

    /// A reader who has had the first update.
    async fn at(fake: &Fake) -> Reader {
        let mut reader = Reader::start(fake, options()).await;
        reader.next().await;
        reader
    }

    async fn next(&mut self) {
        let next = timeout(PATIENCE, self.watch.updates.next()).await;
        let update = next.unwrap_or_else(|_| panic!("no update; {:?}", self.objects)).unwrap();
        self.take(update);
    }

    fn take(&mut self, update: Update) {
        let mut sent = Vec::new();
        for object in update.apply {
            let kind = Kind::find(object.kind().group, object.kind().name).unwrap();
            let reference = ObjectRef::new(kind, object.namespace(), object.name()).to_string();
            let value = object.metadata().annotations.as_ref().and_then(|a| a.get("value").cloned());
            assert!(object.metadata().managed_fields.is_none());
            sent.push(reference.clone());
            self.objects.insert(reference, value.unwrap_or_default());
        }
        for reference in update.delete {
            sent.push(format!("-{reference}"));
            self.objects.remove(&reference.to_string());
        }
        self.problems = update.problems.iter().map(ToString::to_string).collect();
        self.sent.push(sent);
    }

    /// Reads until these objects, and no others, are in force.
    async fn until(&mut self, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        while self.objects != expected {
            let next = timeout(PATIENCE, self.watch.updates.next()).await;
            let update =
                next.unwrap_or_else(|_| panic!("{:?} instead of {expected:?}", self.objects)).unwrap();
            self.take(update);
        }
    }

    async fn until_told(&mut self, words: &str) {
        while !self.problems.iter().any(|problem| problem.contains(words)) {
            self.next().await;
        }
    }

    async fn until_fine(&mut self) {
        while !self.problems.is_empty() {
            self.next().await;
        }
    }

    /// How often an object was sent.
    fn times(&self, name: &str) -> usize {
        self.sent.iter().flatten().filter(|sent| *sent == name).count()
    }
}

/// Waits until something is so; looks often, fails when it takes too long.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < limit, "not so: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn meta(namespace: &str, name: &str, value: &str) -> Value {
    let mut metadata = json!({
        "name": name,
        "annotations": { "value": value },
        "managedFields": [{ "manager": "test", "operation": "Update" }],
    });
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

fn route(namespace: &str, name: &str, value: &str) -> Value {
    json!({ "metadata": meta(namespace, name, value), "spec": {} })
}

fn service(namespace: &str, name: &str, value: &str) -> Value {
    json!({ "metadata": meta(namespace, name, value), "spec": { "ports": [{ "port": 80 }] } })
}

fn secret(namespace: &str, name: &str, value: &str) -> Value {
    json!({ "metadata": meta(namespace, name, value), "type": "Opaque", "data": { "key": "dmFsdWU=" } })
}

/// A Gateway that refers to these Secrets.
fn gateway(name: &str, value: &str, secrets: &str) -> Value {
    let mut gateway = json!({
        "metadata": meta("default", name, value),
        "spec": {
            "gatewayClassName": "class",
            "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
        },
    });
    gateway["metadata"]["annotations"]["refs"] = json!(secrets);
    gateway
}

fn namespace(name: &str, label: &str) -> Value {
    let mut namespace = json!({ "metadata": meta("", name, ""), "spec": {} });
    namespace["metadata"]["labels"] = json!({ "team": label });
    namespace
}

fn names(namespaces: &[&str]) -> BTreeSet<std::sync::Arc<str>> {
    namespaces.iter().map(|name| (*name).into()).collect()
}

fn by_label(team: &str) -> Scope {
    let selector = json!({ "matchLabels": { "team": team } });
    Scope::Selector(serde_json::from_value(selector).unwrap())
}
