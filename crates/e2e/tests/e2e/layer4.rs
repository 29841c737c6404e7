//! Connections and datagrams: TCP, UDP, and TLS by server name.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use e2e::{
    Backends, Certificate, Client, Echoes, Gateway, eventually, free_port, get, manifest as m, tcp_echo,
    udp_echo,
};
use serde_json::json;

/// Waits until an exchange is answered by this backend.
async fn reaches(backend: &str, exchange: impl AsyncFn() -> Result<String, String>) {
    eventually(&format!("{backend} answers"), async || (exchange().await.ok()? == backend).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_datagrams_share_a_port_and_are_shared_by_weight() {
    let echoes = Echoes::start(&["a", "b"]).await;
    let (port, other) = (free_port(), free_port());
    let listeners = m::listener("tcp", "TCP", port)
        + &m::listener("udp", "UDP", port)
        + &m::listener("idle", "TCP", other);
    let files = echoes.tcp_manifest()
        + &echoes.udp_manifest()
        + &m::gateway("eg", &listeners)
        + &m::layer4_route("TCPRoute", "tcp", ("eg", "tcp"), &[], &[("a", 3), ("b", 1)])
        + &m::layer4_route("UDPRoute", "udp", ("eg", "udp"), &[], &[("udp-b", 1), ("udp-a", 0)]);
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;

    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..200 {
        *seen.entry(tcp_echo(port).await.unwrap()).or_default() += 1;
    }
    // 150 of 200 on average; five standard deviations of 6.1 either way.
    assert!((119..=181).contains(&seen["a"]), "{seen:?}");
    assert_eq!(udp_echo(port).await, Ok("b".to_owned()));
    assert!(tcp_echo(other).await.is_err(), "a listener without routes closes connections");
    let status = gateway.status("Gateway", "eg").await;
    let counts: Vec<_> =
        status["listeners"].as_array().unwrap().iter().map(|l| l["attachedRoutes"].clone()).collect();
    assert_eq!(counts, [json!(1), json!(1), json!(0)]);
    assert_eq!(gateway.json("/audit").await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_connections_is_refused_for_a_backend_that_is_gone() {
    let echoes = Echoes::start(&["a"]).await;
    let port = free_port();
    let files = echoes.tcp_manifest()
        + &m::gateway("eg", &m::listener("tcp", "TCP", port))
        + &m::layer4_route("TCPRoute", "tcp", ("eg", "tcp"), &[], &[("a", 1), ("gone", 1)]);
    let _gateway = Gateway::start(&[("all.yaml", &files)]).await;
    let mut answered = 0;
    for _ in 0..100 {
        answered += u32::from(tcp_echo(port).await.is_ok());
    }
    // 50 of 100 on average; five standard deviations of 5.
    assert!((25..=75).contains(&answered), "{answered} of 100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_name_chooses_between_passing_through_ending_and_http() {
    let backends = Backends::start(&["plain", "web"]).await;
    let (one, two) = (Backends::start(&["one"]).await, Backends::start(&["two"]).await);
    let port = free_port();
    let (ends, web) = (Certificate::new(&["ends.example.com"]), Certificate::new(&["web.example.com"]));
    let listeners = m::passthrough("passes", port, "*.example.com")
        + &m::terminate("ends", port, "ends.example.com", "ends")
        + &m::https("web", port, "web.example.com", &["web"])
        + &m::passthrough("idle", port, "idle.example.com");
    let files = [ends.secret("ends"), web.secret("web")].concat()
        + &backends.manifest()
        + &m::backend("one", one.tls_port("one"))
        + &m::backend("two", two.tls_port("two"))
        + &m::gateway("eg", &listeners)
        + &m::layer4_route("TLSRoute", "one", ("eg", "passes"), &["one.example.com"], &[("one", 1)])
        + &m::layer4_route("TLSRoute", "two", ("eg", "passes"), &["*.example.com"], &[("two", 1)])
        + &m::layer4_route("TLSRoute", "ends", ("eg", "ends"), &["ends.example.com"], &[("plain", 1)])
        + &m::route("web", "eg", &["web.example.com"], &m::to("web"));
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;

    for (name, backend, certificate) in [
        ("one.example.com", "one", one.certificate("one")),
        ("other.example.com", "two", two.certificate("two")),
        ("a.b.example.com", "two", two.certificate("two")),
        ("ends.example.com", "plain", &ends.der),
        ("web.example.com", "web", &web.der),
    ] {
        let (mut client, shown) =
            Client::tls(port, name, "http/1.1").await.unwrap_or_else(|| panic!("{name}"));
        assert!(shown == certificate, "{name} is shown another certificate");
        let reply = client.send(get(name, "/")).await;
        assert_eq!((reply.status, reply.backend()), (200, backend), "{name}");
        assert_eq!(reply.answer().tls.is_some(), ["one", "two"].contains(&backend), "{name}");
    }
    // A listener of its own without routes is nobody else's; and no listener has the last name.
    for name in ["idle.example.com", "example.org"] {
        assert!(Client::tls(port, name, "http/1.1").await.is_none(), "{name}");
    }
    assert_eq!(gateway.json("/audit").await, json!([]));
}

/// Clients that connect anew again and again, and note what went wrong.
struct Knocking {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    bad: Arc<Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Knocking {
    fn new() -> Knocking {
        Knocking { stop: Arc::default(), good: Arc::default(), bad: Arc::default(), tasks: Vec::new() }
    }

    fn client<F>(&mut self, pause: Duration, exchange: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = Result<String, String>> + Send,
    {
        let (stop, good, bad) = (self.stop.clone(), self.good.clone(), self.bad.clone());
        self.tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                match exchange().await {
                    Ok(_) => drop(good.fetch_add(1, Ordering::Relaxed)),
                    Err(words) => bad.lock().unwrap().push(words),
                }
                tokio::time::sleep(pause).await;
            }
        }));
    }

    async fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        (self.good.load(Ordering::Relaxed), self.bad.lock().unwrap().clone())
    }
}

async fn tls_echo(port: u16, name: &str) -> Result<String, String> {
    let (mut client, _) = Client::tls(port, name, "http/1.1").await.ok_or("no TLS connection")?;
    let reply = client.exchange(get(name, "/")).await.map_err(|error| error.to_string())?;
    Ok(reply.backend().to_owned())
}

/// Rounds of nine changes each of the test under load.
const ROUNDS: usize = 23;

/// What the test under load changes.
struct Stage {
    gateway: Gateway,
    echoes: Echoes,
    /// Ports of the listeners; UDP routes replace each other on the last.
    tcp: u16,
    tls: u16,
    udp: u16,
    replaced: u16,
    _tls_backends: [Backends; 2],
}

fn route(kind: &str, name: &str, section: &str, hosts: &[&str], backend: &str) -> String {
    m::layer4_route(kind, name, ("eg", section), hosts, &[(backend, 1)])
}

impl Stage {
    async fn set() -> Stage {
        let echoes = Echoes::start(&["a", "b"]).await;
        let (one, two) = (Backends::start(&["one"]).await, Backends::start(&["two"]).await);
        let (tcp, tls, udp, replaced) = (free_port(), free_port(), free_port(), free_port());
        let listeners = m::listener("tcp", "TCP", tcp)
            + &m::passthrough("tls", tls, "")
            + &m::listener("udp", "UDP", udp)
            + &m::listener("replaced", "UDP", replaced);
        let to_service = route("UDPRoute", "udp", "udp", &[], "svc").replace(
            "group: gateway.envoyproxy.io\n      kind: Backend\n      name: svc",
            "name: svc\n      port: 80",
        );
        let base = echoes.tcp_manifest()
            + &echoes.udp_manifest()
            + &m::backend("one", one.tls_port("one"))
            + &m::backend("two", two.tls_port("two"))
            + &m::gateway("eg", &listeners)
            + &route("TLSRoute", "stable", "tls", &["stable.example.com"], "one")
            + &to_service
            + &m::service("svc").replace("protocol: TCP", "protocol: UDP");
        let gateway = Gateway::start(&[
            ("base.yaml", &base),
            ("tcp.yaml", &route("TCPRoute", "tcp", "tcp", &[], "a")),
            ("tls.yaml", &route("TLSRoute", "tls", "tls", &["swap.example.com"], "one")),
            ("slice-a.yaml", &slice(&echoes, "a", "ready: true")),
        ])
        .await;
        Stage { gateway, echoes, tcp, tls, udp, replaced, _tls_backends: [one, two] }
    }

    /// Moves the Service's endpoint on, as a rollout does: first both, then the old one drains, then it is gone.
    async fn roll(&self, old: &str, new: &str) {
        self.gateway.write(&format!("slice-{new}.yaml"), &slice(&self.echoes, new, "ready: true"));
        reaches(new, async || udp_echo(self.udp).await).await;
        let draining = slice(&self.echoes, old, "ready: false, serving: true, terminating: true");
        self.gateway.write(&format!("slice-{old}.yaml"), &draining);
        let mut same = 0;
        eventually("datagrams go to the new endpoint alone", async || {
            same = if udp_echo(self.udp).await.ok()? == new { same + 1 } else { 0 };
            (same == 10).then_some(())
        })
        .await;
        self.gateway.remove(&format!("slice-{old}.yaml"));
    }
}

/// A slice of the Service with a backend's UDP port.
fn slice(echoes: &Echoes, backend: &str, conditions: &str) -> String {
    m::slice("svc", &format!("svc-{backend}"), echoes.udp_port(backend), conditions)
        .replace("protocol: TCP", "protocol: UDP")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_and_datagrams_live_through_two_hundred_changes() {
    let stage = Stage::set().await;
    let (gateway, tcp, tls, udp, replaced) =
        (&stage.gateway, stage.tcp, stage.tls, stage.udp, stage.replaced);
    reaches("a", async || udp_echo(udp).await).await;
    let mut clients = Knocking::new();
    let often = Duration::from_millis(3);
    clients.client(often, move || tcp_echo(tcp));
    clients.client(often, move || tcp_echo(tcp));
    clients.client(often, move || tls_echo(tls, "stable.example.com"));
    clients.client(often, move || tls_echo(tls, "swap.example.com"));
    // Each datagram comes from another port and so begins a session, which Envoy keeps for a minute; it takes 1024.
    clients.client(Duration::from_millis(100), move || udp_echo(udp));
    let mut changes = 0;
    for round in 0..ROUNDS {
        let (echo, other, backend) = [("b", "a", "two"), ("a", "b", "one")][round % 2];
        // The same route with other backends: its cluster stays.
        gateway.write("tcp.yaml", &route("TCPRoute", "tcp", "tcp", &[], echo));
        reaches(echo, async || tcp_echo(tcp).await).await;
        // Another route in its place: a new cluster, which the listener names.
        gateway.write("tcp.yaml", &route("TCPRoute", &format!("tcp-{round}"), "tcp", &[], other));
        reaches(other, async || tcp_echo(tcp).await).await;
        let swap = route("TLSRoute", &format!("tls-{round}"), "tls", &["swap.example.com"], backend);
        gateway.write("tls.yaml", &swap);
        reaches(backend, async || tls_echo(tls, "swap.example.com").await).await;
        // A route beside the others comes and goes.
        let beside = route("TLSRoute", "beside", "tls", &["beside.example.com"], "two");
        gateway.write("beside.yaml", &beside);
        reaches("two", async || tls_echo(tls, "beside.example.com").await).await;
        gateway.remove("beside.yaml");
        eventually("the route is gone", async || {
            tls_echo(tls, "beside.example.com").await.is_err().then_some(())
        })
        .await;
        stage.roll(other, echo).await;
        // Envoy gives up the sessions of a UDP listener that changes, so that answers which are on their way get lost.
        let another = route("UDPRoute", &format!("udp-{round}"), "replaced", &[], &format!("udp-{echo}"));
        gateway.write("replaced.yaml", &another);
        reaches(echo, async || udp_echo(replaced).await).await;
        changes += 9;
    }
    let (good, bad) = clients.stop().await;
    println!("{changes} changes, {good} connections and datagrams, {} bad", bad.len());
    assert!(changes >= 200);
    assert!(good > 200, "clients were at work: {good}");
    assert_eq!(bad, Vec::<String>::new());
    assert_eq!(gateway.json("/problems").await, json!([]));
    assert_eq!(gateway.json("/audit").await, json!([]));
}
