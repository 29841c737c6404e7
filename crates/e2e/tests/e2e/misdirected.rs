//! Requests over connections that were made for another listener of the port: who refuses, who serves, who offers less.

use std::sync::LazyLock;

use e2e::{
    Authority, Backends, Certificate, Client, Gateway, eventually, free_port, get, manifest as m, request,
};

use crate::{listener_sets, merged_gateways, neighbours::ANNOTATION};

/// What a gateway notes down for itself.
const NOTE: &str = "x-ferrogate-connection";

/// The listeners of the conformance test: none, an exact, a wildcard hostname, and an exact one within the wildcard. All
/// show one certificate, and each has a backend of its own.
const LISTENERS: [(&str, &str); 4] =
    [("any", ""), ("second", "second.org"), ("wild", "*.wildcard.org"), ("fourth", "fourth.wildcard.org")];
/// Two more: one that asks clients for certificates, and one whose connections are its backend's own.
const GUARDED: &str = "guarded.wildcard.org";
const PASSED: &str = "passed.wildcard.org";

fn four_listeners(port: u16, mode: &str, backends: &Backends, authority: &Authority) -> String {
    let certificate = shared_certificate();
    let mut listeners: String =
        LISTENERS.iter().map(|(name, hostname)| m::https(name, port, hostname, &["shared"])).collect();
    listeners += &m::https("guarded", port, GUARDED, &["shared"]);
    listeners += &m::passthrough("passed", port, PASSED);
    let route = |name: &str, hosts: &[&str]| m::route_at(name, "eg", name, hosts, &m::to(name));
    let asks = "tls: {clientValidation: {caCertificateRefs: [{kind: ConfigMap, name: ca}]}}\n";
    backends.manifest()
        + &certificate.secret("shared")
        + &m::annotated_gateway("eg", (ANNOTATION, mode), &listeners)
        + &m::authorities("ca", &authority.certificate)
        + &m::client_policy("all", "eg", "", "http3: {}\n")
        + &m::client_policy("guarded", "eg", "guarded", &format!("http3: {{}}\n{asks}"))
        + &route("any", &["example.org"])
        + &route("second", &[])
        + &route("wild", &[])
        + &route("fourth", &[])
        + &route("guarded", &[])
}

/// One for all tests, so that a change of the mode does not rotate it.
fn shared_certificate() -> &'static Certificate {
    static SHARED: LazyLock<Certificate> =
        LazyLock::new(|| Certificate::new(&["example.org", "second.org", "*.wildcard.org"]));
    &SHARED
}

/// Server name, host, and what comes of them: the backend that answers, or a status.
type Row = (&'static str, &'static str, &'static str);

/// Over HTTP/2 and HTTP/3 with Misdirect421: the table of the conformance test, and hosts as they may be written.
const REFUSED: [Row; 24] = [
    ("example.org", "example.org", "any"),
    ("example.org", "Example.ORG:443", "any"),
    ("example.org", "second.org", "421"),
    ("example.org", "unknown.org", "404"),
    ("example.org", PASSED, "421"),
    ("second.org", "second.org", "second"),
    ("second.org", "SECOND.org:8443", "second"),
    ("second.org", "example.org", "421"),
    ("second.org", "unknown.org", "421"),
    ("third.wildcard.org", "third.wildcard.org", "wild"),
    ("third.wildcard.org", "fifth.wildcard.org", "wild"),
    ("third.wildcard.org", "Fifth.Wildcard.ORG:1", "wild"),
    ("third.wildcard.org", "fourth.wildcard.org", "421"),
    ("third.wildcard.org", "fourth.wildcard.org:443", "421"),
    ("third.wildcard.org", "Fourth.Wildcard.org", "421"),
    ("third.wildcard.org", "second.org", "421"),
    ("third.wildcard.org", "SECOND.org:8443", "421"),
    ("third.wildcard.org", "unknown.org", "421"),
    ("third.wildcard.org", "Passed.wildcard.org:8443", "421"),
    ("fourth.wildcard.org", "fourth.wildcard.org", "fourth"),
    ("fourth.wildcard.org", "fifth.wildcard.org", "421"),
    ("unknown.org", "example.org", "any"),
    ("unknown.org", "unknown.org", "404"),
    ("Third.Wildcard.ORG", "third.wildcard.org", "wild"),
];

/// Over HTTP/1.1, and without server name: what Envoy Gateway answers. A listener serves what its own routes take, and
/// knows nothing of others.
const LEFT_ALONE: [Row; 13] = [
    ("example.org", "example.org", "any"),
    ("example.org", "second.org", "404"),
    ("example.org", PASSED, "404"),
    ("second.org", "second.org", "second"),
    ("second.org", "example.org", "404"),
    ("third.wildcard.org", "third.wildcard.org", "wild"),
    ("third.wildcard.org", "fourth.wildcard.org", "wild"),
    ("third.wildcard.org", "Fourth.Wildcard.org:443", "wild"),
    ("third.wildcard.org", PASSED, "wild"),
    ("third.wildcard.org", "second.org", "404"),
    ("fourth.wildcard.org", "fourth.wildcard.org", "fourth"),
    ("fourth.wildcard.org", "fifth.wildcard.org", "404"),
    ("unknown.org", "unknown.org", "404"),
];

/// The same without server name, which leads to the listener for any host.
const WITHOUT_NAME: [Row; 4] = [
    ("127.0.0.1", "example.org", "any"),
    ("127.0.0.1", "EXAMPLE.org:8443", "any"),
    ("127.0.0.1", "second.org", "404"),
    ("127.0.0.1", "unknown.org", "404"),
];

/// With Serve: any listener's connection serves the hosts of all that show the same, in each protocol.
const SERVED: [Row; 11] = [
    ("example.org", "example.org", "any"),
    ("example.org", "second.org", "second"),
    ("second.org", "example.org", "any"),
    ("second.org", "fourth.wildcard.org", "fourth"),
    ("second.org", "Fourth.Wildcard.org:8443", "fourth"),
    ("third.wildcard.org", "fourth.wildcard.org", "fourth"),
    ("third.wildcard.org", "unknown.org", "404"),
    ("fourth.wildcard.org", "fifth.wildcard.org", "wild"),
    ("127.0.0.1", "second.org", "second"),
    ("127.0.0.1", "SECOND.ORG:443", "second"),
    ("127.0.0.1", "unknown.org", "404"),
];

/// In every protocol and mode: a listener that asks for certificates gets no requests of others' connections. Those for
/// its own name over QUIC, which cannot ask, are made to the listener around it.
const KEPT_OUT: [Row; 7] = [
    ("example.org", GUARDED, "421"),
    ("second.org", GUARDED, "421"),
    ("third.wildcard.org", GUARDED, "421"),
    ("third.wildcard.org", "Guarded.WILDCARD.org:8443", "421"),
    ("fourth.wildcard.org", GUARDED, "421"),
    ("127.0.0.1", GUARDED, "421"),
    ("127.0.0.1", "guarded.wildcard.org:443", "421"),
];

async fn check(port: u16, protocol: &str, rows: &[Row]) {
    for (name, host, wanted) in rows {
        let mut client = connect(port, name, protocol).await;
        let reply = client.send(get(host, "/")).await;
        let came = if reply.status == 200 { reply.backend().to_owned() } else { reply.status.to_string() };
        assert_eq!(came, *wanted, "{protocol} {name} {host}");
        if reply.status == 421 {
            assert_eq!(reply.header("cache-control"), "no-store");
        } else if reply.status == 200 {
            assert_eq!(reply.received(NOTE), "", "{protocol} {name} {host}: the backend sees no note");
        }
    }
}

/// A connection with this server name (none for an address) and protocol.
async fn connect(port: u16, name: &str, protocol: &str) -> Client {
    if protocol == "h3" {
        // The socket of QUIC opens a moment after that of TCP.
        return eventually("HTTP/3 is spoken", async || Some(Client::http3(port, name).await?.0)).await;
    }
    Client::tls(port, name, protocol).await.unwrap().0
}

/// Every table of a mode, by protocol.
async fn check_all(port: u16, tables: &[(&str, &[&[Row]])]) {
    for (protocol, tables) in tables {
        for rows in *tables {
            check(port, protocol, rows).await;
        }
        check(port, protocol, &KEPT_OUT).await;
    }
    // No connection over QUIC has shown a certificate, whatever its server name.
    check(port, "h3", &[(GUARDED, GUARDED, "421"), (GUARDED, "Guarded.wildcard.org:1", "421")]).await;
    for alpn in ["h2", "http/1.1"] {
        // In DowngradeALPN nothing agrees on HTTP/2, so neither is there an answer over it.
        let connected = Client::tls_if_agreed(port, GUARDED, alpn).await;
        let answer = match connected {
            Some(mut client) => client.try_send(get(GUARDED, "/")).await.map(|reply| reply.status),
            None => None,
        };
        assert_eq!(answer, None, "{alpn} without a certificate");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_keeps_its_table() {
    let backends = Backends::start(&["any", "second", "wild", "fourth", "guarded"]).await;
    let authority = Authority::new("clients");
    let port = free_port();
    let files = |mode: &str| four_listeners(port, mode, &backends, &authority);
    let gateway = Gateway::start(&[("all.yaml", &files("Misdirect421"))]).await;
    let alone: &[&[Row]] = &[&LEFT_ALONE, &WITHOUT_NAME];
    let refused: &[&[Row]] = &[&REFUSED, &WITHOUT_NAME];
    check_all(port, &[("h2", refused), ("h3", refused), ("http/1.1", alone)]).await;
    // A client with a certificate has the listener that asks for it, and others as anybody.
    let own = authority.issue(&["client"]);
    let (mut client, _) = Client::tls_as(port, GUARDED, "h2", Some(&own)).await.unwrap();
    for (host, wanted) in [(GUARDED, 200), ("Guarded.wildcard.org:9", 200), ("fifth.wildcard.org", 421)] {
        assert_eq!(client.send(get(host, "/")).await.status, wanted, "{host}");
    }

    // What a client writes into the note counts for nothing.
    let forged = |host: &str, note: &str| request("GET", host, "/", &[(NOTE, note)], "");
    for protocol in ["h2", "h3"] {
        let mut client = connect(port, "third.wildcard.org", protocol).await;
        for note in ["HTTP/1.1 third.wildcard.org", "-", ""] {
            assert_eq!(client.send(forged("fourth.wildcard.org", note)).await.status, 421, "{note}");
            let reply = client.send(forged("third.wildcard.org", note)).await;
            assert_eq!((reply.status, reply.received(NOTE)), (200, String::new()), "{note}");
        }
    }
    let (mut client, _) = Client::tls(port, "third.wildcard.org", "http/1.1").await.unwrap();
    let reply = client.send(forged("fourth.wildcard.org", "HTTP/2 third.wildcard.org")).await;
    assert_eq!((reply.status, reply.backend()), (200, "wild"));
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));

    gateway.write("all.yaml", &files("Serve"));
    eventually("the other host is served", async || {
        let (mut client, _) = Client::tls(port, "example.org", "h2").await?;
        (client.try_send(get("second.org", "/")).await?.status == 200).then_some(())
    })
    .await;
    // Who passes TLS through shares nothing.
    let passed: &[Row] = &[("example.org", PASSED, "421"), ("third.wildcard.org", PASSED, "421")];
    let served: &[&[Row]] = &[&SERVED, passed];
    check_all(port, &[("h2", served), ("h3", served), ("http/1.1", &[&SERVED])]).await;

    gateway.write("all.yaml", &files("DowngradeALPN"));
    eventually("HTTP/2 is not offered any more", async || {
        (Client::agreed(port, "second.org").await? == "http/1.1").then_some(())
    })
    .await;
    check_all(port, &[("http/1.1", alone), ("h3", alone)]).await;
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_that_come_and_go_move_the_refusals() {
    let backends = Backends::start(&["wild", "exact"]).await;
    let port = free_port();
    let certificate = Certificate::new(&["*.example.org"]).secret("shared");
    let wild = m::https("wild", port, "*.example.org", &["shared"]);
    let exact = m::https("exact", port, "a.example.org", &["shared"]);
    let pass = m::passthrough("pass", port, "b.example.org");
    let files = |listeners: &str| {
        backends.manifest()
            + &certificate
            + &m::gateway("eg", listeners)
            + &m::route_at("wild", "eg", "wild", &[], &m::to("wild"))
            + &m::route_at("exact", "eg", "exact", &[], &m::to("exact"))
    };
    let gateway = Gateway::start(&[("all.yaml", &files(&wild))]).await;
    let status = async |host: &str| {
        let (mut client, _) = Client::tls(port, "c.example.org", "h2").await?;
        Some(client.try_send(get(host, "/")).await?.status)
    };
    let settles = async |what: &str, a: u16, b: u16| {
        eventually(what, async || {
            let found = (status("a.example.org").await?, status("b.example.org").await?);
            (found == (a, b)).then_some(())
        })
        .await;
        assert_eq!(status("c.example.org").await, Some(200), "{what}");
        assert_eq!(gateway.json("/audit").await, serde_json::json!([]), "{what}");
    };
    settles("alone", 200, 200).await;
    gateway.write("all.yaml", &files(&(wild.clone() + &exact)));
    settles("with an exact one", 421, 200).await;
    gateway.write("all.yaml", &files(&(wild.clone() + &exact + &pass)));
    settles("with one that passes through", 421, 421).await;
    gateway.write("all.yaml", &files(&(wild.clone() + &pass)));
    settles("without the exact one", 200, 421).await;
    gateway.write("all.yaml", &files(&wild));
    settles("alone again", 200, 200).await;
}

/// A port of two merged Gateways, with a listener of a ListenerSet and one that passes TLS through.
fn one_port(port: u16, mode: &str, backends: &Backends) -> String {
    let annotation = (ANNOTATION, mode);
    let at = |name: &str| m::https(name, port, &format!("{name}.example.org"), &["shared"]);
    let with_sets = m::annotated_gateway(
        "first",
        annotation,
        &(at("one") + &m::passthrough("pass", port, "pass.example.org")),
    )
    .replace("  listeners:\n", "  allowedListeners:\n    namespaces:\n      from: Same\n  listeners:\n");
    backends.manifest()
        + &merged_gateways::class(true)
        + &Certificate::new(&["*.example.org"]).secret("shared")
        + &with_sets
        + &m::annotated_gateway("second", annotation, &at("two"))
        + &m::listener_set("set", "first", &at("three"))
        + &m::route_at("one", "first", "one", &[], &m::to("one"))
        + &m::route("two", "second", &[], &m::to("two"))
        + &listener_sets::route("three", "set", &[], &m::to("three"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merged_gateways_and_listener_sets_are_neighbours_too() {
    let backends = Backends::start(&["one", "two", "three"]).await;
    let port = free_port();
    let gateway = Gateway::start(&[("all.yaml", &one_port(port, "Misdirect421", &backends))]).await;
    const NAMES: [&str; 3] = ["one.example.org", "two.example.org", "three.example.org"];
    let backend = |host: &'static str| host.split_once('.').unwrap().0;
    let table = |other: &dyn Fn(&'static str) -> &'static str| -> Vec<Row> {
        let mut rows = Vec::new();
        for name in NAMES {
            rows.extend(
                NAMES.map(|host| (name, host, if host == name { backend(host) } else { other(host) })),
            );
            // TLS that passes through is its backend's own, and nobody owns the last.
            rows.extend([(name, "pass.example.org", "421"), (name, "unknown.example.org", "404")]);
        }
        rows
    };
    for name in NAMES {
        eventually(&format!("{name} serves"), async || {
            let (mut client, _) = Client::tls(port, name, "h2").await?;
            (client.try_send(get(name, "/")).await?.status == 200).then_some(())
        })
        .await;
    }
    check(port, "h2", &table(&|_| "421")).await;
    let (mut client, _) = Client::tls(port, "one.example.org", "h2").await.unwrap();
    assert_eq!(client.send(get("three.example.org:443", "/")).await.status, 421);
    // Over HTTP/1.1 each knows its own hosts alone.
    check(port, "http/1.1", &[("one.example.org", "two.example.org", "404")]).await;
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));

    gateway.write("all.yaml", &one_port(port, "Serve", &backends));
    eventually("the other hosts are served", async || {
        let (mut client, _) = Client::tls(port, "one.example.org", "h2").await?;
        (client.try_send(get("three.example.org", "/")).await?.status == 200).then_some(())
    })
    .await;
    check(port, "h2", &table(&backend)).await;
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}
