//! Real Envoy against the server: cold start, changes under load, refusals, restarts of either side.
//!
//! Envoy is looked for where `make tools` puts it, or at `FERROGATE_ENVOY`; without it the tests say so and pass.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking and tell what they measured"
)]

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use envoy_api::{
    matcher::RegexMatcher,
    route::{Route as RouteRule, RouteConfiguration, RouteMatch, VirtualHost, route_match},
};
use ir::resource::{
    Delivery, Fragment,
    ResourceType::{self, Cluster, Endpoints, Route},
};
use prost::Message;
use server::{BySocket, Feeds, Server, fake::build};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

const FLEET: &str = "default/eg";
const SOON: Duration = Duration::from_secs(30);
/// Connections that ask without pause while things change.
const CLIENTS: usize = 4;

fn envoy() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/envoy/1.40.0/envoy");
    let path = std::env::var_os("FERROGATE_ENVOY").map_or(installed, PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!("no Envoy at {}: skipped (run `make tools`)", path.display());
    None
}

type Serving = JoinHandle<()>;

/// One Envoy, one server on its socket, one origin that answers 200.
struct Site {
    folder: TempDir,
    binary: PathBuf,
    feeds: Feeds,
    server: Server,
    serving: Option<(oneshot::Sender<()>, Serving)>,
    envoy: Option<Child>,
    /// Where the origin listens.
    origin: u16,
    /// Where Envoy's listener is to be.
    port: u16,
}

impl Site {
    async fn start(binary: PathBuf) -> Site {
        let feeds = Feeds::default();
        let mut site = Site {
            folder: tempfile::tempdir().expect("tempdir"),
            binary,
            server: Server::new(feeds.clone(), BySocket),
            feeds,
            serving: None,
            envoy: None,
            origin: origin().await,
            port: free_port(),
        };
        site.feeds.apply(
            FLEET,
            1,
            build::update([
                build::cluster("one", 0),
                build::endpoints("one", site.origin),
                build::listener("web", site.port, "web"),
                build::route("web", vec![build::host("a.test", "one", "first")]),
            ]),
        );
        site.serve();
        site.launch();
        site
    }

    fn serve(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _dropped = stopped.await;
        };
        let serving = self.server.serve_unix(&self.socket(), FLEET, shutdown).expect("listen");
        self.serving = Some((stop, tokio::spawn(serving)));
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("xds.sock")
    }

    fn launch(&mut self) {
        let config = self.folder.path().join("envoy.json");
        std::fs::write(&config, bootstrap(&self.socket())).expect("write");
        let log = self.folder.path().join("envoy.log");
        let child = Command::new(&self.binary)
            .arg("--config-path")
            .arg(config)
            .arg("--log-path")
            .arg(log)
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"])
            .kill_on_drop(true)
            .spawn()
            .expect("spawn Envoy");
        self.envoy = Some(child);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("envoy.log")).unwrap_or_default()
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    async fn status(&self, host: &str) -> io::Result<u16> {
        Client::connect(self.address()).await?.get(host).await
    }

    /// Waits until this host answers with this status.
    async fn answers(&self, host: &str, want: u16) {
        let begin = Instant::now();
        let mut last = None;
        while begin.elapsed() < SOON {
            last = self.status(host).await.ok();
            if last == Some(want) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{host} answers {last:?}, not {want}; {:?}\n{}", self.feeds.status(FLEET), self.log());
    }

    async fn acked(&self, revision: u64) {
        if timeout(SOON, self.feeds.acked(FLEET, revision)).await.is_err() {
            panic!("revision {revision} is not in force: {:?}\n{}", self.feeds.debug().await, self.log());
        }
    }
}

fn bootstrap(socket: &Path) -> String {
    let ads = serde_json::json!({ "ads": {}, "resource_api_version": "V3" });
    let http2 = serde_json::json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} }
        }
    });
    let endpoint = serde_json::json!({ "endpoint": { "address": { "pipe": { "path": socket } } } });
    serde_json::json!({
        "node": { "id": "test", "cluster": FLEET },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds" } }]
            },
            "cds_config": ads,
            "lds_config": ads
        },
        "static_resources": { "clusters": [{
            "name": "xds",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": http2,
            "load_assignment": { "cluster_name": "xds", "endpoints": [{ "lb_endpoints": [endpoint] }] }
        }] }
    })
    .to_string()
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    socket.local_addr().expect("address").port()
}

/// An origin that answers every request with 200.
async fn origin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut got = Vec::new();
                let mut buffer = [0; 4_096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    got.extend_from_slice(&buffer[..count]);
                    while let Some(end) = find(&got, b"\r\n\r\n") {
                        got.drain(..end + 4);
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    port
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|w| w == word)
}

/// A keep-alive connection.
struct Client {
    stream: TcpStream,
}

impl Client {
    async fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream })
    }

    async fn get(&mut self, host: &str) -> io::Result<u16> {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        let mut got = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            if let Some(end) = find(&got, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&got[..end]).to_lowercase();
                let length =
                    head.split("content-length: ").nth(1).and_then(|l| l.lines().next()?.parse().ok());
                if got.len() >= end + 4 + length.unwrap_or(0) {
                    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
                    return status.ok_or_else(|| io::Error::other(head));
                }
            }
            match self.stream.read(&mut buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => got.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// Clients that ask without pause until told to stop; counts answers and keeps those that are not 200.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr) -> Load {
        let (stop, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = || {
            let (stop, good) = (Arc::clone(&stop), Arc::clone(&good));
            tokio::spawn(async move {
                let mut bad = Vec::new();
                let mut client = Client::connect(address).await.expect("connect");
                while !stop.load(Ordering::Relaxed) && bad.len() < 100 {
                    match client.get("a.test").await {
                        Ok(200) => {
                            good.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(status) => bad.push(status.to_string()),
                        Err(error) => {
                            bad.push(error.to_string());
                            break;
                        }
                    }
                }
                bad
            })
        };
        let clients = (0..CLIENTS).map(|_| client()).collect();
        Load { stop, good, clients }
    }

    async fn finish(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut bad = Vec::new();
        for client in self.clients {
            bad.extend(client.await.expect("client"));
        }
        (self.good.load(Ordering::Relaxed), bad)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_envoy_serves_without_a_wait_and_changes_lose_no_request() {
    let Some(binary) = envoy() else { return };
    let begin = Instant::now();
    let site = Site::start(binary).await;
    site.answers("a.test", 200).await;
    println!("cold: first 200 after {:?}", begin.elapsed());
    site.acked(1).await;
    let load = Load::start(site.address());
    let begin = Instant::now();
    for n in 2..=101_u64 {
        let (old, new) = (if n == 2 { "one".to_owned() } else { format!("c{}", n - 1) }, format!("c{n}"));
        let mut update = build::update([
            build::cluster(&new, 0),
            build::endpoints(&new, site.origin),
            build::route("web", vec![build::host("a.test", &new, &new)]),
        ]);
        update.removed = vec![(Cluster, old.as_str().into()), (Endpoints, old.as_str().into())];
        site.feeds.apply(FLEET, n, update);
        site.acked(n).await;
    }
    let took = begin.elapsed();
    let (good, bad) = load.finish().await;
    println!("100 changes in {took:?}, {good} answers");
    assert!(bad.is_empty(), "{} of {} answers: {:?}", bad.len(), good + bad.len(), &bad[..bad.len().min(5)]);
    assert!(good > 100, "{good} answers");
    assert_eq!(site.feeds.metrics().gate_timeouts.get(), 0);
    assert!(took < Duration::from_secs(20), "a stall: {took:?}");
}

/// A virtual host that Envoy refuses.
fn bad_host(name: &str) -> Arc<Fragment> {
    let good = build::host(name, "one", "x");
    let rule = RouteRule {
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::SafeRegex(RegexMatcher {
                regex: "(".to_owned(),
                ..RegexMatcher::default()
            })),
            ..RouteMatch::default()
        }),
        action: Some(envoy_api::route::route::Action::DirectResponse(
            envoy_api::route::DirectResponseAction { status: 200, body: None, ..Default::default() },
        )),
        ..RouteRule::default()
    };
    let host = VirtualHost {
        name: name.to_owned(),
        domains: vec![name.to_owned()],
        routes: vec![rule],
        ..VirtualHost::default()
    };
    let bytes =
        RouteConfiguration { virtual_hosts: vec![host], ..RouteConfiguration::default() }.encode_to_vec();
    Arc::new(Fragment {
        name: name.into(),
        hash: good.hash ^ 1,
        bytes: bytes.into(),
        clusters: Box::default(),
        owners: good.owners.clone(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_host_is_named_and_spared_to_the_next_envoy() {
    let Some(binary) = envoy() else { return };
    let mut site = Site::start(binary).await;
    site.answers("a.test", 200).await;
    site.acked(1).await;
    let hosts =
        vec![build::host("a.test", "one", "second"), bad_host("b.test"), build::host("c.test", "one", "new")];
    site.feeds.apply(FLEET, 2, build::update([build::route("web", hosts)]));
    site.acked(2).await;
    site.answers("c.test", 200).await;
    site.answers("b.test", 404).await;
    let reports = site.feeds.deliveries().of_feed(FLEET);
    let refused: Vec<_> =
        reports.iter().filter(|r| matches!(r.delivery, Delivery::Rejected { .. })).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].fragment.as_deref(), Some("b.test"));
    println!("refused: {:?}", refused[0].delivery);
    // A new Envoy is not given what the first refused.
    let nacks = |site: &Site| site.feeds.metrics().nacks.get_or_create(&Route.into()).get();
    let before = nacks(&site);
    drop(site.envoy.take());
    timeout(SOON, site.feeds.until(FLEET, |s| s.streams == 0)).await.expect("gone");
    site.launch();
    site.answers("c.test", 200).await;
    assert_eq!(nacks(&site), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_sends_nothing_and_loses_no_request() {
    let Some(binary) = envoy() else { return };
    let mut site = Site::start(binary).await;
    site.answers("a.test", 200).await;
    site.acked(1).await;
    let load = Load::start(site.address());
    let pushes = |site: &Site| -> u64 {
        let count = |kind: ResourceType| site.feeds.metrics().pushes.get_or_create(&kind.into()).get();
        ResourceType::ALL.into_iter().map(count).sum()
    };
    let before = pushes(&site);
    let (stop, serving) = site.serving.take().expect("serving");
    drop(stop);
    serving.await.expect("task");
    site.serve();
    timeout(SOON, site.feeds.until(FLEET, |s| s.acked == Some(1))).await.expect("connected again");
    assert_eq!(pushes(&site), before, "the proxy has everything already");
    site.feeds.apply(
        FLEET,
        2,
        build::update([build::route("web", vec![build::host("a.test", "one", "second")])]),
    );
    site.acked(2).await;
    let (good, bad) = load.finish().await;
    assert!(bad.is_empty() && good > 0, "{good} good, {bad:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_recovers_when_its_port_is_free() {
    let Some(binary) = envoy() else { return };
    let site = Site::start(binary).await;
    site.answers("a.test", 200).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = taken.local_addr().expect("address").port();
    site.feeds.apply(FLEET, 2, build::update([build::listener("more", port, "web")]));
    site.acked(2).await;
    let verdict = || {
        let all = site.feeds.deliveries().of_feed(FLEET);
        all.into_iter().find(|r| &*r.name == "more").map(|r| r.delivery)
    };
    let Some(Delivery::Rejected { message }) = verdict() else { panic!("{:?}", verdict()) };
    println!("refused: {message}");
    drop(taken);
    let mut changes = site.feeds.deliveries().subscribe();
    let accepted = async {
        while verdict() != Some(Delivery::Accepted) {
            changes.changed().await.expect("alive");
        }
    };
    timeout(SOON, accepted).await.expect("accepted in the end");
    let mut client = Client::connect(([127, 0, 0, 1], port).into()).await.expect("connect");
    assert_eq!(client.get("a.test").await.expect("answer"), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_endpoints_holds_back_nothing() {
    let Some(binary) = envoy() else { return };
    let site = Site::start(binary).await;
    site.answers("a.test", 200).await;
    site.acked(1).await;
    let begin = Instant::now();
    site.feeds.apply(
        FLEET,
        2,
        build::update([
            build::cluster("absent", 0),
            build::cluster("two", 0),
            build::endpoints("two", site.origin),
            build::route(
                "web",
                vec![build::host("b.test", "absent", "x"), build::host("c.test", "two", "x")],
            ),
        ]),
    );
    site.answers("c.test", 200).await;
    site.answers("b.test", 503).await;
    site.acked(2).await;
    println!("a cluster without endpoints: {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}
