//! Whole resources against Envoy Gateway's own, where its corpus lies beside the project.

use std::collections::BTreeSet;
use std::{fs, path::Path, time::Duration};

use ir::{
    Kind, Metadata,
    cluster::{Cluster, Discovery, Endpoints, Locality, Protocol, Zones},
    listener::{Listener, Network, TcpTarget, Transport, VirtualHost},
    route::{
        Forward, HeaderMutations, HeaderValue, Mirror, PathMatch, Retry, RouteMatch, Rule, StringMatch,
        Target, ValueMatch, WeightedCluster,
    },
};
use serde_json::Value;

use super::{
    CLUSTER, ENDPOINTS, LISTENER, ROUTES,
    cluster::{eds, endpoint, ip},
    forward, forwarding,
    listener::{chain, http, https, on_port},
    of, on, prefix, text, to_json,
};
use crate::encode;

/// One resource of a case; `None`, with a line that says so, when the corpus is not there.
fn expected(case: &str, kind: &str, name: &str) -> Option<Value> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/cases");
    if !corpus.is_dir() {
        println!("skipped: no corpus beside the project");
        return None;
    }
    let text = fs::read_to_string(corpus.join(case).join("xds.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let mut resources =
        all.as_object().unwrap().values().flat_map(|gateway| gateway[kind].as_array().into_iter().flatten());
    let found = resources.find(|resource| resource["name"] == name || resource["clusterName"] == name);
    Some(found.unwrap_or_else(|| panic!("{case} has no {name}")).clone())
}

fn agrees(case: &str, kind: &str, name: &str, type_url: &str, bytes: &[u8]) {
    if let Some(expected) = expected(case, kind, name) {
        assert_eq!(to_json(type_url, bytes), expected);
    }
}

const GATEWAY: &str = "envoy-gateway/gateway-1";
const HTTP: &str = "envoy-gateway/gateway-1/http";
const RULE: &str = "httproute/default/httproute-1/rule/0";

fn http_route() -> Metadata {
    of(Kind::HttpRoute, "default", "httproute-1", None)
}

fn header(name: &str, value: &str, append: bool) -> HeaderValue {
    HeaderValue { name: text(name), value: text(value), append }
}

fn to(cluster: &str) -> Forward {
    Forward { target: Target::Cluster(text(cluster)), ..forward() }
}

fn corpus_rule(index: u16, forward: Forward) -> Rule {
    Rule { index, metadata: http_route(), ..forwarding(forward) }
}

/// A route configuration with one host and these routes.
fn configuration(name: &str, host: &str, routes: &[(&Rule, RouteMatch)]) -> Vec<u8> {
    let fields: Vec<_> = routes
        .iter()
        .map(|(rule, matched)| encode::route_field(rule, None, matched, host, 80, false))
        .collect();
    let (gateway, listener) = name.rsplit_once('/').unwrap();
    let (namespace, gateway) = gateway.split_once('/').unwrap();
    let virtual_host = VirtualHost {
        name: text(&format!("{name}/{}", host.replace('.', "_"))),
        domains: [text(host)].into(),
        metadata: of(Kind::Gateway, namespace, gateway, Some(listener)),
        counted: false,
    };
    let mut body = encode::route_configuration_head(name);
    body.extend(encode::virtual_host_field(&virtual_host, &fields));
    body
}

#[test]
fn plain_listener() {
    let chain = chain(HTTP, http(HTTP, "http-10080", BTreeSet::new()));
    let bytes = encode::listener(&on_port(HTTP, 10080, Vec::new(), Some(chain)));
    agrees("httproute-with-mirror-filter-multiple", "listeners", HTTP, LISTENER, &bytes);
}

#[test]
fn readiness_listener() {
    let name = "envoy-gateway-proxy-ready-0.0.0.0-19003";
    let bytes = encode::ready_listener("0.0.0.0");
    agrees("httproute-with-mirror-filter-multiple", "listeners", name, LISTENER, &bytes);
}

#[test]
fn https_listener() {
    let first = "envoy-gateway/gateway-1/https-1";
    let chains = vec![
        https(first, "foo.example.com", "envoy-gateway/tls-secret-example-com"),
        https("envoy-gateway/gateway-1/https-2", "*.example.com", "envoy-gateway/tls-secret-foo-bar-com"),
    ];
    let bytes = encode::listener(&on_port(first, 10443, chains, None));
    let case = "gateway-with-multiple-https-listeners-with-overlapping-hostnames";
    agrees(case, "listeners", first, LISTENER, &bytes);
}

#[test]
fn tcp_listener_without_routes() {
    let name = "envoy-gateway/gateway-1/tcp";
    let network = Network::Tcp {
        target: TcpTarget::Cluster(text("EmptyCluster")),
        stat_prefix: text("tcp-10080"),
        by_source: false,
    };
    let bytes = encode::listener(&on_port(name, 10080, vec![chain("EmptyCluster", network)], None));
    let case = "gateway-with-addresses-with-ipaddress";
    agrees(case, "listeners", name, LISTENER, &bytes);
    agrees(case, "clusters", "EmptyCluster", CLUSTER, &encode::empty_cluster());
}

#[test]
fn udp_listener() {
    let name = "envoy-gateway/gateway-1/udp";
    let cluster = text("udproute/default/udproute-1/rule/-1");
    let network = Network::Udp { cluster, stat_prefix: text("service"), by_source: false };
    let of = Listener {
        transport: Transport::Udp,
        exclusive: false,
        ipv4_compat: false,
        ..on_port(name, 10080, vec![chain("udproute/default/udproute-1", network)], None)
    };
    let case = "gateway-with-listener-with-udproute-with-multiple-backends";
    agrees(case, "listeners", name, LISTENER, &encode::listener(&of));
}

#[test]
fn mirrors_and_headers() {
    let mirror = |index| Mirror {
        cluster: text(&format!("{RULE}-mirror-{index}")),
        numerator: None,
        denominator: 100,
    };
    let rule = Rule {
        request_headers: HeaderMutations {
            add: [
                header("X-Header-Add", "header-val-1", true),
                header("X-Header-Add-Append", "header-val-2", true),
                header("X-Header-Set", "set-overwrites-values", false),
            ]
            .into(),
            remove: [text("X-Header-Remove")].into(),
        },
        ..corpus_rule(0, Forward { mirrors: [mirror(1), mirror(2)].into(), ..to(RULE) })
    };
    let bytes = configuration(HTTP, "gateway.envoyproxy.io", &[(&rule, prefix("/"))]);
    agrees("httproute-with-mirror-filter-multiple", "routes", HTTP, ROUTES, &bytes);
}

#[test]
fn timeouts() {
    let forward = Forward { timeout: Some(Duration::from_secs(5)), ..to(RULE) };
    let bytes = configuration(HTTP, "*", &[(&corpus_rule(0, forward), prefix("/"))]);
    agrees("httproute-request-timeout", "routes", HTTP, ROUTES, &bytes);
}

#[test]
fn weighted_clusters_with_filters() {
    let cluster = |rule: u16, backend: u16, weight, add: &[HeaderValue]| WeightedCluster {
        name: text(&format!("httproute/default/httproute-1/rule/{rule}/backend/{backend}")),
        weight,
        request_headers: HeaderMutations { add: add.into(), remove: [].into() },
        response_headers: HeaderMutations::default(),
        host_rewrite: None,
    };
    let weighted = |clusters: Vec<WeightedCluster>| {
        let target = Target::Weighted { clusters: clusters.into(), missing_status: None };
        Forward { target, ..forward() }
    };
    let added = [header("add-header-1", "some-value", true), header("add-header-2", "some-value", true)];
    let set = [header("add-header-3", "some-value", false)];
    let first = corpus_rule(0, weighted(vec![cluster(0, 0, 8, &added), cluster(0, 1, 2, &[])]));
    let second = corpus_rule(1, weighted(vec![cluster(1, 0, 2, &[]), cluster(1, 1, 1, &set)]));
    let bytes = configuration(HTTP, "*", &[(&second, prefix("/foo")), (&first, prefix("/"))]);
    agrees("httproute-with-backendref-add-multiple-filters", "routes", HTTP, ROUTES, &bytes);
}

#[test]
fn headers_and_query_parameters() {
    let exact = |name: &str| ValueMatch { name: text(name), value: StringMatch::Exact(text("exact")) };
    let matched = RouteMatch {
        headers: [exact("Header-1")].into(),
        query: [exact("QueryParam-1")].into(),
        ..on(PathMatch::Exact(text("/exact")))
    };
    let first = corpus_rule(0, to(RULE));
    let second = corpus_rule(1, to("httproute/default/httproute-1/rule/1"));
    let bytes = configuration(HTTP, "*", &[(&first, matched), (&second, prefix("/prefix"))]);
    agrees("httproute-with-single-rule-with-multiple-rules", "routes", HTTP, ROUTES, &bytes);
}

#[test]
fn retries_agree_but_for_policies() {
    // The case has a policy beside the route, whose name Envoy Gateway puts into the metadata.
    let Some(expected) = expected("httproute-retry", "routes", "envoy-gateway/gateway-2/http") else {
        return;
    };
    let retry = |codes: Option<Box<[u16]>>, backoff| Retry {
        attempts: Some(3),
        codes,
        backoff,
        per_try_timeout: Some(Duration::from_secs(3)),
    };
    let policy = |retry| super::action(Forward { retry: Some(retry), ..forward() })["retryPolicy"].clone();
    let routes = &expected["virtualHosts"][0]["routes"];
    assert_eq!(policy(retry(None, None)), routes[0]["route"]["retryPolicy"]);
    let backoff = Some(Duration::from_millis(200));
    assert_eq!(policy(retry(Some([500].into()), backoff)), routes[1]["route"]["retryPolicy"]);
}

#[test]
fn cluster_and_endpoints() {
    let case = "httproute-with-mirror-filter-multiple";
    let cluster = Cluster { metadata: Some(http_route()), ..eds(RULE) };
    agrees(case, "clusters", RULE, CLUSTER, &encode::cluster(&cluster));
    let locality = Locality {
        region: Some(text(&format!("{RULE}/backend/0"))),
        zone: None,
        weight: Some(1),
        priority: 0,
        metadata: Some(of(Kind::Service, "default", "service-1", Some("8080"))),
        transport_socket: None,
        health: Default::default(),
        endpoints: [ip("7.7.7.7", 8080)].into(),
    };
    let endpoints = Endpoints { name: text(RULE), localities: [locality].into(), owners: [].into() };
    agrees(case, "endpoints", RULE, ENDPOINTS, &encode::endpoints(&endpoints));
}

#[test]
fn the_proxys_own_cluster() {
    let case = "httproute-with-mirror-filter-multiple";
    let service = "envoy-envoy-gateway-gateway-1-196ae069";
    let metadata = of(Kind::Service, "envoy-gateway-system", service, Some("8080"));
    let cluster = Cluster {
        metadata: Some(metadata.clone()),
        zones: Zones::ZoneAware { min_cluster_size: 1, force_local_min_size: None },
        ..eds(GATEWAY)
    };
    agrees(case, "clusters", GATEWAY, CLUSTER, &encode::cluster(&cluster));
    let locality = Locality {
        region: None,
        zone: Some(text("zone1")),
        weight: None,
        priority: 0,
        metadata: Some(metadata),
        transport_socket: None,
        health: Default::default(),
        endpoints: [ip("7.6.5.4", 8080)].into(),
    };
    let endpoints = Endpoints { name: text(GATEWAY), localities: [locality].into(), owners: [].into() };
    agrees(case, "endpoints", GATEWAY, ENDPOINTS, &encode::endpoints(&endpoints));
}

#[test]
fn dns_cluster_with_http2() {
    let name = "httproute/default/httproute-h2c/rule/0";
    let locality = Locality {
        region: Some(text(&format!("{name}/backend/0"))),
        zone: None,
        weight: Some(1),
        priority: 0,
        metadata: Some(of(Kind::Backend, "default", "backend-h2c", None)),
        transport_socket: None,
        health: Default::default(),
        endpoints: [endpoint(ir::cluster::Address::Host(text("primary.foo.com"), 3000))].into(),
    };
    let cluster = Cluster {
        discovery: Discovery::Dns { localities: [locality].into() },
        protocol: Protocol::Http2,
        metadata: Some(of(Kind::HttpRoute, "default", "httproute-h2c", None)),
        ..eds(name)
    };
    let case = "httproute-rule-with-non-service-backends-and-websocket-app-protocols";
    agrees(case, "clusters", name, CLUSTER, &encode::cluster(&cluster));
}
