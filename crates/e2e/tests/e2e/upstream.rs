//! Connections to backends: what they begin with, how long they live and what is spoken on them.

use std::{net::Ipv4Addr, time::Duration};

use e2e::{Backends, Client, eventually, get, manifest as m};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::stage::Stage;

/// What a PROXY header of version 2 begins with, and its command and family: a connection of TCP over IPv4.
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";

/// Answers one request on a connection, and gives what came.
async fn take_down(mut stream: TcpStream, heard: mpsc::Sender<Vec<u8>>) {
    let mut bytes = Vec::new();
    let is_whole =
        |bytes: &[u8]| bytes.windows(4).any(|part| part == b"GET ") && bytes.ends_with(b"\r\n\r\n");
    while !is_whole(&bytes) {
        match stream.read_buf(&mut bytes).await {
            Ok(length) if length > 0 => {}
            _ => return,
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let _ = heard.send(bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_are_told_the_client_by_the_proxy_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = m::backend("a", listener.local_addr().unwrap().port());
    let (heard, mut said) = mpsc::channel(16);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take_down(stream, heard.clone()));
        }
    });
    let policies =
        [("first", "proxyProtocol: {version: V1}\n"), ("second", "proxyProtocol: {version: V2}\n")];
    let stage = Stage::over(&backend, &m::to("a"), &policies).await;
    let client = Ipv4Addr::new(127, 0, 0, 77);
    let mut begins = async |name: &str| {
        while said.try_recv().is_ok() {}
        let question = get(&format!("{name}.example.com"), "/");
        assert_eq!(Client::http1_from(client, stage.port).await.send(question).await.status, 200, "{name}");
        said.recv().await.unwrap()
    };
    let bytes = begins("first").await;
    let line = String::from_utf8_lossy(&bytes).lines().next().unwrap().to_owned();
    assert!(line.starts_with("PROXY TCP4 127.0.0.77 127.0.0.1 "), "{line}");
    assert!(line.ends_with(&format!(" {}", stage.port)), "{line}");
    let bytes = begins("second").await;
    assert!(bytes.starts_with(VERSION_2), "{bytes:?}");
    // Length, source, destination and their ports.
    assert_eq!(bytes[16..20], client.octets());
    assert_eq!(bytes[20..24], Ipv4Addr::LOCALHOST.octets());
    assert_eq!(bytes[26..28], stage.port.to_be_bytes());
    assert!(begins("plain").await.starts_with(b"GET / "));
    serving.abort();
}

/// The timer of the proxy's end of a connection to a backend: its kind (2 is keepalive, 0 none) and the hundredths of a
/// second until it runs out.
fn timer(own: u16, backend: u16) -> Option<(u8, u64)> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if (port(fields[1])?, port(fields[2])?) != (own, backend) {
            return None;
        }
        let (kind, left) = fields[5].split_once(':')?;
        Some((kind.parse().ok()?, u64::from_str_radix(left, 16).ok()?))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_backends_are_kept_alive_by_tcp() {
    let backends = Backends::start(&["a"]).await;
    let policies = [
        ("minute", "tcpKeepalive: {idleTime: 60s, probes: 3, interval: 5s}\n"),
        ("usual", "tcpKeepalive: {}\n"),
    ];
    let stage = Stage::set(&backends, &policies).await;
    for (name, kind, within) in [("minute", 2, 1..6_001), ("usual", 2, 6_001..720_001), ("plain", 0, 0..1)] {
        eventually(&format!("{name}: timer {kind}"), async || {
            let reply = stage.get(name).await;
            let own = reply.answer().remote.rsplit_once(':')?.1.parse().ok()?;
            let (found, left) = timer(own, backends.port("a"))?;
            (found == kind && within.contains(&left)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_backends_end_when_they_are_idle_or_old() {
    let backends = Backends::start(&["a"]).await;
    let policies = [
        ("idle", "timeout: {http: {connectionIdleTimeout: 300ms}}\n"),
        ("old", "timeout: {http: {maxConnectionDuration: 300ms}}\n"),
    ];
    let stage = Stage::set(&backends, &policies).await;
    let connection = async |name: &str| stage.get(name).await.answer().remote;
    for name in ["idle", "old"] {
        let first = connection(name).await;
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert_ne!(connection(name).await, first, "{name}");
    }
    let first = connection("plain").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(connection("plain").await, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_are_spoken_to_as_the_client_speaks() {
    let backends = Backends::start(&["a"]).await;
    let stage = Stage::set(&backends, &[("same", "useClientProtocol: true\n")]).await;
    let spoken = async |name: &str| {
        let host = format!("{name}.example.com");
        let newer = Client::h2c(stage.port).await.send(get(&host, "/")).await.answer().protocol;
        (stage.get(name).await.answer().protocol, newer)
    };
    assert_eq!(spoken("same").await, ("HTTP/1.1".to_owned(), "HTTP/2".to_owned()));
    assert_eq!(spoken("plain").await, ("HTTP/1.1".to_owned(), "HTTP/1.1".to_owned()));
    // A policy that comes later has its say, too.
    stage.policy("plain", "useClientProtocol: true\n");
    eventually("HTTP/2 is spoken", async || (spoken("plain").await.1 == "HTTP/2").then_some(())).await;
}
