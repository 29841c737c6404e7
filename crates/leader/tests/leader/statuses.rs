//! Statuses: compared first, one at a time, the latest, and ours alone.

use std::{borrow::Cow, time::Duration};

use ir::{
    Condition, ConditionStatus, Kind, ObjectRef,
    status::{ParentReference, ParentStatus, Status, StatusBody},
};
use leader::Live;
use leader::testing::{Fake, Fault};
use serde_json::{Value, json};

use crate::{CONTROLLER, Running, pass, settings};

const ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/web";

fn path(name: &str) -> String {
    format!("/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/{name}")
}

fn route(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::HttpRoute, "shop", name)
}

fn condition(generation: i64, message: &str) -> Condition {
    Condition {
        kind: "Accepted",
        status: ConditionStatus::True,
        reason: Cow::Borrowed("Accepted"),
        message: message.to_owned(),
        observed_generation: generation,
    }
}

fn status(name: &str, generation: i64, message: &str) -> Status {
    let parent = ParentReference {
        group: "gateway.networking.k8s.io".into(),
        kind: "Gateway".into(),
        namespace: None,
        name: "edge".into(),
        section_name: None,
        port: None,
    };
    let parents = vec![ParentStatus { parent, conditions: vec![condition(generation, message)] }];
    Status { object: route(name), body: StatusBody::Route { parents }, problems: Vec::new() }
}

fn object() -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {}, "spec": {} })
}

fn entry(controller: &str) -> Value {
    json!({ "parentRef": { "name": "x" }, "controllerName": controller, "conditions": [] })
}

fn observe(running: &Running, fake: &Fake, name: &str) {
    let live = fake.get(&path(name)).unwrap();
    let live = Live {
        generation: live["metadata"]["generation"].as_i64().unwrap(),
        resource_version: live["metadata"]["resourceVersion"].as_str().unwrap(),
        status: live.get("status"),
        exact: true,
    };
    running.leader.statuses().observe(&route(name), live);
}

fn message(fake: &Fake, name: &str) -> Option<String> {
    let object = fake.get(&path(name))?;
    let parents = object["status"]["parents"].as_array()?;
    let ours = parents.iter().find(|parent| parent["controllerName"] == CONTROLLER)?;
    Some(ours["conditions"][0]["message"].as_str()?.to_owned())
}

fn started(fake: &Fake) -> Running {
    Running::synced(fake.client(), settings("us"))
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_known_costs_one_write_and_one_that_is_right_costs_nothing() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    let running = started(&fake);
    observe(&running, &fake, "web");
    running.leader.statuses().set(&status("web", 1, "hello"));
    fake.until("written", |fake| message(fake, "web").as_deref() == Some("hello")).await;
    let calls = fake.calls(&[], "");
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].method.as_str(), calls[0].path.as_str()), ("PUT", &*format!("{ROUTE}/status")));
    assert!(calls[0].query.contains("timeout=10s"));
    assert!(calls[0].body.get("spec").is_none());
    // The echo of our own write, and the same wish again.
    observe(&running, &fake, "web");
    running.leader.statuses().set(&status("web", 1, "hello"));
    pass(5.0).await;
    assert_eq!(fake.calls(&[], "").len(), 1);
    running.stop().await;
    // A new process that is told what is there writes nothing.
    let running = started(&fake);
    observe(&running, &fake, "web");
    running.leader.statuses().set(&status("web", 1, "hello"));
    pass(5.0).await;
    assert_eq!(fake.calls(&[], "").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_in_the_version_in_which_its_kind_is_served() {
    let fake = Fake::new();
    let path =
        |version: &str| format!("/apis/gateway.networking.k8s.io/{version}/namespaces/shop/tlsroutes/web");
    let old = ["v1alpha2", "v1alpha3"].map(path);
    fake.put(&old[0], json!({ "kind": "TLSRoute", "metadata": {}, "spec": {} }));
    let running = started(&fake);
    let written = |fake: &Fake, path: &str| {
        fake.get(path).is_some_and(|route| route["status"]["parents"][0]["controllerName"] == CONTROLLER)
    };
    let object = ObjectRef::new(Kind::TlsRoute, "shop", "web");
    running.leader.statuses().set(&Status { object: object.clone(), ..status("web", 1, "hello") });
    pass(5.0).await;
    assert!(!written(&fake, &old[0]), "nobody has said that the kind is there in an old version");
    running.leader.statuses().served(Kind::TlsRoute, "v1alpha2");
    fake.until("written", |fake| written(fake, &old[0])).await;
    let calls = fake.calls(&["PUT"], "tlsroutes");
    assert_eq!(calls[0].body["apiVersion"], "gateway.networking.k8s.io/v1alpha2");
    // The CRD is upgraded; objects and their statuses stay.
    let live = fake.get(&old[0]).unwrap();
    fake.remove(&old[0]);
    fake.put(&old[1], live);
    running.leader.statuses().served(Kind::TlsRoute, "v1alpha3");
    running.leader.statuses().set(&Status { object, ..status("web", 1, "hello again") });
    fake.until("written in the new version", |fake| {
        let live = fake.get(&old[1]).unwrap();
        live["status"]["parents"][0]["conditions"][0]["message"] == "hello again"
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_not_known_is_read_first() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    let running = started(&fake);
    running.leader.statuses().set(&status("web", 1, "hello"));
    fake.until("written", |fake| message(fake, "web").is_some()).await;
    assert_eq!(fake.calls(&["GET"], ROUTE).len(), 1);
    assert_eq!(fake.calls(&["PUT"], ROUTE).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_others_write_meanwhile_is_never_lost() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    let running = started(&fake);
    observe(&running, &fake, "web");
    let others = json!({ "parents": [entry("example.com/others")], "odd": [1.5, null] });
    fake.edit(ROUTE, |object| object["status"] = others.clone());
    running.leader.statuses().set(&status("web", 1, "hello"));
    fake.until("written", |fake| message(fake, "web").is_some()).await;
    let statuses: Vec<_> = fake.calls(&[], ROUTE).iter().map(|c| (c.method.clone(), c.status)).collect();
    let expected = [("PUT", 409), ("GET", 200), ("PUT", 200)].map(|(m, s)| (m.to_owned(), s));
    assert_eq!(statuses, expected);
    let live = fake.get(ROUTE).unwrap();
    assert_eq!(live["status"]["parents"][0].to_string(), others["parents"][0].to_string());
    assert_eq!(live["status"]["odd"], others["odd"]);
    assert_eq!(live["status"]["parents"][1]["controllerName"], CONTROLLER);
}

#[tokio::test(start_paused = true)]
async fn two_controllers_that_both_write_come_to_rest() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    let one = started(&fake);
    let mut other = settings("other");
    other.controller = "example.com/others".into();
    let other = Running::synced(fake.client(), other);
    one.leader.statuses().set(&status("web", 1, "one"));
    other.leader.statuses().set(&status("web", 1, "other"));
    fake.until("both are there", |fake| {
        fake.get(ROUTE).unwrap()["status"]["parents"].as_array().is_some_and(|parents| parents.len() == 2)
    })
    .await;
    for _ in 0..5 {
        observe(&one, &fake, "web");
        observe(&other, &fake, "web");
        pass(2.0).await;
    }
    let writes = fake.calls(&["PUT"], ROUTE);
    assert_eq!(writes.iter().filter(|call| call.status == 200).count(), 2, "{writes:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_wishes_becomes_few_writes_and_the_last_one_stands() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    let running = started(&fake);
    observe(&running, &fake, "web");
    for number in 0..1000 {
        running.leader.statuses().set(&status("web", 1, &number.to_string()));
        pass(0.001).await;
    }
    fake.until("the last stands", |fake| message(fake, "web").as_deref() == Some("999")).await;
    let writes = fake.calls(&["PUT"], ROUTE);
    assert!(writes.len() <= 7, "1 s with a gap of 200 ms: {}", writes.len());
    assert!(writes.windows(2).all(|pair| pair[1].at - pair[0].at >= Duration::from_millis(199)));
}

#[tokio::test(start_paused = true)]
async fn many_objects_take_one_write_each_and_keep_the_rate() {
    let fake = Fake::new();
    let mut limited = settings("us");
    limited.rate = leader::Rate { qps: 50, burst: 100 };
    let running = Running::synced(fake.client(), limited);
    let begun = tokio::time::Instant::now();
    for number in 0..400 {
        let name = format!("r{number}");
        fake.put(&path(&name), object());
        observe(&running, &fake, &name);
        running.leader.statuses().set(&status(&name, 1, "hello"));
    }
    fake.until("all are written", |fake| fake.calls(&["PUT"], "").len() >= 400).await;
    let took = begun.elapsed().as_secs_f64();
    assert!((5.5..7.5).contains(&took), "300 beyond the burst at 50/s: {took}");
    pass(2.0).await;
    assert_eq!(fake.calls(&[], "").len(), 400);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_for_an_older_generation() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    fake.edit(ROUTE, |object| object["spec"] = json!({ "new": 1 }));
    let running = started(&fake);
    observe(&running, &fake, "web");
    running.leader.statuses().set(&status("web", 1, "old"));
    pass(5.0).await;
    assert_eq!(fake.calls(&[], "").len(), 0);
    // Nor when the newer one is only found by reading.
    fake.edit(ROUTE, |object| object["spec"] = json!({ "new": 2 }));
    running.leader.statuses().set(&status("web", 2, "old too"));
    fake.until("it is known", |fake| {
        fake.calls(&[], ROUTE).iter().any(|c| c.status == 409 || c.method == "GET")
    })
    .await;
    pass(5.0).await;
    assert_eq!(message(&fake, "web"), None);
    running.leader.statuses().set(&status("web", 3, "new"));
    fake.until("written", |fake| message(fake, "web").as_deref() == Some("new")).await;
}

#[tokio::test(start_paused = true)]
async fn a_wish_for_a_newer_generation_than_the_watch_has_brought_reads_first() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    let running = started(&fake);
    observe(&running, &fake, "web");
    fake.edit(ROUTE, |object| object["spec"] = json!({ "new": 1 }));
    running.leader.statuses().set(&status("web", 2, "new"));
    fake.until("written", |fake| message(fake, "web").is_some()).await;
    assert_eq!(fake.calls(&["PUT"], ROUTE).len(), 1, "no write that must fail");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_wants_rest_gets_it() {
    let fake = Fake::new();
    for name in ["web", "api"] {
        fake.put(&path(name), object());
    }
    fake.order("PUT", "/status", 1, Fault::Busy(7));
    let running = started(&fake);
    observe(&running, &fake, "web");
    running.leader.statuses().set(&status("web", 1, "hello"));
    fake.until("refused", |fake| fake.calls(&["PUT"], "").len() == 1).await;
    let refused = fake.calls(&["PUT"], "")[0].at;
    running.leader.statuses().set(&status("api", 1, "hello"));
    fake.until("both written", |fake| message(fake, "web").is_some() && message(fake, "api").is_some()).await;
    let later = fake.calls(&[], "");
    assert!(later[1..].iter().all(|call| call.at - refused >= Duration::from_secs(7)), "{later:#?}");
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_ever_later_until_they_pass() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    fake.order("PUT", "/status", 6, Fault::Answer(500));
    let running = started(&fake);
    observe(&running, &fake, "web");
    running.leader.statuses().set(&status("web", 1, "hello"));
    fake.until("written", |fake| message(fake, "web").is_some()).await;
    let tries = fake.calls(&["PUT"], "");
    assert_eq!(tries.len(), 7);
    assert!(tries[6].at - tries[5].at >= Duration::from_secs(3), "half of 6.4 s at least");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_said_in_fewer_words() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    fake.order("PUT", "/status", usize::MAX, Fault::Limit(4000));
    let running = started(&fake);
    observe(&running, &fake, "web");
    running.leader.statuses().set(&status("web", 1, &"long ".repeat(2000)));
    fake.until("written", |fake| message(fake, "web").is_some()).await;
    assert_eq!(message(&fake, "web").unwrap().chars().count(), 512);
    let calls = fake.calls(&["PUT"], "").len();
    observe(&running, &fake, "web");
    pass(120.0).await;
    assert_eq!(fake.calls(&["PUT"], "").len(), calls, "it is left at that");
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_drops_is_not_written_again_and_again() {
    let fake = Fake::new();
    let gateway = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/edge";
    fake.put(gateway, json!({ "metadata": {}, "spec": {} }));
    fake.prune("listeners");
    let running = started(&fake);
    let body = StatusBody::Gateway {
        fleet: "shop/edge".into(),
        addresses: vec!["192.0.2.1".into()],
        conditions: vec![condition(1, "hello")],
        listeners: vec![ir::status::ListenerStatus {
            name: "web".into(),
            supported_kinds: vec!["HTTPRoute"],
            attached_routes: 1,
            conditions: vec![condition(1, "hello")],
        }],
        attached_listener_sets: 0,
    };
    let object = ObjectRef::new(Kind::Gateway, "shop", "edge");
    running.leader.statuses().set(&Status { object, body, problems: Vec::new() });
    pass(60.0).await;
    assert_eq!(fake.calls(&["PUT"], gateway).len(), 1);
    assert_eq!(fake.get(gateway).unwrap()["status"]["addresses"][0]["value"], "192.0.2.1");
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_comes_during_a_write_is_written_even_if_the_api_server_drops_a_part() {
    let fake = Fake::new();
    let backend = "/apis/gateway.envoyproxy.io/v1alpha1/namespaces/shop/backends/cart";
    fake.put(backend, json!({ "metadata": {}, "spec": {} }));
    fake.prune("conditions");
    fake.order("PUT", "/status", 1, Fault::Slow(Duration::from_secs(1)));
    let running = started(&fake);
    let wish = |message: &str| Status {
        object: ObjectRef::new(Kind::Backend, "shop", "cart"),
        body: StatusBody::Conditions(vec![condition(1, message)]),
        problems: Vec::new(),
    };
    let said = |fake: &Fake, message: &str| {
        let writes = fake.calls(&["PUT"], backend);
        writes.iter().any(|call| call.body["status"]["conditions"][0]["message"] == message)
    };
    running.leader.statuses().set(&wish("first"));
    fake.until("on its way", |fake| said(fake, "first")).await;
    running.leader.statuses().set(&wish("second"));
    fake.until("written too", |fake| said(fake, "second")).await;
    pass(60.0).await;
    assert_eq!(fake.calls(&["PUT"], backend).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_somebody_else_changes_is_mended() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    let running = started(&fake);
    running.leader.statuses().set(&status("web", 1, "hello"));
    fake.until("written", |fake| message(fake, "web").is_some()).await;
    fake.edit(ROUTE, |object| object["status"]["parents"] = json!([]));
    observe(&running, &fake, "web");
    fake.until("mended", |fake| message(fake, "web").as_deref() == Some("hello")).await;
    // Deleted and created again as it was: no wish comes, because nothing follows from it that is new.
    running.leader.statuses().gone(&route("web"));
    fake.remove(ROUTE);
    fake.put(ROUTE, object());
    observe(&running, &fake, "web");
    fake.until("written again", |fake| message(fake, "web").as_deref() == Some("hello")).await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_is_left_alone() {
    let fake = Fake::new();
    let running = started(&fake);
    running.leader.statuses().set(&status("web", 1, "hello"));
    pass(120.0).await;
    assert_eq!(fake.calls(&[], "").len(), 1, "one look");
}

#[tokio::test(start_paused = true)]
async fn our_entries_go_with_the_wish_and_left_over_ones_are_found() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    let mut left = object();
    left["status"] = json!({ "parents": [entry(CONTROLLER), entry("example.com/others")] });
    fake.put(&path("left"), left);
    let mut foreign = object();
    foreign["status"] = json!({ "parents": [entry("example.com/others")] });
    fake.put(&path("foreign"), foreign.clone());
    let running = started(&fake);
    for name in ["web", "left", "foreign"] {
        observe(&running, &fake, name);
    }
    running.leader.statuses().set(&status("web", 1, "hello"));
    fake.until("written", |fake| message(fake, "web").is_some()).await;
    let kept =
        |fake: &Fake| fake.get(&path("left")).unwrap()["status"]["parents"] == foreign["status"]["parents"];
    fake.until("the left-over entry is gone", kept).await;
    running.leader.statuses().clear(&route("web"));
    fake.until("ours is gone", |fake| message(fake, "web").is_none()).await;
    assert_eq!(fake.get(ROUTE).unwrap()["status"], json!({ "parents": [] }));
    pass(5.0).await;
    assert_eq!(fake.calls(&[], "foreign").len(), 0);
    assert_eq!(fake.calls(&[], "").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_passed_through_types_serves_to_compare_and_never_to_write_what_others_wrote() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    let mut shared = object();
    shared["status"] = json!({ "parents": [entry("example.com/others")] });
    fake.put(&path("shared"), shared);
    let running = started(&fake);
    for name in ["web", "shared"] {
        let live = fake.get(&path(name)).unwrap();
        let mut typed = live["status"].clone();
        if let Some(entry) = typed["parents"].as_array_mut().and_then(|parents| parents.first_mut()) {
            entry.as_object_mut().unwrap().remove("conditions");
        }
        let live = Live {
            generation: 1,
            resource_version: live["metadata"]["resourceVersion"].as_str().unwrap(),
            status: Some(&typed),
            exact: false,
        };
        running.leader.statuses().observe(&route(name), live);
        running.leader.statuses().set(&status(name, 1, "hello"));
    }
    fake.until("written", |fake| message(fake, "web").is_some() && message(fake, "shared").is_some()).await;
    assert_eq!((fake.calls(&["GET"], "").len(), fake.calls(&["GET"], "shared").len()), (1, 1));
    assert_eq!(fake.get(&path("shared")).unwrap()["status"]["parents"][0], entry("example.com/others"));
}

#[tokio::test(start_paused = true)]
async fn left_over_entries_are_found_without_a_watch_too() {
    let fake = Fake::new();
    let mut left = object();
    left["status"] = json!({ "parents": [entry(CONTROLLER), entry("example.com/others")] });
    fake.put(ROUTE, left);
    let running = started(&fake);
    running.leader.statuses().clear(&route("web"));
    fake.until("ours is gone", |fake| {
        fake.get(ROUTE).unwrap()["status"]["parents"] == json!([entry("example.com/others")])
    })
    .await;
    assert_eq!(fake.calls(&[], "").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_called_before_everything_is_known() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    let running = Running::new(fake.client(), crate::elected("us"));
    running.leader.statuses().set(&status("web", 1, "hello"));
    pass(60.0).await;
    assert_eq!(fake.calls(&[], "/leases").len() + fake.calls(&[], "").len(), 0);
    running.leader.synced();
    fake.until("written", |fake| message(fake, "web").is_some()).await;
}

#[tokio::test]
async fn it_works_over_a_socket() {
    let fake = Fake::new();
    fake.put(ROUTE, object());
    fake.order("PUT", "/status", 1, Fault::Busy(0));
    let running = Running::synced(fake.loopback().await, crate::elected("us"));
    running.leader.statuses().set(&status("web", 1, "hello"));
    fake.until("written", |fake| message(fake, "web").is_some()).await;
    running.stop().await;
    assert_eq!(fake.get(crate::LEASE).unwrap()["spec"]["holderIdentity"], "");
}
