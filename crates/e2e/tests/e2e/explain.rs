//! `explain`, `check` and `diff` as commands, on files and on a running gateway. What `explain` says is held against
//! Envoy in `told`.

use e2e::{Backends, Gateway, eventually, free_port, manifest as m};
use serde_json::Value;

use crate::surface::command;

#[test]
fn a_changed_bootstrap_is_shown_to_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.yaml");
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: ferrogate}\nspec: \
                 {controllerName: gateway.envoyproxy.io/gatewayclass-controller}\n---\n";
    let checked = |interval: &str| {
        let spec = format!("bootstrap: {{type: Merge, value: 'stats_flush_interval: {interval}'}}\n");
        let text = m::gateway_with_proxy("eg", &spec, &m::http("http", 8080)) + class;
        std::fs::write(&path, text).unwrap();
        command(&["check", "-f", path.to_str().unwrap()])
    };
    let (code, text, _) = checked("0.0001s");
    let part = "EnvoyProxy default/eg spec.bootstrap";
    assert!(code == Some(1) && text.contains("FG109") && text.contains(part), "{text}");
    assert!(text.contains("must be inside range [1ms, 5m0s)"), "{text}");
    let (code, text, _) = checked("10s");
    assert!(code == Some(0) && !text.contains("FG109"), "{text}");
}

#[test]
fn the_commands_work_on_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let base = m::gateway("eg", &m::http("http", 8080)) + &m::backend("a", 3000) + &m::backend("b", 3001);
    let old = file("old.yaml", &(base.clone() + &m::route("shop", "eg", &["shop.test"], &m::to("a"))));
    let new = file("new.yaml", &(base.clone() + &m::route("shop", "eg", &["shop.test"], &m::to("b"))));
    let bad = file("bad.yaml", &(base + &m::route("shop", "eg", &["shop.test"], &m::to("gone"))));

    let (code, text, _) = command(&["explain", "-f", &old, "http://shop.test:8080/cart"]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "HTTPRoute default/shop spec.rules[0]",
        "100% forwarded as GET /cart at shop.test:8080",
        "127.0.0.1:3000",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let curl = "curl -X POST http://shop.test:8080/cart -d x";
    let (code, text, _) = command(&["explain", "-f", &old, "-o", "json", "--curl", curl]);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, told["request"].as_str()), (Some(0), Some("POST http://shop.test:8080/cart")));
    let copied =
        ["curl", "-H", "x-quote: it's", "--data-raw", "{\"a\": 1}", "http://shop.test:8080/cart", "--odd"];
    let (code, text, said) = command(&[&["explain", "-f", &old, "--"][..], &copied[..]].concat());
    assert!(code == Some(0) && text.contains("POST http://shop.test:8080/cart"), "{text}{said}");
    assert!(text.contains("x-quote: it's") && text.contains("curl's option --odd is not known"), "{text}");
    let (_, text, _) = command(&["explain", "-f", &old, "--protocol", "h3", "https://shop.test:8080/"]);
    assert!(
        text.contains("port 8080 offers no HTTP/3: Gateway default/eg listener http ends no TLS"),
        "{text}"
    );
    let (code, _, said) = command(&["explain", "-f", &old, "--gateway", "no", "http://shop.test:8080/"]);
    assert!(code == Some(2) && said.contains("known: default/eg"), "{said}");

    let (code, text, _) = command(&["check", "-f", &old]);
    assert_eq!((code, &*text), (Some(0), "0 errors, 0 warnings, 0 infos\n"));
    let (code, text, _) = command(&["check", "-f", &bad]);
    assert!(code == Some(1) && text.contains("FG401") && text.contains("bad.yaml:"), "{text}");
    assert_eq!(command(&["check", "-f", &bad, "--fail-on", "never"]).0, Some(0));
    assert_eq!(command(&["check", "-f", &bad, "-n", "elsewhere"]).0, Some(0));
    let (_, text, _) = command(&["check", "-f", &bad, "-o", "sarif"]);
    let log: Value = serde_json::from_str(&text).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"FG401".into(), &"error".into()));
    let place = &result["locations"][0]["physicalLocation"];
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("bad.yaml"), "{place}");
    assert!(place["region"]["startLine"].as_u64().unwrap() > 1, "{place}");
    let (_, text, _) = command(&["check", "-f", &bad, "-o", "junit"]);
    assert!(text.contains("tests=\"1\" failures=\"1\"") && text.contains("FG401.backend-missing"), "{text}");

    let (code, text, _) = command(&["diff", &old, &new]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("host shop.test")
            && text.contains("- to Backend default/a")
            && text.contains("+ to Backend default/b"),
        "{text}"
    );
    assert_eq!(command(&["diff", &old, &old]).0, Some(0));
}

#[test]
fn the_effective_policy_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies.yaml").to_str().unwrap().to_owned();
    std::fs::write(
        &policies,
        m::gateway("eg", &m::http("http", 8080))
            + &m::backend("a", 3000)
            + &m::route("shop", "eg", &["shop.test"], &m::to("a"))
            + "---\n{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: BackendTrafficPolicy, metadata: {name: all, \
               namespace: default}, spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: eg}], \
               timeout: {http: {requestTimeout: 9s}}, tcpKeepalive: {probes: 3}}}\n\
               ---\n{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: BackendTrafficPolicy, metadata: {name: shop, \
               namespace: default}, spec: {mergeType: StrategicMerge, targetRefs: [{group: gateway.networking.k8s.io, \
               kind: HTTPRoute, name: shop}], timeout: {http: {requestTimeout: 1s}}}}\n",
    )
    .unwrap();
    let (code, text, said) = command(&["explain", "policy", "BackendTrafficPolicy/shop", "-f", &policies]);
    assert_eq!(code, Some(0), "{text}{said}");
    for part in [
        "for HTTPRoute default/shop on Gateway default/eg listener http\n",
        "merged over BackendTrafficPolicy default/all\n",
        "spec.timeout.http.requestTimeout = \"1s\" [BackendTrafficPolicy default/shop]\n",
        "spec.tcpKeepalive.probes = 3 [BackendTrafficPolicy default/all]\n",
        "Accepted=True",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let asked =
        ["explain", "policy", "backendtrafficpolicy/all", "-n", "default", "-o", "json", "-f", &policies];
    let (_, text, said) = command(&asked);
    let told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{said}"));
    assert_eq!(told["places"][0]["merged"][0]["policy"], "BackendTrafficPolicy default/shop", "{text}");
    let (code, _, said) = command(&["explain", "policy", "BackendTrafficPolicy/gone", "-f", &policies]);
    assert!(code == Some(2) && said.contains("there is no BackendTrafficPolicy default/gone"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_gateway_is_asked() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let files = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("shop", "eg", &["shop.test"], &(m::prefix_to("/a", "a") + &m::prefix_to("/b", "gone")))
        + "---\n{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: ClientTrafficPolicy, metadata: {name: all, \
           namespace: default}, spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: eg}], \
           timeout: {http: {idleTimeout: 9s}}}}\n";
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    let admin = gateway.admin_address();
    let (code, text, said) = command(&["explain", "--admin", &admin, &format!("http://shop.test:{port}/a")]);
    assert!(code == Some(0) && text.contains(&format!("127.0.0.1:{}", backends.port("a"))), "{text}{said}");
    let (code, text, said) = command(&["explain", "policy", "ClientTrafficPolicy/all", "--admin", &admin]);
    assert!(code == Some(0) && text.contains("spec.timeout.http.idleTimeout = \"9s\""), "{text}{said}");
    let (code, text, _) = command(&["check", "--admin", &admin]);
    assert!(code == Some(1) && text.contains("FG401"), "{text}");
    assert_eq!(gateway.admin("/explain?url=ftp%3A%2F%2Fx").await.status, 400);
    assert_eq!(gateway.admin("/explain/policy?policy=no").await.status, 400);
    assert_eq!(gateway.admin("/check?no=such").await.status, 400);
    eventually("the metrics count the finding", async || {
        let metrics = gateway.admin("/metrics").await.text();
        metrics.contains("ferrogate_findings{code=\"FG401\",severity=\"error\"} 1").then_some(())
    })
    .await;
}
