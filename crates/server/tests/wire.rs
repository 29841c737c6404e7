//! The protocol over real gRPC, with a scripted Envoy.

#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use envoy_api::{
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest},
    service::AggregatedDiscoveryServiceClient,
};
use ir::resource::ResourceType::{self, Cluster, Endpoints, Listener, Route};
use server::{
    ByCluster, BySocket, Connection, Feeds, Peer, Server,
    fake::{FakeEnvoy, Model, build},
};
use tokio::{
    net::TcpListener,
    sync::{RwLock, RwLockReadGuard, oneshot},
};
use tokio_stream::{StreamExt, wrappers::TcpListenerStream};
use tonic::Code;

const FLEET: &str = "default/eg";
/// Long enough for a busy machine; nothing waits for it when all is well.
const SOON: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes.
const QUIET: Duration = Duration::from_millis(300);

/// A server on a port of its own that trusts the node's cluster.
/// Held by all tests together, and by one that measures memory alone: they share a process.
static MEMORY: RwLock<()> = RwLock::const_new(());

struct Site {
    feeds: Feeds,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    _together: Option<RwLockReadGuard<'static, ()>>,
}

impl Site {
    async fn start() -> Site {
        let together = MEMORY.read().await;
        Site { _together: Some(together), ..Site::alone().await }
    }

    /// One that holds nothing.
    async fn alone() -> Site {
        let feeds = Feeds::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let server = Server::new(feeds.clone(), ByCluster);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let incoming = incoming.map(|io| Connection::new(io.expect("a connection"), Peer::default()));
            let shutdown = async {
                let _dropped = stopped.await;
            };
            server.serve(incoming, shutdown).await;
        });
        Site { feeds, address, stop: Some(stop), _together: None }
    }

    async fn small() -> Site {
        let site = Site::start().await;
        site.feeds.apply(FLEET, 1, build::small());
        site
    }

    async fn connect(&self) -> FakeEnvoy {
        FakeEnvoy::connect(self.address, FLEET).await.expect("connect")
    }

    /// Waits until every connected proxy has the newest revision.
    async fn synced(&self) {
        let all = self.feeds.until(FLEET, |s| s.acked_by_all == Some(s.revision));
        tokio::time::timeout(SOON, all).await.expect("synced");
    }
}

async fn next(envoy: &mut FakeEnvoy) -> DeltaDiscoveryResponse {
    envoy.receive(SOON).await.expect("stream").expect("a response")
}

async fn quiet(envoy: &mut FakeEnvoy) {
    let response = envoy.receive(QUIET).await.expect("stream");
    assert!(response.is_none(), "{response:?}");
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|r| r.name.as_str()).collect()
}

#[tokio::test]
async fn a_cold_proxy_gets_everything_and_the_feed_knows() {
    let site = Site::small().await;
    let (mut envoy, mut model) = (site.connect().await, Model::new());
    envoy.hello(&mut model).await.expect("hello");
    envoy.follow(&mut model, QUIET).await.expect("follow");
    assert_eq!(model.hosts("web")["a.test"], ["one"]);
    site.synced().await;
    let status = site.feeds.status(FLEET).expect("live");
    assert_eq!((status.streams, status.acked), (1, Some(1)));
    let debug = site.feeds.debug().await;
    assert_eq!((debug.len(), debug[0].phase.as_str(), debug[0].node.as_str()), (1, "idle", "fake"));
    assert_eq!(site.feeds.metrics().streams.get(), 1);
    drop(envoy);
    let left = site.feeds.until(FLEET, |s| s.streams == 0);
    tokio::time::timeout(SOON, left).await.expect("the stream ends with its proxy");
    assert_eq!(site.feeds.metrics().streams.get(), 0);
}

#[tokio::test]
async fn a_stale_nonce_still_subscribes() {
    let site = Site::small().await;
    let mut envoy = site.connect().await;
    envoy.subscribe(Endpoints, &["one"]).await.expect("subscribe");
    let first = next(&mut envoy).await;
    envoy.ack(&first).await.expect("ack");
    envoy
        .send(DeltaDiscoveryRequest {
            type_url: Endpoints.type_url().to_owned(),
            response_nonce: first.nonce,
            resource_names_subscribe: vec!["nowhere".to_owned()],
            ..DeltaDiscoveryRequest::default()
        })
        .await
        .expect("send");
    assert_eq!(next(&mut envoy).await.removed_resources, ["nowhere"]);
}

#[tokio::test]
async fn a_refusal_reaches_the_deliveries_and_stops_nothing_else() {
    let site = Site::small().await;
    let (mut envoy, mut model) = (site.connect().await, Model::new());
    envoy.hello(&mut model).await.expect("hello");
    envoy.follow(&mut model, QUIET).await.expect("follow");
    let mut reports = site.feeds.deliveries().subscribe();
    reports.mark_unchanged();
    let bad = build::update([
        build::listener("bad", 7, build::POISON),
        build::listener("good", 8, "web"),
        build::endpoints("one", 10),
    ]);
    site.feeds.apply(FLEET, 2, bad);
    envoy.follow(&mut model, QUIET).await.expect("follow");
    assert_eq!(model.names(Listener), ["good", "web"]);
    site.synced().await;
    reports.changed().await.expect("reported");
    let all = site.feeds.deliveries().of_feed(FLEET);
    let bad = all.iter().find(|r| &*r.name == "bad").expect("a report");
    assert!(matches!(bad.delivery, ir::resource::Delivery::Rejected { .. }));
    let nacks = site.feeds.metrics().nacks.get_or_create(&Listener.into()).get();
    assert!(nacks >= 1);
}

#[tokio::test]
async fn a_reconnect_gets_nothing_and_a_drop_in_the_middle_the_rest() {
    let site = Site::start().await;
    let clusters = (0..5_000).map(|n| build::cluster(&format!("c{n}"), 0));
    let endpoints = (0..5_000).map(|n| build::endpoints(&format!("c{n}"), 9));
    site.feeds.apply(FLEET, 1, build::update(clusters.chain(endpoints)));
    site.feeds.apply(
        FLEET,
        2,
        build::update([build::listener("web", 1, "web"), build::route("web", vec![])]),
    );
    let mut model = Model::new();
    let mut envoy = site.connect().await;
    envoy.hello(&mut model).await.expect("hello");
    let first = next(&mut envoy).await;
    assert!(first.resources.len() < 5_000);
    model.receive(&first);
    drop(envoy);
    let mut envoy = site.connect().await;
    envoy.hello(&mut model).await.expect("hello");
    // A busy machine may be quiet in between.
    for _ in 0..100 {
        envoy.follow(&mut model, QUIET).await.expect("follow");
        if model.names(Cluster).len() == 5_000 {
            break;
        }
    }
    assert_eq!(model.names(Cluster).len(), 5_000);
    let sent: usize = model.log.iter().filter(|(k, ..)| *k == Cluster).map(|(_, names, _)| names.len()).sum();
    assert_eq!(sent, 5_000, "each once, on two streams");
    drop(envoy);
    let mut envoy = site.connect().await;
    envoy.hello(&mut model).await.expect("hello");
    assert_eq!(envoy.follow(&mut model, QUIET).await.expect("follow"), 0);
}

#[tokio::test]
async fn unsubscribed_names_are_silent() {
    let site = Site::small().await;
    let mut envoy = site.connect().await;
    envoy.subscribe(Route, &["web", "unknown"]).await.expect("subscribe");
    let response = next(&mut envoy).await;
    assert_eq!((names(&response), response.removed_resources.len()), (vec!["web"], 1));
    envoy.ack(&response).await.expect("ack");
    let request = DeltaDiscoveryRequest {
        type_url: Route.type_url().to_owned(),
        resource_names_unsubscribe: vec!["web".to_owned()],
        ..DeltaDiscoveryRequest::default()
    };
    envoy.send(request).await.expect("send");
    quiet(&mut envoy).await;
    site.feeds.apply(FLEET, 2, build::update([build::route("web", vec![])]));
    quiet(&mut envoy).await;
    envoy.subscribe(Route, &["web"]).await.expect("subscribe");
    assert_eq!(names(&next(&mut envoy).await), ["web"]);
}

#[tokio::test]
async fn large_snapshots_arrive_whole_and_soon() {
    let site = Site::start().await;
    let all = (0..10_000).flat_map(|n| {
        let name = format!("cluster-{n}");
        [build::cluster(&name, 0), build::endpoints(&name, 9)]
    });
    site.feeds.apply(FLEET, 1, build::update(all));
    let (mut envoy, mut model) = (site.connect().await, Model::new());
    let begin = Instant::now();
    envoy.hello(&mut model).await.expect("hello");
    envoy.follow(&mut model, Duration::from_secs(1)).await.expect("follow");
    assert_eq!(model.names(Cluster).len(), 10_000);
    assert_eq!(model.names(Endpoints).len(), 10_000);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert_eq!(site.feeds.metrics().gate_timeouts.get(), 0);
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

#[tokio::test]
async fn a_slow_reader_costs_no_memory_and_gets_the_newest() {
    let _alone = MEMORY.write().await;
    let site = Site::alone().await;
    let mut envoy = site.connect().await;
    // 1 MiB of endpoints and of clusters per change, 300 changes: 600 MiB if anything queued them.
    let padding = "x".repeat(64 << 10);
    let change = |n: u32| build::update((0..8).map(|c| build::cluster(&format!("{padding}{c}"), n)));
    site.feeds.apply(FLEET, 1, change(1));
    envoy.subscribe(Cluster, &[]).await.expect("subscribe");
    let first = next(&mut envoy).await;
    assert_eq!(first.resources.len(), 8);
    let before = resident();
    for n in 2..=300 {
        site.feeds.apply(FLEET, u64::from(n), change(n));
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(QUIET).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 10, "grown by {grown} KiB");
    let mut responses = 0;
    let mut last = None;
    while let Some(response) = envoy.receive(Duration::from_secs(1)).await.expect("stream") {
        responses += 1;
        last = Some(response);
    }
    assert!(responses < 20, "{responses} responses for a reader that slept");
    assert_eq!(last.expect("news").system_version_info, "300");
}

#[tokio::test]
async fn a_proxy_waits_for_a_fleet_and_is_told_when_it_goes() {
    let site = Site::start().await;
    let mut envoy = site.connect().await;
    envoy.subscribe(Cluster, &[]).await.expect("subscribe");
    quiet(&mut envoy).await;
    site.feeds.apply(FLEET, 1, build::small());
    assert_eq!(names(&next(&mut envoy).await), ["one"]);
    site.feeds.remove(FLEET);
    let status = envoy.receive(SOON).await.expect_err("the stream ends");
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let mut site = Site::small().await;
    let mut envoy = site.connect().await;
    envoy.subscribe(Cluster, &[]).await.expect("subscribe");
    next(&mut envoy).await;
    drop(site.stop.take());
    let status = envoy.receive(SOON).await.expect_err("the stream ends");
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn the_old_protocol_is_refused_in_words() {
    let site = Site::small().await;
    let mut client =
        AggregatedDiscoveryServiceClient::connect(format!("http://{}", site.address)).await.expect("connect");
    let requests = tokio_stream::iter([DiscoveryRequest::default()]);
    let status = client.stream_aggregated_resources(requests).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("DELTA_GRPC"));
}

#[tokio::test]
async fn other_services_are_refused_in_words() {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let site = Site::small().await;
    let tcp = tokio::net::TcpStream::connect(site.address).await.expect("connect");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp));
    let (mut sender, connection) = handshake.await.expect("handshake");
    tokio::spawn(connection);
    for method in [
        "envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets",
        "envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
        "envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets",
        "envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
        "envoy.service.discovery.v3.AggregatedDiscoveryService/FetchResources",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ] {
        let request = http::Request::post(format!("http://{}/{method}", site.address))
            .header("content-type", "application/grpc")
            .body(Empty::<bytes::Bytes>::new())
            .expect("request");
        let response = sender.send_request(request).await.expect("response");
        let code = response.headers().get("grpc-status").expect("status").clone();
        let body = response.into_body().collect().await.expect("body").to_bytes();
        assert_eq!((code.to_str().expect("ascii"), body.len()), ("12", 0), "{method}");
    }
}

#[tokio::test]
async fn a_socket_belongs_to_one_fleet() {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("xds.sock");
    let feeds = Feeds::default();
    feeds.apply(FLEET, 1, build::small());
    feeds.apply("other/eg", 1, build::update([build::cluster("secret", 0)]));
    let server = Server::new(feeds, BySocket);
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _dropped = stopped.await;
    };
    // A socket that an earlier process left behind is in the way.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
    let serving = tokio::spawn(server.serve_unix(&path, FLEET, shutdown).expect("listen"));
    let mode = std::fs::metadata(&path).expect("socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The node may claim what it likes.
    let mut envoy = FakeEnvoy::connect_unix(&path, "other/eg").await.expect("connect");
    envoy.subscribe(Cluster, &[]).await.expect("subscribe");
    assert_eq!(names(&next(&mut envoy).await), ["one"]);
    drop(stop);
    serving.await.expect("task");
    assert!(!path.exists());
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").expect("write");
    assert!(server.serve_unix(&file, FLEET, async {}).is_err(), "a file that is no socket is not replaced");
}

#[tokio::test]
async fn a_connection_without_a_fleet_is_refused() {
    let site = Site::small().await;
    let mut envoy = FakeEnvoy::connect(site.address, "").await.expect("connect");
    envoy.subscribe(ResourceType::Secret, &["x"]).await.expect("subscribe");
    let status = envoy.receive(SOON).await.expect_err("refused");
    assert_eq!(status.code(), Code::PermissionDenied);
}
