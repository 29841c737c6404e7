//! What the bootstrap configurations of all proxies have alike, on a host and in a Pod, as JSON in protobuf's own field
//! names: users' patches refer to these.
//!
//! Where a proxy finds its control plane, and how it proves who it is, differs and stays with those who start it.
//!
//! **Invariant:** no IO; equal input gives equal text.

use serde_json::{Value, json};

/// Cluster of the control plane's xDS server; the name is Envoy Gateway's, which users' patches refer to.
pub const XDS_CLUSTER: &str = "xds_cluster";
/// Settings of HTTP for clusters.
pub const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Cluster of Envoy's own admin interface, for the Prometheus listener; the name is Envoy Gateway's, too.
const STATS_CLUSTER: &str = "prometheus_stats";
/// Connections that all listeners of a proxy accept together, as Envoy Gateway sets it.
const MAX_CONNECTIONS: u64 = 50_000;
/// `re2.max_program_size.error_level`: the control plane judges regular expressions, so Envoy takes any size.
const REGEX_ERROR_LEVEL: u64 = u32::MAX as u64;
/// `re2.max_program_size.warn_level`.
const REGEX_WARN_LEVEL: u64 = 1000;

/// What a proxy does with its statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Which there are, and which parts of their names are tags; see [`stats_config`].
    pub stats_config: Value,
    /// Collectors, as static clusters.
    pub clusters: Vec<Value>,
    /// What is sent to them (`stats_sinks`).
    pub sinks: Vec<Value>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { stats_config: stats_config(), clusters: Vec::new(), sinks: Vec::new() }
    }
}

/// A bootstrap configuration before anybody adds to it.
#[derive(Clone, Debug)]
pub struct Base {
    /// `node`.
    pub node: Value,
    /// Address of the admin interface.
    pub admin: Value,
    /// Statistics. Clusters of collectors come after the others.
    pub metrics: Metrics,
    /// Static listeners.
    pub listeners: Vec<Value>,
    /// Other static clusters; one of them is [`XDS_CLUSTER`].
    pub clusters: Vec<Value>,
    /// Bytes of heap that Envoy may use: at 95 % it gives memory back, at 98 % it refuses requests. `None`: no limit.
    pub heap_limit: Option<u64>,
}

impl Base {
    /// The configuration as Envoy reads it (`envoy.config.bootstrap.v3.Bootstrap`).
    #[must_use]
    pub fn to_json(self) -> Value {
        let Metrics { stats_config, clusters: collectors, sinks } = self.metrics;
        let clusters: Vec<Value> = self.clusters.into_iter().chain(collectors).collect();
        let mut bootstrap = json!({
            "node": self.node,
            "admin": {
                "access_log": [{
                    "name": "envoy.access_loggers.file",
                    "typed_config": {
                        "@type": type_url("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
                        "path": "/dev/null",
                    },
                }],
                "address": self.admin,
            },
            "layered_runtime": {
                "layers": [{
                    "name": "global_config",
                    "static_layer": {
                        "re2.max_program_size.error_level": REGEX_ERROR_LEVEL,
                        "re2.max_program_size.warn_level": REGEX_WARN_LEVEL,
                    },
                }],
            },
            "deferred_stat_options": { "enable_deferred_creation_stats": true },
            "stats_config": stats_config,
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": XDS_CLUSTER } }],
                    "set_node_on_first_message_only": true,
                },
                "lds_config": from_ads(),
                "cds_config": from_ads(),
            },
            "static_resources": { "listeners": self.listeners, "clusters": clusters },
            "overload_manager": overload_manager(self.heap_limit),
        });
        if !sinks.is_empty() {
            bootstrap["stats_sinks"] = sinks.into();
        }
        bootstrap
    }
}

/// A name of a message with the prefix that `Any` wants.
#[must_use]
pub fn type_url(name: &str) -> String {
    format!("type.googleapis.com/{name}")
}

/// An address and port.
#[must_use]
pub fn socket(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

/// A load assignment of one endpoint.
#[must_use]
pub fn endpoint(cluster: &str, address: &Value) -> Value {
    json!({ "cluster_name": cluster, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }] })
}

/// [`HTTP_OPTIONS`] of the cluster that xDS comes from: a control plane that is gone without a word is noticed.
#[must_use]
pub fn xds_http_options() -> Value {
    json!({
        "@type": type_url(HTTP_OPTIONS),
        "explicit_http_config": {
            "http2_protocol_options": { "connection_keepalive": { "interval": "30s", "timeout": "5s" } },
        },
    })
}

/// Parts of the names of statistics that are tags in every bootstrap. The first group of an expression is cut out of the
/// name, the second is the tag's value (`envoy.config.metrics.v3.TagSpecifier`).
pub const STATS_TAGS: [(&str, &str); 4] = [
    ("from_zone", r"^cluster\.(?:.+?\.)?zone\.(([^.]+)\.)[^.]+\."),
    ("to_zone", r"^cluster\.(?:.+?\.)?zone\.[^.]+\.(([^.]+)\.)"),
    ("socket_match_name", r"^cluster\.(?:.+?\.)?transport_socket_match\.(([^.]+)\.)"),
    ("priority", r"^cluster\.(?:.+?\.)?circuit_breakers\.((default|high)\.)"),
];

/// Tags taken out of statistic names, so that zones, endpoints' match names and priorities are labels in Prometheus.
#[must_use]
pub fn stats_config() -> Value {
    let tags = STATS_TAGS.map(|(name, regex)| json!({ "tag_name": name, "regex": regex }));
    json!({ "use_all_default_tags": true, "stats_tags": tags })
}

/// The admin interface as a cluster.
#[must_use]
pub fn stats_cluster(admin: &Value) -> Value {
    json!({
        "name": STATS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "0.250s",
        "load_assignment": endpoint(STATS_CLUSTER, admin),
    })
}

/// A listener that serves `GET /stats/prometheus` of the admin interface, and nothing else of it; `filters` go before
/// the router.
#[must_use]
pub fn stats_listener(address: &str, port: u16, ipv4_compat: bool, mut filters: Vec<Value>) -> Value {
    let mut bound = socket(address, port);
    if ipv4_compat {
        bound["socket_address"]["ipv4_compat"] = true.into();
    }
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": type_url("envoy.extensions.filters.http.router.v3.Router") },
    }));
    json!({
        "name": format!("envoy-gateway-proxy-stats-{address}-{port}"),
        "address": bound,
        "bypass_overload_manager": true,
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": type_url(
                        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
                    ),
                    "stat_prefix": "eg-stats-http",
                    "normalize_path": true,
                    "route_config": {
                        "name": "local_route",
                        "virtual_hosts": [{
                            "name": STATS_CLUSTER,
                            "domains": ["*"],
                            "routes": [{
                                "match": {
                                    "path": "/stats/prometheus",
                                    "headers": [{ "name": ":method", "string_match": { "exact": "GET" } }],
                                },
                                "route": { "cluster": STATS_CLUSTER },
                            }],
                        }],
                    },
                    "http_filters": filters,
                },
            }],
        }],
    })
}

/// Listeners and clusters come over the one ADS stream; zero means: wait for them as long as it takes.
fn from_ads() -> Value {
    json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" })
}

/// Connections are limited always; the heap where there is a memory limit, so that Envoy gives memory back, and then
/// refuses requests, before the kernel kills it.
fn overload_manager(heap_limit: Option<u64>) -> Value {
    let mut monitors = vec![json!({
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": type_url(
                "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
            ),
            "max_active_downstream_connections": MAX_CONNECTIONS.to_string(),
        },
    })];
    let Some(limit) = heap_limit else {
        return json!({ "refresh_interval": "0.25s", "resource_monitors": monitors });
    };
    monitors.push(json!({
        "name": "envoy.resource_monitors.fixed_heap",
        "typed_config": {
            "@type": type_url("envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"),
            "max_heap_size_bytes": limit.to_string(),
        },
    }));
    let actions: Vec<Value> = [("shrink_heap", 0.95), ("stop_accepting_requests", 0.98)]
        .into_iter()
        .map(|(action, threshold)| {
            json!({
                "name": format!("envoy.overload_actions.{action}"),
                "triggers": [{
                    "name": "envoy.resource_monitors.fixed_heap",
                    "threshold": { "value": threshold },
                }],
            })
        })
        .collect();
    json!({ "refresh_interval": "0.25s", "resource_monitors": monitors, "actions": actions })
}
