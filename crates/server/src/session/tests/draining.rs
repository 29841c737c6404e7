//! Listeners that go: Envoy routes by their tables until their last connection is closed.

use ir::resource::ResourceType::{Cluster, Endpoints, Listener, Route};

use super::Rig;
use crate::fake::{Model, build};

/// A proxy with two hosts of different clusters on one listener.
fn running() -> (Rig, Model) {
    let mut update = build::small();
    let hosts = vec![build::host("a.test", "one", "a"), build::host("b.test", "two", "b")];
    update.changed.retain(|r| r.kind != Route);
    update.changed.extend([build::cluster("two", 0), build::endpoints("two", 9), build::route("web", hosts)]);
    let mut rig = Rig::new(update);
    let mut model = Model::new();
    rig.hello(&mut model);
    model.log.clear();
    (rig, model)
}

/// The host `a.test` goes with the listener; `b.test` moves to the listener that takes its socket.
fn succeed(rig: &mut Rig) {
    let mut update = build::update([
        build::listener("web2", 10080, "web2"),
        build::route("web2", vec![build::host("b.test", "two", "b")]),
    ]);
    update.removed = [(Listener, "web"), (Route, "web"), (Cluster, "one"), (Endpoints, "one")]
        .map(|(kind, name)| (kind, name.into()))
        .to_vec();
    rig.apply(update);
}

#[test]
fn a_drained_table_loses_what_has_ended_before_the_cluster_goes() {
    let (mut rig, mut model) = running();
    succeed(&mut rig);
    rig.follow(&mut model);
    let drained = model.hosts("web");
    assert_eq!(drained.keys().collect::<Vec<_>>(), ["b.test"], "others are served on old connections");
    assert_eq!(model.names(Cluster), ["two"]);
    assert!(model.broken.is_empty(), "{:?}", model.broken);
    assert_eq!(rig.session.acked_revision(rig.now), Some(rig.revision));
}

#[test]
fn a_listener_that_comes_back_while_it_is_drained_begins_without_what_ended() {
    let (mut rig, mut model) = running();
    succeed(&mut rig);
    rig.follow(&mut model);
    let mut update = build::update([
        build::listener("web", 10080, "web"),
        build::cluster("one", 0),
        build::endpoints("one", 9),
        build::route("web", vec![build::host("a.test", "one", "a"), build::host("b.test", "two", "b")]),
    ]);
    update.removed = vec![(Listener, "web2".into()), (Route, "web2".into())];
    rig.apply(update);
    rig.follow(&mut model);
    assert_eq!(model.hosts("web").len(), 2);
    assert!(model.broken.is_empty(), "{:?}", model.broken);
}

#[test]
fn a_host_that_ends_later_leaves_the_drained_table_too() {
    let (mut rig, mut model) = running();
    succeed(&mut rig);
    rig.follow(&mut model);
    rig.apply(build::removal([(Listener, "web2"), (Route, "web2"), (Cluster, "two"), (Endpoints, "two")]));
    rig.follow(&mut model);
    assert!(model.hosts("web").is_empty() && model.hosts("web2").is_empty());
    assert!(model.names(Cluster).is_empty());
    assert!(model.broken.is_empty(), "{:?}", model.broken);
}

#[test]
fn a_host_with_a_living_cluster_keeps_its_dead_one_until_the_drain_ends() {
    let (mut rig, mut model) = running();
    let both = vec![build::split_host("a.test", &["one", "two"])];
    rig.apply(build::update([build::route("web", both)]));
    rig.follow(&mut model);
    succeed(&mut rig);
    rig.follow(&mut model);
    assert_eq!(model.hosts("web")["a.test"], ["one", "two"]);
    assert_eq!(model.names(Cluster), ["one", "two"]);
    let end = model.end_drain().expect("a table less");
    rig.request(end);
    rig.follow(&mut model);
    assert_eq!(model.names(Cluster), ["two"]);
    assert!(model.broken.is_empty(), "{:?}", model.broken);
}
