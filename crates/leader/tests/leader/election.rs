//! Who leads, and that nobody else writes.

use std::{borrow::Cow, time::Duration};

use ir::{
    Condition, ConditionStatus, Kind, ObjectRef,
    status::{Status, StatusBody},
};
use serde_json::json;

use leader::testing::{Fake, Fault};

use crate::{LEASE, Running, elected, pass};

const CLASS: &str = "/apis/gateway.networking.k8s.io/v1/gatewayclasses/edge";

fn status(message: &str) -> Status {
    let condition = Condition {
        kind: "Accepted",
        status: ConditionStatus::True,
        reason: Cow::Borrowed("Accepted"),
        message: message.to_owned(),
        observed_generation: 1,
    };
    Status {
        object: ObjectRef::new(Kind::GatewayClass, "", "edge"),
        body: StatusBody::Conditions(vec![condition]),
        problems: Vec::new(),
    }
}

fn message(fake: &Fake) -> Option<String> {
    let class = fake.get(CLASS)?;
    Some(class["status"]["conditions"][0]["message"].as_str()?.to_owned())
}

fn class() -> Fake {
    let fake = Fake::new();
    fake.put(CLASS, json!({ "metadata": {}, "spec": {} }));
    fake
}

fn holder(fake: &Fake) -> Option<String> {
    Some(fake.get(LEASE)?["spec"]["holderIdentity"].as_str()?.to_owned())
}

#[tokio::test(start_paused = true)]
async fn one_of_three_leads_and_one_that_stops_hands_over_at_once() {
    let fake = class();
    let first = Running::synced(fake.client(), elected("first"));
    first.leading().await;
    assert_eq!(holder(&fake).as_deref(), Some("first"));
    let others = ["second", "third"].map(|name| Running::synced(fake.client(), elected(name)));
    for other in &others {
        other.leader.statuses().set(&status("from a follower"));
    }
    first.leader.statuses().set(&status("from the leader"));
    fake.until("written", |fake| message(fake).as_deref() == Some("from the leader")).await;
    pass(60.0).await;
    assert!(first.leads() && others.iter().all(|other| !other.leads()));
    assert_eq!(others[0].following().await.as_deref(), Some("first"));
    assert_eq!(fake.calls(&["PUT"], CLASS).len(), 1);
    let begun = tokio::time::Instant::now();
    first.stop().await;
    fake.until("another writes", |fake| message(fake).as_deref() == Some("from a follower")).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "not after the Lease's end, but at the next look");
    assert_eq!(fake.get(LEASE).unwrap()["spec"]["leaseTransitions"], 1);
    assert_eq!(others.iter().filter(|other| other.leads()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_is_followed_when_the_lease_has_run_out() {
    let fake = class();
    let first = Running::synced(fake.client(), elected("first"));
    first.leading().await;
    let second = Running::synced(fake.client(), elected("second"));
    pass(30.0).await;
    assert!(!second.leads());
    let begun = tokio::time::Instant::now();
    first.kill();
    second.leading().await;
    let took = begun.elapsed().as_secs_f64();
    assert!((13.0..21.0).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_the_lease_runs_out_and_its_calls_end() {
    let fake = class();
    let first = Running::synced(fake.client(), elected("first"));
    first.leading().await;
    fake.order("PUT", "/leases", usize::MAX, Fault::Answer(500));
    fake.order("GET", "/leases", usize::MAX, Fault::Answer(500));
    let renewed = fake.calls(&["PUT", "POST"], "/leases").iter().rfind(|c| c.status < 300).unwrap().at;
    // A write hangs at the API server for longer than the term.
    fake.order("PUT", "/status", 1, Fault::Slow(Duration::from_secs(100)));
    first.leader.statuses().set(&status("hangs"));
    let holder = first.following().await;
    assert_eq!(holder, None);
    assert!(renewed.elapsed() < Duration::from_secs(15), "{:?}", renewed.elapsed());
    fake.forget_calls();
    first.leader.statuses().set(&status("not now"));
    pass(120.0).await;
    assert_eq!(fake.calls(&[], "").len(), 0, "nobody who does not lead calls");
    fake.no_faults();
    first.leading().await;
    fake.until("written", |fake| message(fake).as_deref() == Some("not now")).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_api_server_costs_neither_lease_nor_writes() {
    let fake = class();
    for (method, path) in [("GET", "/"), ("PUT", "/"), ("POST", "/")] {
        fake.order(method, path, usize::MAX, Fault::Slow(Duration::from_secs(5)));
    }
    let running = Running::synced(fake.client(), elected("us"));
    running.leading().await;
    running.leader.statuses().set(&status("slowly"));
    fake.until("written", |fake| message(fake).is_some()).await;
    for _ in 0..600 {
        pass(0.1).await;
        assert!(running.leads());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_else_takes_ends_the_term() {
    let fake = class();
    let running = Running::synced(fake.client(), elected("us"));
    running.leading().await;
    fake.edit(LEASE, |lease| {
        lease["metadata"]["labels"] = json!({ "kept": "yes" });
        lease["spec"]["holderIdentity"] = "them".into();
        lease["spec"]["renewTime"] = "2026-01-01T00:00:00.000001Z".into();
    });
    assert_eq!(running.following().await.as_deref(), Some("them"));
    running.leading().await;
    let lease = fake.get(LEASE).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "us");
    assert_eq!(lease["metadata"]["labels"]["kept"], "yes");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 15);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_in_the_middle_of_a_write_ends_it_first() {
    let fake = class();
    let running = Running::synced(fake.client(), elected("us"));
    running.leading().await;
    fake.order("PUT", "/status", 1, Fault::Slow(Duration::from_secs(9)));
    running.leader.statuses().set(&status("hangs"));
    fake.until("it hangs", |fake| !fake.calls(&["PUT"], "/status").is_empty()).await;
    let begun = tokio::time::Instant::now();
    running.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(holder(&fake).as_deref(), Some(""));
}
