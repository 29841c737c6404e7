//! Certificates of clients: who gets in, and what happens when authorities come, go and change.

use e2e::{
    Authority, Backends, Certificate, Client, Gateway, Loop, eventually, free_port, get, manifest as m,
};

const HOST: &str = "shop.example.com";

/// The status that a client with a certificate (or none) gets; `None` when it is turned away.
async fn answer(port: u16, alpn: &str, own: Option<&Certificate>) -> Option<u16> {
    let (mut client, _) = Client::tls_as(port, HOST, alpn, own).await?;
    Some(client.try_send(get(HOST, "/")).await?.status)
}

/// Settings for all ports; those of one port instead when there is one.
fn frontend(authorities: &str, mode: &str, port: Option<(u16, &str)>) -> String {
    let check = |map: &str| {
        format!(
            "{{validation: {{mode: {mode}, caCertificateRefs: [{{group: '', kind: ConfigMap, name: {map}}}]}}}}"
        )
    };
    let mut text = format!("frontend:\n  default: {}\n", check(authorities));
    if let Some((port, map)) = port {
        text += &format!("  perPort:\n  - port: {port}\n    tls: {}\n", check(map));
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_certificates_of_the_authorities_get_in() {
    let backends = Backends::start(&["a"]).await;
    let (port, other, plain) = (free_port(), free_port(), free_port());
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let (of_one, of_two) = (one.issue(&["client-one"]), two.issue(&["client-two"]));
    let listeners = m::https("https", port, "", &["cert"])
        + &m::https("other", other, "", &["cert"])
        + &m::http("http", plain);
    let gateway_with = |tls: &str| m::gateway_with_tls("eg", tls, &listeners);
    let strict = gateway_with(&frontend("one", "AllowValidOnly", Some((other, "two"))));
    let files = backends.manifest()
        + &Certificate::new(&[HOST]).secret("cert")
        + &m::authorities("two", &two.certificate)
        + &m::route("all", "eg", &[], &m::to("a"));
    let authorities = m::authorities("one", &one.certificate);
    let gateway =
        Gateway::start(&[("gateway.yaml", &strict), ("all.yaml", &files), ("one.yaml", &authorities)]).await;

    for alpn in ["h2", "http/1.1"] {
        for (port, good, bad) in [(port, &of_one, &of_two), (other, &of_two, &of_one)] {
            assert_eq!(answer(port, alpn, Some(good)).await, Some(200), "{alpn}");
            assert_eq!(answer(port, alpn, Some(bad)).await, None, "{alpn}: of another authority");
            assert_eq!(answer(port, alpn, None).await, None, "{alpn}: without a certificate");
        }
    }
    assert_eq!(Client::http1(plain).await.send(get(HOST, "/")).await.status, 200);

    // Another authority in the same ConfigMap, while clients of the other port are at work.
    let mut clients = Loop::new();
    clients.http1(plain, HOST, "/");
    gateway.write("one.yaml", &m::authorities("one", &two.certificate));
    eventually("the new authority counts", async || {
        (answer(port, "h2", Some(&of_two)).await == Some(200)).then_some(())
    })
    .await;
    assert_eq!(answer(port, "h2", Some(&of_one)).await, None, "the old authority counts no more");

    // Without an authority nobody gets in, however shown.
    gateway.remove("one.yaml");
    let unchecked = gateway
        .condition("Gateway", "eg", |c| c["type"] == "Accepted" && c["reason"] == "NoValidCACertificate")
        .await;
    assert!(unchecked["message"].as_str().unwrap().contains("ConfigMap default/one does not exist"));
    eventually("nobody gets in", async || Client::try_http1(port).await.is_none().then_some(())).await;
    assert_eq!(answer(other, "h2", Some(&of_two)).await, Some(200), "the other port is not touched");
    gateway.write("one.yaml", &authorities);
    eventually("the authority is back", async || {
        (answer(port, "h2", Some(&of_one)).await == Some(200)).then_some(())
    })
    .await;
    assert_eq!(answer(port, "h2", None).await, None);

    // Everybody gets in, and the Gateway says so.
    gateway.write("gateway.yaml", &gateway_with(&frontend("one", "AllowInsecureFallback", None)));
    let insecure = |c: &serde_json::Value| {
        c["type"] == "InsecureFrontendValidationMode" && c["reason"] == "ConfigurationChanged"
    };
    gateway.condition("Gateway", "eg", insecure).await;
    for own in [None, Some(&of_one), Some(&of_two)] {
        eventually("everybody gets in", async || (answer(port, "h2", own).await == Some(200)).then_some(()))
            .await;
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}
