//! Copies of requests while their backend is rolled.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use e2e::{manifest as m, request};
use e2e_kubernetes::{Bed, Space};
use serde_json::{Value, json};

/// The backend that gets the copies.
const COPIES: &str = "copies";
/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(100);
/// Time that a copy has to arrive in; the answer to the request does not wait for it.
const ARRIVAL: Duration = Duration::from_millis(500);
/// How long copies may still go to a Pod after its endpoint ceased to be ready.
const LATE: Duration = Duration::from_secs(1);

/// The Pods of the backend: which are there, and since when the endpoints of others are not ready any more.
#[derive(Default)]
struct Watched {
    ready: Vec<IpAddr>,
    left: BTreeMap<IpAddr, Instant>,
}

impl Watched {
    async fn look(&mut self, space: &Space) {
        let label = format!("kubernetes.io/service-name={COPIES}");
        let slices = space.list_in("EndpointSlice", &space.name, &label).await;
        let endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array()).flatten();
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        let now: Vec<IpAddr> = ready.filter_map(|e| e["addresses"][0].as_str()?.parse().ok()).collect();
        for gone in self.ready.iter().filter(|old| !now.contains(old)) {
            self.left.insert(*gone, Instant::now());
        }
        self.ready = now;
    }
}

/// Addresses of all Pods of the backend that still run, those that are on their way out among them.
async fn pods(space: &Space) -> Vec<IpAddr> {
    let pods = space.list_in("Pod", &space.name, &format!("app={COPIES}")).await;
    pods.iter().filter_map(|pod: &Value| pod["status"]["podIP"].as_str()?.parse().ok()).collect()
}

/// Who got the copy of the request with this key: the first request with a key fails, so whoever does not fail has had
/// one before.
async fn receivers(space: &Space, knobs: &[(&str, &str)]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for pod in pods(space).await {
        let Some(mut client) = e2e::Client::try_http1(SocketAddr::new(pod, 3000)).await else { continue };
        let reply = client.try_send(request("GET", "shop.example.com", "/", knobs, "")).await;
        if reply.is_some_and(|reply| reply.status == 200) {
            found.push(pod);
        }
    }
    found
}

/// Sends requests until the Deployment is rolled out and the old Pods have ended; yields how many copies arrived.
async fn send(space: &Space, at: SocketAddr, round: usize, watched: &mut Watched) -> usize {
    let mut client = e2e::Client::http1(at).await;
    let (mut sent, mut lost, mut late) = (0, Vec::new(), Vec::new());
    let mut settled = None;
    while settled.is_none_or(|since: Instant| since.elapsed() < Duration::from_secs(7)) {
        let key = format!("{round}-{sent}");
        let knobs = [("x-echo-fail-first", "1"), ("x-echo-key", &*key)];
        watched.look(space).await;
        let begun = Instant::now();
        client.send(request("GET", "shop.example.com", "/", &knobs, "")).await;
        sent += 1;
        tokio::time::sleep(ARRIVAL).await;
        let receivers = receivers(space, &knobs).await;
        if receivers.len() != 1 {
            lost.push(format!("request {key}: {receivers:?}"));
        }
        let too_late = |pod: &&IpAddr| {
            watched.left.get(*pod).is_some_and(|left| begun.saturating_duration_since(*left) > LATE)
        };
        late.extend(receivers.iter().filter(too_late).map(|pod| format!("request {key}: {pod}")));
        let deployment = space.get("Deployment", COPIES).await.unwrap_or_default();
        if settled.is_none()
            && deployment["status"]["updatedReplicas"] == 2
            && watched.left.len() >= 2 * (round + 1)
        {
            settled = Some(Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(lost, Vec::<String>::new(), "each request has one copy, at a Pod that lives");
    assert_eq!(late, Vec::<String>::new(), "copies go to Pods that left their slice more than {LATE:?} ago");
    sent
}

#[tokio::test]
async fn every_copy_lands_on_a_live_pod_while_their_backend_is_rolled() {
    Bed::run("mirrors", async |space| {
        space.echo("web", 1).await;
        space.echo(COPIES, 2).await;
        let rules = format!(
            "- filters:\n  - type: RequestMirror\n    requestMirror:\n      backendRef:\n        name: {COPIES}\n        \
             port: 80\n  backendRefs:\n  - name: web\n    port: 80\n"
        );
        space.apply(&m::route("web", "shop", &["shop.example.com"], &rules)).await;
        let at = space.gateway("shop", &m::http("http", 80), 80).await;
        space.answers(at, "shop.example.com", 200).await;
        let mut watched = Watched::default();
        watched.look(space).await;
        assert_eq!(watched.ready.len(), 2);
        let mut sent = 0;
        for round in 0..2 {
            let mark = json!({ "spec": { "template": { "metadata": { "annotations": { "e2e/mark": round.to_string() } } } } });
            space.merge("Deployment", COPIES, &mark).await;
            sent += send(space, at, round, &mut watched).await;
            space.rolled_out("Deployment", COPIES).await;
        }
        println!("{sent} requests, each with one copy");
        assert!(sent > 20, "the client was at work: {sent}");
    })
    .await;
}
