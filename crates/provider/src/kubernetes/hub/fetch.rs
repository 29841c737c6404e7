//! Fetches beside the watch.

use std::sync::Arc;

use ir::ObjectRef;
use tokio::time::Instant;

use super::{Fetch, Hub, Order, Origin, SourceId};
use crate::kubernetes::{decode::Item, metrics::KindLabel, problems, server::Failure};

impl Hub {
    /// The source that watches an object of the registry.
    pub(super) fn source_of(&self, object: &ObjectRef) -> Option<SourceId> {
        let holds = |namespace: &Option<Arc<str>>| namespace.as_ref().is_none_or(|n| *n == object.namespace);
        self.sources
            .iter()
            .find(|(_, source)| {
                source.resource.object_kind() == Some(object.kind) && holds(&source.namespace)
            })
            .map(|(id, _)| *id)
    }

    /// Orders an object, if it is not on its way.
    pub(super) fn order_get(&mut self, id: SourceId, what: ObjectRef) {
        if !self.fetching.insert(what.clone()) {
            return;
        }
        self.order_get_again(id, what);
    }

    fn order_get_again(&mut self, id: SourceId, what: ObjectRef) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.fetches += 1;
        self.metrics.fetches.get_or_create(&KindLabel { kind: source.resource.kind }).inc();
        self.orders.push(Order::Get(Fetch { source: id, what, epoch: source.epoch }));
    }

    /// Orders the objects of one namespace.
    pub(super) fn order_list(&mut self, id: SourceId, what: Arc<str>) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.fetches += 1;
        self.orders.push(Order::List(Fetch { source: id, what, epoch: source.epoch }));
    }

    /// Takes a fetched object; none when there is no such object.
    pub(in crate::kubernetes) fn fetched(
        &mut self,
        fetch: Fetch<ObjectRef>,
        found: Result<Option<Item>, Failure>,
        now: Instant,
    ) {
        self.now = now;
        let Fetch { source: id, what, epoch } = fetch;
        let Some(source) = self.sources.get(&id) else {
            self.fetching.remove(&what);
            return self.arrived(&what);
        };
        if self.fetching.contains(&what) {
            if source.epoch != epoch {
                self.order_get_again(id, what);
                return self.answered(id);
            }
            self.fetching.remove(&what);
            match found {
                Ok(Some(item)) => self.item(id, item, Origin::Fetch),
                Ok(None) => {}
                Err(failure) => self.fetch_failed(id, &failure),
            }
            self.arrived(&what);
        }
        self.answered(id);
        self.count(id);
    }

    /// Takes the objects of a namespace.
    pub(in crate::kubernetes) fn listed(
        &mut self,
        fetch: Fetch<Arc<str>>,
        found: Result<Vec<Item>, Failure>,
        now: Instant,
    ) {
        self.now = now;
        let Fetch { source: id, what, epoch } = fetch;
        let Some(source) = self.sources.get(&id) else { return };
        if source.epoch != epoch && self.selected.contains(&what) {
            self.order_list(id, what);
            return self.answered(id);
        }
        match found {
            Ok(items) => items.into_iter().for_each(|item| self.item(id, item, Origin::Fetch)),
            Err(failure) => self.fetch_failed(id, &failure),
        }
        self.answered(id);
        self.count(id);
    }

    /// What may not be fetched comes with its next change, if the watch may tell of it.
    fn fetch_failed(&self, id: SourceId, failure: &Failure) {
        if let Some(source) = self.source(id) {
            problems::log_failure(source, failure);
        }
    }

    fn answered(&mut self, id: SourceId) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.fetches = source.fetches.saturating_sub(1);
        if source.fetches == 0 {
            source.tombstones.clear();
        }
    }
}
