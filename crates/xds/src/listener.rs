//! Listeners from the sockets of a Gateway and the HTTP filters that its routes need.

use std::collections::BTreeSet;

use ir::{
    ObjectRef,
    listener::{FilterChain, Http, HttpFilter, Listener, Network, Transport},
};
use translate::{
    ListenerId,
    gateway::{Chain, Socket},
};

/// The listener of one socket. `filters` tells what the routes of a chain's table need.
pub fn of_socket(
    socket: &Socket,
    owner: ObjectRef,
    filters: impl Fn(ListenerId) -> BTreeSet<HttpFilter>,
) -> Listener {
    let mut chains = Vec::new();
    let mut default_chain = None;
    for chain in &socket.chains {
        match chain {
            Chain::Http { table, name, routes, server_name, tls, stat_prefix, guarded } => {
                let chain = FilterChain {
                    name: name.clone(),
                    server_names: server_name.iter().cloned().collect(),
                    tls: tls.clone(),
                    network: Network::Http(Http {
                        route_configuration: routes.clone(),
                        stat_prefix: stat_prefix.clone(),
                        filters: filters(*table),
                        notes_connection: *guarded,
                    }),
                };
                if tls.is_some() {
                    chains.push(chain);
                } else {
                    default_chain = Some(chain);
                }
            }
            Chain::Empty { cluster, stat_prefix, tls } => chains.push(FilterChain {
                name: cluster.clone(),
                server_names: [].into(),
                tls: tls.clone(),
                network: match socket.key.transport {
                    Transport::Tcp => {
                        Network::Tcp { cluster: cluster.clone(), stat_prefix: stat_prefix.clone() }
                    }
                    Transport::Udp => {
                        Network::Udp { cluster: cluster.clone(), stat_prefix: stat_prefix.clone() }
                    }
                },
            }),
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
