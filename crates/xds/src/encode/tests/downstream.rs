use std::{sync::Arc, time::Duration};

use ir::{
    downstream::{
        CertificateDetails, ClientAddress, ConnectionLimit, ConnectionSettings, EscapedSlashes, Fingerprints,
        ForwardedCertificate, HeaderEdits, Http1, Http10, HttpSettings, ProxyProtocol, RequestId,
        SocketSettings, TextMatch, Trusted, Underscores,
    },
    listener::{FilterChain, Listener, Network, Transport},
    route::HeaderValue,
    tls::{ClientValidation, NameKind, NameMatch},
    traffic::{Http2, TcpKeepalive},
};
use serde_json::{Value, json};

use super::{
    LISTENER,
    listener::{https, on_port},
    text, to_json,
};
use crate::encode;

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

/// Settings of sockets, all of them.
pub(super) fn socket() -> SocketSettings {
    SocketSettings {
        keepalive: Some(TcpKeepalive { probes: Some(3), idle: Some(60), interval: Some(10) }),
        buffer_limit: Some(1 << 20),
        socket_buffer: Some(1 << 16),
        accepts: Some(4),
        proxy_protocol: Some(ProxyProtocol { optional: true }),
        inspection_timeout: seconds(5),
        fingerprints: Fingerprints { ja3: true, ja4: true },
    }
}

/// Settings of connections, all of them.
pub(super) fn connection() -> ConnectionSettings {
    ConnectionSettings {
        handshake_timeout: seconds(2),
        limit: Some(ConnectionLimit { connections: 100, delay: seconds(1) }),
        idle_timeout: seconds(60),
    }
}

/// Everything that can be asked of clients beside authorities.
pub(super) fn validation() -> ClientValidation {
    let name = |kind, value: &str| NameMatch { kind, text: TextMatch::Exact(text(value)) };
    ClientValidation {
        expired: true,
        certificate_hashes: [text("df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a")].into(),
        names: [
            name(NameKind::Dns, "a.example.com"),
            name(NameKind::Email, "a@example.com"),
            name(NameKind::Ip, "10.0.0.1"),
            name(NameKind::Other(text("1.3.6.1.4.1.311.20.2.3")), "a"),
            NameMatch { kind: NameKind::Uri, text: TextMatch::Prefix(text("spiffe://a/")) },
        ]
        .into(),
        ..ClientValidation::default()
    }
}

fn edits() -> HeaderEdits {
    let value = |name: &str, append| HeaderValue { name: text(name), value: text("v 100%"), append };
    HeaderEdits {
        add: [value("x-add", true), value("x-set", false)].into(),
        add_absent: [value("x-absent", false)].into(),
        remove: [text("x-remove")].into(),
        remove_like: [TextMatch::Prefix(text("x-internal-")), TextMatch::Regex(text("x-.*-old"))].into(),
    }
}

/// Settings of requests, all of them.
pub(super) fn http() -> HttpSettings {
    HttpSettings {
        client_address: Some(ClientAddress::ForwardedFor {
            trusted: Trusted::Ranges(
                [("10.0.0.0".parse().unwrap(), 8), ("::1".parse().unwrap(), 128)].into(),
            ),
            keeps: true,
        }),
        escaped_slashes: Some(EscapedSlashes::Reject),
        keeps_slashes: true,
        underscores: Some(Underscores::Drop),
        request_id: Some(RequestId { generates: false, preserves: true }),
        client_certificate: Some(ForwardedCertificate::Set(CertificateDetails {
            subject: true,
            certificate: true,
            chain: true,
            dns: true,
            uri: true,
        })),
        early: edits(),
        late: edits(),
        envoy_headers: true,
        strips_dot: true,
        max_headers: Some(96),
        request_timeout: seconds(10),
        headers_timeout: seconds(5),
        idle_timeout: seconds(60),
        stream_idle_timeout: seconds(30),
        max_connection_duration: seconds(600),
        ends_unsafely: false,
        max_requests: Some(1000),
        max_stream_duration: seconds(300),
        http1: Some(Arc::new(Http1 {
            trailers: true,
            keeps_case: true,
            http10: Some(Http10 { default_host: Some(text("a.example.com")) }),
            ignored_upgrades: [TextMatch::Exact(text("h2c"))].into(),
        })),
        http2: Some(Http2 { max_streams: Some(10), ..Http2::default() }),
        grpc_web: Some(true),
        health_check: Some(text("/healthz")),
        scheme_of_backend: true,
    }
}

fn chain_with(settings: HttpSettings) -> FilterChain {
    let mut chain = https("default/edge/https", "a.example.com", "default/cert");
    if let Network::Http(http) = &mut chain.network {
        http.settings = settings.into();
    }
    chain
}

/// A listener with all that can be said of clients.
pub(super) fn everything() -> Listener {
    let mut chain = FilterChain { connection: connection(), ..chain_with(http()) };
    if let Some(tls) = &mut chain.tls {
        let authorities = Some(text("default/clients/ca.crt"));
        tls.client = Some(Arc::new(ClientValidation { authorities, required: true, ..validation() }));
    }
    Listener { settings: socket().into(), ..on_port("https", 0, vec![chain], None) }
}

/// A listener for HTTP/3.
pub(super) fn by_quic() -> Listener {
    let mut chain = chain_with(HttpSettings::default());
    if let Network::Http(http) = &mut chain.network {
        http.by_quic = true;
    }
    if let Some(tls) = &mut chain.tls {
        tls.alpn = [text("h3")].into();
    }
    Listener { transport: Transport::Udp, ..on_port("https-quic", 0, vec![chain], None) }
}

fn found(of: &Listener) -> Value {
    to_json(LISTENER, &encode::listener(of))
}

fn manager(settings: HttpSettings) -> Value {
    let chain = &found(&on_port("https", 443, vec![chain_with(settings)], None))["filterChains"][0];
    chain["filters"][0]["typedConfig"].clone()
}

#[test]
fn sockets_say_what_their_settings_say() {
    let found = found(&everything());
    let options = found["socketOptions"].as_array().unwrap();
    let numbers: Vec<[i64; 3]> = (options.iter())
        .map(|option| {
            ["level", "name", "intValue"].map(|key| {
                let number = &option[key];
                number.as_i64().or_else(|| number.as_str()?.parse().ok()).unwrap()
            })
        })
        .collect();
    assert_eq!(numbers, [[1, 9, 1], [6, 6, 3], [6, 4, 60], [6, 5, 10], [1, 8, 65536], [1, 7, 65536]]);
    assert_eq!(found["listenerFiltersTimeout"], "5s");
    let filters: Vec<&Value> =
        found["listenerFilters"].as_array().unwrap().iter().map(|f| &f["name"]).collect();
    assert_eq!(filters, ["envoy.filters.listener.proxy_protocol", "envoy.filters.listener.tls_inspector"]);
    let unlimited = SocketSettings { accepts: Some(0), ..SocketSettings::default() };
    let of = Listener { settings: unlimited.into(), ..everything() };
    assert!(to_json(LISTENER, &encode::listener(&of))["maxConnectionsToAcceptPerSocketEvent"].is_null());
}

#[test]
fn addresses_of_clients_are_found_as_asked() {
    let with = |client_address| {
        let manager = manager(HttpSettings { client_address, ..HttpSettings::default() });
        (
            manager["useRemoteAddress"].clone(),
            manager["originalIpDetectionExtensions"][0]["typedConfig"].clone(),
        )
    };
    let (remote, none) = with(None);
    assert_eq!((remote, none), (json!(true), Value::Null));
    // Envoy counts the proxies before the peer.
    for (hops, told) in [(0, Value::Null), (1, Value::Null), (2, json!(1))] {
        let trusted = Trusted::Hops(hops);
        let (remote, config) = with(Some(ClientAddress::ForwardedFor { trusted, keeps: false }));
        assert_eq!((remote, &config["xffNumTrustedHops"]), (json!(false), &told), "{hops}");
        assert_eq!(config["skipXffAppend"], json!(false));
    }
    let (_, config) = with(Some(ClientAddress::Header { name: text("x-client"), required: true }));
    assert_eq!(config["rejectWithStatus"], json!({"code": "Forbidden"}));
    assert_eq!(config["allowExtensionToSetAddressAsTrusted"], json!(true));
}

#[test]
fn filters_of_listeners_stand_at_their_places() {
    let manager = manager(http());
    let names: Vec<&str> = manager["httpFilters"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|filter| filter["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "envoy.filters.http.health_check",
            "envoy.filters.http.header_mutation",
            "envoy.filters.http.router"
        ]
    );
    assert!(manager["httpFilters"][2]["typedConfig"]["suppressEnvoyHeaders"].is_null());
    let mutations = &manager["httpFilters"][1]["typedConfig"]["mutations"]["responseMutations"];
    assert_eq!(mutations.as_array().unwrap().len(), 6);
    assert_eq!(mutations[0]["append"]["header"], json!({"key": "x-add", "value": "v 100%%"}));
    assert_eq!(mutations[3], json!({"remove": "x-remove"}));
}

#[test]
fn http3_has_a_listener_of_its_own_kind() {
    let found = found(&by_quic());
    assert_eq!(found["udpListenerConfig"], json!({"downstreamSocketConfig": {}, "quicOptions": {}}));
    let chain = &found["filterChains"][0];
    let manager = &chain["filters"][0]["typedConfig"];
    assert_eq!((&manager["codecType"], &manager["http3ProtocolOptions"]), (&json!("HTTP3"), &json!({})));
    assert_eq!(chain["transportSocket"]["name"], "envoy.transport_sockets.quic");
    let tls = &chain["transportSocket"]["typedConfig"]["downstreamTlsContext"]["commonTlsContext"];
    assert_eq!(tls["alpnProtocols"], json!(["h3"]));
}
