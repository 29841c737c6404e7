//! Endpoints that are sick: who finds out, how long they get nothing, and who stands in for them.

use std::{collections::BTreeMap, time::Duration};

use e2e::{Backends, Loop, eventually, manifest as m};

use crate::stage::{Stage, pool};

/// Requests of one look.
const LOOK: usize = 20;

/// Backends, and the proxy itself as the empty name, with how often they gave a status.
type Seen = BTreeMap<(String, u16), usize>;

async fn look(stage: &Stage, name: &str, path: &str) -> Seen {
    let mut seen = Seen::new();
    for _ in 0..LOOK {
        let reply = stage.send(name, "GET", path, &[], "").await;
        *seen.entry((reply.backend().to_owned(), reply.status)).or_default() += 1;
    }
    seen
}

/// Waits until these answer, each with its status, and nobody else.
async fn only(stage: &Stage, name: &str, path: &str, wanted: &[(&str, u16)]) {
    eventually(&format!("{name}{path} is answered by {wanted:?} alone"), async || {
        let seen = look(stage, name, path).await;
        let wanted = wanted.iter().map(|(backend, status)| ((*backend).to_owned(), *status));
        seen.into_keys().eq(wanted).then_some(())
    })
    .await;
}

/// Both backends as endpoints of one.
fn both(backends: &Backends) -> String {
    pool("both", &[(backends.port("a"), ""), (backends.port("b"), "")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_fails_gets_nothing_for_a_while() {
    let backends = Backends::start(&["a", "b"]).await;
    let passive = |says: &str| format!("healthCheck: {{passive: {{interval: 200ms, {says}}}}}\n");
    let short = passive("consecutive5XxErrors: 3, baseEjectionTime: 1s, maxEjectionPercent: 50");
    let long = passive("consecutive5XxErrors: 3, baseEjectionTime: 60s, maxEjectionPercent: 50");
    let gateway = passive(
        "consecutive5XxErrors: 1000, consecutiveGatewayErrors: 2, baseEjectionTime: 60s, maxEjectionPercent: 50",
    );
    let few = passive("consecutive5XxErrors: 3, baseEjectionTime: 60s");
    let one = passive("consecutive5XxErrors: 3, baseEjectionTime: 60s, alwaysEjectOneEndpoint: true");
    let policies = [("short", &*short), ("long", &long), ("gateway", &gateway), ("few", &few), ("one", &one)];
    let stage = Stage::over(&both(&backends), &m::to("both"), &policies).await;
    for name in ["plain", "short", "long"] {
        only(&stage, name, echo::HEALTH_PATH, &[("a", 200), ("b", 200)]).await;
    }
    backends.is_well("b", false);
    for name in ["short", "long", "gateway", "one"] {
        only(&stage, name, echo::HEALTH_PATH, &[("a", 200)]).await;
    }
    // A tenth of two endpoints is none.
    for name in ["plain", "few"] {
        for _ in 0..3 {
            let seen = look(&stage, name, echo::HEALTH_PATH).await;
            assert!(seen.contains_key(&("b".to_owned(), 503)), "{name}: {seen:?}");
        }
    }
    backends.is_well("b", true);
    only(&stage, "short", echo::HEALTH_PATH, &[("a", 200), ("b", 200)]).await;
    // The others still do without it, however well it is.
    for name in ["long", "gateway", "one"] {
        let seen = look(&stage, name, echo::HEALTH_PATH).await;
        assert_eq!(seen, Seen::from([(("a".to_owned(), 200), LOOK)]), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_find_the_sick_and_the_well() {
    let backends = Backends::start(&["a", "b"]).await;
    // Checks by gRPC need HTTP/2, and a host that is no name of a cluster, which strict servers refuse.
    let pool = both(&backends)
        .replacen("spec:\n", "spec:\n  appProtocols: [gateway.envoyproxy.io/h2c]\n", 1)
        .replace("- {ip:", "- {hostname: both.example.com, ip:");
    let asked = r#"send: {type: Text, text: "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n"}"#;
    let tcp = format!("type: TCP, tcp: {{{asked}, receive: {{type: Text, text: 200 OK}}}}");
    let table = [
        ("http", "", "type: HTTP, http: {path: /healthz}"),
        ("tcp", "", &*tcp),
        ("grpc", "", "type: GRPC, grpc: {}"),
        ("strict", ", panicThreshold: 0", "type: HTTP, http: {path: /healthz, expectedStatuses: [200]}"),
    ];
    let names = table.map(|(name, _, _)| name);
    let stage = Stage::over(&pool, &m::to("both"), &names.map(|name| (name, "tcpKeepalive: {}\n"))).await;
    for name in names {
        only(&stage, name, "/", &[("a", 200), ("b", 200)]).await;
    }
    // A cluster without traffic is checked once a minute, so these have some before checks begin.
    for (name, threshold, check) in table {
        let says = format!(
            "healthCheck: {{active: {{interval: 100ms, timeout: 500ms, unhealthyThreshold: 1, {check}}}{threshold}}}\n"
        );
        stage.policy(name, &says);
    }
    for sick in ["a", "b"] {
        let well = if sick == "a" { "b" } else { "a" };
        backends.is_well(sick, false);
        for name in names {
            only(&stage, name, "/", &[(well, 200)]).await;
        }
        backends.is_well(sick, true);
        for name in names {
            only(&stage, name, "/", &[("a", 200), ("b", 200)]).await;
        }
    }
    // When nobody is well, either all are tried or none.
    for name in ["a", "b"] {
        backends.is_well(name, false);
    }
    only(&stage, "strict", "/", &[("", 503)]).await;
    for name in ["http", "tcp", "grpc", "plain"] {
        only(&stage, name, "/", &[("a", 200), ("b", 200)]).await;
    }
    backends.is_well("a", true);
    for name in names {
        only(&stage, name, "/", &[("a", 200)]).await;
    }
    assert_eq!(stage.gateway.json("/audit").await, serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fallback_serves_while_the_others_are_sick() {
    let backends = Backends::start(&["a", "b"]).await;
    let fallback = m::backend("b", backends.port("b")).replacen("spec:\n", "spec:\n  fallback: true\n", 1);
    let rule = m::to("a") + &m::backend_ref("b");
    let stage =
        Stage::over(&(m::backend("a", backends.port("a")) + &fallback), &rule, &[("checked", "")]).await;
    for name in ["plain", "checked"] {
        only(&stage, name, "/", &[("a", 200)]).await;
    }
    let check = "healthCheck: {active: {interval: 100ms, timeout: 500ms, unhealthyThreshold: 1, type: HTTP, http: {path: \
                 /healthz}}}\n";
    stage.policy("checked", check);
    for _ in 0..2 {
        backends.is_well("a", false);
        only(&stage, "checked", "/", &[("b", 200)]).await;
        only(&stage, "plain", "/", &[("a", 200)]).await;
        backends.is_well("a", true);
        only(&stage, "checked", "/", &[("a", 200)]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_checks_begin_and_end() {
    let backends = Backends::start(&["a"]).await;
    let stage = Stage::set(&backends, &[("checked", ""), ("other", "")]).await;
    let mut clients = Loop::new();
    clients.http1(stage.port, "checked.example.com", "/");
    clients.h2c(stage.port, "checked.example.com", "/h2c");
    // The rule leaves the cluster that it shares with others for one that is not there before its first check is over.
    let check = "healthCheck: {active: {interval: 10s, timeout: 800ms, type: HTTP, http: {path: \"/?x-echo-delay=400ms\"}}}\n";
    for says in [check, "", check] {
        stage.policy("checked", says);
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 100, "clients were at work: {}", report.good);
    assert_eq!(stage.gateway.json("/audit").await, serde_json::json!([]));
}
