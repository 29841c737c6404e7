//! The finalizer of classes.

use serde_json::json;

use leader::testing::{Fake, Fault};

use crate::{Running, pass, settings};

const CLASS: &str = "/apis/gateway.networking.k8s.io/v1/gatewayclasses/edge";
const FINALIZER: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

fn finalizers(fake: &Fake) -> serde_json::Value {
    fake.get(CLASS).unwrap()["metadata"]["finalizers"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_class_has_the_finalizer_while_gateways_use_it() {
    let fake = Fake::new();
    fake.put(CLASS, json!({ "metadata": { "finalizers": ["others"] }, "spec": {} }));
    let running = Running::synced(fake.client(), settings("us"));
    let classes = running.leader.classes();
    fake.order("PATCH", CLASS, 1, Fault::Answer(409));
    classes.set("edge", true);
    fake.until("it is there", |fake| finalizers(fake) == json!(["others", FINALIZER])).await;
    let calls = fake.calls(&[], "").len();
    classes.set("edge", true);
    classes.observe("edge", &["others".to_owned(), FINALIZER.to_owned()]);
    pass(10.0).await;
    assert_eq!(fake.calls(&[], "").len(), calls, "it is there already");
    fake.edit(CLASS, |class| class["metadata"]["finalizers"] = json!(["others"]));
    classes.observe("edge", &["others".to_owned()]);
    fake.until("it is there again", |fake| finalizers(fake) == json!(["others", FINALIZER])).await;
    classes.set("edge", false);
    fake.until("it is gone", |fake| finalizers(fake) == json!(["others"])).await;
    assert!(fake.calls(&["PUT"], "").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_gone_is_left_alone() {
    let fake = Fake::new();
    let running = Running::synced(fake.client(), settings("us"));
    running.leader.classes().set("edge", true);
    pass(60.0).await;
    assert_eq!(fake.calls(&[], "").len(), 1);
    running.leader.classes().gone("edge");
}
