//! `explain` says what the real Envoy does: random routes with policies, random requests over every protocol.

mod mirrored;
mod random;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use e2e::{Gateway, Reply, eventually, manifest as m, request};
use serde_json::Value;

use crate::listener_sets;
use mirrored::{Copy, NUMBER};
use random::{Asked, Random};
use world::{SET, Way, World};

/// Sets of routes, and requests to each.
const ROUNDS: u64 = 20;
const REQUESTS: u32 = 45;
/// Where seeds begin: a run has every sort of outcome, and what was once told wrong.
const FIRST_SEED: u64 = 60;
/// The environment variable that has one seed alone be tried, or several: `30` or `30-99`.
const SEED: &str = "FERROGATE_TEST_SEED";

/// Headers that are compared.
const HEADERS: [&str; 4] = ["x-a", "x-set", "x-gone", "x-forwarded-host"];

/// Routes that tell on each listener that a round is live.
fn markers(round: u64) -> String {
    let rule = format!(
        "- matches:\n  - path: {{type: Exact, value: /marker}}\n  filters:\n  - type: RequestRedirect\n    \
         requestRedirect: {{path: {{type: ReplaceFullPath, replaceFullPath: /round-{round}}}}}\n"
    );
    let hosts = ["marker.x.a.test", "x.a.test", "m.a.test", "marker.org", "s.set.test"];
    m::route("marker", "eg", &hosts, &rule) + &listener_sets::route("marker-of-set", SET, &hosts, &rule)
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The question to the admin port; one with a body is asked as a command of `curl`.
fn query(asked: &Asked, way: &Way) -> String {
    let scheme = if way.name.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://127.0.0.1:{}{}", way.port, asked.path);
    let protocol = if way.protocol == "http/1.1" { "http1" } else { way.protocol };
    let mut lines = vec![format!("Host: {}", asked.host)];
    lines.extend(asked.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let mut text = format!("/explain?protocol={protocol}&sni={}", way.name.unwrap_or_default());
    if asked.body.is_empty() {
        let _ = write!(text, "&url={}&method={}", escaped(&url), asked.method);
        lines.iter().for_each(|line| text.push_str(&format!("&header={}", escaped(line))));
    } else {
        let headers: String = lines.iter().map(|line| format!(" -H '{line}'")).collect();
        let command =
            format!("curl --path-as-is -X {}{headers} --data-raw '{}' '{url}'", asked.method, asked.body);
        let _ = write!(text, "&curl={}", escaped(&command));
    }
    text
}

/// What Envoy did, in the words of [`possible`].
fn done(reply: &Reply) -> String {
    let location = reply.header("location");
    if !location.is_empty() {
        return format!("{} {location}", reply.status);
    }
    if reply.backend().is_empty() {
        return match reply.header("grpc-status") {
            "" => reply.status.to_string(),
            status => format!("{} grpc {status}", reply.status),
        };
    }
    let answer = reply.answer();
    let query = answer.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let received = |name: &&str| answer.headers.get(*name).map(|values| values.join(",")).unwrap_or_default();
    let headers: Vec<String> = HEADERS.iter().map(|name| format!("{name}={}", received(name))).collect();
    let host = answer.host.clone().unwrap_or_default();
    let tls = answer.tls.map_or_else(
        || "plain".to_owned(),
        |tls| format!("sni {}", tls.sni.unwrap_or_else(|| "none".to_owned()).to_lowercase()),
    );
    let line = format!("{} {}{query} {host} {}", answer.method, answer.path, headers.join(" "));
    format!("{} {line} {} {tls}", reply.backend(), answer.protocol)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The value of a setting; empty for none.
fn setting(settings: &Value, name: &str) -> String {
    list(settings).iter().find(|own| own["name"] == name).map(|own| text(&own["value"])).unwrap_or_default()
}

/// What may happen, as `explain` tells it.
fn possible(told: &Value, way: &Way, names: &BTreeMap<String, &'static str>) -> Vec<String> {
    let mut all = Vec::new();
    for outcome in list(&told["outcomes"]) {
        match &*text(&outcome["result"]) {
            "answered" => all.push(match outcome["grpcStatus"].as_u64() {
                None => outcome["status"].to_string(),
                Some(status) => format!("200 grpc {status}"),
            }),
            "redirected" => all.push(format!("{} {}", outcome["status"], text(&outcome["location"]))),
            "closed" => all.push("closed".to_owned()),
            _ => all.extend(forwarded(outcome, way, names)),
        }
    }
    let grpc = list(&told["outcomes"]).iter().any(|outcome| outcome["grpcStatus"].is_u64());
    let may_answer = list(&told["filters"]).iter().filter_map(|filter| filter["mayAnswer"].as_u64());
    all.extend(may_answer.map(|status| match (grpc, status) {
        (false, _) => status.to_string(),
        (true, 429) => "200 grpc 14".to_owned(),
        (true, _) => "200 grpc 2".to_owned(),
    }));
    all
}

fn forwarded(outcome: &Value, way: &Way, names: &BTreeMap<String, &'static str>) -> Vec<String> {
    let request = text(&outcome["request"]);
    let (line, host) = request.rsplit_once(" at ").unwrap();
    let lines: Vec<String> = list(&outcome["headers"]).iter().map(text).collect();
    let header = |name: &str| {
        let own = lines.iter().filter_map(|line| line.strip_prefix(&format!("{name}: ")));
        own.collect::<Vec<_>>().join(",")
    };
    let headers: Vec<String> = HEADERS.iter().map(|name| format!("{name}={}", header(name))).collect();
    let to = &outcome["to"];
    let protocol = match &*setting(&to["settings"], "protocol") {
        // The backends of the test offer both.
        "HTTP/2 or HTTP/1.1, as agreed (ALPN)" => "HTTP/2".to_owned(),
        "that of the client" if way.protocol == "http/1.1" => "HTTP/1.1".to_owned(),
        // There is no HTTP/3 to backends.
        "that of the client" => "HTTP/2".to_owned(),
        other => other.to_owned(),
    };
    let mut all = Vec::new();
    for backend in list(&to["backends"]).iter().filter(|backend| backend["percent"].as_f64() > Some(0.0)) {
        let tls = match &*setting(&backend["tls"], "TLS server name") {
            "" => "plain".to_owned(),
            "host of the request" => format!("sni {}", host.split(':').next().unwrap().to_lowercase()),
            name => format!("sni {name}"),
        };
        for endpoint in list(&backend["endpoints"]) {
            let name = names[&text(&endpoint["address"])];
            all.push(format!("{name} {line} {host} {} {protocol} {tls}", headers.join(" ")));
        }
    }
    all
}

/// Mirrors with the share of requests in percent that they get.
fn mirrors(told: &Value, names: &BTreeMap<String, &'static str>) -> Vec<(&'static str, f64)> {
    let all = list(&told["mirrors"]).iter().flat_map(|mirror| {
        let percent = mirror["percent"].as_f64().unwrap();
        let endpoints = list(&mirror["backends"]).iter().flat_map(|backend| list(&backend["endpoints"]));
        endpoints.map(move |endpoint| (names[&text(&endpoint["address"])], percent))
    });
    all.collect()
}

/// What came of the requests so far.
#[derive(Default)]
struct Seen {
    /// Outcomes by sort.
    sorts: BTreeMap<String, u32>,
    /// Copies that must come, and those that may.
    must: BTreeSet<Copy>,
    may: BTreeSet<Copy>,
}

impl Seen {
    fn note(&mut self, reply: &Reply, way: &Way, number: &str, mirrors: Vec<(&'static str, f64)>) {
        let forwarded = !reply.backend().is_empty();
        let did = done(reply);
        let sort = match did.split_once(' ') {
            _ if forwarded => "backend".to_owned(),
            Some((status, rest)) if !rest.starts_with("grpc") => status.to_owned(),
            _ => did,
        };
        *self.sorts.entry(format!("{sort} over {}", way.protocol)).or_default() += 1;
        *self.sorts.entry(sort).or_default() += 1;
        // What is not forwarded is not copied.
        for (name, percent) in mirrors.into_iter().filter(|_| forwarded) {
            self.may.insert((name, number.to_owned()));
            if percent == 100.0 {
                self.must.insert((name, number.to_owned()));
                *self.sorts.entry("copy".to_owned()).or_default() += 1;
            }
        }
    }
}

/// One set of routes, and requests to them.
async fn round(seed: u64, (gateway, world): (&Gateway, &World), seen: &mut Seen) {
    let mut random = Random(seed);
    let routes = random::routes(&mut random);
    gateway.write("routes.yaml", &(routes.clone() + &markers(seed)));
    for (way, host) in world.markers {
        eventually(&format!("seed {seed} is live for {host}\n{routes}"), async || {
            let asked = request("GET", host, "/marker", &[], "");
            let reply = world.ways[way].connect().await?.try_send(asked).await?;
            reply.header("location").ends_with(&format!("/round-{seed}")).then_some(())
        })
        .await;
    }
    for number in 0..REQUESTS {
        let way = &world.ways[random.below(world.ways.len())];
        let mut asked = Asked::random(way.name, &mut random);
        let mut told = gateway.json(&query(&asked, way)).await;
        // A backend would take it for a call, so only what it does not get becomes one.
        if random.one_in(4) && list(&told["outcomes"]).iter().all(|outcome| outcome["result"] == "answered") {
            asked.headers.push(("content-type", "application/grpc"));
            told = gateway.json(&query(&asked, way)).await;
        }
        let may = possible(&told, way, &world.names);
        let number = format!("{seed}-{number}");
        let mut headers = asked.headers.clone();
        headers.push((NUMBER, &number));
        let mut question = request(asked.method, asked.host, &asked.path, &headers, asked.body);
        if way.name.is_some() && way.protocol != "h3" {
            *question.uri_mut() = question.uri().to_string().replacen("http", "https", 1).parse().unwrap();
        }
        let mut client = eventually("a connection", async || way.connect().await).await;
        let reply = client.exchange(question).await.unwrap_or_else(|error| {
            panic!("{SEED}={seed} request {number} over {} {:?}: {error}", way.protocol, way.name)
        });
        let did = done(&reply);
        assert!(
            may.contains(&did),
            "request {number}: {} {}{} {:?} {:?} over {} {:?}\nEnvoy did  {did}\nexplain says {may:?}\n{told:#}\n\
             {routes}\nthe same again: {SEED}={seed}",
            asked.method,
            asked.host,
            asked.path,
            asked.headers,
            asked.body,
            way.protocol,
            way.name,
        );
        seen.note(&reply, way, &number, mirrors(&told, &world.names));
    }
    let of_round = |copies: &BTreeSet<Copy>| -> BTreeSet<Copy> {
        copies.iter().filter(|(_, number)| number.starts_with(&format!("{seed}-"))).cloned().collect()
    };
    let must = of_round(&seen.must);
    eventually(&format!("the copies of {SEED}={seed} come: {must:?}\n{routes}"), async || {
        must.is_subset(&world.mirrors.seen()).then_some(())
    })
    .await;
    let more: Vec<Copy> = of_round(&world.mirrors.seen()).difference(&seen.may).cloned().collect();
    assert!(more.is_empty(), "copies that were not told: {more:?}\n{routes}\nthe same again: {SEED}={seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_is_what_happens() {
    let world = World::start().await;
    let files = [
        ("base.yaml", &*world.manifest),
        ("routes.yaml", &(m::envoy_proxy("eg", random::FILTER_ORDER) + &markers(0))),
    ];
    let gateway = Gateway::start(&files).await;
    let mut seen = Seen::default();
    if let Ok(wanted) = std::env::var(SEED) {
        let (first, last) = wanted.split_once('-').unwrap_or((&wanted, &wanted));
        for seed in first.parse().expect("a number")..=last.parse().expect("a number") {
            round(seed, (&gateway, &world), &mut seen).await;
        }
        return;
    }
    for seed in FIRST_SEED..FIRST_SEED + ROUNDS {
        round(seed, (&gateway, &world), &mut seen).await;
    }
    // The cases must not all be of one sort.
    let sorts = [
        "backend",
        "404",
        "500",
        "301",
        "413",
        "418",
        "419",
        "421 over h2",
        "421 over h3",
        "429",
        "555",
        "556",
        "backend over http/1.1",
        "backend over h2",
        "backend over h3",
        "copy",
    ];
    for sort in sorts {
        assert!(seen.sorts.contains_key(sort), "no request ended with {sort}: {:?}", seen.sorts);
    }
}
