//! Files edited while the gateway runs, well and badly.

use e2e::{Backends, Gateway, eventually, free_port, manifest as m};
use serde_json::Value;

/// Waits for a problem whose text has all of these words.
async fn problem(gateway: &Gateway, words: &[&str]) -> Value {
    eventually(&format!("a problem with {words:?}"), async || {
        let problems = gateway.json("/problems").await;
        let fits = |p: &&Value| words.iter().all(|word| p.to_string().contains(word));
        problems.as_array().unwrap().iter().find(fits).cloned()
    })
    .await
}

/// Waits until nothing is wrong.
async fn well(gateway: &Gateway) {
    eventually("nothing is wrong any more", async || {
        (gateway.json("/problems").await == serde_json::json!([])).then_some(())
    })
    .await;
}

/// A gateway with route `one` to backend `a`.
struct Stage {
    gateway: Gateway,
    port: u16,
}

impl Stage {
    async fn set(backends: &Backends) -> Stage {
        let port = free_port();
        let base = backends.manifest() + &m::gateway("eg", &m::http("http", port));
        let gateway = Gateway::start(&[("base.yaml", &base), ("one.yaml", &route("one", "a"))]).await;
        let stage = Stage { gateway, port };
        stage.answers("one", "a").await;
        stage
    }

    /// Waits until the host of a route is answered by this backend; never anything but 200 and 404 before.
    async fn answers(&self, name: &str, backend: &str) {
        eventually(&format!("{name} is answered by {backend}"), async || {
            let host = format!("{name}.example.com");
            let reply = self.gateway.answers(self.port, &host, "/", 200, &[404]).await;
            (reply.backend() == backend).then_some(())
        })
        .await;
    }
}

fn route(name: &str, backend: &str) -> String {
    m::route(name, "eg", &[&format!("{name}.example.com")], &m::to(backend))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_files_show() {
    let backends = Backends::start(&["a", "b"]).await;
    let stage = Stage::set(&backends).await;
    let gateway = &stage.gateway;
    // Created, edited in place, replaced by renaming, several in one file, JSON, deleted.
    std::fs::write(gateway.manifests().join("two.yaml"), route("two", "a")).unwrap();
    stage.answers("two", "a").await;
    std::fs::write(gateway.manifests().join("two.yaml"), route("two", "b")).unwrap();
    stage.answers("two", "b").await;
    gateway.write("two.yaml", &(route("two", "a") + &route("three", "b")));
    stage.answers("two", "a").await;
    stage.answers("three", "b").await;
    let json = serde_json::json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "four" },
        "spec": { "parentRefs": [{ "name": "eg" }], "hostnames": ["four.example.com"],
            "rules": [{ "backendRefs": [{ "group": "gateway.envoyproxy.io", "kind": "Backend", "name": "a" }] }] },
    });
    gateway.write("four.json", &json.to_string());
    stage.answers("four", "a").await;
    gateway.remove("two.yaml");
    for name in ["two", "three"] {
        gateway.answers(stage.port, &format!("{name}.example.com"), "/", 404, &[200]).await;
    }
    well(gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_in_files_do_not_harm() {
    let backends = Backends::start(&["a", "b"]).await;
    let stage = Stage::set(&backends).await;
    let gateway = &stage.gateway;
    // A syntax error: place in the message, last good content in force, other files go on.
    gateway.write("one.yaml", "apiVersion: v1\nkind: [unclosed\nmetadata: {name: x\n");
    let told = problem(gateway, &["one.yaml"]).await.to_string();
    let place = told.split("one.yaml:").nth(1).unwrap_or_default();
    let numbers: Vec<&str> = place.splitn(3, ':').take(2).map(str::trim).collect();
    assert!(
        numbers.len() == 2 && numbers.iter().all(|n| n.parse::<u32>().is_ok()),
        "line and column: {told}"
    );
    stage.answers("one", "a").await;
    gateway.write("five.yaml", &route("five", "b"));
    stage.answers("five", "b").await;
    gateway.write("one.yaml", &route("one", "b"));
    stage.answers("one", "b").await;
    well(gateway).await;

    // A rejected object: field in the message, last accepted version in force, its neighbour in the file goes on.
    let rejected = route("one", "a").replace("    - group:", "    - weight: -1\n      group:");
    assert!(rejected.contains("weight: -1"));
    gateway.write("one.yaml", &(rejected + &route("six", "a")));
    let told = problem(gateway, &["\"one\"", "rejected"]).await;
    assert!(told["field"].as_str().unwrap().contains("weight"), "{told}");
    stage.answers("six", "a").await;
    stage.answers("one", "b").await;
    let unknown = route("one", "a").replace("  rules:", "  ruels: []\n  rules:");
    gateway.write("one.yaml", &(unknown + &route("six", "a")));
    let told = problem(gateway, &["\"one\"", "ruels"]).await.to_string();
    assert!(told.contains("rules"), "the field probably meant: {told}");
    stage.answers("one", "b").await;

    // The same object twice: both files are named, the first by path wins.
    gateway.write("one.yaml", &(route("one", "b") + &route("six", "a")));
    well(gateway).await;
    gateway.write("zz.yaml", &route("one", "a"));
    problem(gateway, &["one.yaml", "zz.yaml", "warning"]).await;
    stage.answers("one", "b").await;
    gateway.remove("zz.yaml");
    well(gateway).await;

    // A kind that nobody knows: one warning, however often the file is written.
    for n in 0..3 {
        let unknown = format!("apiVersion: example.com/v1\nkind: Gadget\nmetadata:\n  name: g{n}\n");
        gateway.write(&format!("gadget-{n}.yaml"), &unknown);
        eventually("a warning names the kind", async || {
            gateway.log().lines().any(|line| line.contains("WARN") && line.contains("Gadget")).then_some(())
        })
        .await;
    }
    gateway.write("seven.yaml", &route("seven", "a"));
    stage.answers("seven", "a").await;
    let log = gateway.log();
    assert_eq!(log.lines().filter(|line| line.contains("Gadget")).count(), 1, "{log}");
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_swapped_by_a_symbolic_link_is_followed() {
    let backends = Backends::start(&["a", "b"]).await;
    let port = free_port();
    let base = backends.manifest() + &m::gateway("eg", &m::http("http", port));
    let gateway = Gateway::start(&[("base.yaml", &base)]).await;
    // As ConfigMap mounts do it: files are links into ..data, which is a link that is replaced.
    let folder = gateway.manifests();
    let publish = |version: &str, backend: &str| {
        std::fs::create_dir(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("r.yaml"), m::route("r", "eg", &[], &m::to(backend)))
            .unwrap();
        std::os::unix::fs::symlink(version, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    publish("..1", "a");
    std::os::unix::fs::symlink("..data/r.yaml", folder.join("r.yaml")).unwrap();
    assert_eq!(gateway.answers(port, "any", "/", 200, &[404]).await.backend(), "a");
    publish("..2", "b");
    eventually("the new content is served", async || {
        (gateway.answers(port, "any", "/", 200, &[]).await.backend() == "b").then_some(())
    })
    .await;
    well(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_come_and_go() {
    let backends = Backends::start(&["a"]).await;
    let (first, second) = (free_port(), free_port());
    let one = |name: &str, port: u16| {
        m::gateway(name, &m::http("http", port)) + &m::route(name, name, &[], &m::to("a"))
    };
    let gateway =
        Gateway::start(&[("base.yaml", &backends.manifest()), ("first.yaml", &one("first", first))]).await;
    gateway.answers(first, "any", "/", 200, &[]).await;
    gateway.write("second.yaml", &one("second", second));
    eventually("the second Gateway serves", async || {
        let reply = e2e::Client::try_http1(second).await?.try_send(e2e::get("any", "/")).await?;
        (reply.status == 200).then_some(())
    })
    .await;
    assert_eq!(gateway.envoys().len(), 2);
    gateway.remove("second.yaml");
    eventually("its Envoy ends", async || (gateway.envoys().len() == 1).then_some(())).await;
    assert!(e2e::Client::try_http1(second).await.is_none());
    gateway.answers(first, "any", "/", 200, &[]).await;
    gateway.ready().await;
    // Comes back under the same name.
    gateway.write("second.yaml", &one("second", second));
    eventually("the second Gateway serves again", async || {
        let reply = e2e::Client::try_http1(second).await?.try_send(e2e::get("any", "/")).await?;
        (reply.status == 200).then_some(())
    })
    .await;
}
