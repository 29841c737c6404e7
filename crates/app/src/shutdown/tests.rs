//! Draining against a scripted admin interface, and against a real Envoy.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{Json, Router, extract::State, http::Uri, routing::any};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{drain::Plan, *};

/// Long enough for a busy machine; nothing waits for it when all is well.
const SOON: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(20);

fn plan() -> Plan {
    Plan { failure_delay: Duration::ZERO, timeout: SOON, minimum: Duration::ZERO, exit_at: 0, poll: TICK }
}

/// What Envoy was asked, and how many connections it has.
#[derive(Clone, Default)]
struct Script {
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
    open: Arc<Mutex<u64>>,
}

async fn answer(State(script): State<Script>, uri: Uri) -> Json<Value> {
    script.asked.lock().unwrap().push((Instant::now(), uri.path().to_owned()));
    let open = *script.open.lock().unwrap();
    Json(json!({"stats": [
        {"name": "listener.0.0.0.0_10080.downstream_cx_active", "value": open},
        {"name": "listener.0.0.0.0_10080.worker_0.downstream_cx_active", "value": open},
        {"name": "listener.admin.downstream_cx_active", "value": 1},
        {"name": "listener.0.0.0.0_19001.downstream_cx_active", "value": 1},
        {"name": "listener.0.0.0.0_19003.downstream_cx_active", "value": 1},
    ]}))
}

impl Script {
    async fn serve(open: u64) -> (Script, Admin) {
        let script = Script { open: Arc::new(Mutex::new(open)), ..Script::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = Admin::new([listener.local_addr().unwrap()]);
        let router = Router::new().fallback(any(answer)).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (script, admin)
    }

    fn at(&self, path: &str) -> Instant {
        let asked = self.asked.lock().unwrap();
        asked.iter().find(|(_, asked)| asked == path).unwrap_or_else(|| panic!("{path}: {asked:?}")).0
    }
}

/// Drains; how long it took, and whether the file was made.
async fn drained(admin: &Admin, plan: &Plan) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready");
    let begun = Instant::now();
    tokio::time::timeout(SOON, drain::run(admin, plan, &file)).await.expect("in time").unwrap();
    assert!(file.exists());
    begun.elapsed()
}

#[tokio::test]
async fn the_drain_ends_with_the_last_connection_but_not_before_the_minimum() {
    let (script, admin) = Script::serve(0).await;
    let minimum = Duration::from_millis(300);
    assert!(drained(&admin, &Plan { minimum, ..plan() }).await >= minimum);
    *script.open.lock().unwrap() = 2;
    let ends = async {
        // Seen by a count at least.
        let seen = script.asked.lock().unwrap().len();
        while script.asked.lock().unwrap().len() < seen + 4 {
            tokio::time::sleep(TICK).await;
        }
        *script.open.lock().unwrap() = 0;
        Instant::now()
    };
    let begun = Instant::now();
    let (took, ended) = tokio::join!(async { drained(&admin, &plan()).await }, ends);
    assert!(took >= ended - begun, "it waited for the connections");
}

#[tokio::test]
async fn some_connections_may_be_left_and_time_may_run_out() {
    let (_script, admin) = Script::serve(2).await;
    let timeout = Duration::from_millis(300);
    assert!(drained(&admin, &Plan { timeout, ..plan() }).await >= timeout);
    drained(&admin, &Plan { exit_at: 2, ..plan() }).await;
}

#[tokio::test]
async fn health_fails_after_the_delay() {
    let (script, admin) = Script::serve(0).await;
    let failure_delay = Duration::from_millis(200);
    drained(&admin, &Plan { failure_delay, ..plan() }).await;
    assert!(script.at("/healthcheck/fail") - script.at("/drain_listeners") >= failure_delay);
}

#[tokio::test]
async fn an_envoy_that_is_gone_holds_nothing_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = Admin::new([listener.local_addr().unwrap()]);
    drop(listener);
    drained(&admin, &Plan { minimum: SOON, ..plan() }).await;
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn the_hook_waits_for_the_file_and_outlives_the_signal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn({
        let (file, stop) = (file.clone(), stop.clone().cancelled_owned());
        async move { ready::serve(listener, &file, SOON, stop).await }
    });
    assert_eq!(get(address, "/healthz").await, "200");
    let hook = tokio::spawn(get(address, "/shutdown/ready"));
    tokio::time::sleep(5 * TICK).await;
    stop.cancel();
    tokio::time::sleep(5 * TICK).await;
    assert!(!hook.is_finished() && !serving.is_finished());
    std::fs::write(&file, "").unwrap();
    assert_eq!(hook.await.unwrap(), "200");
    tokio::time::timeout(SOON, serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn the_hook_does_not_wait_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let missing = PathBuf::from("/nonexistent/ready");
    tokio::spawn(async move { ready::serve(listener, &missing, TICK, std::future::pending()).await });
    assert_eq!(get(address, "/shutdown/ready").await, "500");
}

#[test]
fn durations_are_written_as_kubernetes_programs_do() {
    for (text, millis) in [
        ("610s", 610_000),
        ("1m0s", 60_000),
        ("0s", 0),
        ("0", 0),
        ("1h2m3s", 3_723_000),
        ("1.5s", 1_500),
        ("250ms", 250),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "10", "-1s", "soon", "1 month"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn connections_of_traffic_are_counted_once() {
    let json = json!({"stats": [
        {"name": "listener.[__]_10443.downstream_cx_active", "value": 3},
        {"name": "listener.[__]_10443.worker_1.downstream_cx_active", "value": 3},
        {"name": "listener.[__]_19003.downstream_cx_active", "value": 5},
        {"name": "listener.tcp-1.downstream_cx_active", "value": 4},
    ]});
    assert_eq!(admin::sum(json.to_string().as_bytes()).unwrap(), 7);
    assert!(admin::sum(b"no stats").is_err());
}

/// A real Envoy with one listener that answers by itself. It is killed at the end.
struct Envoy {
    _process: tokio::process::Child,
    admin: Admin,
    listener: SocketAddr,
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl Envoy {
    async fn start() -> Option<Envoy> {
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/envoy/1.40.0/envoy");
        let path = std::env::var_os("FERROGATE_ENVOY").map_or(installed, PathBuf::from);
        if !path.exists() {
            eprintln!("no Envoy at {}: skipped (run `make tools`)", path.display());
            return None;
        }
        let (admin, listener) = (free_address().await, free_address().await);
        let address = |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
        let hcm = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "web",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
            ]}]},
            "http_filters": [{"name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            }}],
        });
        let bootstrap = json!({
            "admin": {"address": address(admin)},
            "static_resources": {"listeners": [{
                "name": "web",
                "address": address(listener),
                "filter_chains": [{"filters": [{"name": "hcm", "typed_config": hcm}]}],
            }]},
        });
        let process = tokio::process::Command::new(path)
            .args(["--config-yaml", &bootstrap.to_string(), "--use-dynamic-base-id", "--concurrency", "1"])
            .args(["--drain-strategy", "immediate", "--drain-time-s", "60", "--log-level", "error"])
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let up = async {
            while TcpStream::connect(listener).await.is_err() || TcpStream::connect(admin).await.is_err() {
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::time::timeout(SOON, up).await.expect("Envoy starts");
        Some(Envoy { _process: process, admin: Admin::new([admin]), listener })
    }

    /// A connection that stays open, and the answer to a request on it.
    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(answer).unwrap().to_lowercase()
    }
}

#[tokio::test]
async fn envoy_asks_clients_to_go_and_the_drain_ends_with_the_last() {
    let Some(envoy) = Envoy::start().await else { return };
    let mut client = TcpStream::connect(envoy.listener).await.unwrap();
    assert!(!Envoy::ask(&mut client).await.contains("connection: close"));
    assert_eq!(envoy.admin.connections().await.unwrap(), 1);
    let busy = async {
        while !Envoy::ask(&mut client).await.contains("connection: close") {
            tokio::time::sleep(TICK).await;
        }
        // Envoy closes after that answer.
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    };
    let plan = plan();
    let (took, ()) = tokio::join!(drained(&envoy.admin, &plan), busy);
    assert!(took < SOON);
    let mut late =
        TcpStream::connect(envoy.listener).await.expect("whoever does not know better may connect");
    assert!(Envoy::ask(&mut late).await.contains("connection: close"));
}

#[tokio::test]
async fn a_connection_that_stays_costs_the_drain_timeout() {
    let Some(envoy) = Envoy::start().await else { return };
    let mut client = TcpStream::connect(envoy.listener).await.unwrap();
    Envoy::ask(&mut client).await;
    // Half a request: it is neither idle nor done.
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let timeout = Duration::from_millis(1_500);
    assert!(drained(&envoy.admin, &Plan { timeout, ..plan() }).await >= timeout);
}
