//! Filter chains of TCP, TLS and UDP listeners, from the routes that are attached to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ir::{
    Kind,
    cluster::EMPTY_CLUSTER,
    downstream::ConnectionSettings,
    listener::{FilterChain, Network, TcpTarget, Transport},
};
use store::ObjectId;

use crate::{
    AttachListener, GatewayTable, Host, ListenerId, PlanKey, Policies, Reader, RouteTable, SharedBackend,
    Slot,
    gateway::{Chain, Socket},
    host::covers,
    policy::backend_traffic::{layer4 as policy, merging},
    route::Layer4,
};

/// The host that stands for every host.
const ANY: &str = "*";

/// What the routes of a socket's TCP, TLS and UDP listeners come to.
#[derive(Debug, Default)]
pub struct Layer4Chains {
    /// Filter chains for each member of the socket's `chains`; none for HTTP.
    pub chains: Vec<Vec<FilterChain>>,
    /// Routes that have a filter chain, ascending.
    pub routes: BTreeSet<ObjectId>,
}

/// The outputs of earlier stages that filter chains are made from.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// Gateways.
    pub gateways: GatewayTable<'a>,
    /// Routes.
    pub routes: RouteTable<'a>,
    /// Policies.
    pub policies: Policies<'a>,
}

/// Makes the filter chains of a socket. `bound` gives the routes of a listener with their hosts.
///
/// Envoy refuses a listener in which two chains match the same server name, so each name goes to one route: that of the
/// first listener, and there to the oldest. A TCP or UDP listener has no names to share out, so its oldest route has it
/// all (Gateway API, TCPRoute and UDPRoute).
pub fn chains<'a>(
    socket: &Socket,
    bound: impl Fn(ListenerId) -> Vec<(ObjectId, &'a [Host])>,
    reader: &mut Reader<'_>,
    tables: Tables<'_>,
) -> Layer4Chains {
    let mut work = Work { socket, tables, taken: BTreeMap::new(), out: Layer4Chains::default() };
    for (i, chain) in socket.chains.iter().enumerate() {
        work.out.chains.push(Vec::new());
        if let Chain::Http { server_name, .. } = chain {
            work.taken.insert(server_name.clone().unwrap_or_else(|| ANY.into()), i);
        }
    }
    for (i, chain) in socket.chains.iter().enumerate() {
        if let Chain::Layer4 { listener, broken: false, .. } = chain {
            for (route, hosts) in by_age(bound(*listener), reader, tables.routes) {
                work.route(i, route, hosts, reader);
            }
        }
    }
    work.close();
    work.out
}

/// Routes of a listener: by server name before those of the rest, then the oldest first, then by name.
fn by_age<'a>(
    bound: Vec<(ObjectId, &'a [Host])>,
    reader: &mut Reader<'_>,
    routes: RouteTable<'_>,
) -> Vec<(ObjectId, &'a [Host])> {
    let mut keyed: Vec<_> = (bound.into_iter())
        .filter_map(|(id, hosts)| {
            let created = routes.layer4(reader, id)?.0.created;
            let object = reader.object(id);
            Some(((object.kind != Kind::TlsRoute, created, object.namespace, object.name), (id, hosts)))
        })
        .collect();
    keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    keyed.into_iter().map(|(_, route)| route).collect()
}

struct Work<'s> {
    socket: &'s Socket,
    tables: Tables<'s>,
    /// Server names that a chain matches, with the index in the socket's `chains` of the listener that has it.
    taken: BTreeMap<Arc<str>, usize>,
    out: Layer4Chains,
}

impl Work<'_> {
    fn route(&mut self, index: usize, id: ObjectId, hosts: &[Host], reader: &mut Reader<'_>) {
        let Chain::Layer4 { listener, tls, by_server_name, connection, .. } = &self.socket.chains[index]
        else {
            return;
        };
        let Some((_, route)) = self.tables.routes.layer4(reader, id) else { return };
        if tls.is_some() && matches!(route.target, TcpTarget::ServerName(_)) {
            // The host would get in plain text what the client sent encrypted.
            return;
        }
        let texts = hosts.iter().map(|host| match host {
            Host::Any => ANY.into(),
            Host::Name(name) => reader.name(*name).clone(),
        });
        let free: BTreeSet<Arc<str>> = texts.filter(|host| !self.taken.contains_key(host)).collect();
        if free.is_empty() {
            return;
        }
        self.out.routes.insert(id);
        self.taken.extend(free.iter().map(|host| (host.clone(), index)));
        let prefix = match (tls, by_server_name) {
            (Some(_), _) => "tls-terminate",
            (None, true) => "tls-passthrough",
            (None, false) => "tcp",
        };
        let fleet = self.socket.key.fleet;
        let Some(listener) = self.tables.gateways.listener(reader, fleet, *listener) else { return };
        let rule = (id, route.section.as_deref());
        let traffic = policy::of_chain(rule, listener, reader, self.tables.policies);
        let encrypted = tls.is_none() && *by_server_name;
        let target = self.target((id, route), listener, encrypted, reader);
        let network = match self.socket.key.transport {
            Transport::Tcp => Network::Tcp {
                target,
                stat_prefix: traffic.stat_name.unwrap_or_else(|| self.stat_prefix(prefix)),
                by_source: traffic.by_source,
            },
            Transport::Udp => udp(target.cluster().clone(), traffic.by_source),
        };
        self.out.chains[index].push(FilterChain {
            name: route.name.clone(),
            server_names: free.into_iter().filter(|host| &**host != ANY).collect(),
            tls: tls.clone(),
            connection: connection.clone(),
            network,
        });
    }

    /// Where connections of a route go; those that should be sent over TLS with a certificate that is not there are
    /// closed. `encrypted` tells that the client's own TLS goes on to the backend.
    fn target(
        &self,
        (id, route): (ObjectId, &Layer4),
        listener: &AttachListener,
        encrypted: bool,
        reader: &mut Reader<'_>,
    ) -> TcpTarget {
        let gateway = listener.gateway;
        if let Some(target) = route.passed_through.as_ref().filter(|_| encrypted) {
            return target.clone();
        }
        let unserved = self.tables.routes.unserved(reader, self.tables.gateways, id, gateway);
        match unserved.is_some_and(|unserved| unserved.has_rule(0)) {
            true => TcpTarget::Cluster(EMPTY_CLUSTER.into()),
            false => match self.shared((id, route), listener, reader) {
                Some(backend) => TcpTarget::Cluster(backend.name(reader)),
                None => route.target.clone(),
            },
        }
    }

    /// The backend whose cluster a route shares with others.
    fn shared(
        &self,
        (id, route): (ObjectId, &Layer4),
        listener: &AttachListener,
        reader: &mut Reader<'_>,
    ) -> Option<SharedBackend> {
        listener.on_routes.merging.as_ref()?;
        let plan = self.tables.routes.plan(reader, PlanKey { route: id, rule: 0, slot: Slot::Rule })?;
        let rule = (id, route.section.as_deref());
        let tables = (self.tables.gateways, self.tables.policies);
        merging::terms(rule, listener, reader, tables)?.of_all(plan, reader)
    }

    /// Adds chains that close connections: for the hostname of a listener that no route of it takes, where a broader
    /// chain of another listener would take it (Gateway API, listener isolation), and for everything else where a
    /// listener has no route, because Envoy wants at least one chain.
    fn close(&mut self) {
        let socket = self.socket;
        for (i, chain) in socket.chains.iter().enumerate() {
            let Chain::Layer4 { name, hostname, .. } = chain else { continue };
            let idle = self.out.chains[i].is_empty();
            if let Some(hostname) = hostname.as_ref().filter(|hostname| self.is_captured(i, hostname)) {
                self.taken.insert(hostname.clone(), i);
                self.push_closing(i, name.clone(), [hostname.clone()].into());
            }
            if idle && !self.taken.contains_key(ANY) {
                self.taken.insert(ANY.into(), i);
                self.push_closing(i, EMPTY_CLUSTER.into(), [].into());
            }
        }
    }

    fn is_captured(&self, index: usize, hostname: &Arc<str>) -> bool {
        !self.taken.contains_key(hostname)
            && (self.taken.iter())
                .any(|(name, at)| *at != index && (&**name == ANY || covers(name, hostname)))
    }

    fn push_closing(&mut self, index: usize, name: Arc<str>, server_names: Box<[Arc<str>]>) {
        let network = match self.socket.key.transport {
            Transport::Tcp => Network::Tcp {
                target: TcpTarget::Cluster(EMPTY_CLUSTER.into()),
                stat_prefix: self.stat_prefix("tcp"),
                by_source: false,
            },
            Transport::Udp => udp(EMPTY_CLUSTER.into(), false),
        };
        let connection = match &self.socket.chains[index] {
            Chain::Layer4 { connection, .. } => connection.clone(),
            Chain::Http { .. } => ConnectionSettings::default(),
        };
        self.out.chains[index].push(FilterChain { name, server_names, tls: None, connection, network });
    }

    fn stat_prefix(&self, prefix: &str) -> Arc<str> {
        format!("{prefix}-{}", self.socket.key.port).into()
    }
}

fn udp(cluster: Arc<str>, by_source: bool) -> Network {
    Network::Udp { cluster, stat_prefix: "service".into(), by_source }
}
