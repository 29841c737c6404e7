//! Envoy's bootstrap configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use bootstrap::{Base, HTTP_OPTIONS, Metrics, XDS_CLUSTER};
use serde_json::{Value, json};

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
    /// What it does with its statistics. Default: nothing is sent, and all are there.
    pub metrics: Metrics,
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
        let admin = json!({ "pipe": { "path": self.admin_socket, "mode": 0o600 } });
        let mut clusters = vec![self.xds_cluster()];
        let mut listeners = Vec::new();
        if let Some(address) = self.prometheus {
            clusters.push(bootstrap::stats_cluster(&json!({ "pipe": { "path": self.admin_socket } })));
            listeners.push(bootstrap::stats_listener(
                &address.ip().to_string(),
                address.port(),
                false,
                Vec::new(),
            ));
        }
        let metrics = self.metrics.clone();
        Base { node, admin, metrics, listeners, clusters, heap_limit: self.heap_limit }.to_json()
    }

    fn xds_cluster(&self) -> Value {
        json!({
            "name": XDS_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "10s",
            "load_assignment": bootstrap::endpoint(XDS_CLUSTER, &json!({ "pipe": { "path": self.xds_socket } })),
            "typed_extension_protocol_options": { HTTP_OPTIONS: bootstrap::xds_http_options() },
        })
    }
}
