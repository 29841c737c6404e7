//! What BackendTrafficPolicies do to requests: each route of a gateway has one policy, and `plain` has none.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use e2e::{Backends, Loop, eventually, manifest as m, websocket_echo};

use crate::stage::Stage;

/// From a change of a file to what a status says of it.
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_cannot_be_applied_answers_500_on_its_routes_alone() {
    let backends = Backends::start(&["a"]).await;
    let stage = Stage::set(&backends, &[("global", ""), ("buffered", "")]).await;
    let two_rules = m::prefix_to("/in", "a") + &m::prefix_to("/out", "a");
    let two_rules = m::route("two", "eg", &["two.example.com"], &two_rules).replacen(
        "  - matches:",
        "  - name: in\n    matches:",
        1,
    );
    stage.gateway.write("two.yaml", &two_rules);
    stage.gateway.answers(stage.port, "two.example.com", "/in", 200, &[404]).await;
    let mut neighbours = Loop::new();
    neighbours.http1(stage.port, "plain.example.com", "/");
    neighbours.http1(stage.port, "two.example.com", "/out");
    let of_rule = m::backend_traffic_policy("two", ("HTTPRoute", "two"), "requestBuffer: {limit: 5Gi}\n")
        .replacen("    name: two\n", "    name: two\n    sectionName: in\n", 1);
    let global = "rateLimit: {global: {rules: [{limit: {requests: 1, unit: Hour}}]}}\n";
    let table = [
        ("global", "/", m::backend_traffic_policy("global", ("HTTPRoute", "global"), global)),
        (
            "buffered",
            "/",
            m::backend_traffic_policy("buffered", ("HTTPRoute", "buffered"), "requestBuffer: {limit: 5Gi}\n"),
        ),
        ("two", "/in", of_rule),
    ];
    for (name, path, policy) in table {
        let started = Instant::now();
        stage.gateway.write(&format!("{name}-policy.yaml"), &policy);
        let says = |c: &serde_json::Value| c["type"] == "Accepted" && c["reason"] == "Invalid";
        stage.gateway.condition("BackendTrafficPolicy", name, says).await;
        let took = started.elapsed();
        assert!(took < AT_ONCE, "{name}: the condition came after {took:?}");
        stage.gateway.answers(stage.port, &format!("{name}.example.com"), path, 500, &[200]).await;
        assert_eq!(stage.get("plain").await.status, 200);
    }
    let report = neighbours.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 10, "neighbours were asked: {}", report.good);
    // Without the policies all is well again.
    for (name, path) in [("global", "/"), ("buffered", "/"), ("two", "/in")] {
        stage.gateway.remove(&format!("{name}-policy.yaml"));
        stage.gateway.answers(stage.port, &format!("{name}.example.com"), path, 200, &[500]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_are_made_on_purpose() {
    let backends = Backends::start(&["a"]).await;
    let stage = Stage::set(
        &backends,
        &[
            ("late", "faultInjection: {delay: {fixedDelay: 300ms}}\n"),
            ("never", "faultInjection: {abort: {httpStatus: 503, percentage: 0}}\n"),
            ("broken", "faultInjection: {abort: {httpStatus: 501}}\n"),
        ],
    )
    .await;
    let started = Instant::now();
    assert_eq!(stage.get("late").await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert_eq!(stage.get("broken").await.status, 501);
    assert_eq!(stage.get("never").await.status, 200);
    assert_eq!(stage.get("plain").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_a_limit_are_refused() {
    let backends = Backends::start(&["a"]).await;
    let users = "rateLimit:\n  local:\n    rules:\n    - clientSelectors: [{headers: [{name: x-user, type: \
                 Distinct}], methods: [{value: GET}, {value: PUT}]}]\n      limit: {requests: 1, unit: Hour}\n";
    let stage = Stage::set(
        &backends,
        &[("users", users), ("few", "rateLimit: {local: {rules: [{limit: {requests: 3, unit: Hour}}]}}\n")],
    )
    .await;
    // The first request of `few` was that which told that it is served.
    let statuses = [stage.get("few").await, stage.get("few").await, stage.get("few").await];
    let (told, statuses) = (statuses[2].header("x-ratelimit-limit").to_owned(), statuses.map(|r| r.status));
    assert_eq!(statuses, [200, 200, 429]);
    assert!(told.starts_with('3'), "{told}");
    assert_eq!(stage.get("plain").await.status, 200);
    // More users than Envoy would remember without being told.
    let mut seen: BTreeMap<u16, u32> = BTreeMap::new();
    for _ in 0..2 {
        for user in 0..30 {
            let reply = stage.send("users", "PUT", "/", &[("x-user", &user.to_string())], "").await;
            *seen.entry(reply.status).or_default() += 1;
        }
    }
    assert_eq!(seen, BTreeMap::from([(200, 30), (429, 30)]));
    // Of a method that no limit is for.
    assert_eq!(stage.send("users", "POST", "/", &[("x-user", "1")], "").await.status, 200);
    assert_eq!(stage.get("users").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_are_compressed_as_the_client_likes_it() {
    let backends = Backends::start(&["a"]).await;
    let compressor = "compressor: [{type: Brotli, brotli: {}}, {type: Gzip, gzip: {}}]\n";
    let stage = Stage::set(&backends, &[("small", compressor)]).await;
    let encoding = async |name: &str, accepted: &str| {
        let reply = stage.send(name, "GET", "/", &[("accept-encoding", accepted)], "").await;
        assert_eq!(reply.status, 200);
        reply.header("content-encoding").to_owned()
    };
    assert_eq!(encoding("small", "gzip").await, "gzip");
    assert_eq!(encoding("small", "gzip, br").await, "br");
    assert_eq!(encoding("small", "zstd").await, "");
    assert_eq!(encoding("plain", "gzip, br").await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_take_the_place_of_others() {
    let backends = Backends::start(&["a"]).await;
    let page =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: page}\ndata: {response.body: from the map}\n---\n";
    let says = "responseOverride:\n- match: {statusCodes: [{value: 404}]}\n  response: {contentType: text/plain, \
                body: {inline: \"100 % gone\"}, statusCode: 410, header: {set: [{name: x-why, value: gone}]}}\n\
                - match: {statusCodes: [{type: Range, range: {start: 500, end: 504}}]}\n  response: {body: {type: \
                ValueRef, valueRef: {group: \"\", kind: ConfigMap, name: page}}}\n- match: {responseHeaders: [{name: \
                x-to, value: {type: Prefix, value: log}}]}\n  redirect: {hostname: plain.example.com, path: {type: \
                ReplaceFullPath, replaceFullPath: /in}, scheme: http}\n- match: {statusCodes: [{value: \
                401}]}\n  source: Local\n  response: {body: {inline: never}}\n";
    let stage = Stage::set(&backends, &[("pages", says)]).await;
    stage.gateway.write("page.yaml", page);
    let answered = async |knobs: &[(&str, &str)]| stage.send("pages", "GET", "/", knobs, "").await;
    eventually("the policy is whole", async || (answered(&[]).await.status == 200).then_some(())).await;
    let reply = answered(&[("x-echo-status", "404")]).await;
    assert_eq!((reply.status, &*reply.text(), reply.header("x-why")), (410, "100 % gone", "gone"));
    assert_eq!(reply.header("content-type"), "text/plain");
    let reply = answered(&[("x-echo-status", "502")]).await;
    assert_eq!((reply.status, &*reply.text()), (502, "from the map"));
    // The proxy asks there itself, where no policy changes the answer.
    let reply = answered(&[("x-echo-headers", "x-to:login")]).await;
    assert_eq!((reply.status, &*reply.answer().path), (200, "/in"));
    let reply = answered(&[("x-echo-status", "401")]).await;
    assert_eq!((reply.status, reply.backend()), (401, "a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_do_not_fit_a_buffer_are_refused() {
    let backends = Backends::start(&["a"]).await;
    let stage = Stage::set(&backends, &[("buffered", "requestBuffer: {limit: 1Ki}\n")]).await;
    let long = "x".repeat(2 << 10);
    assert_eq!(stage.send("buffered", "POST", "/", &[], &long).await.status, 413);
    assert_eq!(stage.send("buffered", "POST", "/", &[], "short").await.status, 200);
    assert_eq!(stage.send("plain", "POST", "/", &[], &long).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_are_those_of_the_policy() {
    let backends = Backends::start(&["a"]).await;
    let stage =
        Stage::set(&backends, &[("none", "httpUpgrade: [{type: spdy/3.1}]\n"), ("some", "timeout: {}\n")])
            .await;
    for (name, works) in [("plain", true), ("some", true), ("none", false)] {
        let came = websocket_echo(stage.port, &format!("{name}.example.com"), "/chat", "hello").await;
        assert_eq!(came.as_deref() == Ok("hello"), works, "{name}: {came:?}");
    }
    assert_eq!(stage.get("none").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_slowed_down() {
    let backends = Backends::start(&["a"]).await;
    let says = "bandwidthLimit: {request: {limit: {value: 4Ki, unit: Second}}}\n";
    let stage = Stage::set(&backends, &[("slow", says)]).await;
    let long = "x".repeat(8 << 10);
    let took = async |name: &str| {
        let started = Instant::now();
        assert_eq!(stage.send(name, "POST", "/", &[], &long).await.status, 200);
        started.elapsed()
    };
    assert!(took("slow").await > Duration::from_millis(500));
    assert!(took("plain").await < Duration::from_millis(500));
}
