//! Counters of the xDS server.

use ir::resource::ResourceType;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// The resource type, in its short name (`lds`, `rds`, …).
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TypeLabel {
    /// `lds`, `rds`, `cds`, `eds` or `sds`.
    r#type: &'static str,
}

impl From<ResourceType> for TypeLabel {
    fn from(kind: ResourceType) -> Self {
        TypeLabel { r#type: kind.short() }
    }
}

/// Counters of all streams. Clones share.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Connected streams.
    pub streams: Gauge,
    /// Streams that were refused or ended because their proxy may not have the resources.
    pub denied: Counter,
    /// Responses sent.
    pub pushes: Family<TypeLabel, Counter>,
    /// Bytes of resources sent.
    pub bytes: Family<TypeLabel, Counter>,
    /// Responses accepted.
    pub acks: Family<TypeLabel, Counter>,
    /// Responses refused.
    pub nacks: Family<TypeLabel, Counter>,
    /// Seconds from a response to its ACK.
    pub ack_latency: Histogram,
    /// Seconds that a route or listener waited for a new cluster.
    pub gate_waits: Histogram,
    /// Clusters that were not warm in time, so that routes went out before them.
    pub gate_timeouts: Counter,
    /// Resources and virtual hosts that are kept from new proxies because one refused them.
    pub quarantined: Gauge,
}

/// 1 ms to 16 s, doubling: below is noise, above is Envoy's own 15 s fetch timeout.
fn seconds() -> Histogram {
    Histogram::new((0..15).map(|n| 0.001 * f64::from(1_u32 << n)))
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            streams: Gauge::default(),
            denied: Counter::default(),
            pushes: Family::default(),
            bytes: Family::default(),
            acks: Family::default(),
            nacks: Family::default(),
            ack_latency: seconds(),
            gate_waits: seconds(),
            gate_timeouts: Counter::default(),
            quarantined: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Registers all of them under the prefix `xds`.
    pub fn register(&self, registry: &mut Registry) {
        let xds = registry.sub_registry_with_prefix("xds");
        xds.register("streams", "Connected xDS streams", self.streams.clone());
        xds.register("denied", "xDS streams refused for who their proxy is", self.denied.clone());
        xds.register("pushes", "xDS responses sent", self.pushes.clone());
        xds.register("bytes", "Bytes of xDS resources sent", self.bytes.clone());
        xds.register("acks", "xDS responses accepted by proxies", self.acks.clone());
        xds.register("nacks", "xDS responses refused by proxies", self.nacks.clone());
        xds.register("ack_seconds", "Time from a response to its ACK", self.ack_latency.clone());
        xds.register(
            "gate_wait_seconds",
            "Time that routes waited for new clusters",
            self.gate_waits.clone(),
        );
        xds.register("gate_timeouts", "Clusters that were not warm in time", self.gate_timeouts.clone());
        xds.register(
            "quarantined",
            "Resources and virtual hosts held back because a proxy refused them",
            self.quarantined.clone(),
        );
    }
}
