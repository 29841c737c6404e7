//! The configuration before users change it, in protobuf's own field names: users' patches refer to these.

use api::envoyproxy::IpFamily;
use bootstrap::{Base, HTTP_OPTIONS, XDS_CLUSTER, socket, type_url};
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

/// Name of TLS as a transport.
pub(super) const TLS_SOCKET: &str = "envoy.transport_sockets.tls";

/// The configuration of a fleet.
pub(super) fn bootstrap(fleet: &Fleet<'_>) -> Value {
    let admin = admin_address(fleet);
    let zone_aware = fleet.context.installation.topology_injector;
    let mut clusters = Vec::new();
    let mut listeners = Vec::new();
    if fleet.parameters.prometheus() {
        clusters.push(bootstrap::stats_cluster(&admin));
        listeners.push(stats::listener(fleet));
    }
    clusters.push(xds_cluster(fleet));
    if zone_aware {
        clusters.push(local_cluster(&fleet.wish.fleet));
    }
    let node = json!({ "locality": { "zone": "$(ENVOY_SERVICE_ZONE)" } });
    let metrics = stats::metrics(fleet.parameters.metrics(), &fleet.wish.metric_sinks);
    let heap_limit = heap_limit(fleet);
    let mut bootstrap = Base { node, admin, metrics, listeners, clusters, heap_limit }.to_json();
    if zone_aware {
        bootstrap["cluster_manager"] = json!({ "local_cluster_name": fleet.wish.fleet });
    }
    bootstrap
}

fn admin_address(fleet: &Fleet<'_>) -> Value {
    let loopback = if fleet.parameters.ip_family() == IpFamily::IPv6 { "::1" } else { "127.0.0.1" };
    socket(loopback, names::ADMIN_PORT)
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
    let mut http = bootstrap::xds_http_options();
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
