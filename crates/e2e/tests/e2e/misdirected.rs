//! Requests over connections that were made for another listener of the port: who refuses, who serves, who offers less.

use e2e::{Backends, Certificate, Client, Gateway, eventually, free_port, get, manifest as m, request};

use crate::{listener_sets, merged_gateways, surface::command};

const ANNOTATION: &str = "ferrogate.dev/misdirected-requests";
/// What a gateway notes down for itself.
const NOTE: &str = "x-ferrogate-connection";

/// The listeners of the conformance test: none, an exact, a wildcard hostname, and an exact one within the wildcard. All
/// show one certificate, and each has a backend of its own.
const LISTENERS: [(&str, &str); 4] =
    [("any", ""), ("second", "second.org"), ("wild", "*.wildcard.org"), ("fourth", "fourth.wildcard.org")];

fn four_listeners(port: u16, mode: &str, backends: &Backends) -> String {
    let certificate = Certificate::new(&["example.org", "second.org", "*.wildcard.org"]);
    let listeners: String =
        LISTENERS.iter().map(|(name, hostname)| m::https(name, port, hostname, &["shared"])).collect();
    let route = |name: &str, hosts: &[&str]| m::route_at(name, "eg", name, hosts, &m::to(name));
    backends.manifest()
        + &certificate.secret("shared")
        + &m::annotated_gateway("eg", (ANNOTATION, mode), &listeners)
        + &route("any", &["example.org"])
        + &route("second", &[])
        + &route("wild", &[])
        + &route("fourth", &[])
}

/// Server name, host, and what comes of them: the backend that answers, or a status.
type Row = (&'static str, &'static str, &'static str);

/// Over HTTP/2 with Misdirect421: the table of the conformance test.
const REFUSED: [Row; 15] = [
    ("example.org", "example.org", "any"),
    ("example.org", "second.org", "421"),
    ("example.org", "unknown.org", "404"),
    ("second.org", "second.org", "second"),
    ("second.org", "example.org", "421"),
    ("second.org", "unknown.org", "421"),
    ("third.wildcard.org", "third.wildcard.org", "wild"),
    ("third.wildcard.org", "fifth.wildcard.org", "wild"),
    ("third.wildcard.org", "fourth.wildcard.org", "421"),
    ("third.wildcard.org", "second.org", "421"),
    ("third.wildcard.org", "unknown.org", "421"),
    ("fourth.wildcard.org", "fourth.wildcard.org", "fourth"),
    ("fourth.wildcard.org", "fifth.wildcard.org", "421"),
    ("unknown.org", "example.org", "any"),
    ("unknown.org", "unknown.org", "404"),
];

/// Over HTTP/1.1, and without server name: what Envoy Gateway answers. A listener serves what its own routes take, and
/// knows nothing of others.
const LEFT_ALONE: [Row; 11] = [
    ("example.org", "example.org", "any"),
    ("example.org", "second.org", "404"),
    ("second.org", "second.org", "second"),
    ("second.org", "example.org", "404"),
    ("third.wildcard.org", "third.wildcard.org", "wild"),
    ("third.wildcard.org", "fourth.wildcard.org", "wild"),
    ("third.wildcard.org", "second.org", "404"),
    ("fourth.wildcard.org", "fourth.wildcard.org", "fourth"),
    ("fourth.wildcard.org", "fifth.wildcard.org", "404"),
    ("127.0.0.1", "example.org", "any"),
    ("127.0.0.1", "second.org", "404"),
];

/// With Serve: any listener's connection serves the hosts of all, in each protocol.
const SERVED: [Row; 8] = [
    ("example.org", "example.org", "any"),
    ("example.org", "second.org", "second"),
    ("second.org", "example.org", "any"),
    ("second.org", "fourth.wildcard.org", "fourth"),
    ("third.wildcard.org", "fourth.wildcard.org", "fourth"),
    ("third.wildcard.org", "unknown.org", "404"),
    ("fourth.wildcard.org", "fifth.wildcard.org", "wild"),
    ("127.0.0.1", "second.org", "second"),
];

async fn check(port: u16, protocol: &str, rows: &[Row]) {
    for (name, host, wanted) in rows {
        let (mut client, _) = Client::tls(port, name, protocol).await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_keeps_its_table() {
    let names = LISTENERS.map(|(name, _)| name);
    let backends = Backends::start(&names).await;
    let port = free_port();
    let refuse = four_listeners(port, "Misdirect421", &backends);
    let gateway = Gateway::start(&[("all.yaml", &refuse)]).await;
    check(port, "h2", &REFUSED).await;
    check(port, "http/1.1", &LEFT_ALONE).await;
    // Over HTTP/2 without server name, too.
    check(port, "h2", &LEFT_ALONE[9..]).await;

    let (mut client, _) = Client::tls(port, "third.wildcard.org", "h2").await.unwrap();
    for host in ["second.org:8443", "SECOND.org", "fourth.wildcard.org:443", "Fourth.Wildcard.org"] {
        assert_eq!(client.send(get(host, "/")).await.status, 421, "{host}");
    }
    // What a client writes into the note counts for nothing.
    let forged = |host: &str, note: &str| request("GET", host, "/", &[(NOTE, note)], "");
    for note in ["HTTP/1.1 third.wildcard.org", "-", ""] {
        assert_eq!(client.send(forged("fourth.wildcard.org", note)).await.status, 421, "{note}");
        let reply = client.send(forged("third.wildcard.org", note)).await;
        assert_eq!((reply.status, reply.received(NOTE)), (200, String::new()), "{note}");
    }
    let (mut client, _) = Client::tls(port, "third.wildcard.org", "http/1.1").await.unwrap();
    let reply = client.send(forged("fourth.wildcard.org", "HTTP/2 third.wildcard.org")).await;
    assert_eq!((reply.status, reply.backend()), (200, "wild"));
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));

    gateway.write("all.yaml", &four_listeners(port, "Serve", &backends));
    eventually("the other host is served", async || {
        let (mut client, _) = Client::tls(port, "example.org", "h2").await?;
        (client.try_send(get("second.org", "/")).await?.status == 200).then_some(())
    })
    .await;
    check(port, "h2", &SERVED).await;
    check(port, "http/1.1", &SERVED).await;

    gateway.write("all.yaml", &four_listeners(port, "DowngradeALPN", &backends));
    eventually("HTTP/2 is not offered any more", async || {
        (Client::agreed(port, "second.org").await? == "http/1.1").then_some(())
    })
    .await;
    check(port, "http/1.1", &LEFT_ALONE).await;
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

/// A gRPC message that is not compressed, with the text as field 1.
fn frame(text: &str) -> String {
    let length = |bytes: usize| char::from(u8::try_from(bytes).unwrap());
    format!("\0\0\0\0{}\n{}{text}", length(text.len() + 2), length(text.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_lives_with_certificates_that_overlap() {
    let backends = Backends::start(&["echo"]).await;
    let port = free_port();
    let (wild, exact) = (Certificate::new(&["*.example.org"]), Certificate::new(&["grpc.example.org"]));
    let listeners = m::https("wild", port, "*.example.org", &["wild"])
        + &m::https("exact", port, "grpc.example.org", &["exact"]);
    let files = |mode: &str| {
        m::backend_speaking("h2c", backends.port("echo"), "gateway.envoyproxy.io/h2c")
            + &wild.secret("wild")
            + &exact.secret("exact")
            + &m::annotated_gateway("eg", (ANNOTATION, mode), &listeners)
            + &m::grpc_route("all", "eg", &[], &m::to("h2c"))
    };
    let call = |host: &str, method: &str, messages: &[&str]| {
        let body: String = messages.iter().map(|text| frame(text)).collect();
        let path = format!("/{}/{method}", echo::grpc::SERVICE);
        request("POST", host, &path, &[("content-type", "application/grpc"), ("te", "trailers")], &body)
    };
    let gateway = Gateway::start(&[("all.yaml", &files("Misdirect421"))]).await;
    for mode in ["Misdirect421", "Serve"] {
        gateway.write("all.yaml", &files(mode));
        gateway
            .condition("Gateway", "eg", |condition| {
                let message = condition["message"].as_str().unwrap_or_default();
                condition["type"] == "OverlappingTLSConfig" && message.contains(&format!("Mode {mode}"))
            })
            .await;
        for host in ["grpc.example.org", "web.example.org"] {
            let (mut client, _) = Client::tls(port, host, "h2").await.unwrap();
            let shapes = [
                ("Unary", &["one"][..], 1),
                ("ServerStream", &["one"], 3),
                ("BidiStream", &["one", "two"], 2),
            ];
            for (method, messages, answers) in shapes {
                let reply = client.send(call(host, method, messages)).await;
                let status = reply.trailers.get("grpc-status").map(|status| status.as_bytes());
                assert_eq!((reply.status, status), (200, Some(&b"0"[..])), "{mode} {host} {method}");
                assert_eq!(
                    reply.text().matches("/ferrogate.echo").count(),
                    answers,
                    "{mode} {host} {method}"
                );
            }
        }
    }
    // As upgrades of Envoy Gateway have broken it: HTTP/1.1 is all that is offered, and it carries no status.
    gateway.write("all.yaml", &files("DowngradeALPN"));
    eventually("HTTP/2 is not offered any more", async || {
        (Client::agreed(port, "grpc.example.org").await? == "http/1.1").then_some(())
    })
    .await;
    let (mut client, _) = Client::tls(port, "grpc.example.org", "http/1.1").await.unwrap();
    let reply = client.send(call("grpc.example.org", "Unary", &["one"])).await;
    assert_eq!((reply.header("grpc-status"), reply.trailers.get("grpc-status")), ("", None));
    // And that is said, with what helps.
    let (code, text, _) = command(&["check", "--admin", &gateway.admin_address()]);
    assert!(code == Some(1) && text.contains("FG203"), "{text}");
    for remedy in
        ["a certificate for each hostname", "a Gateway of its own", "a port of its own", "another mode"]
    {
        assert!(text.contains(remedy), "{remedy}: {text}");
    }
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
