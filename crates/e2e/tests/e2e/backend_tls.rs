//! TLS to backends: what their certificates must show, what is shown to them, and changes of both.

use std::time::Duration;

use e2e::{
    Authority, Backends, Gateway, Loop, TlsBackend, eventually, free_port, manifest as m, websocket_echo,
};
use serde_json::json;

const HOST: &str = "shop.example.com";
const READY: &str = "ready: true";

/// The authorities of ConfigMap `ca`, and this host name.
fn trusting(hostname: &str) -> String {
    format!("caCertificateRefs:\n- {{group: \"\", kind: ConfigMap, name: ca}}\nhostname: {hostname}\n")
}

/// A Gateway with one route to a Service; its endpoints are in files of their own.
fn base(port: u16, protocol: &str) -> String {
    m::service_speaking("web", protocol)
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("web", "eg", &[HOST], &m::to_service("web"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_proves_who_it_is_or_gets_nothing() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let backend = TlsBackend::start("web", &ours.issue(&["web.example.com"]), None).await;
    let port = free_port();
    let gateway = Gateway::start(&[
        ("base.yaml", &base(port, "")),
        ("slice.yaml", &m::slice("web", "web-1", backend.port, READY)),
        ("ca.yaml", &m::authorities("ca", &ours.certificate)),
        ("policy.yaml", &m::backend_tls_policy("web", &trusting("web.example.com"))),
    ])
    .await;
    let reply = gateway.answers(port, HOST, "/", 200, &[404, 503]).await;
    let tls = reply.answer().tls.unwrap();
    assert_eq!(tls.sni.as_deref(), Some("web.example.com"));
    assert_eq!(tls.alpn.as_deref(), Some("h2"), "the version is agreed on with the backend");
    assert!(!tls.client_certificate);

    let policy = |validation: &str| gateway.write("policy.yaml", &m::backend_tls_policy("web", validation));
    policy(&trusting("wrong.example.com"));
    gateway.answers(port, HOST, "/", 503, &[200]).await;

    let names = "subjectAltNames:\n- {type: Hostname, hostname: web.example.com}\n";
    policy(&(trusting("wrong.example.com") + names));
    let reply = gateway.answers(port, HOST, "/", 200, &[503]).await;
    assert_eq!(reply.answer().tls.unwrap().sni.as_deref(), Some("wrong.example.com"));

    policy(&trusting("web.example.com"));
    gateway.write("ca.yaml", &m::authorities("ca", &other.certificate));
    gateway.answers(port, HOST, "/", 503, &[200]).await;

    gateway.remove("ca.yaml");
    gateway.answers(port, HOST, "/", 500, &[503]).await;
    let of_route = gateway.condition("HTTPRoute", "web", |c| c["reason"] == "InvalidBackendTLS").await;
    assert_eq!(of_route["status"], "False");
    let of_policy = gateway.condition("BackendTLSPolicy", "web", |c| c["type"] == "ResolvedRefs").await;
    assert_eq!(
        (&of_policy["status"], &of_policy["reason"]),
        (&json!("False"), &json!("InvalidCACertificateRef"))
    );

    gateway.write("ca.yaml", &m::authorities("ca", &(other.certificate.clone() + &ours.certificate)));
    gateway.answers(port, HOST, "/", 200, &[500, 503]).await;
    assert_eq!(gateway.json("/problems").await, json!([]));
    assert_eq!(gateway.json("/audit").await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_and_backends_rotate_without_a_failed_request() {
    let port = free_port();
    let mut authority = Authority::new("0");
    let mut backend = TlsBackend::start("0", &authority.issue(&["web.example.com"]), None).await;
    let gateway = Gateway::start(&[
        ("base.yaml", &base(port, "")),
        ("slice-0.yaml", &m::slice("web", "web-0", backend.port, READY)),
        ("ca.yaml", &m::authorities("ca", &authority.certificate)),
        ("policy.yaml", &m::backend_tls_policy("web", &trusting("web.example.com"))),
    ])
    .await;
    gateway.answers(port, HOST, "/", 200, &[404, 503]).await;
    let mut clients = Loop::new();
    clients.http1(port, HOST, "/kept");
    clients.http1_fresh(port, HOST, "/fresh");
    clients.h2c(port, HOST, "/h2c");
    for round in 1..=5 {
        let next = Authority::new(&round.to_string());
        // Both are trusted before the first backend shows a certificate of the new one, and the old one goes last.
        gateway.write("ca.yaml", &m::authorities("ca", &(authority.certificate.clone() + &next.certificate)));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let name = round.to_string();
        let newer = TlsBackend::start(&name, &next.issue(&["web.example.com"]), None).await;
        let slice = |n: usize, port: u16| m::slice("web", &format!("web-{n}"), port, READY);
        gateway.write(&format!("slice-{round}.yaml"), &slice(round, newer.port));
        gateway.remove(&format!("slice-{}.yaml", round - 1));
        eventually("the new backend answers", async || {
            let reply = gateway.answers(port, HOST, "/", 200, &[]).await;
            (reply.backend() == name).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.write("ca.yaml", &m::authorities("ca", &next.certificate));
        tokio::time::sleep(Duration::from_millis(200)).await;
        (authority, backend) = (next, newer);
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 100, "clients were at work: {}", report.good);
    drop(backend);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_is_shown_the_certificate_that_it_demands() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let backend = TlsBackend::start("web", &servers.issue(&["web.example.com"]), Some(&clients)).await;
    let port = free_port();
    let with_certificate = |reference: &str| {
        m::service("web")
            + &m::gateway("eg", &m::http("http", port))
                .replace("  listeners:", &format!("{reference}  listeners:"))
            + &m::route("web", "eg", &[HOST], &m::to_service("web"))
    };
    let gateway = Gateway::start(&[
        ("base.yaml", &with_certificate("")),
        ("slice.yaml", &m::slice("web", "web-1", backend.port, READY)),
        ("ca.yaml", &m::authorities("ca", &servers.certificate)),
        ("policy.yaml", &m::backend_tls_policy("web", &trusting("web.example.com"))),
        ("proxy.yaml", &clients.issue(&["proxy.example.com"]).secret("proxy")),
    ])
    .await;
    gateway.answers(port, HOST, "/", 503, &[404]).await;
    gateway
        .write("base.yaml", &with_certificate("  tls: {backend: {clientCertificateRef: {name: proxy}}}\n"));
    let reply = gateway.answers(port, HOST, "/", 200, &[503]).await;
    assert!(reply.answer().tls.unwrap().client_certificate);
    let resolved = gateway.condition("Gateway", "eg", |c| c["type"] == "ResolvedRefs").await;
    assert_eq!(resolved["status"], "True");

    // Another of the same authority takes its place while requests go on.
    let mut traffic = Loop::new();
    traffic.http1_fresh(port, HOST, "/");
    gateway.write("proxy.yaml", &clients.issue(&["proxy.example.com"]).secret("proxy"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(traffic.stop().await.bad, Vec::<String>::new());

    // Connections that are open were made with the certificate of then, so the backend moves.
    let stranger = Authority::new("strangers").issue(&["proxy.example.com"]);
    gateway.write("proxy.yaml", &stranger.secret("proxy"));
    let moved = TlsBackend::start("web", &servers.issue(&["web.example.com"]), Some(&clients)).await;
    gateway.write("slice.yaml", &m::slice("web", "web-1", moved.port, READY));
    gateway.answers(port, HOST, "/", 503, &[200]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_goes_before_protocols_in_plain_text() {
    let ours = Authority::new("ours");
    let backend = TlsBackend::start("web", &ours.issue(&["web.example.com"]), None).await;
    let port = free_port();
    let gateway = Gateway::start(&[
        ("base.yaml", &base(port, "kubernetes.io/h2c")),
        ("slice.yaml", &m::slice("web", "web-1", backend.port, READY)),
        ("ca.yaml", &m::authorities("ca", &ours.certificate)),
        ("policy.yaml", &m::backend_tls_policy("web", &trusting("web.example.com"))),
    ])
    .await;
    let reply = gateway.answers(port, HOST, "/", 200, &[404, 503]).await;
    assert_eq!(reply.answer().protocol, "HTTP/2");
    assert_eq!(reply.answer().tls.unwrap().alpn.as_deref(), Some("h2"));

    gateway.write("base.yaml", &base(port, "kubernetes.io/wss"));
    eventually("HTTP/1.1 is spoken", async || {
        let reply = gateway.answers(port, HOST, "/", 200, &[503]).await;
        (reply.answer().tls.unwrap().alpn.as_deref() == Some("http/1.1")).then_some(())
    })
    .await;
    assert_eq!(websocket_echo(port, HOST, "/socket", "hello").await.as_deref(), Ok("hello"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_is_trusted_as_it_is_now() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let backend = TlsBackend::start("web", &second.issue(&["web.example.com"]), None).await;
    let plain = Backends::start(&["plain"]).await;
    let store = tempfile::tempdir().unwrap();
    let file = store.path().join("roots.pem");
    std::fs::write(&file, &first.certificate).unwrap();
    let port = free_port();
    let policy = m::backend_tls_policy("web", "wellKnownCACertificates: System\nhostname: web.example.com\n");
    let manifests = base(port, "")
        + &m::slice("web", "web-1", backend.port, READY)
        + &policy
        + &plain.manifest()
        + &m::route("plain", "eg", &["plain.example.com"], &m::to("plain"));
    let variables = [("SSL_CERT_FILE", file.to_str().unwrap())];
    let gateway = Gateway::start_in(&[("all.yaml", &manifests)], &variables).await;
    gateway.answers(port, "plain.example.com", "/", 200, &[404, 503]).await;
    gateway.answers(port, HOST, "/", 503, &[]).await;

    let beside = store.path().join("roots.new");
    std::fs::write(&beside, &second.certificate).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    gateway.answers(port, HOST, "/", 200, &[503]).await;
}
