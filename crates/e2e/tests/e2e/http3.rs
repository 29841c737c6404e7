//! HTTP/3 by a client that speaks it.

use std::time::Duration;

use e2e::{Backends, Certificate, Client, Gateway, eventually, free_port, get, manifest as m, request};
use http::Version;

const HOST: &str = "shop.example.com";

fn http3() -> String {
    m::client_policy("clients", "eg", "", "http3: {}\n")
}

/// A connection once there is one: the socket of QUIC opens a moment after that of TCP.
async fn connect(port: u16, name: &str) -> (Client, Vec<u8>) {
    eventually("HTTP/3 is spoken", async || Client::http3(port, name).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_3_is_offered_and_spoken_beside_http_2() {
    let backends = Backends::start(&["a", "b"]).await;
    let port = free_port();
    let certificate = Certificate::new(&[HOST]);
    let rules = m::prefix_to("/b", "b") + &m::to("a");
    let files = backends.manifest()
        + &m::gateway("eg", &m::https("https", port, HOST, &["cert"]))
        + &m::route("all", "eg", &[], &rules);
    let gateway = Gateway::start(&[
        ("all.yaml", &files),
        ("cert.yaml", &certificate.secret("cert")),
        ("policy.yaml", &http3()),
    ])
    .await;
    let (mut client, _) = Client::tls(port, HOST, "h2").await.unwrap();
    assert_eq!(client.send(get(HOST, "/")).await.header("alt-svc"), format!("h3=\":{port}\"; ma=86400"));

    let (mut client, shown) = connect(port, HOST).await;
    assert_eq!(shown, certificate.der);
    let reply = client.send(get(HOST, "/")).await;
    assert_eq!((reply.status, reply.version, reply.backend()), (200, Version::HTTP_3, "a"));
    assert_eq!(reply.received("x-forwarded-proto"), "https");
    let body = "x".repeat(100_000);
    let posted = client.send(request("POST", HOST, "/b/c?d", &[("x-user", "jo")], &body)).await;
    let answer = posted.answer();
    assert_eq!((posted.backend(), &*answer.method, answer.body_length), ("b", "POST", 100_000));
    assert_eq!((&*answer.path, answer.query.as_deref()), ("/b/c", Some("d")));
    assert_eq!(posted.received("x-user"), "jo");
    let late = client.send(get(HOST, "/?x-echo-status=418&x-echo-headers=x-late:yes")).await;
    assert_eq!((late.status, late.header("x-late")), (418, "yes"));
    // Another certificate takes the place of the first for new connections, over QUIC, too.
    let next = Certificate::new(&[HOST]);
    gateway.write("cert.yaml", &next.secret("cert"));
    eventually("the new certificate is shown", async || {
        (Client::http3(port, HOST).await?.1 == next.der).then_some(())
    })
    .await;
    assert_eq!(client.send(get(HOST, "/")).await.status, 200, "the old connection goes on");

    gateway.remove("policy.yaml");
    eventually("it is not offered any more", async || {
        let (mut client, _) = Client::tls(port, HOST, "h2").await?;
        client.try_send(get(HOST, "/")).await?.header("alt-svc").is_empty().then_some(())
    })
    .await;
    let connecting = Client::http3(port, HOST);
    let refused = tokio::time::timeout(Duration::from_secs(1), connecting).await;
    assert!(!matches!(refused, Ok(Some(_))), "HTTP/3 is spoken to new connections");
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_of_http_3_refuses_what_is_for_another() {
    let backends = Backends::start(&["a", "b"]).await;
    let port = free_port();
    let names = ["a.example.com", "b.example.com"];
    let listeners = m::https("a", port, names[0], &["cert"]) + &m::https("b", port, names[1], &["cert"]);
    let files = backends.manifest()
        + &Certificate::new(&["*.example.com"]).secret("cert")
        + &m::gateway("eg", &listeners)
        + &m::route_at("a", "eg", "a", &[], &m::to("a"))
        + &m::route_at("b", "eg", "b", &[], &m::to("b"))
        + &http3();
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    for (own, other, backend) in [(names[0], names[1], "a"), (names[1], names[0], "b")] {
        let (mut over_http2, _) = Client::tls(port, own, "h2").await.unwrap();
        let (mut over_http3, _) = connect(port, own).await;
        for client in [&mut over_http2, &mut over_http3] {
            let reply = client.send(get(own, "/")).await;
            assert_eq!((reply.status, reply.backend()), (200, backend));
            let reply = client.send(get(other, "/")).await;
            assert_eq!((reply.status, reply.backend()), (421, ""), "{:?}", reply.version);
        }
    }
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}
