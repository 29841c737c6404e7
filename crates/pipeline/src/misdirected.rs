//! Virtual hosts that answer requests for other listeners' hosts with 421 (GEP-3567).
//!
//! A table whose listener shares its port with others holds their hostnames too. Envoy takes the most specific domain,
//! as Gateway API gives a request to the listener with the most specific hostname, so a hostname of another listener
//! that lies within an own virtual host takes its requests out of it. Connections that are not shared are not refused:
//! their requests go on to the routes of that own virtual host, so these follow in the refusing one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use ir::listener::VirtualHost;
use store::Store;
use translate::{
    AttachListener, GatewayTable, Host, ListenerId, Reader, TableKey, VirtualHostKey, host::covers,
};
use xds::resource;

use crate::{
    isolation::BroadHosts,
    order::{HostIndex, HostPlace},
    stages::HostOutput,
};

/// Other listeners whose connections are chosen by server name, on the port of a table: those whose requests may come
/// over its connections. None where such requests are not refused.
///
/// Units that ask are roots whenever a listener on the port changes, so this is no recorded read.
fn others<'a>(
    table: TableKey,
    gateways: GatewayTable<'a>,
) -> impl Iterator<Item = &'a AttachListener> + use<'a> {
    let own = gateways.all(table.fleet).find(|listener| listener.id == table.listener);
    let own = own.filter(|own| own.guarded && own.table == Some(table));
    let port = own.map(|own| own.port);
    gateways.all(table.fleet).filter(move |other| {
        Some(other.port) == port && other.by_name && other.ready && other.table != Some(table)
    })
}

/// True when the table refuses requests of another listener whose hostname is broader than `hostname`.
pub(crate) fn capture(table: TableKey, gateways: GatewayTable<'_>, hostname: &str, store: &Store) -> bool {
    others(table, gateways).any(|other| other.hostname.is_none_or(|name| covers(store.name(name), hostname)))
}

/// The refusing virtual hosts of a table: one for each own virtual host that other listeners' hostnames lie in, and one
/// for those that lie in none.
pub(crate) fn unit(
    table: TableKey,
    store: &Store,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    (index, broad): (&HostIndex, &BroadHosts),
) -> Option<Box<[HostOutput]>> {
    let listener = gateways.listener(reader, table.fleet, table.listener)?;
    let own = own_hosts(table, gateways, broad, store);
    let mut groups: BTreeMap<Option<(&str, ListenerId, Host)>, BTreeSet<&str>> = BTreeMap::new();
    for other in others(table, gateways) {
        let name = other.hostname.map_or("*", |name| store.name(name));
        // Hosts that cover the same name cover each other, so the longest is the most specific.
        let within = own.iter().filter(|(pattern, ..)| takes(pattern, name)).max_by_key(|host| host.0.len());
        groups.entry(within.copied()).or_default().insert(name);
    }
    let gateway = reader.object(listener.gateway);
    let mut outputs = Vec::with_capacity(groups.len());
    for (within, names) in groups {
        // Names of own virtual hosts have no further slash, and no hostname is a dash.
        let place = within.map_or("-".to_owned(), |(pattern, ..)| pattern.replace('.', "_"));
        let name: Arc<str> = format!("{}/misdirected/{place}", listener.xds_name).into();
        let mut owners = vec![gateway.clone()];
        let mut routes: Vec<Bytes> = vec![Bytes::from_static(xds::encode::misdirected_route_field())];
        let mut clusters: Box<[Arc<str>]> = [].into();
        let of_host =
            within.and_then(|(_, listener, host)| index.get(VirtualHostKey { table, listener, host }));
        if let Some(entries) = of_host {
            routes.extend(entries.routes.values().cloned());
            clusters = entries.clusters.keys().cloned().collect();
            owners.extend(entries.owners.iter().map(|id| reader.object(*id)));
        }
        owners.sort_unstable();
        let domains =
            names.iter().filter(|name| !names.iter().any(|other| other != *name && takes(other, name)));
        let host = VirtualHost {
            name: name.clone(),
            domains: domains.map(|name| Arc::from(*name)).collect(),
            metadata: listener.metadata.clone(),
        };
        let routes: Vec<&Bytes> = routes.iter().collect();
        let fragment = Arc::new(resource::virtual_host(&host, &routes, clusters, owners.into()));
        let place = HostPlace { misdirected: true, listener: listener.place.clone(), first: None, name };
        outputs.push(HostOutput { place, fragment });
    }
    (!outputs.is_empty()).then(|| outputs.into())
}

/// The own hosts of a table that other listeners' hostnames may lie in, with their listeners: virtual hosts that take
/// more than one name, and the hostnames of the listeners themselves.
fn own_hosts<'a>(
    table: TableKey,
    gateways: GatewayTable<'_>,
    broad: &BroadHosts,
    store: &'a Store,
) -> BTreeSet<(&'a str, ListenerId, Host)> {
    let own = gateways.all(table.fleet).filter(|listener| listener.table == Some(table));
    let hostnames = own.filter_map(|listener| Some((listener.id, Host::Name(listener.hostname?))));
    let text = |host| match host {
        Host::Any => "*",
        Host::Name(name) => &**store.name(name),
    };
    broad.of(table).chain(hostnames).map(|(listener, host)| (text(host), listener, host)).collect()
}

/// True when the domain takes every request of a hostname.
fn takes(domain: &str, hostname: &str) -> bool {
    domain == "*" || covers(domain, hostname)
}
