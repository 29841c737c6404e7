//! gRPC over connections that overlapping certificates let clients share.

use e2e::{Backends, Channel, Client, Ended, Gateway, eventually, free_port, manifest as m, request};
use echo::grpc::{EchoRequest, EchoResponse, SERVICE};

use crate::{
    neighbours::{Certificates, MODES, Place, SET_UPS, SetUp},
    surface::command,
};

/// Status of calls: what else there is no word for.
const UNKNOWN: u16 = 2;
/// A request with the message `one`, framed.
const MESSAGE: &str = "\0\0\0\0\u{5}\n\u{3}one";

/// Shapes of calls, each with its method.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Unary,
    ServerStream,
    BidiStream,
}

impl Shape {
    /// A whole call, down to the status in the trailers; without it [`Channel`] says that the call broke.
    async fn call(self, channel: &mut Channel, host: &str) -> Result<(), Ended> {
        let path = format!("/{SERVICE}/{self:?}");
        let say = |message: &str| EchoRequest { message: message.to_owned(), ..EchoRequest::default() };
        match self {
            Shape::Unary => {
                let reply: EchoResponse = channel.unary(host, &path, &[], say("one")).await?;
                assert_eq!(reply.message, "one");
            }
            Shape::ServerStream => {
                let mut call =
                    channel.open(host, &path, &[], &[EchoRequest { count: 4, ..say("many") }]).await?;
                for index in 0..4 {
                    assert_eq!(call.next::<EchoResponse>().await?.map(|reply| reply.index), Some(index));
                }
                assert_eq!(call.next::<EchoResponse>().await?, None);
            }
            Shape::BidiStream => {
                let mut call = channel.open::<EchoRequest>(host, &path, &[], &[]).await?;
                for text in ["one", "two", "three"] {
                    call.send(&say(text)).await?;
                    let reply = call.next::<EchoResponse>().await?;
                    assert_eq!(reply.map(|reply| reply.message).as_deref(), Some(text));
                }
                call.done();
                assert_eq!(call.next::<EchoResponse>().await?, None);
            }
        }
        Ok(())
    }
}

const SHAPES: [Shape; 3] = [Shape::Unary, Shape::ServerStream, Shape::BidiStream];

fn files(set_up: &SetUp, port: u16, mode: &str, certificates: &Certificates, backend: u16) -> String {
    let backend = m::backend_speaking("h2c", backend, "gateway.envoyproxy.io/h2c");
    let mut text = set_up.files(port, mode, certificates);
    for (index, place) in set_up.places.iter().enumerate() {
        if !set_up.places[..index].iter().any(|other| other.namespace == place.namespace) {
            text += &place.home(&backend);
        }
        text += &place.at(&m::grpc_route(place.listener(), place.owner, &[], &m::to("h2c")));
    }
    text
}

/// Waits until a mode is in force at every listener.
async fn in_force(set_up: &SetUp, port: u16, gateway: &Gateway, (mode, offered): (&str, &str)) {
    for place in set_up.places {
        eventually(&format!("{}: {mode} at {}", set_up.name, place.host), async || {
            (Client::agreed(port, place.host).await? == offered).then_some(())
        })
        .await;
    }
    gateway
        .condition("Gateway", "eg", |condition| {
            let message = condition["message"].as_str().unwrap_or_default();
            condition["type"] == "OverlappingTLSConfig" && message.contains(&format!("Mode {mode}"))
        })
        .await;
}

/// Calls for a host over the connection to another, as clients make them that share connections: where they are refused
/// the client makes them again over a connection of its own.
///
/// Envoy tells calls of gRPC what it answers by itself as their status: 421 is UNKNOWN.
async fn call_over(channel: &mut Channel, port: u16, own: &Place, host: &Place, shared: bool, what: &str) {
    for shape in SHAPES {
        let what = format!("{what}: {shape:?} for {} over a connection to {}", host.host, own.host);
        let first = shape.call(channel, host.host).await;
        if own == host || shared {
            assert_eq!(first, Ok(()), "{what}");
            continue;
        }
        assert_eq!(first.unwrap_err().status, UNKNOWN, "{what}");
        let mut again = Channel::tls(port, host.host).await.unwrap();
        assert_eq!(shape.call(&mut again, host.host).await, Ok(()), "{what}, again");
    }
}

/// A call by gRPC-Web, as browsers make it, which share connections: they have the status of HTTP, and repeat it.
async fn call_from_browser(port: u16, own: &Place, host: &Place, shared: bool, what: &str) {
    let headers = [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
    let call = || request("POST", host.host, &format!("/{SERVICE}/Unary"), &headers, MESSAGE);
    let (mut client, _) = Client::tls(port, own.host, "h2").await.unwrap();
    let mut reply = client.send(call()).await;
    let what = format!("{what}: gRPC-Web for {} over a connection to {}", host.host, own.host);
    if own != host && !shared {
        assert_eq!((reply.status, reply.header("grpc-status")), (421, ""), "{what}");
        (client, _) = Client::tls(port, host.host, "h2").await.unwrap();
        reply = client.send(call()).await;
    }
    assert_eq!(reply.status, 200, "{what}");
    assert!(reply.text().contains("grpc-status:0"), "{what}: {:?}", reply.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_live_with_certificates_that_overlap_however_listeners_come_together() {
    let backends = Backends::start(&["echo"]).await;
    let certificates = Certificates::new();
    for set_up in &SET_UPS {
        let port = free_port();
        let files = |mode: &str| files(set_up, port, mode, &certificates, backends.port("echo"));
        let gateway = Gateway::start(&[("all.yaml", &files("Misdirect421"))]).await;
        for (mode, offered) in MODES {
            gateway.write("all.yaml", &files(mode));
            in_force(set_up, port, &gateway, (mode, offered)).await;
            if offered == "h2" {
                for own in set_up.places {
                    let mut channel = Channel::tls(port, own.host).await.unwrap();
                    for host in set_up.places {
                        let shared = mode == "Serve" && own.shows_the_same(host);
                        let what = format!("{} {mode}", set_up.name);
                        call_over(&mut channel, port, own, host, shared, &what).await;
                        call_from_browser(port, own, host, shared, &what).await;
                    }
                    // What was refused has not hurt the connection.
                    assert_eq!(Shape::Unary.call(&mut channel, own.host).await, Ok(()));
                }
            } else {
                for place in set_up.places {
                    calls_fail(port, place).await;
                }
            }
            assert_eq!(gateway.json("/audit").await, serde_json::json!([]), "{} {mode}", set_up.name);
        }
        // And that is said, with what helps.
        let (code, text, _) = command(&["check", "--admin", &gateway.admin_address()]);
        assert!(code == Some(1) && text.contains("FG203"), "{}: {text}", set_up.name);
        for remedy in
            ["a certificate for each hostname", "a Gateway of its own", "a port of its own", "another mode"]
        {
            assert!(text.contains(remedy), "{} {remedy}: {text}", set_up.name);
        }
    }
}

/// As upgrades of Envoy Gateway have broken it: HTTP/1.1 is all that is offered, and it carries no status.
async fn calls_fail(port: u16, place: &Place) {
    assert!(Channel::tls(port, place.host).await.is_none(), "HTTP/2 for {}", place.host);
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let call = request("POST", place.host, &format!("/{SERVICE}/Unary"), &headers, MESSAGE);
    let (mut client, _) = Client::tls(port, place.host, "http/1.1").await.unwrap();
    let reply = client.send(call).await;
    assert_eq!(
        (reply.header("grpc-status"), reply.trailers.get("grpc-status")),
        ("", None),
        "{}",
        place.host
    );
}
