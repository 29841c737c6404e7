//! What goes wrong around the gateway: taken ports, dead processes, refusals.

use std::time::{Duration, Instant};

use e2e::{Backends, Client, Gateway, SOON, binary, eventually, free_port, get, manifest as m};
use nix::sys::signal::Signal;

/// A Gateway on a port with one route to backend `a`.
fn simple(name: &str, port: u16) -> String {
    m::gateway(name, &m::http("http", port)) + &m::route(name, name, &[], &m::to("a"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_harms_only_its_gateway_and_heals() {
    let backends = Backends::start(&["a"]).await;
    let (taken, free) = (free_port(), free_port());
    let holder = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let files = backends.manifest() + &simple("unlucky", taken) + &simple("lucky", free);
    let gateway = Gateway::spawn(&[("all.yaml", &files)], &[]);
    gateway.alive().await;
    let refused = gateway
        .condition("Gateway", "unlucky", |c| {
            c["type"] == "Programmed" && c["status"] == "False" && c["reason"] == "Invalid"
        })
        .await;
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains(&format!("127.0.0.1:{taken}")) && message.contains("in use"), "{message}");
    eventually("the other Gateway serves", async || {
        let reply = Client::try_http1(free).await?.try_send(get("any", "/")).await?;
        (reply.status == 200).then_some(())
    })
    .await;
    programmed(&gateway, "lucky").await;
    drop(holder);
    eventually("the Gateway recovers", async || {
        let reply = Client::try_http1(taken).await?.try_send(get("any", "/")).await?;
        (reply.status == 200).then_some(())
    })
    .await;
    programmed(&gateway, "unlucky").await;
}

async fn programmed(gateway: &Gateway, name: &str) {
    gateway.condition("Gateway", name, |c| c["type"] == "Programmed" && c["reason"] == "Programmed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_envoy_returns_without_a_new_translation() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let gateway = Gateway::start(&[("all.yaml", &(backends.manifest() + &simple("eg", port)))]).await;
    gateway.answers(port, "any", "/", 200, &[]).await;
    let (revision, work) = (gateway.revision().await, recomputed(&gateway).await);
    let old = gateway.envoys();
    assert_eq!(old.len(), 1, "one Envoy for one Gateway");
    gateway.kill(old[0]);
    eventually("traffic returns", async || {
        let reply = Client::try_http1(port).await?.try_send(get("any", "/")).await?;
        (reply.status == 200 && gateway.envoys() != old).then_some(())
    })
    .await;
    gateway.ready().await;
    assert_eq!(gateway.revision().await, revision);
    assert_eq!(recomputed(&gateway).await, work, "nothing was translated again");
}

/// Units recomputed since the start, of all stages.
async fn recomputed(gateway: &Gateway) -> Vec<String> {
    let text = gateway.admin("/metrics").await.text();
    let mut lines: Vec<String> =
        text.lines().filter(|line| line.contains("recomputed_total")).map(str::to_owned).collect();
    lines.sort();
    assert!(!lines.is_empty(), "{text}");
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_envoy_outlives_a_killed_gateway() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let mut gateway = Gateway::start(&[("all.yaml", &(backends.manifest() + &simple("eg", port)))]).await;
    let envoys = gateway.envoys();
    assert_eq!(envoys.len(), 1);
    gateway.signal(Signal::SIGKILL);
    assert_eq!(gateway.ended().await, None);
    eventually("Envoy is gone", async || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", envoys[0])).unwrap_or_default();
        (status.is_empty() || status.contains(") Z ")).then_some(())
    })
    .await;
    // The kernel closes what a process had while it goes.
    eventually("nobody listens any more", async || Client::try_http1(port).await.is_none().then_some(()))
        .await;
    // What the dead process left in the folder of sockets is no obstacle.
    gateway.again();
    gateway.ready().await;
    gateway.answers(port, "any", "/", 200, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_request_finishes_while_the_gateway_stops() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let mut gateway = Gateway::start(&[("all.yaml", &(backends.manifest() + &simple("eg", port)))]).await;
    let slow = tokio::spawn(async move {
        let mut client = Client::http1(port).await;
        client.send(get("any", "/?x-echo-delay=2s")).await
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    gateway.signal(Signal::SIGTERM);
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(gateway.ended().await, Some(0));
    assert!(started.elapsed() < Duration::from_secs(8), "the drain ends soon after the last request");
    assert!(!gateway.run_dir().join("default-eg").exists());
}

#[test]
fn without_envoy_one_message_says_how_to_get_it() {
    let folder = tempfile_with("empty.yaml", "");
    let output = std::process::Command::new(binary())
        .args(["run", "--envoy", "/nowhere/envoy"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("/nowhere/envoy") && said.contains("make tools"), "{said}");
}

#[test]
fn an_envoy_of_another_version_is_refused_with_one_message() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile_with("empty.yaml", "");
    let old = folder.path().join("envoy");
    std::fs::write(&old, "#!/bin/sh\necho 'envoy  version: abc/1.31.0/Clean/RELEASE/BoringSSL'\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = std::process::Command::new(binary())
        .arg("run")
        .arg(folder.path())
        .env("FERROGATE_ENVOY", &old)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("is version 1.31.0") && said.contains("make tools"), "{said}");
}

fn tempfile_with(name: &str, content: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), content).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_envoy_refuses_harms_only_its_route() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let good = m::route("good", "eg", &["good.example.com"], &m::to("a"));
    let base = backends.manifest() + &m::gateway("eg", &m::http("http", port)) + &good;
    let gateway = Gateway::start(&[("all.yaml", &base)]).await;
    gateway.answers(port, "good.example.com", "/", 200, &[]).await;
    let bad = m::route("bad", "eg", &["bad.example.com"], &refused_rule());
    gateway.write("bad.yaml", &bad);
    let refused =
        gateway.condition("HTTPRoute", "bad", |c| c["type"] == "Programmed" && c["status"] == "False").await;
    assert!(refused["message"].as_str().unwrap().contains("Envoy refuses"), "{refused}");
    gateway.answers(port, "good.example.com", "/", 200, &[]).await;
    let status = gateway.status("HTTPRoute", "good").await;
    assert!(!status.to_string().contains("refuses"), "{status}");
    // Others still change.
    gateway.write("more.yaml", &m::route("more", "eg", &["more.example.com"], &m::to("a")));
    gateway.answers(port, "more.example.com", "/", 200, &[404]).await;
    // A fresh Envoy serves the last accepted version.
    let old = gateway.envoys();
    gateway.kill(old[0]);
    let started = Instant::now();
    while started.elapsed() < SOON {
        let reply =
            async { Client::try_http1(port).await?.try_send(get("more.example.com", "/")).await }.await;
        if reply.is_some_and(|reply| reply.status == 200) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gateway.answers(port, "good.example.com", "/", 200, &[]).await;
    gateway.answers(port, "more.example.com", "/", 200, &[]).await;
    gateway.remove("bad.yaml");
    eventually("the refusal is gone with its cause", async || {
        let reports = gateway.json("/status").await.to_string();
        (!reports.contains("Envoy refuses")).then_some(())
    })
    .await;
    gateway.ready().await;
}

/// A rule that Envoy refuses.
fn refused_rule() -> String {
    format!(
        "- matches:\n  - path:\n      type: RegularExpression\n      value: '{REFUSED}'\n  backendRefs:\n{}",
        m::backend_ref("a")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_configuration_with_a_refused_part_serves_the_rest() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let files = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("good", "eg", &["good.example.com"], &m::to("a"))
        + &m::route("bad", "eg", &["bad.example.com"], &refused_rule())
        + &m::route("next", "eg", &["next.example.com"], &m::to("a"));
    let gateway = Gateway::spawn(&[("all.yaml", &files)], &[]);
    gateway.alive().await;
    eventually("the good routes serve", async || {
        for host in ["good.example.com", "next.example.com"] {
            let reply = Client::try_http1(port).await?.try_send(get(host, "/")).await?;
            if reply.status != 200 {
                return None;
            }
        }
        Some(())
    })
    .await;
    let refused =
        gateway.condition("HTTPRoute", "bad", |c| c["type"] == "Programmed" && c["status"] == "False").await;
    assert!(refused["message"].as_str().unwrap().contains("Envoy refuses"), "{refused}");
    // Mended, it serves.
    gateway.write("all.yaml", &files.replace(REFUSED, "/[a]"));
    gateway.answers(port, "bad.example.com", "/a", 200, &[404]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_of_the_same_host_keep_what_envoy_accepted() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let good = m::route("good", "eg", &["shop.example.com"], &m::to("a"));
    let base = backends.manifest() + &m::gateway("eg", &m::http("http", port)) + &good;
    let gateway = Gateway::start(&[("all.yaml", &base)]).await;
    gateway.answers(port, "shop.example.com", "/", 200, &[]).await;
    gateway.write("bad.yaml", &m::route("bad", "eg", &["shop.example.com"], &refused_rule()));
    gateway.condition("HTTPRoute", "bad", |c| c["type"] == "Programmed" && c["status"] == "False").await;
    gateway.answers(port, "shop.example.com", "/", 200, &[]).await;
    // A fresh Envoy gets the last accepted version of the host.
    for envoy in gateway.envoys() {
        gateway.kill(envoy);
    }
    eventually("the host is served again", async || {
        let reply = Client::try_http1(port).await?.try_send(get("shop.example.com", "/")).await?;
        (reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_of_another_host_harms_only_its_gateway() {
    let backends = Backends::start(&["a"]).await;
    let (away, here) = (free_port(), free_port());
    // 192.0.2.0/24 is for documentation (RFC 5737): no host has it.
    let foreign = simple("away", away).replace(
        "  gatewayClassName",
        "  addresses:\n  - type: IPAddress\n    value: 192.0.2.77\n  gatewayClassName",
    );
    let files = backends.manifest() + &foreign + &simple("here", here);
    let gateway = Gateway::spawn(&[("all.yaml", &files)], &[]);
    gateway.alive().await;
    let told = gateway
        .condition("Gateway", "away", |c| c["type"] == "Programmed" && c["reason"] == "AddressNotUsable")
        .await;
    let message = told["message"].as_str().unwrap();
    assert!(message.contains(&format!("192.0.2.77:{away}")), "{message}");
    assert_eq!(told["status"], "False");
    assert_eq!(gateway.status("Gateway", "away").await["addresses"], serde_json::json!([]));
    eventually("the other Gateway serves", async || {
        let reply = Client::try_http1(here).await?.try_send(get("any", "/")).await?;
        (reply.status == 200).then_some(())
    })
    .await;
    programmed(&gateway, "here").await;
}

#[test]
fn a_taken_admin_port_is_said_at_once() {
    let folder = tempfile_with("empty.yaml", "");
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let output = std::process::Command::new(binary())
        .args(["run", "--admin", &address, "--envoy"])
        .arg(e2e::envoy())
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&address) && said.contains("--admin") && said.contains("in use"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_of_envoy_is_survived() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let gateway = Gateway::start(&[("all.yaml", &(backends.manifest() + &simple("eg", port)))]).await;
    for round in 0..3 {
        for envoy in gateway.envoys() {
            gateway.kill(envoy);
        }
        // A change while no proxy runs is there when it returns.
        let name = format!("r{round}");
        let host = format!("{name}.example.com");
        gateway.write("more.yaml", &m::route(&name, "eg", &[&host], &m::prefix_to("/only", "a")));
        eventually("the change is served", async || {
            let reply = Client::try_http1(port).await?.try_send(get(&host, "/only/x")).await?;
            let other = Client::try_http1(port).await?.try_send(get(&host, "/x")).await?;
            (reply.status == 200 && other.status == 404).then_some(())
        })
        .await;
    }
    gateway.ready().await;
}

/// A letter by its number: our check knows the escape, RE2 has none with `u`.
const REFUSED: &str = r"/\u{61}";
