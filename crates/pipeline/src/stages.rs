//! The stages and the indexes between them, in the order in which they run.

mod applied;
mod emit;
mod explain;
mod features;
mod policies;
mod policy_places;
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
    AttachListener, AttachOutput, AttachTable, ClusterKey, Dep, EntryKey, FleetOutput, GatewayOutput,
    GatewayTable, Gateways, Homes, ListenerId, ListenerSetOutput, PlanKey, PolicyOutput, Reader, RouteOutput,
    RouteTable, SharedBackend, SocketKey, TableKey, VirtualHostKey, attach,
    gateway::{self, Guard, Socket},
    policy::{self, Relations},
    route,
    secret::SecretKey,
    status::{self, PolicyUsers},
};
use xds::entry::Entries;

use crate::{
    Commit, Fleet, isolation,
    order::{HostIndex, HostPlace, Layer4Index, RouteHosts, TableIndex},
};
pub use applied::{AppliedField, AppliedPolicy, Parameter};
pub(crate) use applied::{parameter, policy_of_backend};
pub use explain::{Explanation, HostView};
use features::FeatureIndex;
pub use policy_places::{Part, PolicyPlace};
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

/// Clusters that a fleet's proxies need for themselves: themselves, while a Service for them is known, and where their
/// telemetry goes. An output even when it is empty, so that the Service wakes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnOutput {
    pub clusters: Vec<Arc<Resource>>,
    /// Of those that take them by EDS.
    pub endpoints: Vec<Arc<Resource>>,
    /// What SDS has to serve for them, ascending, each once.
    pub secrets: Box<[SecretKey]>,
}

/// The clusters of a plan, or the one that rules share for a backend, with what SDS has to serve for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterOutput {
    /// One, but where each backend has a cluster of its own, and where others take its place.
    pub resources: Box<[Arc<Resource>]>,
    /// Ascending, each once.
    pub secrets: Box<[SecretKey]>,
    /// Backends whose shared clusters take the place of some, ascending, each once.
    pub shared: Box<[SharedBackend]>,
}

/// What SDS serves, counted by the listeners and clusters of each fleet that need it.
#[derive(Debug, Default)]
struct SecretUse {
    counts: Counts<(SecretKey, ObjectId)>,
    fleets: Buckets<SecretKey, ObjectId>,
}

impl SecretUse {
    /// Replaces what a listener or cluster of a fleet needs; calls `moved` with what the fleet thereby began or ceased
    /// to need.
    fn replace(
        &mut self,
        fleet: ObjectId,
        old: &[SecretKey],
        new: &[SecretKey],
        mut moved: impl FnMut(SecretKey),
    ) {
        for key in new {
            if self.counts.increment((*key, fleet)) {
                self.fleets.insert(*key, fleet);
                moved(*key);
            }
        }
        for key in old {
            if self.counts.decrement((*key, fleet)) {
                self.fleets.remove(*key, fleet);
                moved(*key);
            }
        }
    }
}

/// All tables, in the order in which they run, and the indexes that their outputs contribute to.
#[derive(Debug)]
pub(crate) struct Stages {
    gateways: Gateways,
    attached: Table<ObjectId, AttachOutput, Dep>,
    routes: Table<ObjectId, RouteOutput, Dep>,
    policies: Table<ObjectId, PolicyOutput, Dep>,
    clusters: Table<ClusterKey, ClusterOutput, Dep>,
    endpoints: Table<ClusterKey, Box<[Arc<Resource>]>, Dep>,
    entries: Table<EntryKey, Entries, Dep>,
    hosts: Table<VirtualHostKey, HostOutput, Dep>,
    misdirected: Table<TableKey, Box<[HostOutput]>, Dep>,
    tables: Table<TableKey, Arc<Resource>, Dep>,
    listeners: Table<SocketKey, ListenerOutput, Dep>,
    secrets: Table<SecretKey, Arc<Resource>, Dep>,
    own: Table<ObjectId, OwnOutput, Dep>,
    statuses: Table<ObjectId, Status, Dep>,

    /// Routes on each listener: `attachedRoutes`.
    attached_routes: Counts<ListenerId>,
    /// Entries that attachment asks for.
    wanted_entries: FxHashSet<EntryKey>,
    /// Routes of connections and datagrams by listener.
    layer4: Layer4Index,
    /// Hostnames of other routes by listener.
    route_hosts: RouteHosts,
    /// Listeners that name the clusters of a route of connections or datagrams, by route and fleet.
    layer4_users: Counts<(ObjectId, ObjectId)>,
    /// Listeners of a fleet that close connections.
    closing: Counts<ObjectId>,
    /// Fleets that serve a route: they need its clusters.
    route_fleets: Buckets<ObjectId, ObjectId>,
    /// Rules that share a cluster, by its key.
    shared_users: Counts<ClusterKey>,
    /// Fleets whose listeners or clusters need what SDS serves.
    secret_use: SecretUse,
    /// Routes in which a BackendTLSPolicy has a say.
    policy_routes: Buckets<ObjectId, ObjectId>,
    /// Fleets in whose telemetry a BackendTLSPolicy has a say.
    policy_fleets: Buckets<ObjectId, ObjectId>,
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
            gateways: Gateways { fleets: Table::new("gateway"), homes: Homes::default() },
            attached: Table::new("attach"),
            routes: Table::new("route"),
            policies: Table::new("policy"),
            clusters: Table::new("cluster"),
            endpoints: Table::new("endpoints"),
            entries: Table::new("entry"),
            hosts: Table::new("virtual_host"),
            misdirected: Table::new("misdirected"),
            tables: Table::new("route_configuration"),
            listeners: Table::new("listener"),
            secrets: Table::new("secret"),
            own: Table::new("own_cluster"),
            statuses: Table::new("status"),
            attached_routes: Counts::default(),
            wanted_entries: FxHashSet::default(),
            layer4: Layer4Index::default(),
            route_hosts: RouteHosts::default(),
            layer4_users: Counts::default(),
            closing: Counts::default(),
            route_fleets: Buckets::default(),
            shared_users: Counts::default(),
            secret_use: SecretUse::default(),
            policy_routes: Buckets::default(),
            policy_fleets: Buckets::default(),
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
    /// Gateways, and classes that may merge theirs.
    gateways: BTreeSet<ObjectId>,
    routes: BTreeSet<ObjectId>,
    policies: BTreeSet<ObjectId>,
    statuses: BTreeSet<ObjectId>,
    plans: BTreeSet<PlanKey>,
    /// Routes that came to a fleet or left it.
    moved: BTreeSet<(ObjectId, ObjectId)>,
    entries: BTreeSet<EntryKey>,
    hosts: BTreeSet<VirtualHostKey>,
    /// Tables whose listeners, or whose virtual hosts that take more than one name, changed.
    misdirected: BTreeSet<TableKey>,
    tables: BTreeSet<TableKey>,
    listeners: BTreeSet<SocketKey>,
    secrets: BTreeSet<SecretKey>,
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
            if let FactKey::BackendTlsPoliciesOf(backend) = key {
                roots.statuses.extend(store.backend_tls_policies_of(backend));
            }
            if let FactKey::GatewaysOf(class) = key {
                roots.gateways.insert(class);
            }
            let FactKey::Object(id) = key else { continue };
            roots.statuses.extend(store.fact(id).and_then(Fact::parameters));
            match store.object(id).map(|object| object.kind) {
                Some(Kind::Gateway | Kind::GatewayClass) => {
                    roots.gateways.insert(id);
                    roots.statuses.insert(id);
                }
                Some(Kind::BackendTlsPolicy) => roots.statuses.extend(with_rivals(store, id)),
                Some(Kind::ListenerSet | Kind::Backend | Kind::EnvoyProxy) => {
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
        let (secret_use, homes) = (&mut self.secret_use, &mut self.gateways.homes);
        let policy_fleets = &mut self.policy_fleets;
        let mut touched = Vec::new();
        let unit = |id, reads: &mut Reads<Dep>| gateway::unit(id, &mut Reader::new(store, reads), judge);
        self.gateways.fleets.update(dirty, std::mem::take(&mut roots.gateways), unit, |change| {
            let id = change.key;
            let (old, new) = (change.old, change.new);
            homes.replace(id, old, new);
            touch_gateways(store, (old, new), &mut touched, &mut roots.statuses);
            let changed = changed_listeners(old, new);
            // What a table refuses, and who needs an empty virtual host in it, follows from all listeners on its port.
            let ports: BTreeSet<u16> = changed.iter().map(|listener| listener.port).collect();
            let all = [old, new].into_iter().flatten().flat_map(FleetOutput::all_listeners);
            for listener in
                all.filter(|listener| listener.guard != Guard::Open && ports.contains(&listener.port))
            {
                roots.hosts.extend(isolation::own_host(listener));
                roots.misdirected.extend(listener.table);
            }
            for listener in changed {
                touched.push(Dep::Listener(listener.id));
                roots.hosts.extend(isolation::own_host(listener));
                roots.tables.extend(listener.table.filter(|table| table.listener == listener.id));
            }
            for key in changed_sockets(old, new) {
                touched.push(Dep::Socket(key));
                roots.listeners.insert(key);
            }
            let reach = |fleet: &FleetOutput| {
                (fleet.routing, fleet.telemetry.statistics.clone(), fleet.merging.clone())
            };
            if old.map(reach) != new.map(reach) {
                touched.push(Dep::ClientSide(id));
            }
            let needs =
                |fleet: Option<&'_ FleetOutput>| fleet.map_or_else(Box::default, |f| f.secrets.clone());
            secret_use.replace(id, &needs(old), &needs(new), |key| {
                roots.secrets.insert(key);
                publication.secret_moved(key, id);
            });
            for policy in replace_policies(policy_fleets, id, old, new) {
                touched.push(Dep::PolicyRoutes(policy));
                roots.statuses.extend(with_rivals(store, policy));
            }
            publication.fleet(id, old, new);
            publication.fixed(id, old, new);
        });
        dirty.extend(touched);
    }

    fn run_routes(&mut self, store: &Store, run: &mut Run) {
        let Run { dirty, roots, .. } = run;
        let policy_routes = &mut self.policy_routes;
        let mut touched = Vec::new();
        let gateways = GatewayTable(&self.gateways);
        let unit = |id, reads: &mut Reads<Dep>| route::unit(id, &mut Reader::new(store, reads), gateways);
        self.routes.update(dirty, roots.routes.clone(), unit, |change| {
            let id = change.key;
            let (old, new) = (change.old, change.new);
            let rules = |r: &RouteOutput| {
                (r.rules.clone(), r.over_tls.clone(), r.rule_names.clone(), r.origin.created)
            };
            if old.map(rules) != new.map(rules) {
                touched.push(Dep::Rules(id));
            }
            if old.map(|r| (&r.layer4, r.origin.created)) != new.map(|r| (&r.layer4, r.origin.created)) {
                touched.push(Dep::Layer4(id));
            }
            if old.map(|r| &r.plans) != new.map(|r| &r.plans) {
                touched.push(Dep::Plans(id));
                let plans = [old, new].into_iter().flatten().flat_map(|r| r.plans.iter());
                roots.plans.extend(plans.map(|p| PlanKey { route: id, rule: p.rule, slot: p.slot }));
            }
            if old.map(|r| (&r.findings, &r.origin)) != new.map(|r| (&r.findings, &r.origin)) {
                touched.push(Dep::RouteFindings(id));
            }
            roots.statuses.insert(id);
            let policies = |output: Option<&RouteOutput>| -> BTreeSet<ObjectId> {
                output.into_iter().flat_map(|r| r.policies.iter().copied()).collect()
            };
            let (before, now) = (policies(old), policies(new));
            for policy in before.symmetric_difference(&now) {
                if now.contains(policy) {
                    policy_routes.insert(*policy, id);
                } else {
                    policy_routes.remove(*policy, id);
                }
                touched.push(Dep::PolicyRoutes(*policy));
                roots.statuses.extend(with_rivals(store, *policy));
            }
        });
        dirty.extend(touched);
    }

    fn run_attached(&mut self, store: &Store, run: &mut Run) {
        let Run { dirty, roots, .. } = run;
        let gateways = GatewayTable(&self.gateways);
        let (counts, wanted) = (&mut self.attached_routes, &mut self.wanted_entries);
        let (routes, route_fleets) = (&self.routes, &mut self.route_fleets);
        let (layer4, route_hosts) = (&mut self.layer4, &mut self.route_hosts);
        let mut touched = Vec::new();
        let unit = |id, reads: &mut Reads<Dep>| attach::unit(id, &mut Reader::new(store, reads), gateways);
        self.attached.update(dirty, std::mem::take(&mut roots.routes), unit, |change| {
            let id = change.key;
            touched.push(Dep::Attached(id));
            roots.statuses.insert(id);
            for policy in routes.get(id).map_or(&[][..], |r| &r.policies) {
                roots.statuses.extend(with_rivals(store, *policy));
            }
            for key in counted(change.new) {
                counts.increment(key);
                touched.push(Dep::AttachedRoutes(key.owner));
            }
            for key in counted(change.old) {
                counts.decrement(key);
                touched.push(Dep::AttachedRoutes(key.owner));
            }
            if is_layer4(store, id) {
                let listeners = layer4.replace(id, change.old, change.new).into_iter();
                touched.extend(listeners.map(Dep::Layer4Routes));
                return;
            }
            let listeners = route_hosts.replace(change.old, change.new, store).into_iter();
            touched.extend(listeners.map(Dep::DefaultHost));
            let (old, new) = (entries_of(id, change.old), entries_of(id, change.new));
            for key in old.difference(&new) {
                wanted.remove(key);
                roots.entries.insert(*key);
            }
            for key in new.difference(&old) {
                wanted.insert(*key);
                roots.entries.insert(*key);
            }
            let fleets_of = |entries: &BTreeSet<EntryKey>| -> BTreeSet<ObjectId> {
                entries.iter().map(|key| key.virtual_host.table.fleet).collect()
            };
            let (old, new) = (fleets_of(&old), fleets_of(&new));
            for fleet in old.symmetric_difference(&new) {
                if new.contains(fleet) {
                    route_fleets.insert(id, *fleet);
                } else {
                    route_fleets.remove(id, *fleet);
                }
                roots.moved.insert((id, *fleet));
            }
        });
        dirty.extend(touched);
    }

    fn run_statuses(&mut self, store: &Store, run: &mut Run) -> Vec<(ir::ObjectRef, Option<Status>)> {
        let mut changed = Vec::new();
        let gateways = GatewayTable(&self.gateways);
        let (routes, attached) = (&self.routes, &self.attached);
        let (counts, hosts) = (&self.attached_routes, &self.host_index);
        let (policy_routes, policy_fleets) = (&self.policy_routes, &self.policy_fleets);
        let (policies, relations) = (&self.policies, &self.relations);
        let unit = |id: ObjectId, reads: &mut Reads<Dep>| {
            let reader = &mut Reader::new(store, reads);
            match store.object(id)?.kind {
                Kind::GatewayClass => status::gateway_class(id, reader, judge),
                Kind::EnvoyProxy => status::envoy_proxy(id, reader, judge, gateways),
                Kind::Gateway => status::gateway(id, reader, gateways, counts),
                Kind::ListenerSet => status::listener_set(id, reader, gateways, counts),
                Kind::Backend => status::backend(id, reader),
                Kind::BackendTlsPolicy => {
                    let users = |policy| PolicyUsers {
                        routes: policy_routes.members(policy).collect(),
                        proxies: (policy_fleets.members(policy))
                            .filter_map(|fleet| gateways.0.fleets.get(fleet))
                            .flat_map(|fleet| fleet.telemetry.policies.iter())
                            .filter(|(of, _)| *of == policy)
                            .map(|(_, proxy)| proxy.clone())
                            .collect(),
                    };
                    status::backend_tls_policy(id, reader, &users, AttachTable(attached))
                }
                kind if route::of(kind).is_some() => {
                    let tables = (gateways, RouteTable(routes));
                    status::route(id, reader, attached.get(id), tables, &|route| hosts.overlaps(route))
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
            (self.gateways.fleets.name(), self.gateways.fleets.counters()),
            (self.routes.name(), self.routes.counters()),
            (self.attached.name(), self.attached.counters()),
            (self.policies.name(), self.policies.counters()),
            (self.clusters.name(), self.clusters.counters()),
            (self.endpoints.name(), self.endpoints.counters()),
            (self.entries.name(), self.entries.counters()),
            (self.hosts.name(), self.hosts.counters()),
            (self.misdirected.name(), self.misdirected.counters()),
            (self.tables.name(), self.tables.counters()),
            (self.listeners.name(), self.listeners.counters()),
            (self.secrets.name(), self.secrets.counters()),
            (self.own.name(), self.own.counters()),
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

/// A BackendTLSPolicy and those that share a backend with it. One that has no say anywhere has no status, and so no reads
/// that could wake it.
fn with_rivals(store: &Store, policy: ObjectId) -> Vec<ObjectId> {
    let targets = match store.fact(policy) {
        Some(Fact::BackendTlsPolicy(policy)) => &policy.targets[..],
        _ => &[],
    };
    let rivals = targets.iter().flat_map(|target| store.backend_tls_policies_of(target.object));
    std::iter::once(policy).chain(rivals).collect()
}

/// Replaces the BackendTLSPolicies that have a say in a fleet's telemetry; returns those for which that is news.
fn replace_policies(
    policy_fleets: &mut Buckets<ObjectId, ObjectId>,
    fleet: ObjectId,
    old: Option<&FleetOutput>,
    new: Option<&FleetOutput>,
) -> BTreeSet<ObjectId> {
    let [old, new] = [old, new].map(|output| output.map_or(&[][..], |output| &output.telemetry.policies));
    for (policy, _) in old {
        policy_fleets.remove(*policy, fleet);
    }
    for (policy, _) in new {
        policy_fleets.insert(*policy, fleet);
    }
    let gone = old.iter().filter(|pair| !new.contains(pair));
    let news = new.iter().filter(|pair| !old.contains(pair));
    gone.chain(news).map(|(policy, _)| *policy).collect()
}

/// Tells what is not as it was of the Gateways and ListenerSets of a fleet.
fn touch_gateways(
    store: &Store,
    (old, new): (Option<&FleetOutput>, Option<&FleetOutput>),
    touched: &mut Vec<Dep>,
    statuses: &mut BTreeSet<ObjectId>,
) {
    for (id, old, new) in both(old, new, |fleet| &fleet.gateways, |gateway: &GatewayOutput| gateway.id) {
        if old == new {
            continue;
        }
        // The attachment of routes depends on whether the Gateway is ours at all, too.
        if old.map(|g| (g.managed, &g.listeners)) != new.map(|g| (g.managed, &g.listeners)) {
            touched.push(Dep::Listeners(id));
        }
        if old.map(|g| (g.managed, &g.status)) != new.map(|g| (g.managed, &g.status)) {
            touched.push(Dep::GatewayStatus(id));
        }
        if old.map(|g| &g.client_side) != new.map(|g| &g.client_side) {
            touched.push(Dep::ClientSide(id));
        }
        if old.map(|g| &g.client_verdicts) != new.map(|g| &g.client_verdicts) {
            touched.push(Dep::ClientVerdicts(id));
        }
        statuses.insert(id);
        // An EnvoyProxy has no status while none of its Gateways is ours, so no read of it can tell.
        statuses.extend(store.fact(id).and_then(Fact::parameters));
    }
    for (id, old, new) in both(old, new, |fleet| &fleet.sets, |set: &ListenerSetOutput| set.id) {
        if old == new {
            continue;
        }
        if old.map(|s| (s.attached, &s.listeners)) != new.map(|s| (s.attached, &s.listeners)) {
            touched.push(Dep::Listeners(id));
        }
        if old.map(|s| &s.status) != new.map(|s| &s.status) {
            touched.push(Dep::GatewayStatus(id));
        }
        // One whose Gateway was not ours has no status, and so no reads that could wake it.
        statuses.insert(id);
    }
}

/// The parts of a fleet as they were and as they are, by id.
fn both<'a, T>(
    old: Option<&'a FleetOutput>,
    new: Option<&'a FleetOutput>,
    parts: impl Fn(&'a FleetOutput) -> &'a [T],
    id: impl Fn(&T) -> ObjectId,
) -> Vec<(ObjectId, Option<&'a T>, Option<&'a T>)> {
    let [old, new] = [old, new].map(|fleet| fleet.map_or(&[][..], &parts));
    let find = |all: &'a [T], wanted| all.binary_search_by_key(&wanted, &id).ok().map(|at| &all[at]);
    let ids: BTreeSet<ObjectId> = old.iter().chain(new).map(&id).collect();
    ids.into_iter().map(|wanted| (wanted, find(old, wanted), find(new, wanted))).collect()
}

/// Listeners that clients see otherwise than before, as they were and as they are.
fn changed_listeners<'a>(
    old: Option<&'a FleetOutput>,
    new: Option<&'a FleetOutput>,
) -> Vec<&'a AttachListener> {
    let by_id = |g: Option<&'a FleetOutput>| -> FxHashMap<ListenerId, &'a AttachListener> {
        g.into_iter().flat_map(FleetOutput::all_listeners).map(|l| (l.id, l)).collect()
    };
    let (old, new) = (by_id(old), by_id(new));
    let differs = |listener: &AttachListener, others: &FxHashMap<ListenerId, &AttachListener>| {
        others.get(&listener.id).is_none_or(|other| other.shown() != listener.shown())
    };
    let gone = old.values().copied().filter(|listener| differs(listener, &new));
    gone.chain(new.values().copied().filter(|listener| differs(listener, &old))).collect()
}

/// Sockets that are not as they were.
fn changed_sockets<'a>(old: Option<&'a FleetOutput>, new: Option<&'a FleetOutput>) -> BTreeSet<SocketKey> {
    let by_key = |g: Option<&'a FleetOutput>| -> FxHashMap<SocketKey, &'a Socket> {
        g.into_iter().flat_map(|g| g.sockets.iter()).map(|s| (s.key, s)).collect()
    };
    let (old, new) = (by_key(old), by_key(new));
    let keys = old.keys().chain(new.keys()).copied();
    keys.filter(|key| old.get(key) != new.get(key)).collect()
}

fn counted(output: Option<&AttachOutput>) -> BTreeSet<ListenerId> {
    // A route that names a listener twice, by two parent references, counts once.
    let parents = output.into_iter().flat_map(|a| a.parents.iter());
    parents.flat_map(|p| p.counted.iter().copied()).collect()
}

fn entries_of(route: ObjectId, output: Option<&AttachOutput>) -> BTreeSet<EntryKey> {
    let bindings = output.into_iter().flat_map(|a| a.parents.iter().flat_map(|p| p.bindings.iter()));
    bindings
        .filter_map(|b| Some((b.table?, b)))
        .flat_map(|(table, b)| {
            b.hosts.iter().map(move |host| EntryKey {
                virtual_host: VirtualHostKey { table, listener: b.listener, host: *host },
                route,
            })
        })
        .collect()
}
