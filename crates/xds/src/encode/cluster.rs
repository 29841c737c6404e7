//! Clusters (CDS).

mod balancing;
mod health;
mod protocol;

use std::{sync::LazyLock, time::Duration};

use envoy_api::{
    any,
    cluster::{
        CircuitBreakers, Cluster as Message, TrackClusterStats, UpstreamConnectionOptions,
        circuit_breakers::{Thresholds, thresholds::RetryBudget},
        cluster::{
            ClusterDiscoveryType, CommonLbConfig, CustomClusterType, DiscoveryType, DnsLookupFamily,
            EdsClusterConfig, PreconnectPolicy, TransportSocketMatch,
        },
    },
    cluster_provided::ClusterProvided,
    core::{
        ProxyProtocolConfig, TcpKeepalive, TransportSocket, proxy_protocol_config,
        transport_socket::ConfigType,
    },
    dns_cluster::DnsCluster,
    dns_common, duration,
    dynamic_forward_proxy_cluster::{ClusterConfig, cluster_config::ClusterImplementationSpecifier},
    dynamic_forward_proxy_common::DnsCacheConfig,
    encode,
    raw_buffer::RawBuffer,
    types::Percent,
    upstream_proxy_protocol::ProxyProtocolUpstreamTransport,
    well_known::{Any, double, uint32},
};
use ir::{
    cluster::{Cluster, Discovery, EMPTY_CLUSTER, Protocol, Zones, transport_socket_name},
    telemetry::ClusterStatistics,
    traffic::{CircuitBreaker, ClusterTraffic, Dns, DnsFamily, ProxyProtocol},
};

use self::protocol::Way;
use super::{config_source, endpoints, metadata, tls, wire::Fields};

// `envoy.config.cluster.v3.Cluster`.
const METADATA: u32 = 25;
const LOAD_ASSIGNMENT: u32 = 33;

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes buffered for a connection.
const BUFFER_LIMIT: u32 = 32 << 10;
/// Further attempts at once: as many as Envoy allows requests, because all are tried again while pods restart.
const MAX_RETRIES: u32 = 1024;
/// Share of healthy endpoints, in percent, below which Envoy uses all of them, unless told otherwise.
const PANIC_THRESHOLD: u32 = 50;
/// Further attempts that Envoy's retry budgets always allow, unless told otherwise.
const MIN_RETRY_CONCURRENCY: u32 = 3;

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
    let traffic = &cluster.traffic;
    match &cluster.discovery {
        Discovery::Eds { .. } => fields.raw(&EDS),
        Discovery::Dns { localities } => {
            match &traffic.dns {
                None => fields.raw(&DNS),
                Some(settings) => fields.raw(&dns(Some(settings))),
            }
            fields.nested(LOAD_ASSIGNMENT, |message| {
                endpoints::load_assignment(message, &cluster.name, localities);
            });
        }
        Discovery::DynamicForwardProxy => match &traffic.dns {
            None => fields.raw(&DYNAMIC_FORWARD_PROXY),
            Some(settings) => fields.raw(&dynamic_forward_proxy(Some(settings))),
        },
    }
    // Policies are the exception: what all other clusters have is encoded once.
    if *traffic == ClusterTraffic::default() {
        fields.raw(&DEFAULTS);
    } else {
        fields.message(&settings(traffic, &cluster.health_host));
    }
    match (&cluster.discovery, &traffic.load_balancer, cluster.zones) {
        (Discovery::DynamicForwardProxy, ..) => {}
        (_, None, Zones::LocalityWeighted) => fields.raw(&LOCALITY_WEIGHTED),
        (_, balancer, zones) => fields.message(&Message {
            load_balancing_policy: Some(match balancer {
                Some(balancer) => balancing::of_policy(balancer, zones),
                None => balancing::least_request(zones),
            }),
            ..Default::default()
        }),
    }
    statistics(&mut fields, cluster);
    let way = if cluster.tls.is_empty() {
        Way { dynamic: cluster.discovery == Discovery::DynamicForwardProxy, ..Way::default() }
    } else {
        with_tls(&mut fields, cluster)
    };
    protocol_options(&mut fields, cluster, way);
    if let Some(of_user) = &cluster.metadata {
        metadata::with_policies(&mut fields, METADATA, of_user, &cluster.policies);
    }
    fields.into_bytes()
}

/// What is counted of it beside what always is, and under which name.
fn statistics(fields: &mut Fields, cluster: &Cluster) {
    if let Some(name) = &cluster.stat_name {
        fields.message(&Message { alt_stat_name: name.to_string(), ..Default::default() });
    }
    let ClusterStatistics { per_endpoint, sizes } = cluster.statistics;
    if per_endpoint || sizes {
        let tracked = TrackClusterStats {
            per_endpoint_stats: per_endpoint,
            request_response_sizes: sizes,
            ..Default::default()
        };
        fields.message(&Message { track_cluster_stats: Some(tracked), ..Default::default() });
    }
}

/// Transport sockets; returns what they have to do with the protocol.
///
/// Each backend has a socket of its own, which its endpoints ask for by name. The name of a request's host can be asked
/// for only where no backend has a name of its own, because it is a setting of the whole cluster that goes before
/// theirs.
fn with_tls(fields: &mut Fields, cluster: &Cluster) -> Way {
    let dynamic = cluster.discovery == Discovery::DynamicForwardProxy;
    let all = cluster.tls.iter().all(Option::is_some);
    let named = cluster.tls.iter().flatten().any(|tls| tls.sni.is_some() || tls.sni_of_endpoint);
    let by_request = all && !named;
    let sockets = cluster.tls.iter().enumerate();
    let mut sockets = sockets.filter_map(|(index, socket)| {
        let socket = tls::transport_socket(socket.as_ref()?, by_request, dynamic);
        Some((
            index,
            match cluster.traffic.proxy_protocol {
                Some(version) => proxy_protocol(version, socket),
                None => socket,
            },
        ))
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
    Way { dynamic, tls: all, by_request: by_request && !dynamic }
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

/// What clusters have, as a policy says it. `own_host` is the host of health checks that name none.
fn settings(traffic: &ClusterTraffic, own_host: &str) -> Message {
    let panic_threshold = traffic.panic_threshold.filter(|threshold| *threshold != PANIC_THRESHOLD);
    let keepalive = traffic.tcp_keepalive.map(|keepalive| TcpKeepalive {
        keepalive_probes: keepalive.probes.and_then(uint32),
        keepalive_time: keepalive.idle.and_then(uint32),
        keepalive_interval: keepalive.interval.and_then(uint32),
    });
    let ratio = |percent: u32| double(f64::from(percent) / 100.0);
    let preconnect = PreconnectPolicy {
        per_upstream_preconnect_ratio: traffic.preconnect_per_endpoint.and_then(ratio),
        predictive_preconnect_ratio: traffic.preconnect_predictive.and_then(ratio),
        ..Default::default()
    };
    Message {
        connect_timeout: Some(duration(traffic.connect_timeout.unwrap_or(CONNECT_TIMEOUT))),
        per_connection_buffer_limit_bytes: uint32(traffic.buffer_limit.unwrap_or(BUFFER_LIMIT)),
        circuit_breakers: Some(breakers(traffic.circuit_breaker.as_ref())),
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: panic_threshold.map(|share| Percent { value: f64::from(share) }),
            ..Default::default()
        }),
        dns_lookup_family: family(traffic.dns.as_ref()).into(),
        ignore_health_on_host_removal: true,
        health_checks: traffic.active_health.iter().map(|check| health::active(check, own_host)).collect(),
        outlier_detection: traffic.passive_health.as_ref().map(health::passive),
        upstream_connection_options: keepalive.map(|keepalive| UpstreamConnectionOptions {
            tcp_keepalive: Some(keepalive),
            ..Default::default()
        }),
        preconnect_policy: (preconnect != PreconnectPolicy::default()).then_some(preconnect),
        transport_socket: traffic.proxy_protocol.map(|version| proxy_protocol(version, plain_text())),
        ..Default::default()
    }
}

fn breakers(breaker: Option<&CircuitBreaker>) -> CircuitBreakers {
    let Some(breaker) = breaker else {
        return CircuitBreakers {
            thresholds: vec![Thresholds { max_retries: uint32(MAX_RETRIES), ..Default::default() }],
            ..Default::default()
        };
    };
    let budget = breaker.retry_budget.map(|budget| {
        let (part, whole) = budget.share;
        RetryBudget {
            budget_percent: Some(Percent { value: f64::from(part) / f64::from(whole.max(1)) * 100.0 }),
            min_retry_concurrency: Some(budget.min_concurrency)
                .filter(|number| *number != MIN_RETRY_CONCURRENCY)
                .and_then(uint32),
            ..Default::default()
        }
    });
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: uint32(breaker.connections),
            max_pending_requests: uint32(breaker.pending),
            max_requests: uint32(breaker.requests),
            max_retries: uint32(breaker.retries),
            retry_budget: budget,
            ..Default::default()
        }],
        per_host_thresholds: (breaker.connections_per_endpoint.iter())
            .map(|connections| Thresholds { max_connections: uint32(*connections), ..Default::default() })
            .collect(),
    }
}

/// Addresses that names are resolved to.
fn family(dns: Option<&Dns>) -> DnsLookupFamily {
    match dns.and_then(|dns| dns.family) {
        None | Some(DnsFamily::V4Preferred) => DnsLookupFamily::V4Preferred,
        Some(DnsFamily::V4Only) => DnsLookupFamily::V4Only,
        Some(DnsFamily::V6Only) => DnsLookupFamily::V6Only,
        Some(DnsFamily::V6Preferred) => DnsLookupFamily::Auto,
        Some(DnsFamily::All) => DnsLookupFamily::All,
    }
}

/// Plain text.
fn plain_text() -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.raw_buffer".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(&RawBuffer {}))),
    }
}

/// The PROXY protocol before what another socket sends.
fn proxy_protocol(version: ProxyProtocol, inner: TransportSocket) -> TransportSocket {
    let version = match version {
        ProxyProtocol::V1 => proxy_protocol_config::Version::V1,
        ProxyProtocol::V2 => proxy_protocol_config::Version::V2,
    };
    let config = ProxyProtocolUpstreamTransport {
        config: Some(ProxyProtocolConfig { version: version.into(), ..Default::default() }),
        transport_socket: Some(inner),
        ..Default::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.upstream_proxy_protocol".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(&config))),
    }
}

fn protocol_options(fields: &mut Fields, cluster: &Cluster, way: Way) {
    if cluster.traffic == ClusterTraffic::default() && !way.tls {
        fields.raw(match (cluster.protocol, way.dynamic) {
            (Protocol::Http1, _) => &[],
            (Protocol::Http1Only, true) => &DYNAMIC_HTTP1,
            (Protocol::Http2, true) => &DYNAMIC_HTTP2,
            (Protocol::Http1Only, false) => HTTP1.as_slice(),
            (Protocol::Http2, false) => HTTP2.as_slice(),
        });
    } else {
        fields.raw(&options(cluster.protocol, &cluster.traffic, way));
    }
}

fn options(protocol: Protocol, traffic: &ClusterTraffic, way: Way) -> Vec<u8> {
    let Some(options) = protocol::options(protocol, traffic, way) else { return Vec::new() };
    let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
    encode(&Message { typed_extension_protocol_options: [(key, any(&options))].into(), ..Default::default() })
}

/// What all clusters have.
static DEFAULTS: LazyLock<Vec<u8>> = LazyLock::new(|| encode(&settings(&ClusterTraffic::default(), "")));

static EDS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    encode(&Message {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        ..Default::default()
    })
});

static DNS: LazyLock<Vec<u8>> = LazyLock::new(|| dns(None));

static DYNAMIC_FORWARD_PROXY: LazyLock<Vec<u8>> = LazyLock::new(|| dynamic_forward_proxy(None));

fn dns(settings: Option<&Dns>) -> Vec<u8> {
    // Not the same numbers as those of the cluster's own field, which is not read for this type.
    let family = match family(settings) {
        DnsLookupFamily::V4Only => dns_common::DnsLookupFamily::V4Only,
        DnsLookupFamily::V6Only => dns_common::DnsLookupFamily::V6Only,
        DnsLookupFamily::V4Preferred => dns_common::DnsLookupFamily::V4Preferred,
        DnsLookupFamily::All => dns_common::DnsLookupFamily::All,
        DnsLookupFamily::Auto => dns_common::DnsLookupFamily::Auto,
    };
    custom_type(
        "envoy.cluster.dns",
        any(&DnsCluster {
            dns_refresh_rate: Some(duration(settings.and_then(|dns| dns.refresh).unwrap_or(DNS_REFRESH))),
            respect_dns_ttl: settings.is_none_or(|dns| dns.respects_ttl),
            dns_lookup_family: family.into(),
            ..Default::default()
        }),
    )
}

/// The cache of resolved names that a dynamic forward proxy cluster shares with the filters that fill it.
pub(super) fn dns_cache(settings: Option<&Dns>) -> DnsCacheConfig {
    let refresh = settings.and_then(|dns| dns.refresh).filter(|refresh| !refresh.is_zero());
    let (refresh, family) = (refresh.unwrap_or(DNS_REFRESH), family(settings));
    DnsCacheConfig {
        // Caches of one name must have equal settings, so the name tells them.
        name: format!(
            "envoy-gateway-dfp-cache-{}-{}ms-{}",
            family.as_str_name().to_lowercase(),
            refresh.as_millis(),
            settings.map_or("default", |dns| &dns.policy),
        ),
        dns_lookup_family: family.into(),
        dns_refresh_rate: Some(duration(refresh)),
        ..Default::default()
    }
}

fn dynamic_forward_proxy(settings: Option<&Dns>) -> Vec<u8> {
    let cache = dns_cache(settings);
    let config = ClusterConfig {
        cluster_implementation_specifier: Some(ClusterImplementationSpecifier::DnsCacheConfig(cache)),
        ..Default::default()
    };
    let mut bytes = custom_type("envoy.clusters.dynamic_forward_proxy", any(&config));
    let provided = any(&ClusterProvided::default());
    bytes.extend(encode(&Message {
        load_balancing_policy: Some(balancing::policy(
            "envoy.load_balancing_policies.cluster_provided",
            provided,
        )),
        ..Default::default()
    }));
    bytes
}

static LOCALITY_WEIGHTED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    encode(&Message {
        load_balancing_policy: Some(balancing::least_request(Zones::LocalityWeighted)),
        ..Default::default()
    })
});

static HTTP1: LazyLock<Vec<u8>> = LazyLock::new(|| plain_options(Protocol::Http1Only, false));
static HTTP2: LazyLock<Vec<u8>> = LazyLock::new(|| plain_options(Protocol::Http2, false));
static DYNAMIC_HTTP1: LazyLock<Vec<u8>> = LazyLock::new(|| plain_options(Protocol::Http1Only, true));
static DYNAMIC_HTTP2: LazyLock<Vec<u8>> = LazyLock::new(|| plain_options(Protocol::Http2, true));

/// The options of a cluster without a policy.
fn plain_options(protocol: Protocol, dynamic: bool) -> Vec<u8> {
    options(protocol, &ClusterTraffic::default(), Way { dynamic, ..Way::default() })
}

fn custom_type(name: &str, config: Any) -> Vec<u8> {
    encode(&Message {
        cluster_discovery_type: Some(ClusterDiscoveryType::ClusterType(CustomClusterType {
            name: name.to_owned(),
            typed_config: Some(config),
        })),
        ..Default::default()
    })
}
