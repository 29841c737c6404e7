//! Which endpoint a request goes to: hashes that stay, zones by weight, endpoints that are asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use e2e::{Backends, Client, eventually, get, manifest as m, request};

use crate::stage::{Stage, pool};

/// Clients that are told apart by what is hashed.
const CLIENTS: u8 = 60;
/// A tenth of them: Maglev moves a few besides those that it has to.
const FEW: usize = 6;

/// The endpoints of the pool `all`.
fn all(backends: &Backends, names: &[&str]) -> String {
    pool("all", &names.iter().map(|name| (backends.port(name), "")).collect::<Vec<_>>())
}

/// The backend of each client of a route.
async fn met(stage: &Stage, name: &str) -> Vec<String> {
    let host = format!("{name}.example.com");
    let mut met = Vec::new();
    for client in 0..CLIENTS {
        let (user, seat) = (client.to_string(), format!("other=1; seat={client}"));
        let own = Ipv4Addr::new(127, 0, 1, client + 1);
        let mut connection = match name {
            "address" => Client::http1_from(own, stage.port).await,
            _ => Client::http1(stage.port).await,
        };
        let (path, headers) = match name {
            "header" => ("/".to_owned(), vec![("x-user", &*user)]),
            "cookie" => ("/".to_owned(), vec![("cookie", &*seat)]),
            "query" => (format!("/?user={user}"), Vec::new()),
            _ => ("/".to_owned(), Vec::new()),
        };
        let reply = connection.send(request("GET", &host, &path, &headers, "")).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        met.push(reply.backend().to_owned());
    }
    met
}

/// Clients whose backend is another one, and is or was not `except`.
fn moved(before: &[String], after: &[String], except: &str) -> usize {
    let pairs = before.iter().zip(after);
    pairs.filter(|(before, after)| before != after && *before != except && *after != except).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_keeps_clients_on_their_endpoints_while_others_come_and_go() {
    let backends = Backends::start(&["a", "b", "c", "d", "e"]).await;
    let hash = |what: &str| format!("loadBalancer: {{type: ConsistentHash, consistentHash: {{{what}}}}}\n");
    let header = hash("type: Headers, headers: [{name: x-user}]");
    let cookie = hash("type: Cookie, cookie: {name: seat}");
    let address = hash("type: SourceIP");
    let query = hash("type: QueryParams, queryParams: [{name: user}]");
    let policies = [("header", &*header), ("cookie", &cookie), ("address", &address), ("query", &query)];
    let four = ["a", "b", "c", "d"];
    let stage = Stage::over(&all(&backends, &four), &m::to("all"), &policies).await;
    let mut first = BTreeMap::new();
    for (name, _) in policies {
        let of_clients = met(&stage, name).await;
        assert_eq!(of_clients.iter().collect::<BTreeSet<_>>().len(), four.len(), "{name}: {of_clients:?}");
        assert_eq!(met(&stage, name).await, of_clients, "{name}: the same again");
        first.insert(name, of_clients);
    }
    stage.backends(&all(&backends, &["a", "b", "c", "d", "e"]));
    let mut second = BTreeMap::new();
    for (name, _) in policies {
        let now = eventually(&format!("{name}: the fifth is there"), async || {
            let now = met(&stage, name).await;
            now.contains(&"e".to_owned()).then_some(now)
        })
        .await;
        let new = now.iter().filter(|backend| *backend == "e").count();
        assert!(new <= usize::from(CLIENTS / 2), "{name}: {new} of {CLIENTS} went to the fifth");
        assert!(moved(&first[name], &now, "e") <= FEW, "{name}: {:?} {now:?}", first[name]);
        second.insert(name, now);
    }
    stage.backends(&all(&backends, &["b", "c", "d", "e"]));
    for (name, _) in policies {
        let now = eventually(&format!("{name}: the first is gone"), async || {
            let now = met(&stage, name).await;
            (!now.contains(&"a".to_owned())).then_some(now)
        })
        .await;
        assert!(moved(&second[name], &now, "a") <= FEW, "{name}: {:?} {now:?}", second[name]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_cookie_is_given_one() {
    let backends = Backends::start(&["a", "b", "c"]).await;
    let says = "loadBalancer: {type: ConsistentHash, consistentHash: {type: Cookie, cookie: {name: seat, ttl: 60s, \
                attributes: {SameSite: Strict}}}}\n";
    let stage = Stage::over(&all(&backends, &["a", "b", "c"]), &m::to("all"), &[("seats", says)]).await;
    let mut met = BTreeSet::new();
    for _ in 0..12 {
        let first = stage.get("seats").await;
        let given = first.header("set-cookie").to_owned();
        assert!(given.starts_with("seat=") && given.contains("Max-Age=60"), "{given}");
        assert!(given.contains("SameSite=Strict"), "{given}");
        let cookie = given.split(';').next().unwrap().replace('"', "");
        for _ in 0..3 {
            let again = stage.ask("seats", &[("cookie", &cookie)]).await;
            assert_eq!((again.backend(), again.header("set-cookie")), (first.backend(), ""));
        }
        met.insert(first.backend().to_owned());
    }
    assert!(met.len() > 1, "{met:?}");
}

/// How often each backend answers.
async fn shares(stage: &Stage, name: &str, requests: u32) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    let mut client = Client::http1(stage.port).await;
    for _ in 0..requests {
        let reply = client.send(get(&format!("{name}.example.com"), "/")).await;
        *shares.entry(reply.backend().to_owned()).or_default() += 1;
    }
    shares
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_have_the_shares_of_their_zones() {
    let backends = Backends::start(&["a", "b"]).await;
    let zoned = pool("all", &[(backends.port("a"), "east"), (backends.port("b"), "west")]);
    let zones = |weights: &str| {
        format!("loadBalancer: {{type: RoundRobin, zoneAware: {{weightedZones: [{weights}]}}}}\n")
    };
    let listed = zones("{zone: east, weight: 10}, {zone: west, weight: 90}");
    let others_weigh_one = zones("{zone: east, weight: 4}");
    let turns = "loadBalancer: {type: RoundRobin}\n";
    let policies = [("listed", &*listed), ("one", &others_weigh_one), ("turns", turns)];
    let stage = Stage::over(&zoned, &m::to("all"), &policies).await;
    for (name, of_a) in [("listed", 4..50), ("one", 130..190), ("turns", 95..106)] {
        let shares = shares(&stage, name, 200).await;
        assert!(of_a.contains(&shares.get("a").copied().unwrap_or_default()), "{name}: {shares:?}");
        assert_eq!(shares.values().sum::<u32>(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_name_its_endpoint() {
    let backends = Backends::start(&["a", "b", "c"]).await;
    let says = "loadBalancer: {type: RoundRobin, endpointOverride: {extractFrom: [{header: x-endpoint}]}}\n";
    let stage = Stage::over(&all(&backends, &["a", "b"]), &m::to("all"), &[("named", says)]).await;
    for name in ["a", "b", "a", "a", "b"] {
        let endpoint = format!("127.0.0.1:{}", backends.port(name));
        for _ in 0..4 {
            assert_eq!(stage.ask("named", &[("x-endpoint", &endpoint)]).await.backend(), name);
        }
    }
    // One that is not there, such as of another backend, is as none.
    let stranger = format!("127.0.0.1:{}", backends.port("c"));
    for endpoint in ["nonsense", &stranger, ""] {
        let mut met = BTreeSet::new();
        for _ in 0..4 {
            met.insert(stage.ask("named", &[("x-endpoint", endpoint)]).await.backend().to_owned());
        }
        assert!(met.iter().eq(["a", "b"]), "{endpoint}: {met:?}");
    }
}
