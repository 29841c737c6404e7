//! How fast and how frugal an installation is; printed, and compared with what is required.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use e2e_kubernetes::{Bed, Space, condition, eventually};
use serde_json::json;

use crate::shop;

/// Routes that are there when a controller starts.
const ROUTES: usize = 1000;
/// Measured changes.
const CHANGES: usize = 30;

/// The middle and the worst of some times, in milliseconds.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |time: &Duration| time.as_secs_f64() * 1e3;
    format!("p50 {:.0} ms, max {:.0} ms", ms(&times[times.len() / 2]), ms(times.last().unwrap()))
}

/// CPU time in seconds and resident memory in MiB of the controller in a Pod.
async fn usage(space: &Space, pod: &str) -> (f64, f64) {
    let pod = format!("envoy-gateway-system/{pod}");
    let script = "cat /proc/1/stat /proc/1/status 2>/dev/null";
    let output = space.bed.testbed(&["enter", &pod, "envoy-gateway", "/bin/sh", "-c", script]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after_name = text.lines().next().unwrap().rsplit(") ").next().unwrap();
    let fields: Vec<&str> = after_name.split(' ').collect();
    // utime and stime are fields 14 and 15 of the file, in hundredths of a second; the state is field 3.
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: f64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    (ticks / 100.0, kib / 1024.0)
}

async fn only_pod(space: &Space) -> String {
    let controller = space.bed.controller();
    eventually("one controller", async || {
        let pods = controller.pods().await;
        (pods.len() == 1).then(|| pods[0].clone())
    })
    .await
}

#[tokio::test]
async fn figures() {
    // They take minutes, and say little of a debug build.
    let Some(file) = std::env::var_os("FERROGATE_FIGURES").map(PathBuf::from) else {
        println!("left out: make bench-kubernetes");
        return;
    };
    Bed::run("figures", async |space| {
        let controller = space.bed.controller();
        let mut report = String::new();
        controller.roll(&format!("empty-{}", space.name)).await;
        let pod = only_pod(space).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (cpu, resident) = usage(space, &pod).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        let (later, _) = usage(space, &pod).await;
        let idle = (later - cpu) / 20.0 * 100.0;
        let empty = resident;
        let _ = writeln!(report, "| idle without objects | {idle:.2} % of a core, {empty:.0} MiB |");

        let at = shop(space).await;
        let Changes { to_status, to_proxy, writes } = changes(space, at).await;
        let _ = writeln!(report, "| a changed route, until its status is written | {} |", spread(to_status));
        let _ = writeln!(
            report,
            "| a changed route, until the proxy has accepted it and answers by it | {} |",
            spread(to_proxy)
        );
        let _ = writeln!(report, "| writes to the API server for a changed route | {writes:.2} |");

        many_routes(space).await;
        let ready = restart(space).await;
        let (_, resident) = usage(space, &only_pod(space).await).await;
        let ready = ready.as_secs_f64();
        let _ = writeln!(report, "| ready after the process began, with {ROUTES} routes | {ready:.1} s |");
        let _ = writeln!(report, "| memory with {ROUTES} routes | {resident:.0} MiB |");
        println!("{report}");
        write(&file, &report);
        assert!(idle <= 0.5, "{report}");
        assert!(empty <= 60.0, "{report}");
        assert!(writes <= 1.1, "{report}");
    })
    .await;
}

/// Puts the figures in the place of those of the last time, behind all else in the report of benchmarks.
fn write(file: &Path, figures: &str) {
    const TITLE: &str = "\n## A whole installation\n";
    let before = std::fs::read_to_string(file).expect("the report of `make bench`");
    let head = before.split(TITLE).next().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let section = format!(
        "{TITLE}\nThe release build in the test bed: one controller, API server, etcd, proxies, backends and clients share \
         {cores} cores. Times are wall-clock times from the answer to the edit on, of {CHANGES} edits. Command: \
         `make bench-kubernetes`.\n\n| what | figure |\n|---|---|\n{figures}\nRequired: idle at most 0.5 % of a core and \
         60 MiB, at most 1.1 writes for a changed route. We have no figures of Envoy Gateway in a cluster; as one process \
         with one route it takes 184 MiB.\n"
    );
    std::fs::write(file, head.to_owned() + &section).expect("the report can be written");
}

/// What edits of a route cost.
struct Changes {
    to_status: Vec<Duration>,
    to_proxy: Vec<Duration>,
    /// To the API server, for each edit.
    writes: f64,
}

/// Edits a route again and again.
async fn changes(space: &Space, at: std::net::SocketAddr) -> Changes {
    let controller = space.bed.controller();
    let leader = controller.leader().await;
    let writes = async || {
        let metrics = controller.metrics(&leader).await;
        metrics.sum("ferrogate_status_update_total", "") + metrics.sum("ferrogate_resource_apply_total", "")
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = writes().await;
    let (mut to_status, mut to_proxy) = (Vec::new(), Vec::new());
    for number in 0..CHANGES {
        let host = format!("change-{number}.example.com");
        let began = Instant::now();
        let patch = json!({ "spec": { "hostnames": ["shop.example.com", host] } });
        let edited = space.merge("HTTPRoute", "web", &patch).await;
        let status = async {
            space
                .until("HTTPRoute", "web", "its status follows", |route| {
                    let accepted = condition(&route["status"]["parents"][0]["conditions"], "Accepted");
                    accepted["observedGeneration"] == edited["metadata"]["generation"]
                })
                .await;
            began.elapsed()
        };
        let proxy = async {
            let mut client = e2e::Client::try_http1(at).await.expect("a connection");
            loop {
                if client.send(e2e::get(&host, "/")).await.status == 200 {
                    return began.elapsed();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let (status, proxy) = tokio::join!(status, proxy);
        to_status.push(status);
        to_proxy.push(proxy);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Changes { to_status, to_proxy, writes: (writes().await - before) / CHANGES as f64 }
}

async fn many_routes(space: &Space) {
    let mut left: Vec<usize> = (0..ROUTES).collect();
    while !left.is_empty() {
        let batch: Vec<usize> = left.split_off(left.len().saturating_sub(20));
        let puts = batch.iter().map(|number| async move {
            let name = format!("r{number}");
            space.route(&name, "shop", &format!("{name}.example.com"), "web").await;
        });
        futures::future::join_all(puts).await;
    }
    space
        .until("Gateway", "shop", "all routes are attached", |gateway| {
            gateway["status"]["listeners"][0]["attachedRoutes"] == ROUTES + 1
        })
        .await;
}

/// Replaces the controller; the time from the new process's start until its Pod is ready.
async fn restart(space: &Space) -> Duration {
    let controller = space.bed.controller();
    let before = controller.pods().await;
    let mark = format!("many-{}", space.name);
    let watching = async {
        let mut started = None;
        eventually("a new controller is ready", async || {
            let pods = controller
                .space()
                .list_in("Pod", "envoy-gateway-system", "control-plane=envoy-gateway")
                .await;
            let new =
                pods.iter().find(|pod| !before.iter().any(|old| pod["metadata"]["name"] == old.as_str()))?;
            let container = &new["status"]["containerStatuses"][0];
            if container["state"]["running"].is_object() && started.is_none() {
                started = Some(Instant::now());
            }
            let ready = condition(&new["status"]["conditions"], "Ready")["status"] == "True";
            started.filter(|_| ready).map(|started| started.elapsed())
        })
        .await
    };
    let ((), ready) = tokio::join!(controller.roll(&mark), watching);
    ready
}
