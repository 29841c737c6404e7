//! What BackendTrafficPolicies do to requests: each route of a gateway has one policy, and `plain` has none.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use e2e::{
    Backends, Client, Gateway, Reply, eventually, free_port, get, manifest as m, request, websocket_echo,
};

/// A gateway whose routes are named after their policies and answer the host of that name below `example.com`.
struct Stage {
    gateway: Gateway,
    port: u16,
}

impl Stage {
    /// `policies` has the name of each route with what its policy says, as YAML without indentation.
    async fn set(backends: &Backends, policies: &[(&str, &str)]) -> Stage {
        let port = free_port();
        let mut files = backends.manifest() + &m::gateway("eg", &m::http("http", port));
        files += &route("plain");
        for (name, says) in policies {
            files += &route(name);
            files += &m::backend_traffic_policy(name, ("HTTPRoute", name), says);
        }
        let gateway = Gateway::start(&[("all.yaml", &files)]).await;
        let stage = Stage { gateway, port };
        eventually("the last route is served", async || {
            let last = policies.last().map_or("plain", |(name, _)| name);
            (stage.get(last).await.status != 404).then_some(())
        })
        .await;
        stage
    }

    async fn get(&self, name: &str) -> Reply {
        self.send(name, "GET", "/", &[], "").await
    }

    async fn send(
        &self,
        name: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let host = format!("{name}.example.com");
        Client::http1(self.port).await.send(request(method, &host, path, headers, body)).await
    }
}

fn route(name: &str) -> String {
    m::route(name, "eg", &[&format!("{name}.example.com")], &m::to("a"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_cannot_be_applied_answers_500_on_its_routes_alone() {
    let backends = Backends::start(&["a"]).await;
    let global = "rateLimit: {global: {rules: [{limit: {requests: 1, unit: Hour}}]}}\n";
    let buffered = "requestBuffer: {limit: 5Gi}\n";
    let stage = Stage::set(&backends, &[("global", global), ("buffered", buffered)]).await;
    for name in ["global", "buffered"] {
        assert_eq!(stage.get(name).await.status, 500, "{name}");
        let says = |c: &serde_json::Value| c["type"] == "Accepted" && c["reason"] == "Invalid";
        stage.gateway.condition("BackendTrafficPolicy", name, says).await;
    }
    assert_eq!(stage.get("plain").await.status, 200);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_keeps_a_client_on_a_backend() {
    let backends = Backends::start(&["a", "b"]).await;
    let port = free_port();
    let both = format!("- backendRefs:\n{}{}", m::backend_ref("a"), m::backend_ref("b"));
    let hash =
        "loadBalancer: {type: ConsistentHash, consistentHash: {type: Headers, headers: [{name: x-user}]}}\n";
    let files = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("both", "eg", &["both.example.com"], &both)
        + &m::backend_traffic_policy("both", ("HTTPRoute", "both"), hash);
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    gateway.answers(port, "both.example.com", "/", 200, &[404, 503]).await;
    let mut met = std::collections::BTreeSet::new();
    for user in 0..20 {
        let mut of_user = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let mut question = get("both.example.com", "/");
            question.headers_mut().insert("x-user", user.to_string().parse().unwrap());
            of_user.insert(Client::http1(port).await.send(question).await.backend().to_owned());
        }
        assert_eq!(of_user.len(), 1, "user {user}: {of_user:?}");
        met.extend(of_user);
    }
    assert_eq!(met.len(), 2, "{met:?}");
}
