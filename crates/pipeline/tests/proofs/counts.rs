//! What a change costs: units that run, by stage, and what proxies are sent.

use std::collections::BTreeMap;

use api::Object;
use ir::{Kind, ObjectRef, resource::ResourceType, status::StatusBody};
use pipeline::{ChangeSet, Commit, Pipeline, Settings};
use serde_json::{Value, json};

/// Routes of the tests below: far more than what a change may touch.
const ROUTES: usize = 1000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hosts {
    /// Every route has a host of its own.
    Own,
    /// All routes are in one virtual host.
    Shared,
}

fn object(document: &Value) -> Object {
    Object::from_json(document).unwrap()
}

fn gateway(annotation: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": "default", "name": "eg", "annotations": {"example.com/note": annotation}},
        "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    })
}

fn route(hosts: Hosts, i: usize, path: &str) -> Value {
    let host = if hosts == Hosts::Own { format!("h{i}.example.com") } else { "example.com".to_owned() };
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"namespace": "default", "name": format!("r{i}")},
        "spec": {
            "parentRefs": [{"name": "eg"}], "hostnames": [host],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "backendRefs": [{"name": format!("s{i}"), "port": 80}],
            }],
        },
    })
}

fn service(i: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "name": format!("s{i}")},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    })
}

fn slice(i: usize, addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "default", "name": format!("s{i}-1"),
            "labels": {"kubernetes.io/service-name": format!("s{i}")},
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

fn grant(generation: i64) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"namespace": "default", "name": "g", "generation": generation},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "other"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    })
}

/// Settings of one machine.
fn settings() -> Settings {
    Settings { implicit_gateway_class: true, implicit_namespaces: true, ..Settings::default() }
}

fn start(hosts: Hosts) -> Pipeline {
    let mut pipeline = Pipeline::new(settings());
    let mut documents = vec![gateway("a")];
    for i in 0..ROUTES {
        documents.extend([route(hosts, i, &format!("/{i}")), service(i), slice(i, &["10.0.0.1"])]);
    }
    let apply = documents.iter().map(object).collect();
    let commit = pipeline.commit(ChangeSet { apply, ..ChangeSet::default() });
    // Cold, every unit runs once.
    let work = work(&commit);
    assert!(work.iter().all(|(_, run)| *run <= ROUTES as u64 + 1), "{work:?}");
    pipeline
}

fn apply(pipeline: &mut Pipeline, document: &Value) -> Commit {
    pipeline.commit(ChangeSet { apply: vec![object(document)], ..ChangeSet::default() })
}

/// Units that ran, by stage; stages without any are left out.
fn work(commit: &Commit) -> BTreeMap<&'static str, u64> {
    let stages = commit.work.iter().filter(|(_, counters)| counters.recomputed > 0);
    stages.map(|(stage, counters)| (*stage, counters.recomputed)).collect()
}

fn ran<const N: usize>(stages: [(&'static str, u64); N]) -> BTreeMap<&'static str, u64> {
    stages.into()
}

/// Changed resources, removed ones with a minus, and the bytes of the changed ones.
fn sent(commit: &Commit) -> (Vec<String>, usize) {
    let updates = || commit.resources.iter().map(|(_, update)| update);
    let changed = updates().flat_map(|u| u.changed.iter()).map(|r| format!("{} {}", r.kind.short(), r.name));
    let removed =
        updates().flat_map(|u| u.removed.iter()).map(|(kind, name)| format!("-{} {name}", kind.short()));
    let mut names: Vec<String> = changed.chain(removed).collect();
    names.sort();
    (names, updates().flat_map(|u| u.changed.iter()).map(|r| r.encoded_len()).sum())
}

/// Bytes of the virtual hosts that are not in the table before: what is encoded anew.
fn route_bytes(pipeline: &Pipeline) -> usize {
    let fleet = pipeline.fleets().values().next().unwrap();
    let tables = fleet.resources.values().filter(|r| r.kind == ResourceType::Route);
    tables.map(|r| r.encoded_len()).sum()
}

#[test]
fn a_changed_path_costs_its_route_and_its_host() {
    for hosts in [Hosts::Own, Hosts::Shared] {
        let mut pipeline = start(hosts);
        let before = route_bytes(&pipeline);
        let commit = apply(&mut pipeline, &route(hosts, 7, "/new"));
        let expected = ran([
            ("route", 1),
            ("attach", 1),
            ("entry", 1),
            ("virtual_host", 1),
            ("route_configuration", 1),
            ("status", 1),
        ]);
        assert_eq!(work(&commit), expected);
        let (names, bytes) = sent(&commit);
        assert_eq!(names, ["rds default/eg/http"]);
        assert!(bytes <= before + 20, "{bytes} bytes, and the whole table had {before}");
        assert_eq!(commit.statuses, []);
        assert_eq!(pipeline.audit(), []);
    }
}

#[test]
fn a_new_route_costs_its_own_resources_and_the_table() {
    for hosts in [Hosts::Own, Hosts::Shared] {
        let mut pipeline = start(hosts);
        let commit = apply(&mut pipeline, &route(hosts, ROUTES, "/more"));
        let expected = ran([
            ("route", 1),
            ("attach", 1),
            ("entry", 1),
            ("virtual_host", 1),
            ("route_configuration", 1),
            ("status", 2),
        ]);
        assert_eq!(work(&commit), expected);
        assert_eq!(commit.statuses.len(), 2, "the route and attachedRoutes of the Gateway");
        // Its Service does not exist: no cluster, and 500 for its requests.
        assert_eq!(sent(&commit).0, ["rds default/eg/http"]);

        let commit = pipeline.commit(ChangeSet {
            apply: vec![object(&service(ROUTES)), object(&slice(ROUTES, &["10.0.0.9"]))],
            ..ChangeSet::default()
        });
        let name = format!("httproute/default/r{ROUTES}/rule/0");
        assert_eq!(
            sent(&commit).0,
            [format!("cds {name}"), format!("eds {name}"), "rds default/eg/http".to_owned()]
        );

        let gone = ObjectRef::new(Kind::HttpRoute, "default", &format!("r{ROUTES}"));
        let commit = pipeline.commit(ChangeSet { delete: vec![gone], ..ChangeSet::default() });
        assert_eq!(
            sent(&commit).0,
            [format!("-cds {name}"), format!("-eds {name}"), "rds default/eg/http".to_owned()]
        );
        assert!(work(&commit).values().all(|run| *run <= 2), "{:?}", work(&commit));
        assert_eq!(pipeline.audit(), []);
    }
}

#[test]
fn a_changed_endpoint_costs_one_unit_and_only_eds() {
    for hosts in [Hosts::Own, Hosts::Shared] {
        let mut pipeline = start(hosts);
        let commit = apply(&mut pipeline, &slice(7, &["10.0.0.1", "10.0.0.2"]));
        assert_eq!(work(&commit), ran([("endpoints", 1)]));
        let (names, bytes) = sent(&commit);
        assert_eq!(names, ["eds httproute/default/r7/rule/0"]);
        assert!(bytes < 400, "{bytes} bytes");
        assert_eq!(commit.statuses, []);
    }
}

/// A route to the one Service that all routes forward to.
fn route_to_shared(i: usize) -> Value {
    let mut document = route(Hosts::Own, i, "/");
    document["spec"]["rules"][0]["backendRefs"][0]["name"] = "s0".into();
    document
}

#[test]
fn a_shared_cluster_is_one_for_all_its_routes() {
    let mut pipeline = Pipeline::new(Settings { merge_backends: true, ..settings() });
    let mut documents = vec![gateway("a"), service(0), slice(0, &["10.0.0.1"])];
    documents.extend((0..ROUTES).map(route_to_shared));
    let apply_all = documents.iter().map(object).collect();
    let commit = pipeline.commit(ChangeSet { apply: apply_all, ..ChangeSet::default() });
    let name = "service/default/s0/80/http";
    let clusters = |pipeline: &Pipeline| -> Vec<String> {
        let fleet = pipeline.fleets().values().next().unwrap();
        let clusters = fleet.resources.values().filter(|r| r.kind == ResourceType::Cluster);
        clusters.map(|r| r.name.to_string()).collect()
    };
    assert_eq!(clusters(&pipeline), [name]);
    assert_eq!(work(&commit)["cluster"], ROUTES as u64 + 1);
    assert_eq!(work(&commit)["endpoints"], ROUTES as u64 + 1);

    let commit = apply(&mut pipeline, &slice(0, &["10.0.0.1", "10.0.0.2"]));
    assert_eq!(work(&commit), ran([("endpoints", 1)]));
    assert_eq!(sent(&commit).0, [format!("eds {name}")]);

    // A route comes and goes; the cluster does not notice.
    let commit = apply(&mut pipeline, &route_to_shared(ROUTES));
    assert!(work(&commit).values().all(|run| *run <= 2), "{:?}", work(&commit));
    assert_eq!(sent(&commit).0, ["rds default/eg/http"]);
    let route = |i: usize| ObjectRef::new(Kind::HttpRoute, "default", &format!("r{i}"));
    let commit = pipeline.commit(ChangeSet { delete: vec![route(ROUTES)], ..ChangeSet::default() });
    assert!(work(&commit).values().all(|run| *run <= 2), "{:?}", work(&commit));
    assert_eq!(sent(&commit).0, ["rds default/eg/http"]);

    // It goes with its last user.
    let delete = (1..ROUTES).map(route).collect();
    pipeline.commit(ChangeSet { delete, ..ChangeSet::default() });
    assert_eq!(clusters(&pipeline), [name]);
    let commit = pipeline.commit(ChangeSet { delete: vec![route(0)], ..ChangeSet::default() });
    assert_eq!(
        sent(&commit).0,
        [format!("-cds {name}"), format!("-eds {name}"), "rds default/eg/http".to_owned()]
    );
    assert_eq!(pipeline.audit(), []);
}

#[test]
fn a_changed_endpoint_of_a_collector_costs_its_fleet_one_unit() {
    let mut pipeline = start(Hosts::Own);
    let proxy = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
        "metadata": {"namespace": "default", "name": "proxy"},
        "spec": {"telemetry": {"tracing": {"provider": {"backendRefs": [{"name": "s7", "port": 80}]}}}},
    });
    let mut traced = gateway("a");
    traced["spec"]["infrastructure"] = json!({
        "parametersRef": {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "proxy"},
    });
    apply(&mut pipeline, &proxy);
    let commit = apply(&mut pipeline, &traced);
    assert!(sent(&commit).0.contains(&"cds tracing".to_owned()), "{:?}", sent(&commit).0);
    let commit = apply(&mut pipeline, &slice(7, &["10.0.0.1", "10.0.0.2"]));
    assert_eq!(work(&commit), ran([("endpoints", 1), ("own_cluster", 1)]));
    assert_eq!(sent(&commit).0, ["eds httproute/default/r7/rule/0", "eds tracing"]);
    // Without endpoints the collector is as it was to listeners: they would drain for it.
    let commit = apply(&mut pipeline, &slice(7, &[]));
    assert!(sent(&commit).0.contains(&"eds tracing".to_owned()));
    assert!(sent(&commit).0.iter().all(|name| !name.starts_with("lds")), "{:?}", sent(&commit).0);
}

#[test]
fn a_policy_of_a_collector_of_metrics_has_a_status_while_metrics_go_there() {
    let mut pipeline = start(Hosts::Own);
    let reference = ObjectRef::new(Kind::BackendTlsPolicy, "default", "collector");
    let policy = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
        "metadata": {"namespace": "default", "name": "collector"},
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": "metrics"}],
            "validation": {"hostname": "metrics.example.com", "wellKnownCACertificates": "System"},
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "metrics"},
        "spec": {"ports": [{"name": "grpc", "port": 4317}]},
    });
    let proxy = |sinks: Value| {
        json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
            "metadata": {"namespace": "default", "name": "proxy"},
            "spec": {"telemetry": {"metrics": {"sinks": sinks}}},
        })
    };
    let sink = json!([{
        "type": "OpenTelemetry", "openTelemetry": {"backendRefs": [{"name": "metrics", "port": 4317}]},
    }]);
    let mut measured = gateway("a");
    measured["spec"]["infrastructure"] = json!({
        "parametersRef": {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "proxy"},
    });
    for document in [&policy, &service, &measured, &proxy(json!([]))] {
        apply(&mut pipeline, document);
    }
    assert!(pipeline.status(&reference).is_none());
    let commit = apply(&mut pipeline, &proxy(sink));
    assert!(commit.statuses.iter().any(|(object, status)| *object == reference && status.is_some()));
    let StatusBody::Policy { ancestors } = &pipeline.status(&reference).unwrap().body else { panic!() };
    assert_eq!(ancestors.iter().map(|entry| &*entry.parent.name).collect::<Vec<_>>(), ["proxy"]);
    assert_eq!(pipeline.audit(), []);
    let commit = apply(&mut pipeline, &proxy(json!([])));
    assert!(commit.statuses.iter().any(|(object, status)| *object == reference && status.is_none()));
    assert_eq!(pipeline.audit(), []);
}

#[test]
fn the_last_endpoint_costs_its_route() {
    let mut pipeline = start(Hosts::Own);
    let commit = apply(&mut pipeline, &slice(7, &[]));
    assert!(work(&commit).values().all(|run| *run <= 1), "{:?}", work(&commit));
    assert_eq!(commit.statuses.len(), 1, "the route has no endpoints to send requests to");
}

#[test]
fn what_nobody_reads_costs_nothing() {
    let mut pipeline = start(Hosts::Own);
    // Nobody refers across namespaces, so nobody has looked for grants.
    let commit = apply(&mut pipeline, &grant(1));
    assert_eq!((work(&commit), sent(&commit).0, commit.statuses.len()), (ran([]), Vec::new(), 0));
    // An annotation that nothing is made of.
    let commit = apply(&mut pipeline, &gateway("b"));
    assert_eq!((work(&commit), sent(&commit).0, commit.statuses.len()), (ran([]), Vec::new(), 0));
    // The same once more.
    let commit = apply(&mut pipeline, &route(Hosts::Own, 7, "/7"));
    assert_eq!((work(&commit), sent(&commit).0, commit.statuses.len()), (ran([]), Vec::new(), 0));
}

#[test]
fn a_grant_without_effect_stops_at_its_readers() {
    let mut pipeline = start(Hosts::Own);
    let mut reader = route(Hosts::Own, ROUTES, "/more");
    reader["metadata"]["namespace"] = "other".into();
    reader["spec"]["parentRefs"][0]["namespace"] = "default".into();
    reader["spec"]["rules"][0]["backendRefs"][0]["name"] = "s1".into();
    reader["spec"]["rules"][0]["backendRefs"][0]["namespace"] = "default".into();
    let mut open = gateway("a");
    open["spec"]["listeners"][0]["allowedRoutes"] = json!({"namespaces": {"from": "All"}});
    for document in [&open, &reader, &grant(1)] {
        apply(&mut pipeline, document);
    }
    let commit = apply(&mut pipeline, &grant(2));
    assert_eq!(work(&commit), ran([("route", 1)]));
    assert_eq!((sent(&commit).0, commit.statuses.len()), (Vec::new(), 0));
}

#[test]
fn a_small_table_is_a_small_message() {
    // One host for all of a thousand routes is sent whole, since Envoy's RDS knows no less than a table. Where tables
    // are small, so is the message.
    let settings =
        Settings { implicit_gateway_class: true, implicit_namespaces: true, ..Settings::default() };
    let mut pipeline = Pipeline::new(settings);
    let mut documents = vec![gateway("a")];
    for i in 0..30 {
        documents.extend([route(Hosts::Own, i, "/"), service(i), slice(i, &["10.0.0.1"])]);
    }
    let apply_all = documents.iter().map(object).collect();
    pipeline.commit(ChangeSet { apply: apply_all, ..ChangeSet::default() });
    let (_, bytes) = sent(&apply(&mut pipeline, &route(Hosts::Own, 7, "/new")));
    assert!(bytes < 20_000, "{bytes} bytes");
    let (_, bytes) = sent(&apply(&mut pipeline, &slice(7, &["10.0.0.2"])));
    assert!(bytes < 400, "{bytes} bytes");
}

fn listener_set(i: usize) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
        "metadata": {"namespace": "default", "name": format!("set{i}")},
        "spec": {
            "parentRef": {"name": "eg"},
            "listeners": [{
                "name": "web", "port": 80, "protocol": "HTTP", "hostname": format!("h{i}.example.com"),
            }],
        },
    })
}

fn route_of_set(i: usize) -> Value {
    let mut document = route(Hosts::Own, i, "/");
    document["spec"]["parentRefs"] = json!([{"kind": "ListenerSet", "name": format!("set{i}")}]);
    document["spec"]["rules"][0]["backendRefs"][0]["name"] = "s0".into();
    document
}

#[test]
fn a_listener_set_wakes_what_depends_on_it() {
    const SETS: usize = 200;
    let settings =
        Settings { implicit_gateway_class: true, implicit_namespaces: true, ..Settings::default() };
    let mut pipeline = Pipeline::new(settings);
    let mut open = gateway("a");
    open["spec"]["allowedListeners"] = json!({"namespaces": {"from": "Same"}});
    open["spec"]["listeners"][0]["hostname"] = "shop.example.com".into();
    let mut documents = vec![open, service(0), slice(0, &["10.0.0.1"])];
    for i in 0..SETS {
        documents.extend([listener_set(i), route_of_set(i)]);
    }
    let apply_all = documents.iter().map(object).collect();
    pipeline.commit(ChangeSet { apply: apply_all, ..ChangeSet::default() });

    // In the order of precedence it stands between others.
    let commit = apply(&mut pipeline, &listener_set(1000));
    let alone =
        ran([("gateway", 1), ("listener", 1), ("virtual_host", 1), ("own_cluster", 1), ("status", 2)]);
    assert_eq!(work(&commit), alone);
    assert_eq!(sent(&commit).0, Vec::<String>::new(), "without routes it adds nothing to the table");
    let commit = apply(&mut pipeline, &route_of_set(1000));
    assert!(work(&commit).values().all(|run| *run <= 2), "{:?}", work(&commit));

    // One that others stand behind goes, and takes along its route's virtual host alone.
    let gone = ObjectRef::new(Kind::ListenerSet, "default", "set1");
    let commit = pipeline.commit(ChangeSet { delete: vec![gone], ..ChangeSet::default() });
    assert!(work(&commit).values().all(|run| *run <= 3), "{:?}", work(&commit));
    let name = "httproute/default/r1/rule/0";
    assert_eq!(
        sent(&commit).0,
        [format!("-cds {name}"), format!("-eds {name}"), "rds default/eg/http".to_owned()]
    );
    assert_eq!(pipeline.audit(), []);
}

fn merged_gateway(i: usize) -> Value {
    let mut document = gateway("a");
    document["metadata"]["name"] = format!("eg{i}").into();
    document["spec"]["listeners"][0]["hostname"] = format!("h{i}.example.com").into();
    document
}

fn route_of_merged(i: usize) -> Value {
    let mut document = route(Hosts::Own, i, "/");
    document["spec"]["parentRefs"] = json!([{"name": format!("eg{i}")}]);
    document["spec"]["rules"][0]["backendRefs"][0]["name"] = "s0".into();
    document
}

#[test]
fn a_merged_gateway_wakes_what_depends_on_it() {
    const GATEWAYS: usize = 200;
    let installation = ir::infra::Installation {
        base: Some(std::sync::Arc::new(json!({"mergeGateways": true}))),
        ..ir::infra::Installation::default()
    };
    let mut pipeline = Pipeline::new(Settings { installation: installation.into(), ..settings() });
    let mut documents = vec![service(0), slice(0, &["10.0.0.1"])];
    for i in 0..GATEWAYS {
        documents.extend([merged_gateway(i), route_of_merged(i)]);
    }
    let apply_all = documents.iter().map(object).collect();
    pipeline.commit(ChangeSet { apply: apply_all, ..ChangeSet::default() });
    assert_eq!(pipeline.fleets().keys().map(|name| &**name).collect::<Vec<_>>(), ["eg"]);

    // The Gateway, and the class that it joins.
    let commit = apply(&mut pipeline, &merged_gateway(1000));
    assert!(work(&commit).values().all(|run| *run <= 2), "{:?}", work(&commit));
    assert_eq!(sent(&commit).0, Vec::<String>::new(), "without routes it adds nothing to the table");
    let commit = apply(&mut pipeline, &route_of_merged(1000));
    assert!(work(&commit).values().all(|run| *run <= 2), "{:?}", work(&commit));
    assert_eq!(commit.statuses.len(), 2, "the route and attachedRoutes of its Gateway");

    // One that others stand behind goes, and takes along its route's virtual host alone.
    let gone = ObjectRef::new(Kind::Gateway, "default", "eg1");
    let commit = pipeline.commit(ChangeSet { delete: vec![gone], ..ChangeSet::default() });
    assert!(work(&commit).values().all(|run| *run <= 3), "{:?}", work(&commit));
    let name = "httproute/default/r1/rule/0";
    assert_eq!(
        sent(&commit).0,
        [format!("-cds {name}"), format!("-eds {name}"), "rds default/eg0/http".to_owned()]
    );
    assert_eq!(pipeline.audit(), []);
}
