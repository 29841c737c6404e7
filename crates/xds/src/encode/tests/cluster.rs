use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use ir::{
    Kind, ObjectRef, SecretBytes,
    cluster::{Address, Cluster, Discovery, Endpoint, Endpoints, Locality, Protocol, Zones},
    secret::TlsCertificate,
    traffic::{ActiveHealthCheck, ClusterTraffic, HealthChecker},
};
use serde_json::{Value, json};

use super::{CLUSTER, ENDPOINTS, SECRET, of, shop, text, to_json};
use crate::encode::{cluster, empty_cluster, endpoints, secret};

const NAME: &str = "httproute/default/shop/rule/0";

pub(super) fn eds(name: &str) -> Cluster {
    Cluster {
        name: text(name),
        discovery: Discovery::Eds { service_name: text(name) },
        protocol: Protocol::Http1,
        metadata: Some(shop()),
        zones: Zones::LocalityWeighted,
        tls: [].into(),
        traffic: Default::default(),
        policies: [].into(),
        health_host: text(""),
        statistics: Default::default(),
        stat_name: None,
        owners: [].into(),
    }
}

pub(super) fn locality(backend: Option<u32>, endpoints: Vec<Endpoint>) -> Locality {
    Locality {
        region: backend.map(|index| text(&format!("{NAME}/backend/{index}"))),
        zone: None,
        weight: Some(1),
        priority: 0,
        metadata: Some(of(Kind::Service, "default", "cart", Some("8080"))),
        transport_socket: None,
        health: Default::default(),
        endpoints: endpoints.into(),
    }
}

pub(super) fn endpoint(address: Address) -> Endpoint {
    Endpoint { address, hostname: None, draining: false }
}

pub(super) fn ip(address: &str, port: u16) -> Endpoint {
    endpoint(Address::Ip(address.parse::<IpAddr>().unwrap(), port))
}

fn found(of: &Cluster) -> Value {
    to_json(CLUSTER, &cluster(of))
}

fn assigned(localities: Vec<Locality>) -> Value {
    let of = Endpoints { name: text(NAME), localities: localities.into(), owners: [].into() };
    to_json(ENDPOINTS, &endpoints(&of))
}

#[test]
fn endpoints_come_by_eds() {
    assert_eq!(
        found(&eds(NAME)),
        json!({
            "name": NAME,
            "type": "EDS",
            "edsClusterConfig": {
                "edsConfig": {"ads": {}, "resourceApiVersion": "V3"}, "serviceName": NAME,
            },
            "connectTimeout": "10s",
            "perConnectionBufferLimitBytes": 32768,
            "circuitBreakers": {"thresholds": [{"maxRetries": 1024}]},
            "commonLbConfig": {},
            "dnsLookupFamily": "V4_PREFERRED",
            "ignoreHealthOnHostRemoval": true,
            "loadBalancingPolicy": {"policies": [{"typedExtensionConfig": {
                "name": "envoy.load_balancing_policies.least_request",
                "typedConfig": {
                    "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
                    "localityLbConfig": {"localityWeightedLbConfig": {}},
                },
            }}]},
            "metadata": {"filterMetadata": {"envoy-gateway": {"resources": [
                {"kind": "HTTPRoute", "namespace": "default", "name": "shop"},
            ]}}},
        })
    );
    assert_eq!(found(&Cluster { metadata: None, ..eds(NAME) })["metadata"], Value::Null);
}

#[test]
fn the_protocol_is_fixed_by_options() {
    let options = |protocol| {
        let all = found(&Cluster { protocol, ..eds(NAME) })["typedExtensionProtocolOptions"].clone();
        all["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["explicitHttpConfig"].clone()
    };
    assert_eq!(options(Protocol::Http1), Value::Null);
    assert_eq!(options(Protocol::Http1Only), json!({"httpProtocolOptions": {}}));
    assert_eq!(
        options(Protocol::Http2),
        json!({"http2ProtocolOptions": {
            "initialStreamWindowSize": 65536, "initialConnectionWindowSize": 1_048_576,
        }})
    );
}

#[test]
fn zones_may_be_preferred() {
    let config = |zones| {
        let found = found(&Cluster { zones, ..eds(NAME) });
        found["loadBalancingPolicy"]["policies"][0]["typedExtensionConfig"]["typedConfig"]["localityLbConfig"]
            .clone()
    };
    assert_eq!(
        config(Zones::ZoneAware { min_cluster_size: 1, force_local_min_size: None }),
        json!({"zoneAwareLbConfig": {"minClusterSize": "1"}})
    );
    assert_eq!(
        config(Zones::ZoneAware { min_cluster_size: 3, force_local_min_size: Some(3) }),
        json!({"zoneAwareLbConfig": {"minClusterSize": "3", "forceLocalZone": {"minSize": 3}}})
    );
}

#[test]
fn names_are_resolved_by_the_cluster() {
    let backend = locality(Some(0), vec![endpoint(Address::Host(text("example.com"), 443))]);
    let found = found(&Cluster { discovery: Discovery::Dns { localities: [backend].into() }, ..eds(NAME) });
    assert_eq!(found["type"], Value::Null);
    assert_eq!(found["edsClusterConfig"], Value::Null);
    assert_eq!(
        found["clusterType"],
        json!({
            "name": "envoy.cluster.dns",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
                "dnsRefreshRate": "30s", "respectDnsTtl": true, "dnsLookupFamily": "V4_PREFERRED",
            },
        })
    );
    assert_eq!(found["loadAssignment"]["clusterName"], NAME);
    assert_eq!(
        found["loadAssignment"]["endpoints"][0]["lbEndpoints"],
        json!([{
            "endpoint": {"address": {"socketAddress": {"address": "example.com", "portValue": 443}}},
            "loadBalancingWeight": 1,
        }])
    );
}

#[test]
fn a_dynamic_resolver_asks_for_the_requests_host() {
    let dynamic = Cluster { discovery: Discovery::DynamicForwardProxy, ..eds(NAME) };
    let plain = found(&dynamic);
    assert_eq!(
        plain["clusterType"]["typedConfig"]["dnsCacheConfig"],
        json!({
            "name": "envoy-gateway-dfp-cache-v4_preferred-30000ms-default",
            "dnsLookupFamily": "V4_PREFERRED", "dnsRefreshRate": "30s",
        })
    );
    let policies = plain["loadBalancingPolicy"]["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 1);
    assert_eq!(policies[0]["typedExtensionConfig"]["name"], "envoy.load_balancing_policies.cluster_provided");
    assert_eq!(plain["typedExtensionProtocolOptions"], Value::Null);
    let http2 = found(&Cluster { protocol: Protocol::Http2, ..dynamic });
    assert_eq!(
        http2["typedExtensionProtocolOptions"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["upstreamHttpProtocolOptions"],
        json!({"autoSni": true, "autoSanValidation": true})
    );
}

#[test]
fn a_first_check_takes_its_time_and_what_comes_before() {
    let check = |initial_jitter| ActiveHealthCheck {
        timeout: Duration::from_secs(1),
        interval: Duration::from_secs(3),
        initial_jitter,
        unhealthy_threshold: 3,
        healthy_threshold: 1,
        checker: HealthChecker::Grpc { service: text("") },
        port: None,
        log: None,
    };
    let took = |active_health| {
        let traffic = ClusterTraffic { active_health, ..ClusterTraffic::default() };
        crate::resource::cluster(&Cluster { traffic, ..eds(NAME) }).first_check
    };
    assert_eq!(took(None), Duration::ZERO);
    assert_eq!(took(Some(check(None))), Duration::from_secs(1));
    assert_eq!(took(Some(check(Some(Duration::from_millis(500))))), Duration::from_millis(1500));
}

#[test]
fn the_empty_cluster_is_static() {
    assert_eq!(to_json(CLUSTER, &empty_cluster()), json!({"name": "EmptyCluster", "type": "STATIC"}));
}

#[test]
fn each_backend_is_a_locality() {
    let draining = Endpoint { draining: true, hostname: Some(text("a.local")), ..ip("10.0.0.1", 80) };
    let found = assigned(vec![
        locality(Some(0), vec![draining, ip("fd00::1", 80)]),
        Locality { weight: Some(7), priority: 1, ..locality(Some(1), Vec::new()) },
    ]);
    assert_eq!(
        found,
        json!({
            "clusterName": NAME,
            "endpoints": [
                {
                    "locality": {"region": "httproute/default/shop/rule/0/backend/0"},
                    "loadBalancingWeight": 1,
                    "lbEndpoints": [
                        {
                            "endpoint": {
                                "address": {"socketAddress": {"address": "10.0.0.1", "portValue": 80}},
                                "hostname": "a.local",
                            },
                            "healthStatus": "DRAINING", "loadBalancingWeight": 1,
                        },
                        {
                            "endpoint": {"address": {"socketAddress": {"address": "fd00::1", "portValue": 80}}},
                            "loadBalancingWeight": 1,
                        },
                    ],
                    "metadata": {"filterMetadata": {"envoy-gateway": {"resources": [
                        {"kind": "Service", "namespace": "default", "name": "cart", "sectionName": "8080"},
                    ]}}},
                },
                {
                    "locality": {"region": "httproute/default/shop/rule/0/backend/1"},
                    "loadBalancingWeight": 7, "priority": 1,
                    "metadata": {"filterMetadata": {"envoy-gateway": {"resources": [
                        {"kind": "Service", "namespace": "default", "name": "cart", "sectionName": "8080"},
                    ]}}},
                },
            ],
        })
    );
}

#[test]
fn zonal_localities_have_no_weight_and_sockets_have_paths() {
    let socket = endpoint(Address::Unix(text("/run/a.sock")));
    let zonal =
        Locality { zone: Some(text("a")), weight: None, metadata: None, ..locality(None, vec![socket]) };
    assert_eq!(
        assigned(vec![zonal])["endpoints"],
        json!([{
            "locality": {"zone": "a"},
            "lbEndpoints": [{"endpoint": {"address": {"pipe": {"path": "/run/a.sock"}}}, "loadBalancingWeight": 1}],
        }])
    );
}

#[test]
fn a_secret_is_chain_and_key() {
    let mut certificate = TlsCertificate {
        name: text("default/cert"),
        chain: Bytes::from_static(b"chain"),
        key: SecretBytes::new("key"),
        ocsp_staple: None,
        owner: ObjectRef::new(Kind::Secret, "default", "cert"),
    };
    assert_eq!(
        to_json(SECRET, &secret(&certificate)),
        json!({
            "name": "default/cert",
            "tlsCertificate": {
                "certificateChain": {"inlineBytes": "Y2hhaW4="}, "privateKey": {"inlineBytes": "a2V5"},
            },
        })
    );
    certificate.ocsp_staple = Some(Bytes::from_static(b"ok"));
    let found = to_json(SECRET, &secret(&certificate));
    assert_eq!(found["tlsCertificate"]["ocspStaple"], json!({"inlineBytes": "b2s="}));
}
