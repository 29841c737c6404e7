//! What the watch of an API server has done.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The kind of object, such as `HTTPRoute`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// `kind` of the documents.
    pub kind: &'static str,
}

/// Counters of all watches. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Objects that the API server sent, in lists and watches.
    pub events: Family<KindLabel, Counter>,
    /// Lists that were asked for in pages.
    pub lists: Family<KindLabel, Counter>,
    /// Watches that were begun; those that stream a list first are among them.
    pub watches: Family<KindLabel, Counter>,
    /// Requests that failed.
    pub failures: Family<KindLabel, Counter>,
    /// Secrets and ConfigMaps that were fetched because something began to refer to them.
    pub fetches: Family<KindLabel, Counter>,
    /// Objects that are known.
    pub objects: Family<KindLabel, Gauge>,
    /// Objects that do not fit their type.
    pub undecodable: Gauge,
}

impl Metrics {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kubernetes");
        registry.register("events", "Objects that the API server sent", self.events.clone());
        registry.register("lists", "Lists that were asked for in pages", self.lists.clone());
        registry.register("watches", "Watches that were begun", self.watches.clone());
        registry.register(
            "request_failures",
            "Requests to the API server that failed",
            self.failures.clone(),
        );
        registry.register(
            "fetches",
            "Secrets and ConfigMaps fetched for a new reference",
            self.fetches.clone(),
        );
        registry.register("objects", "Objects that are known", self.objects.clone());
        registry.register(
            "undecodable_objects",
            "Objects that do not fit their type",
            self.undecodable.clone(),
        );
    }

    /// The counters of one source.
    pub(super) fn source(&self, kind: &'static str) -> SourceMetrics {
        let label = KindLabel { kind };
        SourceMetrics {
            events: self.events.get_or_create(&label).clone(),
            lists: self.lists.get_or_create(&label).clone(),
            watches: self.watches.get_or_create(&label).clone(),
            failures: self.failures.get_or_create(&label).clone(),
        }
    }
}

/// Counters of one source.
#[derive(Clone, Debug)]
pub(super) struct SourceMetrics {
    pub(super) events: Counter,
    pub(super) lists: Counter,
    pub(super) watches: Counter,
    pub(super) failures: Counter,
}
