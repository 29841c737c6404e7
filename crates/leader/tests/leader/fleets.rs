//! Infrastructure: applied once, mended, cleared away, and never somebody else's.

use std::{collections::BTreeMap, sync::Arc};

use ir::infra::DeployMode;
use leader::{Fleet, Place, Settings};
use serde_json::{Value, json};

use leader::testing::{Fake, Fault};

use crate::{CONTROLLER, NAMESPACE, Running, pass, settings};

fn labels(gateway: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "envoy"),
        ("app.kubernetes.io/component", "proxy"),
        ("app.kubernetes.io/managed-by", "envoy-gateway"),
        ("gateway.envoyproxy.io/owning-gateway-namespace", "shop"),
        ("gateway.envoyproxy.io/owning-gateway-name", gateway),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn document(version: &str, kind: &str, name: &str, gateway: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": version, "kind": kind,
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels(gateway) },
        "spec": spec,
    })
}

fn workload(kind: &str, name: &str, gateway: &str, image: &str) -> Value {
    let spec = json!({
        "selector": { "matchLabels": { "app": "envoy", "gateway": gateway } },
        "template": { "metadata": { "labels": { "app": "envoy", "gateway": gateway } }, "image": image },
    });
    document("apps/v1", kind, name, gateway, &spec)
}

fn objects(gateway: &str, image: &str) -> Vec<Value> {
    let name = format!("envoy-{gateway}");
    vec![
        document("v1", "ServiceAccount", &name, gateway, &json!({})),
        document("v1", "ConfigMap", &name, gateway, &json!({})),
        workload("Deployment", &name, gateway, image),
        document("v1", "Service", &name, gateway, &json!({ "ports": [80] })),
    ]
}

fn fleet(gateway: &str, objects: Option<Vec<Value>>) -> Fleet {
    Fleet {
        name: format!("shop/{gateway}").into(),
        namespace: NAMESPACE.to_owned(),
        selector: labels(gateway),
        objects,
        place: Place::Infrastructure,
    }
}

fn path(plural: &str, name: &str) -> String {
    let root = match plural {
        "deployments" | "daemonsets" => "/apis/apps/v1",
        "horizontalpodautoscalers" => "/apis/autoscaling/v2",
        "poddisruptionbudgets" => "/apis/policy/v1",
        _ => "/api/v1",
    };
    format!("{root}/namespaces/{NAMESPACE}/{plural}/{name}")
}

fn applied(running: &Running, gateway: &str) -> bool {
    running.leader.fleets().states().get(&*format!("shop/{gateway}")).is_some_and(|state| state.applied)
}

fn errors(running: &Running, gateway: &str) -> Vec<String> {
    let states = running.leader.fleets().states();
    states.get(&*format!("shop/{gateway}")).map(|state| state.errors.clone()).unwrap_or_default()
}

fn started(fake: &Fake) -> Running {
    Running::synced(fake.client(), settings("us"))
}

const WRITES: [&str; 4] = ["PUT", "POST", "PATCH", "DELETE"];

#[tokio::test(start_paused = true)]
async fn objects_are_applied_in_order_and_once() {
    let fake = Fake::new();
    let running = started(&fake);
    let mut changes = running.leader.fleets().changes();
    running.leader.fleets().set(fleet("edge", Some(objects("edge", "v1"))));
    fake.until("applied", |_| applied(&running, "edge")).await;
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    let writes: Vec<String> =
        fake.calls(&WRITES, "").iter().map(|c| format!("{} {}", c.method, c.path)).collect();
    let expected = ["serviceaccounts", "configmaps", "deployments", "services"]
        .map(|plural| format!("PATCH {}", path(plural, "envoy-edge")));
    assert_eq!(writes, expected);
    pass(5.0).await;
    fake.forget_calls();
    running.leader.fleets().set(fleet("edge", Some(objects("edge", "v1"))));
    pass(5.0).await;
    assert_eq!(fake.calls(&[], "").len(), 0, "what stands is not applied again");
    running.leader.fleets().set(fleet("edge", Some(objects("edge", "v2"))));
    fake.until("changed", |fake| {
        fake.get(&path("deployments", "envoy-edge")).unwrap()["spec"]["template"]["image"] == "v2"
    })
    .await;
    pass(5.0).await;
    assert_eq!(fake.calls(&[], "").len(), 1, "the object that changed alone");
    assert!(!changes.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_changes_or_deletes_is_mended_and_what_controllers_note_is_not() {
    let fake = Fake::new();
    let running = started(&fake);
    let fleets = running.leader.fleets();
    fleets.set(fleet("edge", Some(objects("edge", "v1"))));
    fake.until("applied", |_| applied(&running, "edge")).await;
    pass(5.0).await;
    fake.forget_calls();
    let deployment = path("deployments", "envoy-edge");
    let noted = fake.edit(&deployment, |object| {
        object["status"] = json!({ "replicas": 1 });
        object["metadata"]["annotations"] = json!({ "deployment.kubernetes.io/revision": "1" });
        object["metadata"]["managedFields"] = json!([{}]);
    });
    fleets.observe(&noted);
    pass(5.0).await;
    assert_eq!(fake.calls(&[], "").len(), 0);
    let edited = fake.edit(&deployment, |object| object["spec"]["template"]["image"] = "bad".into());
    fleets.observe(&edited);
    fake.until("mended", |fake| fake.get(&deployment).unwrap()["spec"]["template"]["image"] == "v1").await;
    assert_eq!(fake.calls(&[], "").len(), 1);
    let service = path("services", "envoy-edge");
    fake.remove(&service);
    fleets.gone("Service", NAMESPACE, "envoy-edge");
    fake.until("created again", |fake| fake.get(&service).is_some()).await;
    // Somebody who does not give up makes us come ever later.
    pass(60.0).await;
    fake.forget_calls();
    for _ in 0..600 {
        let edited = fake.edit(&deployment, |object| object["spec"]["template"]["image"] = "bad".into());
        fleets.observe(&edited);
        pass(1.0).await;
    }
    let repairs = fake.calls(&["PATCH"], "").len();
    assert!((5..30).contains(&repairs), "{repairs}");
}

#[tokio::test(start_paused = true)]
async fn other_objects_of_the_fleet_go_once_the_new_ones_stand() {
    let fake = Fake::new();
    let running = started(&fake);
    let fleets = running.leader.fleets();
    let mut wished = objects("edge", "v1");
    wished.push(document("autoscaling/v2", "HorizontalPodAutoscaler", "envoy-edge", "edge", &json!({})));
    wished.push(document("policy/v1", "PodDisruptionBudget", "envoy-edge", "edge", &json!({})));
    fleets.set(fleet("edge", Some(wished)));
    fleets.set(fleet("other", Some(objects("other", "v1"))));
    fake.until("applied", |_| applied(&running, "edge") && applied(&running, "other")).await;
    // A switch to a DaemonSet under another name, which fails at first: the Deployment goes on serving.
    fake.order("PATCH", "/daemonsets/", 3, Fault::Answer(500));
    let mut switched = objects("edge", "v1");
    switched[2] = workload("DaemonSet", "mine", "edge", "v1");
    fleets.set(fleet("edge", Some(switched)));
    fake.until("it failed", |_| !errors(&running, "edge").is_empty()).await;
    assert!(errors(&running, "edge")[0].contains("DaemonSet system/mine"), "{:?}", errors(&running, "edge"));
    assert!(!applied(&running, "edge"));
    assert!(fake.get(&path("deployments", "envoy-edge")).is_some());
    fake.until("the switch is made", |_| applied(&running, "edge")).await;
    assert!(fake.get(&path("daemonsets", "mine")).is_some());
    for plural in ["deployments", "horizontalpodautoscalers", "poddisruptionbudgets"] {
        assert!(fake.get(&path(plural, "envoy-edge")).is_none(), "{plural}");
    }
    assert!(fake.get(&path("deployments", "envoy-other")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_removed_goes_with_everything_it_has() {
    let fake = Fake::new();
    fake.put(&path("services", "users-own"), json!({ "metadata": {}, "spec": {} }));
    let running = started(&fake);
    let fleets = running.leader.fleets();
    for gateway in ["edge", "other"] {
        fleets.set(fleet(gateway, Some(objects(gateway, "v1"))));
    }
    fake.until("applied", |_| applied(&running, "edge") && applied(&running, "other")).await;
    fake.order("DELETE", "/services/", 1, Fault::Answer(500));
    fleets.remove("shop/edge");
    fake.until("gone", |_| !running.leader.fleets().states().contains_key("shop/edge")).await;
    let left: Vec<String> = fake.paths().into_iter().filter(|path| !path.ends_with("envoy-other")).collect();
    assert_eq!(left, [path("services", "users-own")]);
    fleets.set(fleet("edge", Some(objects("edge", "v1"))));
    fake.until("it is back", |_| applied(&running, "edge")).await;
    assert!(fake.get(&path("services", "envoy-edge")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_fleet_on_hold_stays_as_it_is() {
    let fake = Fake::new();
    let running = started(&fake);
    let fleets = running.leader.fleets();
    fleets.set(fleet("edge", Some(objects("edge", "v1"))));
    fake.until("applied", |_| applied(&running, "edge")).await;
    pass(1.0).await;
    let before = fake.contents();
    running.kill();
    let running = started(&fake);
    running.leader.fleets().set(fleet("edge", None));
    pass(30.0).await;
    assert_eq!(fake.contents(), before);
    running.leader.fleets().remove("shop/edge");
    fake.until("gone", |fake| fake.paths().is_empty()).await;
}

fn own(fake: &Fake, gateway: &str, class: &str) {
    fake.put(
        &format!("/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/{gateway}"),
        json!({ "metadata": {}, "spec": { "gatewayClassName": class } }),
    );
}

fn class(fake: &Fake, name: &str, controller: &str) {
    fake.put(
        &format!("/apis/gateway.networking.k8s.io/v1/gatewayclasses/{name}"),
        json!({ "metadata": {}, "spec": { "controllerName": controller } }),
    );
}

/// A fleet of merged Gateways.
fn fleet_of_class(class: &str, objects: Option<Vec<Value>>) -> Fleet {
    let owner = ("gateway.envoyproxy.io/owning-gatewayclass".to_owned(), class.to_owned());
    let mut selector = labels(class);
    selector.retain(|name, _| !name.contains("owning-gateway"));
    selector.extend([owner]);
    let objects = objects.map(|mut objects| {
        for object in &mut objects {
            object["metadata"]["labels"] = json!(selector);
        }
        objects
    });
    Fleet { name: class.into(), selector, objects, ..fleet(class, None) }
}

#[tokio::test(start_paused = true)]
async fn the_fleet_of_a_class_takes_the_place_of_its_gateways_fleets_and_goes_with_merging() {
    let fake = Fake::new();
    class(&fake, "merging", CONTROLLER);
    class(&fake, "parted", CONTROLLER);
    own(&fake, "one", "merging");
    own(&fake, "two", "parted");
    let running = started(&fake);
    let fleets = running.leader.fleets();
    fleets.set(fleet("one", Some(objects("one", "v1"))));
    fleets.set(fleet("two", Some(objects("two", "v1"))));
    fleets.set(fleet_of_class("parted", Some(objects("parted", "v1"))));
    let there = |name: &str| fake.get(&path("deployments", &format!("envoy-{name}"))).is_some();
    fake.until("applied", |_| ["one", "two", "parted"].into_iter().all(there)).await;
    running.kill();
    // While nobody led, one class began to merge its Gateways and the other ceased to.
    let running = Running::new(fake.client(), settings("next"));
    running.leader.fleets().set(fleet_of_class("merging", Some(objects("merging", "v1"))));
    running.leader.fleets().set(fleet("two", Some(objects("two", "v1"))));
    running.leader.synced();
    pass(20.0).await;
    let names = ["merging", "one", "parted", "two"];
    assert_eq!(names.map(there), [true, false, false, true]);
}

async fn left_over(mode: DeployMode) -> Vec<&'static str> {
    let fake = Fake::new();
    class(&fake, "ours", CONTROLLER);
    class(&fake, "theirs", "example.com/theirs");
    own(&fake, "misread", "ours");
    own(&fake, "moved", "theirs");
    own(&fake, "classless", "none");
    let running = started(&fake);
    let all = ["gone", "misread", "moved", "classless", "held", "wished"];
    for gateway in all {
        running.leader.fleets().set(fleet(gateway, Some(objects(gateway, "v1"))));
    }
    fake.until("applied", |_| all.iter().all(|gateway| applied(&running, gateway))).await;
    running.kill();
    let running = Running::new(fake.client(), Settings { mode, ..settings("next") });
    running.leader.fleets().set(fleet("held", None));
    running.leader.fleets().set(fleet("wished", Some(objects("wished", "v1"))));
    running.leader.synced();
    pass(20.0).await;
    all.into_iter()
        .filter(|gateway| fake.get(&path("deployments", &format!("envoy-{gateway}"))).is_some())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn fleets_that_went_while_nobody_led_are_found() {
    assert_eq!(left_over(DeployMode::ControllerNamespace).await, ["misread", "held", "wished"]);
    // Beside Gateways, the proxies of another controller of the same make are not ours to delete.
    assert_eq!(left_over(DeployMode::GatewayNamespace).await, ["misread", "moved", "held", "wished"]);
}

#[tokio::test(start_paused = true)]
async fn a_workload_keeps_the_selector_that_it_was_created_with() {
    let fake = Fake::new();
    let deployment = path("deployments", "envoy-edge");
    let old = json!({ "matchLabels": { "app": "envoy" } });
    let mut adopted = workload("Deployment", "envoy-edge", "edge", "old");
    adopted["spec"]["selector"] = old.clone();
    fake.put(&deployment, adopted);
    let running = started(&fake);
    running.leader.fleets().set(fleet("edge", Some(objects("edge", "v1"))));
    fake.until("applied", |fake| {
        applied(&running, "edge") && fake.get(&deployment).unwrap()["spec"]["template"]["image"] == "v1"
    })
    .await;
    let live = fake.get(&deployment).unwrap();
    assert_eq!(live["spec"]["selector"]["matchLabels"]["app"], "envoy");
    assert!(fake.calls(&["PATCH"], "/deployments/").iter().all(|c| c.body["spec"]["selector"] == old));
    // A later change needs no look, and keeps it too.
    fake.forget_calls();
    running.leader.fleets().set(fleet("edge", Some(objects("edge", "v2"))));
    fake.until("changed", |fake| fake.get(&deployment).unwrap()["spec"]["template"]["image"] == "v2").await;
    assert_eq!(fake.calls(&["GET"], "").len(), 0);
    // One that does not fit cannot be kept.
    fake.edit(&deployment, |object| {
        object["spec"]["selector"] = json!({ "matchLabels": { "app": "nginx" } });
    });
    running.kill();
    let running = started(&fake);
    running.leader.fleets().set(fleet("edge", Some(objects("edge", "v3"))));
    fake.until("it is said", |_| !errors(&running, "edge").is_empty()).await;
    assert!(errors(&running, "edge")[0].contains("Deployment system/envoy-edge"));
    assert_eq!(fake.get(&deployment).unwrap()["spec"]["template"]["image"], "v2");
}

#[tokio::test(start_paused = true)]
async fn beside_gateways_an_object_of_somebody_else_is_never_taken() {
    let fake = Fake::new();
    let service = path("services", "envoy-edge");
    let users = json!({ "metadata": { "labels": { "app": "shop" } }, "spec": { "ports": [8080] } });
    fake.put(&service, users);
    let mode = DeployMode::GatewayNamespace;
    let running = Running::synced(fake.client(), Settings { mode, ..settings("us") });
    running.leader.fleets().set(fleet("edge", Some(objects("edge", "v1"))));
    fake.until("it is said", |_| !errors(&running, "edge").is_empty()).await;
    let said = errors(&running, "edge");
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("Service system/envoy-edge: ") && said[0].contains("not of this Gateway"),
        "{said:?}"
    );
    assert_eq!(fake.get(&service).unwrap()["spec"]["ports"], json!([8080]));
    assert!(fake.get(&path("deployments", "envoy-edge")).is_some(), "the others are applied");
    fake.remove(&service);
    fake.until("mended by itself", |_| applied(&running, "edge")).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_killed_between_any_two_writes_leaves_what_the_next_one_finishes() {
    // From one state to another in which every kind of step is made.
    let before = |running: &Running| {
        let mut edge = objects("edge", "v1");
        edge.push(document("autoscaling/v2", "HorizontalPodAutoscaler", "envoy-edge", "edge", &json!({})));
        running.leader.fleets().set(fleet("edge", Some(edge)));
        running.leader.fleets().set(fleet("gone", Some(objects("gone", "v1"))));
    };
    let after = |running: &Running| {
        let mut edge = objects("edge", "v2");
        edge[2] = workload("DaemonSet", "renamed", "edge", "v2");
        running.leader.fleets().set(fleet("edge", Some(edge)));
    };
    let mut expected = None;
    for writes in 0..20 {
        let fake = Fake::new();
        let running = started(&fake);
        before(&running);
        fake.until("applied", |_| applied(&running, "edge") && applied(&running, "gone")).await;
        pass(1.0).await;
        fake.forget_calls();
        after(&running);
        running.leader.fleets().remove("shop/gone");
        // One write after the other, slowly, so that the process dies in between.
        let done = |fake: &Fake| fake.calls(&WRITES, "").len() >= writes || applied_and_gone(&running);
        fake.until("so many writes", done).await;
        running.kill();
        let running = Running::new(fake.client(), settings("next"));
        after(&running);
        running.leader.synced();
        fake.until("finished", |fake| applied(&running, "edge") && !has(fake, "gone")).await;
        pass(1.0).await;
        let contents = fake.contents();
        assert_eq!(*expected.get_or_insert_with(|| contents.clone()), contents, "after {writes} writes");
    }
}

fn has(fake: &Fake, gateway: &str) -> bool {
    let name: Arc<str> = format!("envoy-{gateway}").into();
    fake.paths().iter().any(|path| path.ends_with(&*name))
}

fn applied_and_gone(running: &Running) -> bool {
    let states = running.leader.fleets().states();
    states.get("shop/edge").is_some_and(|state| state.applied) && !states.contains_key("shop/gone")
}

/// A Service in the namespace of a Gateway.
fn alias(target: &str) -> Fleet {
    let selector = labels("edge");
    let document = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "edge-class", "namespace": "shop", "labels": selector },
        "spec": { "type": "ExternalName", "externalName": target },
    });
    Fleet {
        name: "shop/edge/alias".into(),
        namespace: "shop".to_owned(),
        selector,
        objects: Some(vec![document]),
        place: Place::User,
    }
}

const ALIAS: &str = "/api/v1/namespaces/shop/services/edge-class";

#[tokio::test(start_paused = true)]
async fn a_gateway_is_made_known_in_its_namespace_and_forgotten_there() {
    let fake = Fake::new();
    let running = started(&fake);
    let fleets = running.leader.fleets();
    fleets.set(alias("one"));
    fake.until("made", |fake| fake.get(ALIAS).is_some()).await;
    fleets.set(alias("two"));
    fake.until("changed", |fake| fake.get(ALIAS).unwrap()["spec"]["externalName"] == "two").await;
    assert!(
        fake.calls(&[], "/namespaces/shop/deployments").is_empty(),
        "roles allow no look at other kinds there"
    );
    fleets.remove("shop/edge/alias");
    fake.until("gone", |fake| fake.get(ALIAS).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_of_a_user_is_not_taken_to_make_a_gateway_known() {
    let fake = Fake::new();
    fake.put(
        ALIAS,
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": { "ports": [1] } }),
    );
    let before = fake.contents();
    let running = started(&fake);
    running.leader.fleets().set(alias("one"));
    pass(120.0).await;
    running.leader.fleets().remove("shop/edge/alias");
    pass(120.0).await;
    assert_eq!(fake.contents(), before);
}

#[tokio::test(start_paused = true)]
async fn what_says_the_same_in_another_form_is_kept_in_every_round() {
    let fake = Fake::new();
    let there = path("deployments", "envoy-edge");
    fake.put(&there, workload("Deployment", "envoy-edge", "edge", "V1"));
    let keep: leader::Keep = |live, wished| {
        let (live, wished) = (&live["spec"]["template"]["image"], &mut wished["spec"]["template"]["image"]);
        let same = live != wished && live.as_str().unwrap().to_lowercase() == wished.as_str().unwrap();
        if same {
            *wished = live.clone();
        }
        same
    };
    let running = Running::synced(fake.client(), Settings { keep, ..settings("us") });
    let image = |fake: &Fake| fake.get(&there).unwrap()["spec"]["template"]["image"].clone();
    let fleets = running.leader.fleets();
    fleets.set(fleet("edge", Some(objects("edge", "v1"))));
    fake.until("applied", |_| applied(&running, "edge")).await;
    assert_eq!(image(&fake), "V1");
    let mut other = objects("edge", "v1");
    other[2]["spec"]["replicas"] = 3.into();
    fleets.set(fleet("edge", Some(other)));
    fake.until("changed elsewhere", |fake| fake.get(&there).unwrap()["spec"]["replicas"] == 3).await;
    assert_eq!(image(&fake), "V1");
    fleets.set(fleet("edge", Some(objects("edge", "v2"))));
    fake.until("changed", |fake| image(fake) == "v2").await;
}
