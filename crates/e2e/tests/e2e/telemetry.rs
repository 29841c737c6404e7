//! What EnvoyProxy says of telemetry, by what arrives: lines in files, entries and spans at a collector.

use std::path::Path;

use e2e::{Backends, Client, Collector, Gateway, eventually, free_port, manifest as m, request};
use serde_json::Value;

/// Manifests of a gateway with these parameters and a route to `a`; further objects may follow.
fn manifests(backends: &Backends, port: u16, spec: &str) -> String {
    let gateway = m::gateway_with_proxy("eg", spec, &m::http("http", port));
    backends.manifest() + &gateway + &m::route("all", "eg", &["a.example.com"], &m::to("a"))
}

async fn send(port: u16, path: &str, headers: &[(&str, &str)]) -> u16 {
    Client::http1(port).await.send(request("GET", "a.example.com", path, headers, "")).await.status
}

/// Waits until requests are answered as wanted.
async fn served(port: u16, path: &str) {
    eventually("requests are served", async || (send(port, path, &[]).await == 200).then_some(())).await;
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_logs_are_written_to_files_as_their_formats_and_expressions_say() {
    let backends = Backends::start(&["a"]).await;
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let [text, json, few] = ["text", "json", "few"].map(|name| folder.path().join(name));
    let spec = format!(
        "telemetry:\n  accessLog:\n    settings:\n    - format: {{type: Text, text: \"%REQ(:PATH)% \
         %RESPONSE_CODE% at 100%\\n\"}}\n      sinks: [{{type: File, file: {{path: {}}}}}]\n    - format: {{type: \
         JSON, json: {{path: \"%REQ_WITHOUT_QUERY(:PATH)%\"}}}}\n      sinks: [{{type: File, file: {{path: \
         {}}}}}]\n    - matches: [\"response.code >= 400\", \"'x-log' in request.headers\"]\n      format: {{type: \
         Text, text: \"%REQ(:PATH)%\\n\"}}\n      sinks: [{{type: File, file: {{path: {}}}}}]\n",
        text.display(),
        json.display(),
        few.display(),
    );
    let _gateway = Gateway::start(&[("all.yaml", &manifests(&backends, port, &spec))]).await;
    served(port, "/first").await;
    assert_eq!(send(port, "/a?b=c", &[("x-log", "1")]).await, 200);
    let lost = |headers| async move {
        Client::http1(port).await.send(request("GET", "b.example.com", "/lost", headers, "")).await.status
    };
    assert_eq!(lost(&[]).await, 404);
    assert_eq!(lost(&[("x-log", "1")]).await, 404);
    eventually("the text is there", async || {
        let lines = lines(&text);
        (lines.contains(&"/a?b=c 200 at 100%".to_owned())
            && lines.iter().filter(|line| *line == "/lost 404 at 100%").count() == 2)
            .then_some(())
    })
    .await;
    eventually("JSON is there", async || {
        let lines = lines(&json);
        let mut paths = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        paths.any(|line| line["path"] == "/a").then_some(())
    })
    .await;
    // Of four requests, one is for this log.
    eventually("the chosen line is there", async || (!lines(&few).is_empty()).then_some(())).await;
    assert_eq!(lines(&few), ["/lost"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_logs_arrive_at_collectors() {
    let backends = Backends::start(&["a"]).await;
    let (collector, port) = (Collector::start().await, free_port());
    let host = format!("host: 127.0.0.1, port: {}", collector.port);
    let spec = format!(
        "telemetry:\n  accessLog:\n    settings:\n    - type: Route\n      format: {{text: \"%REQ(:PATH)%\", json: \
         {{code: \"%RESPONSE_CODE%\"}}}}\n      sinks:\n      - {{type: OpenTelemetry, openTelemetry: {{{host}, \
         resourceAttributes: {{fleet: one}}}}}}\n      - {{type: ALS, als: {{type: HTTP, backendRefs: [{{group: \
         gateway.envoyproxy.io, kind: Backend, name: logs}}]}}}}\n",
    );
    let files = manifests(&backends, port, &spec) + &m::backend("logs", collector.port);
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    served(port, "/").await;
    assert_eq!(send(port, "/otlp", &[]).await, 200);
    let entry = eventually("an entry comes by OTLP", async || {
        let of = |entry: &e2e::Entry| entry.body == "/otlp" && entry.attributes.contains_key("code");
        collector.entries().into_iter().find(of)
    })
    .await;
    assert_eq!(entry.attributes["code"], "200");
    assert_eq!(entry.attributes["fleet"], "one");
    let entry = eventually("an entry comes to the access log service", async || {
        let of = |entry: &e2e::Entry| entry.body == "/otlp" && !entry.attributes.contains_key("code");
        collector.entries().into_iter().find(of)
    })
    .await;
    assert_eq!(entry.attributes["log_name"], "default/eg");
    // A backend that goes takes its logs with it, not the requests; the Gateway says so.
    gateway.write("all.yaml", &manifests(&backends, port, &spec));
    let says = |c: &Value| c["type"] == "Accepted" && c["reason"] == "InvalidParameters";
    gateway.condition("Gateway", "eg", says).await;
    assert_eq!(send(port, "/", &[]).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_arrive_with_tags_and_as_often_as_is_said() {
    let backends = Backends::start(&["a"]).await;
    let (collector, port, untraced) = (Collector::start().await, free_port(), free_port());
    let spec = |share: u32| {
        format!(
            "telemetry:\n  tracing:\n    samplingRate: {share}\n    tags: {{user: \"%REQ(X-USER)%\"}}\n    customTags: \
             {{edge: {{type: Literal, literal: {{value: here}}}}}}\n    spanName: {{client: \"%REQ(:PATH)%\", server: \
             up}}\n    provider:\n      host: 127.0.0.1\n      port: {}\n      serviceName: shop\n      openTelemetry: \
             {{headers: [{{name: x-key, value: k}}], resourceAttributes: {{fleet: one}}}}\n",
            collector.port
        )
    };
    let never = "telemetry: {tracing: {samplingFraction: {numerator: 0}}}\n";
    let files = [
        manifests(&backends, port, &spec(100)),
        m::route("quiet", "eg", &["quiet.example.com"], &m::to("a")),
        m::backend_traffic_policy("never", ("HTTPRoute", "quiet"), never),
        m::gateway_with_proxy("dark", &spec(0), &m::http("http", untraced)),
        m::route("dark", "dark", &["a.example.com"], &m::to("a")),
    ];
    let _gateway = Gateway::start(&[("all.yaml", &files.concat())]).await;
    served(port, "/").await;
    served(untraced, "/off").await;
    // Envoy sends spans when there are five, or after seconds. Those that should not be there come first.
    for _ in 0..5 {
        assert_eq!(send(untraced, "/off", &[("x-client-trace-id", "1")]).await, 200);
        let quiet = request("GET", "quiet.example.com", "/quiet", &[], "");
        assert_eq!(Client::http1(port).await.send(quiet).await.status, 200);
    }
    assert_eq!(send(port, "/traced", &[("x-user", "jo")]).await, 200);
    let span = eventually("a span comes", async || {
        collector.spans().into_iter().find(|span| span.name == "/traced")
    })
    .await;
    for (name, value) in [("user", "jo"), ("edge", "here"), ("service.name", "shop"), ("fleet", "one")] {
        assert_eq!(span.attributes.get(name).map(String::as_str), Some(value), "{name}: {span:?}");
    }
    assert_eq!(span.headers["x-key"], "k");
    let names: Vec<String> = collector.spans().into_iter().map(|span| span.name).collect();
    assert!(names.contains(&"up".to_owned()), "the span towards the backend: {names:?}");
    assert!(!names.iter().any(|name| name == "/off" || name == "/quiet"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_arrive_at_a_collector() {
    let backends = Backends::start(&["a"]).await;
    let (collector, port) = (Collector::start().await, free_port());
    let spec = format!(
        "telemetry:\n  metrics:\n    sinks:\n    - {{type: OpenTelemetry, openTelemetry: {{host: 127.0.0.1, port: \
         {}}}}}\n",
        collector.port
    );
    let _gateway = Gateway::start(&[("all.yaml", &manifests(&backends, port, &spec))]).await;
    served(port, "/").await;
    // Envoy sends them every five seconds.
    eventually("metrics of requests come", async || {
        collector.metrics().iter().any(|name| name.contains("downstream_rq")).then_some(())
    })
    .await;
}
