//! Listeners from the sockets of a Gateway and the HTTP filters that its routes need.

use std::{collections::BTreeSet, sync::Arc};

use ir::{
    ObjectRef,
    downstream::HttpSettings,
    listener::{FilterChain, Http, HttpFilter, Listener, Network, Transport},
};
use translate::{
    ListenerId,
    gateway::{Chain, Guard, Socket},
};

/// The listener of one socket. `layer4` are the filter chains of its TCP, TLS and UDP listeners, by their place among
/// the socket's chains; `filters` tells what the routes of a chain's table need, `default_host` the host of requests that
/// name none, by what the routes of a listener have.
pub fn of_socket(
    socket: &Socket,
    owner: ObjectRef,
    layer4: Vec<Vec<FilterChain>>,
    filters: impl Fn(ListenerId) -> BTreeSet<HttpFilter>,
    mut default_host: impl FnMut(ListenerId) -> Option<Arc<str>>,
) -> Listener {
    let mut chains = Vec::new();
    let mut default_chain = None;
    for (chain, layer4) in socket.chains.iter().zip(layer4) {
        match chain {
            Chain::Http {
                table,
                name,
                routes,
                server_name,
                tls,
                stat_prefix,
                settings,
                default_host_of,
                connection,
                guard,
            } => {
                let chain = FilterChain {
                    name: name.clone(),
                    server_names: server_name.iter().cloned().collect(),
                    tls: tls.clone(),
                    connection: connection.clone(),
                    network: Network::Http(Http {
                        route_configuration: routes.clone(),
                        stat_prefix: stat_prefix.clone(),
                        filters: with_own(
                            filters(*table),
                            [
                                (HttpFilter::GrpcWeb, settings.grpc_web),
                                (HttpFilter::GrpcStatistics, socket.telemetry.grpc_statistics),
                            ],
                        ),
                        order: socket.filter_order.clone(),
                        notes_connection: *guard == Guard::Shared,
                        by_quic: socket.key.transport == Transport::Udp,
                        settings: match default_host_of {
                            Some(listener) => with_default_host(settings, default_host(*listener)),
                            None => settings.clone(),
                        },
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
        settings: socket.settings.clone(),
        telemetry: socket.telemetry.clone(),
        chains: chains.into(),
        default_chain,
        owners: [owner].into(),
    }
}

/// The filters that routes need; some as the listener or its fleet says, where they do.
fn with_own(mut filters: BTreeSet<HttpFilter>, own: [(HttpFilter, Option<bool>); 2]) -> BTreeSet<HttpFilter> {
    for (filter, wanted) in own {
        match wanted {
            Some(true) => drop(filters.insert(filter)),
            Some(false) => drop(filters.remove(&filter)),
            None => {}
        }
    }
    filters
}

fn with_default_host(settings: &HttpSettings, host: Option<Arc<str>>) -> Arc<HttpSettings> {
    let http1 = settings.http1.as_ref().map(|http1| Arc::new(http1.with_default_host(host)));
    Arc::new(HttpSettings { http1, ..settings.clone() })
}
