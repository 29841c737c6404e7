//! What an EnvoyProxy says of the bootstrap of proxies on a machine.

use e2e::{Backends, Client, Gateway, eventually, free_port, get, manifest as m};

/// An EnvoyProxy that merges this text, which has no line breaks, into the bootstrap.
fn merging(text: &str) -> String {
    format!("bootstrap:\n  type: Merge\n  value: |\n    {text}\n")
}

/// A listener of the bootstrap itself, which answers with this status.
fn listener(port: u16, status: u16) -> String {
    let extensions = "type.googleapis.com/envoy.extensions.filters";
    format!(
        "static_resources: {{listeners: [{{name: own, address: {{socket_address: {{address: 127.0.0.1, port_value: \
         {port}}}}}, filter_chains: [{{filters: [{{name: http, typed_config: {{\"@type\": \
         {extensions}.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: own, route_config: \
         {{virtual_hosts: [{{name: all, domains: [\"*\"], routes: [{{match: {{prefix: /}}, direct_response: {{status: \
         {status}}}}}]}}]}}, http_filters: [{{name: router, typed_config: {{\"@type\": \
         {extensions}.http.router.v3.Router}}}}]}}}}]}}]}}]}}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_is_changed_and_one_that_cannot_be_harms_only_its_gateway() {
    let backends = Backends::start(&["a"]).await;
    let [good, own, bad] = [free_port(), free_port(), free_port()];
    let changed = m::gateway_with_proxy("good", &merging(&listener(own, 418)), &m::http("http", good));
    let moved = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}";
    let broken = m::gateway_with_proxy("bad", &merging(moved), &m::http("http", bad));
    let routes = m::route("good", "good", &[], &m::to("a")) + &m::route("bad", "bad", &[], &m::to("a"));
    let gateway = Gateway::spawn(&[("all.yaml", &(backends.manifest() + &changed + &broken + &routes))], &[]);
    eventually("the changed proxy serves", async || {
        let reply = Client::try_http1(good).await?.try_send(get("a.example.com", "/")).await?;
        (reply.status == 200).then_some(())
    })
    .await;
    let reply = Client::http1(own).await.send(get("a.example.com", "/")).await;
    assert_eq!(reply.status, 418, "the bootstrap's own listener answers");

    const WHY: &str = "spec.bootstrap: admin must stay as it is";
    let says_why = |condition: &serde_json::Value| {
        condition["type"] == "Programmed"
            && condition["status"] == "False"
            && condition["message"].as_str().is_some_and(|message| message.contains(WHY))
    };
    gateway.condition("Gateway", "bad", says_why).await;
    // Every change tries again, and the log says it once.
    let before = gateway.revision().await;
    gateway.write("more.yaml", &m::route("more", "good", &["more.example.com"], &m::to("a")));
    eventually("the change is in force", async || (gateway.revision().await > before).then_some(())).await;
    assert_eq!(gateway.log().matches(WHY).count(), 1, "{}", gateway.log());
}
