//! The hub alone: orders of events that the network makes rarely.

use serde_json::Value;
use tokio::time::Instant;

use super::*;
use crate::kubernetes::{
    decode::{Decoder, Item, Name, Version},
    hub::{Fetch, Hub, Order, Served},
    metrics::Metrics,
    source::{Change, Event, SourceId},
};

/// A hub whose sources are spoken for by the test.
struct Bench {
    hub: Hub,
    started: Vec<SourceId>,
    gets: Vec<Fetch<ObjectRef>>,
    in_force: BTreeMap<String, String>,
    now: Instant,
}

impl Bench {
    /// All kinds are there, and all but Secrets and ConfigMaps were listed empty.
    fn new() -> Bench {
        Bench::with(options())
    }

    fn with(options: Options) -> Bench {
        let hub = Hub::new(options, Metrics::default(), Instant::now());
        let mut bench = Bench {
            hub,
            started: Vec::new(),
            gets: Vec::new(),
            in_force: BTreeMap::new(),
            now: Instant::now(),
        };
        let served: Served = (bench.hub.discoverable().iter())
            .map(|resource| ((resource.group, resource.plural.clone()), resource.versions[0]))
            .collect();
        bench.hub.discovered(&served, bench.now);
        bench.obey();
        for id in bench.started.clone() {
            bench.event(id, Event::ListBegins);
            bench.event(id, Event::ListEnds(Version::new("1")));
        }
        bench
    }

    /// All kinds were listed empty.
    fn synced() -> Bench {
        let mut bench = Bench::new();
        for kind in ["Secret", "ConfigMap"] {
            bench.tell(kind, Event::ListBegins);
            bench.tell(kind, Event::ListEnds(Version::new("1")));
        }
        bench.take();
        assert!(bench.hub.progress().synced);
        bench
    }

    fn obey(&mut self) {
        for order in self.hub.take_orders() {
            match order {
                Order::Start(id, _) => self.started.push(id),
                Order::Get(fetch) => self.gets.push(fetch),
                Order::Stop(_) | Order::List(_) | Order::DiscoverAgain => panic!("{order:?}"),
            }
        }
    }

    fn event(&mut self, id: SourceId, event: Event) {
        self.hub.event(id, event, self.now);
        self.obey();
    }

    fn source(&self, kind: &str) -> SourceId {
        let of_kind = |id: &&SourceId| self.hub.source(**id).is_some_and(|view| view.resource.kind == kind);
        *self.started.iter().find(of_kind).unwrap()
    }

    fn tell(&mut self, kind: &str, event: Event) {
        self.event(self.source(kind), event);
    }

    fn item(&self, kind: &str, version: u64, mut object: Value) -> Item {
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let view = self.hub.source(self.source(kind)).unwrap();
        let decoder =
            Decoder { resource: view.resource.clone(), version: view.version, wanted: self.hub.wanted() };
        decoder.read(&object.to_string()).unwrap()
    }

    fn apply(&mut self, kind: &str, version: u64, object: Value) {
        let item = self.item(kind, version, object);
        self.tell(kind, Event::Changed(vec![Change::Applied(item)]));
    }

    fn delete(&mut self, kind: &str, version: u64, namespace: &str, name: &str) {
        let name = Name { namespace: namespace.into(), name: name.into() };
        self.tell(kind, Event::Changed(vec![Change::Deleted(name, Version::new(&version.to_string()))]));
    }

    /// Answers the oldest fetch.
    fn answer(&mut self, found: Option<(u64, Value)>) {
        let fetch = self.gets.remove(0);
        let item = found.map(|(version, object)| self.item("Secret", version, object));
        self.hub.fetched(fetch, Ok(item), self.now);
        self.obey();
    }

    /// What is in force, with values.
    fn take(&mut self) -> Vec<String> {
        for (reference, object) in self.hub.take_changes().map(|changes| changes.objects).unwrap_or_default()
        {
            match object {
                Some(object) => {
                    let value = object.metadata().annotations.as_ref().and_then(|a| a.get("value").cloned());
                    self.in_force.insert(reference.to_string(), value.unwrap_or_default());
                }
                None => drop(self.in_force.remove(&reference.to_string())),
            }
        }
        self.in_force.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

#[tokio::test]
async fn secrets_are_listed_last_and_nothing_comes_before() {
    let mut bench = Bench::new();
    let kinds: Vec<_> = bench.started.iter().map(|id| bench.hub.source(*id).unwrap().resource.kind).collect();
    assert_eq!(kinds[kinds.len() - 2..], ["Secret", "ConfigMap"]);
    assert!(bench.take().is_empty());
    // The list may have begun already, and have passed over what nobody wanted.
    bench.apply("Gateway", 5, gateway("g", "1", "default/s"));
    bench.answer(Some((3, secret("default", "s", "1"))));
    bench.tell("Secret", Event::ListBegins);
    let items = vec![
        bench.item("Secret", 3, secret("default", "s", "1")),
        bench.item("Secret", 4, secret("a", "b", "1")),
    ];
    bench.tell("Secret", Event::Listed(items));
    // A reference that comes while Secrets are being listed may be to one that was passed over.
    bench.apply("Gateway", 6, gateway("g", "2", "default/s default/t"));
    assert_eq!(bench.gets.len(), 1);
    bench.tell("Secret", Event::ListEnds(Version::new("9")));
    bench.tell("ConfigMap", Event::ListBegins);
    bench.tell("ConfigMap", Event::ListEnds(Version::new("9")));
    assert!(bench.take().is_empty());
    assert_eq!(bench.hub.progress().waiting.to_vec(), ["what Gateway default/g refers to"]);
    // The list ended meanwhile, so the answer may be older than it.
    bench.answer(Some((3, secret("default", "t", "1"))));
    assert_eq!(bench.gets.len(), 1);
    bench.answer(Some((3, secret("default", "t", "1"))));
    assert_eq!(bench.take(), ["Gateway default/g=2", "Secret default/s=1", "Secret default/t=1"]);
}

#[tokio::test]
async fn a_watch_that_is_behind_a_fetch_does_not_turn_the_clock_back() {
    let mut bench = Bench::synced();
    bench.apply("Gateway", 5, gateway("g", "1", "default/s"));
    assert!(bench.take().is_empty());
    bench.answer(Some((20, secret("default", "s", "new"))));
    let now = ["Gateway default/g=1", "Secret default/s=new"];
    assert_eq!(bench.take(), now);
    bench.apply("Secret", 18, secret("default", "s", "old"));
    bench.delete("Secret", 19, "default", "s");
    bench.apply("Secret", 20, secret("default", "s", "new"));
    assert!(bench.hub.take_changes().is_none());
    bench.apply("Secret", 21, secret("default", "s", "newer"));
    assert_eq!(bench.take(), ["Gateway default/g=1", "Secret default/s=newer"]);
    bench.delete("Secret", 22, "default", "s");
    assert_eq!(bench.take(), ["Gateway default/g=1"]);
}

#[tokio::test]
async fn what_is_deleted_while_it_is_fetched_is_gone() {
    let mut bench = Bench::synced();
    bench.apply("Gateway", 5, gateway("g", "1", "default/s"));
    bench.delete("Secret", 21, "default", "s");
    bench.answer(Some((20, secret("default", "s", "1"))));
    assert_eq!(bench.take(), ["Gateway default/g=1"]);
}

#[tokio::test]
async fn a_list_meanwhile_asks_for_another_fetch() {
    let mut bench = Bench::synced();
    bench.apply("Gateway", 5, gateway("g", "1", "default/s"));
    bench.tell("Secret", Event::ListBegins);
    bench.tell("Secret", Event::ListEnds(Version::new("30")));
    bench.answer(Some((20, secret("default", "s", "1"))));
    assert!(bench.take().is_empty());
    bench.answer(None);
    assert_eq!(bench.take(), ["Gateway default/g=1"]);
}

#[tokio::test]
async fn a_list_keeps_what_a_fetch_brought_since() {
    let mut bench = Bench::synced();
    bench.tell("Secret", Event::ListBegins);
    bench.apply("Gateway", 5, gateway("g", "1", "default/s"));
    bench.answer(Some((40, secret("default", "s", "1"))));
    bench.tell("Secret", Event::ListEnds(Version::new("30")));
    assert_eq!(bench.take(), ["Gateway default/g=1", "Secret default/s=1"]);
    bench.tell("Secret", Event::ListBegins);
    bench.tell("Secret", Event::ListEnds(Version::new("50")));
    assert_eq!(bench.take(), ["Gateway default/g=1"]);
}

#[tokio::test]
async fn a_newer_version_does_not_wait_for_what_the_held_one_referred_to() {
    let mut bench = Bench::synced();
    bench.apply("Gateway", 5, gateway("g", "1", "default/s"));
    bench.apply("Gateway", 6, gateway("g", "2", ""));
    assert_eq!(bench.take(), ["Gateway default/g=2"]);
    bench.answer(Some((3, secret("default", "s", "1"))));
    assert_eq!(bench.take(), ["Gateway default/g=2"]);
    bench.apply("Gateway", 7, gateway("g", "3", "default/s"));
    bench.delete("Gateway", 8, "default", "g");
    bench.answer(Some((3, secret("default", "s", "1"))));
    assert!(bench.take().is_empty());
    assert!(bench.hub.deadline().is_none());
}

#[tokio::test]
async fn a_list_that_is_broken_off_takes_nothing_out_of_force() {
    let mut bench = Bench::synced();
    bench.apply("HTTPRoute", 5, route("default", "a", "1"));
    bench.tell("HTTPRoute", Event::ListBegins);
    bench.tell("HTTPRoute", Event::ListBegins);
    let item = bench.item("HTTPRoute", 5, route("default", "a", "1"));
    bench.tell("HTTPRoute", Event::Listed(vec![item]));
    bench.tell("HTTPRoute", Event::ListEnds(Version::new("9")));
    assert_eq!(bench.take(), ["HTTPRoute default/a=1"]);
}

#[tokio::test]
async fn a_restored_backup_is_believed() {
    let mut bench = Bench::synced();
    bench.apply("HTTPRoute", 500, route("default", "a", "late"));
    bench.tell("HTTPRoute", Event::ListBegins);
    let item = bench.item("HTTPRoute", 20, route("default", "a", "early"));
    bench.tell("HTTPRoute", Event::Listed(vec![item]));
    bench.tell("HTTPRoute", Event::ListEnds(Version::new("30")));
    assert_eq!(bench.take(), ["HTTPRoute default/a=early"]);
}

/// A witness that notes what it is told.
#[derive(Debug, Default)]
struct Notes(std::sync::Mutex<Vec<String>>);

impl Notes {
    fn add(&self, note: String) {
        self.0.lock().unwrap().push(note);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Witness for Notes {
    fn served(&self, kind: Kind, version: &'static str) {
        self.add(format!("{kind} in {version}"));
    }

    fn seen(&self, object: &ObjectRef, sight: &Sight) {
        let status = sight.status.as_ref().map(ToString::to_string).unwrap_or_default();
        self.add(format!("{object} {}@{} {status}", sight.generation, sight.resource_version));
    }

    fn gone(&self, object: &ObjectRef) {
        self.add(format!("-{object}"));
    }

    fn infrastructure(&self, document: &Value) {
        self.add(format!("{} {}", document["kind"].as_str().unwrap(), document["spec"]));
    }

    fn infrastructure_gone(&self, kind: &str, namespace: &str, name: &str) {
        self.add(format!("-{kind} {namespace}/{name}"));
    }
}

#[test]
fn a_witness_is_told_of_statuses_and_of_the_infrastructure_as_they_stand() {
    let notes = std::sync::Arc::new(Notes::default());
    let mut bench = Bench::with(Options { witness: Some(notes.clone()), ..options() });
    assert!(notes.take().contains(&"HTTPRoute in v1".to_owned()));
    let mut object = route("default", "web", "1");
    object["metadata"]["generation"] = json!(3);
    object["status"] = json!({ "parents": [], "unknownToUs": 1 });
    bench.apply("HTTPRoute", 7, object.clone());
    assert_eq!(notes.take(), [r#"HTTPRoute default/web 3@7 {"parents":[],"unknownToUs":1}"#]);
    bench.apply("HTTPRoute", 7, object);
    assert_eq!(notes.take(), [""; 0], "it knows this version");
    bench.delete("HTTPRoute", 8, "default", "web");
    assert_eq!(notes.take(), ["-HTTPRoute default/web"]);

    bench.apply("Service", 9, service("system", "others", "1"));
    let mut proxy = service("system", "envoy", "1");
    let labels: BTreeMap<&str, &str> = ir::infra::labels::APP.into();
    proxy["metadata"]["labels"] = json!(labels);
    proxy["spec"] = json!({ "type": "NodePort" });
    bench.apply("Service", 10, proxy);
    assert_eq!(notes.take(), [r#"Service {"type":"NodePort"}"#]);
    bench.delete("Service", 11, "system", "envoy");
    assert_eq!(notes.take(), ["-Service system/envoy"]);
}
