//! Clusters that rules share, as `ferrogate run` has them by default.

use e2e::{Backends, Gateway, Loop, eventually, free_port, manifest as m};

/// How often a rule gets a cluster of its own and gives it up.
const TURNS: usize = 10;
const SHARED: &str = "backend/default/a/0/http";
const OWN: &str = "httproute/default/one/rule/0";

/// Waits until the proxy of the one Gateway is sent these clusters, and no others.
async fn has_clusters(gateway: &Gateway, names: &[&str]) {
    eventually(&format!("there are the clusters {names:?}"), async || {
        let all = gateway.json("/xds").await;
        let clusters = all["default/eg"]["clusters"].as_array()?.clone();
        let mut found: Vec<&str> = clusters.iter().filter_map(|cluster| cluster["name"].as_str()).collect();
        found.sort_unstable();
        (found == names).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_moves_between_a_shared_cluster_and_its_own() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let hosts = ["one.example.com", "two.example.com"];
    let base = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("one", "eg", &[hosts[0]], &m::to("a"))
        + &m::route("two", "eg", &[hosts[1]], &m::to("a"));
    let gateway = Gateway::start(&[("base.yaml", &base)]).await;
    has_clusters(&gateway, &[SHARED]).await;
    let mut clients = Loop::new();
    for host in hosts {
        gateway.answers(port, host, "/", 200, &[404]).await;
        clients.http1(port, host, "/");
        clients.http1_fresh(port, host, "/fresh");
        clients.h2c(port, host, "/h2c");
    }
    let policy =
        m::backend_traffic_policy("one", ("HTTPRoute", "one"), "circuitBreaker: {maxConnections: 100}");
    for _ in 0..TURNS {
        gateway.write("policy.yaml", &policy);
        has_clusters(&gateway, &[SHARED, OWN]).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        gateway.remove("policy.yaml");
        has_clusters(&gateway, &[SHARED]).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 100, "clients were at work: {}", report.good);
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}
