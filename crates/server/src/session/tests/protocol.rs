//! Subscriptions, answers, nonces, reconnects.

use envoy_api::discovery::DeltaDiscoveryRequest;
use ir::resource::ResourceType::{Cluster, Endpoints, Listener, Route, Secret};

use super::{Rig, answer, kind, names};
use crate::{
    Settings, Violation,
    fake::{Model, build},
};

#[test]
fn an_empty_first_request_asks_for_everything() {
    let mut rig = Rig::new(build::small());
    rig.subscribe(Cluster, &[]);
    let response = rig.next();
    assert_eq!((kind(&response), names(&response)), (Cluster, vec!["one"]));
    assert_eq!(response.system_version_info, "1");
    assert!(rig.poll().is_none(), "the same is not sent twice");
}

#[test]
fn a_star_asks_for_everything_and_stays_beside_names() {
    let mut rig = Rig::new(build::update([build::cluster("one", 0)]));
    rig.subscribe(Cluster, &["*"]);
    assert_eq!(names(&rig.next()), ["one"]);
    rig.subscribe(Cluster, &["one"]);
    assert_eq!(names(&rig.next()), ["one"], "asked for by name: answered again");
    rig.apply(build::update([build::cluster("two", 0)]));
    assert_eq!(names(&rig.next()), ["two"]);
    rig.unsubscribe(Cluster, &["one"]);
    assert_eq!(names(&rig.next()), ["one"], "it still belongs to all");
    rig.unsubscribe(Cluster, &["*"]);
    rig.apply(build::update([build::cluster("three", 0), build::cluster("one", 1)]));
    assert!(rig.poll().is_none());
}

#[test]
fn a_name_ends_the_unspoken_wildcard() {
    let mut rig = Rig::new(build::update([build::cluster("one", 0), build::cluster("two", 0)]));
    rig.subscribe(Cluster, &[]);
    assert_eq!(names(&rig.next()), ["one", "two"]);
    rig.subscribe(Cluster, &["one"]);
    assert_eq!(names(&rig.next()), ["one"]);
    rig.apply(build::update([build::cluster("two", 1)]));
    assert!(rig.poll().is_none());
}

#[test]
fn an_empty_first_request_for_named_types_asks_for_nothing() {
    let mut rig = Rig::new(build::small());
    for kind in [Route, Endpoints, Secret] {
        rig.subscribe(kind, &[]);
    }
    assert!(rig.poll().is_none());
}

#[test]
fn a_wildcard_over_nothing_is_answered_once() {
    let mut rig = Rig::new(build::update([]));
    rig.subscribe(Listener, &[]);
    let response = rig.next();
    assert!(response.resources.is_empty() && response.removed_resources.is_empty());
    rig.ack(&response);
    assert!(rig.poll().is_none());
}

#[test]
fn subscriptions_count_on_a_stale_nonce() {
    let mut rig = Rig::new(build::small());
    let mut request = DeltaDiscoveryRequest {
        type_url: Endpoints.type_url().to_owned(),
        response_nonce: "999".to_owned(),
        ..DeltaDiscoveryRequest::default()
    };
    request.resource_names_subscribe.push("one".to_owned());
    rig.request(request);
    assert_eq!(names(&rig.next()), ["one"]);
}

#[test]
fn nonces_are_per_type() {
    let mut rig = Rig::new(build::small());
    rig.subscribe(Cluster, &[]);
    rig.subscribe(Endpoints, &["one"]);
    let clusters = rig.next();
    let endpoints = rig.next();
    let mut wrong = answer(&clusters);
    wrong.type_url.clone_from(&endpoints.type_url);
    rig.request(wrong);
    assert_eq!(rig.session.acked_revision(rig.now), None);
    rig.subscribe(Listener, &[]);
    let listeners = rig.next();
    for response in [&endpoints, &clusters] {
        rig.ack(response);
    }
    assert_eq!(rig.session.acked_revision(rig.now), Some(0), "the listener is not accepted yet");
    rig.ack(&listeners);
    rig.subscribe(Route, &["web"]);
    rig.acknowledge();
    assert_eq!(rig.session.acked_revision(rig.now), Some(1));
}

#[test]
fn a_name_asked_for_again_is_answered_again() {
    let mut rig = Rig::new(build::small());
    for kind in [Endpoints, Route] {
        let name = if kind == Route { "web" } else { "one" };
        rig.subscribe(kind, &[name]);
        assert_eq!(names(&rig.next()), [name]);
        rig.subscribe(kind, &[name]);
        let again = rig.next();
        assert_eq!(names(&again), [name]);
        rig.ack(&again);
        rig.subscribe(kind, &[name]);
        assert_eq!(names(&rig.next()), [name]);
        assert!(rig.poll().is_none());
    }
}

#[test]
fn unknown_names_are_said_to_be_absent_until_they_come() {
    let mut rig = Rig::new(build::small());
    rig.subscribe(Route, &["later"]);
    let response = rig.next();
    assert_eq!(response.removed_resources, ["later"]);
    rig.ack(&response);
    assert!(rig.poll().is_none());
    rig.apply(build::update([build::route("later", vec![])]));
    assert_eq!(names(&rig.next()), ["later"]);
}

#[test]
fn nothing_comes_after_unsubscribing_and_everything_after_subscribing_again() {
    let mut rig = Rig::new(build::small());
    rig.subscribe(Endpoints, &["one"]);
    rig.acknowledge();
    rig.unsubscribe(Endpoints, &["one"]);
    rig.apply(build::update([build::endpoints("one", 10)]));
    assert!(rig.poll().is_none());
    rig.subscribe(Endpoints, &["one"]);
    assert_eq!(names(&rig.next()), ["one"]);
}

#[test]
fn types_that_are_not_served_are_answered_with_nothing() {
    let mut rig = Rig::new(build::small());
    let request = DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned(),
        resource_names_subscribe: vec!["layer".to_owned()],
        ..DeltaDiscoveryRequest::default()
    };
    rig.request(request);
    let response = rig.next();
    assert_eq!(response.removed_resources, ["layer"]);
    rig.ack(&response);
    assert!(rig.poll().is_none());
}

#[test]
fn too_many_names_end_the_stream() {
    let settings = Settings { max_names: 3, ..Settings::default() };
    let mut rig = Rig::with(settings, build::small());
    let request = DeltaDiscoveryRequest {
        type_url: Route.type_url().to_owned(),
        resource_names_subscribe: (0..4).map(|n| n.to_string()).collect(),
        ..DeltaDiscoveryRequest::default()
    };
    let ended = rig.session.request(request, rig.now);
    assert_eq!(ended, Err(Violation::TooManyNames { limit: 3 }));
}

#[test]
fn a_reconnect_without_changes_is_sent_nothing() {
    let mut rig = Rig::new(build::small());
    let mut model = Model::new();
    rig.hello(&mut model);
    assert_eq!(model.names(Route), ["web"]);
    let before = model.responses;
    rig.reconnect();
    rig.hello(&mut model);
    assert_eq!(model.responses, before);
    assert_eq!(rig.session.acked_revision(rig.now), Some(1));
}

#[test]
fn a_reconnect_is_sent_the_differences_alone() {
    let mut rig = Rig::new(build::small());
    let mut model = Model::new();
    rig.apply(build::update([build::cluster("old", 0), build::endpoints("old", 9)]));
    rig.hello(&mut model);
    rig.reconnect();
    rig.apply(build::update([build::cluster("new", 0), build::endpoints("new", 9)]));
    rig.apply(build::removal([(Cluster, "old"), (Endpoints, "old")]));
    model.log.clear();
    rig.hello(&mut model);
    rig.settle(&mut model);
    let sent: Vec<_> = model.log.iter().map(|(k, sent, gone)| (*k, sent.join(" "), gone.join(" "))).collect();
    let of = |k, s: &str, g: &str| (k, s.to_owned(), g.to_owned());
    assert_eq!(sent, [of(Cluster, "new", ""), of(Endpoints, "new", ""), of(Cluster, "", "old")]);
    assert!(model.broken.is_empty(), "{:?}", model.broken);
}

#[test]
fn a_proxy_with_foreign_routes_keeps_its_clusters_until_they_are_replaced() {
    let mut model = Model::new();
    let mut before = Rig::new(build::update([
        build::cluster("old", 0),
        build::endpoints("old", 9),
        build::listener("web", 80, "web"),
        build::route("web", vec![build::host("a.test", "old", "before")]),
    ]));
    before.hello(&mut model);
    // Another control plane, which never knew the old cluster.
    let mut rig = Rig::new(build::small());
    rig.hello(&mut model);
    rig.settle(&mut model);
    assert_eq!(model.names(Cluster), ["one"]);
    assert_eq!(model.hosts("web")["a.test"], ["one"]);
    assert!(model.broken.is_empty(), "{:?}", model.broken);
}

#[test]
fn large_snapshots_go_in_bounded_responses() {
    let clusters = (0..10_000).map(|n| build::cluster(&format!("c{n:05}"), 0));
    let mut rig = Rig::new(build::update(clusters));
    rig.subscribe(Cluster, &[]);
    let all = rig.acknowledge();
    assert!(all.len() > 1, "{} responses", all.len());
    assert_eq!(all.iter().map(|r| r.resources.len()).sum::<usize>(), 10_000);
    let most = rig.feeds.settings().max_bytes + 1_000;
    let bytes = |r: &envoy_api::discovery::DeltaDiscoveryResponse| -> usize {
        r.resources.iter().filter_map(|r| r.resource.as_ref()).map(|any| any.value.len()).sum()
    };
    assert!(all.iter().all(|r| bytes(r) <= most));
}
