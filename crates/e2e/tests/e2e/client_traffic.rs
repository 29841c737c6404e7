//! ClientTrafficPolicy: what clients are asked for and what becomes of their requests.

use std::time::Duration;

use e2e::{Backends, Client, Gateway, eventually, free_port, get, manifest as m, request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const HOST: &str = "shop.example.com";
/// A header in which responses tell the client's address as the proxy sees it.
const ADDRESS: &str = "x-client";
/// Its settings, for the end of a policy.
const TELLS_ADDRESS: &str = "headers: {lateResponseHeaders: {set: [{name: x-client, value: \"\
                             %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\"}]}}\n";

/// A gateway with one plain listener and a policy for it.
async fn gateway(backends: &Backends, port: u16, spec: &str) -> Gateway {
    let files = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("all", "eg", &[], &m::to("a"));
    Gateway::start(&[("all.yaml", &files), ("policy.yaml", &policy(spec))]).await
}

fn policy(spec: &str) -> String {
    m::client_policy("clients", "eg", "", spec)
}

/// Everything that comes back for some bytes, until the connection is closed; empty when it is closed at once.
async fn exchange(port: u16, bytes: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_believed_as_far_as_the_policy_says() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let detection = |how: &str| format!("clientIPDetection: {{{how}}}\n{TELLS_ADDRESS}");
    let gateway = gateway(&backends, port, TELLS_ADDRESS).await;
    const FORWARDED: (&str, &str) = ("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.3.3.3");
    // Which policy, and whom it believes.
    let table = [
        ("directSourceIP: {}", "127.0.0.1"),
        ("xForwardedFor: {numTrustedHops: 1}", "10.3.3.3"),
        ("xForwardedFor: {numTrustedHops: 2}", "2.2.2.2"),
        ("xForwardedFor: {trustedCIDRs: [127.0.0.0/8, 10.0.0.0/8]}", "2.2.2.2"),
        ("customHeader: {name: x-real, failClosed: true}", "9.9.9.9"),
    ];
    for (how, wanted) in table {
        gateway.write("policy.yaml", &policy(&detection(how)));
        eventually(how, async || {
            let asked = request("GET", HOST, "/", &[FORWARDED, ("x-real", "9.9.9.9")], "");
            let reply = Client::try_http1(port).await?.try_send(asked).await?;
            (reply.header(ADDRESS) == wanted).then_some(())
        })
        .await;
    }
    assert_eq!(Client::http1(port).await.send(get(HOST, "/")).await.status, 403, "without the header");
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_protocol_names_the_client() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let gateway = gateway(&backends, port, &format!("proxyProtocol: {{}}\n{TELLS_ADDRESS}")).await;
    let plain = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    let named = format!("PROXY TCP4 1.2.3.4 5.6.7.8 1111 80\r\n{plain}");
    let answer = exchange(port, &named).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-client: 1.2.3.4"), "{answer}");
    assert_eq!(exchange(port, &plain).await, "", "it must be there");
    gateway.write("policy.yaml", &policy(&format!("proxyProtocol: {{optional: true}}\n{TELLS_ADDRESS}")));
    eventually("it need not be there", async || {
        exchange(port, &plain).await.contains("x-client: 127.0.0.1").then_some(())
    })
    .await;
    assert!(exchange(port, &named).await.contains("x-client: 1.2.3.4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_and_headers_are_treated_before_routes_are_chosen() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let gateway = gateway(&backends, port, "path: {}\n").await;
    let ask = async |path: &str| Client::http1(port).await.send(get(HOST, path)).await;
    assert_eq!(ask("//a//b").await.answer().path, "/a/b");
    let redirect = ask("/a%2Fb").await;
    assert_eq!((redirect.status, redirect.header("location")), (307, "/a/b"));

    let spec = "path: {escapedSlashesAction: RejectRequest, disableMergeSlashes: true}\nhealthCheck: {path: /up}\n\
                headers:\n  withUnderscoresAction: DropHeader\n  maxRequestHeaderLimit: 2Ki\n  requestID: Preserve\n  \
                earlyRequestHeaders: {set: [{name: x-set, value: here}], removeOnMatch: [{type: Prefix, value: x-bad-}]}\n";
    gateway.write("policy.yaml", &policy(spec));
    eventually("escaped slashes are refused", async || (ask("/a%2Fb").await.status == 400).then_some(()))
        .await;
    assert_eq!(ask("//a//b").await.answer().path, "//a//b");
    let health = ask("/up").await;
    assert_eq!((health.status, health.backend()), (200, ""), "the proxy itself answers");
    let headers = [("x-bad-one", "1"), ("under_score", "1"), ("x-request-id", "mine")];
    let reply = Client::http1(port).await.send(request("GET", HOST, "/", &headers, "")).await;
    let received = ["x-set", "x-bad-one", "under_score", "x-request-id"].map(|name| reply.received(name));
    assert_eq!(received, ["here", "", "", "mine"]);
    let long = "v".repeat(4096);
    let asked = request("GET", HOST, "/", &[("x-long", &long)], "");
    assert_eq!(Client::http1(port).await.send(asked).await.status, 431);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_has_the_form_that_the_policy_gives_it() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let listener =
        m::http("http", port).replacen("  protocol", &format!("  hostname: {HOST}\n  protocol"), 1);
    let files = backends.manifest() + &m::gateway("eg", &listener) + &m::route("all", "eg", &[], &m::to("a"));
    let old = "GET / HTTP/1.0\r\n\r\n";
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    assert!(exchange(port, old).await.starts_with("HTTP/1.1 426"), "HTTP/1.0 is not spoken");
    let spec = policy("http1: {http10: {useDefaultHost: true}, preserveHeaderCase: true}\n");
    gateway.write("policy.yaml", &spec);
    eventually("HTTP/1.0 without a host is answered", async || {
        exchange(port, old).await.contains(" 200 OK").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_policy_stops_exactly_its_listener() {
    let backends = Backends::start(&["a"]).await;
    let (broken, good, tcp) = (free_port(), free_port(), free_port());
    let listeners = m::http("broken", broken) + &m::http("good", good) + &m::listener("tcp", "TCP", tcp);
    let files = backends.manifest()
        + &m::gateway("eg", &listeners)
        + &m::layer4_route("TCPRoute", "tcp", ("eg", "tcp"), &[], &[("a", 1)])
        + &m::route("all", "eg", &[], &m::to("a"));
    let of = |section: &str, limit: &str| {
        m::client_policy(section, "eg", section, &format!("connection: {{bufferLimit: {limit}}}\n"))
    };
    let both = |limit: &str| of("broken", limit) + &of("tcp", limit);
    let gateway = Gateway::start(&[("all.yaml", &files), ("policy.yaml", &both("8Gi"))]).await;
    let status =
        async |port: u16| Some(Client::try_http1(port).await?.try_send(get(HOST, "/")).await?.status);
    assert_eq!((status(broken).await, status(good).await), (Some(500), Some(200)));
    assert_eq!(status(tcp).await, None, "connections without HTTP are closed");
    let condition = gateway
        .condition("ClientTrafficPolicy", "broken", |condition| condition["reason"] == "Invalid")
        .await;
    assert!(condition["message"].as_str().unwrap().contains("spec.connection.bufferLimit"), "{condition}");
    gateway.write("policy.yaml", &both("64Ki"));
    for port in [broken, tcp] {
        eventually("the mended policy applies", async || (status(port).await? == 200).then_some(())).await;
    }
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merged_policy_says_what_its_listener_has_otherwise() {
    let backends = Backends::start(&["a"]).await;
    let (whole, part) = (free_port(), free_port());
    let files = backends.manifest()
        + &m::gateway("eg", &(m::http("whole", whole) + &m::http("part", part)))
        + &m::route("all", "eg", &[], &m::to("a"));
    let base = m::client_policy(
        "base",
        "eg",
        "",
        "headers: {earlyRequestHeaders: {set: [{name: x-set, value: gateway}]}}\nhealthCheck: {path: /up}\n",
    );
    let own = |merge: &str| {
        let spec = "headers: {earlyRequestHeaders: {set: [{name: x-set, value: listener}]}}\n";
        m::client_policy("own", "eg", "part", &format!("{merge}{spec}"))
    };
    let gateway = Gateway::start(&[("all.yaml", &files), ("base.yaml", &base), ("own.yaml", &own(""))]).await;
    let ask = async |port: u16, path: &str| Client::http1(port).await.send(get(HOST, path)).await;
    // Without mergeType the listener has nothing of the Gateway's policy.
    assert_eq!(ask(part, "/up").await.backend(), "a");
    gateway.write("own.yaml", &own("mergeType: StrategicMerge\n"));
    eventually("the health check is inherited", async || {
        let health = ask(part, "/up").await;
        (health.status == 200 && health.backend().is_empty()).then_some(())
    })
    .await;
    assert_eq!(ask(part, "/").await.received("x-set"), "listener", "what the policy says itself counts");
    assert_eq!(ask(whole, "/").await.received("x-set"), "gateway");
    gateway.condition("ClientTrafficPolicy", "base", |condition| condition["type"] == "Merged").await;
    // A change of the broader policy reaches the listener, too.
    gateway.write("base.yaml", &base.replace("/up", "/live"));
    eventually("the other path", async || ask(part, "/live").await.backend().is_empty().then_some(())).await;
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
}
