//! Listeners grouped by what the proxy binds.

use std::sync::Arc;

use ir::{
    downstream::{ConnectionSettings, HttpSettings, SocketSettings},
    listener::{DownstreamTls, FilterMove, ListenerRef, Transport},
    telemetry::Telemetry,
    tls::TlsParameters,
};
use rustc_hash::FxHashMap;
use store::{Infrastructure, ObjectId, facts};

use super::{
    Fleet, clients,
    listener::{Judged, Protocol},
    member::Member,
    misdirected::{self, Door, Guard},
    parameters::Parameters,
};
use crate::{ListenerId, Reader, SocketKey};

/// Offset of ports below 1024 in a cluster, where proxies run without privileges: Gateway port 80 is 10080 in the Pod.
const PRIVILEGED_PORT_OFFSET: u16 = 10_000;
/// First port that needs no privilege.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// One socket of a fleet, before it is known which HTTP filters its routes need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// What it is known by.
    pub key: SocketKey,
    /// Name in xDS: that of the first listener on it.
    pub name: Arc<str>,
    /// Address to bind.
    pub address: Arc<str>,
    /// True on a host, where other processes may have the port.
    pub exclusive: bool,
    /// True when IPv4 comes in too although the address is IPv6.
    pub ipv4_compat: bool,
    /// What it says of all connections.
    pub settings: Arc<SocketSettings>,
    /// What it has of telemetry.
    pub telemetry: Arc<Telemetry>,
    /// Changes of the order of its HTTP filters.
    pub filter_order: Arc<[FilterMove]>,
    /// The listeners on it, in order within each protocol.
    pub listeners: Box<[ListenerRef]>,
    /// Chains in the order of the listeners.
    pub chains: Box<[Chain]>,
}

/// What one listener (or all plain HTTP listeners of the port) adds to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// HTTP with the table of listener `table`.
    Http {
        /// The listener that gives the table its name.
        table: ListenerId,
        /// Name of the chain.
        name: Arc<str>,
        /// Name of its route configuration: that of the chain of listener `table`.
        routes: Arc<str>,
        /// SNI; `None` for any, and for plain HTTP.
        server_name: Option<Arc<str>>,
        /// Termination; `None` for plain HTTP.
        tls: Option<DownstreamTls>,
        /// Prefix of statistics.
        stat_prefix: Arc<str>,
        /// What it says of requests.
        settings: Arc<HttpSettings>,
        /// The listener whose routes tell the host of requests that name none.
        default_host_of: Option<ListenerId>,
        /// What it says of connections.
        connection: ConnectionSettings,
        /// Which requests for other listeners' hosts the route configuration answers with 421.
        guard: Guard,
    },
    /// A TCP, TLS or UDP listener: its chains depend on its routes, see `layer4::chains`.
    Layer4 {
        /// The listener.
        listener: ListenerId,
        /// Name in xDS of the listener.
        name: Arc<str>,
        /// True for a TLS listener: clients say by SNI which host they mean.
        by_server_name: bool,
        /// Hostname; `None` for any.
        hostname: Option<Arc<str>>,
        /// Termination, for TLS listeners with certificates.
        tls: Option<DownstreamTls>,
        /// What it says of connections.
        connection: ConnectionSettings,
        /// True when its connections are closed, whatever routes it has, because its policy cannot be applied.
        broken: bool,
    },
}

/// Groups ready listeners by bound address, transport and port.
///
/// A socket stands where its first listener stands in the spec, HTTP and HTTPS before TCP and TLS before UDP: that
/// order gives sockets their names.
pub(super) fn group(
    fleet: &Fleet,
    members: &[Member<'_>],
    (judged, doors): (&[Judged<'_>], &[Door]),
    (parameters, telemetry): (&Parameters, &Arc<Telemetry>),
    reader: &mut Reader<'_>,
) -> Box<[Socket]> {
    let settings = reader.settings();
    let addresses = Addresses::of(members, parameters, &settings.infrastructure);
    let ipv4_compat = settings.infrastructure == Infrastructure::Kubernetes && parameters.bind_address().1;
    let exclusive = settings.infrastructure != Infrastructure::Kubernetes;
    let filter_order = parameters.filter_order();
    let mut order: Vec<usize> = (0..judged.len()).filter(|i| judged[*i].ready()).collect();
    order.sort_by_key(|i| rank(judged[*i].protocol));
    let mut sockets: Vec<Building> = Vec::new();
    for i in order {
        let listener = &judged[i];
        let port = match settings.infrastructure {
            Infrastructure::Kubernetes => container_port(listener.fact.port, parameters.keeps_ports()),
            Infrastructure::Host { .. } => listener.fact.port,
        };
        let transport = if listener.protocol == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
        let (xds_name, door) = (&listener.xds_name, doors[i]);
        let routes = &judged[door.table];
        for (nth, (n, address)) in addresses.of_gateway(listener.gateway).enumerate() {
            let key = SocketKey { fleet: fleet.id, address: n, port, transport };
            let existing = sockets.iter().position(|building| building.socket.key == key);
            let index = existing.unwrap_or_else(|| {
                // The name must be unique: further addresses of a Gateway add themselves to it.
                let name = if nth == 0 { xds_name.clone() } else { format!("{xds_name}@{address}").into() };
                let (address, listeners, chains) = (address.clone(), [].into(), [].into());
                let settings = Arc::default();
                let filter_order = filter_order.clone();
                let socket = Socket {
                    key,
                    name,
                    address,
                    exclusive,
                    ipv4_compat,
                    settings,
                    telemetry: telemetry.clone(),
                    filter_order,
                    listeners,
                    chains,
                };
                sockets.push(Building { socket, settings: None, listeners: Vec::new(), chains: Vec::new() });
                sockets.len() - 1
            });
            let building = &mut sockets[index];
            building.listeners.push(ListenerRef {
                owner: listener.owner.clone(),
                name: listener.fact.name.clone(),
                gateway: reader.object(listener.gateway),
            });
            clients::join(&mut building.settings, listener);
            let chains = &mut building.chains;
            // Plain HTTP listeners of a port share the first one's chain.
            if listener.protocol == Protocol::Http
                && chains.iter().any(|c| matches!(c, Chain::Http { tls: None, .. }))
            {
                continue;
            }
            chains.push(chain(listener, (routes, port), door, reader));
        }
    }
    let finish = |b: Building| Socket {
        settings: b.settings.unwrap_or_default().into(),
        listeners: b.listeners.into(),
        chains: b.chains.into(),
        ..b.socket
    };
    let sockets: Vec<Socket> = sockets.into_iter().map(finish).collect();
    let by_quic = quic(judged, &sockets);
    sockets.into_iter().chain(by_quic).collect()
}

/// Sockets for HTTP/3 beside those for TCP: with the same HTTPS listeners, but for those that ask clients for
/// certificates.
fn quic(judged: &[Judged<'_>], sockets: &[Socket]) -> Vec<Socket> {
    let ports = clients::http3_ports(judged);
    let reachable = |listener: &ListenerRef| {
        judged
            .iter()
            .find(|j| j.owner == listener.owner && j.fact.name == listener.name)
            .filter(|j| ports.contains(&j.fact.port) && clients::by_quic(j))
    };
    let mut by_quic = Vec::new();
    for socket in sockets.iter().filter(|socket| socket.key.transport == Transport::Tcp) {
        let listeners: Vec<&ListenerRef> =
            socket.listeners.iter().filter(|l| reachable(l).is_some()).collect();
        if listeners.is_empty() {
            continue;
        }
        let names: Vec<&Arc<str>> =
            listeners.iter().filter_map(|l| reachable(l)).map(|j| &j.xds_name).collect();
        let chains = socket.chains.iter().filter_map(|chain| match chain {
            Chain::Http { name, tls: Some(tls), .. } if names.contains(&name) => {
                let mut chain = chain.clone();
                if let Chain::Http { tls: of_chain, .. } = &mut chain {
                    *of_chain = Some(DownstreamTls { alpn: ["h3".into()].into(), ..tls.clone() });
                }
                Some(chain)
            }
            _ => None,
        });
        by_quic.push(Socket {
            key: SocketKey { transport: Transport::Udp, ..socket.key },
            name: format!("{}-quic", socket.name).into(),
            // Envoy gives each worker a socket of its own for QUIC.
            exclusive: false,
            settings: Arc::default(),
            chains: chains.collect(),
            listeners: listeners.into_iter().cloned().collect(),
            ..socket.clone()
        });
    }
    by_quic
}

/// A socket while listeners join it.
struct Building {
    socket: Socket,
    settings: Option<SocketSettings>,
    listeners: Vec<ListenerRef>,
    chains: Vec<Chain>,
}

fn rank(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Http | Protocol::Https => 0,
        Protocol::Tls | Protocol::Tcp => 1,
        Protocol::Udp | Protocol::Unknown => 2,
    }
}

fn chain(
    listener: &Judged<'_>,
    (routes, port): (&Judged<'_>, u16),
    door: Door,
    reader: &Reader<'_>,
) -> Chain {
    let policy = listener.policy.as_ref().map(|policy| &policy.settings.tls);
    let given = policy.and_then(|tls| tls.alpn.as_deref());
    let tls = |alpn: Box<[Arc<str>]>| DownstreamTls {
        certificates: listener.certificates.iter().map(|c| c.xds_name.clone()).collect(),
        alpn,
        parameters: policy.map_or_else(TlsParameters::default, |tls| tls.parameters.clone()),
        tickets: policy.is_some_and(|tls| tls.tickets),
        sessions: policy.is_some_and(|tls| tls.sessions),
        client: listener.client.as_ref().map(|asked| asked.validation.clone()),
    };
    match listener.protocol {
        Protocol::Http | Protocol::Https => {
            let secure = listener.protocol == Protocol::Https;
            Chain::Http {
                table: routes.id,
                name: listener.xds_name.clone(),
                routes: routes.xds_name.clone(),
                server_name: listener.fact.hostname.filter(|_| secure).map(|h| reader.name(h).clone()),
                tls: secure.then(|| tls(misdirected::alpn(given, listener))),
                stat_prefix: format!("{}-{port}", if secure { "https" } else { "http" }).into(),
                settings: clients::http(listener, reader),
                default_host_of: clients::default_host_of(listener, reader),
                connection: clients::connection(listener),
                guard: door.guard,
            }
        }
        _ => Chain::Layer4 {
            listener: listener.id,
            name: listener.xds_name.clone(),
            by_server_name: listener.protocol == Protocol::Tls,
            hostname: listener.fact.hostname.map(|h| reader.name(h).clone()),
            tls: (!listener.certificates.is_empty()).then(|| tls(given.unwrap_or_default().into())),
            connection: clients::connection(listener),
            broken: listener.policy.as_ref().is_some_and(|policy| policy.broken),
        },
    }
}

/// Addresses that proxies bind.
struct Addresses {
    /// Each once.
    all: Vec<Arc<str>>,
    /// Indexes of those of each Gateway.
    of_gateway: FxHashMap<ObjectId, Vec<u16>>,
}

impl Addresses {
    fn of(members: &[Member<'_>], parameters: &Parameters, infrastructure: &Infrastructure) -> Addresses {
        let mut addresses = Addresses { all: Vec::new(), of_gateway: FxHashMap::default() };
        for member in members {
            let own = of_gateway(member.gateway, parameters, infrastructure).into_iter();
            let indexes = own.filter_map(|address| addresses.index(address)).collect();
            addresses.of_gateway.insert(member.part.id, indexes);
        }
        addresses
    }

    fn index(&mut self, address: Arc<str>) -> Option<u16> {
        let known = self.all.iter().position(|there| *there == address);
        let index = known.unwrap_or_else(|| {
            self.all.push(address);
            self.all.len() - 1
        });
        u16::try_from(index).ok()
    }

    fn of_gateway(&self, gateway: ObjectId) -> impl Iterator<Item = (u16, &Arc<str>)> {
        let indexes = self.of_gateway.get(&gateway).into_iter().flatten();
        indexes.map(|index| (*index, &self.all[usize::from(*index)]))
    }
}

/// Addresses to bind for a Gateway: in a cluster all of the Pod's; on a host those of the Gateway, else the configured
/// one.
fn of_gateway(
    gateway: &facts::Gateway,
    parameters: &Parameters,
    infrastructure: &Infrastructure,
) -> Vec<Arc<str>> {
    match infrastructure {
        Infrastructure::Kubernetes => vec![parameters.bind_address().0.into()],
        Infrastructure::Host { listen } => {
            let given: Vec<Arc<str>> = (gateway.addresses.iter())
                .filter(|address| &*address.kind == "IPAddress")
                .filter_map(|address| address.value.clone())
                .collect();
            if given.is_empty() { vec![listen.clone()] } else { given }
        }
    }
}

/// The port that Envoy binds in a Pod for a port of a Gateway.
pub(super) fn container_port(port: u16, keep: bool) -> u16 {
    if port < FIRST_UNPRIVILEGED_PORT && !keep { port + PRIVILEGED_PORT_OFFSET } else { port }
}
