use std::collections::BTreeSet;
use std::sync::Arc;

use ir::{
    Kind, ObjectRef,
    downstream::ConnectionSettings,
    listener::{DownstreamTls, FilterChain, Http, HttpFilter, Listener, Network, TcpTarget, Transport},
    tls::{ClientValidation, TlsParameters},
};
use serde_json::{Value, json};

use super::{LISTENER, text, to_json};
use crate::encode::{listener, ready_listener};

pub(super) fn http(name: &str, stat_prefix: &str, filters: BTreeSet<HttpFilter>) -> Network {
    Network::Http(Http {
        route_configuration: text(name),
        stat_prefix: text(stat_prefix),
        filters,
        order: [].into(),
        notes_connection: false,
        by_quic: false,
        settings: Arc::default(),
    })
}

pub(super) fn chain(name: &str, network: Network) -> FilterChain {
    FilterChain {
        name: text(name),
        server_names: [].into(),
        tls: None,
        connection: ConnectionSettings::default(),
        network,
    }
}

pub(super) fn https(name: &str, host: &str, certificate: &str) -> FilterChain {
    let tls = DownstreamTls {
        certificates: [text(certificate)].into(),
        alpn: [text("h2"), text("http/1.1")].into(),
        parameters: TlsParameters::default(),
        tickets: false,
        sessions: false,
        client: None,
    };
    FilterChain {
        server_names: [text(host)].into(),
        tls: Some(tls),
        ..chain(name, http(name, "https-10443", BTreeSet::new()))
    }
}

pub(super) fn on_port(
    name: &str,
    port: u16,
    chains: Vec<FilterChain>,
    default: Option<FilterChain>,
) -> Listener {
    Listener {
        name: text(name),
        address: text("0.0.0.0"),
        port,
        transport: Transport::Tcp,
        exclusive: false,
        ipv4_compat: false,
        settings: Arc::default(),
        telemetry: Arc::default(),
        chains: chains.into(),
        default_chain: default,
        owners: [ObjectRef::new(Kind::Gateway, "default", "edge")].into(),
    }
}

fn found(of: &Listener) -> Value {
    to_json(LISTENER, &listener(of))
}

/// The configuration of a chain's only filter.
fn config(chain: &Value) -> Value {
    assert_eq!(chain["filters"].as_array().map(Vec::len), Some(1));
    chain["filters"][0]["typedConfig"].clone()
}

fn filters(filters: BTreeSet<HttpFilter>) -> Vec<Value> {
    let chain = chain("http", http("http", "http-80", filters));
    let found = found(&on_port("http", 80, Vec::new(), Some(chain)));
    config(&found["defaultFilterChain"])["httpFilters"].as_array().unwrap().clone()
}

#[test]
fn plain_http_is_the_default_chain() {
    let chain = chain("default/edge/http", http("default/edge/http", "http-10080", BTreeSet::new()));
    let found = found(&on_port("default/edge/http", 10080, Vec::new(), Some(chain)));
    assert_eq!(found["address"], json!({"socketAddress": {"address": "0.0.0.0", "portValue": 10080}}));
    assert_eq!(found["perConnectionBufferLimitBytes"], 32768);
    assert_eq!(found["maxConnectionsToAcceptPerSocketEvent"], 1);
    assert_eq!(found["listenerFilters"], Value::Null);
    assert_eq!(found["filterChains"], Value::Null);
    assert_eq!(found["defaultFilterChain"]["name"], "default/edge/http");
    let mut manager = config(&found["defaultFilterChain"]);
    let log = manager.as_object_mut().unwrap().remove("accessLog").unwrap();
    assert_eq!(log[0]["typedConfig"]["path"], "/dev/stdout");
    assert_eq!(log[0]["filter"], Value::Null);
    assert_eq!(
        manager,
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "statPrefix": "http-10080",
            "rds": {
                "routeConfigName": "default/edge/http",
                "configSource": {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"},
            },
            "httpFilters": [{
                "name": "envoy.filters.http.router",
                "typedConfig": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    "suppressEnvoyHeaders": true,
                },
            }],
            "commonHttpProtocolOptions": {"headersWithUnderscoresAction": "REJECT_REQUEST"},
            "http2ProtocolOptions": {
                "maxConcurrentStreams": 100, "initialStreamWindowSize": 65536, "initialConnectionWindowSize": 1_048_576,
            },
            "normalizePath": true, "mergeSlashes": true,
            "pathWithEscapedSlashesAction": "UNESCAPE_AND_REDIRECT",
            "serverHeaderTransformation": "PASS_THROUGH",
            "useRemoteAddress": true,
        })
    );
}

#[test]
fn the_listener_logs_what_no_chain_takes() {
    let found = found(&on_port("l", 80, Vec::new(), None));
    assert_eq!(found["accessLog"][0]["filter"], json!({"responseFlagFilter": {"flags": ["NR"]}}));
    let members = &found["accessLog"][0]["typedConfig"]["logFormat"]["jsonFormat"];
    assert_eq!(members.as_object().map(serde_json::Map::len), Some(24));
    assert_eq!(members["x-envoy-origin-path"], "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%");
}

#[test]
fn https_chains_are_chosen_by_server_name() {
    let found = found(&on_port("l", 10443, vec![https("l", "a.example.com", "default/cert")], None));
    let chain = &found["filterChains"][0];
    assert_eq!(chain["filterChainMatch"], json!({"serverNames": ["a.example.com"]}));
    assert_eq!(
        chain["transportSocket"],
        json!({
            "name": "envoy.transport_sockets.tls",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "commonTlsContext": {
                    "alpnProtocols": ["h2", "http/1.1"],
                    "tlsCertificateSdsSecretConfigs": [{
                        "name": "default/cert",
                        "sdsConfig": {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"},
                    }],
                },
                "disableStatefulSessionResumption": true,
                "disableStatelessSessionResumption": true,
            },
        })
    );
    assert_eq!(
        found["listenerFilters"],
        json!([{
            "name": "envoy.filters.listener.tls_inspector",
            "typedConfig": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
        }])
    );
}

#[test]
fn a_chain_for_any_name_needs_no_inspector() {
    for names in [Vec::<Arc<str>>::new(), vec![text("*")]] {
        let chain = FilterChain { server_names: names.into(), ..https("l", "", "default/cert") };
        let found = found(&on_port("l", 10443, vec![chain], None));
        assert_eq!(found["filterChains"][0]["filterChainMatch"], Value::Null);
        assert_eq!(found["listenerFilters"], Value::Null);
    }
}

#[test]
fn tcp_goes_to_its_cluster() {
    let network = Network::Tcp {
        target: TcpTarget::Cluster(text("EmptyCluster")),
        stat_prefix: text("tcp-9000"),
        by_source: false,
    };
    let found = found(&on_port("l", 9000, vec![chain("EmptyCluster", network)], None));
    let mut proxy = config(&found["filterChains"][0]);
    let log = proxy.as_object_mut().unwrap().remove("accessLog").unwrap();
    assert_eq!(log[0]["filter"], Value::Null);
    assert_eq!(
        proxy,
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "cluster": "EmptyCluster", "statPrefix": "tcp-9000",
        })
    );
}

fn tcp(target: TcpTarget) -> Network {
    Network::Tcp { target, stat_prefix: text("tcp-9000"), by_source: false }
}

#[test]
fn a_share_of_connections_is_refused() {
    let target = TcpTarget::Partly { cluster: text("c"), weight: 3, refused: 1 };
    let found = found(&on_port("l", 9000, vec![chain("r", tcp(target))], None));
    assert_eq!(
        config(&found["filterChains"][0])["weightedClusters"],
        json!({"clusters": [
            {"name": "invalid-backend-cluster", "weight": 1}, {"name": "c", "weight": 3},
        ]})
    );
}

#[test]
fn the_server_name_chooses_the_host() {
    let target = TcpTarget::ServerName(text("c"));
    let found = found(&on_port("l", 9000, vec![chain("r", tcp(target))], None));
    let filters: Vec<&Value> = found["filterChains"][0]["filters"].as_array().unwrap().iter().collect();
    let names: Vec<_> = filters.iter().map(|filter| filter["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "envoy.filters.network.rbac",
            "envoy.filters.network.sni_dynamic_forward_proxy",
            "envoy.filters.network.tcp_proxy",
        ]
    );
    assert_eq!(filters[1]["typedConfig"]["portValue"], 443);
    assert_eq!(filters[0]["typedConfig"]["rules"]["action"], "DENY");
    assert_eq!(found["listenerFilters"][0]["name"], "envoy.filters.listener.tls_inspector");
}

#[test]
fn udp_has_a_listener_filter_and_no_chains() {
    let network = Network::Udp { cluster: text("dns"), stat_prefix: text("service"), by_source: false };
    let of = Listener { transport: Transport::Udp, ..on_port("l", 53, vec![chain("dns", network)], None) };
    let found = found(&of);
    assert_eq!(found["address"]["socketAddress"]["protocol"], "UDP");
    assert_eq!(found["filterChains"], Value::Null);
    assert_eq!(found["perConnectionBufferLimitBytes"], Value::Null);
    let config = &found["listenerFilters"][0]["typedConfig"];
    assert_eq!(config["statPrefix"], "service");
    assert_eq!(config["matcher"]["onNoMatch"]["action"]["typedConfig"]["cluster"], "dns");
    assert_eq!(config["accessLog"][0]["typedConfig"]["path"], "/dev/stdout");
}

#[test]
fn filters_come_in_their_order_with_the_router_last() {
    let all = [
        HttpFilter::GrpcStatistics,
        HttpFilter::LoopbackGuard,
        HttpFilter::Cors,
        HttpFilter::GrpcWeb,
        HttpFilter::SessionPersistence,
    ];
    let filters = filters(all.into());
    let names: Vec<_> = filters.iter().map(|filter| filter["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "envoy.filters.http.cors",
            "envoy.filters.http.stateful_session",
            "envoy.filters.http.rbac.dfp_loopback_deny",
            "envoy.filters.http.grpc_web",
            "envoy.filters.http.grpc_stats",
            "envoy.filters.http.router",
        ]
    );
    // Routes say which session; those that say nothing keep none.
    assert_eq!(filters[1]["disabled"], true);
}

#[test]
fn the_readiness_listener_answers_one_path() {
    let found = to_json(LISTENER, &ready_listener("0.0.0.0"));
    assert_eq!(found["name"], "envoy-gateway-proxy-ready-0.0.0.0-19003");
    assert_eq!(found["bypassOverloadManager"], true);
    let manager = config(&found["filterChains"][0]);
    assert_eq!(
        manager["httpFilters"][0]["typedConfig"],
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
            "passThroughMode": false,
            "headers": [{"name": ":path", "stringMatch": {"exact": "/ready"}}],
        })
    );
    assert_eq!(manager["routeConfig"]["virtualHosts"][0]["routes"][0]["directResponse"]["status"], 500);
    let dual = to_json(LISTENER, &ready_listener("::"));
    assert_eq!(dual["name"], "envoy-gateway-proxy-ready-::-19003");
    assert_eq!(dual["address"]["socketAddress"]["ipv4Compat"], true);
}

#[test]
fn clients_are_asked_for_certificates() {
    let asked = |untrusted: bool| {
        let mut chain = https("default/edge/https", "example.com", "default/cert");
        if let Some(tls) = &mut chain.tls {
            let authorities = Some(text("gateway/default/edge/default/ca.crt"));
            let client =
                ClientValidation { authorities, required: !untrusted, untrusted, ..Default::default() };
            tls.client = Some(Arc::new(client));
        }
        let found = found(&on_port("https", 443, vec![chain], None));
        found["filterChains"][0]["transportSocket"]["typedConfig"].clone()
    };
    let strict = asked(false);
    assert_eq!(strict["requireClientCertificate"], json!(true));
    let authorities = &strict["commonTlsContext"]["validationContextSdsSecretConfig"];
    assert_eq!(authorities["name"], "gateway/default/edge/default/ca.crt");
    // Without authorities the listener waits: it never lets anybody in unchecked.
    assert_eq!(authorities["sdsConfig"]["initialFetchTimeout"], "0s");
    let fallback = asked(true);
    assert_eq!(fallback["requireClientCertificate"], json!(false));
    let context = &fallback["commonTlsContext"]["combinedValidationContext"];
    assert_eq!(context["defaultValidationContext"], json!({"trustChainVerification": "ACCEPT_UNTRUSTED"}));
    assert_eq!(context["validationContextSdsSecretConfig"], *authorities);
}
