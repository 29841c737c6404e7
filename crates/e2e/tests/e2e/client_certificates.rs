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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_certificates_are_turned_away() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let authority = Authority::new("clients");
    let (good, stolen) = (authority.issue_numbered(7, &["good"]), authority.issue_numbered(8, &["stolen"]));
    let policy = |spec: &str| m::client_policy("clients", "eg", "", spec);
    let with_list = policy(
        "headers: {xForwardedClientCert: {mode: SanitizeSet, certDetailsToAdd: [DNS]}}\ntls:\n  clientValidation:\n    \
         caCertificateRefs: [{kind: ConfigMap, name: ca}]\n    crl: {refs: [{kind: ConfigMap, name: crl}]}\n",
    );
    let files = backends.manifest()
        + &Certificate::new(&[HOST]).secret("cert")
        + &m::gateway("eg", &m::https("https", port, "", &["cert"]))
        + &m::authorities("ca", &authority.certificate)
        + &m::route("all", "eg", &[], &m::to("a"));
    let list = |serials: &[u64], until: i32| m::revocations("crl", &authority.revoke(serials, until));
    let gateway =
        Gateway::start(&[("all.yaml", &files), ("crl.yaml", &list(&[], 2099)), ("policy.yaml", &with_list)])
            .await;
    for own in [&good, &stolen] {
        assert_eq!(answer(port, "h2", Some(own)).await, Some(200));
    }
    assert_eq!(answer(port, "h2", None).await, None);
    let (mut client, _) = Client::tls_as(port, HOST, "h2", Some(&good)).await.unwrap();
    let told = client.send(get(HOST, "/")).await.received("x-forwarded-client-cert");
    assert!(told.contains("DNS=good"), "{told}");

    gateway.write("crl.yaml", &list(&[8], 2099));
    eventually("the revoked one is turned away", async || {
        answer(port, "h2", Some(&stolen)).await.is_none().then_some(())
    })
    .await;
    assert_eq!(answer(port, "h2", Some(&good)).await, Some(200));

    // Envoy would turn everybody away by a list that is out of date: the policy says so instead.
    gateway.write("crl.yaml", &list(&[8], 2022));
    let invalid = |c: &serde_json::Value| c["type"] == "Accepted" && c["reason"] == "Invalid";
    let condition = gateway.condition("ClientTrafficPolicy", "clients", invalid).await;
    assert!(condition["message"].as_str().unwrap().contains("out of date"), "{condition}");
    eventually("requests are answered with an error", async || {
        (answer(port, "h2", Some(&good)).await == Some(500)).then_some(())
    })
    .await;
    gateway.write("crl.yaml", &list(&[8], 2099));
    eventually("the list is current again", async || {
        (answer(port, "h2", Some(&good)).await == Some(200)).then_some(())
    })
    .await;
    assert_eq!(answer(port, "h2", Some(&stolen)).await, None);
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

/// A listener for all names asks for nothing, one for a single name asks for certificates, and both show the same
/// certificate, so clients use a connection for both. One route is for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_carries_requests_to_a_listener_that_asks_for_more() {
    const WIDE: &str = "other.example.com";
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let listeners = m::https("any", port, "", &["cert"])
        + &m::https("wild", port, "*.example.com", &["cert"])
        + &m::https("shop", port, HOST, &["cert"])
        + &m::https("pay", port, "pay.example.com", &["cert"]);
    let asks = |name: &str, map: &str| {
        let refs =
            format!("tls: {{clientValidation: {{caCertificateRefs: [{{kind: ConfigMap, name: {map}}}]}}}}");
        m::client_policy(name, "eg", name, &refs)
    };
    let files = |mode: &str| {
        backends.manifest()
            + &Certificate::new(&["*.example.com"]).secret("cert")
            + &m::annotated_gateway("eg", ("ferrogate.dev/misdirected-requests", mode), &listeners)
            + &m::authorities("one", &one.certificate)
            + &m::authorities("two", &two.certificate)
            + &asks("shop", "one")
            + &asks("pay", "two")
            + &m::route("all", "eg", &[], &m::to("a"))
    };
    let (of_one, of_two) = (one.issue(&["client"]), two.issue(&["client"]));
    let gateway = Gateway::start(&[("all.yaml", &files("Misdirect421"))]).await;
    for mode in ["Misdirect421", "Serve", "DowngradeALPN"] {
        gateway.write("all.yaml", &files(mode));
        gateway
            .condition("Gateway", "eg", |condition| {
                let message = condition["message"].as_str().unwrap_or_default();
                condition["type"] == "OverlappingTLSConfig" && message.contains(&format!("Mode {mode}"))
            })
            .await;
        let offered = if mode == "DowngradeALPN" { &["http/1.1"][..] } else { &["h2", "http/1.1"] };
        eventually("the mode is in force", async || {
            let agreed = Client::agreed(port, WIDE).await?;
            offered.first().is_some_and(|first| *first == agreed).then_some(())
        })
        .await;
        for alpn in offered {
            // Connection, certificate, host, what comes of it.
            let table = [
                (WIDE, None, WIDE, 200),
                (WIDE, None, HOST, 421),
                (WIDE, Some(&of_one), HOST, 421),
                (WIDE, None, "SHOP.example.com:443", 421),
                (WIDE, None, "pay.example.com", 421),
                ("any.example.net", None, HOST, 421),
                ("any.example.net", None, "shop.example.com.", 421),
                ("any.example.net", None, "Pay.example.com.:443", 421),
                ("any.example.net", None, "any.example.net", 200),
                (HOST, Some(&of_one), HOST, 200),
                (HOST, Some(&of_one), "pay.example.com", 421),
                ("pay.example.com", Some(&of_two), HOST, 421),
                ("pay.example.com", Some(&of_two), "pay.example.com", 200),
            ];
            for (name, own, host, wanted) in table {
                let (mut client, _) = Client::tls_as(port, name, alpn, own).await.unwrap();
                let status = client.send(get(host, "/")).await.status;
                assert_eq!(status, wanted, "{mode} {alpn}: {host} over a connection to {name}");
            }
            let own = answer(port, alpn, None).await;
            assert_eq!(own, None, "{mode} {alpn}: without a certificate");
        }
        assert_eq!(gateway.json("/audit").await, serde_json::json!([]), "{mode}");
    }
}

/// A listener without a certificate of its own, or without authorities, is not served. A broader one that asks for
/// nothing takes the connections for its hosts then, and one route is for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_serves_the_hosts_of_a_listener_that_asks_for_certificates_and_is_not_served() {
    const WIDE: &str = "other.example.com";
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let authority = Authority::new("clients");
    let own = authority.issue(&["client"]);
    let listeners =
        m::https("wild", port, "*.example.com", &["cert"]) + &m::https("shop", port, HOST, &["shop"]);
    let asks = "tls: {clientValidation: {caCertificateRefs: [{kind: ConfigMap, name: ca}]}}";
    let files = backends.manifest()
        + &Certificate::new(&["*.example.com"]).secret("cert")
        + &m::gateway("eg", &listeners)
        + &m::client_policy("shop", "eg", "shop", asks)
        + &m::route("all", "eg", &[], &m::to("a"))
        + &m::route("named", "eg", &[HOST], &m::prefix_to("/named", "a"));
    let (secret, ca) =
        (Certificate::new(&[HOST]).secret("shop"), m::authorities("ca", &authority.certificate));
    let gateway = Gateway::start(&[("all.yaml", &files), ("shop.yaml", &secret), ("ca.yaml", &ca)]).await;
    // The status for the host, and for one that is the broader listener's, as anybody.
    let over = async |name: &str, host: &str, path: &str, alpn: &str| {
        let (mut client, _) = Client::tls(port, name, alpn).await?;
        Some(client.try_send(get(host, path)).await?.status)
    };
    let served = async || {
        eventually("the listener is served", async || {
            (answer(port, "h2", Some(&own)).await == Some(200)).then_some(())
        })
        .await;
    };
    for _ in 0..2 {
        served().await;
        for alpn in ["h2", "http/1.1"] {
            assert_eq!(answer(port, alpn, None).await, None, "{alpn}");
        }
        gateway.remove("shop.yaml");
        eventually("the broader listener takes its connections", async || {
            over(HOST, WIDE, "/", "h2").await.is_some_and(|status| status == 200).then_some(())
        })
        .await;
        for alpn in ["h2", "http/1.1"] {
            for path in ["/", "/named"] {
                assert_eq!(over(HOST, HOST, path, alpn).await, Some(421), "{alpn} {path}");
                assert_eq!(over(WIDE, HOST, path, alpn).await, Some(421), "{alpn} {path}");
                assert_eq!(over(WIDE, WIDE, path, alpn).await, Some(200), "{alpn} {path}");
            }
        }
        assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
        gateway.write("shop.yaml", &secret);
        served().await;
        // Without authorities the policy is broken: clients are not asked, and get an error.
        gateway.remove("ca.yaml");
        eventually("requests get an error", async || {
            (answer(port, "h2", Some(&own)).await == Some(500)).then_some(())
        })
        .await;
        for alpn in ["h2", "http/1.1"] {
            assert!([None, Some(500)].contains(&answer(port, alpn, None).await), "{alpn}");
            assert_eq!(over(WIDE, HOST, "/", alpn).await, Some(421), "{alpn}");
        }
        gateway.write("ca.yaml", &ca);
    }
}
