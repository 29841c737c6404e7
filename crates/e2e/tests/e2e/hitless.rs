//! Changes under load: no request fails that was not meant to.

use std::time::{Duration, Instant};

use e2e::{Backends, Certificate, Client, Gateway, Loop, eventually, free_port, get, manifest as m, request};

/// Rounds of five changes each.
const ROUNDS: usize = 40;

/// What one run needs.
struct Stage {
    gateway: Gateway,
    backends: Backends,
    http: u16,
    https: u16,
}

impl Stage {
    async fn set() -> Stage {
        let backends = Backends::start(&["a", "b"]).await;
        let (http, https) = (free_port(), free_port());
        let listeners = m::http("http", http) + &m::https("https", https, "", &["cert"]);
        let base = backends.manifest() + &m::gateway("shop", &listeners);
        let stable = m::route("stable", "shop", &["stable.example.com"], &m::to("a"));
        let service =
            m::service("svc") + &m::route("svc", "shop", &["svc.example.com"], &m::to_service("svc"));
        let gateway = Gateway::start(&[
            ("base.yaml", &base),
            ("cert.yaml", &Certificate::new(&["stable.example.com"]).secret("cert")),
            ("stable.yaml", &stable),
            ("service.yaml", &service),
            ("slice-0.yaml", &m::slice("svc", "svc-0", backends.port("a"), "ready: true")),
            ("swap.yaml", &m::route("swap", "shop", &["swap.example.com"], &m::to("a"))),
            ("filter.yaml", &m::route("filter", "shop", &["filter.example.com"], &marked(0))),
        ])
        .await;
        Stage { gateway, backends, http, https }
    }

    /// Moves the Service's endpoints on to the other backend, as a rollout does: first both, then the old one drains,
    /// then it is gone.
    fn roll(&self, round: usize) {
        let (old, new) = (round / 3, round / 3 + 1);
        let port = |slice: usize| self.backends.port(["a", "b"][slice % 2]);
        let slice = |n: usize, conditions: &str| m::slice("svc", &format!("svc-{n}"), port(n), conditions);
        let draining = "ready: false, serving: true, terminating: true";
        match round % 3 {
            0 => self.gateway.write(&format!("slice-{new}.yaml"), &slice(new, "ready: true")),
            1 => self.gateway.write(&format!("slice-{old}.yaml"), &slice(old, draining)),
            _ => self.gateway.remove(&format!("slice-{old}.yaml")),
        }
    }
}

/// A rule with a header that tells which edit is in force.
fn marked(edit: usize) -> String {
    format!(
        "- filters:\n  - type: ResponseHeaderModifier\n    responseHeaderModifier:\n      set:\n      - name: x-edit\n        \
         value: \"{edit}\"\n  backendRefs:\n{}",
        m::backend_ref("a")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_changes_under_load() {
    let stage = Stage::set().await;
    let (gateway, http) = (&stage.gateway, stage.http);
    gateway.answers(http, "svc.example.com", "/", 200, &[]).await;
    let mut clients = Loop::new();
    for host in ["stable.example.com", "swap.example.com", "svc.example.com", "filter.example.com"] {
        clients.http1(http, host, "/x");
    }
    clients.http1_fresh(http, "stable.example.com", "/fresh");
    for host in ["swap.example.com", "svc.example.com", "filter.example.com"] {
        clients.h2c(http, host, "/h2c");
    }
    clients.tls(stage.https, "stable.example.com", "/tls", "h2");
    let started = Instant::now();
    let (mut changes, mut seen) = (0, Vec::new());
    for round in 0..ROUNDS {
        let target = ["b", "a"][round % 2];
        gateway.write("swap.yaml", &m::route("swap", "shop", &["swap.example.com"], &m::to(target)));
        stage.roll(round);
        gateway.write("filter.yaml", &m::route("filter", "shop", &["filter.example.com"], &marked(round)));
        changes += 3;
        let (host, file) = (format!("new-{round}.example.com"), format!("new-{round}.yaml"));
        let backend = ["a", "b"][round % 2];
        gateway.write(&file, &m::route(&format!("new-{round}"), "shop", &[&host], &m::to(backend)));
        seen.push(gateway.answers(http, &host, "/", 200, &[404]).await.backend().to_owned());
        gateway.remove(&file);
        gateway.answers(http, &host, "/", 404, &[200]).await;
        changes += 2;
        if round % 8 == 7 {
            let certificate = Certificate::new(&["stable.example.com"]);
            gateway.write("cert.yaml", &certificate.secret("cert"));
            shown(stage.https, &certificate).await;
            changes += 1;
        }
    }
    let took = started.elapsed();
    let last = gateway.answers(http, "filter.example.com", "/", 200, &[]).await;
    assert_eq!(last.header("x-edit"), (ROUNDS - 1).to_string(), "the last edit is in force");
    let report = clients.stop().await;
    println!("{changes} changes in {took:?}, {} requests, {} bad", report.good, report.bad.len());
    assert!(changes >= 200);
    assert!(report.good > 1_000, "clients were at work: {}", report.good);
    assert_eq!(report.bad, Vec::<String>::new());
    assert_eq!(seen.iter().filter(|backend| *backend == "a").count(), ROUNDS / 2);
    assert_eq!(gateway.json("/problems").await, serde_json::json!([]));
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

/// Waits until a certificate is shown.
async fn shown(port: u16, certificate: &Certificate) {
    eventually("the new certificate is shown", async || {
        let (_, der) = Client::tls(port, "stable.example.com", "http/1.1").await?;
        (der == certificate.der).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_drain_are_left_before_they_go() {
    let old = Backends::start(&["old"]).await;
    let new = Backends::start(&["new"]).await;
    let port = free_port();
    let base = m::gateway("shop", &m::http("http", port))
        + &m::service("svc")
        + &m::route("svc", "shop", &[], &m::to_service("svc"));
    let first = m::slice("svc", "svc-0", old.port("old"), "ready: true");
    let gateway = Gateway::start(&[("base.yaml", &base), ("slice.yaml", &first)]).await;
    let mut clients = Loop::new();
    clients.http1(port, "any.example.com", "/");
    clients.http1_fresh(port, "any.example.com", "/");
    tokio::time::sleep(Duration::from_millis(200)).await;
    gateway.write("slice.yaml", &m::slice("svc", "svc-1", new.port("new"), "ready: true"));
    eventually("the new endpoint answers", async || {
        let reply = Client::http1(port).await.send(get("any.example.com", "/")).await;
        (reply.backend() == "new").then_some(())
    })
    .await;
    // A pod that is gone from the slices still has time for what is under way; then it ends.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(old);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mirrors_follow_their_endpoints() {
    let backends = Backends::start(&["main", "old", "new"]).await;
    let port = free_port();
    let rule = format!(
        "- filters:\n  - type: RequestMirror\n    requestMirror:\n      backendRef:\n        name: svc\n        port: 80\n  \
         backendRefs:\n{}",
        m::backend_ref("main")
    );
    let base = backends.manifest()
        + &m::gateway("shop", &m::http("http", port))
        + &m::service("svc")
        + &m::route("mirrored", "shop", &[], &rule);
    let slice = |backend: &str| m::slice("svc", "svc-0", backends.port(backend), "ready: true");
    let gateway = Gateway::start(&[("base.yaml", &base), ("slice.yaml", &slice("old"))]).await;
    for backend in ["old", "new", "old"] {
        gateway.write("slice.yaml", &slice(backend));
        let mut attempt = 0;
        eventually(&format!("{backend} gets a copy"), async || {
            attempt += 1;
            let key = format!("{backend}-{attempt}");
            let knobs = [("x-echo-fail-first", "1"), ("x-echo-key", &*key)];
            let mut client = Client::http1(port).await;
            let reply = client.send(request("GET", "any", "/", &knobs, "")).await;
            assert_eq!(reply.backend(), "main", "answers come from the main backend");
            tokio::time::sleep(Duration::from_millis(50)).await;
            // The first request with a key fails: one that does not was preceded by the copy.
            let mut direct = Client::http1(backends.port(backend)).await;
            (direct.send(request("GET", "any", "/", &knobs, "")).await.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go_beside_others() {
    let backends = Backends::start(&["a"]).await;
    let (first, second) = (free_port(), free_port());
    let files = |listeners: &str| {
        backends.manifest() + &m::gateway("shop", listeners) + &m::route("all", "shop", &[], &m::to("a"))
    };
    let one = files(&m::http("first", first));
    let two = files(&(m::http("first", first) + &m::http("second", second)));
    let gateway = Gateway::start(&[("base.yaml", &one)]).await;
    let mut clients = Loop::new();
    clients.http1(first, "any.example.com", "/");
    clients.http1_fresh(first, "any.example.com", "/");
    for _ in 0..5 {
        gateway.write("base.yaml", &two);
        eventually("the second listener serves", async || {
            let reply = Client::try_http1(second).await?.try_send(get("any", "/")).await?;
            // A listener is not open before it has its routes.
            assert_eq!(reply.status, 200, "{}", reply.text());
            Some(())
        })
        .await;
        gateway.write("base.yaml", &one);
        eventually("the second listener is closed", async || {
            Client::try_http1(second).await.is_none().then_some(())
        })
        .await;
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 20, "clients were at work: {}", report.good);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_workers_follow_changes_together() {
    let backends = Backends::start(&["a", "b"]).await;
    let port = free_port();
    let base = backends.manifest() + &m::gateway("shop", &m::http("http", port));
    let swap = |backend: &str| m::route("swap", "shop", &[], &m::to(backend));
    let files = [("base.yaml", &*base), ("swap.yaml", &*swap("a"))];
    let gateway = Gateway::spawn(&files, &["--concurrency", "2"]);
    gateway.ready().await;
    let mut clients = Loop::new();
    // Connections spread over the workers by chance: of eight, all on one is seldom.
    for _ in 0..4 {
        clients.http1(port, "any.example.com", "/");
        clients.h2c(port, "any.example.com", "/");
    }
    for round in 0..10 {
        let backend = ["b", "a"][round % 2];
        gateway.write("swap.yaml", &swap(backend));
        // A worker that missed the change would answer with the other backend for good.
        let mut same = 0;
        eventually("every connection reaches the new backend", async || {
            let reply = Client::http1(port).await.send(get("any.example.com", "/")).await;
            same = if reply.backend() == backend { same + 1 } else { 0 };
            (same == 8).then_some(())
        })
        .await;
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 100, "clients were at work: {}", report.good);
}
