//! What a feed remembers.

use std::{sync::Arc, time::Duration};

use ir::resource::{Delivery, ResourceType, Version};

use super::{Changes, Feeds, log::Log};
use crate::{Event, Refusal, Settings, fake::build};

fn acked(feeds: &Feeds, kind: ResourceType, name: &str) {
    let version = feeds.snapshot("f").and_then(|s| s.get(kind, name).map(|r| r.version)).expect("there");
    let entries = vec![(name.into(), version)];
    feeds.feed("f").learn(&[Event::Acked { kind, entries, latency: Duration::ZERO }]);
}

fn refused(feeds: &Feeds, kind: ResourceType, name: &str, version: Version) {
    feeds.feed("f").learn(&[Event::Refused(Refusal {
        kind,
        name: name.into(),
        version,
        fragment: None,
        good: None,
        message: "no".into(),
        owners: Box::default(),
        transient: false,
    })]);
}

#[test]
fn snapshots_share_and_do_not_change() {
    let feeds = Feeds::default();
    assert!(feeds.snapshot("f").is_none());
    feeds.apply("f", 1, build::small());
    let first = feeds.snapshot("f").expect("applied");
    feeds.apply("f", 2, build::removal([(ResourceType::Cluster, "one")]));
    assert_eq!((first.revision(), first.len(ResourceType::Cluster)), (1, 1));
    let second = feeds.snapshot("f").expect("applied");
    assert_eq!((second.revision(), second.len(ResourceType::Cluster)), (2, 0));
    let web = |s: &super::Snapshot| s.get(ResourceType::Listener, "web").cloned().expect("there");
    assert!(Arc::ptr_eq(&web(&first), &web(&second)));
    assert_eq!(feeds.keys(), ["f".into()]);
    feeds.remove("f");
    assert!(feeds.snapshot("f").is_none() && feeds.keys().is_empty());
}

#[test]
fn the_log_tells_what_changed_until_it_forgets() {
    let mut log = Log::default();
    let key = |n: usize| (ResourceType::Cluster, Arc::from(n.to_string()));
    log.push(1, vec![key(1)]);
    log.push(2, vec![key(2), key(3)]);
    let count = |changes| match changes {
        Changes::Names(groups) => Some(groups.iter().map(|g| g.len()).sum::<usize>()),
        Changes::All => None,
    };
    assert_eq!(count(log.since(0)), Some(3));
    assert_eq!(count(log.since(1)), Some(2));
    assert_eq!(count(log.since(2)), Some(0));
    log.push(3, (0..16_383).map(key).collect());
    assert_eq!(count(log.since(1)), None, "too far behind");
    assert_eq!(count(log.since(2)), Some(16_383));
}

#[test]
fn a_quarantine_keeps_the_last_accepted_version_and_ends_with_the_source() {
    let feeds = Feeds::default();
    feeds.apply("f", 1, build::update([build::listener("web", 1, "web")]));
    acked(&feeds, ResourceType::Listener, "web");
    let good = feeds.snapshot("f").and_then(|s| s.get(ResourceType::Listener, "web").cloned());
    feeds.apply("f", 2, build::update([build::listener("web", 2, "web")]));
    feeds.apply("f", 3, build::update([build::listener("web", 3, "web")]));
    let bad = build::listener("web", 3, "web").version;
    refused(&feeds, ResourceType::Listener, "web", bad);
    let held = |feeds: &Feeds| {
        let snapshot = feeds.snapshot("f").expect("applied");
        snapshot.quarantine().resource(ResourceType::Listener, &"web".into()).cloned()
    };
    assert_eq!(held(&feeds).and_then(|h| h.good), good);
    assert_eq!(feeds.metrics().quarantined.get(), 1);
    feeds.apply("f", 4, build::update([build::listener("web", 4, "web")]));
    assert!(held(&feeds).is_none());
    assert_eq!(feeds.metrics().quarantined.get(), 0);
}

#[test]
fn a_refusal_of_what_is_gone_is_not_reported() {
    let feeds = Feeds::default();
    feeds.apply("f", 1, build::update([build::listener("web", 1, "web")]));
    let old = build::listener("web", 1, "web").version;
    feeds.apply("f", 2, build::update([build::listener("web", 2, "web")]));
    refused(&feeds, ResourceType::Listener, "web", old);
    assert!(feeds.deliveries().all().is_empty());
    assert_eq!(feeds.metrics().quarantined.get(), 0);
}

#[test]
fn reports_go_with_what_they_speak_of() {
    let feeds = Feeds::new(Settings::default());
    let mut changes = feeds.deliveries().subscribe();
    feeds.apply("f", 1, build::update([build::listener("web", 1, "web")]));
    acked(&feeds, ResourceType::Listener, "web");
    assert!(changes.has_changed().expect("alive"));
    changes.mark_unchanged();
    assert_eq!(feeds.deliveries().of_feed("f")[0].delivery, Delivery::Accepted);
    acked(&feeds, ResourceType::Listener, "web");
    assert!(!changes.has_changed().expect("alive"), "nothing new");
    feeds.apply("f", 2, build::removal([(ResourceType::Listener, "web")]));
    assert!(feeds.deliveries().all().is_empty());
    feeds.apply("g", 1, build::update([build::listener("web", 1, "web")]));
    feeds.remove("g");
    assert!(feeds.deliveries().all().is_empty());
}
