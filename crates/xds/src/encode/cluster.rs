//! Clusters (CDS).

use std::{sync::LazyLock, time::Duration};

use envoy_api::{
    any,
    cluster::{
        CircuitBreakers, Cluster as Message, LoadBalancingPolicy,
        circuit_breakers::Thresholds,
        cluster::{
            ClusterDiscoveryType, CommonLbConfig, CustomClusterType, DiscoveryType, DnsLookupFamily,
            EdsClusterConfig, TransportSocketMatch,
        },
        load_balancing_policy::Policy,
    },
    cluster_provided::ClusterProvided,
    core::{Http1ProtocolOptions, Http2ProtocolOptions, TypedExtensionConfig, UpstreamHttpProtocolOptions},
    dns_cluster::DnsCluster,
    dns_common, duration,
    dynamic_forward_proxy_cluster::{ClusterConfig, cluster_config::ClusterImplementationSpecifier},
    dynamic_forward_proxy_common::DnsCacheConfig,
    encode,
    http_protocol_options::{
        HttpProtocolOptions,
        http_protocol_options::{
            AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
        },
    },
    least_request::LeastRequest,
    load_balancing::{
        LocalityLbConfig,
        locality_lb_config::{
            LocalityConfigSpecifier, LocalityWeightedLbConfig, ZoneAwareLbConfig,
            zone_aware_lb_config::ForceLocalZone,
        },
    },
    well_known::{Any, uint32, uint64},
};
use ir::cluster::{Cluster, Discovery, EMPTY_CLUSTER, Protocol, Zones, transport_socket_name};

use super::{config_source, endpoints, metadata, tls, wire::Fields};

// `envoy.config.cluster.v3.Cluster`.
const METADATA: u32 = 25;
const LOAD_ASSIGNMENT: u32 = 33;

/// Initial flow-control windows towards HTTP/2 backends: 64 KiB for a stream, 1 MiB for a connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How often names are resolved again when the answer's time to live does not say otherwise.
const DNS_REFRESH: Duration = Duration::from_secs(30);

/// An encoded `envoy.config.cluster.v3.Cluster`.
pub fn cluster(cluster: &Cluster) -> Vec<u8> {
    // Measured: 300 bytes of defaults, the name twice, about 100 of metadata.
    let mut fields = Fields::with_capacity(512 + 2 * cluster.name.len());
    fields.message(&Message {
        name: cluster.name.to_string(),
        eds_cluster_config: match &cluster.discovery {
            Discovery::Eds { service_name } => Some(EdsClusterConfig {
                eds_config: Some(config_source::ads()),
                service_name: service_name.to_string(),
            }),
            Discovery::Dns { .. } | Discovery::DynamicForwardProxy => None,
        },
        ..Default::default()
    });
    match &cluster.discovery {
        Discovery::Eds { .. } => fields.raw(&EDS),
        Discovery::Dns { localities } => {
            fields.raw(&DNS);
            fields.nested(LOAD_ASSIGNMENT, |message| {
                endpoints::load_assignment(message, &cluster.name, localities);
            });
        }
        Discovery::DynamicForwardProxy => fields.raw(&DYNAMIC_FORWARD_PROXY),
    }
    fields.raw(&DEFAULTS);
    match (&cluster.discovery, cluster.zones) {
        (Discovery::DynamicForwardProxy, _) => {}
        (_, Zones::LocalityWeighted) => fields.raw(&LOCALITY_WEIGHTED),
        (_, Zones::ZoneAware { min_cluster_size, force_local_min_size }) => {
            fields.message(&least_request(zone_aware(min_cluster_size, force_local_min_size)));
        }
    }
    if cluster.tls.is_empty() {
        fields.raw(match (cluster.protocol, &cluster.discovery) {
            (Protocol::Http1, _) => &[],
            (Protocol::Http1Only, Discovery::DynamicForwardProxy) => &DYNAMIC_HTTP1,
            (Protocol::Http2, Discovery::DynamicForwardProxy) => &DYNAMIC_HTTP2,
            (Protocol::Http1Only, _) => HTTP1.as_slice(),
            (Protocol::Http2, _) => HTTP2.as_slice(),
        });
    } else {
        with_tls(&mut fields, cluster);
    }
    if let Some(of_user) = &cluster.metadata {
        metadata::field(&mut fields, METADATA, of_user);
    }
    fields.into_bytes()
}

/// Transport sockets, and the protocol options that go with them.
///
/// Each backend has a socket of its own, which its endpoints ask for by name. The HTTP version is agreed with the
/// backend (ALPN) where all backends have TLS. The name of a request's host can be asked for only where no backend has
/// a name of its own, because it is a setting of the whole cluster that goes before theirs.
fn with_tls(fields: &mut Fields, cluster: &Cluster) {
    let dynamic = cluster.discovery == Discovery::DynamicForwardProxy;
    let all = cluster.tls.iter().all(Option::is_some);
    let named = cluster.tls.iter().flatten().any(|tls| tls.sni.is_some() || tls.sni_of_endpoint);
    let by_request = all && !named;
    let sockets = cluster.tls.iter().enumerate();
    let mut sockets = sockets.filter_map(|(index, socket)| {
        Some((index, tls::transport_socket(socket.as_ref()?, by_request, dynamic)))
    });
    let mut message = Message::default();
    if dynamic {
        message.transport_socket = sockets.next().map(|(_, socket)| socket);
    } else {
        message.transport_socket_matches = sockets
            .map(|(index, socket)| {
                let name = transport_socket_name(&cluster.name, index);
                TransportSocketMatch {
                    name: name.to_string(),
                    r#match: Some(tls::matching(&name)),
                    transport_socket: Some(socket),
                }
            })
            .collect();
        message.transport_socket = all.then(|| tls::UNUSED.clone());
    }
    fields.message(&message);
    let options = match cluster.protocol {
        Protocol::Http1 if !all => return,
        Protocol::Http1 => UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(http2_options()),
            ..Default::default()
        }),
        Protocol::Http1Only => explicit(http1()),
        Protocol::Http2 => explicit(http2()),
    };
    let of_request = if dynamic {
        dynamic_host()
    } else {
        by_request.then(|| UpstreamHttpProtocolOptions { auto_sni: true, ..Default::default() })
    };
    fields.raw(&protocol_options(options, of_request));
}

/// The encoded cluster [`EMPTY_CLUSTER`], which has no endpoints: listeners that need a target but have no route name
/// it, so that connections to them are closed.
pub fn empty_cluster() -> Vec<u8> {
    encode(&Message {
        name: EMPTY_CLUSTER.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        ..Default::default()
    })
}

/// What all clusters have.
static DEFAULTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    encode(&Message {
        connect_timeout: Some(duration(Duration::from_secs(10))),
        per_connection_buffer_limit_bytes: uint32(32 << 10),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds { max_retries: uint32(1024), ..Default::default() }],
            ..Default::default()
        }),
        common_lb_config: Some(CommonLbConfig::default()),
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        ignore_health_on_host_removal: true,
        ..Default::default()
    })
});

static EDS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    encode(&Message {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        ..Default::default()
    })
});

static DNS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    custom_type(
        "envoy.cluster.dns",
        any(&DnsCluster {
            dns_refresh_rate: Some(duration(DNS_REFRESH)),
            respect_dns_ttl: true,
            // The cluster's own field is not read for this type.
            dns_lookup_family: dns_common::DnsLookupFamily::V4Preferred.into(),
            ..Default::default()
        }),
    )
});

static DYNAMIC_FORWARD_PROXY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let cache = DnsCacheConfig {
        // Caches of one name must have equal settings, so the name tells them.
        name: format!("envoy-gateway-dfp-cache-v4_preferred-{}ms-default", DNS_REFRESH.as_millis()),
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        dns_refresh_rate: Some(duration(DNS_REFRESH)),
        ..Default::default()
    };
    let config = ClusterConfig {
        cluster_implementation_specifier: Some(ClusterImplementationSpecifier::DnsCacheConfig(cache)),
        ..Default::default()
    };
    let mut bytes = custom_type("envoy.clusters.dynamic_forward_proxy", any(&config));
    let provided = any(&ClusterProvided::default());
    bytes.extend(encode(&load_balancing("envoy.load_balancing_policies.cluster_provided", provided)));
    bytes
});

static LOCALITY_WEIGHTED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let weighted = LocalityWeightedLbConfig {};
    encode(&least_request(LocalityConfigSpecifier::LocalityWeightedLbConfig(weighted)))
});

static HTTP1: LazyLock<Vec<u8>> = LazyLock::new(|| protocol_options(explicit(http1()), None));
static HTTP2: LazyLock<Vec<u8>> = LazyLock::new(|| protocol_options(explicit(http2()), None));
static DYNAMIC_HTTP1: LazyLock<Vec<u8>> =
    LazyLock::new(|| protocol_options(explicit(http1()), dynamic_host()));
static DYNAMIC_HTTP2: LazyLock<Vec<u8>> =
    LazyLock::new(|| protocol_options(explicit(http2()), dynamic_host()));

fn custom_type(name: &str, config: Any) -> Vec<u8> {
    encode(&Message {
        cluster_discovery_type: Some(ClusterDiscoveryType::ClusterType(CustomClusterType {
            name: name.to_owned(),
            typed_config: Some(config),
        })),
        ..Default::default()
    })
}

fn http1() -> ProtocolConfig {
    ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default())
}

fn http2() -> ProtocolConfig {
    ProtocolConfig::Http2ProtocolOptions(http2_options())
}

fn http2_options() -> Http2ProtocolOptions {
    Http2ProtocolOptions {
        initial_stream_window_size: uint32(STREAM_WINDOW),
        initial_connection_window_size: uint32(CONNECTION_WINDOW),
        ..Default::default()
    }
}

/// One protocol, whatever the backend could speak besides.
fn explicit(config: ProtocolConfig) -> UpstreamProtocolOptions {
    UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) })
}

/// A dynamic forward proxy with options has to take SNI and the name to verify from the request; Envoy refuses it
/// otherwise.
fn dynamic_host() -> Option<UpstreamHttpProtocolOptions> {
    Some(UpstreamHttpProtocolOptions { auto_sni: true, auto_san_validation: true, ..Default::default() })
}

/// The options of the protocol, and what is taken from a request's host.
fn protocol_options(
    protocol: UpstreamProtocolOptions,
    of_request: Option<UpstreamHttpProtocolOptions>,
) -> Vec<u8> {
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(protocol),
        upstream_http_protocol_options: of_request,
        ..Default::default()
    };
    let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
    encode(&Message { typed_extension_protocol_options: [(key, any(&options))].into(), ..Default::default() })
}

fn zone_aware(min_cluster_size: u32, force_local_min_size: Option<u32>) -> LocalityConfigSpecifier {
    LocalityConfigSpecifier::ZoneAwareLbConfig(ZoneAwareLbConfig {
        min_cluster_size: uint64(u64::from(min_cluster_size)),
        force_local_zone: force_local_min_size.map(|size| ForceLocalZone { min_size: uint32(size) }),
        ..Default::default()
    })
}

/// The balancer that all clusters have: fewest requests in flight, within the locality that `localities` chooses.
fn least_request(localities: LocalityConfigSpecifier) -> Message {
    let policy = LeastRequest {
        locality_lb_config: Some(LocalityLbConfig { locality_config_specifier: Some(localities) }),
        ..Default::default()
    };
    load_balancing("envoy.load_balancing_policies.least_request", any(&policy))
}

fn load_balancing(name: &str, config: Any) -> Message {
    Message {
        load_balancing_policy: Some(LoadBalancingPolicy {
            policies: vec![Policy {
                typed_extension_config: Some(TypedExtensionConfig {
                    name: name.to_owned(),
                    typed_config: Some(config),
                }),
            }],
        }),
        ..Default::default()
    }
}
