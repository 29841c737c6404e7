//! Sizes and work of the pipeline as metrics, read at scrape time: nothing has to be kept in step.

use engine::Counters;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::watchdog::Found;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finding {
    code: &'static str,
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Secret {
    namespace: String,
    secret: String,
}

/// Registers numbers of findings, codes without any left out, and the ends of certificates.
pub(crate) fn register_found(registry: &mut Registry, found: &Found) {
    let findings = Family::<Finding, Gauge>::default();
    for (code, count) in found.counts.values() {
        let labels = Finding { code: code.id, severity: code.severity.name() };
        findings.get_or_create(&labels).set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    registry.register("findings", "What `ferrogate check` finds, by code", findings);
    let certificates = Family::<Secret, Gauge>::default();
    for (secret, end) in &found.certificates {
        let labels = Secret { namespace: secret.namespace.to_string(), secret: secret.name.to_string() };
        certificates.get_or_create(&labels).set(*end);
    }
    registry.register(
        "certificate_expiration_timestamp_seconds",
        "When a certificate that a listener shows ends, in seconds since 1970, by Secret",
        certificates,
    );
}

/// Registers the pipeline's numbers of this moment.
pub(crate) fn register(
    registry: &mut Registry,
    facts: usize,
    names: usize,
    revision: u64,
    counters: &[(&'static str, Counters)],
) {
    let gauge = |value: usize| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge
    };
    registry.register("facts", "Objects that translation reads", gauge(facts));
    registry.register("interned_names", "Names of objects, hosts and namespaces", gauge(names));
    let commits = Counter::<u64>::default();
    commits.inc_by(revision);
    registry.register("commits", "Transactions since the start", commits);
    let (recomputed, changed) = (Family::<Stage, Counter>::default(), Family::<Stage, Counter>::default());
    for (stage, work) in counters {
        recomputed.get_or_create(&Stage { stage }).inc_by(work.recomputed);
        changed.get_or_create(&Stage { stage }).inc_by(work.changed);
    }
    registry.register("units_recomputed", "Units that ran, by stage", recomputed);
    registry.register("outputs_changed", "Outputs that changed, by stage", changed);
}
