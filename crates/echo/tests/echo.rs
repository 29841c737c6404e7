//! The echo backend over real sockets, seen by real clients.

#[cfg(test)]
mod client;

use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Fixture, frames, get, message};
use echo::grpc::{EchoRequest, EchoResponse};
use echo::{Answer, Options};
use futures::{SinkExt, StreamExt};
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

#[tokio::test]
async fn http1_tells_what_arrived() {
    let echo = Fixture::start().await;
    let request = Request::post("/a/b?x=1&y=%20")
        .header("host", "one.example")
        .header("x-many", "1")
        .header("x-many", "2")
        .body(Full::new(Bytes::from("hello")))
        .unwrap();
    let (parts, body) = echo.http1().await.send(request).await.unwrap();
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.headers["x-echo-backend"], "tester");
    let answer: Answer = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer.backend, "tester");
    assert_eq!(answer.method, "POST");
    assert_eq!(answer.host.as_deref(), Some("one.example"));
    assert_eq!((answer.path.as_str(), answer.query.as_deref()), ("/a/b", Some("x=1&y=%20")));
    assert_eq!(answer.protocol, "HTTP/1.1");
    assert_eq!(answer.headers["x-many"], ["1", "2"]);
    assert_eq!((answer.body.as_str(), answer.body_length), ("hello", 5));
    assert_eq!(answer.tls, None);
    assert!(answer.remote.starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn the_same_port_speaks_h2c() {
    let echo = Fixture::start().await;
    let (parts, answer) = echo.http2().await.json(get("http://two.example/x")).await;
    assert_eq!(parts.version, Version::HTTP_2);
    assert_eq!(answer.protocol, "HTTP/2");
    assert_eq!(answer.host.as_deref(), Some("two.example"));
}

#[tokio::test]
async fn tls_offers_both_by_alpn() {
    let echo = Fixture::start().await;
    for (alpn, protocol) in [("h2", "HTTP/2"), ("http/1.1", "HTTP/1.1")] {
        let (_, answer) = echo.tls(alpn).await.json(get("https://localhost/")).await;
        let tls = answer.tls.unwrap();
        assert_eq!(answer.protocol, protocol);
        assert_eq!(tls.sni.as_deref(), Some("localhost"));
        assert_eq!(tls.alpn.as_deref(), Some(alpn));
        assert_eq!(tls.version, "TLSv1.3");
    }
}

#[tokio::test]
async fn a_unix_socket_serves_and_a_stale_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let options = Options { unix: vec![path.clone()], ..Options::default() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = echo::serve(options.clone(), async { drop(stopped.await) }).await.unwrap();
    let second = echo::serve(options, std::future::pending()).await.unwrap_err();
    assert!(second.to_string().contains("echo.sock"), "{second}");
    let (_, answer) = client::unix(&path).await.json(get("/u")).await;
    assert_eq!((answer.remote.as_str(), answer.path.as_str()), ("unix", "/u"));
    drop(stop);
    running.done().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn knobs_steer_the_answer() {
    let echo = Fixture::start().await;
    let mut client = echo.http1().await;
    let (parts, _) = client.json(get("/?x-echo-status=418&x-echo-headers=x-a:1,x-b:2")).await;
    assert_eq!(parts.status.as_u16(), 418);
    assert_eq!(
        (&parts.headers["x-a"], &parts.headers["x-b"]),
        (&"1".parse().unwrap(), &"2".parse().unwrap())
    );

    let begun = Instant::now();
    client.json(get("/?x-echo-delay=120ms")).await;
    assert!(begun.elapsed() >= Duration::from_millis(120));

    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.json(get("/?x-echo-fail-first=2&x-echo-key=k")).await.0.status.as_u16());
    }
    assert_eq!(statuses, [503, 503, 200]);

    let (parts, body) = client.send(get("/?x-echo-delay=soon")).await.unwrap();
    assert_eq!(parts.status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&body).contains("x-echo-delay"));
}

#[tokio::test]
async fn a_sick_backend_tells_health_checks_alone() {
    let echo = Fixture::start().await;
    let mut client = echo.http1().await;
    for (serving, status) in [(true, 200), (false, 503), (true, 200)] {
        echo.serving.store(serving, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(client.json(get("/healthz")).await.0.status.as_u16(), status);
        assert_eq!(client.json(get("/")).await.0.status.as_u16(), 200);
        // What is asked for goes first.
        assert_eq!(client.json(get("/healthz?x-echo-status=418")).await.0.status.as_u16(), 418);
    }
}

#[tokio::test]
async fn close_drops_the_connection() {
    let echo = Fixture::start().await;
    assert!(echo.http1().await.send(get("/?x-echo-close")).await.is_err());
    assert!(echo.http2().await.send(get("http://a/?x-echo-close")).await.is_err());
    // The first one fails, the repeated one does not.
    let again = "/?x-echo-close&x-echo-fail-first=1";
    assert!(echo.http1().await.send(get(again)).await.is_err());
    assert!(echo.http1().await.send(get(again)).await.is_ok());
}

#[tokio::test]
async fn a_long_body_is_counted_and_cut() {
    let echo = Fixture::start().await;
    let request = Request::put("/").body(Full::new(Bytes::from(vec![b'x'; 1 << 20]))).unwrap();
    let (_, answer) = echo.http1().await.json(request).await;
    assert_eq!(answer.body_length, 1 << 20);
    assert_eq!(answer.body.len(), 64 * 1024);
}

#[tokio::test]
async fn grpc_in_its_four_shapes() {
    let echo = Fixture::start().await;
    let mut client = echo.http2().await;
    let one = |text: &str| EchoRequest { message: text.into(), ..Default::default() };
    let texts = |list: &[EchoResponse]| list.iter().map(|m| m.message.clone()).collect::<Vec<_>>();

    let (list, trailers) = client.grpc("Unary", &[one("hi")]).await;
    assert_eq!((texts(&list), trailers.as_str()), (vec!["hi".to_owned()], "0"));
    assert_eq!(list[0].path, "/ferrogate.echo.v1.Echo/Unary");
    assert_eq!((list[0].backend.as_str(), list[0].authority.as_str()), ("tester", "grpc.example"));

    let (list, trailers) = client.grpc("ServerStream", &[EchoRequest { count: 2, ..one("s") }]).await;
    assert_eq!((list.len(), list[1].index, trailers.as_str()), (2, 1, "0"));

    let (list, trailers) = client.grpc("ClientStream", &[one("a"), one("b")]).await;
    assert_eq!((texts(&list), trailers.as_str()), (vec!["a,b".to_owned()], "0"));

    let asked = [one("a"), one("b"), EchoRequest { status: 7, ..one("c") }];
    let (list, trailers) = client.grpc("BidiStream", &asked).await;
    assert_eq!((texts(&list), trailers.as_str()), (vec!["a".to_owned(), "b".to_owned()], "7"));
}

#[tokio::test]
async fn grpc_errors_known_early_are_trailers_only() {
    let echo = Fixture::start().await;
    let mut client = echo.http2().await;
    for (path, body, status) in [
        ("/a.B/C?x-echo-status=14", message(&EchoRequest::default()), "14"),
        ("/a.B/D?x-echo-fail-first=1", message(&EchoRequest::default()), "14"),
        ("/a.B/C", message(&EchoRequest { status: 5, ..Default::default() }), "5"),
        ("/a.B/C", message(&EchoRequest { status: 99, ..Default::default() }), "3"),
        ("/nothing", Bytes::new(), "12"),
        ("/a.B/C", Bytes::new(), "3"),
        ("/a.B/C", Bytes::from_static(&[0, 0, 0, 0, 9, 1]), "3"),
        ("/a.B/C", Bytes::from_static(&[1, 0, 0, 0, 0]), "12"),
        ("/a.B/C", Bytes::from_static(&[0, 255, 255, 255, 255]), "8"),
    ] {
        let request = Request::post(format!("http://g{path}"))
            .header("content-type", "application/grpc")
            .body(Full::new(body))
            .unwrap();
        let (parts, body) = client.send(request).await.unwrap();
        assert_eq!(parts.headers["grpc-status"], status, "{path}");
        assert!(body.is_empty());
    }
    assert!(frames(&[]).is_empty());
}

#[tokio::test]
async fn websockets_over_http1() {
    let echo = Fixture::start().await;
    let stream = tokio::net::TcpStream::connect(echo.running.plain[0]).await.unwrap();
    let (mut socket, response) =
        tokio_tungstenite::client_async("ws://one.example/ws", stream).await.unwrap();
    assert_eq!(response.headers()["x-echo-backend"], "tester");
    for sent in [Message::text("hello"), Message::binary(vec![1, 2, 3])] {
        socket.send(sent.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), sent);
    }
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn websockets_over_http2() {
    let echo = Fixture::start().await;
    let mut client = echo.http2().await;
    client.json(get("http://w/")).await; // the server's settings have arrived now
    let mut request =
        Request::builder().method(Method::CONNECT).uri("http://w/ws").body(Full::default()).unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let response = client.raw(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    let io = TokioIo::new(upgraded);
    let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(io, Role::Client, None).await;
    socket.send(Message::text("over h2")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("over h2"));
}

#[tokio::test]
async fn shutdown_finishes_requests_and_closes_websockets() {
    let echo = Fixture::start().await;
    let mut slow = echo.http1().await;
    let stream = tokio::net::TcpStream::connect(echo.running.plain[0]).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://one.example/ws", stream).await.unwrap();
    let idle = echo.http1().await;
    let request = tokio::spawn(async move { slow.json(get("/?x-echo-delay=300ms")).await.0.status });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let address = echo.running.plain[0];
    let begun = Instant::now();
    echo.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "idle connections do not hold it up");
    assert_eq!(request.await.unwrap(), StatusCode::OK);
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off() {
    let echo = Fixture::start().await;
    let mut slow = echo.http1().await;
    let request = tokio::spawn(async move { slow.send(get("/?x-echo-delay=60s")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    echo.stop().await;
    assert!(request.await.unwrap().is_err());
}

#[tokio::test]
async fn bad_options_are_named() {
    let taken = Fixture::start().await;
    let options = Options { plain: vec![taken.running.plain[0]], ..Options::default() };
    let error = echo::serve(options, std::future::pending()).await.unwrap_err().to_string();
    assert!(error.contains(&taken.running.plain[0].to_string()), "{error}");

    let files =
        echo::Certificate::Files { certificate: "/nowhere/tls.crt".into(), key: "/nowhere/tls.key".into() };
    let options =
        Options { tls: vec!["127.0.0.1:0".parse().unwrap()], certificate: files, ..Options::default() };
    let error = echo::serve(options, std::future::pending()).await.unwrap_err().to_string();
    assert!(error.contains("tls.crt"), "{error}");
}

#[tokio::test]
async fn given_certificates_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["given.example".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let options = Options {
        tls: vec!["127.0.0.1:0".parse().unwrap()],
        certificate: echo::Certificate::Files { certificate, key },
        ..Options::default()
    };
    let running = echo::serve(options, std::future::pending()).await.unwrap();
    assert_eq!(running.certificate_pem, None);
    let mut client = client::tls(running.tls[0], &made.cert.pem(), "given.example", "h2").await;
    let body = client.raw(get("https://given.example/")).await.unwrap().into_body().collect().await.unwrap();
    let answer: Answer = serde_json::from_slice(&body.to_bytes()).unwrap();
    assert_eq!(answer.tls.unwrap().sni.as_deref(), Some("given.example"));
}
