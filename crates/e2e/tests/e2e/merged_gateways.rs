//! Merged Gateways: Gateways of a class that share one Envoy and its ports.

use e2e::{Backends, Certificate, Client, Gateway, Loop, eventually, free_port, get, manifest as m};

/// The class `ferrogate`, whose EnvoyProxy says whether its Gateways are merged.
pub(crate) fn class(merged: bool) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata:\n  name: ferrogate\nspec:\n  \
         controllerName: gateway.envoyproxy.io/gatewayclass-controller\n  parametersRef:\n    group: \
         gateway.envoyproxy.io\n    kind: EnvoyProxy\n    name: proxy\n    namespace: default\n---\napiVersion: \
         gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata:\n  name: proxy\nspec:\n  mergeGateways: {merged}\n---\n"
    )
}

/// A Gateway `NAME` for `NAME.example.com` over HTTP and HTTPS, its route to the backend and its certificate.
fn site(name: &str, backend: &str, (http, https): (u16, u16)) -> String {
    let host = format!("{name}.example.com");
    let certificate = format!("{name}-cert");
    let plain = format!("{}  hostname: \"{host}\"\n", m::http("http", http));
    m::gateway(name, &(plain + &m::https("https", https, &host, &[&certificate])))
        + &m::route(name, name, &[], &m::to(backend))
        + &Certificate::new(&[&host]).secret(&certificate)
}

/// Waits until an HTTPS request for a host is answered by a backend.
async fn answers_over_tls(port: u16, host: &str, backend: &str) {
    eventually(&format!("{host} serves over TLS"), async || {
        let (mut client, _) = Client::tls(port, host, "h2").await?;
        let reply = client.try_send(get(host, "/")).await?;
        (reply.status == 200 && reply.backend() == backend).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merged_gateway_comes_and_goes_while_another_serves() {
    let backends = Backends::start(&["a", "b"]).await;
    let ports @ (http, https) = (free_port(), free_port());
    let base = backends.manifest() + &class(true);
    // By name the one that stays is second, so that Envoy's listeners change their names with the other.
    let (stays, moves) = (site("two", "a", ports), site("one", "b", ports));
    let files = [("base.yaml", &*base), ("two.yaml", &*stays), ("one.yaml", &*moves)];
    let gateway = Gateway::start(&files).await;
    answers_over_tls(https, "two.example.com", "a").await;
    assert_eq!(gateway.envoys().len(), 1, "one Envoy for the class");
    let fleets = gateway.json("/xds").await;
    assert_eq!(fleets.as_object().unwrap().keys().collect::<Vec<_>>(), ["ferrogate"]);

    let mut clients = Loop::new();
    clients.http1(http, "two.example.com", "/");
    clients.http1_fresh(http, "two.example.com", "/fresh");
    clients.h2c(http, "two.example.com", "/h2c");
    clients.tls(https, "two.example.com", "/tls", "h2");
    for _ in 0..4 {
        let reply = gateway.answers(http, "one.example.com", "/", 200, &[404, 503]).await;
        assert_eq!(reply.backend(), "b");
        answers_over_tls(https, "one.example.com", "b").await;
        eventually("a request over the connection of another Gateway is refused", async || {
            let (mut client, _) = Client::tls(https, "one.example.com", "h2").await?;
            (client.try_send(get("two.example.com", "/")).await?.status == 421).then_some(())
        })
        .await;
        gateway.remove("one.yaml");
        gateway.answers(http, "one.example.com", "/", 404, &[200, 503]).await;
        let status = gateway.status("Gateway", "two").await;
        assert!(status["addresses"].as_array().is_some_and(|all| all.len() == 1), "{status}");
        gateway.write("one.yaml", &moves);
    }
    let report = clients.stop().await;
    assert_eq!(report.bad, Vec::<String>::new());
    assert!(report.good > 200, "clients were at work: {}", report.good);
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
    assert_eq!(gateway.envoys().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_are_merged_and_taken_apart_at_run_time() {
    let backends = Backends::start(&["a", "b"]).await;
    let (one, two) = ((free_port(), free_port()), (free_port(), free_port()));
    let base = backends.manifest() + &site("one", "a", one) + &site("two", "b", two);
    let gateway = Gateway::start(&[("base.yaml", &base), ("class.yaml", &class(false))]).await;
    let serves = async |envoys: usize| {
        for (host, (http, https), backend) in [("one.example.com", one, "a"), ("two.example.com", two, "b")] {
            eventually(&format!("{host} serves"), async || {
                let reply = Client::try_http1(http).await?.try_send(get(host, "/")).await?;
                (reply.status == 200 && reply.backend() == backend).then_some(())
            })
            .await;
            answers_over_tls(https, host, backend).await;
        }
        eventually(&format!("{envoys} Envoys run"), async || {
            (gateway.envoys().len() == envoys).then_some(())
        })
        .await;
        for name in ["one", "two"] {
            let programmed = |c: &serde_json::Value| c["type"] == "Programmed" && c["reason"] == "Programmed";
            gateway.condition("Gateway", name, programmed).await;
        }
        assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
    };
    serves(2).await;
    gateway.write("class.yaml", &class(true));
    serves(1).await;
    gateway.write("class.yaml", &class(false));
    serves(2).await;
}
