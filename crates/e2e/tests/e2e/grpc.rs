//! GRPCRoutes: calls of every shape, also while the configuration changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use e2e::{Backends, Channel, Client, Ended, Gateway, eventually, free_port, manifest as m, request};
use echo::grpc::{EchoRequest, EchoResponse, SERVICE};

/// Rounds of five changes each of the test under load.
const ROUNDS: usize = 40;

/// Health's and reflection's messages, as far as a client needs them.
#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthOf {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reflect {
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reflected {
    #[prost(message, optional, tag = "6")]
    list: Option<Services>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<HealthOf>,
}

fn path(method: &str) -> String {
    format!("/{SERVICE}/{method}")
}

fn say(message: &str) -> EchoRequest {
    EchoRequest { message: message.to_owned(), ..EchoRequest::default() }
}

/// A rule for calls of a method; `matched` is the inside of `method`.
fn rule(matched: &str, backend: &str) -> String {
    format!("- matches:\n  - method: {{{matched}}}\n  backendRefs:\n{}", m::backend_ref(backend))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_every_shape_reach_the_backend_of_their_method() {
    let backends = Backends::start(&["a", "b"]).await;
    let port = free_port();
    let rules = rule(&format!("service: {SERVICE}, method: Unary"), "a")
        + &rule(&format!("service: {SERVICE}"), "b")
        + &rule("method: Check", "a")
        + &rule("type: RegularExpression, service: \"grpc[.]reflection[.].*\"", "b")
        + &format!(
            "- matches:\n  - headers: [{{name: x-to, value: a}}]\n  backendRefs:\n{}",
            m::backend_ref("a")
        );
    let files = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::grpc_route("calls", "eg", &["grpc.example.com"], &rules);
    let _gateway = Gateway::start(&[("all.yaml", &files)]).await;
    let mut channel = Channel::connect(port).await;
    let host = "grpc.example.com";

    let reply: EchoResponse = channel.unary(host, &path("Unary"), &[], say("hi")).await.unwrap();
    assert_eq!((&*reply.message, &*reply.backend), ("hi", "a"));

    let many = EchoRequest { count: 5, ..say("many") };
    let mut call = channel.open(host, &path("ServerStream"), &[], &[many]).await.unwrap();
    for index in 0..5 {
        let reply: EchoResponse = call.next().await.unwrap().unwrap();
        assert_eq!((reply.index, &*reply.backend), (index, "b"));
    }
    assert_eq!(call.next::<EchoResponse>().await, Ok(None));

    // Each answer comes before the next message is sent.
    let mut call = channel.open::<EchoRequest>(host, &path("BidiStream"), &[], &[]).await.unwrap();
    for text in ["one", "two", "three"] {
        call.send(&say(text)).await.unwrap();
        let reply: EchoResponse = call.next().await.unwrap().unwrap();
        assert_eq!((&*reply.message, &*reply.backend), (text, "b"));
    }
    call.done();
    assert_eq!(call.next::<EchoResponse>().await, Ok(None));

    let health = HealthOf { service: String::new() };
    let well: Health = channel.unary(host, "/grpc.health.v1.Health/Check", &[], health).await.unwrap();
    assert_eq!(well.status, 1);

    let info = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let mut call = channel.open::<Reflect>(host, info, &[], &[]).await.unwrap();
    call.send(&Reflect { list_services: Some(String::new()) }).await.unwrap();
    let list: Reflected = call.next().await.unwrap().unwrap();
    assert!(list.list.unwrap().services.iter().any(|service| service.service == SERVICE));
    call.done();

    let by_header: EchoResponse = channel.unary(host, "/a.B/C", &[("x-to", "a")], say("")).await.unwrap();
    assert_eq!((&*by_header.backend, &*by_header.path), ("a", "/a.B/C"));
    // The backend's own status comes through, and of what no rule takes the proxy says UNIMPLEMENTED.
    let failing = EchoRequest { status: 7, ..say("") };
    let refused = channel.unary::<_, EchoResponse>(host, &path("Unary"), &[], failing).await;
    assert_eq!(refused.unwrap_err().status, 7);
    let unknown = channel.unary::<_, EchoResponse>(host, "/a.B/C", &[], say("")).await;
    assert_eq!(unknown.unwrap_err().status, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_for_a_backend_that_is_not_there_are_unavailable() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let extension = "- matches:\n  - method: {service: filtered}\n  filters:\n  - type: ExtensionRef\n    extensionRef: \
                     {group: example.com, kind: Own, name: x}\n";
    let share = format!(
        "- matches:\n  - method: {{service: half}}\n  backendRefs:\n{}{}",
        m::backend_ref("a"),
        m::backend_ref("gone")
    );
    let rules = rule("service: gone", "gone") + &share + extension;
    let files = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::grpc_route("calls", "eg", &[], &rules);
    let _gateway = Gateway::start(&[("all.yaml", &files)]).await;
    let mut channel = Channel::connect(port).await;
    let gone = channel.unary::<_, EchoResponse>("any", "/gone/Call", &[], say("")).await;
    assert_eq!(gone.unwrap_err().status, 14);
    let (mut good, mut unavailable) = (0, 0);
    for _ in 0..40 {
        match channel.unary::<_, EchoResponse>("any", "/half/Call", &[], say("")).await {
            Ok(_) => good += 1,
            Err(ended) => {
                assert_eq!(ended.status, 14, "{ended:?}");
                unavailable += 1;
            }
        }
    }
    assert!(good > 5 && unavailable > 5, "{good} good, {unavailable} unavailable");
    // Never without the filter that nobody knows.
    let filtered = channel.unary::<_, EchoResponse>("any", "/filtered/Call", &[], say("")).await;
    assert_eq!(filtered.unwrap_err().status, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_call_by_grpc_web() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let files = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::grpc_route("calls", "eg", &[], &m::to("a"));
    let _gateway = Gateway::start(&[("all.yaml", &files)]).await;
    let call = "\0\0\0\0\u{7}\n\u{5}hello";
    let headers = [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
    let mut client = Client::http1(port).await;
    let reply = client.send(request("POST", "any.example.com", &path("Unary"), &headers, call)).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/grpc-web+proto"));
    // The trailers are a frame of the body, with the highest bit set.
    let text = reply.text();
    assert!(text.contains("hello") && text.contains("grpc-status:0"), "{text:?}");
}

/// Bidirectional streams that say something all the time, for as long as the test lasts.
struct Streams {
    stop: Arc<AtomicBool>,
    said: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Result<(), Ended>>>,
}

impl Streams {
    fn start(port: u16, hosts: &[&str]) -> Streams {
        let (stop, said): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let stream = |host: &str| {
            let (stop, said, host) = (stop.clone(), said.clone(), host.to_owned());
            tokio::spawn(async move {
                let mut channel = Channel::connect(port).await;
                let mut call = channel.open::<EchoRequest>(&host, &path("BidiStream"), &[], &[]).await?;
                while !stop.load(Ordering::Relaxed) {
                    call.send(&say("still there")).await?;
                    call.next::<EchoResponse>().await?;
                    said.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                call.done();
                call.next::<EchoResponse>().await.map(drop)
            })
        };
        let tasks = hosts.iter().map(|host| stream(host)).collect();
        Streams { stop, said, tasks }
    }

    async fn stop(self) -> (u64, Vec<Result<(), Ended>>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut ends = Vec::new();
        for task in self.tasks {
            ends.push(task.await.unwrap());
        }
        (self.said.load(Ordering::Relaxed), ends)
    }
}

/// Clients that make one call after the other, and note what went wrong.
struct Callers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<(u64, Vec<Ended>)>>,
}

impl Callers {
    /// One for each host that keeps its connection, and one that connects anew for each call.
    fn start(port: u16, hosts: &[&str]) -> Callers {
        let stop: Arc<AtomicBool> = Arc::default();
        let caller = |host: &str, keeps: bool| {
            let (stop, host) = (stop.clone(), host.to_owned());
            tokio::spawn(async move {
                let (mut good, mut bad) = (0, Vec::new());
                let mut channel = Channel::connect(port).await;
                while !stop.load(Ordering::Relaxed) {
                    if !keeps {
                        channel = Channel::connect(port).await;
                    }
                    match channel.unary::<_, EchoResponse>(&host, &path("Unary"), &[], say("hi")).await {
                        Ok(_) => good += 1,
                        Err(ended) => bad.push(ended),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                (good, bad)
            })
        };
        let both = |host: &&str| [caller(host, true), caller(host, false)];
        let tasks = hosts.iter().flat_map(both).collect();
        Callers { stop, tasks }
    }

    async fn stop(self) -> (u64, Vec<Ended>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut good, mut bad) = (0, Vec::new());
        for task in self.tasks {
            let (more, worse) = task.await.unwrap();
            good += more;
            bad.extend(worse);
        }
        (good, bad)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_calls_live_through_two_hundred_changes() {
    let backends = Backends::start(&["a", "b"]).await;
    let port = free_port();
    let calls = |to: &str| m::grpc_route("calls", "eg", &["calls.example.com"], &m::to(to));
    let base = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::service("svc")
        + &m::grpc_route("svc", "eg", &["svc.example.com"], &m::to_service("svc"));
    // As in a rollout, an endpoint comes with a slice of its own before the other goes with its slice.
    let slice =
        |backend: &str| m::slice("svc", &format!("svc-{backend}"), backends.port(backend), "ready: true");
    let files = [("base.yaml", &*base), ("calls.yaml", &*calls("a")), ("slice-a.yaml", &*slice("a"))];
    let gateway = Gateway::start(&files).await;
    eventually("calls are answered", async || {
        let mut channel = Channel::connect(port).await;
        channel.unary::<_, EchoResponse>("svc.example.com", &path("Unary"), &[], say("")).await.ok()
    })
    .await;
    let streams = Streams::start(port, &["calls.example.com", "calls.example.com", "svc.example.com"]);
    let callers = Callers::start(port, &["calls.example.com", "svc.example.com"]);
    let mut channel = Channel::connect(port).await;
    let mut changes = 0;
    for round in 0..ROUNDS {
        let (backend, other_backend) = [("b", "a"), ("a", "b")][round % 2];
        gateway.write(&format!("slice-{backend}.yaml"), &slice(backend));
        gateway.write("calls.yaml", &calls(backend));
        // A route of the other kind beside it, on the same host.
        let other = format!("other-{}.yaml", round % 3);
        gateway.write(
            &other,
            &m::route(
                &format!("other-{}", round % 3),
                "eg",
                &["calls.example.com"],
                &m::prefix_to(&format!("/page-{round}"), backend),
            ),
        );
        eventually("new calls go to the new backend", async || {
            let call = channel.unary("calls.example.com", &path("Unary"), &[], say("")).await;
            let reply: EchoResponse = call.unwrap();
            (reply.backend == backend).then_some(())
        })
        .await;
        gateway.remove(&format!("slice-{other_backend}.yaml"));
        let (host, file) = (format!("new-{round}.example.com"), format!("new-{}.yaml", round % 2));
        gateway.write(&file, &m::grpc_route(&format!("new-{}", round % 2), "eg", &[&host], &m::to(backend)));
        eventually("the new route takes calls", async || {
            match channel.unary::<_, EchoResponse>(&host, &path("Unary"), &[], say("")).await {
                Ok(reply) => (reply.backend == backend).then_some(()),
                // UNIMPLEMENTED until it is there, and nothing else.
                Err(ended) => {
                    assert_eq!(ended.status, 12, "{ended:?}");
                    None
                }
            }
        })
        .await;
        changes += 5;
    }
    let ((said, ends), (called, failed)) = (streams.stop().await, callers.stop().await);
    println!("{changes} changes, {said} messages in streams, {called} calls, {} failed", failed.len());
    assert!(changes >= 200);
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    assert_eq!(failed, []);
    assert!(said > 100 && called > 100, "clients were at work: {said}, {called}");
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}
