//! Matches and filters over HTTP/1.1 and HTTP/2.

use std::time::{Duration, Instant};

use e2e::{
    Backends, Certificate, Client, Gateway, Reply, eventually, free_port, get, manifest as m, request,
};
use http::Version;

/// A gateway with a plain and a TLS door and backends `a`, `b`, `c`.
struct Stage {
    gateway: Gateway,
    http: u16,
    https: u16,
}

impl Stage {
    /// `routes` has the name of each route, which is also its host below `example.com`, with its rules.
    async fn set(backends: &Backends, routes: &[(&str, &str)]) -> Stage {
        let (http, https) = (free_port(), free_port());
        let listeners = m::http("http", http) + &m::https("https", https, "", &["cert"]);
        let mut files = Certificate::new(&["*.example.com"]).secret("cert");
        files += &backends.manifest();
        files += &m::gateway("eg", &listeners);
        for (name, rules) in routes {
            files += &m::route(name, "eg", &[&format!("{name}.example.com")], rules);
        }
        let gateway = Gateway::start(&[("all.yaml", &files)]).await;
        Stage { gateway, http, https }
    }

    async fn get(&self, host: &str, path: &str) -> Reply {
        self.send("GET", host, path, &[]).await
    }

    /// Asks over HTTP/1.1, over HTTP/2 without TLS and over HTTP/2 with TLS; the answers must agree.
    async fn send(&self, method: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let host = format!("{host}.example.com");
        let question = || request(method, &host, path, headers, "");
        let plain = Client::http1(self.http).await.send(question()).await;
        let h2c = Client::h2c(self.http).await.send(question()).await;
        let (mut tls, _) = Client::tls(self.https, &host, "h2").await.unwrap();
        let tls = tls.send(question()).await;
        assert_eq!(
            (plain.version, h2c.version, tls.version),
            (Version::HTTP_11, Version::HTTP_2, Version::HTTP_2)
        );
        for other in [&h2c, &tls] {
            assert_eq!((plain.status, plain.backend()), (other.status, other.backend()), "{host}{path}");
        }
        plain
    }

    async fn backend(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let reply = self.send("GET", host, path, headers).await;
        if reply.status == 200 { reply.backend().to_owned() } else { reply.status.to_string() }
    }
}

/// A rule with these matches for a backend.
fn rule(matches: &str, backend: &str) -> String {
    format!("- matches:\n{matches}  backendRefs:\n{}", m::backend_ref(backend))
}

/// A rule with these filters for a backend.
fn filtered(filters: &str, backend: &str) -> String {
    format!("- filters:\n{filters}  backendRefs:\n{}", m::backend_ref(backend))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn matches_and_their_precedence() {
    let backends = Backends::start(&["a", "b", "c"]).await;
    let path = |kind: &str, value: &str| format!("  - path:\n      type: {kind}\n      value: {value}\n");
    let paths = rule(&path("PathPrefix", "/foo"), "a")
        + &rule(&path("Exact", "/foo/exact"), "b")
        + &rule(&path("RegularExpression", "/re/[0-9]+"), "c")
        + &rule(&path("PathPrefix", "/foo/longer"), "c");
    let headers = rule("  - headers:\n    - name: x-color\n      value: red\n", "a")
        + &rule("  - headers:\n    - name: X-Color\n      type: RegularExpression\n      value: b.*\n", "b")
        + &rule(
            "  - headers:\n    - name: x-color\n      value: red\n    - name: x-two\n      value: \"2\"\n",
            "c",
        );
    let queries = rule("  - queryParams:\n    - name: q\n      value: one\n", "a")
        + &rule("  - queryParams:\n    - name: q\n      type: RegularExpression\n      value: t.*\n", "b");
    let methods = rule("  - method: POST\n", "a") + &rule("  - method: PUT\n", "b") + &m::to("c");
    let mix = rule("  - path:\n      value: /x\n    method: GET\n", "a")
        + &rule("  - path:\n      value: /x\n    headers:\n    - name: h\n      value: v\n", "b")
        + &rule("  - path:\n      value: /y\n  - path:\n      value: /z\n", "c");
    let routes = [
        ("paths", &*paths),
        ("headers", &headers),
        ("queries", &queries),
        ("methods", &methods),
        ("mix", &mix),
    ];
    let stage = Stage::set(&backends, &routes).await;

    let cases = [
        ("paths", "/foo", "a"),
        ("paths", "/foo/", "a"),
        ("paths", "/foo/x?y=z", "a"),
        ("paths", "/foobar", "404"),
        ("paths", "/fo", "404"),
        ("paths", "/foo/exact", "b"),
        ("paths", "/foo/exact/", "a"),
        ("paths", "/foo/exact?q=1", "b"),
        ("paths", "/foo/longer/x", "c"),
        ("paths", "/foo/longerx", "a"),
        ("paths", "/re/42", "c"),
        ("paths", "/re/42x", "404"),
        ("paths", "/re/", "404"),
        ("queries", "/?q=one", "a"),
        ("queries", "/?x=1&q=two", "b"),
        ("queries", "/?q=three&x", "b"),
        ("queries", "/?q=on", "404"),
        ("queries", "/", "404"),
        ("mix", "/x/1", "a"),
        ("mix", "/y", "c"),
        ("mix", "/z/2", "c"),
        ("mix", "/", "404"),
        ("unknown", "/", "404"),
    ];
    for (host, path, wanted) in cases {
        assert_eq!(stage.backend(host, path, &[]).await, wanted, "{host}{path}");
    }
    for (headers, wanted) in [
        (&[("x-color", "red")][..], "a"),
        (&[("x-color", "blue")], "b"),
        (&[("x-color", "red"), ("x-two", "2")], "c"),
        (&[("x-color", "redder")], "404"),
        (&[], "404"),
    ] {
        assert_eq!(stage.backend("headers", "/", headers).await, wanted, "{headers:?}");
    }
    for (method, wanted) in [("POST", "a"), ("PUT", "b"), ("GET", "c"), ("DELETE", "c")] {
        assert_eq!(stage.send(method, "methods", "/", &[]).await.backend(), wanted, "{method}");
    }
    assert_eq!(stage.backend("mix", "/x", &[("h", "v")]).await, "a", "a method counts more than a header");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_modified() {
    let backends = Backends::start(&["a"]).await;
    let modifiers = filtered(
        "  - type: RequestHeaderModifier\n    requestHeaderModifier:\n      set:\n      - name: x-set\n        value: \"100% %REQ(:path)%\"\n      add:\n      - name: x-add\n        value: added\n      remove:\n      - x-remove\n  - type: ResponseHeaderModifier\n    responseHeaderModifier:\n      set:\n      - name: x-out\n        value: set\n      add:\n      - name: x-more\n        value: added\n      remove:\n      - x-gone\n",
        "a",
    );
    let per_backend = format!(
        "- backendRefs:\n{}    filters:\n    - type: RequestHeaderModifier\n      requestHeaderModifier:\n        set:\n        - name: x-of\n          value: a-only\n",
        m::backend_ref("a")
    );
    let stage = Stage::set(&backends, &[("modifiers", &modifiers), ("per-backend", &per_backend)]).await;
    let headers = [
        ("x-set", "old"),
        ("x-add", "own"),
        ("x-remove", "here"),
        ("x-echo-headers", "x-gone:1,x-out:0,x-more:own"),
    ];
    let reply = stage.send("GET", "modifiers", "/p", &headers).await;
    // Envoy's operators work in values, as with Envoy Gateway; any other percent sign is one.
    assert_eq!(reply.received("x-set"), "100% /p");
    assert_eq!(reply.received("x-add"), "own,added");
    assert_eq!(reply.received("x-remove"), "");
    assert_eq!((reply.header("x-out"), reply.header("x-gone")), ("set", ""));
    let more: Vec<_> = reply.headers.get_all("x-more").iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(more.join(","), "own,added");
    assert_eq!(stage.get("per-backend", "/").await.received("x-of"), "a-only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_and_paths_are_rewritten() {
    let backends = Backends::start(&["a"]).await;
    let rewrite = |body: &str| format!("  - type: URLRewrite\n    urlRewrite:\n{body}");
    let prefix = |from: &str, to: &str| {
        let filter = rewrite(&format!(
            "      path:\n        type: ReplacePrefixMatch\n        replacePrefixMatch: {to}\n"
        ));
        let matched = format!("- matches:\n  - path:\n      value: {from}\n  filters:\n{filter}");
        format!("{matched}  backendRefs:\n{}", m::backend_ref("a"))
    };
    let rewrites = prefix("/strip", "/")
        + &prefix("/swap", "/other")
        + &prefix("/slash", "/deep/")
        + &format!(
            "- matches:\n  - path:\n      value: /full\n  filters:\n{}  backendRefs:\n{}",
            rewrite(
                "      hostname: inner.example.org\n      path:\n        type: ReplaceFullPath\n        replaceFullPath: /whole\n"
            ),
            m::backend_ref("a")
        );
    let stage = Stage::set(&backends, &[("rewrites", &rewrites)]).await;
    for (path, wanted) in [
        ("/strip", "/"),
        ("/strip/", "/"),
        ("/strip/x/y", "/x/y"),
        ("/swap/x", "/other/x"),
        ("/swap", "/other"),
        ("/slash/x", "/deep/x"),
        ("/slash", "/deep"),
        ("/full/x", "/whole"),
    ] {
        let answer = stage.get("rewrites", &format!("{path}?q=1")).await.answer();
        if path == "/slash" {
            assert_eq!(answer.path.trim_end_matches('/'), wanted, "{path}");
        } else {
            assert_eq!(answer.path, wanted, "{path}");
        }
        assert_eq!(answer.query.as_deref(), Some("q=1"));
        let host = if path == "/full/x" { "inner.example.org" } else { "rewrites.example.com" };
        assert_eq!(answer.host.as_deref(), Some(host));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_say_where_to() {
    let backends = Backends::start(&["a"]).await;
    let redirect = |from: &str, body: &str| {
        format!(
            "- matches:\n  - path:\n      value: {from}\n  filters:\n  - type: RequestRedirect\n    requestRedirect:\n{body}"
        )
    };
    let redirects = redirect("/https", "      scheme: https\n")
        + &redirect("/port", "      port: 8443\n      scheme: https\n")
        + &redirect("/std", "      port: 443\n      scheme: https\n")
        + &redirect("/host", "      hostname: other.example.org\n      statusCode: 301\n")
        + &redirect("/full", "      path:\n        type: ReplaceFullPath\n        replaceFullPath: /whole\n")
        + &redirect(
            "/pre",
            "      path:\n        type: ReplacePrefixMatch\n        replacePrefixMatch: /new\n      statusCode: 303\n",
        )
        + &redirect(
            "/cut",
            "      path:\n        type: ReplacePrefixMatch\n        replacePrefixMatch: /\n      statusCode: 308\n",
        );
    let stage = Stage::set(&backends, &[("redirects", &redirects)]).await;
    let port = stage.http;
    let own = format!("http://redirects.example.com:{port}");
    for (path, status, wanted) in [
        ("/https/x?q=1", 302, "https://redirects.example.com:443/https/x?q=1".to_owned()),
        ("/port", 302, "https://redirects.example.com:8443/port".to_owned()),
        ("/std", 302, "https://redirects.example.com:443/std".to_owned()),
        ("/host/x", 301, format!("http://other.example.org:{port}/host/x")),
        ("/full/x?q=1", 302, format!("{own}/whole?q=1")),
        ("/pre/x", 303, format!("{own}/new/x")),
        ("/pre", 303, format!("{own}/new")),
        ("/cut/x", 308, format!("{own}/x")),
        ("/cut", 308, format!("{own}/")),
    ] {
        let reply = stage.get("redirects", path).await;
        assert_eq!((reply.status, reply.header("location")), (status, &*wanted), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mirrors_and_weights() {
    let backends = Backends::start(&["a", "b", "c"]).await;
    let mirror = |backend: &str, share: &str| {
        format!(
            "  - type: RequestMirror\n    requestMirror:\n{share}      backendRef:\n        group: gateway.envoyproxy.io\n        kind: Backend\n        name: {backend}\n"
        )
    };
    let mirrors = filtered(&(mirror("b", "") + &mirror("c", "      percent: 0\n")), "a");
    let both = filtered(
        &(mirror("b", "") + &mirror("c", "      fraction:\n        numerator: 1\n        denominator: 1\n")),
        "a",
    );
    let weights = format!(
        "- backendRefs:\n{}    weight: 90\n{}    weight: 10\n{}    weight: 0\n",
        m::backend_ref("a"),
        m::backend_ref("b"),
        m::backend_ref("c")
    );
    let stage = Stage::set(&backends, &[("mirrors", &mirrors), ("both", &both), ("weights", &weights)]).await;

    // A mirror gets what the main backend gets, the knob that counts requests by key included: the first request with a
    // key that asks to fail fails, so a second one tells whether the mirror has had the first.
    for (host, b, c) in [("mirrors", true, false), ("both", true, true)] {
        let key = format!("{host}-seen");
        let knobs = [("x-echo-fail-first", "1"), ("x-echo-status", "418"), ("x-echo-key", &*key)];
        let question = request("GET", &format!("{host}.example.com"), "/", &knobs, "");
        let first = Client::http1(stage.http).await.send(question).await;
        assert_eq!((first.status, first.backend()), (418, "a"));
        tokio::time::sleep(Duration::from_millis(300)).await;
        for (backend, mirrored) in [("b", b), ("c", c)] {
            let direct = request("GET", "direct", "/", &knobs, "");
            let reply = Client::http1(backends.port(backend)).await.send(direct).await;
            assert_eq!(reply.status == 200, mirrored, "{host}: {backend} had a copy");
        }
    }

    let mut client = Client::http1(stage.http).await;
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..400 {
        let reply = client.send(get("weights.example.com", "/")).await;
        *counts.entry(reply.backend().to_owned()).or_default() += 1;
    }
    // 400 requests with chance 1/10 each: 40 ± 6; outside 10..80 is one run in millions.
    assert!((10..80).contains(&counts["b"]) && !counts.contains_key("c"), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_of_allowed_origins_are_answered() {
    let backends = Backends::start(&["a"]).await;
    let cors = filtered(
        "  - type: CORS\n    cors:\n      allowOrigins:\n      - https://app.example.com\n      - https://*.trusted.com\n      allowMethods:\n      - GET\n      - PUT\n      allowHeaders:\n      - x-one\n      exposeHeaders:\n      - x-shown\n      allowCredentials: true\n      maxAge: 600\n",
        "a",
    );
    let answered = "- filters:\n  - type: CORS\n    cors:\n      allowOrigins:\n      - https://app.example.com\n      - https://*.trusted.com\n      exposeHeaders:\n      - x-shown\n      allowMethods:\n      - PUT\n";
    let redirected = format!(
        "{answered}  - type: RequestRedirect\n    requestRedirect:\n      hostname: new.example.com\n"
    );
    let stage =
        Stage::set(&backends, &[("cors", &cors), ("redirected", &redirected), ("unusable", answered)]).await;
    let preflight = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "x-one"),
    ];
    let reply = stage.send("OPTIONS", "cors", "/", &preflight).await;
    assert_eq!((reply.status, reply.backend()), (200, ""), "Envoy answers a preflight itself");
    assert_eq!(reply.header("access-control-allow-origin"), "https://app.example.com");
    assert_eq!(reply.header("access-control-allow-credentials"), "true");
    assert_eq!(reply.header("access-control-max-age"), "600");
    assert!(reply.header("access-control-allow-methods").contains("PUT"));
    assert!(reply.header("access-control-allow-headers").contains("x-one"));
    let simple = stage.send("GET", "cors", "/", &[("origin", "https://x.trusted.com")]).await;
    assert_eq!(simple.header("access-control-allow-origin"), "https://x.trusted.com");
    assert_eq!(simple.header("access-control-expose-headers"), "x-shown");
    let other = stage.send("GET", "cors", "/", &[("origin", "https://evil.example.org")]).await;
    assert_eq!(other.header("access-control-allow-origin"), "");

    // Scripts may also see that a rule redirects, or fails.
    for (host, status) in [("redirected", 302), ("unusable", 500)] {
        let reply = stage.send("OPTIONS", host, "/", &preflight).await;
        assert_eq!((reply.status, reply.header("location")), (200, ""), "{host}: a preflight");
        assert_eq!(reply.header("access-control-allow-origin"), "https://app.example.com");
        assert_eq!(reply.header("access-control-allow-methods"), "PUT");
        for (origin, allowed) in
            [("https://a.trusted.com", "https://a.trusted.com"), ("https://a.trusted.com.evil.org", "")]
        {
            let reply = stage.send("GET", host, "/", &[("origin", origin)]).await;
            assert_eq!(reply.status, status);
            assert_eq!(reply.header("access-control-allow-origin"), allowed, "{host}: {origin}");
            assert_eq!(reply.header("access-control-expose-headers").is_empty(), allowed.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_backends_timeouts_retries_and_sessions() {
    let backends = Backends::start(&["a", "b"]).await;
    let timed = |body: &str| format!("{}  timeouts:\n{body}", m::to("a"));
    let retries =
        format!("{}  retry:\n    codes:\n    - 503\n    attempts: 3\n    backoff: 10ms\n", m::to("a"));
    let half = format!("- backendRefs:\n{}{}", m::backend_ref("a"), m::backend_ref("missing"));
    let empty = "  - name: empty\n    port: 80\n";
    let mix = format!("- backendRefs:\n{}{}{empty}", m::backend_ref("a"), m::backend_ref("missing"));
    let sticky = format!(
        "- backendRefs:\n{}{}  sessionPersistence:\n    sessionName: seat\n    type: Cookie\n",
        m::backend_ref("a"),
        m::backend_ref("b")
    );
    let stage = Stage::set(
        &backends,
        &[
            ("missing", &m::to("missing")),
            ("half", &half),
            ("mix", &mix),
            ("none", "- matches:\n  - path:\n      value: /\n"),
            ("slow", &timed("    request: 300ms\n")),
            ("upstream", &timed("    request: 5s\n    backendRequest: 300ms\n")),
            ("retries", &retries),
            ("sticky", &sticky),
            ("good", &m::to("a")),
        ],
    )
    .await;
    assert_eq!(stage.get("missing", "/").await.status, 500);
    assert_eq!(stage.get("none", "/").await.status, 500);
    assert_eq!(stage.get("good", "/").await.status, 200);
    // Each share has its own answer: a missing backend 500, one without endpoints 503.
    stage.gateway.write("empty.yaml", &m::service("empty"));
    stage.gateway.condition("HTTPRoute", "mix", |c| c["reason"] == "EndpointsNotFound").await;
    for (host, wanted) in [("half", vec![200, 500]), ("mix", vec![200, 500, 503])] {
        let mut statuses = std::collections::BTreeMap::<u16, u32>::new();
        let mut client = Client::http1(stage.http).await;
        eventually(&format!("{host}: each answer has its share"), async || {
            let reply = client.send(get(&format!("{host}.example.com"), "/")).await;
            *statuses.entry(reply.status).or_default() += 1;
            wanted.iter().all(|status| statuses.get(status).is_some_and(|n| *n > 10)).then_some(())
        })
        .await;
        assert!(statuses.keys().eq(&wanted), "{host}: {statuses:?}");
    }

    for host in ["slow", "upstream"] {
        let started = Instant::now();
        assert_eq!(stage.get(host, "/?x-echo-delay=3s").await.status, 504, "{host}");
        // Three protocols one after the other, 0.3 s each.
        assert!(started.elapsed() < Duration::from_secs(3), "{host}: {:?}", started.elapsed());
        assert_eq!(stage.get(host, "/").await.status, 200);
    }

    for (key, fails, wanted) in [("twice", "2", 200), ("often", "9", 503)] {
        let knobs = [("x-echo-fail-first", fails), ("x-echo-key", key)];
        let question = request("GET", "retries.example.com", "/", &knobs, "");
        assert_eq!(Client::http1(stage.http).await.send(question).await.status, wanted, "{key}");
    }

    let first = Client::http1(stage.http).await.send(get("sticky.example.com", "/")).await;
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("seat="), "{:?}", first.headers);
    for _ in 0..20 {
        let question = request("GET", "sticky.example.com", "/", &[("cookie", &cookie)], "");
        let reply = Client::http1(stage.http).await.send(question).await;
        assert_eq!(reply.backend(), first.backend());
    }
    let status = stage.gateway.status("HTTPRoute", "missing").await.to_string();
    assert!(status.contains("BackendNotFound"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_of_a_port_keep_their_hostnames() {
    let backends = Backends::start(&["any", "wild"]).await;
    let port = free_port();
    let at = |name: &str, host: &str| m::http(name, port) + &format!("  hostname: \"{host}\"\n");
    let listeners = m::http("any", port) + &at("wild", "*.example.com") + &at("exact", "a.example.com");
    let to = |name: &str, section: &str, hosts: &[&str]| {
        m::route(name, "eg", hosts, &m::to(name))
            .replace("  - name: eg\n", &format!("  - name: eg\n    sectionName: {section}\n"))
    };
    let files = backends.manifest() + &m::gateway("eg", &listeners) + &to("any", "any", &[]);
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    let answers = async |expected: &[(&str, &str)]| {
        for (host, wanted) in expected {
            let status = if *wanted == "404" { 404 } else { 200 };
            let reply = gateway.answers(port, host, "/", status, &[200, 404]).await;
            assert_eq!(reply.backend(), if status == 404 { "" } else { wanted }, "{host}");
        }
    };
    answers(&[("example.org", "any"), ("b.example.com", "404"), ("a.example.com", "404")]).await;
    gateway.write("wild.yaml", &to("wild", "wild", &[]));
    answers(&[("b.example.com", "wild"), ("example.org", "any"), ("a.example.com", "404")]).await;
}
