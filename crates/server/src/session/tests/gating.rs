//! Make before break, pacing, latest wins.

use std::time::Duration;

use ir::resource::ResourceType::{self, Cluster, Endpoints, Listener, Route, Secret};

use super::{Rig, kind, names};
use crate::{
    Event,
    fake::{Model, build},
};

/// A proxy that has everything of [`build::small`].
fn running() -> (Rig, Model) {
    let mut rig = Rig::new(build::small());
    let mut model = Model::new();
    rig.hello(&mut model);
    model.log.clear();
    (rig, model)
}

fn kinds(model: &Model) -> Vec<ResourceType> {
    model.log.iter().map(|(kind, ..)| *kind).collect()
}

fn swap(rig: &mut Rig, to: &str) {
    let mut update = build::update([
        build::cluster(to, 0),
        build::endpoints(to, 9),
        build::route("web", vec![build::host("a.test", to, to)]),
    ]);
    update.removed = vec![(Cluster, "one".into()), (Endpoints, "one".into())];
    rig.apply(update);
}

#[test]
fn a_cold_proxy_has_everything_without_waiting() {
    let mut rig = Rig::new(build::small());
    let mut model = Model::new();
    rig.hello(&mut model);
    assert_eq!(kinds(&model), [Cluster, Endpoints, Listener, Route]);
    assert_eq!(model.hosts("web")["a.test"], ["one"]);
    assert_eq!(rig.session.acked_revision(rig.now), Some(1));
    assert_eq!(rig.session.phase(), "idle");
    assert!(!rig.events.iter().any(|e| matches!(e, Event::GateTimedOut { .. })));
}

#[test]
fn a_swap_is_cluster_endpoints_route_removal() {
    let (mut rig, mut model) = running();
    swap(&mut rig, "two");
    rig.follow(&mut model);
    assert_eq!(kinds(&model), [Cluster, Endpoints, Route, Cluster]);
    assert_eq!(model.log[3].2, ["one"]);
    assert!(model.broken.is_empty(), "{:?}", model.broken);
    assert_eq!(rig.session.acked_revision(rig.now), Some(2));
}

#[test]
fn the_route_waits_for_the_answer_of_the_endpoints() {
    let (mut rig, _) = running();
    swap(&mut rig, "two");
    let cluster = rig.next();
    assert_eq!(kind(&cluster), Cluster);
    rig.subscribe(Endpoints, &["two"]);
    let endpoints = rig.next();
    assert_eq!(kind(&endpoints), Endpoints, "endpoints are answered before the cluster is accepted");
    assert!(rig.poll().is_none());
    rig.ack(&cluster);
    assert!(rig.poll().is_none(), "accepting the cluster proves nothing about its endpoints");
    rig.ack(&endpoints);
    let route = rig.next();
    assert_eq!(kind(&route), Route);
    assert!(rig.poll().is_none(), "the old cluster stays until the route is accepted");
    rig.ack(&route);
    assert_eq!(rig.next().removed_resources, ["one"]);
}

#[test]
fn a_cluster_with_dns_is_warm_when_it_is_accepted() {
    let (mut rig, _) = running();
    rig.apply(build::update([
        build::slow(&build::cluster("dns", 0)),
        build::route("web", vec![build::host("a.test", "dns", "x")]),
    ]));
    let cluster = rig.next();
    assert!(rig.poll().is_none());
    rig.ack(&cluster);
    assert_eq!(kind(&rig.next()), Route);
}

#[test]
fn a_cluster_is_not_warm_before_its_secrets() {
    let (mut rig, _) = running();
    rig.apply(build::update([
        build::secret("ca"),
        build::secured(&build::cluster("two", 0), &["ca"]),
        build::endpoints("two", 9),
        build::route("web", vec![build::host("a.test", "two", "x")]),
    ]));
    let cluster = rig.next();
    rig.ack(&cluster);
    rig.subscribe(Endpoints, &["two"]);
    let endpoints = rig.next();
    rig.ack(&endpoints);
    assert!(rig.poll().is_none(), "its endpoints prove nothing about its secrets");
    rig.subscribe(Secret, &["ca"]);
    let secret = rig.next();
    assert_eq!(kind(&secret), Secret);
    rig.ack(&secret);
    assert_eq!(kind(&rig.next()), Route);
}

#[test]
fn a_cluster_with_health_checks_is_warm_after_the_first_ones() {
    let (mut rig, _) = running();
    rig.apply(build::update([
        build::checked(&build::cluster("two", 0), Duration::from_secs(1)),
        build::endpoints("two", 9),
        build::route("web", vec![build::host("a.test", "two", "x")]),
    ]));
    let cluster = rig.next();
    rig.ack(&cluster);
    rig.subscribe(Endpoints, &["two"]);
    let endpoints = rig.next();
    rig.wait(300);
    rig.ack(&endpoints);
    assert!(rig.poll().is_none(), "the proxy begins to check its endpoints");
    rig.wait(999);
    assert!(rig.poll().is_none());
    assert_eq!(rig.session.deadline(), Some(rig.now + Duration::from_millis(1)));
    rig.wait(1);
    assert_eq!(kind(&rig.next()), Route);
    assert!(!rig.events.iter().any(|event| matches!(event, Event::GateTimedOut { .. })));
}

#[test]
fn health_checks_that_take_long_are_not_waited_for_beyond_the_limit() {
    let (mut rig, _) = running();
    rig.apply(build::update([
        build::checked(&build::cluster("two", 0), Duration::from_secs(30)),
        build::endpoints("two", 9),
        build::route("web", vec![build::host("a.test", "two", "x")]),
    ]));
    let cluster = rig.next();
    rig.ack(&cluster);
    rig.subscribe(Endpoints, &["two"]);
    let endpoints = rig.next();
    rig.ack(&endpoints);
    rig.wait(1_999);
    assert!(rig.poll().is_none());
    rig.wait(1);
    assert_eq!(kind(&rig.next()), Route);
}

#[test]
fn the_wait_ends_after_two_seconds() {
    let (mut rig, _) = running();
    rig.apply(build::update([
        build::slow(&build::cluster("dns", 0)),
        build::route("web", vec![build::host("a.test", "dns", "x")]),
    ]));
    rig.next();
    rig.wait(1_999);
    assert!(rig.poll().is_none());
    assert_eq!(rig.session.deadline(), Some(rig.now + Duration::from_millis(1)));
    rig.wait(1);
    assert_eq!(kind(&rig.next()), Route);
    assert!(rig.events.iter().any(|e| matches!(e, Event::GateTimedOut { cluster } if &**cluster == "dns")));
}

#[test]
fn a_slow_cluster_holds_back_its_own_virtual_host_only() {
    let (mut rig, mut model) = running();
    rig.apply(build::update([
        build::slow(&build::cluster("dns", 0)),
        build::cluster("two", 0),
        build::endpoints("two", 9),
        build::route(
            "web",
            vec![
                build::host("a.test", "dns", "moved"),
                build::host("b.test", "two", "new"),
                build::host("c.test", "dns", "new"),
            ],
        ),
    ]));
    let clusters = rig.next();
    let subscriptions = model.receive(&clusters);
    // The cluster's answer is held back, as Envoy does while something warms; its subscription is not.
    for request in subscriptions.into_iter().filter(|r| r.response_nonce.is_empty()) {
        rig.request(request);
    }
    rig.follow(&mut model);
    assert_eq!(model.hosts("web")["a.test"], ["one"], "as it was");
    assert_eq!(model.hosts("web")["b.test"], ["two"], "at once");
    assert!(!model.hosts("web").contains_key("c.test"), "not before its cluster");
    rig.ack(&clusters);
    rig.follow(&mut model);
    assert_eq!(model.hosts("web")["a.test"], ["dns"]);
    assert_eq!(model.hosts("web")["c.test"], ["dns"]);
}

#[test]
fn changes_of_endpoints_or_routes_alone_take_one_hop() {
    let (mut rig, mut model) = running();
    rig.apply(build::update([build::endpoints("one", 10)]));
    rig.follow(&mut model);
    assert_eq!(kinds(&model), [Endpoints]);
    rig.apply(build::update([build::route("web", vec![build::host("b.test", "one", "x")])]));
    rig.follow(&mut model);
    assert_eq!(kinds(&model), [Endpoints, Route]);
}

#[test]
fn a_changed_cluster_gets_its_endpoints_again() {
    let (mut rig, mut model) = running();
    rig.apply(build::update([build::cluster("one", 1)]));
    rig.follow(&mut model);
    assert_eq!(kinds(&model), [Cluster, Endpoints]);
}

#[test]
fn routes_do_not_wait_for_a_cluster_that_only_changed() {
    let (mut rig, _) = running();
    rig.apply(build::update([
        build::cluster("one", 1),
        build::route("web", vec![build::host("a.test", "one", "y")]),
    ]));
    let responses: Vec<_> = std::iter::from_fn(|| rig.poll()).collect();
    assert_eq!(responses.iter().map(kind).collect::<Vec<_>>(), [Cluster, Endpoints, Route]);
}

#[test]
fn a_cluster_stays_while_a_held_back_host_needs_it() {
    let (mut rig, mut model) = running();
    let mut update = build::update([
        build::slow(&build::cluster("dns", 0)),
        build::route("web", vec![build::host("a.test", "dns", "moved")]),
    ]);
    update.removed = vec![(Cluster, "one".into()), (Endpoints, "one".into())];
    rig.apply(update);
    let clusters = rig.next();
    assert_eq!(names(&clusters), ["dns"]);
    assert!(rig.poll().is_none(), "one is still routed to");
    for request in model.receive(&clusters) {
        rig.request(request);
    }
    rig.follow(&mut model);
    assert_eq!(model.names(Cluster), ["dns"]);
    assert!(model.broken.is_empty(), "{:?}", model.broken);
}

#[test]
fn the_newest_target_wins_while_an_answer_is_awaited() {
    let (mut rig, _) = running();
    let change = |note: &str| build::update([build::route("web", vec![build::host("a.test", "one", note)])]);
    rig.apply(change("1"));
    let first = rig.next();
    for n in 2..100 {
        rig.apply(change(&n.to_string()));
        assert!(rig.poll().is_none(), "one body on its way at a time");
    }
    rig.ack(&first);
    let last = rig.next();
    rig.ack(&last);
    assert!(rig.poll().is_none());
    let body = &last.resources[0].resource.as_ref().expect("body").value;
    assert!(body.windows(2).any(|w| w == b"99"));
    assert_eq!(rig.session.acked_revision(rig.now), Some(rig.revision));
}

#[test]
fn a_proxy_that_never_answers_still_gets_news() {
    let (mut rig, _) = running();
    let change = |note: &str| build::update([build::route("web", vec![build::host("a.test", "one", note)])]);
    rig.apply(change("1"));
    rig.next();
    rig.apply(change("2"));
    assert!(rig.poll().is_none());
    rig.wait(15_000);
    assert_eq!(kind(&rig.next()), Route);
}

#[test]
fn large_route_configurations_are_paced_and_small_ones_are_not() {
    let hosts = |note: &str| {
        let mut all: Vec<_> =
            (0..6_000).map(|n| build::host(&format!("{n:04}.test"), "one", "long enough a name")).collect();
        all.push(build::host("a.test", "one", note));
        build::update([build::route("web", all)])
    };
    let (mut rig, mut model) = running();
    rig.apply(hosts("0"));
    rig.follow(&mut model);
    assert_eq!(kinds(&model), [Route], "the leading edge goes at once");
    rig.apply(hosts("1"));
    rig.follow(&mut model);
    rig.apply(hosts("2"));
    rig.wait(99);
    rig.follow(&mut model);
    assert_eq!(kinds(&model), [Route], "then it rests");
    rig.wait(100);
    rig.follow(&mut model);
    assert_eq!(kinds(&model), [Route, Route], "and the last of the changes follows");
    assert_eq!(rig.session.phase(), "idle");
}

#[test]
fn a_listener_that_comes_and_one_that_goes_share_a_message() {
    let (mut rig, mut model) = running();
    let mut update = build::update([build::listener("web2", 10080, "web")]);
    update.removed = vec![(Listener, "web".into())];
    rig.apply(update);
    rig.follow(&mut model);
    assert_eq!(model.log.len(), 1);
    assert_eq!((model.log[0].1.join(" "), model.log[0].2.join(" ")), ("web2".into(), "web".into()));
}

#[test]
fn everything_can_go() {
    let (mut rig, mut model) = running();
    rig.apply(build::removal([(Listener, "web"), (Route, "web"), (Cluster, "one"), (Endpoints, "one")]));
    rig.settle(&mut model);
    let end = model.end_drain().expect("a table less");
    rig.request(end);
    rig.settle(&mut model);
    for kind in ResourceType::ALL {
        assert!(model.names(kind).is_empty(), "{kind:?} {:?}", model.names(kind));
    }
    assert!(model.broken.is_empty(), "{:?}", model.broken);
    assert_eq!(rig.session.phase(), "idle");
}
