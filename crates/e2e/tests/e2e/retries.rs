//! Further attempts and time limits of BackendTrafficPolicies, counted where requests arrive.

use std::time::{Duration, Instant};

use e2e::{Backends, Channel, Client, Gateway, eventually, free_port, get, manifest as m, request};
use echo::grpc::{EchoRequest, EchoResponse, SERVICE};

use crate::stage::Stage;

/// More attempts than any policy here makes.
const MANY: u32 = 12;

/// How many requests with this key have come to a backend; it asks until the backend has seen [`MANY`].
async fn attempts(port: u16, key: &str) -> u32 {
    let many = MANY.to_string();
    let knobs = [("x-echo-fail-first", &*many), ("x-echo-key", key)];
    for left in 0..=MANY {
        if Client::http1(port).await.send(request("GET", "direct", "/", &knobs, "")).await.status == 200 {
            return MANY - left;
        }
    }
    panic!("{key} fails for ever");
}

/// A retry without pauses, with this inside of `retryOn`.
fn on(what: &str) -> String {
    format!(
        "retry: {{numRetries: 4, perRetry: {{backOff: {{baseInterval: 1ms, maxInterval: 2ms}}}}, retryOn: {{{what}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_tried_again_for_what_the_policy_names() {
    let backends = Backends::start(&["a"]).await;
    let teapot = on("triggers: [retriable-status-codes], httpStatusCodes: [418]");
    let [any, gateway, reset, conflict] = ["5xx", "gateway-error", "reset", "retriable-4xx"]
        .map(|trigger| on(&format!("triggers: [{trigger}]")));
    let policies = [
        ("usual", "retry: {}\n"),
        ("teapot", &teapot),
        ("any", &any),
        ("gateway", &gateway),
        ("reset", &reset),
        ("conflict", &conflict),
    ];
    let stage = Stage::set(&backends, &policies).await;
    // Which route, what the backend answers the first times, and whether that is tried again.
    let table = [
        ("plain", "503", false),
        ("usual", "503", true),
        ("usual", "500", false),
        ("teapot", "418", true),
        ("teapot", "503", false),
        ("any", "500", true),
        ("any", "418", false),
        ("gateway", "502", true),
        ("gateway", "500", false),
        ("conflict", "409", true),
        ("conflict", "418", false),
        ("reset", "500", false),
    ];
    for (name, status, again) in table {
        let key = format!("{name}-{status}");
        let knobs = [("x-echo-status", status), ("x-echo-fail-first", "2"), ("x-echo-key", &key)];
        let wanted = if again { (200, 3) } else { (status.parse().unwrap(), 1) };
        let came = stage.ask(name, &knobs).await.status;
        assert_eq!((came, attempts(backends.port("a"), &key).await), wanted, "{key}");
    }
    let closed = [("x-echo-close", "true"), ("x-echo-fail-first", "2"), ("x-echo-key", "closed")];
    assert_eq!(stage.ask("reset", &closed).await.status, 200);
    assert_eq!(attempts(backends.port("a"), "closed").await, 3);
    let closed = [("x-echo-close", "true"), ("x-echo-fail-first", "1"), ("x-echo-key", "plain-closed")];
    assert_eq!(stage.ask("plain", &closed).await.status, 503);
    // As often as is said, and no more: two times by default.
    for (name, made) in [("usual", 3), ("any", 5)] {
        let knobs = [("x-echo-fail-first", "12"), ("x-echo-key", name)];
        assert_eq!(stage.ask(name, &knobs).await.status, 503);
        assert_eq!(attempts(backends.port("a"), name).await, made, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_tried_again_when_the_server_is_unavailable() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let call = |name: &str| m::grpc_route(name, "eg", &[&format!("{name}.example.com")], &m::to("h2c"));
    let files = m::backend_speaking("h2c", backends.port("a"), "gateway.envoyproxy.io/h2c")
        + &m::gateway("eg", &m::http("http", port))
        + &call("plain")
        + &call("again")
        + &m::backend_traffic_policy("again", ("GRPCRoute", "again"), "retry: {}\n");
    let _gateway = Gateway::start(&[("all.yaml", &files)]).await;
    let path = format!("/{SERVICE}/Unary");
    let say = EchoRequest { message: "hello".to_owned(), ..EchoRequest::default() };
    let asked = async |name: &str, key: &str| {
        let knobs = [("x-echo-fail-first", "2"), ("x-echo-key", key)];
        let host = format!("{name}.example.com");
        let mut channel = Channel::connect(port).await;
        channel
            .unary::<_, EchoResponse>(&host, &path, &knobs, say.clone())
            .await
            .map_err(|ended| ended.status)
    };
    eventually("calls are served", async || {
        let host = "plain.example.com";
        let mut channel = Channel::connect(port).await;
        channel.unary::<_, EchoResponse>(host, &path, &[], say.clone()).await.ok()
    })
    .await;
    assert_eq!(asked("plain", "plain").await.map(|answer| answer.message), Err(14));
    assert_eq!(asked("again", "again").await.map(|answer| answer.message), Ok("hello".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_has_its_time_and_pauses_grow_as_is_said() {
    let backends = Backends::start(&["a"]).await;
    let timed = "retry: {numRetries: 2, perRetry: {timeout: 200ms, backOff: {baseInterval: 1ms, maxInterval: 2ms}}, \
                 retryOn: {triggers: [gateway-error]}}\n";
    let paused = |interval: &str| {
        format!(
            "retry: {{numRetries: 4, perRetry: {{backOff: {{baseInterval: {interval}, maxInterval: {interval}}}}}, retryOn: \
             {{triggers: [5xx]}}}}\n"
        )
    };
    let (quick, slow) = (paused("1ms"), paused("1s"));
    let stage = Stage::set(&backends, &[("timed", timed), ("quick", &quick), ("slow", &slow)]).await;
    let took = async |name: &str, knobs: &[(&str, &str)]| {
        let started = Instant::now();
        (stage.ask(name, knobs).await.status, started.elapsed())
    };
    let late = [("x-echo-delay", "8s"), ("x-echo-fail-first", "12"), ("x-echo-key", "timed")];
    let (status, time) = took("timed", &late).await;
    assert_eq!((status, attempts(backends.port("a"), "timed").await), (504, 3));
    assert!((Duration::from_millis(500)..Duration::from_secs(7)).contains(&time), "{time:?}");
    // Pauses are drawn between nothing and the interval: four of a second are two on average.
    let broken = [("x-echo-status", "500")];
    let ((_, quick), (_, slow)) = (took("quick", &broken).await, took("slow", &broken).await);
    assert!(slow > quick, "{slow:?} for long pauses, {quick:?} for short ones");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_attempts_have_a_limit_of_their_own() {
    let backends = Backends::start(&["a"]).await;
    let retry = "retry: {numRetries: 1, retryOn: {triggers: [5xx]}}\n";
    let budget = |percent: u32, at_least: u32| {
        format!(
            "{retry}circuitBreaker: {{retryBudget: {{percent: {{numerator: {percent}}}, minRetryConcurrency: {at_least}}}}}\n"
        )
    };
    let none = format!("{retry}circuitBreaker: {{maxParallelRetries: 0}}\n");
    let (nothing, one, whole) = (budget(0, 0), budget(0, 1), budget(100, 0));
    let policies = [("none", &*none), ("nothing", &nothing), ("one", &one), ("whole", &whole)];
    let stage = Stage::set(&backends, &policies).await;
    for (name, made) in [("none", 1), ("nothing", 1), ("one", 2), ("whole", 2)] {
        let knobs = [("x-echo-fail-first", "12"), ("x-echo-key", name)];
        assert_eq!(stage.ask(name, &knobs).await.status, 503);
        assert_eq!(attempts(backends.port("a"), name).await, made, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_end_when_their_time_is_over() {
    let backends = Backends::start(&["a"]).await;
    // Who listens and takes nobody in: the kernel lets two connections wait and answers no more.
    let deaf = tokio::net::TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf = deaf.listen(1).unwrap();
    let address = deaf.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let connecting = tokio::net::TcpStream::connect(address);
        waiting.extend(tokio::time::timeout(Duration::from_millis(200), connecting).await);
    }
    let stage = Stage::set(
        &backends,
        &[
            ("whole", "timeout: {http: {requestTimeout: 300ms}}\n"),
            ("stream", "timeout: {http: {maxStreamDuration: 300ms}}\n"),
            ("idle", "timeout: {http: {streamIdleTimeout: 300ms}}\n"),
            ("never", "timeout: {http: {requestTimeout: 0s}}\n"),
        ],
    )
    .await;
    for (name, wanted) in [("whole", 504), ("stream", 504), ("idle", 504)] {
        let started = Instant::now();
        let status = stage.ask(name, &[("x-echo-delay", "8s")]).await.status;
        assert_eq!(status, wanted, "{name}");
        let took = started.elapsed();
        assert!((Duration::from_millis(250)..Duration::from_secs(7)).contains(&took), "{name}: {took:?}");
        assert_eq!(stage.get(name).await.status, 200, "{name}");
    }
    assert_eq!(stage.ask("never", &[("x-echo-delay", "600ms")]).await.status, 200);

    let files = m::backend("deaf", address.port())
        + &m::route("deaf", "eg", &["deaf.example.com"], &m::to("deaf"))
        + &m::backend_traffic_policy(
            "deaf",
            ("HTTPRoute", "deaf"),
            "timeout: {tcp: {connectTimeout: 300ms}}\n",
        );
    stage.gateway.write("deaf.yaml", &files);
    stage.gateway.answers(stage.port, "deaf.example.com", "/", 503, &[404]).await;
    let started = Instant::now();
    let reply = Client::http1(stage.port).await.send(get("deaf.example.com", "/")).await;
    assert!(reply.text().contains("connection timeout"), "{} {}", reply.status, reply.text());
    // Ten seconds would be the default.
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    drop(waiting);
}
