//! Envoy's bootstrap configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

/// Cluster of our xDS server; the name is Envoy Gateway's, which users' bootstrap patches refer to.
const XDS_CLUSTER: &str = "xds_cluster";
/// Cluster of Envoy's own admin interface, for the Prometheus listener; likewise.
const STATS_CLUSTER: &str = "prometheus_stats";
/// Connections all listeners of a proxy accept together, as Envoy Gateway sets it.
const MAX_CONNECTIONS: u64 = 50_000;
/// `re2.max_program_size.error_level`: the control plane judges regular expressions, so Envoy takes any size.
const REGEX_ERROR_LEVEL: u64 = 4_294_967_295;

/// What differs between proxies; everything else of the bootstrap is the same for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// `node.id`: the name of the proxy.
    pub node_id: String,
    /// `node.cluster`: `namespace/name` of the Gateway, or the name of the class when Gateways are merged.
    pub cluster: String,
    /// `node.locality.zone`; absent where the host has none.
    pub zone: Option<String>,
    /// Unix socket of our xDS server (delta ADS over gRPC).
    pub xds_socket: PathBuf,
    /// Unix socket of the admin interface, made by Envoy with mode 0600.
    pub admin_socket: PathBuf,
    /// Address of a listener that serves `GET /stats/prometheus` and nothing else; absent: none.
    pub prometheus: Option<SocketAddr>,
    /// Bytes of heap that Envoy may use: at 95 % it gives memory back, at 98 % it refuses requests. Absent: no
    /// limit.
    pub heap_limit: Option<u64>,
}

impl Bootstrap {
    /// The configuration as `envoy --config-path` reads it (`envoy.config.bootstrap.v3.Bootstrap` in JSON).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut node = json!({ "id": self.node_id, "cluster": self.cluster });
        if let Some(zone) = &self.zone {
            node["locality"] = json!({ "zone": zone });
        }
        let mut clusters = vec![self.xds_cluster()];
        let mut listeners = Vec::new();
        if let Some(address) = self.prometheus {
            clusters.push(self.stats_cluster());
            listeners.push(stats_listener(address));
        }
        json!({
            "node": node,
            "admin": {
                "access_log": [{
                    "name": "envoy.access_loggers.file",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                        "path": "/dev/null",
                    },
                }],
                "address": { "pipe": { "path": self.admin_socket, "mode": 0o600 } },
            },
            "layered_runtime": {
                "layers": [{
                    "name": "global_config",
                    "static_layer": {
                        "re2.max_program_size.error_level": REGEX_ERROR_LEVEL,
                        "re2.max_program_size.warn_level": 1000,
                    },
                }],
            },
            "deferred_stat_options": { "enable_deferred_creation_stats": true },
            "stats_config": stats_config(),
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
            "static_resources": { "listeners": listeners, "clusters": clusters },
            "overload_manager": self.overload_manager(),
        })
    }

    fn xds_cluster(&self) -> Value {
        json!({
            "name": XDS_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "10s",
            "load_assignment": endpoint(XDS_CLUSTER, &json!({ "pipe": { "path": self.xds_socket } })),
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {
                        "http2_protocol_options": {
                            "connection_keepalive": { "interval": "30s", "timeout": "5s" },
                        },
                    },
                },
            },
        })
    }

    fn stats_cluster(&self) -> Value {
        json!({
            "name": STATS_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "0.250s",
            "load_assignment": endpoint(STATS_CLUSTER, &json!({ "pipe": { "path": self.admin_socket } })),
        })
    }

    fn overload_manager(&self) -> Value {
        let mut monitors = vec![json!({
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.\
                          DownstreamConnectionsConfig",
                "max_active_downstream_connections": MAX_CONNECTIONS,
            },
        })];
        let mut actions = Vec::new();
        if let Some(limit) = self.heap_limit {
            monitors.push(json!({
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": limit,
                },
            }));
            for (action, threshold) in [("shrink_heap", 0.95), ("stop_accepting_requests", 0.98)] {
                actions.push(json!({
                    "name": format!("envoy.overload_actions.{action}"),
                    "triggers": [{
                        "name": "envoy.resource_monitors.fixed_heap",
                        "threshold": { "value": threshold },
                    }],
                }));
            }
        }
        json!({ "refresh_interval": "0.25s", "resource_monitors": monitors, "actions": actions })
    }
}

/// Listeners and clusters come over the one ADS stream; zero means: wait for them as long as it takes.
fn from_ads() -> Value {
    json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" })
}

fn endpoint(cluster: &str, address: &Value) -> Value {
    json!({ "cluster_name": cluster, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }] })
}

/// Tags taken out of statistic names, so that zones, endpoints' match names and priorities are labels in Prometheus.
/// The first group of an expression is cut out of the name, the second is the tag's value
/// (`envoy.config.metrics.v3.TagSpecifier`).
fn stats_config() -> Value {
    let tag = |name: &str, regex: &str| json!({ "tag_name": name, "regex": regex });
    json!({
        "use_all_default_tags": true,
        "stats_tags": [
            tag("from_zone", r"^cluster\.(?:.+?\.)?zone\.(([^.]+)\.)[^.]+\."),
            tag("to_zone", r"^cluster\.(?:.+?\.)?zone\.[^.]+\.(([^.]+)\.)"),
            tag("socket_match_name", r"^cluster\.(?:.+?\.)?transport_socket_match\.(([^.]+)\.)"),
            tag("priority", r"^cluster\.(?:.+?\.)?circuit_breakers\.((default|high)\.)"),
        ],
    })
}

fn stats_listener(address: SocketAddr) -> Value {
    let socket =
        json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    json!({
        "name": format!("envoy-gateway-proxy-stats-{}-{}", address.ip(), address.port()),
        "address": socket,
        "bypass_overload_manager": true,
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
                              HttpConnectionManager",
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
                    "http_filters": [{
                        "name": "envoy.filters.http.router",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                        },
                    }],
                },
            }],
        }],
    })
}
