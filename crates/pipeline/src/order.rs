//! Ordered collections that outputs contribute to, kept by insertion and removal instead of sorting.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::{Buckets, Counts};
use ir::resource::Fragment;
use rustc_hash::FxHashMap;
use store::{NameId, ObjectId, Store};
use translate::{
    AttachOutput, EntryKey, Host, ListenerId, Overlap, Place, TableKey, VirtualHostKey, precedence::OrderKey,
};
use xds::entry::{Entries, PlacedRoute};

/// The routes of one virtual host.
#[derive(Debug, Default)]
pub(crate) struct HostEntries {
    /// Encoded routes in the order in which Envoy shall try them.
    pub routes: BTreeSet<PlacedRoute>,
    /// Clusters that they name, with the number of routes that do.
    pub clusters: BTreeMap<Arc<str>, u32>,
    /// Routes that contribute.
    pub owners: BTreeSet<ObjectId>,
    /// Routes by the hash of what they match; more than one means that they take the same requests.
    matches: FxHashMap<u64, BTreeSet<ObjectId>>,
}

/// The routes of all virtual hosts.
#[derive(Debug, Default)]
pub(crate) struct HostIndex {
    hosts: FxHashMap<VirtualHostKey, HostEntries>,
    /// Routes that share a match with the route, with the virtual host where they do.
    overlaps: FxHashMap<ObjectId, BTreeMap<ObjectId, BTreeSet<(VirtualHostKey, u64)>>>,
}

impl HostIndex {
    pub(crate) fn get(&self, key: VirtualHostKey) -> Option<&HostEntries> {
        self.hosts.get(&key)
    }

    /// Replaces the contribution of a route. Returns the routes whose overlaps changed.
    pub(crate) fn replace(
        &mut self,
        key: EntryKey,
        old: Option<&Entries>,
        new: Option<&Entries>,
    ) -> BTreeSet<ObjectId> {
        let mut touched = BTreeSet::new();
        let host = self.hosts.entry(key.virtual_host).or_default();
        if let Some(old) = old {
            for route in &old.routes {
                host.routes.remove(route);
            }
            for cluster in &old.clusters {
                if let Some(count) = host.clusters.get_mut(cluster) {
                    *count -= 1;
                    if *count == 0 {
                        host.clusters.remove(cluster);
                    }
                }
            }
            host.owners.remove(&key.route);
        }
        if let Some(new) = new {
            host.routes.extend(new.routes.iter().cloned());
            for cluster in &new.clusters {
                *host.clusters.entry(cluster.clone()).or_insert(0) += 1;
            }
            host.owners.insert(key.route);
        }
        let matches = |entries: Option<&Entries>| entries.map_or(&[][..], |e| &e.matches).to_vec();
        let (old, new) = (matches(old), matches(new));
        for hash in old.iter().filter(|h| new.binary_search(h).is_err()) {
            self.unmatch(key, *hash, &mut touched);
        }
        for hash in new.iter().filter(|h| old.binary_search(h).is_err()) {
            self.matched(key, *hash, &mut touched);
        }
        if self.hosts.get(&key.virtual_host).is_some_and(|h| h.owners.is_empty()) {
            self.hosts.remove(&key.virtual_host);
        }
        touched
    }

    fn matched(&mut self, key: EntryKey, hash: u64, touched: &mut BTreeSet<ObjectId>) {
        let Some(host) = self.hosts.get_mut(&key.virtual_host) else { return };
        let routes = host.matches.entry(hash).or_default();
        for other in routes.iter().copied().filter(|r| *r != key.route) {
            for (a, b) in [(other, key.route), (key.route, other)] {
                self.overlaps.entry(a).or_default().entry(b).or_default().insert((key.virtual_host, hash));
                touched.insert(a);
            }
        }
        routes.insert(key.route);
    }

    fn unmatch(&mut self, key: EntryKey, hash: u64, touched: &mut BTreeSet<ObjectId>) {
        let Some(host) = self.hosts.get_mut(&key.virtual_host) else { return };
        let Some(routes) = host.matches.get_mut(&hash) else { return };
        routes.remove(&key.route);
        let others: Vec<ObjectId> = routes.iter().copied().collect();
        if others.is_empty() {
            host.matches.remove(&hash);
        }
        for other in others {
            for (a, b) in [(other, key.route), (key.route, other)] {
                if let Some(of_a) = self.overlaps.get_mut(&a) {
                    if let Some(places) = of_a.get_mut(&b) {
                        places.remove(&(key.virtual_host, hash));
                        if places.is_empty() {
                            of_a.remove(&b);
                        }
                    }
                    if of_a.is_empty() {
                        self.overlaps.remove(&a);
                    }
                }
                touched.insert(a);
            }
        }
    }

    /// Routes of whatever kind that take the same requests as a route, with the listener where they do.
    pub(crate) fn overlaps(&self, route: ObjectId) -> BTreeSet<Overlap> {
        let of_route = self.overlaps.get(&route).into_iter().flatten();
        of_route
            .flat_map(|(other, places)| {
                places.iter().map(|(host, _)| Overlap { listener: host.listener, route: *other })
            })
            .collect()
    }
}

/// A virtual host's place in its table: those that refuse other listeners' requests last, then by listener, then by the
/// order of its first route (those without any come first), then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPlace {
    pub misdirected: bool,
    pub listener: Place,
    pub first: Option<Arc<OrderKey>>,
    pub name: Arc<str>,
}

/// The virtual hosts of all tables.
#[derive(Debug, Default)]
pub(crate) struct TableIndex {
    tables: FxHashMap<TableKey, BTreeMap<HostPlace, Arc<Fragment>>>,
}

impl TableIndex {
    pub(crate) fn insert(&mut self, table: TableKey, place: HostPlace, fragment: Arc<Fragment>) {
        self.tables.entry(table).or_default().insert(place, fragment);
    }

    pub(crate) fn remove(&mut self, table: TableKey, place: &HostPlace) {
        if let Some(hosts) = self.tables.get_mut(&table) {
            hosts.remove(place);
            if hosts.is_empty() {
                self.tables.remove(&table);
            }
        }
    }

    /// The virtual hosts of a table, in order.
    pub(crate) fn fragments(&self, table: TableKey) -> Arc<[Arc<Fragment>]> {
        self.tables.get(&table).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }
}

/// Routes of connections and datagrams by listener, with the hosts that they answer there.
#[derive(Debug, Default)]
pub(crate) struct Layer4Index {
    of_listener: FxHashMap<ListenerId, HostsByRoute>,
}

type HostsByRoute = BTreeMap<ObjectId, Box<[Host]>>;

impl Layer4Index {
    /// Replaces where a route is attached. Returns the listeners for which that changes something.
    pub(crate) fn replace(
        &mut self,
        route: ObjectId,
        old: Option<&AttachOutput>,
        new: Option<&AttachOutput>,
    ) -> Vec<ListenerId> {
        let (old, new) = (by_listener(old), by_listener(new));
        let changed = |listener: &&ListenerId| old.get(*listener) != new.get(*listener);
        let touched: BTreeSet<ListenerId> = old.keys().chain(new.keys()).filter(changed).copied().collect();
        for listener in &touched {
            let routes = self.of_listener.entry(*listener).or_default();
            match new.get(listener) {
                Some(hosts) => drop(routes.insert(route, (*hosts).into())),
                None => drop(routes.remove(&route)),
            }
            if routes.is_empty() {
                self.of_listener.remove(listener);
            }
        }
        touched.into_iter().collect()
    }

    /// The routes of a listener, by id.
    pub(crate) fn routes(&self, listener: ListenerId) -> Vec<(ObjectId, &[Host])> {
        let routes = self.of_listener.get(&listener).into_iter().flatten();
        routes.map(|(route, hosts)| (*route, &**hosts)).collect()
    }
}

/// Hostnames without wildcard of the routes on each listener, with the number of routes that have each.
#[derive(Debug, Default)]
pub(crate) struct RouteHosts {
    counts: Counts<(ListenerId, NameId)>,
    pub(crate) names: Buckets<ListenerId, NameId>,
}

impl RouteHosts {
    /// Replaces where a route is attached. Returns the listeners for which that changes something.
    pub(crate) fn replace(
        &mut self,
        old: Option<&AttachOutput>,
        new: Option<&AttachOutput>,
        store: &Store,
    ) -> BTreeSet<ListenerId> {
        let exact = |output: Option<&AttachOutput>| -> Vec<(ListenerId, NameId)> {
            let hosts = by_listener(output).into_iter();
            let pairs = hosts.flat_map(|(listener, hosts)| hosts.iter().map(move |host| (listener, *host)));
            pairs
                .filter_map(|(listener, host)| match host {
                    Host::Name(name) if !store.name(name).starts_with('*') => Some((listener, name)),
                    Host::Name(_) | Host::Any => None,
                })
                .collect()
        };
        let mut touched = BTreeSet::new();
        // What is new counts before what is old goes, so that nothing passes through zero.
        for (listener, name) in exact(new) {
            if self.counts.increment((listener, name)) {
                self.names.insert(listener, name);
                touched.insert(listener);
            }
        }
        for (listener, name) in exact(old) {
            if self.counts.decrement((listener, name)) {
                self.names.remove(listener, name);
                touched.insert(listener);
            }
        }
        touched
    }
}

/// Hosts by listener. Two parent references that select the same listener give it the same hosts.
fn by_listener(output: Option<&AttachOutput>) -> BTreeMap<ListenerId, &[Host]> {
    let parents = output.into_iter().flat_map(|a| a.parents.iter());
    parents.flat_map(|p| p.bindings.iter().map(|b| (b.listener, &*b.hosts))).collect()
}
