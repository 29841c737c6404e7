//! Limits of BackendTrafficPolicies beyond which requests fail at once, or wait.

use std::collections::BTreeSet;

use e2e::{Backends, Reply, eventually};

use crate::stage::Stage;

/// Replies of the proxy itself for requests beyond a limit.
fn beyond(replies: &[Reply]) -> usize {
    let refused = |reply: &&Reply| {
        reply.status == 503 && reply.backend().is_empty() && reply.text().contains("reset reason: overflow")
    };
    replies.iter().filter(refused).count()
}

/// Connections of the proxy to the backend that the answers came by.
fn connections(replies: &[Reply]) -> BTreeSet<String> {
    let answers = replies.iter().filter(|reply| reply.status == 200);
    answers.map(|reply| reply.answer().remote).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_what_a_backend_takes_fail_at_once() {
    let backends = Backends::start(&["a"]).await;
    let policies = [
        ("parallel", "circuitBreaker: {maxParallelRequests: 1}\n"),
        ("pending", "circuitBreaker: {maxConnections: 1, maxPendingRequests: 1}\n"),
        ("closed", "circuitBreaker: {maxPendingRequests: 0}\n"),
    ];
    let stage = Stage::set(&backends, &policies).await;
    for name in ["parallel", "pending"] {
        eventually(&format!("{name}: some are refused, some are not"), async || {
            let replies = stage.burst(name, "/?x-echo-delay=500ms", 6).await;
            let (refused, good) = (beyond(&replies), connections(&replies).len());
            let all = replies.iter().filter(|reply| reply.status == 200).count() + refused;
            assert_eq!(all, replies.len(), "{name}: nothing else happens: {replies:?}");
            (refused >= 2 && good >= 1).then_some(())
        })
        .await;
        assert_eq!(stage.get(name).await.status, 200, "{name}: afterwards");
    }
    // No request may wait for its connection, so none gets one.
    let reply = stage.get("closed").await;
    assert_eq!(beyond(&[reply]), 1);
    let replies = stage.burst("plain", "/?x-echo-delay=300ms", 6).await;
    assert_eq!(beyond(&replies), 0);
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_backends_are_limited() {
    let backends = Backends::start(&["a"]).await;
    let policies = [
        ("all", "circuitBreaker: {maxConnections: 1}\n"),
        ("each", "circuitBreaker: {perEndpoint: {maxConnections: 1}}\n"),
        ("once", "circuitBreaker: {maxRequestsPerConnection: 1}\n"),
    ];
    let stage = Stage::set(&backends, &policies).await;
    for name in ["all", "each"] {
        let replies = stage.burst(name, "/?x-echo-delay=100ms", 4).await;
        assert!(replies.iter().all(|reply| reply.status == 200), "{name}: requests wait: {replies:?}");
        assert_eq!(connections(&replies).len(), 1, "{name}");
    }
    eventually("without a limit there are more", async || {
        let replies = stage.burst("plain", "/?x-echo-delay=300ms", 4).await;
        (connections(&replies).len() > 1).then_some(())
    })
    .await;
    let mut replies = Vec::new();
    for _ in 0..4 {
        replies.push(stage.get("once").await);
    }
    assert_eq!(connections(&replies).len(), 4, "a connection for each request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_backend_is_spared() {
    let backends = Backends::start(&["a"]).await;
    let says = "admissionControl: {samplingWindow: 10s, minSuccessRate: 90, maxRejectionPercent: 70}\n";
    let lenient = "admissionControl: {samplingWindow: 10s, minSuccessRate: 90, successCriteria: {http: {statusCodes: \
                   [200, 500]}}}\n";
    let stage = Stage::set(&backends, &[("spared", says), ("lenient", lenient)]).await;
    let broken = [("x-echo-status", "500")];
    eventually("requests are refused", async || {
        stage.ask("spared", &broken).await.backend().is_empty().then_some(())
    })
    .await;
    let mut reached = 0;
    for _ in 0..60 {
        reached += usize::from(stage.ask("spared", &broken).await.backend() == "a");
        assert_eq!(stage.ask("lenient", &broken).await.backend(), "a", "500 is a success there");
        assert_eq!(stage.ask("plain", &broken).await.backend(), "a");
    }
    // Three of ten get through; of sixty none, or nearly all, would be another rule.
    assert!((3..50).contains(&reached), "{reached}");
}
