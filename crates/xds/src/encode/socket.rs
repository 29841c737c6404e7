//! What listeners say of all connections: limits, socket options, filters before a chain is chosen.

use envoy_api::{
    any,
    core::{SocketOption, socket_option},
    duration,
    listener::{Listener, ListenerFilter, listener_filter},
    proxy_protocol::ProxyProtocol as ProtocolMessage,
    tls_inspector::TlsInspector,
    well_known::{Any, boolean, uint32},
};
use ir::{
    downstream::{Fingerprints, ProxyProtocol, SocketSettings},
    traffic::TcpKeepalive,
};

/// Bytes that are buffered for a connection.
const BUFFER_LIMIT: u32 = 32 << 10;
/// Connections that are taken each time that a socket is looked at: one spreads connections over the workers.
const ACCEPTS: u32 = 1;

// Numbers of Linux, whatever system this runs on: `asm-generic/socket.h` and `netinet/tcp.h`.
const SOL_SOCKET: i64 = 1;
const SO_SNDBUF: i64 = 7;
const SO_RCVBUF: i64 = 8;
const SO_KEEPALIVE: i64 = 9;
const IPPROTO_TCP: i64 = 6;
const TCP_KEEPIDLE: i64 = 4;
const TCP_KEEPINTVL: i64 = 5;
const TCP_KEEPCNT: i64 = 6;

/// The fields of a TCP listener that its settings decide, listener filters aside.
pub(super) fn tcp(settings: &SocketSettings) -> Listener {
    Listener {
        per_connection_buffer_limit_bytes: uint32(settings.buffer_limit.unwrap_or(BUFFER_LIMIT)),
        max_connections_to_accept_per_socket_event: match settings.accepts {
            Some(0) => None,
            accepts => uint32(accepts.unwrap_or(ACCEPTS)),
        },
        listener_filters_timeout: settings.inspection_timeout.map(duration),
        socket_options: options(settings),
        ..Default::default()
    }
}

/// Options of the socket, which its connections inherit. Their descriptions are those of Envoy Gateway, because users'
/// patches may look for them.
fn options(settings: &SocketSettings) -> Vec<SocketOption> {
    let option = |description: &str, level: i64, name: i64, value: u32| SocketOption {
        description: description.to_owned(),
        level,
        name,
        value: Some(socket_option::Value::IntValue(value.into())),
        ..Default::default()
    };
    let keepalive = |TcpKeepalive { probes, idle, interval }| {
        let mut options = vec![option("socket option to enable tcp keep alive", SOL_SOCKET, SO_KEEPALIVE, 1)];
        let optional = [
            ("socket option for keep alive probes", TCP_KEEPCNT, probes),
            ("socket option for keep alive idle time", TCP_KEEPIDLE, idle),
            ("socket option for keep alive interval", TCP_KEEPINTVL, interval),
        ];
        let optional = optional.into_iter().filter_map(|(text, name, value)| Some((text, name, value?)));
        options.extend(optional.map(|(text, name, value)| option(text, IPPROTO_TCP, name, value)));
        options
    };
    let buffers = settings.socket_buffer.into_iter().flat_map(|bytes| {
        [("receive buffer", SO_RCVBUF), ("send buffer", SO_SNDBUF)]
            .map(|(text, name)| option(text, SOL_SOCKET, name, bytes))
    });
    settings.keepalive.map(keepalive).into_iter().flatten().chain(buffers).collect()
}

/// The filter that reads the PROXY protocol, before all others.
pub(super) fn proxy_protocol(protocol: ProxyProtocol) -> ListenerFilter {
    let config =
        ProtocolMessage { allow_requests_without_proxy_protocol: protocol.optional, ..Default::default() };
    filter("envoy.filters.listener.proxy_protocol", any(&config))
}

/// The filter that reads the server name, and fingerprints of the handshake.
pub(super) fn tls_inspector(fingerprints: Fingerprints) -> ListenerFilter {
    let config = TlsInspector {
        enable_ja3_fingerprinting: fingerprints.ja3.then_some(true).and_then(boolean),
        enable_ja4_fingerprinting: fingerprints.ja4.then_some(true).and_then(boolean),
        ..Default::default()
    };
    filter("envoy.filters.listener.tls_inspector", any(&config))
}

fn filter(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}
