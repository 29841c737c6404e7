//! When wishes change.

use std::sync::Arc;

use ir::{Kind, ObjectRef, infra::Wish};
use pipeline::{ChangeSet, Commit, Pipeline, Settings};
use serde_json::{Value, json};

fn object(document: &Value) -> api::Object {
    api::Object::from_json(document).unwrap()
}

fn apply(pipeline: &mut Pipeline, documents: &[Value]) -> Commit {
    pipeline.commit(ChangeSet { apply: documents.iter().map(object).collect(), ..ChangeSet::default() })
}

fn gateway(ports: &[u16], uid: &str) -> Value {
    let listener = |port: &u16| json!({ "name": format!("l{port}"), "port": port, "protocol": "HTTP" });
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": { "name": "eg", "namespace": "default", "uid": uid },
        "spec": {
            "gatewayClassName": "eg",
            "listeners": ports.iter().map(listener).collect::<Vec<_>>(),
            "infrastructure": {
                "parametersRef": { "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "proxy" },
            },
        },
    })
}

fn proxy(spec: &Value) -> Value {
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyProxy",
        "metadata": { "name": "proxy", "namespace": "default" },
        "spec": spec,
    })
}

fn started() -> Pipeline {
    let mut pipeline = Pipeline::new(Settings {
        implicit_gateway_class: true,
        implicit_namespaces: true,
        ..Settings::default()
    });
    let commit = apply(&mut pipeline, &[gateway(&[80], "one"), proxy(&json!({}))]);
    assert_eq!(commit.wishes.len(), 1);
    pipeline
}

fn only(commit: &Commit) -> &Arc<Wish> {
    match &commit.wishes[..] {
        [(fleet, Some(wish))] if &**fleet == "default/eg" => wish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn routes_and_fields_of_an_envoy_proxy_that_infrastructure_does_not_know_touch_no_wish() {
    let mut pipeline = started();
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": "shop", "namespace": "default" },
        "spec": { "parentRefs": [{ "name": "eg" }], "rules": [{ "backendRefs": [{ "name": "shop", "port": 80 }] }] },
    });
    assert_eq!(apply(&mut pipeline, &[route]).wishes, []);
    let spec = json!({ "telemetry": { "metrics": { "enableGRPCStats": true } }, "routingType": "Service" });
    assert_eq!(apply(&mut pipeline, &[proxy(&spec)]).wishes, []);
    assert_eq!(pipeline.audit(), []);
}

#[test]
fn a_wish_follows_listeners_parameters_and_the_gateway_itself() {
    let mut pipeline = started();
    let commit = apply(&mut pipeline, &[gateway(&[80, 443], "one")]);
    assert_eq!(only(&commit).ports.len(), 2);
    let commit = apply(&mut pipeline, &[proxy(&json!({ "concurrency": 3 }))]);
    assert_eq!(only(&commit).parameters["concurrency"], 3);
    let commit = apply(&mut pipeline, &[gateway(&[80, 443], "two")]);
    assert_eq!(&*only(&commit).owner.identity().uid, "two");
    let gone = ObjectRef::new(Kind::EnvoyProxy, "default", "proxy");
    let commit = pipeline.commit(ChangeSet { delete: vec![gone], ..ChangeSet::default() });
    assert!(only(&commit).on_hold, "objects stay while nobody knows what they shall be");
    let gone = ObjectRef::new(Kind::Gateway, "default", "eg");
    let commit = pipeline.commit(ChangeSet { delete: vec![gone], ..ChangeSet::default() });
    assert_eq!(commit.wishes, [("default/eg".into(), None)]);
    assert_eq!(pipeline.wishes().count(), 0);
    assert_eq!(pipeline.audit(), []);
}

#[test]
fn bootstraps_are_the_same_whatever_their_format() {
    let json = r#"{"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}}}"#;
    let yaml = "admin:\n  address:\n    socketAddress: {portValue: 1, address: 127.0.0.1}\n";
    assert!(infra::bootstrap::same(json, yaml));
    let clusters = |names: [&str; 2]| {
        let clusters = names.map(|name| json!({ "name": name }));
        json!({ "static_resources": { "clusters": clusters } }).to_string()
    };
    assert!(infra::bootstrap::same(&clusters(["a", "b"]), &clusters(["b", "a"])));
    let tagged = |name: &str, regex: &str| {
        json!({ "stats_config": { "stats_tags": [{ "tag_name": name, "regex": regex }] } }).to_string()
    };
    assert!(infra::bootstrap::same(&tagged("to_zone", "a"), &tagged("to_zone", "b")));
    assert!(!infra::bootstrap::same(&tagged("users", "a"), &tagged("users", "b")), "a tag of a user's");
    assert!(!infra::bootstrap::same(json, "admin: {}"));
    assert!(!infra::bootstrap::same("x: 1", "x: 1"), "what is no bootstrap is like nothing");
}
