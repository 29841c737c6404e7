//! Backends of every protocol and kind: h2c, gRPC, WebSocket, both address families, by name, socket and Service.

use e2e::{
    Backends, Channel, Client, Gateway, eventually, free_port, get, manifest as m, request, websocket_echo,
};
use echo::grpc::{EchoRequest, EchoResponse};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_and_h2c_backends() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let files = m::backend("plain", backends.port("a"))
        + &m::backend_speaking("h2c", backends.port("a"), "gateway.envoyproxy.io/h2c")
        + &m::backend_speaking("ws", backends.port("a"), "gateway.envoyproxy.io/ws")
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("plain", "eg", &["plain.example.com"], &m::to("plain"))
        + &m::route("h2c", "eg", &["h2c.example.com"], &m::to("h2c"))
        + &m::route("ws", "eg", &["ws.example.com"], &m::to("ws"));
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    for (host, wanted) in [("plain", "HTTP/1.1"), ("h2c", "HTTP/2")] {
        let reply = Client::h2c(port).await.send(get(&format!("{host}.example.com"), "/")).await;
        assert_eq!(reply.answer().protocol, wanted);
    }
    for host in ["plain", "ws"] {
        let came = websocket_echo(port, &format!("{host}.example.com"), "/chat", "hello").await;
        assert_eq!(came, Ok("hello".to_owned()), "{host}");
    }
    eventually("the gateway stays ready", async || {
        (gateway.admin("/readyz").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_by_name_by_socket_and_by_service() {
    let backends = Backends::start(&["a"]).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let unix = echo::Options { unix: vec![socket.clone()], backend: "unix".to_owned(), ..Default::default() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    echo::serve(unix, async { drop(stopped.await) }).await.unwrap();
    let (port, own) = (free_port(), backends.port("a"));
    let endpoint = |name: &str, text: &str| {
        m::backend(name, own).replace(&format!("ip:\n      address: 127.0.0.1\n      port: {own}"), text)
    };
    let headless = m::service("headless").replace("clusterIP: 10.96.0.10", "clusterIP: None");
    let files = endpoint("fqdn", &format!("fqdn:\n      hostname: localhost\n      port: {own}"))
        + &endpoint("unix", &format!("unix:\n      path: {}", socket.display()))
        + &headless
        + &m::slice("headless", "headless-0", own, "ready: true")
        + &m::service("empty")
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("fqdn", "eg", &["fqdn.example.com"], &m::to("fqdn"))
        + &m::route("unix", "eg", &["unix.example.com"], &m::to("unix"))
        + &m::route("headless", "eg", &["headless.example.com"], &m::to_service("headless"))
        + &m::route("empty", "eg", &["empty.example.com"], &m::to_service("empty"));
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    for (host, backend) in [("fqdn", "a"), ("unix", "unix"), ("headless", "a")] {
        let reply = gateway.answers(port, &format!("{host}.example.com"), "/", 200, &[]).await;
        assert_eq!(reply.backend(), backend, "{host}");
    }
    // A Service without endpoints: 503, as with Envoy Gateway.
    gateway.answers(port, "empty.example.com", "/", 503, &[]).await;
    drop(stop);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_ports_say_their_protocol() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let mut files = m::gateway("eg", &m::http("http", port));
    let protocols = [
        ("plain", ""),
        ("h2c", "kubernetes.io/h2c"),
        ("ws", "kubernetes.io/ws"),
        ("wss", "kubernetes.io/wss"),
    ];
    for (name, protocol) in protocols {
        files += &m::service_speaking(name, protocol);
        files += &m::slice(name, &format!("{name}-0"), backends.port("a"), "ready: true");
        files += &m::route(name, "eg", &[&format!("{name}.example.com")], &m::to_service(name));
    }
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    for (name, _) in protocols {
        let host = format!("{name}.example.com");
        gateway.answers(port, &host, "/", 200, &[]).await;
        let reply = Client::h2c(port).await.send(get(&host, "/")).await;
        let wanted = if name == "h2c" { "HTTP/2" } else { "HTTP/1.1" };
        assert_eq!(reply.answer().protocol, wanted, "{name}");
        if name != "h2c" {
            let came = websocket_echo(port, &host, "/chat", "hello").await;
            assert_eq!(came, Ok("hello".to_owned()), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_calls_reach_an_h2c_backend() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let method = format!("/{}/Unary", echo::grpc::SERVICE);
    let rules = m::prefix_to(&method, "h2c");
    let files = m::backend_speaking("h2c", backends.port("a"), "gateway.envoyproxy.io/h2c")
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("grpc", "eg", &["grpc.example.com"], &rules);
    let _gateway = Gateway::start(&[("all.yaml", &files)]).await;
    // A frame: not compressed, seven bytes, field 1 with five characters.
    let call = "\0\0\0\0\u{7}\n\u{5}hello";
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut client = Client::h2c(port).await;
    let reply = client.send(request("POST", "grpc.example.com", &method, &headers, call)).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/grpc"));
    assert!(reply.text().contains("hello"), "{}", reply.text());
    assert_eq!(reply.trailers.get("grpc-status").map(|status| status.as_bytes()), Some(&b"0"[..]));
    // A gRPC client understands a missing route, too: the proxy answers in its terms.
    let reply = client.send(request("POST", "grpc.example.com", "/other.Service/Call", &headers, call)).await;
    assert_eq!((reply.status, reply.header("grpc-status")), (200, "12"), "{:?}", reply.headers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_address_families_of_a_service_are_used() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("this machine has no IPv6: nothing to try");
        return;
    }
    let four = Backends::start(&["four"]).await;
    let six = Backends::start_at(std::net::Ipv6Addr::LOCALHOST.into(), &["six"]).await;
    let port = free_port();
    let slice_of_six = m::slice("svc", "svc-6", six.port("six"), "ready: true")
        .replace("addressType: IPv4", "addressType: IPv6")
        .replace("- 127.0.0.1", "- \"::1\"");
    let files = m::gateway("eg", &m::http("http", port))
        + &m::service("svc")
        + &m::slice("svc", "svc-4", four.port("four"), "ready: true")
        + &slice_of_six
        + &m::route("svc", "eg", &[], &m::to_service("svc"));
    let _gateway = Gateway::start(&[("all.yaml", &files)]).await;
    let mut seen = std::collections::BTreeSet::new();
    let mut client = Client::http1(port).await;
    eventually("both endpoints answer", async || {
        let reply = client.send(get("any.example.com", "/")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        seen.insert(reply.backend().to_owned());
        (seen.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_service_answers_by_the_slices_of_its_name() {
    let backends = Backends::start(&["own", "old", "new"]).await;
    let port = free_port();
    let rule = format!("- backendRefs:\n{}", m::import_ref("svc"));
    // A Service of the same name is another backend, and says otherwise of the protocol.
    let base = m::gateway("eg", &m::http("http", port))
        + &m::service("svc")
        + &m::slice("svc", "svc-own", backends.port("own"), "ready: true")
        + &m::service_import("svc", "kubernetes.io/h2c")
        + &m::route("web", "eg", &["web.example.com"], &rule)
        + &m::grpc_route("calls", "eg", &["calls.example.com"], &rule);
    let slice = |backend: &str| m::slice_of_import("svc", "svc-1", backends.port(backend), "ready: true");
    let gateway = Gateway::start(&[("base.yaml", &base), ("slice.yaml", &slice("old"))]).await;
    let reply = gateway.answers(port, "web.example.com", "/", 200, &[]).await;
    assert_eq!((reply.backend(), &*reply.answer().protocol), ("old", "HTTP/2"));
    let mut channel = Channel::connect(port).await;
    let path = format!("/{}/Unary", echo::grpc::SERVICE);
    gateway.write("slice.yaml", &slice("new"));
    eventually("both routes follow the slices", async || {
        let web = Client::http1(port).await.send(get("web.example.com", "/")).await;
        let ask = EchoRequest { message: "hi".to_owned(), ..EchoRequest::default() };
        let call: EchoResponse = channel.unary("calls.example.com", &path, &[], ask).await.unwrap();
        (web.backend() == "new" && call.backend == "new").then_some(())
    })
    .await;
    let told = gateway.json("/problems").await;
    let reasons: Vec<_> = told.as_array().unwrap().iter().map(|problem| &problem["reason"]).collect();
    assert_eq!(reasons, ["AppProtocolMismatch", "AppProtocolMismatch"], "{told:#}");
}
