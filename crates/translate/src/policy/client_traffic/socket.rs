//! What a policy says of sockets and connections.

use api::{
    ClientTrafficPolicySpec, Quantity,
    clienttrafficpolicy::{ClientConnection, ConnectionLimit as LimitSpec},
    tls::TlsFingerprintType,
};
use ir::downstream::{ConnectionLimit, ConnectionSettings, Fingerprints, ProxyProtocol, SocketSettings};

use super::{Findings, span};
use crate::policy::backend_traffic::keepalive;

/// Most bytes of a socket's buffer: Linux takes a signed number of 32 bits.
const MAX_SOCKET_BUFFER: u64 = i32::MAX as u64;

/// Reads the parts of a policy that sockets have.
pub(super) fn socket(spec: &ClientTrafficPolicySpec, findings: &mut Findings) -> SocketSettings {
    let connection = spec.connection.as_ref();
    let tcp = spec.timeout.as_ref().and_then(|timeout| timeout.tcp.as_ref());
    let mut bytes = |field: &str, most: u64, of: fn(&ClientConnection) -> Option<&Quantity>| {
        let quantity = connection.and_then(of)?;
        let bytes = quantity.bytes().filter(|bytes| *bytes <= most);
        if bytes.is_none() {
            let message = format!("{} must be at most {most} bytes", quantity.0);
            findings.add(&format!("spec.connection.{field}"), message);
        }
        bytes.and_then(|bytes| u32::try_from(bytes).ok())
    };
    SocketSettings {
        keepalive: spec.tcp_keepalive.as_ref().map(keepalive),
        buffer_limit: bytes("bufferLimit", u32::MAX.into(), |connection| connection.buffer_limit.as_ref()),
        socket_buffer: bytes("socketBufferLimit", MAX_SOCKET_BUFFER, |connection| {
            connection.socket_buffer_limit.as_ref()
        }),
        accepts: connection.and_then(|connection| connection.max_accept_per_socket_event),
        proxy_protocol: match (&spec.proxy_protocol, spec.enable_proxy_protocol) {
            (Some(settings), _) => Some(ProxyProtocol { optional: settings.optional.unwrap_or_default() }),
            (None, Some(true)) => Some(ProxyProtocol { optional: false }),
            (None, _) => None,
        },
        inspection_timeout: span(tcp.and_then(|tcp| tcp.connection_inspection_timeout.as_ref())),
        fingerprints: spec.tls.as_ref().map_or_else(Fingerprints::default, |tls| Fingerprints {
            ja3: tls.fingerprints.contains(&TlsFingerprintType::Ja3),
            ja4: tls.fingerprints.contains(&TlsFingerprintType::Ja4),
        }),
    }
}

/// Reads the parts of a policy that connections have.
pub(super) fn connection(spec: &ClientTrafficPolicySpec) -> ConnectionSettings {
    let tcp = spec.timeout.as_ref().and_then(|timeout| timeout.tcp.as_ref());
    ConnectionSettings {
        handshake_timeout: span(tcp.and_then(|tcp| tcp.tls_handshake_timeout.as_ref())),
        limit: limits(spec).and_then(|limits| {
            Some(ConnectionLimit {
                connections: limits.value.and_then(|value| u64::try_from(value).ok())?,
                delay: span(limits.close_delay.as_ref()),
            })
        }),
        idle_timeout: span(tcp.and_then(|tcp| tcp.idle_timeout.as_ref())),
    }
}

/// `connection.connectionLimit`.
pub(super) fn limits(spec: &ClientTrafficPolicySpec) -> Option<&LimitSpec> {
    spec.connection.as_ref()?.connection_limit.as_ref()
}
