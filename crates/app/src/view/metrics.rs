//! Sizes and work of the pipeline as metrics, read at scrape time: nothing has to be kept in step.

use engine::Counters;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::check::Counts;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finding {
    code: &'static str,
    severity: &'static str,
}

/// Registers numbers of findings; codes without any are left out.
pub(crate) fn register_findings(registry: &mut Registry, counts: &Counts) {
    let findings = Family::<Finding, Gauge>::default();
    for (code, count) in counts.values() {
        let labels = Finding { code: code.id, severity: code.severity.name() };
        findings.get_or_create(&labels).set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    registry.register("findings", "What `ferrogate check` finds, by code", findings);
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
