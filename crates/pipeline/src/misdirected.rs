//! Virtual hosts that answer requests for other listeners' hosts with 421 (GEP-3567).
//!
//! A table whose listener shares its port with others holds their hostnames too. Envoy takes the most specific domain,
//! as Gateway API gives a request to the listener with the most specific hostname, so a hostname of another listener
//! that lies within an own virtual host takes its requests out of it. Connections that are not shared are not refused:
//! their requests go on to the routes of that own virtual host, so these follow in the refusing one.
//!
//! A listener that asks clients for certificates otherwise than the table's own gets no request over its connections at
//! all: whoever made them has not shown what that listener asks for (GEP-91). Its hostnames stand in a virtual host
//! that refuses whatever comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use ir::listener::VirtualHost;
use store::Store;
use translate::{GatewayTable, Host, ListenerId, Reader, TableKey, VirtualHostKey, host::wider};
use xds::resource;

use crate::{
    isolation::BroadHosts,
    neighbours::{Neighbourhood, Ports},
    order::{HostIndex, HostPlace},
    stages::HostOutput,
};

/// A refusing virtual host, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Refusing<'a> {
    /// Hostnames of listeners that ask for other certificates.
    Always,
    /// Other hostnames; with the own virtual host that they lie in.
    Shared(Option<(&'a str, ListenerId, Host)>),
}

/// The refusing virtual hosts of a table: one for each own virtual host that other listeners' hostnames lie in, one for
/// those that lie in none, and one for those of listeners that ask clients for other certificates.
pub(crate) fn unit(
    table: TableKey,
    store: &Store,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    (ports, index, broad): (&Ports<'_>, &HostIndex, &BroadHosts),
) -> Option<Box<[HostOutput]>> {
    let listener = gateways.listener(reader, table.fleet, table.listener)?;
    let around = ports.around(table)?;
    let own = own_hosts(table, &around, broad, store);
    let mut groups: BTreeMap<Refusing<'_>, BTreeSet<&str>> = BTreeMap::new();
    for (other, always) in around.refused(store) {
        let name = other.hostname.map_or("*", |name| store.name(name));
        let group = if always {
            Refusing::Always
        } else {
            let within = std::iter::once(name.to_owned()).chain(broader(name));
            let within = within.filter_map(|pattern| own.get_key_value(&*pattern)).next();
            Refusing::Shared(within.map(|(pattern, (listener, host))| (*pattern, *listener, *host)))
        };
        groups.entry(group).or_default().insert(name);
    }
    let gateway = reader.object(listener.gateway);
    let mut outputs = Vec::with_capacity(groups.len());
    for (group, names) in groups {
        // Names of own virtual hosts have no further slash, and no hostname is a dash.
        let (place, within) = match group {
            Refusing::Always => ("client-certificate/-".to_owned(), None),
            Refusing::Shared(None) => ("misdirected/-".to_owned(), None),
            Refusing::Shared(Some((pattern, listener, host))) => {
                let key = VirtualHostKey { table, listener, host };
                (format!("misdirected/{}", pattern.replace('.', "_")), Some(key))
            }
        };
        let name: Arc<str> = format!("{}/{place}", listener.xds_name).into();
        let mut owners = vec![gateway.clone()];
        let refusal = xds::encode::misdirected_route_field(group == Refusing::Always);
        let mut routes: Vec<Bytes> = vec![Bytes::from_static(refusal)];
        let mut clusters: Box<[Arc<str>]> = [].into();
        let of_host = within.and_then(|key| index.get(key));
        if let Some(entries) = of_host {
            routes.extend(entries.routes.iter().map(|route| route.1.clone()));
            clusters = entries.clusters.keys().cloned().collect();
            owners.extend(entries.owners.iter().map(|id| reader.object(*id)));
        }
        owners.sort_unstable();
        let domains = names.iter().filter(|name| !broader(name).any(|other| names.contains(&*other)));
        // A host may be written with a dot at its end. Only a virtual host for all hosts would take it.
        let dotted = group == Refusing::Always && own.contains_key("*");
        let domains = domains.flat_map(|name| {
            let absolute = (dotted && *name != "*").then(|| Arc::from(format!("{name}.")));
            [Some(Arc::from(*name)), absolute].into_iter().flatten()
        });
        let host = VirtualHost {
            name: name.clone(),
            domains: domains.collect(),
            metadata: listener.metadata.clone(),
            counted: false,
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
    around: &Neighbourhood<'_>,
    broad: &BroadHosts,
    store: &'a Store,
) -> BTreeMap<&'a str, (ListenerId, Host)> {
    let hostnames = around.own().iter().filter_map(|own| Some((own.id, Host::Name(own.hostname?))));
    let text = |host| match host {
        Host::Any => "*",
        Host::Name(name) => &**store.name(name),
    };
    let hosts: BTreeSet<(ListenerId, Host)> = broad.of(table).chain(hostnames).collect();
    hosts.into_iter().map(|(listener, host)| (text(host), (listener, host))).collect()
}

/// Every domain but the name itself that takes all requests for it, the most specific first.
fn broader(name: &str) -> impl Iterator<Item = String> + '_ {
    let all = wider(name).map(|pattern| if pattern.is_empty() { "*".to_owned() } else { pattern });
    all.filter(move |pattern| pattern != name)
}
