//! Stages 5 to 7: clusters, endpoints, virtual hosts, tables, listeners and secrets as encoded resources.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use engine::{Change, Dirty, Reads};
use ir::{
    cluster::EMPTY_CLUSTER,
    listener::VirtualHost,
    resource::{Resource, ResourceType},
};
use store::{ObjectId, Store};
use translate::{
    AttachListener, AttachTable, ClusterKey, ClusterOf, DefaultHosts, Dep, FleetOutput, GatewayTable,
    PlanKey, Policies, Reader, RouteTable, SharedBackend, Slot, SocketKey, TableKey, VirtualHostKey,
    destination,
    gateway::{Chain, Guard},
    layer4,
    policy::backend_traffic,
    secret::{self, SecretKey, Served},
};
use xds::{entry, listener, resource};

use super::{ClusterOutput, HostOutput, ListenerOutput, OwnOutput, Roots, Run, Stages};
use crate::{
    isolation::{self, BroadHosts},
    misdirected,
    neighbours::Ports,
    order::{HostEntries, HostPlace},
};

impl Stages {
    pub(super) fn run_emit(&mut self, store: &Store, run: &mut Run) {
        self.run_entries(store, run);
        self.run_hosts(store, run);
        self.run_misdirected(store, run);
        self.run_tables(store, run);
        // Listeners decide which routes of connections and datagrams have effect, and so which clusters there are.
        self.run_listeners(store, run);
        self.run_clusters(store, run);
        self.run_own(store, run);
        self.run_secrets(store, run);
    }

    /// Clusters of rules, then those that rules share, which are there as long as somebody uses them; then endpoints.
    fn run_clusters(&mut self, store: &Store, run: &mut Run) {
        let roots = self.cluster_roots(&mut run.roots);
        let tables = backend_traffic::Tables {
            gateways: GatewayTable(&self.gateways),
            routes: RouteTable(&self.routes),
            attached: AttachTable(&self.attached),
            policies: Policies(&self.policies),
            hosts: DefaultHosts(&self.route_hosts.names),
        };
        let (bound, publication) = (&self.route_fleets, &mut run.publication);
        let (secret_use, secrets) = (&mut self.secret_use, &mut run.roots.secrets);
        let (users, mut shared) = (&mut self.shared_users, BTreeSet::new());
        let mut needs = |key: ClusterKey, old: Option<&ClusterOutput>, new: Option<&ClusterOutput>| {
            let fleet = key.fleet;
            let needs =
                |output: Option<&ClusterOutput>| output.map_or_else(Box::default, |o| o.secrets.clone());
            secret_use.replace(fleet, &needs(old), &needs(new), |key| {
                secrets.insert(key);
                publication.secret_moved(key, fleet);
            });
            let [old, new] = [old, new].map(|output| output.map_or(&[][..], |o| &o.resources));
            publication.fleet_resources(fleet, ResourceType::Cluster, old, new);
        };
        // Clusters of these have other endpoints, or there are other clusters in their place.
        let mut moved: BTreeSet<ClusterKey> = roots.clone();
        let unit = |key: ClusterKey, reads: &mut Reads<Dep>| {
            // Whenever a route comes to a fleet or leaves it this is a root, so `None` may forget its reads.
            let wanted = match key.of {
                ClusterOf::Rule(plan) => bound.contains(plan.route, key.fleet),
                ClusterOf::Shared(_) => true,
            };
            wanted.then(|| cluster_output(key, store, reads, tables)).flatten()
        };
        self.clusters.update(&run.dirty, roots, unit, |Change { key, old, new }| {
            needs(key, old, new);
            moved.insert(key);
            let of =
                |backend: &SharedBackend| ClusterKey { fleet: key.fleet, of: ClusterOf::Shared(*backend) };
            let [old, new] = [old, new].map(|output| output.map_or(&[][..], |o| &o.shared));
            // What is new counts before what is old goes, so that nothing passes through zero.
            let begun: Vec<_> = new.iter().filter(|backend| users.increment(of(backend))).map(of).collect();
            let ended = old.iter().filter(|backend| users.decrement(of(backend))).map(of);
            shared.extend(begun.into_iter().chain(ended));
        });
        moved.extend(shared.iter().copied());
        // Whenever the first user comes or the last one leaves this is a root, so `None` may forget its reads.
        let unit = |key: ClusterKey, reads: &mut Reads<Dep>| {
            (users.get(key) > 0).then(|| cluster_output(key, store, reads, tables)).flatten()
        };
        self.clusters
            .update(&Dirty::default(), shared, unit, |change| needs(change.key, change.old, change.new));
        let clusters = &self.clusters;
        self.endpoints.update(
            &run.dirty,
            moved,
            |key: ClusterKey, reads: &mut Reads<Dep>| {
                // Whenever its clusters come or go this is a root, so `None` may forget its reads.
                clusters.get(key).filter(|output| !output.resources.is_empty())?;
                let endpoints = destination::endpoints(key, &mut Reader::new(store, reads), tables)?;
                Some(endpoints.iter().map(|endpoints| Arc::new(resource::endpoints(endpoints))).collect())
            },
            |change| {
                let fleet = change.key.fleet;
                let [old, new] = [change.old, change.new].map(|o| o.map_or(&[][..], |o| o));
                publication.fleet_resources(fleet, ResourceType::Endpoints, old, new);
            },
        );
    }

    /// Clusters of changed plans on all fleets of their routes, and all clusters of routes on fleets that they came to or
    /// left.
    fn cluster_roots(&self, roots: &mut Roots) -> BTreeSet<ClusterKey> {
        let (plans, moved) = (std::mem::take(&mut roots.plans), std::mem::take(&mut roots.moved));
        let mut keys: BTreeSet<ClusterKey> = (plans.iter())
            .flat_map(|plan| {
                let fleets = self.route_fleets.members(plan.route);
                fleets.map(|fleet| ClusterKey { fleet, of: ClusterOf::Rule(*plan) })
            })
            .collect();
        for (route, fleet) in moved {
            let first = PlanKey { route, rule: 0, slot: Slot::Rule };
            let changed = plans.range(first..).take_while(|plan| plan.route == route).copied();
            let kept = self.routes.get(route).into_iter().flat_map(|output| output.plans.iter());
            let kept = kept.map(|plan| PlanKey { route, rule: plan.rule, slot: plan.slot });
            keys.extend(changed.chain(kept).map(|plan| ClusterKey { fleet, of: ClusterOf::Rule(plan) }));
        }
        keys
    }

    fn run_entries(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.entries);
        let (gateways, routes) = (GatewayTable(&self.gateways), RouteTable(&self.routes));
        let (policies, features) = (Policies(&self.policies), &mut self.features);
        let (wanted, default_hosts) = (&self.wanted_entries, DefaultHosts(&self.route_hosts.names));
        let index = &mut self.host_index;
        let mut overlapping = BTreeSet::new();
        let (mut hosts, mut filtered) = (BTreeSet::new(), BTreeSet::new());
        self.entries.update(
            &run.dirty,
            roots,
            |key, reads| {
                if !wanted.contains(&key) {
                    return None;
                }
                let created = routes.0.get(key.route)?.origin.created;
                entry::unit(
                    key,
                    created,
                    &mut Reader::new(store, reads),
                    gateways,
                    routes,
                    policies,
                    default_hosts,
                )
            },
            |change| {
                hosts.insert(change.key.virtual_host);
                let table = change.key.virtual_host.table;
                let (old, new) = (change.old.map(|e| &e.filters), change.new.map(|e| &e.filters));
                if features.replace(table, old, new) {
                    filtered.insert(table);
                }
                overlapping.extend(index.replace(change.key, change.old, change.new));
            },
        );
        self.wake_isolated(store, &hosts, &mut run.roots);
        run.roots.hosts.extend(hosts);
        run.roots.statuses.extend(overlapping.iter().copied());
        run.dirty.extend(overlapping.into_iter().map(Dep::Overlaps));
        run.dirty.extend(filtered.into_iter().map(Dep::Features));
    }

    /// Wakes the listeners of tables in which virtual hosts that could take their requests came or went, and what
    /// refuses requests in the place of such virtual hosts.
    fn wake_isolated(&mut self, store: &Store, changed: &BTreeSet<VirtualHostKey>, roots: &mut super::Roots) {
        let broad = changed.iter().filter(|key| isolation::is_broad(key.host, store));
        roots.misdirected.extend(broad.map(|key| key.table));
        let tables: BTreeSet<TableKey> = changed
            .iter()
            .filter(|key| self.broad_hosts.note(**key, self.host_index.get(**key).is_some(), store))
            .map(|key| key.table)
            .collect();
        for table in tables {
            let Some(fleet) = self.gateways.fleets.get(table.fleet) else { continue };
            let hosts = fleet.all_listeners().filter_map(isolation::own_host);
            roots.hosts.extend(hosts.filter(|key| key.table == table));
        }
    }

    fn run_hosts(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.hosts);
        let gateways = GatewayTable(&self.gateways);
        let ports = Ports::new(gateways, store);
        let (index, broad, table_index) = (&self.host_index, &self.broad_hosts, &mut self.table_index);
        let tables = &mut run.roots.tables;
        self.hosts.update(
            &run.dirty,
            roots,
            |key, reads| {
                let reader = &mut Reader::new(store, reads);
                match index.get(key) {
                    Some(entries) => host(key, reader, gateways, entries),
                    None => empty_host(key, store, reader, gateways, (&ports, broad)),
                }
            },
            |change| {
                let table = change.key.table;
                tables.insert(table);
                if let Some(old) = change.old {
                    table_index.remove(table, &old.place);
                }
                if let Some(new) = change.new {
                    table_index.insert(table, new.place.clone(), new.fragment.clone());
                }
            },
        );
    }

    fn run_misdirected(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.misdirected);
        let gateways = GatewayTable(&self.gateways);
        let ports = Ports::new(gateways, store);
        let (index, broad, table_index) = (&self.host_index, &self.broad_hosts, &mut self.table_index);
        let tables = &mut run.roots.tables;
        self.misdirected.update(
            &run.dirty,
            roots,
            |key, reads| {
                let reader = &mut Reader::new(store, reads);
                misdirected::unit(key, store, reader, gateways, (&ports, index, broad))
            },
            |change| {
                tables.insert(change.key);
                for old in change.old.into_iter().flatten() {
                    table_index.remove(change.key, &old.place);
                }
                for new in change.new.into_iter().flatten() {
                    table_index.insert(change.key, new.place.clone(), new.fragment.clone());
                }
            },
        );
    }

    fn run_tables(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.tables);
        let gateways = GatewayTable(&self.gateways);
        let (index, publication) = (&self.table_index, &mut run.publication);
        self.tables.update(
            &run.dirty,
            roots,
            |key: TableKey, reads: &mut Reads<Dep>| {
                let mut reader = Reader::new(store, reads);
                let listener = gateways.listener(&mut reader, key.fleet, key.listener)?;
                listener.table.filter(|table| *table == key)?;
                let (name, owners) = (listener.xds_name.clone(), [reader.object(listener.gateway)].into());
                let (fragments, notes) = (index.fragments(key), listener.guard == Guard::Shared);
                Some(Arc::new(resource::route_configuration(name, fragments, owners, notes)))
            },
            |change| {
                publication.fleet_resource(change.key.fleet, ResourceType::Route, change.old, change.new);
            },
        );
    }

    fn run_listeners(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.listeners);
        let gateways = GatewayTable(&self.gateways);
        let tables =
            layer4::Tables { gateways, routes: RouteTable(&self.routes), policies: Policies(&self.policies) };
        let (features, index, publication) = (&self.features, &self.layer4, &mut run.publication);
        let hosts = DefaultHosts(&self.route_hosts.names);
        let moved = &mut run.roots.moved;
        let (users, closing, route_fleets) =
            (&mut self.layer4_users, &mut self.closing, &mut self.route_fleets);
        self.listeners.update(
            &run.dirty,
            roots,
            |key: SocketKey, reads: &mut Reads<Dep>| {
                let mut reader = Reader::new(store, reads);
                let fleet = key.fleet;
                let socket = gateways.socket(&mut reader, key)?;
                for chain in &socket.chains {
                    reader.record(match chain {
                        Chain::Http { table, .. } => Dep::Features(TableKey { fleet, listener: *table }),
                        Chain::Layer4 { listener, .. } => Dep::Layer4Routes(*listener),
                    });
                }
                let bound = |listener| index.routes(listener);
                let chains = layer4::chains(socket, bound, &mut reader, tables);
                let filters = |table| features.get(TableKey { fleet, listener: table });
                let owner = reader.object(fleet);
                let host = |listener| hosts.of(listener, &mut reader).ok();
                let listener = listener::of_socket(socket, owner, chains.chains, filters, host);
                let routes = chains.routes.into_iter().collect();
                Some(ListenerOutput { resource: Arc::new(resource::listener(&listener)), routes })
            },
            |change| {
                let fleet = change.key.fleet;
                let (old, new) = (change.old, change.new);
                let resource = |output: Option<&ListenerOutput>| output.map(|o| o.resource.clone());
                let (was, is) = (resource(old), resource(new));
                publication.fleet_resource(fleet, ResourceType::Listener, was.as_ref(), is.as_ref());
                // What is new counts before what is old goes, so that nothing passes through zero.
                for route in new.map_or(&[][..], |o| &o.routes) {
                    if users.increment((*route, fleet)) {
                        route_fleets.insert(*route, fleet);
                        moved.insert((*route, fleet));
                    }
                }
                for route in old.map_or(&[][..], |o| &o.routes) {
                    if users.decrement((*route, fleet)) {
                        route_fleets.remove(*route, fleet);
                        moved.insert((*route, fleet));
                    }
                }
                let empty = || Arc::new(resource::empty_cluster());
                if names_empty(is.as_ref()) && closing.increment(fleet) {
                    publication.fleet_resource(fleet, ResourceType::Cluster, None, Some(&empty()));
                }
                if names_empty(was.as_ref()) && closing.decrement(fleet) {
                    publication.fleet_resource(fleet, ResourceType::Cluster, Some(&empty()), None);
                }
            },
        );
    }

    fn run_own(&mut self, store: &Store, run: &mut Run) {
        let Run { dirty, roots, publication } = run;
        let touched: Vec<ObjectId> = publication.touched_fleets().collect();
        let served = |id: ObjectId| self.gateways.fleets.get(id).filter(|fleet| fleet.served);
        let secret_use = &mut self.secret_use;
        self.own.update(
            dirty,
            touched,
            |id, reads| {
                // A root whenever the fleet's output changes, so this is no recorded read.
                let fleet = served(id)?;
                Some(own_clusters(id, fleet, &mut Reader::new(store, reads)))
            },
            |change| {
                let fleet = change.key;
                let part = |of: fn(&OwnOutput) -> &[Arc<Resource>]| {
                    [change.old, change.new].map(|output| output.map_or(&[][..], of))
                };
                let [old, new] = part(|output| &output.clusters);
                publication.fleet_resources(fleet, ResourceType::Cluster, old, new);
                let [old, new] = part(|output| &output.endpoints);
                publication.fleet_resources(fleet, ResourceType::Endpoints, old, new);
                let needs =
                    |output: Option<&OwnOutput>| output.map_or_else(Box::default, |o| o.secrets.clone());
                secret_use.replace(fleet, &needs(change.old), &needs(change.new), |key| {
                    roots.secrets.insert(key);
                    publication.secret_moved(key, fleet);
                });
            },
        );
    }

    fn run_secrets(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.secrets);
        let (fleets, publication) = (&self.secret_use.fleets, &mut run.publication);
        self.secrets.update(
            &run.dirty,
            roots,
            |key, reads| {
                // Whenever somebody begins to need it, it is a root.
                if fleets.is_empty(key) {
                    return None;
                }
                Some(Arc::new(match secret::unit(key, &mut Reader::new(store, reads))? {
                    Served::Certificate(certificate) => resource::secret(&certificate),
                    Served::Authorities(authorities) => resource::authorities(&authorities),
                }))
            },
            |change| {
                publication.secret(change.key, change.old, change.new);
            },
        );
    }
}

/// The clusters that a fleet's proxies need for themselves.
fn own_clusters(id: ObjectId, fleet: &FleetOutput, reader: &mut Reader<'_>) -> OwnOutput {
    let mut output = OwnOutput::default();
    if let Some((cluster, endpoints)) = destination::local_cluster(id, &fleet.name, reader) {
        output.clusters.push(Arc::new(resource::cluster(&cluster)));
        output.endpoints.push(Arc::new(resource::endpoints(&endpoints)));
    }
    let mut secrets = Vec::new();
    for own in &fleet.telemetry.clusters {
        let (made, endpoints) = destination::own_cluster(own, fleet, reader);
        output.clusters.push(Arc::new(resource::cluster(&made.cluster)));
        output.endpoints.extend(endpoints.map(|endpoints| Arc::new(resource::endpoints(&endpoints))));
        secrets.extend(made.secrets);
    }
    secrets.sort_unstable();
    secrets.dedup();
    OwnOutput { secrets: secrets.into(), ..output }
}

/// Encoded clusters for a key; `None` when a rule no longer needs any. A shared cluster whose backend cannot be used has
/// no users, or is about to lose them.
fn cluster_output(
    key: ClusterKey,
    store: &Store,
    reads: &mut Reads<Dep>,
    tables: backend_traffic::Tables<'_>,
) -> Option<ClusterOutput> {
    let (made, shared) = destination::clusters(key, &mut Reader::new(store, reads), tables);
    if made.is_empty() && shared.is_empty() && matches!(key.of, ClusterOf::Rule(_)) {
        return None;
    }
    let mut secrets: Vec<SecretKey> = made.iter().flat_map(|m| m.secrets.iter().copied()).collect();
    secrets.sort_unstable();
    secrets.dedup();
    let resources = made.iter().map(|made| Arc::new(resource::cluster(&made.cluster))).collect();
    Some(ClusterOutput { resources, secrets: secrets.into(), shared })
}

fn host(
    key: VirtualHostKey,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    entries: &HostEntries,
) -> Option<HostOutput> {
    let listener = gateways.listener(reader, key.table.fleet, key.listener)?;
    let first = entries.routes.first()?.0.clone();
    let domain: Arc<str> = match key.host {
        translate::Host::Any => "*".into(),
        translate::Host::Name(name) => reader.name(name).clone(),
    };
    let host = named(listener, domain);
    let routes: Vec<&Bytes> = entries.routes.iter().map(|route| &route.1).collect();
    let clusters = entries.clusters.keys().cloned().collect();
    let mut owners: Vec<_> = entries.owners.iter().map(|id| reader.object(*id)).collect();
    owners.sort_unstable();
    let fragment = Arc::new(resource::virtual_host(&host, &routes, clusters, owners.into()));
    let (listener, first) = (listener.place.clone(), Some(first));
    let place = HostPlace { misdirected: false, listener, first, name: host.name };
    Some(HostOutput { place, fragment })
}

/// The virtual host without routes that keeps a listener's hostname from its siblings, where one would take it.
/// Whenever the listener or such siblings change it is a root, so `None` may forget its reads.
fn empty_host(
    key: VirtualHostKey,
    store: &Store,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    (ports, broad): (&Ports<'_>, &BroadHosts),
) -> Option<HostOutput> {
    let listener = gateways.listener(reader, key.table.fleet, key.listener)?;
    let name = listener.hostname.filter(|name| key.host == translate::Host::Name(*name))?;
    let domain = reader.name(name).clone();
    if listener.table != Some(key.table) {
        return None;
    }
    let refused = || ports.around(key.table).is_some_and(|around| around.captures(&domain));
    if !broad.capture(key, &domain, store) && !refused() {
        return None;
    }
    let host = named(listener, domain);
    let owners = [reader.object(listener.gateway)].into();
    let fragment = Arc::new(resource::virtual_host(&host, &[], [].into(), owners));
    let listener = listener.place.clone();
    let place = HostPlace { misdirected: false, listener, first: None, name: host.name };
    Some(HostOutput { place, fragment })
}

fn named(listener: &AttachListener, domain: Arc<str>) -> VirtualHost {
    VirtualHost {
        name: format!("{}/{}", listener.xds_name, domain.replace('.', "_")).into(),
        domains: [domain].into(),
        metadata: listener.metadata.clone(),
        counted: listener.on_routes.counted,
    }
}

/// True for a listener that closes connections.
fn names_empty(listener: Option<&Arc<Resource>>) -> bool {
    listener.is_some_and(|l| l.clusters.iter().any(|cluster| &**cluster == EMPTY_CLUSTER))
}
