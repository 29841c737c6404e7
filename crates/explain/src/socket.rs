//! The socket that takes a connection.

use envoy_api::{
    core::{address::Address, socket_address},
    listener::Listener,
};
use ir::{Kind, ObjectRef, listener::ListenerRef};
use pipeline::{Fleet, Pipeline, SocketSpec};
use store::{Fact, Store};

use crate::{
    Explanation, Outcome, Protocol, Question, Socket,
    config::{self, Config},
};

/// What comes to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// TCP.
    Connections,
    /// HTTP/3.
    Quic,
    /// UDP that is forwarded.
    Datagrams,
}

/// A socket with its listener in xDS.
pub(crate) struct Bound<'a> {
    pub(crate) spec: &'a SocketSpec,
    /// The port that its listeners have in their objects; below 1024 proxies bind another one.
    pub(crate) port: u16,
    pub(crate) listener: Listener,
    pub(crate) takes: Takes,
}

/// All sockets of the proxies.
pub(crate) fn all<'a>(pipeline: &Pipeline, fleet: &'a Fleet, config: &Config<'_>) -> Vec<Bound<'a>> {
    let sockets = fleet.spec.sockets.iter().filter_map(|spec| {
        let listener = config.listener(&spec.name)?;
        let port = gateway_port(pipeline.store(), spec).unwrap_or(spec.port);
        let takes = match (is_udp(&listener), &listener.udp_listener_config) {
            (false, _) => Takes::Connections,
            (true, Some(udp)) if udp.quic_options.is_some() => Takes::Quic,
            (true, _) => Takes::Datagrams,
        };
        Some(Bound { spec, port, listener, takes })
    });
    sockets.collect()
}

/// The socket of a port: that of the Gateway's listener, or the one that proxies bind for it.
pub(crate) fn on_port<'b, 'a>(sockets: &'b [Bound<'a>], port: u16, takes: Takes) -> Option<&'b Bound<'a>> {
    let of = |port_of: fn(&Bound<'_>) -> u16| {
        sockets.iter().find(|socket| socket.takes == takes && port_of(socket) == port)
    };
    of(|socket| socket.port).or_else(|| of(|socket| socket.spec.port))
}

/// Finds the socket by the port of the URL.
pub(crate) fn find<'b, 'a>(
    pipeline: &Pipeline,
    (fleet, sockets): (&Fleet, &'b [Bound<'a>]),
    question: &Question,
    told: &mut Explanation,
) -> Option<&'b Bound<'a>> {
    let takes = if question.protocol == Some(Protocol::Http3) { Takes::Quic } else { Takes::Connections };
    let Some(found) = on_port(sockets, question.port, takes) else {
        nowhere(pipeline, (fleet, sockets), question, told);
        return None;
    };
    let listeners = found.spec.listeners.iter().map(|l| format!("{} listener {}", l.owner, l.name));
    told.socket = Some(Socket {
        name: found.spec.name.to_string(),
        address: config::address(found.listener.address.as_ref()),
        port: found.spec.port,
        gateway_port: found.port,
        transport: if takes == Takes::Quic { "UDP" } else { "TCP" }.to_owned(),
        listeners: listeners.collect(),
    });
    Some(found)
}

/// Nothing listens on the port.
fn nowhere(
    pipeline: &Pipeline,
    (fleet, sockets): (&Fleet, &[Bound<'_>]),
    question: &Question,
    told: &mut Explanation,
) {
    let port = question.port;
    if on_port(sockets, port, Takes::Datagrams).is_some() {
        return told.conclude(Outcome::closed(format!("port {port} takes datagrams, no HTTP")));
    }
    let mut ports: Vec<u16> = sockets.iter().map(|socket| socket.port).collect();
    ports.sort_unstable();
    ports.dedup();
    let open = match &ports[..] {
        [] => "no port at all".to_owned(),
        ports => format!("port {}", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
    };
    told.conclude(Outcome::closed(format!(
        "nothing listens on port {port}: the Gateway's proxies listen on {open}"
    )));
    let set_of = |object: &ObjectRef| {
        let store = pipeline.store();
        let set = store.find(object).and_then(|id| store.fact(id))?;
        store.object(set.listener_set_of()?)
    };
    let ours = |problem: &ir::Problem| {
        let gateways = &fleet.spec.gateways;
        let object = |kind| {
            ObjectRef::new(
                kind,
                problem.object.namespace.as_deref().unwrap_or_default(),
                &problem.object.name,
            )
        };
        match &*problem.object.kind {
            "Gateway" => gateways.contains(&object(Kind::Gateway)),
            "ListenerSet" => set_of(&object(Kind::ListenerSet)).is_some_and(|of| gateways.contains(of)),
            _ => false,
        }
    };
    pipeline.problems().iter().filter(|problem| ours(problem)).for_each(|problem| told.trouble(problem));
}

fn is_udp(listener: &Listener) -> bool {
    let address = listener.address.as_ref().and_then(|address| address.address.as_ref());
    matches!(address, Some(Address::SocketAddress(socket)) if socket.protocol == socket_address::Protocol::Udp as i32)
}

/// The port that the listeners of a socket have in their objects.
fn gateway_port(store: &Store, socket: &SocketSpec) -> Option<u16> {
    socket.listeners.iter().find_map(|listener| port_of(store, listener))
}

fn port_of(store: &Store, listener: &ListenerRef) -> Option<u16> {
    let listeners = match store.fact(store.find(&listener.owner)?)? {
        Fact::Gateway(gateway) => &gateway.listeners,
        Fact::ListenerSet(set) => &set.listeners,
        _ => return None,
    };
    listeners.iter().find(|l| l.name == listener.name).map(|l| l.port)
}
