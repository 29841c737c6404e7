//! Sizes and work of the pipeline as metrics, read at scrape time: nothing has to be kept in step.

use engine::Counters;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
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
