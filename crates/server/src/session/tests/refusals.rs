//! NACK: find what is at fault, keep the rest going, spare the next proxy.

use ir::resource::{
    Delivery,
    ResourceType::{self, Cluster, Listener, Route},
};

use super::{FLEET, Rig, names};
use crate::{
    Settings,
    fake::{
        Model,
        build::{self, POISON},
    },
};

fn running(settings: Settings) -> (Rig, Model) {
    let mut rig = Rig::with(settings, build::small());
    let mut model = Model::new();
    rig.hello(&mut model);
    (rig, model)
}

fn hosts(bad: &[usize], count: usize, note: &str) -> Vec<std::sync::Arc<ir::resource::Fragment>> {
    let note = |n| if bad.contains(&n) { POISON } else { note };
    (0..count).map(|n| build::host(&format!("{n:03}.test"), "one", note(n))).collect()
}

#[test]
fn a_refused_version_is_not_sent_again_and_a_new_one_is() {
    let (mut rig, _) = running(Settings::default());
    rig.apply(build::update([build::listener("web", 1, "web")]));
    let bad = rig.next();
    rig.nack(&bad, "Error adding/updating listener(s) web: no such port");
    assert!(rig.poll().is_none());
    assert_eq!(rig.refusals(), [("web".to_owned(), None)]);
    let reports = rig.feeds.deliveries().of_feed(FLEET);
    let report = reports.iter().find(|r| r.kind == Listener).expect("a report");
    assert!(matches!(&report.delivery, Delivery::Rejected { message } if message.ends_with("no such port")));
    assert_eq!(report.owners.len(), 1);
    rig.apply(build::update([build::listener("web", 2, "web")]));
    assert!(
        rig.feeds.deliveries().of_feed(FLEET).iter().all(|r| r.kind != Listener),
        "cleared with the source"
    );
    let good = rig.next();
    rig.ack(&good);
    let reports = rig.feeds.deliveries().of_feed(FLEET);
    assert!(reports.iter().any(|r| r.kind == Listener && r.delivery == Delivery::Accepted));
}

#[test]
fn one_bad_cluster_among_many_is_found_and_the_rest_goes_on() {
    let (mut rig, mut model) = running(Settings::default());
    let name = |n| if n == 77 { format!("{POISON}-77") } else { format!("c{n}") };
    rig.apply(build::update((0..100).map(|n| build::cluster(&name(n), 0))));
    rig.settle(&mut model);
    assert_eq!(model.names(Cluster).len(), 100, "99 and the first");
    assert_eq!(rig.refusals(), [(format!("{POISON}-77"), None)]);
    assert!(model.refused <= 8, "{} refusals for 1 in 100", model.refused);
}

#[test]
fn names_in_the_words_shorten_the_search() {
    let (mut rig, _) = running(Settings::default());
    rig.apply(build::update((0..64).map(|n| build::cluster(&format!("c{n}"), 0))));
    let all = rig.next();
    rig.nack(&all, "Error adding/updating cluster(s) c7: bad, c8: worse");
    let rest = rig.next();
    assert_eq!(rest.resources.len(), 62);
    rig.ack(&rest);
    let seven = rig.next();
    assert_eq!(names(&seven), ["c7"]);
    rig.nack(&seven, "bad");
    let eight = rig.next();
    assert_eq!(names(&eight), ["c8"]);
    rig.ack(&eight);
    assert_eq!(rig.refusals(), [("c7".to_owned(), None)], "the words alone convict nobody");
}

#[test]
fn one_bad_host_does_not_freeze_the_table() {
    let (mut rig, mut model) = running(Settings::default());
    rig.apply(build::update([build::route("web", hosts(&[], 100, "good"))]));
    rig.follow(&mut model);
    rig.apply(build::update([build::route("web", hosts(&[31, 77], 100, "better"))]));
    rig.settle(&mut model);
    let mut refused = rig.refusals();
    refused.sort();
    let of = |n: &str| ("web".to_owned(), Some(format!("{n}.test")));
    assert_eq!(refused, [of("031"), of("077")]);
    let body = &model.held(Route, "web").expect("routes").body;
    let count = |word: &str| body.windows(word.len()).filter(|w| *w == word.as_bytes()).count();
    assert_eq!((count("better"), count("good")), (98, 2), "98 as they are now, 2 as they were");
    assert!(model.refused <= 16, "{} refusals", model.refused);
    // The next change of another host goes through at once.
    let before = model.refused;
    rig.apply(build::update([build::route("web", hosts(&[31, 77], 100, "best"))]));
    rig.settle(&mut model);
    assert_eq!(model.refused, before);
    assert!(rig.feeds.deliveries().of_feed(FLEET).iter().filter(|r| r.fragment.is_some()).count() == 2);
    rig.apply(build::update([build::route("web", hosts(&[31], 100, "best"))]));
    rig.settle(&mut model);
    assert_eq!(model.refused, before);
    rig.apply(build::update([build::route("web", hosts(&[], 100, "best"))]));
    rig.settle(&mut model);
    assert!(rig.feeds.deliveries().of_feed(FLEET).iter().all(|r| r.delivery == Delivery::Accepted));
    assert_eq!(rig.feeds.status(FLEET).expect("live").quarantined, 0);
}

#[test]
fn the_position_in_the_words_points_to_the_host() {
    let (mut rig, _) = running(Settings::default());
    rig.apply(build::update([build::route("web", hosts(&[], 50, "new"))]));
    let all = rig.next();
    rig.nack(
        &all,
        "Proto constraint validation failed (RouteConfigurationValidationError.VirtualHosts[7]: …)",
    );
    let rest = rig.next();
    rig.ack(&rest);
    let seven = rig.next();
    rig.nack(&seven, "still");
    assert_eq!(rig.refusals(), [("web".to_owned(), Some("007.test".to_owned()))]);
}

#[test]
fn a_new_table_with_a_bad_host_serves_the_others() {
    let (mut rig, mut model) = running(Settings::default());
    rig.apply(build::update([
        build::listener("two", 2, "two"),
        build::route("two", hosts(&[3], 10, "first")),
    ]));
    rig.settle(&mut model);
    assert_eq!(model.hosts("two").len(), 9);
    assert_eq!(rig.refusals(), [("two".to_owned(), Some("003.test".to_owned()))]);
}

#[test]
fn a_proxy_that_refuses_everything_is_left_alone() {
    let (mut rig, _) = running(Settings::default());
    rig.apply(build::update([build::route("web", hosts(&[], 100, "new"))]));
    let mut count = 0;
    while let Some(response) = rig.poll() {
        count += 1;
        rig.nack(&response, "no");
        assert!(count < 300, "bounded");
    }
    assert!(rig.poll().is_none());
}

#[test]
fn a_new_proxy_gets_the_last_version_that_was_accepted() {
    let (mut rig, mut model) = running(Settings::default());
    let accepted = model.held(Listener, "web").cloned();
    rig.apply(build::update([
        build::listener("web", 1, POISON),
        build::route("web", vec![build::host("a.test", "one", POISON), build::host("b.test", "one", "new")]),
    ]));
    rig.settle(&mut model);
    assert_eq!(rig.feeds.status(FLEET).expect("live").quarantined, 2);
    let mut fresh = Model::new();
    rig.reconnect();
    rig.hello(&mut fresh);
    assert_eq!(fresh.refused, 0);
    assert_eq!(fresh.held(Listener, "web").cloned(), accepted);
    assert_eq!(fresh.hosts("web").into_keys().collect::<Vec<_>>(), ["a.test", "b.test"]);
}

#[test]
fn without_quarantine_each_proxy_finds_out_itself() {
    let (mut rig, mut model) = running(Settings { quarantine: false, ..Settings::default() });
    rig.apply(build::update([build::listener("web", 1, POISON)]));
    rig.settle(&mut model);
    assert_eq!(rig.feeds.status(FLEET).expect("live").quarantined, 0);
    let mut fresh = Model::new();
    rig.reconnect();
    rig.hello(&mut fresh);
    assert_eq!(fresh.refused, 1);
}

#[test]
fn what_one_proxy_accepted_is_not_quarantined() {
    let (mut rig, mut model) = running(Settings::default());
    let mut other = Rig::of(rig.feeds.clone(), 1);
    let mut second = Model::new();
    other.hello(&mut second);
    rig.apply(build::update([build::listener("web", 1, "web")]));
    rig.settle(&mut model);
    other.refresh();
    let response = other.next();
    other.nack(&response, "not for me");
    assert_eq!(rig.feeds.status(FLEET).expect("live").quarantined, 0);
    let reports = rig.feeds.deliveries().of_feed(FLEET);
    let refused = |k: ResourceType| {
        reports.iter().any(|r| r.kind == k && matches!(r.delivery, Delivery::Rejected { .. }))
    };
    assert!(refused(Listener), "one refusal outweighs");
}

#[test]
fn names_are_words_of_their_own() {
    use crate::session::refusal::mentions;
    assert!(mentions("cluster(s) c7: bad", "c7"));
    assert!(mentions("unknown cluster 'default/shop'.", "default/shop"));
    assert!(mentions("see web.", "web"));
    assert!(!mentions("cluster(s) c77: bad", "c7"));
    assert!(!mentions("a web.test", "web"));
    assert!(!mentions("default/shop/web", "shop"));
}

#[test]
fn a_listener_that_the_machine_cannot_take_is_tried_again() {
    let (mut rig, _) = running(Settings::default());
    rig.apply(build::update([build::listener("more", 80, "web")]));
    let words = "error adding listener named 'more': cannot bind '127.0.0.1:80': Address already in use";
    for pause in [500, 1_000, 2_000] {
        let response = rig.next();
        assert_eq!(names(&response), ["more"]);
        rig.nack(&response, words);
        rig.wait(pause - 1);
        assert!(rig.poll().is_none());
        rig.wait(1);
    }
    assert_eq!(rig.feeds.status(FLEET).expect("live").quarantined, 0);
    let report = |rig: &Rig| {
        let all = rig.feeds.deliveries().of_feed(FLEET);
        all.into_iter().find(|r| &*r.name == "more").map(|r| r.delivery)
    };
    assert!(matches!(report(&rig), Some(Delivery::Rejected { .. })));
    let response = rig.next();
    rig.ack(&response);
    assert_eq!(report(&rig), Some(Delivery::Accepted));
    assert!(rig.poll().is_none());
}
