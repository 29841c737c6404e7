//! The configuration before users change it, in protobuf's own field names: users' patches refer to these.

use api::envoyproxy::IpFamily;
use serde_json::{Value, json};

use super::{heap_limit, stats};
use crate::{
    access::{
        CERTIFICATE_FILE, CERTIFICATE_SECRET, SDS, TOKEN_FILE, TOKEN_SECRET, TRUSTED_CA_FILE,
        TRUSTED_CA_SECRET,
    },
    metadata::Fleet,
    names,
};

/// Cluster of the control plane's xDS server.
pub(super) const XDS_CLUSTER: &str = "xds_cluster";
/// Connections that all listeners of a proxy accept together.
const MAX_CONNECTIONS: u64 = 50_000;
/// `re2.max_program_size.error_level`: the control plane judges regular expressions, so Envoy takes any size.
const REGEX_ERROR_LEVEL: u64 = 4_294_967_295;
/// `re2.max_program_size.warn_level`.
const REGEX_WARN_LEVEL: u64 = 1000;
/// Settings of HTTP for clusters.
pub(super) const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Name of TLS as a transport.
pub(super) const TLS_SOCKET: &str = "envoy.transport_sockets.tls";

/// A name of a message with the prefix that `Any` wants.
pub(super) fn type_url(name: &str) -> String {
    format!("type.googleapis.com/{name}")
}

/// The configuration of a fleet.
pub(super) fn bootstrap(fleet: &Fleet<'_>) -> Value {
    let admin = admin_address(fleet);
    let zone_aware = fleet.context.installation.topology_injector;
    let mut clusters = Vec::new();
    let mut listeners = Vec::new();
    if fleet.parameters.prometheus() {
        clusters.push(stats::cluster(&admin));
        listeners.push(stats::listener(fleet));
    }
    clusters.push(xds_cluster(fleet));
    if zone_aware {
        clusters.push(local_cluster(&fleet.wish.fleet));
    }
    clusters.extend(stats::sink_clusters(fleet));
    let mut bootstrap = json!({
        "node": { "locality": { "zone": "$(ENVOY_SERVICE_ZONE)" } },
        "admin": {
            "access_log": [{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": type_url("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
                    "path": "/dev/null",
                },
            }],
            "address": admin,
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
        "stats_config": stats::config(fleet),
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
        "overload_manager": overload_manager(heap_limit(fleet)),
    });
    if zone_aware {
        bootstrap["cluster_manager"] = json!({ "local_cluster_name": fleet.wish.fleet });
    }
    let sinks = stats::sinks(fleet);
    if !sinks.is_empty() {
        bootstrap["stats_sinks"] = sinks.into();
    }
    bootstrap
}

fn admin_address(fleet: &Fleet<'_>) -> Value {
    let loopback = if fleet.parameters.ip_family() == IpFamily::IPv6 { "::1" } else { "127.0.0.1" };
    socket(loopback, names::ADMIN_PORT)
}

pub(super) fn socket(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

/// Listeners and clusters come over the one ADS stream; zero means: wait for them as long as it takes.
fn from_ads() -> Value {
    json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" })
}

pub(super) fn endpoint(cluster: &str, address: &Value) -> Value {
    json!({ "cluster_name": cluster, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }] })
}

fn from_file(name: &str, file: &str) -> Value {
    json!({
        "name": name,
        "sds_config": {
            "path_config_source": { "path": format!("{SDS}/{file}") },
            "resource_api_version": "V3",
        },
    })
}

/// The control plane. Both sides trust the same authority; proxies beside their Gateway have no certificate and send
/// the token of their service account instead.
fn xds_cluster(fleet: &Fleet<'_>) -> Value {
    // The dot at the end keeps the search domains of the Pod away.
    let address = socket(&format!("{}.", fleet.controller_host()), names::XDS_PORT);
    let mut http = json!({
        "@type": type_url(HTTP_OPTIONS),
        "explicit_http_config": {
            "http2_protocol_options": { "connection_keepalive": { "interval": "30s", "timeout": "5s" } },
        },
    });
    let mut tls = json!({
        "tls_params": { "tls_maximum_protocol_version": "TLSv1_3" },
        "validation_context_sds_secret_config": from_file(TRUSTED_CA_SECRET, TRUSTED_CA_FILE),
    });
    if fleet.beside_gateway() {
        http["http_filters"] = json!([
            {
                "name": "envoy.filters.http.credential_injector",
                "typed_config": {
                    "@type": type_url("envoy.extensions.filters.http.credential_injector.v3.CredentialInjector"),
                    "overwrite": true,
                    "credential": {
                        "name": "envoy.http.injected_credentials.generic",
                        "typed_config": {
                            "@type": type_url("envoy.extensions.http.injected_credentials.generic.v3.Generic"),
                            "credential": from_file(TOKEN_SECRET, TOKEN_FILE),
                            "header": "authorization",
                            "header_value_prefix": "Bearer ",
                        },
                    },
                },
            },
            {
                "name": "envoy.filters.http.upstream_codec",
                "typed_config": {
                    "@type": type_url("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"),
                },
            },
        ]);
    } else {
        tls["tls_certificate_sds_secret_configs"] = json!([from_file(CERTIFICATE_SECRET, CERTIFICATE_FILE)]);
    }
    json!({
        "name": XDS_CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "10s",
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{
                "load_balancing_weight": 1,
                "lb_endpoints": [{ "load_balancing_weight": 1, "endpoint": { "address": address } }],
            }],
        },
        "typed_extension_protocol_options": { HTTP_OPTIONS: http },
        "transport_socket": {
            "name": TLS_SOCKET,
            "typed_config": {
                "@type": type_url("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
                "common_tls_context": tls,
            },
        },
    })
}

/// The fleet itself: by the zones of its Pods, routing by zone knows what share of a zone's traffic stays there.
fn local_cluster(fleet: &str) -> Value {
    json!({
        "name": fleet,
        "type": "EDS",
        "connect_timeout": "10s",
        "eds_cluster_config": {
            "eds_config": { "ads": {}, "resource_api_version": "V3" },
            "service_name": fleet,
        },
        "load_balancing_policy": {
            "policies": [{
                "typed_extension_config": {
                    "name": "envoy.load_balancing_policies.least_request",
                    "typed_config": {
                        "@type": type_url("envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest"),
                        "locality_lb_config": { "zone_aware_lb_config": { "min_cluster_size": "1" } },
                    },
                },
            }],
        },
    })
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
