//! `explain` says what the real Envoy does: random routes, random requests.

use std::{collections::BTreeMap, fmt::Write};

use e2e::{Backends, Certificate, Client, Gateway, eventually, free_port, manifest as m, request};
use serde_json::Value;

use crate::surface::command;

/// Sets of routes, and requests to each.
const ROUNDS: u32 = 20;
const REQUESTS: u32 = 45;
/// Where seeds begin: a run has every sort of outcome, and what was once told wrong.
const FIRST_SEED: u64 = 30;

/// A generator of numbers: the same for the same seed, so that a failure comes again.
struct Random(u64);

impl Random {
    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        // The multiplier and increment of PCG (O'Neill 2014); its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// True once in `times`.
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

const BACKENDS: [&str; 4] = ["a", "b", "c", "d"];
/// A Service without endpoints, and a Backend that is not there.
const EMPTY: &str = "empty";
const MISSING: &str = "missing";
const HOSTS: [&str; 8] =
    ["x.a.test", "y.a.test", "*.a.test", "b.test", "*.test", "deep.x.a.test", "c.test", "*.x.a.test"];
const ASKED_HOSTS: [&str; 9] = [
    "x.a.test",
    "y.a.test",
    "z.a.test",
    "b.test",
    "c.test",
    "deep.x.a.test",
    "nowhere.org",
    "X.A.test",
    "x.a.test:8080",
];
const PATHS: [&str; 8] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/B", "/c.d"];
const ASKED_PATHS: [&str; 15] = [
    "/", "/a", "/a/", "/a/b", "/ab", "/a/b/c/d", "/B", "/b", "/cxd", "/c.d", "//a//b", "/a/../ab", "/a/./b",
    "/a%2Fb", "/zz",
];
const METHODS: [&str; 3] = ["GET", "POST", "OPTIONS"];

fn matched(random: &mut Random) -> String {
    let mut text = String::new();
    if !random.one_in(5) {
        let kind = random.pick(&["Exact", "PathPrefix", "PathPrefix", "RegularExpression"]);
        let path = match kind {
            "RegularExpression" => random.pick(&["/a.*", "/[ab]", "/c.d", "/a/b(/c)?", "/.*"]),
            _ => random.pick(&PATHS),
        };
        let _ = write!(text, "path: {{type: {kind}, value: '{path}'}}, ");
    }
    if random.one_in(4) {
        let _ = write!(text, "method: {}, ", random.pick(&METHODS));
    }
    if random.one_in(3) {
        let kind = random.pick(&["Exact", "RegularExpression"]);
        let _ =
            write!(text, "headers: [{{type: {kind}, name: X-A, value: '{}'}}], ", random.pick(&["1", "2"]));
    }
    if random.one_in(4) {
        let _ = write!(text, "queryParams: [{{name: q, value: '{}'}}], ", random.pick(&["1", "2"]));
    }
    format!("  - {{{}}}\n", text.trim_end_matches(", "))
}

fn backend_ref(random: &mut Random) -> String {
    let name = match random.below(12) {
        0 => return format!("  - name: {EMPTY}\n    port: 80\n"),
        1 => MISSING,
        _ => random.pick(&BACKENDS),
    };
    let mut text = m::backend_ref(name);
    if random.one_in(4) {
        let _ = writeln!(text, "    weight: {}", random.below(3));
    }
    text
}

/// Whether a rule with this filter may have backends, with the filter.
fn filter(random: &mut Random, prefix_only: bool) -> (bool, String) {
    let path = match (random.below(3), prefix_only) {
        (0, _) => String::new(),
        (1, true) => format!(
            ", path: {{type: ReplacePrefixMatch, replacePrefixMatch: '{}'}}",
            random.pick(&["/", "/new", "/new/"])
        ),
        _ => ", path: {type: ReplaceFullPath, replaceFullPath: /full}".to_owned(),
    };
    let host = if random.one_in(2) { "hostname: new.test" } else { "" };
    let both = format!("{host}{path}");
    let both = both.trim_start_matches(", ");
    match random.below(5) {
        0 => {
            let extra = random.pick(&["statusCode: 301", "statusCode: 302, port: 8443", "statusCode: 302, scheme: https"]);
            let sep = if both.is_empty() { "" } else { ", " };
            (false, format!("{{type: RequestRedirect, requestRedirect: {{{both}{sep}{extra}}}}}"))
        }
        1 if !both.is_empty() => (true, format!("{{type: URLRewrite, urlRewrite: {{{both}}}}}")),
        2 => (
            true,
            "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: s}], add: [{name: x-a, \
             value: added}], remove: [x-gone]}}"
                .to_owned(),
        ),
        3 => (
            true,
            "{type: CORS, cors: {allowOrigins: ['https://good.test'], allowMethods: [GET]}}".to_owned(),
        ),
        _ => (true, String::new()),
    }
}

fn rule(random: &mut Random) -> String {
    let mut text = String::new();
    let matches: Vec<String> = (0..random.below(3)).map(|_| matched(random)).collect();
    let prefix_only = matches.len() == 1 && matches[0].contains("PathPrefix");
    let (may_have_backends, filter) =
        if random.one_in(2) { filter(random, prefix_only) } else { (true, String::new()) };
    let backends: String = match random.below(6) {
        _ if !may_have_backends => String::new(),
        0 => String::new(),
        1 | 2 => backend_ref(random) + &backend_ref(random),
        _ => backend_ref(random),
    };
    for (name, list) in [("matches", matches.concat()), ("backendRefs", backends)] {
        if !list.is_empty() {
            let _ = write!(
                text,
                "  {name}:\n{}",
                list.lines().map(|line| format!("{line}\n")).collect::<String>()
            );
        }
    }
    if !filter.is_empty() {
        let _ = writeln!(text, "  filters: [{filter}]");
    }
    if text.is_empty() {
        return "- {}\n".to_owned();
    }
    text.replacen("  ", "- ", 1)
}

fn routes(random: &mut Random) -> String {
    let mut text = String::new();
    for number in 0..2 + random.below(6) {
        let hosts: Vec<&str> = (0..random.below(3)).map(|_| random.pick(&HOSTS)).collect();
        let mut hosts = hosts;
        hosts.sort_unstable();
        hosts.dedup();
        let rules: String = (0..1 + random.below(3)).map(|_| rule(random)).collect();
        let name = format!("r{number}");
        text += &match random.below(5) {
            0 => m::route_at(&name, "eg", random.pick(&["http", "any", "wild", "exact"]), &hosts, &rules),
            _ => m::route(&name, "eg", &hosts, &rules),
        };
    }
    text
}

/// A route that tells on each listener that a round is live.
fn marker(round: u32) -> String {
    let rule = format!(
        "- matches:\n  - path: {{type: Exact, value: /marker}}\n  filters:\n  - type: RequestRedirect\n    \
         requestRedirect: {{path: {{type: ReplaceFullPath, replaceFullPath: /round-{round}}}}}\n"
    );
    m::route("marker", "eg", &["marker.x.a.test", "x.a.test", "m.a.test", "marker.org"], &rule)
}

/// Where requests go in, and with which server name and protocol.
struct Way {
    port: u16,
    name: Option<&'static str>,
    protocol: &'static str,
}

impl Way {
    async fn connect(&self) -> Client {
        match self.name {
            Some(name) => Client::tls(self.port, name, self.protocol).await.unwrap().0,
            None if self.protocol == "h2" => Client::h2c(self.port).await,
            None => Client::http1(self.port).await,
        }
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

struct Asked<'a> {
    host: &'a str,
    path: String,
    method: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

impl Asked<'_> {
    fn random(random: &mut Random) -> Asked<'static> {
        let mut headers = Vec::new();
        if random.one_in(2) {
            headers.push(("x-a", random.pick(&["1", "2", "3"])));
        }
        if random.one_in(6) {
            headers.push(("x-gone", "g"));
        }
        if random.one_in(4) {
            headers.push(("origin", random.pick(&["https://good.test", "https://bad.test"])));
            headers.push(("access-control-request-method", "GET"));
        }
        let query = random.pick(&["", "", "?q=1", "?q=2", "?x=y&q=1&q=2", "?q"]);
        Asked {
            host: random.pick(&ASKED_HOSTS),
            path: format!("{}{query}", random.pick(&ASKED_PATHS)),
            method: random.pick(&["GET", "GET", "POST", "OPTIONS"]),
            headers,
        }
    }

    fn query(&self, way: &Way) -> String {
        let scheme = if way.name.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{}{}", way.port, self.path);
        let protocol = if way.protocol == "h2" { "h2" } else { "http1" };
        let mut text = format!("/explain?url={}&method={}&protocol={protocol}", escaped(&url), self.method);
        let _ = write!(
            text,
            "&sni={}&header={}",
            way.name.unwrap_or_default(),
            escaped(&format!("Host: {}", self.host))
        );
        for (name, value) in &self.headers {
            let _ = write!(text, "&header={}", escaped(&format!("{name}: {value}")));
        }
        text
    }
}

/// What Envoy did, in the words of [`possible`].
fn done(reply: &e2e::Reply) -> String {
    let location = reply.header("location");
    if !location.is_empty() {
        return format!("{} {location}", reply.status);
    }
    if reply.backend().is_empty() {
        return reply.status.to_string();
    }
    let answer = reply.answer();
    let query = answer.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let headers: Vec<String> = ["x-a", "x-set", "x-gone", "x-forwarded-host"]
        .iter()
        .map(|name| {
            format!("{name}={}", answer.headers.get(*name).map(|values| values.join(",")).unwrap_or_default())
        })
        .collect();
    let host = answer.host.unwrap_or_default();
    format!("{} {} {}{query} {host} {}", reply.backend(), answer.method, answer.path, headers.join(" "))
}

/// What may happen, as `explain` tells it.
fn possible(told: &Value, ports: &BTreeMap<String, &'static str>) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for outcome in told["outcomes"].as_array().unwrap() {
        match &*text(&outcome["result"]) {
            "answered" => all.push(outcome["status"].to_string()),
            "redirected" => all.push(format!("{} {}", outcome["status"], text(&outcome["location"]))),
            "closed" => all.push("closed".to_owned()),
            _ => {
                let request = text(&outcome["request"]);
                let (line, host) = request.rsplit_once(" at ").unwrap();
                let lines: Vec<String> = outcome["headers"].as_array().unwrap().iter().map(text).collect();
                let header = |name: &str| {
                    let own = lines.iter().filter_map(|line| line.strip_prefix(&format!("{name}: ")));
                    own.collect::<Vec<_>>().join(",")
                };
                let headers: Vec<String> = ["x-a", "x-set", "x-gone", "x-forwarded-host"]
                    .iter()
                    .map(|name| format!("{name}={}", header(name)))
                    .collect();
                for backend in outcome["to"]["backends"].as_array().unwrap() {
                    if backend["percent"].as_f64().unwrap() > 0.0 {
                        for endpoint in backend["endpoints"].as_array().unwrap() {
                            let name = ports[&text(&endpoint["address"])];
                            all.push(format!("{name} {line} {host} {}", headers.join(" ")));
                        }
                    }
                }
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_is_what_happens() {
    let backends = Backends::start(&BACKENDS).await;
    let ports: BTreeMap<String, &'static str> =
        BACKENDS.iter().map(|name| (format!("127.0.0.1:{}", backends.port(name)), *name)).collect();
    let (http, https) = (free_port(), free_port());
    let listeners = m::http("http", http)
        + &m::https("any", https, "", &["cert"])
        + &m::https("wild", https, "*.a.test", &["cert"])
        + &m::https("exact", https, "x.a.test", &["cert"]);
    let base = backends.manifest()
        + &m::service(EMPTY)
        + &Certificate::new(&["*.a.test", "*.org", "x.a.test"]).secret("cert")
        + &m::gateway("eg", &listeners);
    let ways = [
        Way { port: http, name: None, protocol: "http/1.1" },
        Way { port: http, name: None, protocol: "h2" },
        Way { port: https, name: Some("x.a.test"), protocol: "h2" },
        Way { port: https, name: Some("y.a.test"), protocol: "h2" },
        Way { port: https, name: Some("y.a.test"), protocol: "http/1.1" },
        Way { port: https, name: Some("other.org"), protocol: "h2" },
        Way { port: https, name: Some("other.org"), protocol: "http/1.1" },
    ];
    let markers = [(0, "x.a.test"), (2, "x.a.test"), (3, "m.a.test"), (5, "marker.org")];
    let gateway = Gateway::start(&[("base.yaml", &base), ("routes.yaml", &marker(u32::MAX))]).await;
    let mut seen = BTreeMap::<String, u32>::new();
    for round in 0..ROUNDS {
        let mut random = Random(FIRST_SEED + u64::from(round));
        let routes = routes(&mut random);
        gateway.write("routes.yaml", &(routes.clone() + &marker(round)));
        for (way, host) in markers {
            eventually(&format!("round {round} is live for {host}\n{routes}"), async || {
                let asked = request("GET", host, "/marker", &[], "");
                let reply = ways[way].connect().await.try_send(asked).await?;
                reply.header("location").ends_with(&format!("/round-{round}")).then_some(())
            })
            .await;
        }
        for number in 0..REQUESTS {
            let (way, asked) = (&ways[random.below(ways.len())], Asked::random(&mut random));
            let told = gateway.json(&asked.query(way)).await;
            let may = possible(&told, &ports);
            let mut question = request(asked.method, asked.host, &asked.path, &asked.headers, "");
            if way.name.is_some() {
                *question.uri_mut() =
                    question.uri().to_string().replacen("http", "https", 1).parse().unwrap();
            }
            let reply = way.connect().await.send(question).await;
            let did = done(&reply);
            assert!(
                may.contains(&did),
                "round {round} request {number}: {} {}{} {:?} over {} {:?}\nEnvoy did  {did}\nexplain says {may:?}\n\
                 {told:#}\n{routes}",
                asked.method,
                asked.host,
                asked.path,
                asked.headers,
                way.protocol,
                way.name,
            );
            *seen
                .entry(if reply.backend().is_empty() {
                    reply.status.to_string()
                } else {
                    "backend".to_owned()
                })
                .or_default() += 1;
        }
    }
    // The cases must not all be of one sort.
    for sort in ["backend", "404", "500", "301", "421"] {
        assert!(seen.contains_key(sort), "no request ended with {sort}: {seen:?}");
    }
}

#[test]
fn a_changed_bootstrap_is_shown_to_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.yaml");
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: ferrogate}\nspec: \
                 {controllerName: gateway.envoyproxy.io/gatewayclass-controller}\n---\n";
    let checked = |interval: &str| {
        let spec = format!("bootstrap: {{type: Merge, value: 'stats_flush_interval: {interval}'}}\n");
        let text = m::gateway_with_proxy("eg", &spec, &m::http("http", 8080)) + class;
        std::fs::write(&path, text).unwrap();
        command(&["check", "-f", path.to_str().unwrap()])
    };
    let (code, text, _) = checked("0.0001s");
    let part = "EnvoyProxy default/eg spec.bootstrap";
    assert!(code == Some(1) && text.contains("FG109") && text.contains(part), "{text}");
    assert!(text.contains("must be inside range [1ms, 5m0s)"), "{text}");
    let (code, text, _) = checked("10s");
    assert!(code == Some(0) && !text.contains("FG109"), "{text}");
}

#[test]
fn the_commands_work_on_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let base = m::gateway("eg", &m::http("http", 8080)) + &m::backend("a", 3000) + &m::backend("b", 3001);
    let old = file("old.yaml", &(base.clone() + &m::route("shop", "eg", &["shop.test"], &m::to("a"))));
    let new = file("new.yaml", &(base.clone() + &m::route("shop", "eg", &["shop.test"], &m::to("b"))));
    let bad = file("bad.yaml", &(base + &m::route("shop", "eg", &["shop.test"], &m::to("gone"))));

    let (code, text, _) = command(&["explain", "-f", &old, "http://shop.test:8080/cart"]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "HTTPRoute default/shop spec.rules[0]",
        "100% forwarded as GET /cart at shop.test:8080",
        "127.0.0.1:3000",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let curl = "curl -X POST http://shop.test:8080/cart -d x";
    let (code, text, _) = command(&["explain", "-f", &old, "-o", "json", "--curl", curl]);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, told["request"].as_str()), (Some(0), Some("POST http://shop.test:8080/cart")));
    let (code, _, said) = command(&["explain", "-f", &old, "--gateway", "no", "http://shop.test:8080/"]);
    assert!(code == Some(2) && said.contains("known: default/eg"), "{said}");

    let (code, text, _) = command(&["check", "-f", &old]);
    assert_eq!((code, &*text), (Some(0), "0 errors, 0 warnings, 0 infos\n"));
    let (code, text, _) = command(&["check", "-f", &bad]);
    assert!(code == Some(1) && text.contains("FG401") && text.contains("bad.yaml:"), "{text}");
    assert_eq!(command(&["check", "-f", &bad, "--fail-on", "never"]).0, Some(0));
    assert_eq!(command(&["check", "-f", &bad, "-n", "elsewhere"]).0, Some(0));
    let (_, text, _) = command(&["check", "-f", &bad, "-o", "sarif"]);
    let log: Value = serde_json::from_str(&text).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"FG401".into(), &"error".into()));
    let place = &result["locations"][0]["physicalLocation"];
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("bad.yaml"), "{place}");
    assert!(place["region"]["startLine"].as_u64().unwrap() > 1, "{place}");
    let (_, text, _) = command(&["check", "-f", &bad, "-o", "junit"]);
    assert!(text.contains("tests=\"1\" failures=\"1\"") && text.contains("FG401.backend-missing"), "{text}");

    let (code, text, _) = command(&["diff", &old, &new]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("host shop.test")
            && text.contains("- to Backend default/a")
            && text.contains("+ to Backend default/b"),
        "{text}"
    );
    assert_eq!(command(&["diff", &old, &old]).0, Some(0));
}

#[test]
fn the_effective_policy_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies.yaml").to_str().unwrap().to_owned();
    std::fs::write(
        &policies,
        m::gateway("eg", &m::http("http", 8080))
            + &m::backend("a", 3000)
            + &m::route("shop", "eg", &["shop.test"], &m::to("a"))
            + "---\n{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: BackendTrafficPolicy, metadata: {name: all, \
               namespace: default}, spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: eg}], \
               timeout: {http: {requestTimeout: 9s}}, tcpKeepalive: {probes: 3}}}\n\
               ---\n{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: BackendTrafficPolicy, metadata: {name: shop, \
               namespace: default}, spec: {mergeType: StrategicMerge, targetRefs: [{group: gateway.networking.k8s.io, \
               kind: HTTPRoute, name: shop}], timeout: {http: {requestTimeout: 1s}}}}\n",
    )
    .unwrap();
    let (code, text, said) = command(&["explain", "policy", "BackendTrafficPolicy/shop", "-f", &policies]);
    assert_eq!(code, Some(0), "{text}{said}");
    for part in [
        "for HTTPRoute default/shop on Gateway default/eg listener http\n",
        "merged over BackendTrafficPolicy default/all\n",
        "spec.timeout.http.requestTimeout = \"1s\" [BackendTrafficPolicy default/shop]\n",
        "spec.tcpKeepalive.probes = 3 [BackendTrafficPolicy default/all]\n",
        "Accepted=True",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let asked =
        ["explain", "policy", "backendtrafficpolicy/all", "-n", "default", "-o", "json", "-f", &policies];
    let (_, text, said) = command(&asked);
    let told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{said}"));
    assert_eq!(told["places"][0]["merged"][0]["policy"], "BackendTrafficPolicy default/shop", "{text}");
    let (code, _, said) = command(&["explain", "policy", "BackendTrafficPolicy/gone", "-f", &policies]);
    assert!(code == Some(2) && said.contains("there is no BackendTrafficPolicy default/gone"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_gateway_is_asked() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let files = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("shop", "eg", &["shop.test"], &(m::prefix_to("/a", "a") + &m::prefix_to("/b", "gone")))
        + "---\n{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: ClientTrafficPolicy, metadata: {name: all, \
           namespace: default}, spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: eg}], \
           timeout: {http: {idleTimeout: 9s}}}}\n";
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    let admin = gateway.admin_address();
    let (code, text, said) = command(&["explain", "--admin", &admin, &format!("http://shop.test:{port}/a")]);
    assert!(code == Some(0) && text.contains(&format!("127.0.0.1:{}", backends.port("a"))), "{text}{said}");
    let (code, text, said) = command(&["explain", "policy", "ClientTrafficPolicy/all", "--admin", &admin]);
    assert!(code == Some(0) && text.contains("spec.timeout.http.idleTimeout = \"9s\""), "{text}{said}");
    let (code, text, _) = command(&["check", "--admin", &admin]);
    assert!(code == Some(1) && text.contains("FG401"), "{text}");
    assert_eq!(gateway.admin("/explain?url=ftp%3A%2F%2Fx").await.status, 400);
    assert_eq!(gateway.admin("/explain/policy?policy=no").await.status, 400);
    assert_eq!(gateway.admin("/check?no=such").await.status, 400);
    eventually("the metrics count the finding", async || {
        let metrics = gateway.admin("/metrics").await.text();
        metrics.contains("ferrogate_findings{code=\"FG401\",severity=\"error\"} 1").then_some(())
    })
    .await;
}
