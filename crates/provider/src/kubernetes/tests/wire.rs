//! Watches over HTTP, with everything that an API server does to them.

use std::time::Duration;

use api::Object;

use super::{fake::Fault, *};
use crate::kubernetes::WorkloadKind;

const ALWAYS: usize = usize::MAX;

#[tokio::test]
async fn the_first_update_holds_everything_and_later_ones_what_changed() {
    let fake = Fake::start().await;
    for number in 0..8 {
        fake.put(ROUTES, route("default", &format!("r{number}"), "1"));
    }
    fake.put(SERVICES, service("default", "s", "1"));
    let mut reader = Reader::at(&fake).await;
    assert_eq!(reader.objects.len(), 9);
    assert!(reader.watch.progress.borrow().synced);
    fake.put(ROUTES, route("default", "r1", "2"));
    reader.next().await;
    assert_eq!(reader.sent[1], ["HTTPRoute default/r1"]);
    fake.delete(ROUTES, "default", "r2");
    reader.next().await;
    assert_eq!(reader.sent[2], ["-HTTPRoute default/r2"]);
    assert!(reader.problems.is_empty(), "{:?}", reader.problems);
}

#[tokio::test]
async fn a_server_that_does_not_stream_lists_is_asked_for_pages() {
    let fake = Fake::start().await;
    fake.set_streaming(false);
    for number in 0..8 {
        fake.put(ROUTES, route("default", &format!("r{number}"), "1"));
    }
    let mut reader = Reader::at(&fake).await;
    assert_eq!(reader.objects.len(), 8);
    // Pages of three.
    assert_eq!(fake.requests(&["httproutes", "limit=3"]), 3);
    assert_eq!(fake.requests(&["httproutes", "sendInitialEvents"]), 1);
    fake.put(ROUTES, route("default", "r1", "2"));
    reader.next().await;
    assert_eq!(reader.sent[1], ["HTTPRoute default/r1"]);
}

#[tokio::test]
async fn a_cut_watch_goes_on_where_it_was() {
    let fake = Fake::start().await;
    fake.put(ROUTES, route("default", "a", "1"));
    let mut reader = Reader::at(&fake).await;
    for value in ["2", "3", "4"] {
        fake.cut();
        fake.put(ROUTES, route("default", "a", value));
        reader.until(&[("HTTPRoute default/a", value)]).await;
    }
    assert_eq!(fake.requests(&["httproutes", "sendInitialEvents"]), 1);
    assert_eq!(fake.requests(&["httproutes", "limit="]), 0);
    assert_eq!(reader.times("HTTPRoute default/a"), 4);
}

#[tokio::test]
async fn watches_that_are_cut_all_the_time_still_follow() {
    let fake = Fake::start().await;
    fake.trouble("watch=true", Fault::CutAfter(Duration::from_millis(15)), ALWAYS);
    fake.put(ROUTES, route("default", "a", "0"));
    let mut reader = Reader::at(&fake).await;
    for value in ["1", "2", "3", "4", "5"] {
        fake.put(ROUTES, route("default", "a", value));
        reader.until(&[("HTTPRoute default/a", value)]).await;
    }
    assert_eq!(reader.times("-HTTPRoute default/a"), 0);
    assert!(reader.problems.is_empty());
}

#[tokio::test]
async fn after_410_only_what_differs_is_sent() {
    let fake = Fake::start().await;
    for streaming in [true, false] {
        fake.set_streaming(streaming);
        fake.put(ROUTES, route("default", "stays", "1"));
        fake.put(ROUTES, route("default", "changes", "1"));
        fake.put(ROUTES, route("default", "goes", "1"));
        let mut reader = Reader::at(&fake).await;
        assert_eq!(reader.objects.len(), 3);
        // Nobody is connected while it happens.
        fake.trouble("watch=true", Fault::Status(503, None), ALWAYS);
        let before = fake.requests(&["httproutes", "resourceVersion="]);
        fake.cut();
        eventually("a try", || fake.requests(&["httproutes", "resourceVersion="]) > before).await;
        fake.put(ROUTES, route("default", "changes", "2"));
        fake.delete(ROUTES, "default", "goes");
        fake.compact();
        fake.heal();
        reader.until(&[("HTTPRoute default/stays", "1"), ("HTTPRoute default/changes", "2")]).await;
        assert_eq!(reader.times("HTTPRoute default/stays"), 1, "{streaming}");
        assert_eq!(reader.times("-HTTPRoute default/goes"), 1);
    }
}

#[tokio::test]
async fn bookmarks_move_a_watch_on() {
    let fake = Fake::start().await;
    fake.put(ROUTES, route("default", "a", "1"));
    let mut reader = Reader::at(&fake).await;
    fake.put(SERVICES, service("default", "s", "1"));
    let version = fake.put(SERVICES, service("default", "s", "2"));
    reader.until(&[("HTTPRoute default/a", "1"), ("Service default/s", "2")]).await;
    while fake.requests(&["httproutes?", &format!("resourceVersion={version}&")]) == 0 {
        fake.bookmark();
        tokio::time::sleep(Duration::from_millis(20)).await;
        fake.cut();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fake.requests(&["httproutes", "sendInitialEvents"]), 1);
}

#[tokio::test]
async fn an_api_server_that_goes_back_in_its_history_is_listed_anew() {
    let fake = Fake::start().await;
    fake.put(ROUTES, route("default", "a", "1"));
    let mut reader = Reader::at(&fake).await;
    let behind = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#;
    fake.trouble(
        "httproutes?resourceVersion",
        Fault::Line(Box::leak(format!("{behind}\n").into_boxed_str())),
        1,
    );
    fake.cut();
    eventually("a second list", || fake.requests(&["httproutes", "sendInitialEvents"]) == 2).await;
    fake.put(ROUTES, route("default", "a", "2"));
    reader.until(&[("HTTPRoute default/a", "2")]).await;
    assert_eq!(reader.times("HTTPRoute default/a"), 2);
}

#[tokio::test]
async fn an_api_server_that_is_down_changes_nothing_until_it_is_back() {
    let fake = Fake::start().await;
    fake.put(ROUTES, route("default", "a", "1"));
    let mut reader = Reader::at(&fake).await;
    fake.trouble("", Fault::Status(500, None), ALWAYS);
    fake.cut();
    let before = fake.requests(&["httproutes"]);
    eventually("several tries", || fake.requests(&["httproutes"]) > before + 3).await;
    assert_eq!(reader.sent.len(), 1);
    fake.put(ROUTES, route("default", "b", "1"));
    fake.heal();
    reader.until(&[("HTTPRoute default/a", "1"), ("HTTPRoute default/b", "1")]).await;
    assert_eq!(reader.times("HTTPRoute default/a"), 1);
}

#[tokio::test]
async fn retry_after_is_respected() {
    let fake = Fake::start().await;
    fake.put(ROUTES, route("default", "a", "1"));
    // The test's limit makes 400 ms of the 30 s.
    fake.trouble("httproutes", Fault::Status(429, Some(30)), 1);
    let began = std::time::Instant::now();
    let reader = Reader::at(&fake).await;
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(reader.objects.len(), 1);
}

#[tokio::test]
async fn truncated_lists_and_broken_events_are_asked_for_again() {
    let fake = Fake::start().await;
    fake.set_streaming(false);
    for number in 0..5 {
        fake.put(ROUTES, route("default", &format!("r{number}"), "1"));
    }
    fake.trouble("limit=", Fault::Truncated, 9);
    fake.trouble("httproutes?resourceVersion", Fault::Line("{\"type\":\"ADDED\",\"object\":{\"metad\n"), 2);
    let mut reader = Reader::at(&fake).await;
    assert_eq!(reader.objects.len(), 5);
    fake.put(ROUTES, route("default", "r0", "2"));
    while reader.objects["HTTPRoute default/r0"] != "2" {
        reader.next().await;
    }
    assert_eq!(reader.times("HTTPRoute default/r1"), 1);
}

#[tokio::test]
async fn a_slow_api_server_is_waited_for() {
    let fake = Fake::start().await;
    fake.put(ROUTES, route("default", "a", "1"));
    fake.trouble("", Fault::Slow(Duration::from_millis(300)), 40);
    let mut reader = Reader::start(&fake, options()).await;
    reader.watch.progress.changed().await.unwrap();
    let waiting = reader.watch.progress.borrow().clone();
    assert!(!waiting.synced && !waiting.waiting.is_empty());
    reader.next().await;
    assert_eq!(reader.objects.len(), 1);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_named_and_stops_nothing() {
    let fake = Fake::start().await;
    fake.put(ROUTES, route("default", "good", "1"));
    let mut bad = route("default", "bad", "1");
    bad["spec"]["rules"] = serde_json::json!([{ "timeouts": 5 }]);
    fake.put(ROUTES, bad.clone());
    let mut reader = Reader::at(&fake).await;
    reader.until(&[("HTTPRoute default/good", "1")]).await;
    assert_eq!(reader.problems.len(), 1);
    assert!(
        reader.problems[0].starts_with("HTTPRoute default/bad: spec.rules[0].timeouts: "),
        "{:?}",
        reader.problems
    );
    fake.put(ROUTES, route("default", "bad", "2"));
    reader.until(&[("HTTPRoute default/good", "1"), ("HTTPRoute default/bad", "2")]).await;
    assert!(reader.problems.is_empty());
    fake.put(ROUTES, bad);
    reader.until(&[("HTTPRoute default/good", "1")]).await;
    fake.delete(ROUTES, "default", "bad");
    reader.until_fine().await;
}

#[tokio::test]
async fn no_value_of_a_secret_is_told() {
    let fake = Fake::start().await;
    fake.put(GATEWAYS, gateway("g", "1", "default/s"));
    let mut broken = secret("default", "s", "1");
    broken["data"] = serde_json::json!({ "key": "hunter2 is no base64" });
    fake.put(SECRETS, broken);
    let reader = Reader::at(&fake).await;
    assert_eq!(reader.problems.len(), 1);
    assert!(reader.problems[0].starts_with("Secret default/s: data"), "{:?}", reader.problems);
    assert!(!reader.problems[0].contains("hunter2"));
}

#[tokio::test]
async fn kinds_come_and_go_without_a_restart() {
    let fake = Fake::start().await;
    fake.install("httproutes", false);
    fake.put(GATEWAYS, gateway("g", "1", ""));
    let mut reader = Reader::at(&fake).await;
    reader.until(&[("Gateway default/g", "1")]).await;
    assert!(reader.problems[0].contains("install the CRDs"), "{:?}", reader.problems);
    fake.install("httproutes", true);
    fake.put(ROUTES, route("default", "a", "1"));
    reader.until(&[("Gateway default/g", "1"), ("HTTPRoute default/a", "1")]).await;
    reader.until_fine().await;
    fake.install("httproutes", false);
    reader.until(&[("Gateway default/g", "1")]).await;
    reader.until_told("install the CRDs").await;
    fake.install("httproutes", true);
    fake.put(ROUTES, route("default", "a", "2"));
    reader.until(&[("Gateway default/g", "1"), ("HTTPRoute default/a", "2")]).await;
    assert_eq!(reader.times("Gateway default/g"), 1);
}

/// The least that a kind of Gateway API needs in its spec.
fn least_spec(kind: &str) -> Value {
    let backends = json!([{ "name": "b", "port": 80 }]);
    match kind {
        "GatewayClass" => json!({ "controllerName": "example.com/ours" }),
        "Gateway" => json!({ "gatewayClassName": "c", "listeners": [] }),
        "ListenerSet" => json!({ "parentRef": { "name": "g" }, "listeners": [] }),
        "HTTPRoute" | "GRPCRoute" => json!({ "rules": [{ "backendRefs": backends }] }),
        "TLSRoute" | "TCPRoute" | "UDPRoute" => json!({ "rules": [{ "backendRefs": backends }] }),
        "ReferenceGrant" => json!({ "from": [], "to": [] }),
        "BackendTLSPolicy" => json!({ "targetRefs": [], "validation": { "hostname": "b.example" } }),
        other => panic!("a new kind of Gateway API: {other}"),
    }
}

/// A CRD may be missing, old, upgraded, taken back and removed while we run: nothing that it holds flaps meanwhile.
async fn lives_through_versions(info: &'static api::KindInfo) {
    let fake = Fake::start().await;
    let plural = info.plural();
    fake.install(&plural, false);
    let mut reader = Reader::at(&fake).await;
    let needed = ["GatewayClass", "Gateway", "HTTPRoute"].contains(&info.name);
    assert_eq!(reader.problems.len(), usize::from(needed), "{}: {:?}", info.name, reader.problems);
    let oldest = info.versions.last().unwrap();
    fake.serve(&plural, &format!("/apis/{}/{oldest}", info.group));
    fake.install(&plural, true);
    let space = if info.namespaced { "default" } else { "" };
    let reference = |name: &str| {
        let kind = Kind::find(info.group, info.name).unwrap();
        ObjectRef::new(kind, space, name).to_string()
    };
    let mut expected = Vec::new();
    // From the oldest version to the best, and back by one.
    let back = info.versions.iter().skip(1).take(1);
    for (step, version) in info.versions.iter().rev().chain(back).enumerate() {
        let group_version = format!("/apis/{}/{version}", info.group);
        fake.serve(&plural, &group_version);
        let name = format!("o{step}");
        let object = json!({ "metadata": meta(space, &name, version), "spec": least_spec(info.name) });
        fake.put(&format!("{group_version}/{plural}"), object);
        expected.push((reference(&name), *version));
        let expected: Vec<(&str, &str)> = expected.iter().map(|(name, value)| (&**name, *value)).collect();
        reader.until(&expected).await;
    }
    for (name, _) in &expected {
        assert_eq!((reader.times(name), reader.times(&format!("-{name}"))), (1, 0), "{name}");
    }
    fake.install(&plural, false);
    reader.until(&[]).await;
}

#[tokio::test]
async fn every_kind_of_gateway_api_comes_in_every_version_and_goes() {
    let kinds = api::KINDS.iter().filter(|info| info.group == ir::object::GATEWAY_GROUP);
    let all: Vec<_> = kinds.map(|info| (info.name, lives_through_versions(info))).collect();
    assert_eq!(all.len(), 10);
    for (name, test) in all {
        println!("{name}");
        test.await;
    }
}

#[tokio::test]
async fn a_kind_that_is_missing_for_a_moment_stays_in_force() {
    let fake = Fake::start().await;
    fake.put(ROUTES, route("default", "a", "1"));
    let timing = Timing { absence: Duration::from_secs(30), ..timing() };
    let mut reader = Reader::start(&fake, Options { timing, ..options() }).await;
    reader.next().await;
    fake.trouble("gateway.networking.k8s.io/v1", Fault::Status(404, None), ALWAYS);
    fake.cut();
    let looks = fake.requests(&["/apis/gateway.networking.k8s.io/v1"]);
    eventually("some looks", || fake.requests(&["/apis/gateway.networking.k8s.io/v1"]) > looks + 8).await;
    fake.heal();
    fake.put(ROUTES, route("default", "a", "2"));
    reader.until(&[("HTTPRoute default/a", "2")]).await;
    assert_eq!(reader.times("-HTTPRoute default/a"), 0);
}

#[tokio::test]
async fn what_may_not_be_read_counts_as_empty_and_is_told() {
    let fake = Fake::start().await;
    fake.put(ROUTES, route("default", "a", "1"));
    fake.put(SERVICES, service("default", "s", "1"));
    fake.trouble("httproutes", Fault::Status(403, None), ALWAYS);
    fake.trouble("pods", Fault::Status(403, None), ALWAYS);
    let mut reader = Reader::at(&fake).await;
    reader.until(&[("Service default/s", "1")]).await;
    assert_eq!(reader.problems.len(), 2);
    let rule = r#"{apiGroups: ["gateway.networking.k8s.io"], resources: ["httproutes"], verbs: ["get", "list", "watch"]}"#;
    assert!(reader.problems.iter().any(|problem| problem.contains(rule)), "{:?}", reader.problems);
    assert_eq!(reader.watch.observed.borrow().pods, None);
    fake.heal();
    reader.until(&[("HTTPRoute default/a", "1"), ("Service default/s", "1")]).await;
    reader.until_fine().await;
    eventually("Pods can be read", || reader.watch.observed.borrow().pods.is_some()).await;
    // A permission that is lost later takes nothing out of force.
    fake.trouble("httproutes", Fault::Status(403, None), ALWAYS);
    fake.cut();
    reader.until_told("httproutes").await;
    assert_eq!(reader.objects.len(), 2);
}

#[tokio::test]
async fn only_secrets_that_something_refers_to_are_kept() {
    let fake = Fake::start().await;
    for name in ["a", "b", "kept", "other"] {
        fake.put(SECRETS, secret("default", name, "1"));
    }
    fake.put(GATEWAYS, gateway("g", "1", "default/a"));
    let keep = [ObjectRef::new(Kind::Secret, "default", "kept")].into();
    let mut reader = Reader::start(&fake, Options { keep, ..options() }).await;
    reader.next().await;
    let (a, kept) = (("Secret default/a", "1"), ("Secret default/kept", "1"));
    reader.until(&[("Gateway default/g", "1"), a, kept]).await;
    assert_eq!(reader.sent.len(), 1);
    // The new reference and its Secret come in one update, and the old one goes in the same.
    fake.trouble("secrets/b", Fault::Slow(Duration::from_millis(100)), 1);
    fake.put(GATEWAYS, gateway("g", "2", "default/b"));
    reader.next().await;
    assert_eq!(reader.sent[1], ["Gateway default/g", "Secret default/b", "-Secret default/a"]);
    // What is not referred to is not even told.
    fake.put(SECRETS, secret("default", "a", "2"));
    fake.put(SECRETS, secret("default", "b", "2"));
    reader.until(&[("Gateway default/g", "2"), ("Secret default/b", "2"), kept]).await;
    assert_eq!(reader.times("Secret default/a"), 1);
    fake.delete(GATEWAYS, "default", "g");
    reader.until(&[kept]).await;
}

#[tokio::test]
async fn an_object_does_not_wait_for_ever_for_what_it_refers_to() {
    let fake = Fake::start().await;
    let timing = Timing { hold: Duration::from_millis(50), ..timing() };
    let mut reader = Reader::start(&fake, Options { timing, ..options() }).await;
    reader.next().await;
    fake.put(SECRETS, secret("default", "a", "1"));
    fake.trouble("secrets/a", Fault::Status(500, None), ALWAYS);
    fake.put(GATEWAYS, gateway("g", "1", "default/a default/missing"));
    reader.until(&[("Gateway default/g", "1")]).await;
    fake.heal();
    reader.until(&[("Gateway default/g", "1"), ("Secret default/a", "1")]).await;
    fake.put(SECRETS, secret("default", "missing", "1"));
    let all = [("Gateway default/g", "1"), ("Secret default/a", "1"), ("Secret default/missing", "1")];
    reader.until(&all).await;
}

#[tokio::test]
async fn only_the_namespaces_of_the_scope_are_asked_for() {
    let fake = Fake::start().await;
    for name in ["one", "two", "system"] {
        fake.put(NAMESPACES, namespace(name, ""));
        fake.put(ROUTES, route(name, "r", "1"));
        fake.put(SERVICES, service(name, "s", "1"));
    }
    let scope = Scope::Namespaces(names(&["one"]));
    // The control plane's own namespace may be closed: then it says nothing.
    fake.trouble("namespaces/system/endpointslices", Fault::Status(403, None), ALWAYS);
    let mut reader = Reader::start(&fake, Options { scope, ..options() }).await;
    reader.next().await;
    let expected = [
        ("Namespace one", ""),
        ("Namespace system", ""),
        ("HTTPRoute one/r", "1"),
        ("Service one/s", "1"),
        ("Service system/s", "1"),
    ];
    reader.until(&expected).await;
    assert_eq!(fake.requests(&["/v1/httproutes"]), 0);
    assert_eq!(fake.requests(&["/namespaces/two/"]), 0);
    assert!(reader.problems.is_empty(), "{:?}", reader.problems);
}

#[tokio::test]
async fn labels_of_namespaces_decide_at_any_time() {
    let fake = Fake::start().await;
    for (name, label) in [("one", "blue"), ("two", "red"), ("system", "")] {
        fake.put(NAMESPACES, namespace(name, label));
        fake.put(ROUTES, route(name, "r", "1"));
        fake.put(SECRETS, secret(name, "s", "1"));
    }
    fake.put(SERVICES, service("system", "own", "1"));
    fake.put(GATEWAYS, {
        let mut gateway = gateway("g", "1", "one/s two/s");
        gateway["metadata"]["namespace"] = json!("one");
        gateway
    });
    let mut reader = Reader::start(&fake, Options { scope: by_label("blue"), ..options() }).await;
    reader.next().await;
    let one =
        [("Namespace one", ""), ("HTTPRoute one/r", "1"), ("Secret one/s", "1"), ("Gateway one/g", "1")];
    let own = ("Service system/own", "1");
    reader.until(&[&one[..], &[own]].concat()).await;
    assert_eq!(reader.sent.len(), 1);
    fake.put(NAMESPACES, namespace("two", "blue"));
    let two = [("Namespace two", ""), ("HTTPRoute two/r", "1"), ("Secret two/s", "1")];
    reader.until(&[&one[..], &two, &[own]].concat()).await;
    assert_eq!(reader.times("HTTPRoute one/r"), 1);
    fake.put(NAMESPACES, namespace("one", "green"));
    reader.until(&[("Namespace two", ""), ("HTTPRoute two/r", "1"), own]).await;
    fake.put(ROUTES, route("one", "r", "2"));
    fake.put(ROUTES, route("two", "r", "2"));
    reader.until(&[("Namespace two", ""), ("HTTPRoute two/r", "2"), own]).await;
    fake.delete(NAMESPACES, "", "two");
    reader.until(&[own]).await;
}

fn ours(mut object: Value, fleet: &str) -> Value {
    object["metadata"]["labels"] = json!({
        "app.kubernetes.io/name": "envoy",
        "app.kubernetes.io/component": "proxy",
        "app.kubernetes.io/managed-by": "envoy-gateway",
        "gateway.envoyproxy.io/owning-gateway-namespace": "default",
        "gateway.envoyproxy.io/owning-gateway-name": fleet,
    });
    object
}

#[tokio::test]
async fn our_infrastructure_is_observed() {
    let fake = Fake::start().await;
    let mut service = ours(service("system", "envoy-g", "1"), "g");
    service["spec"] = json!({
        "type": "LoadBalancer",
        "clusterIPs": ["10.96.0.7"],
        "ports": [{ "name": "http-80", "port": 80, "nodePort": 30080 }, { "name": "udp-53", "port": 53, "protocol": "UDP" }],
    });
    service["status"] =
        json!({ "loadBalancer": { "ingress": [{ "ip": "203.0.113.5" }, { "hostname": "lb.example" }] } });
    fake.put(SERVICES, service);
    let pod = |ip: &str, ready: &str| {
        let mut pod = ours(json!({ "metadata": meta("system", "p", "") }), "g");
        pod["metadata"]["uid"] = json!("uid-1");
        pod["spec"] = json!({ "nodeName": "n1" });
        pod["status"] =
            json!({ "podIPs": [{ "ip": ip }], "conditions": [{ "type": "Ready", "status": ready }] });
        pod
    };
    fake.put(PODS, pod("10.0.0.9", "False"));
    fake.put(PODS, json!({ "metadata": meta("system", "foreign", "") }));
    let mut deployment = ours(json!({ "metadata": meta("system", "envoy-g", "") }), "g");
    deployment["metadata"]["generation"] = json!(3);
    deployment["spec"] = json!({ "replicas": 2 });
    deployment["status"] = json!({ "observedGeneration": 3, "updatedReplicas": 2, "availableReplicas": 1 });
    fake.put(DEPLOYMENTS, deployment);
    let addresses =
        json!([{ "type": "InternalIP", "address": "10.1.0.1" }, { "type": "Hostname", "address": "n1" }]);
    fake.put(NODES, json!({ "metadata": meta("", "n1", ""), "status": { "addresses": addresses } }));
    let reader = Reader::at(&fake).await;
    let observed = reader.watch.observed.borrow().clone();
    let fleet = &observed.fleets["default/g"];
    let service = &fleet.services[0];
    assert_eq!(
        (&*service.kind, service.load_balancer[0].ip.as_deref()),
        ("LoadBalancer", Some("203.0.113.5"))
    );
    assert_eq!(service.load_balancer[1].hostname.as_deref(), Some("lb.example"));
    assert_eq!(
        service.ports.iter().map(|p| (p.port, p.node_port, p.udp)).collect::<Vec<_>>(),
        [(80, Some(30080), false), (53, None, true)]
    );
    let workload = &fleet.workloads[0];
    assert_eq!((workload.kind, workload.desired, workload.available), (WorkloadKind::Deployment, 2, 1));
    let pods = observed.pods.unwrap();
    assert_eq!(pods.len(), 1);
    let found = pods.values().next().unwrap();
    assert_eq!((&*found.fleet, &*found.uid, &*found.node, found.ready), ("default/g", "uid-1", "n1", false));
    assert_eq!(found.ips, ["10.0.0.9".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(observed.nodes["n1"].internal.len(), 1);
    fake.put(PODS, pod("10.0.0.9", "True"));
    let ready = || reader.watch.observed.borrow().pods.iter().flat_map(|p| p.values()).any(|p| p.ready);
    eventually("the Pod is ready", ready).await;
    fake.delete(PODS, "system", "p");
    fake.delete(SERVICES, "system", "envoy-g");
    fake.delete(DEPLOYMENTS, "system", "envoy-g");
    let empty = || {
        let observed = reader.watch.observed.borrow();
        observed.fleets.is_empty() && observed.pods.as_ref().is_some_and(|pods| pods.is_empty())
    };
    eventually("nothing is left", empty).await;
}

#[tokio::test]
async fn a_slow_reader_gets_everything_merged_and_dropping_it_ends_the_watch() {
    let fake = Fake::start().await;
    let mut reader = Reader::at(&fake).await;
    for number in 0..50 {
        fake.put(ROUTES, route("default", &format!("r{}", number % 10), &number.to_string()));
    }
    while reader.objects.get("HTTPRoute default/r9").is_none_or(|value| value != "49") {
        reader.next().await;
    }
    assert_eq!(reader.objects.len(), 10);
    let Watch { updates, .. } = reader.watch;
    drop(updates);
    fake.cut();
    // Nobody is left to ask again.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let after = fake.requests(&[""]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fake.requests(&[""]), after);
}

#[tokio::test]
async fn what_is_sent_is_typed() {
    let fake = Fake::start().await;
    fake.put(GATEWAYS, gateway("g", "1", ""));
    let mut watch = watch(client(&fake).await, options());
    let update = watch.updates.next().await.unwrap();
    assert!(matches!(&update.apply[..], [Object::Gateway(gateway)] if gateway.spec.listeners.len() == 1));
    let mut registry = prometheus_client::registry::Registry::default();
    watch.metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains(r#"kubernetes_objects{kind="Gateway"} 1"#), "{text}");
}
