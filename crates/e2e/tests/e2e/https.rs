//! TLS doors: which certificate is shown, what a bad one harms, rotation under load.

use std::time::Duration;

use e2e::{Backends, Certificate, Client, Gateway, Loop, eventually, free_port, get, manifest as m};

/// The certificate that a server name is shown; none when there is no handshake.
async fn shown(port: u16, name: &str) -> Option<Vec<u8>> {
    Some(Client::tls(port, name, "h2").await?.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_name_chooses_the_certificate() {
    let backends = Backends::start(&["a", "b"]).await;
    let (shared, split) = (free_port(), free_port());
    let (red, blue) = (Certificate::new(&["red.example.com"]), Certificate::new(&["blue.example.com"]));
    let (one, any) = (Certificate::new(&["one.example.org"]), Certificate::new(&["*.example.org"]));
    let listeners = m::https("shared", shared, "", &["red", "blue"])
        + &m::https("one", split, "one.example.org", &["one"])
        + &m::https("any", split, "*.example.org", &["any"]);
    let secrets = [red.secret("red"), blue.secret("blue"), one.secret("one"), any.secret("any")].concat();
    let files = secrets
        + &backends.manifest()
        + &m::gateway("eg", &listeners)
        + &m::route("two", "eg", &["two.example.org"], &m::to("a"))
        + &m::route("one", "eg", &["one.example.org"], &m::to("b"));
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;

    assert!(shown(shared, "red.example.com").await == Some(red.der.clone()), "the first by name");
    assert!(shown(shared, "blue.example.com").await == Some(blue.der), "the second by name");
    assert!(shown(shared, "green.example.com").await == Some(red.der), "the first for any other name");
    assert!(shown(split, "other.example.net").await.is_none(), "no listener has this name");
    for (name, backend, certificate) in [("one.example.org", "b", one), ("two.example.org", "a", any)] {
        for protocol in ["h2", "http/1.1"] {
            let (mut client, shown) = Client::tls(split, name, protocol).await.unwrap();
            assert!(shown == certificate.der, "{name} {protocol}");
            let reply = client.send(get(name, "/")).await;
            assert_eq!((reply.status, reply.backend()), (200, backend), "{name} {protocol}");
        }
    }
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_certificate_harms_only_its_listener() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let (good, other) = (Certificate::new(&["good.example.com"]), Certificate::new(&["bad.example.com"]));
    let listeners = m::https("good", port, "good.example.com", &["good"])
        + &m::https("bad", port, "bad.example.com", &["bad"])
        + &m::https("missing", port, "missing.example.com", &["missing"]);
    let files = backends.manifest()
        + &good.secret("good")
        + &m::gateway("eg", &listeners)
        + &m::route("all", "eg", &[], &m::to("a"));
    let bad = other.mismatched("bad", &good);
    let gateway = Gateway::start(&[("all.yaml", &files), ("bad.yaml", &bad)]).await;

    assert!(shown(port, "good.example.com").await == Some(good.der.clone()));
    assert!(shown(port, "bad.example.com").await.is_none());
    assert!(shown(port, "missing.example.com").await.is_none());
    let status = gateway.status("Gateway", "eg").await;
    let resolved = |name: &str| {
        let listener = status["listeners"].as_array().unwrap().iter().find(|l| l["name"] == name).unwrap();
        let conditions = listener["conditions"].as_array().unwrap();
        conditions.iter().find(|c| c["type"] == "ResolvedRefs").unwrap().clone()
    };
    assert_eq!(resolved("good")["status"], "True");
    for name in ["bad", "missing"] {
        let condition = resolved(name);
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&"False".into(), &"InvalidCertificateRef".into())
        );
        assert!(condition["message"].as_str().unwrap().contains(name), "{condition}");
    }

    // Mended while the good listener is under load.
    let mut clients = Loop::new();
    clients.tls(port, "good.example.com", "/", "h2");
    gateway.write("bad.yaml", &other.secret("bad"));
    eventually("the mended certificate is shown", async || {
        (shown(port, "bad.example.com").await.as_ref() == Some(&other.der)).then_some(())
    })
    .await;
    gateway.remove("bad.yaml");
    eventually("the listener is gone with its Secret", async || {
        shown(port, "bad.example.com").await.is_none().then_some(())
    })
    .await;
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_load_fails_nothing() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let files = backends.manifest()
        + &m::gateway("eg", &m::https("https", port, "", &["cert"]))
        + &m::route("all", "eg", &[], &m::to("a"));
    let first = Certificate::new(&["shop.example.com"]);
    let gateway = Gateway::start(&[("all.yaml", &files), ("cert.yaml", &first.secret("cert"))]).await;
    let mut clients = Loop::new();
    for alpn in ["h2", "http/1.1", "h2"] {
        clients.tls(port, "shop.example.com", "/", alpn);
    }
    for _ in 0..20 {
        let next = Certificate::new(&["shop.example.com"]);
        gateway.write("cert.yaml", &next.secret("cert"));
        eventually("the new certificate is shown", async || {
            (shown(port, "shop.example.com").await.as_ref() == Some(&next.der)).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 50, "clients were at work: {}", report.good);
}
