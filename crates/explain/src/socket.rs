//! The socket that takes a connection.

use envoy_api::{
    core::{address::Address, socket_address},
    listener::Listener,
};
use ir::listener::ListenerRef;
use pipeline::{Fleet, Pipeline, SocketSpec};
use store::{Fact, Store};

use crate::{
    Explanation, Outcome, Protocol, Question, Socket,
    config::{self, Config},
};

/// Finds the socket by the port of the URL: that of the Gateway's listener, or the one that proxies bind for it.
pub(crate) fn find(
    pipeline: &Pipeline,
    fleet: &Fleet,
    config: &Config<'_>,
    question: &Question,
    told: &mut Explanation,
) -> Option<Listener> {
    let store = pipeline.store();
    let datagrams = question.protocol == Some(Protocol::Http3);
    let sockets: Vec<(&SocketSpec, u16, Listener)> = (fleet.spec.sockets.iter())
        .filter_map(|socket| {
            let listener = config.listener(&socket.name)?;
            (is_udp(&listener) == datagrams)
                .then(|| (socket, gateway_port(store, socket).unwrap_or(socket.port), listener))
        })
        .collect();
    let of_gateway = sockets.iter().position(|(_, port, _)| *port == question.port);
    let found = of_gateway.or_else(|| sockets.iter().position(|(s, ..)| s.port == question.port));
    let Some(found) = found else {
        nowhere(pipeline, &sockets, question, told);
        return None;
    };
    let (socket, port, listener) = sockets.into_iter().nth(found)?;
    let listeners = (socket.listeners.iter()).map(|l| format!("{} listener {}", l.owner, l.name)).collect();
    told.socket = Some(Socket {
        name: socket.name.to_string(),
        address: config::address(listener.address.as_ref()),
        port: socket.port,
        gateway_port: port,
        listeners,
    });
    Some(listener)
}

/// Nothing listens on the port.
fn nowhere(
    pipeline: &Pipeline,
    sockets: &[(&SocketSpec, u16, Listener)],
    question: &Question,
    told: &mut Explanation,
) {
    let mut ports: Vec<u16> = sockets.iter().map(|(_, port, _)| *port).collect();
    ports.sort_unstable();
    ports.dedup();
    let open = match &ports[..] {
        [] => "no port at all".to_owned(),
        ports => format!("port {}", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
    };
    told.conclude(Outcome::closed(format!(
        "nothing listens on port {}: the Gateway's proxies listen on {open}",
        question.port
    )));
    let owner = |kind: &str, namespace: Option<&str>, name: &str| {
        let own = format!("{}/{name}", namespace.unwrap_or_default());
        kind == "ListenerSet" || (kind == "Gateway" && own == told.gateway)
    };
    let problems: Vec<ir::Problem> = pipeline
        .problems()
        .into_iter()
        .filter(|p| owner(&p.object.kind, p.object.namespace.as_deref(), &p.object.name))
        .collect();
    problems.iter().for_each(|problem| told.trouble(problem));
}

fn is_udp(listener: &Listener) -> bool {
    let address = listener.address.as_ref().and_then(|address| address.address.as_ref());
    matches!(address, Some(Address::SocketAddress(socket)) if socket.protocol == socket_address::Protocol::Udp as i32)
}

/// The port that the listeners of a socket have in their objects; below 1024 proxies bind another one.
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
