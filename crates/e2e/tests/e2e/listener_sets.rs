//! ListenerSets: listeners that come and go beside those of their Gateway.

use std::fmt::Write;

use e2e::{Backends, Certificate, Client, Gateway, Loop, eventually, free_port, get, manifest as m};

/// A Gateway that takes ListenerSets of its namespace.
fn gateway(name: &str, listeners: &str) -> String {
    m::gateway(name, listeners)
        .replace("  listeners:\n", "  allowedListeners:\n    namespaces:\n      from: Same\n  listeners:\n")
}

/// A route of a ListenerSet.
pub(crate) fn route(name: &str, set: &str, hosts: &[&str], rules: &str) -> String {
    m::route(name, set, hosts, rules)
        .replace(&format!("  - name: {set}\n"), &format!("  - name: {set}\n    kind: ListenerSet\n"))
}

/// A plain listener for one host.
fn http_for(name: &str, port: u16, host: &str) -> String {
    format!("{}  hostname: \"{host}\"\n", m::http(name, port))
}

/// Rounds of four changes each of the test under load.
const ROUNDS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_times_listener_sets_come_and_go_under_traffic() {
    let backends = Backends::start(&["a", "b"]).await;
    let (http, https, own) = (free_port(), free_port(), free_port());
    let listeners = http_for("http", http, "shop.example.com")
        + &m::https("https", https, "shop.example.com", &["shop-cert"]);
    let base = backends.manifest()
        + &gateway("shop", &listeners)
        + &m::route("shop", "shop", &[], &m::to("a"))
        + &Certificate::new(&["shop.example.com"]).secret("shop-cert")
        + &Certificate::new(&["team.example.com"]).secret("team-cert");
    let set = m::listener_set(
        "team",
        "shop",
        &(http_for("http", http, "team.example.com")
            + &m::https("https", https, "team.example.com", &["team-cert"])
            + &m::http("own", own)),
    ) + &route("team", "team", &[], &m::to("b"));
    let gateway = Gateway::start(&[("base.yaml", &base)]).await;
    let mut clients = Loop::new();
    clients.http1(http, "shop.example.com", "/");
    clients.http1_fresh(http, "shop.example.com", "/fresh");
    clients.h2c(http, "shop.example.com", "/h2c");
    clients.tls(https, "shop.example.com", "/tls", "h2");
    // A sibling that shares the Gateway's ports, and another that stays all the time.
    let sibling = |name: &str| {
        let host = format!("{name}.example.com");
        m::listener_set(name, "shop", &http_for("http", http, &host)) + &route(name, name, &[], &m::to("b"))
    };
    gateway.write("stays.yaml", &sibling("stays"));
    gateway.answers(http, "stays.example.com", "/", 200, &[404]).await;
    clients.http1(http, "stays.example.com", "/");
    clients.http1_fresh(http, "stays.example.com", "/fresh");
    let mut changes = 0;
    for _ in 0..ROUNDS {
        gateway.write("beside.yaml", &sibling("beside"));
        gateway.answers(http, "beside.example.com", "/", 200, &[404]).await;
        gateway.write("set.yaml", &set);
        let reply = gateway.answers(http, "team.example.com", "/", 200, &[404]).await;
        assert_eq!(reply.backend(), "b");
        eventually("the listener with a port of its own serves", async || {
            let reply = Client::try_http1(own).await?.try_send(get("any", "/")).await?;
            assert_eq!((reply.status, reply.backend()), (200, "b"), "{}", reply.text());
            Some(())
        })
        .await;
        eventually("the listener with TLS serves", async || {
            let (mut client, _) = Client::tls(https, "team.example.com", "http/1.1").await?;
            let reply = client.try_send(get("team.example.com", "/")).await?;
            (reply.status == 200 && reply.backend() == "b").then_some(())
        })
        .await;
        let status = gateway.status("Gateway", "shop").await;
        assert_eq!(status["attachedListenerSets"], 3, "{status}");
        gateway.remove("set.yaml");
        gateway.answers(http, "team.example.com", "/", 404, &[200]).await;
        eventually("the port is closed", async || Client::try_http1(own).await.is_none().then_some(())).await;
        gateway.remove("beside.yaml");
        gateway.answers(http, "beside.example.com", "/", 404, &[200]).await;
        changes += 4;
    }
    let report = clients.stop().await;
    println!("{changes} changes, {} requests, {} bad", report.good, report.bad.len());
    assert!(changes >= 200);
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 200, "clients were at work: {}", report.good);
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

/// Envoy's listener has the name of the first on its port. When that one goes, its successor takes over the socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_listener_set_of_a_port_goes_and_the_others_serve_on() {
    let backends = Backends::start(&["a", "b"]).await;
    let (http, port) = (free_port(), free_port());
    let base = backends.manifest() + &gateway("shop", &m::http("http", http));
    let set = |name: &str, backend: &str| {
        let host = format!("{name}.example.com");
        m::listener_set(name, "shop", &http_for("web", port, &host))
            + &route(name, name, &[], &m::to(backend))
    };
    let (first, second) = (set("first", "a"), set("second", "b"));
    let files = [("base.yaml", &*base), ("first.yaml", &*first), ("second.yaml", &*second)];
    let gateway = Gateway::start(&files).await;
    gateway.answers(port, "second.example.com", "/", 200, &[]).await;
    let mut clients = Loop::new();
    clients.http1(port, "second.example.com", "/");
    clients.http1_fresh(port, "second.example.com", "/fresh");
    for _ in 0..4 {
        gateway.remove("first.yaml");
        gateway.answers(port, "first.example.com", "/", 404, &[200]).await;
        // The listener that comes back has the name of the one that Envoy still drains, and begins with its table.
        gateway.write("first.yaml", &first);
        gateway.answers(port, "first.example.com", "/", 200, &[404]).await;
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 50, "clients were at work: {}", report.good);
}

/// The same for listeners of one Gateway, and what their old connections see while Envoy drains them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_listener_of_a_gateway_goes_and_old_connections_never_see_5xx() {
    let backends = Backends::start(&["a", "b"]).await;
    let port = free_port();
    let route = |name: &str, backend: &str| m::route_at(name, "shop", name, &[], &m::to(backend));
    let host = |name: &str| http_for(name, port, &format!("{name}.example.com"));
    let base = backends.manifest() + &route("second", "b");
    let (second, both) =
        (m::gateway("shop", &host("second")), m::gateway("shop", &(host("first") + &host("second"))));
    let first = route("first", "a");
    let gateway =
        Gateway::start(&[("base.yaml", &*base), ("gateway.yaml", &*both), ("first.yaml", &*first)]).await;
    gateway.answers(port, "second.example.com", "/", 200, &[]).await;
    let mut clients = Loop::new();
    clients.http1(port, "second.example.com", "/");
    clients.http1_fresh(port, "second.example.com", "/fresh");
    for _ in 0..4 {
        let mut old = Client::http1(port).await;
        assert_eq!(old.send(get("first.example.com", "/")).await.status, 200);
        gateway.remove("first.yaml");
        gateway.write("gateway.yaml", &second);
        gateway.answers(port, "first.example.com", "/", 404, &[200]).await;
        // Envoy may have closed it meanwhile; what it answers is not a fault of the gateway.
        while let Some(reply) = old.try_send(get("first.example.com", "/")).await {
            assert!([200, 404].contains(&reply.status), "{} {}", reply.status, reply.text());
            if reply.status == 404 {
                break;
            }
        }
        gateway.write("gateway.yaml", &both);
        gateway.write("first.yaml", &first);
        gateway.answers(port, "first.example.com", "/", 200, &[404]).await;
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 50, "clients were at work: {}", report.good);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listener_sets_hold_more_listeners_than_a_gateway() {
    const SETS: usize = 3;
    const LISTENERS: usize = 64;
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let mut manifests = backends.manifest() + &gateway("shop", &http_for("http", port, "shop.example.com"));
    for set in 0..SETS {
        let mut listeners = String::new();
        for listener in 0..LISTENERS {
            let host = format!("h{listener}.s{set}.example.com");
            let _ = write!(listeners, "{}", http_for(&format!("l{listener}"), port, &host));
        }
        let name = format!("set-{set}");
        manifests += &m::listener_set(&name, "shop", &listeners);
        manifests += &route(&name, &name, &[], &m::to("a"));
    }
    let gateway = Gateway::start(&[("all.yaml", &manifests)]).await;
    for set in 0..SETS {
        for listener in [0, LISTENERS / 2, LISTENERS - 1] {
            gateway.answers(port, &format!("h{listener}.s{set}.example.com"), "/", 200, &[]).await;
        }
        let status = gateway.status("ListenerSet", &format!("set-{set}")).await;
        let listeners = status["listeners"].as_array().unwrap();
        assert_eq!(listeners.len(), LISTENERS);
        assert!(listeners.iter().all(|listener| listener["attachedRoutes"] == 1), "{status}");
    }
    assert_eq!(gateway.status("Gateway", "shop").await["attachedListenerSets"], SETS);
    gateway.answers(port, "shop.example.com", "/", 404, &[]).await;
}
