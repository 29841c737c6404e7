//! Addresses of listeners and endpoints.

use envoy_api::core::{self, address, socket_address};
use ir::{cluster::Address, listener::Transport};

/// A socket to bind. With `ipv4_compat` it takes IPv4 as well, for which the address must be IPv6.
pub(super) fn bind(address: &str, port: u16, transport: Transport, ipv4_compat: bool) -> core::Address {
    let protocol = match transport {
        Transport::Tcp => socket_address::Protocol::Tcp,
        Transport::Udp => socket_address::Protocol::Udp,
    };
    let mut bound = socket(address.to_owned(), port, protocol);
    if let Some(address::Address::SocketAddress(socket)) = &mut bound.address {
        socket.ipv4_compat = ipv4_compat;
    }
    bound
}

/// Where an endpoint is.
pub(super) fn endpoint(address: &Address) -> core::Address {
    match address {
        Address::Ip(ip, port) => socket(ip.to_string(), *port, socket_address::Protocol::Tcp),
        Address::Host(host, port) => socket(host.to_string(), *port, socket_address::Protocol::Tcp),
        Address::Unix(path) => core::Address {
            address: Some(address::Address::Pipe(core::Pipe {
                path: path.to_string(),
                ..Default::default()
            })),
        },
    }
}

fn socket(address: String, port: u16, protocol: socket_address::Protocol) -> core::Address {
    core::Address {
        address: Some(address::Address::SocketAddress(core::SocketAddress {
            protocol: protocol.into(),
            address,
            port_specifier: Some(socket_address::PortSpecifier::PortValue(u32::from(port))),
            ..Default::default()
        })),
    }
}
