//! Listeners from the sockets of a Gateway and the HTTP filters that its routes need.

use std::collections::BTreeSet;

use ir::{
    ObjectRef,
    listener::{FilterChain, Http, HttpFilter, Listener, Network},
};
use translate::{
    ListenerId,
    gateway::{Chain, Guard, Socket},
};

/// The listener of one socket. `layer4` are the filter chains of its TCP, TLS and UDP listeners, by their place among
/// the socket's chains; `filters` tells what the routes of a chain's table need.
pub fn of_socket(
    socket: &Socket,
    owner: ObjectRef,
    layer4: Vec<Vec<FilterChain>>,
    filters: impl Fn(ListenerId) -> BTreeSet<HttpFilter>,
) -> Listener {
    let mut chains = Vec::new();
    let mut default_chain = None;
    for (chain, layer4) in socket.chains.iter().zip(layer4) {
        match chain {
            Chain::Http { table, name, routes, server_name, tls, stat_prefix, guard } => {
                let chain = FilterChain {
                    name: name.clone(),
                    server_names: server_name.iter().cloned().collect(),
                    tls: tls.clone(),
                    network: Network::Http(Http {
                        route_configuration: routes.clone(),
                        stat_prefix: stat_prefix.clone(),
                        filters: filters(*table),
                        notes_connection: *guard == Guard::Shared,
                    }),
                };
                if tls.is_some() {
                    chains.push(chain);
                } else {
                    default_chain = Some(chain);
                }
            }
            Chain::Layer4 { .. } => chains.extend(layer4),
        }
    }
    Listener {
        name: socket.name.clone(),
        address: socket.address.clone(),
        port: socket.key.port,
        transport: socket.key.transport,
        exclusive: socket.exclusive,
        ipv4_compat: socket.ipv4_compat,
        chains: chains.into(),
        default_chain,
        owners: [owner].into(),
    }
}
