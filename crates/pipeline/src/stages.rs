//! The stages and the indexes between them, in the order in which they run.

mod emit;
mod explain;
mod features;
mod policies;
mod publish;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::{Buckets, Counters, Counts, Dirty, Reads, Table};
use ir::{
    Kind,
    resource::{Fragment, Resource},
    status::Status,
};
use rustc_hash::{FxHashMap, FxHashSet};
use store::{Fact, FactKey, ObjectId, Store};
use translate::{
    AttachOutput, ClusterKey, ClusterPlan, Dep, EntryKey, GatewayOutput, GatewayTable, PolicyOutput, Reader,
    RouteOutput, TableKey, VirtualHostKey, attach, gateway,
    policy::{self, Relations},
    route, status,
};
use xds::entry::Entries;

use crate::{
    Commit, Fleet, isolation,
    order::{HostIndex, HostPlace, Layer4Index, TableIndex},
};
pub use explain::{Explanation, HostView};
use features::FeatureIndex;
pub(crate) use publish::Publication;

/// Parameters are judged by whoever makes objects of them.
fn judge(parameters: &Arc<serde_json::Value>, installation: &ir::infra::Installation) -> Result<(), String> {
    infra::judge(parameters, installation).map_err(|error| error.to_string())
}

/// A virtual host with its place among the others of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostOutput {
    pub place: HostPlace,
    pub fragment: Arc<Fragment>,
}

/// An encoded listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenerOutput {
    pub resource: Arc<Resource>,
    /// Routes whose clusters it names itself, ascending.
    pub routes: Box<[ObjectId]>,
}

/// A Gateway's proxies as a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalOutput {
    /// The cluster with its endpoints; `None` while no Service for the proxies is known. An output all the same, so
    /// that the Service wakes it.
    pub resources: Option<(Arc<Resource>, Arc<Resource>)>,
}

/// All tables, in the order in which they run, and the indexes that their outputs contribute to.
#[derive(Debug)]
pub(crate) struct Stages {
    gateways: Table<ObjectId, GatewayOutput, Dep>,
    attached: Table<ObjectId, AttachOutput, Dep>,
    routes: Table<ObjectId, RouteOutput, Dep>,
    policies: Table<ObjectId, PolicyOutput, Dep>,
    clusters: Table<ClusterKey, Arc<Resource>, Dep>,
    endpoints: Table<ClusterKey, Arc<Resource>, Dep>,
    entries: Table<EntryKey, Entries, Dep>,
    hosts: Table<VirtualHostKey, HostOutput, Dep>,
    tables: Table<TableKey, Arc<Resource>, Dep>,
    listeners: Table<(ObjectId, u16), ListenerOutput, Dep>,
    secrets: Table<ObjectId, Arc<Resource>, Dep>,
    locals: Table<ObjectId, LocalOutput, Dep>,
    statuses: Table<ObjectId, Status, Dep>,

    /// Routes on each listener: `attachedRoutes`.
    attached_routes: Counts<(ObjectId, u16)>,
    /// Entries that attachment asks for.
    wanted_entries: FxHashSet<EntryKey>,
    /// Routes of connections and datagrams by listener.
    layer4: Layer4Index,
    /// Listeners that name the clusters of a route of connections or datagrams, by route and Gateway.
    layer4_users: Counts<(ObjectId, ObjectId)>,
    /// Listeners of a Gateway that close connections.
    closing: Counts<ObjectId>,
    /// Gateways that serve a route: they need its clusters.
    route_gateways: Buckets<ObjectId, ObjectId>,
    /// Gateways that serve a certificate.
    secret_gateways: Buckets<ObjectId, ObjectId>,
    /// HTTP filters that routes ask for, by table.
    features: FeatureIndex,
    /// How policies of a kind relate to each other, by the Gateway that contains them.
    relations: FxHashMap<(Kind, ObjectId), Relations>,
    host_index: HostIndex,
    broad_hosts: isolation::BroadHosts,
    table_index: TableIndex,
    fleets: BTreeMap<Arc<str>, Fleet>,
}

impl Default for Stages {
    fn default() -> Self {
        Stages {
            gateways: Table::new("gateway"),
            attached: Table::new("attach"),
            routes: Table::new("route"),
            policies: Table::new("policy"),
            clusters: Table::new("cluster"),
            endpoints: Table::new("endpoints"),
            entries: Table::new("entry"),
            hosts: Table::new("virtual_host"),
            tables: Table::new("route_configuration"),
            listeners: Table::new("listener"),
            secrets: Table::new("secret"),
            locals: Table::new("local_cluster"),
            statuses: Table::new("status"),
            attached_routes: Counts::default(),
            wanted_entries: FxHashSet::default(),
            layer4: Layer4Index::default(),
            layer4_users: Counts::default(),
            closing: Counts::default(),
            route_gateways: Buckets::default(),
            secret_gateways: Buckets::default(),
            features: FeatureIndex::default(),
            relations: FxHashMap::default(),
            host_index: HostIndex::default(),
            broad_hosts: isolation::BroadHosts::default(),
            table_index: TableIndex::default(),
            fleets: BTreeMap::new(),
        }
    }
}

/// What one run has touched so far, between stages.
#[derive(Debug, Default)]
pub(crate) struct Run {
    dirty: Dirty<Dep>,
    roots: Roots,
    publication: Publication,
}

/// Units that have to run although nothing that they read changed: their object, or their place in an index, did.
#[derive(Debug, Default)]
struct Roots {
    gateways: BTreeSet<ObjectId>,
    routes: BTreeSet<ObjectId>,
    policies: BTreeSet<ObjectId>,
    statuses: BTreeSet<ObjectId>,
    clusters: BTreeSet<ClusterKey>,
    entries: BTreeSet<EntryKey>,
    hosts: BTreeSet<VirtualHostKey>,
    tables: BTreeSet<TableKey>,
    listeners: BTreeSet<(ObjectId, u16)>,
    secrets: BTreeSet<ObjectId>,
}

impl Roots {
    fn of_facts(store: &Store, dirty: &Dirty<FactKey>) -> Roots {
        let mut roots = Roots::default();
        if dirty.contains(FactKey::Settings) {
            // Classes of another controller have no status and so no reads that could wake them.
            roots.statuses.extend(store.of_kind(Kind::GatewayClass));
            roots.statuses.extend(store.of_kind(Kind::EnvoyProxy));
        }
        for key in dirty.iter() {
            if let FactKey::ReferrersOf(proxy) = key {
                roots.statuses.insert(proxy);
            }
            let FactKey::Object(id) = key else { continue };
            roots.statuses.extend(store.fact(id).and_then(Fact::parameters));
            match store.object(id).map(|object| object.kind) {
                Some(Kind::Gateway) => drop((roots.gateways.insert(id), roots.statuses.insert(id))),
                Some(Kind::GatewayClass | Kind::Backend | Kind::EnvoyProxy) => {
                    roots.statuses.insert(id);
                }
                Some(kind) if route::of(kind).is_some() => {
                    roots.routes.insert(id);
                    roots.statuses.insert(id);
                }
                Some(kind) if policy::of(kind).is_some() => {
                    roots.policies.insert(id);
                    roots.statuses.insert(id);
                }
                _ => {}
            }
        }
        roots
    }
}

impl Stages {
    /// Runs all stages over what was touched in the store.
    pub(crate) fn run(&mut self, store: &Store, facts: &Dirty<FactKey>) -> Commit {
        let mut run = Run { roots: Roots::of_facts(store, facts), ..Run::default() };
        run.dirty.extend(facts.iter().map(Dep::Fact));
        self.run_gateways(store, &mut run);
        self.run_routes(store, &mut run);
        self.run_attached(store, &mut run);
        self.run_policies(store, &mut run);
        self.run_emit(store, &mut run);
        let statuses = self.run_statuses(store, &mut run);
        let mut commit = self.publish(&run.publication);
        commit.statuses = statuses;
        commit
    }

    fn run_gateways(&mut self, store: &Store, run: &mut Run) {
        let Run { dirty, roots, publication } = run;
        let secret_gateways = &mut self.secret_gateways;
        let mut touched = Vec::new();
        let unit = |id, reads: &mut Reads<Dep>| gateway::unit(id, &mut Reader::new(store, reads), judge);
        self.gateways.update(dirty, std::mem::take(&mut roots.gateways), unit, |change| {
            let id = change.key;
            let (old, new) = (change.old, change.new);
            // The attachment of routes depends on whether the Gateway is ours at all, too.
            if old.map(|g| (g.managed, &g.listeners)) != new.map(|g| (g.managed, &g.listeners)) {
                touched.push(Dep::Listeners(id));
                for gateway in [old, new].into_iter().flatten() {
                    roots.hosts.extend(isolation::own_hosts(id, &gateway.listeners));
                }
            }
            if old.map(|g| &g.status) != new.map(|g| &g.status)
                || old.map(|g| g.managed) != new.map(|g| g.managed)
            {
                touched.push(Dep::GatewayStatus(id));
            }
            if old.map(|g| &g.sockets) != new.map(|g| &g.sockets) {
                touched.push(Dep::Sockets(id));
                for gateway in [old, new].into_iter().flatten() {
                    // At most 64 listeners by the schema, each with at most 16 addresses.
                    roots.listeners.extend((0..gateway.sockets.len()).map(|i| (id, i as u16)));
                    roots.tables.extend(emit::tables_of(id, gateway));
                }
            }
            for (gateway, adding) in [(new, true), (old, false)] {
                for secret in gateway.map_or(&[][..], |g| &g.certificates) {
                    let kept = new.is_some_and(|g| g.certificates.contains(secret));
                    if adding {
                        secret_gateways.insert(*secret, id);
                    } else if !kept {
                        secret_gateways.remove(*secret, id);
                    }
                    roots.secrets.insert(*secret);
                    publication.secret_moved(*secret, id);
                }
            }
            roots.statuses.insert(id);
            // An EnvoyProxy has no status while none of its Gateways is ours, so no read of it can tell.
            roots.statuses.extend(store.fact(id).and_then(Fact::parameters));
            publication.gateway(id, old, new);
            publication.fixed(id, old, new);
        });
        dirty.extend(touched);
    }

    fn run_routes(&mut self, store: &Store, run: &mut Run) {
        let Run { dirty, roots, .. } = run;
        let route_gateways = &self.route_gateways;
        let mut touched = Vec::new();
        let unit = |id, reads: &mut Reads<Dep>| route::unit(id, &mut Reader::new(store, reads));
        self.routes.update(dirty, roots.routes.clone(), unit, |change| {
            let id = change.key;
            let (old, new) = (change.old, change.new);
            let rules = |r: &RouteOutput| (r.rules.clone(), r.rule_names.clone(), r.origin.created);
            if old.map(rules) != new.map(rules) {
                touched.push(Dep::Rules(id));
            }
            if old.map(|r| (&r.layer4, r.origin.created)) != new.map(|r| (&r.layer4, r.origin.created)) {
                touched.push(Dep::Layer4(id));
            }
            if old.map(|r| &r.plans) != new.map(|r| &r.plans) {
                touched.push(Dep::Plans(id));
                for route in [old, new].into_iter().flatten() {
                    roots.clusters.extend(clusters_of(id, route, route_gateways));
                }
            }
            if old.map(|r| (&r.findings, &r.origin)) != new.map(|r| (&r.findings, &r.origin)) {
                touched.push(Dep::RouteFindings(id));
            }
            roots.statuses.insert(id);
        });
        dirty.extend(touched);
    }

    fn run_attached(&mut self, store: &Store, run: &mut Run) {
        let Run { dirty, roots, .. } = run;
        let (gateways, routes) = (GatewayTable(&self.gateways), &self.routes);
        let (counts, wanted) = (&mut self.attached_routes, &mut self.wanted_entries);
        let (route_gateways, layer4) = (&mut self.route_gateways, &mut self.layer4);
        let mut touched = Vec::new();
        let unit = |id, reads: &mut Reads<Dep>| attach::unit(id, &mut Reader::new(store, reads), gateways);
        self.attached.update(dirty, std::mem::take(&mut roots.routes), unit, |change| {
            let id = change.key;
            touched.push(Dep::Attached(id));
            roots.statuses.insert(id);
            for key in counted(change.new) {
                counts.increment(key);
                touched.push(Dep::AttachedRoutes(key.0));
            }
            for key in counted(change.old) {
                counts.decrement(key);
                touched.push(Dep::AttachedRoutes(key.0));
            }
            if is_layer4(store, id) {
                let listeners = layer4.replace(id, change.old, change.new).into_iter();
                touched.extend(listeners.map(|(gateway, listener)| Dep::Layer4Routes(gateway, listener)));
                return;
            }
            let (old, new) = (entries_of(id, change.old), entries_of(id, change.new));
            for key in old.difference(&new) {
                wanted.remove(key);
                roots.entries.insert(*key);
            }
            for key in new.difference(&old) {
                wanted.insert(*key);
                roots.entries.insert(*key);
            }
            let gateways_of = |entries: &BTreeSet<EntryKey>| -> BTreeSet<ObjectId> {
                entries.iter().map(|key| key.virtual_host.table.gateway).collect()
            };
            let (old, new) = (gateways_of(&old), gateways_of(&new));
            for gateway in old.symmetric_difference(&new) {
                if new.contains(gateway) {
                    route_gateways.insert(id, *gateway);
                } else {
                    route_gateways.remove(id, *gateway);
                }
                let plans = routes.get(id).map_or(&[][..], |route| &route.plans);
                roots.clusters.extend(plans.iter().map(|plan| cluster_key(*gateway, id, plan)));
            }
        });
        dirty.extend(touched);
    }

    fn run_statuses(&mut self, store: &Store, run: &mut Run) -> Vec<(ir::ObjectRef, Option<Status>)> {
        let mut changed = Vec::new();
        let (gateways, routes, attached) = (&self.gateways, &self.routes, &self.attached);
        let (counts, hosts) = (&self.attached_routes, &self.host_index);
        let (policies, relations) = (&self.policies, &self.relations);
        let unit = |id: ObjectId, reads: &mut Reads<Dep>| {
            let reader = &mut Reader::new(store, reads);
            match store.object(id)?.kind {
                Kind::GatewayClass => status::gateway_class(id, reader, judge),
                Kind::EnvoyProxy => status::envoy_proxy(id, reader, judge, GatewayTable(gateways)),
                Kind::Gateway => status::gateway(id, reader, gateways.get(id), counts),
                Kind::Backend => status::backend(id, reader),
                kind if route::of(kind).is_some() => {
                    status::route(id, reader, attached.get(id), routes.get(id), &|route| {
                        hosts.overlaps(route)
                    })
                }
                kind if policy::of(kind).is_some() => {
                    policy::status(id, reader, policies.get(id), |gateway| relations.get(&(kind, gateway)))
                }
                _ => None,
            }
        };
        self.statuses.update(&run.dirty, std::mem::take(&mut run.roots.statuses), unit, |change| {
            if let Some(status) = change.new.or(change.old) {
                changed.push((status.object.clone(), change.new.cloned()));
            }
        });
        changed
    }

    /// Names of the stages with the work that each has done.
    pub(crate) fn counters(&self) -> Vec<(&'static str, Counters)> {
        vec![
            (self.gateways.name(), self.gateways.counters()),
            (self.routes.name(), self.routes.counters()),
            (self.attached.name(), self.attached.counters()),
            (self.policies.name(), self.policies.counters()),
            (self.clusters.name(), self.clusters.counters()),
            (self.endpoints.name(), self.endpoints.counters()),
            (self.entries.name(), self.entries.counters()),
            (self.hosts.name(), self.hosts.counters()),
            (self.tables.name(), self.tables.counters()),
            (self.listeners.name(), self.listeners.counters()),
            (self.secrets.name(), self.secrets.counters()),
            (self.locals.name(), self.locals.counters()),
            (self.statuses.name(), self.statuses.counters()),
        ]
    }

    pub(crate) fn fleets(&self) -> &BTreeMap<Arc<str>, Fleet> {
        &self.fleets
    }

    /// The status of one object.
    pub(crate) fn status(&self, object: ObjectId) -> Option<&Status> {
        self.statuses.get(object)
    }

    /// Every status, ordered by object.
    pub(crate) fn statuses(&self) -> Vec<&Status> {
        let mut all: Vec<&Status> = self.statuses.iter().map(|(_, status)| status).collect();
        all.sort_unstable_by(|a, b| a.object.cmp(&b.object));
        all
    }
}

/// True for routes of connections and datagrams.
fn is_layer4(store: &Store, id: ObjectId) -> bool {
    store.object(id).and_then(|object| route::of(object.kind)).is_some_and(|kind| kind.is_layer4())
}

fn cluster_key(gateway: ObjectId, route: ObjectId, plan: &ClusterPlan) -> ClusterKey {
    ClusterKey { gateway, route, rule: plan.rule, slot: plan.slot }
}

/// The clusters of a route at the Gateways that it is bound to.
fn clusters_of(
    id: ObjectId,
    route: &RouteOutput,
    gateways: &Buckets<ObjectId, ObjectId>,
) -> BTreeSet<ClusterKey> {
    let keys = |gateway| route.plans.iter().map(move |plan| cluster_key(gateway, id, plan));
    gateways.members(id).flat_map(keys).collect()
}

fn counted(output: Option<&AttachOutput>) -> BTreeSet<(ObjectId, u16)> {
    // A route that names a listener twice, by two parent references, counts once.
    let parents = output.into_iter().flat_map(|a| a.parents.iter());
    parents.flat_map(|p| p.counted.iter().map(|listener| (p.gateway, *listener))).collect()
}

fn entries_of(route: ObjectId, output: Option<&AttachOutput>) -> BTreeSet<EntryKey> {
    let bindings = output.into_iter().flat_map(|a| a.parents.iter().flat_map(|p| p.bindings.iter()));
    bindings
        .flat_map(|b| {
            b.hosts.iter().map(move |host| EntryKey {
                virtual_host: VirtualHostKey { table: b.table, listener: b.listener, host: *host },
                route,
            })
        })
        .collect()
}
