//! What proxies said about resources, for whoever writes status.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ir::{
    ObjectRef,
    resource::{Delivery, ResourceType, Version},
};
use tokio::sync::watch;

/// What proxies of one fleet said about one resource, or about one virtual host of a route configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    /// The fleet's key.
    pub feed: Arc<str>,
    /// Type of the resource.
    pub kind: ResourceType,
    /// Name of the resource.
    pub name: Arc<str>,
    /// The virtual host, when the report concerns one alone.
    pub fragment: Option<Arc<str>>,
    /// The version that was accepted or refused; for a virtual host its content hash.
    pub version: Version,
    /// The verdict. One proxy that refuses outweighs others that accept.
    pub delivery: Delivery,
    /// The objects whose authors can mend it.
    pub owners: Box<[ObjectRef]>,
}

type Place = (Arc<str>, ResourceType, Arc<str>, Option<Arc<str>>);

/// The latest report of each resource: a table instead of a queue, so that a slow reader misses nothing that is
/// still true and memory is bounded by the number of resources.
///
/// It holds every refusal in force, and the acceptance of listeners and route configurations. A report is gone as
/// soon as the resource's content changes or the resource is removed.
#[derive(Clone, Debug)]
pub struct Deliveries {
    table: Arc<Mutex<BTreeMap<Place, DeliveryReport>>>,
    changes: watch::Sender<u64>,
}

impl Default for Deliveries {
    fn default() -> Self {
        Deliveries { table: Arc::default(), changes: watch::Sender::new(0) }
    }
}

impl Deliveries {
    /// A counter that rises with each change of the table; read the table again when it does.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All reports of a fleet, ascending by type, name and virtual host.
    pub fn of_feed(&self, feed: &str) -> Vec<DeliveryReport> {
        self.lock().values().filter(|r| r.feed.as_ref() == feed).cloned().collect()
    }

    /// All reports.
    pub fn all(&self) -> Vec<DeliveryReport> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn put(&self, report: DeliveryReport) {
        let place =
            (Arc::clone(&report.feed), report.kind, Arc::clone(&report.name), report.fragment.clone());
        let mut table = self.lock();
        if table.get(&place) == Some(&report) {
            return;
        }
        table.insert(place, report);
        drop(table);
        self.bump();
    }

    /// True when the resource as a whole is refused by some proxy.
    pub(crate) fn refused(&self, feed: &Arc<str>, kind: ResourceType, name: &Arc<str>) -> bool {
        let place = (Arc::clone(feed), kind, Arc::clone(name), None);
        matches!(self.lock().get(&place), Some(DeliveryReport { delivery: Delivery::Rejected { .. }, .. }))
    }

    /// Drops the reports of a resource that `keep` does not want.
    pub(crate) fn retain(
        &self,
        feed: &Arc<str>,
        kind: ResourceType,
        name: &Arc<str>,
        mut keep: impl FnMut(&DeliveryReport) -> bool,
    ) {
        let mut table = self.lock();
        if table.is_empty() {
            return;
        }
        let first = (Arc::clone(feed), kind, Arc::clone(name), None);
        let gone: Vec<Place> = table
            .range(first..)
            .take_while(|((f, k, n, _), _)| f == feed && *k == kind && n == name)
            .filter(|(_, report)| !keep(report))
            .map(|(place, _)| place.clone())
            .collect();
        for place in &gone {
            table.remove(place);
        }
        drop(table);
        if !gone.is_empty() {
            self.bump();
        }
    }

    pub(crate) fn forget(&self, feed: &str) {
        let mut table = self.lock();
        let before = table.len();
        table.retain(|(f, ..), _| f.as_ref() != feed);
        let changed = table.len() != before;
        drop(table);
        if changed {
            self.bump();
        }
    }

    fn bump(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Place, DeliveryReport>> {
        // A panic while the lock was held cannot leave the map half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
