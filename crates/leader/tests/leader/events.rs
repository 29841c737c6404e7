//! Events on objects.

use ir::{Kind, ObjectRef};
use leader::{
    Event,
    testing::{Fake, Fault},
};
use serde_json::json;

use crate::{Running, pass, settings};

const GATEWAY: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/edge";
const EVENTS: &str = "/api/v1/namespaces/shop/events";

fn event(kind: Kind, namespace: &str, name: &str, message: &str) -> Event {
    Event {
        object: (&ObjectRef::new(kind, namespace, name)).into(),
        reason: "CertificateExpiring".to_owned(),
        message: message.to_owned(),
    }
}

fn ours(message: &str) -> Event {
    event(Kind::Gateway, "shop", "edge", message)
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_told_once_until_it_changes() {
    let fake = Fake::new();
    fake.put(GATEWAY, json!({ "spec": {} }));
    let running = Running::synced(fake.client(), settings("us"));
    let events = running.leader.events();
    let told = |fake: &Fake| fake.calls(&["POST"], EVENTS).len();
    events.set(vec![ours("it ends in 3 days")]);
    fake.until("it is told", |fake| told(fake) == 1).await;
    let call = fake.calls(&["POST"], EVENTS).remove(0);
    let uid = fake.get(GATEWAY).unwrap()["metadata"]["uid"].clone();
    assert_eq!(call.body["involvedObject"]["uid"], uid);
    assert_eq!(call.body["involvedObject"]["kind"], "Gateway");
    assert_eq!((&call.body["type"], &call.body["message"]), (&json!("Warning"), &json!("it ends in 3 days")));
    events.set(vec![ours("it ends in 3 days")]);
    pass(30.0).await;
    assert_eq!(told(&fake), 1, "nothing has changed");
    events.set(vec![ours("it ends in 2 days")]);
    fake.until("the change is told", |fake| told(fake) == 2).await;
    // Another process that finds the same says nothing new.
    running.stop().await;
    let other = Running::synced(fake.client(), settings("another"));
    other.leader.events().set(vec![ours("it ends in 2 days")]);
    fake.until("it is tried", |fake| told(fake) == 3).await;
    assert_eq!(fake.calls(&["POST"], EVENTS).remove(2).status, 409);
    pass(30.0).await;
    assert_eq!(told(&fake), 3);
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_create_events_one_is_tried() {
    let fake = Fake::new();
    fake.put(GATEWAY, json!({ "spec": {} }));
    fake.order("POST", "/events", 10, Fault::Answer(403));
    let running = Running::synced(fake.client(), settings("us"));
    let all = (0..5).map(|n| Event { reason: format!("Reason{n}"), ..ours("no") }).collect();
    running.leader.events().set(all);
    fake.until("one is tried", |fake| fake.calls(&["POST"], EVENTS).len() == 1).await;
    pass(300.0).await;
    assert_eq!(fake.calls(&["POST"], EVENTS).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn objects_in_no_namespace_and_objects_that_are_gone() {
    let fake = Fake::new();
    fake.put("/apis/gateway.networking.k8s.io/v1/gatewayclasses/edge", json!({ "spec": {} }));
    let running = Running::synced(fake.client(), settings("us"));
    let gone = ours("nobody hears it");
    running.leader.events().set(vec![gone, event(Kind::GatewayClass, "", "edge", &"ö".repeat(700))]);
    let path = "/api/v1/namespaces/default/events";
    fake.until("it is told", |fake| fake.calls(&["POST"], path).len() == 1).await;
    let body = fake.calls(&["POST"], path).remove(0).body;
    assert_eq!(body["message"].as_str().unwrap().len(), 1024, "as long as an API server takes");
    pass(30.0).await;
    assert_eq!(fake.calls(&["POST"], "/events").len(), 1);
}
