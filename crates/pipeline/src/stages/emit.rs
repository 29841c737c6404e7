//! Stages 5 to 7: clusters, endpoints, virtual hosts, tables, listeners and secrets as encoded resources.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use engine::Reads;
use ir::{
    cluster::EMPTY_CLUSTER,
    listener::VirtualHost,
    resource::{Resource, ResourceType},
    secret::TlsCertificate,
};
use store::{ObjectId, Store};
use translate::{
    AttachListener, AttachTable, ClusterKey, Dep, GatewayOutput, GatewayTable, Policies, Reader, RouteOutput,
    RouteTable, TableKey, VirtualHostKey, destination, gateway::Chain,
};
use xds::{entry, listener, resource};

use super::{HostOutput, ListenerOutput, LocalOutput, Run, Stages, cluster_key};
use crate::{
    isolation::{self, BroadHosts},
    order::{HostEntries, HostPlace},
};

impl Stages {
    pub(super) fn run_emit(&mut self, store: &Store, run: &mut Run) {
        self.run_entries(store, run);
        self.run_hosts(store, run);
        self.run_tables(store, run);
        // Listeners decide which routes of connections and datagrams have effect, and so which clusters there are.
        self.run_listeners(store, run);
        self.run_clusters(store, run);
        self.run_secrets(store, run);
    }

    fn run_clusters(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.clusters);
        let outputs = destination::Outputs {
            gateways: GatewayTable(&self.gateways),
            routes: RouteTable(&self.routes),
            attached: AttachTable(&self.attached),
            policies: Policies(&self.policies),
        };
        // A root whenever a route is bound to a Gateway or unbound from it, so these are no recorded reads.
        let bound = &self.route_gateways;
        let bound = |key: ClusterKey| bound.contains(key.route, key.gateway);
        let publication = &mut run.publication;
        self.clusters.update(
            &run.dirty,
            roots.iter().copied(),
            |key, reads| {
                let reader = &mut Reader::new(store, reads);
                let cluster = bound(key).then(|| destination::cluster(key, reader, outputs)).flatten()?;
                Some(Arc::new(resource::cluster(&cluster)))
            },
            |change| {
                let gateway = change.key.gateway;
                publication.gateway_resource(gateway, ResourceType::Cluster, change.old, change.new);
            },
        );
        self.endpoints.update(
            &run.dirty,
            roots,
            |key: ClusterKey, reads: &mut Reads<Dep>| {
                let reader = &mut Reader::new(store, reads);
                let endpoints = bound(key).then(|| destination::endpoints(key, reader, outputs)).flatten()?;
                Some(Arc::new(resource::endpoints(&endpoints)))
            },
            |change| {
                let gateway = change.key.gateway;
                publication.gateway_resource(gateway, ResourceType::Endpoints, change.old, change.new);
            },
        );
    }

    fn run_entries(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.entries);
        let (gateways, routes) = (GatewayTable(&self.gateways), RouteTable(&self.routes));
        let (policies, features) = (Policies(&self.policies), &mut self.features);
        let wanted = &self.wanted_entries;
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
                entry::unit(key, created, &mut Reader::new(store, reads), gateways, routes, policies)
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
        self.wake_isolated(store, &hosts, &mut run.roots.hosts);
        run.roots.hosts.extend(hosts);
        run.roots.statuses.extend(overlapping.iter().copied());
        run.dirty.extend(overlapping.into_iter().map(Dep::Overlaps));
        run.dirty.extend(filtered.into_iter().map(Dep::Features));
    }

    /// Wakes the listeners of tables in which virtual hosts that could take their requests came or went.
    fn wake_isolated(
        &mut self,
        store: &Store,
        changed: &BTreeSet<VirtualHostKey>,
        roots: &mut BTreeSet<VirtualHostKey>,
    ) {
        let tables: BTreeSet<TableKey> = changed
            .iter()
            .filter(|key| self.broad_hosts.note(**key, self.host_index.get(**key).is_some(), store))
            .map(|key| key.table)
            .collect();
        for table in tables {
            let Some(gateway) = self.gateways.get(table.gateway) else { continue };
            let hosts = isolation::own_hosts(table.gateway, &gateway.listeners);
            roots.extend(hosts.filter(|key| key.table == table));
        }
    }

    fn run_hosts(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.hosts);
        let gateways = GatewayTable(&self.gateways);
        let (index, broad, table_index) = (&self.host_index, &self.broad_hosts, &mut self.table_index);
        let tables = &mut run.roots.tables;
        self.hosts.update(
            &run.dirty,
            roots,
            |key, reads| {
                let reader = &mut Reader::new(store, reads);
                match index.get(key) {
                    Some(entries) => host(key, reader, gateways, entries),
                    None => empty_host(key, store, reader, gateways, broad),
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

    fn run_tables(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.tables);
        let gateways = GatewayTable(&self.gateways);
        let (index, publication) = (&self.table_index, &mut run.publication);
        self.tables.update(
            &run.dirty,
            roots,
            |key: TableKey, reads: &mut Reads<Dep>| {
                let mut reader = Reader::new(store, reads);
                let sockets = gateways.sockets(&mut reader, key.gateway);
                let name = sockets.iter().flat_map(|s| s.chains.iter()).find_map(|chain| match chain {
                    Chain::Http { table, name, .. } if *table == key.listener => Some(name.clone()),
                    _ => None,
                })?;
                let owners = [reader.object(key.gateway)].into();
                Some(Arc::new(resource::route_configuration(name, index.fragments(key), owners)))
            },
            |change| {
                publication.gateway_resource(change.key.gateway, ResourceType::Route, change.old, change.new);
            },
        );
    }

    fn run_listeners(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.listeners);
        let (gateways, routes) = (GatewayTable(&self.gateways), RouteTable(&self.routes));
        let (features, layer4, publication) = (&self.features, &self.layer4, &mut run.publication);
        let (clusters, plans) = (&mut run.roots.clusters, &self.routes);
        let (users, closing, route_gateways) =
            (&mut self.layer4_users, &mut self.closing, &mut self.route_gateways);
        self.listeners.update(
            &run.dirty,
            roots,
            |(gateway, index): (ObjectId, u16), reads: &mut Reads<Dep>| {
                let mut reader = Reader::new(store, reads);
                let socket = gateways.sockets(&mut reader, gateway).get(usize::from(index))?;
                for chain in &socket.chains {
                    reader.record(match chain {
                        Chain::Http { table, .. } => Dep::Features(TableKey { gateway, listener: *table }),
                        Chain::Layer4 { listener, .. } => Dep::Layer4Routes(gateway, *listener),
                    });
                }
                let bound = |listener| layer4.routes((gateway, listener));
                let chains = translate::layer4::chains(socket, bound, &mut reader, routes);
                let listener = listener::of_socket(socket, reader.object(gateway), chains.chains, |table| {
                    features.get(TableKey { gateway, listener: table })
                });
                let routes = chains.routes.into_iter().collect();
                Some(ListenerOutput { resource: Arc::new(resource::listener(&listener)), routes })
            },
            |change| {
                let (gateway, _) = change.key;
                let (old, new) = (change.old, change.new);
                let resource = |output: Option<&ListenerOutput>| output.map(|o| o.resource.clone());
                let (was, is) = (resource(old), resource(new));
                publication.gateway_resource(gateway, ResourceType::Listener, was.as_ref(), is.as_ref());
                let mut wake = |route| {
                    let plans = plans.get(route).map_or(&[][..], |route: &RouteOutput| &route.plans);
                    clusters.extend(plans.iter().map(|plan| cluster_key(gateway, route, plan)));
                };
                // What is new counts before what is old goes, so that nothing passes through zero.
                for route in new.map_or(&[][..], |o| &o.routes) {
                    if users.increment((*route, gateway)) {
                        route_gateways.insert(*route, gateway);
                        wake(*route);
                    }
                }
                for route in old.map_or(&[][..], |o| &o.routes) {
                    if users.decrement((*route, gateway)) {
                        route_gateways.remove(*route, gateway);
                        wake(*route);
                    }
                }
                let empty = || Arc::new(resource::empty_cluster());
                if names_empty(is.as_ref()) && closing.increment(gateway) {
                    publication.gateway_resource(gateway, ResourceType::Cluster, None, Some(&empty()));
                }
                if names_empty(was.as_ref()) && closing.decrement(gateway) {
                    publication.gateway_resource(gateway, ResourceType::Cluster, Some(&empty()), None);
                }
            },
        );
        self.run_locals(store, run);
    }

    fn run_locals(&mut self, store: &Store, run: &mut Run) {
        let publication = &mut run.publication;
        let roots: Vec<ObjectId> = publication.touched_gateways().collect();
        let served = |id: ObjectId| self.gateways.get(id).is_some_and(|g| g.served);
        self.locals.update(
            &run.dirty,
            roots,
            |id, reads| {
                // A root whenever the Gateway's output changes, so this is no recorded read.
                if !served(id) {
                    return None;
                }
                let local = destination::local_cluster(id, &mut Reader::new(store, reads));
                Some(LocalOutput {
                    resources: local.map(|(cluster, endpoints)| {
                        (Arc::new(resource::cluster(&cluster)), Arc::new(resource::endpoints(&endpoints)))
                    }),
                })
            },
            |change| {
                let (old, new) = (change.old, change.new);
                let old = old.and_then(|local| local.resources.as_ref());
                let new = new.and_then(|local| local.resources.as_ref());
                let cluster = (old.map(|(cluster, _)| cluster), new.map(|(cluster, _)| cluster));
                publication.gateway_resource(change.key, ResourceType::Cluster, cluster.0, cluster.1);
                let endpoints = (old.map(|(_, endpoints)| endpoints), new.map(|(_, endpoints)| endpoints));
                publication.gateway_resource(change.key, ResourceType::Endpoints, endpoints.0, endpoints.1);
            },
        );
    }

    fn run_secrets(&mut self, store: &Store, run: &mut Run) {
        let roots = std::mem::take(&mut run.roots.secrets);
        let (gateways, publication) = (&self.secret_gateways, &mut run.publication);
        self.secrets.update(
            &run.dirty,
            roots,
            |id, reads| {
                if gateways.is_empty(id) {
                    return None;
                }
                let mut reader = Reader::new(store, reads);
                let owner = reader.object(id);
                let secret = reader.secret(id)?;
                let certificate = secret.certificate.as_ref()?.as_ref().ok()?;
                let certificate = TlsCertificate {
                    name: format!("{}/{}", owner.namespace, owner.name).into(),
                    chain: certificate.chain.clone(),
                    key: certificate.key.clone(),
                    ocsp_staple: certificate.ocsp_staple.clone(),
                    owner,
                };
                Some(Arc::new(resource::secret(&certificate)))
            },
            |change| {
                publication.secret(change.key, change.old, change.new);
            },
        );
    }
}

fn host(
    key: VirtualHostKey,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    entries: &HostEntries,
) -> Option<HostOutput> {
    let listener = gateways.listener(reader, key.table.gateway, key.listener)?;
    let (first, _) = entries.routes.first_key_value()?;
    let domain: Arc<str> = match key.host {
        translate::Host::Any => "*".into(),
        translate::Host::Name(name) => reader.name(name).clone(),
    };
    let host = named(listener, domain);
    let routes: Vec<&Bytes> = entries.routes.values().collect();
    let clusters = entries.clusters.keys().cloned().collect();
    let mut owners: Vec<_> = entries.owners.iter().map(|id| reader.object(*id)).collect();
    owners.sort_unstable();
    let fragment = Arc::new(resource::virtual_host(&host, &routes, clusters, owners.into()));
    let place = HostPlace { listener: key.listener, first: Some(first.clone()), name: host.name };
    Some(HostOutput { place, fragment })
}

/// The virtual host without routes that keeps a listener's hostname from its siblings, where one would take it.
/// Whenever the listener or such siblings change it is a root, so `None` may forget its reads.
fn empty_host(
    key: VirtualHostKey,
    store: &Store,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    broad: &BroadHosts,
) -> Option<HostOutput> {
    let listener = gateways.listener(reader, key.table.gateway, key.listener)?;
    let name = listener.hostname.filter(|name| key.host == translate::Host::Name(*name))?;
    let domain = reader.name(name).clone();
    if !listener.ready || listener.table != key.table.listener || !broad.capture(key, &domain, store) {
        return None;
    }
    let host = named(listener, domain);
    let owners = [reader.object(key.table.gateway)].into();
    let fragment = Arc::new(resource::virtual_host(&host, &[], [].into(), owners));
    Some(HostOutput { place: HostPlace { listener: key.listener, first: None, name: host.name }, fragment })
}

fn named(listener: &AttachListener, domain: Arc<str>) -> VirtualHost {
    VirtualHost {
        name: format!("{}/{}", listener.xds_name, domain.replace('.', "_")).into(),
        domain,
        metadata: listener.metadata.clone(),
    }
}

/// True for a listener that closes connections.
fn names_empty(listener: Option<&Arc<Resource>>) -> bool {
    listener.is_some_and(|l| l.clusters.iter().any(|cluster| &**cluster == EMPTY_CLUSTER))
}

/// The route configurations of a Gateway.
pub(super) fn tables_of(gateway: ObjectId, output: &GatewayOutput) -> impl Iterator<Item = TableKey> + '_ {
    output.sockets.iter().flat_map(|s| s.chains.iter()).filter_map(move |chain| match chain {
        Chain::Http { table, .. } => Some(TableKey { gateway, listener: *table }),
        Chain::Layer4 { .. } => None,
    })
}
