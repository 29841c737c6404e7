//! Listeners (LDS) and their filter chains.

use std::sync::LazyLock;

use envoy_api::{
    any,
    core::{TransportSocket, UdpSocketConfig, transport_socket},
    duration, encode,
    listener::{
        FilterChain as ChainMessage, FilterChainMatch, Listener as Message, ListenerFilter,
        QuicProtocolOptions, UdpListenerConfig, listener::DrainType, listener_filter,
    },
    quic::QuicDownstreamTransport,
    tcp_proxy::{TcpProxy, tcp_proxy},
    tls::{CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, downstream_tls_context},
    udp_proxy::{self, UdpProxyConfig, udp_proxy_config},
    well_known::boolean,
    xds_core, xds_matcher,
};
use ir::{
    cluster::INVALID_BACKEND_CLUSTER,
    downstream::{Fingerprints, SocketSettings},
    listener::{DownstreamTls, FilterChain, Http, Listener, Network, TcpTarget, Transport},
};

use super::{
    address, config_source, downstream, hash, http, server_name, socket,
    telemetry::{self, Encoded},
    tls,
    wire::{Fields, type_url},
};

// `envoy.config.listener.v3.Listener`.
const FILTER_CHAINS: u32 = 3;
const DEFAULT_FILTER_CHAIN: u32 = 25;
/// `envoy.config.listener.v3.FilterChain.filters`.
const FILTERS: u32 = 3;
// `envoy.config.listener.v3.Filter`.
const FILTER_NAME: u32 = 1;
const FILTER_TYPED_CONFIG: u32 = 4;

/// The host name that matches every host name.
const ANY_HOST: &str = "*";

/// An encoded `envoy.config.listener.v3.Listener`.
///
/// The TLS inspector is there when a chain is chosen by server name. A UDP listener has no chains in Envoy: of its
/// chains the first that forwards datagrams counts.
pub fn listener(listener: &Listener) -> Vec<u8> {
    // About 1,400 bytes of access logs and 400 of other settings for each chain.
    let chains = listener.chains.len() + usize::from(listener.default_chain.is_some());
    let mut fields = Fields::with_capacity(1600 + 2000 * chains);
    fields.message(&Message {
        name: listener.name.to_string(),
        address: Some(address::bind(
            &listener.address,
            listener.port,
            listener.transport,
            listener.ipv4_compat,
        )),
        // Unset means true to Envoy: each worker has a socket of its own, and so may other processes of the user.
        enable_reuse_port: if listener.exclusive { boolean(false) } else { None },
        ..Default::default()
    });
    let telemetry = telemetry::encoded(&listener.telemetry);
    fields.raw(&telemetry.listener);
    match listener.transport {
        Transport::Tcp => tcp(&mut fields, listener, &telemetry),
        Transport::Udp => udp(&mut fields, listener, &telemetry),
    }
    fields.into_bytes()
}

fn tcp(fields: &mut Fields, listener: &Listener, telemetry: &Encoded) {
    let settings = &*listener.settings;
    if *settings == SocketSettings::default() {
        fields.raw(&TCP_DEFAULTS);
    } else {
        fields.message(&socket::tcp(settings));
    }
    if let Some(protocol) = settings.proxy_protocol {
        fields.message(&Message {
            listener_filters: vec![socket::proxy_protocol(protocol)],
            ..Default::default()
        });
    }
    if settings.fingerprints.any() {
        let inspector = socket::tls_inspector(settings.fingerprints);
        fields.message(&Message { listener_filters: vec![inspector], ..Default::default() });
    } else if listener.chains.iter().any(reads_server_name) {
        fields.raw(&INSPECT_TLS);
    }
    chains(fields, listener, telemetry, downstream_tls);
}

fn chains(
    fields: &mut Fields,
    listener: &Listener,
    telemetry: &Encoded,
    tls: fn(&DownstreamTls) -> TransportSocket,
) {
    for chain in &listener.chains {
        fields.nested(FILTER_CHAINS, |message| filter_chain(message, chain, telemetry, tls));
    }
    if let Some(chain) = &listener.default_chain {
        fields.nested(DEFAULT_FILTER_CHAIN, |message| filter_chain(message, chain, telemetry, tls));
    }
}

fn udp(fields: &mut Fields, listener: &Listener, telemetry: &Encoded) {
    if listener.chains.iter().any(|chain| matches!(chain.network, Network::Http(_))) {
        fields.raw(&BY_QUIC);
        chains(fields, listener, telemetry, quic_tls);
        return;
    }
    let mut chains = listener.chains.iter().chain(&listener.default_chain);
    let forwarding = chains.find_map(|chain| match &chain.network {
        Network::Udp { cluster, stat_prefix, by_source } => Some((cluster, stat_prefix, *by_source)),
        Network::Http(_) | Network::Tcp { .. } => None,
    });
    if let Some((cluster, stat_prefix, by_source)) = forwarding {
        fields.message(&Message {
            listener_filters: vec![udp_proxy(cluster, stat_prefix, by_source, telemetry)],
            ..Default::default()
        });
    }
}

fn filter_chain(
    message: &mut Fields,
    chain: &FilterChain,
    telemetry: &Encoded,
    tls: fn(&DownstreamTls) -> TransportSocket,
) {
    let names = server_names(chain);
    message.message(&ChainMessage {
        name: chain.name.to_string(),
        filter_chain_match: (!names.is_empty()).then(|| FilterChainMatch {
            server_names: names.iter().map(|name| name.to_string()).collect(),
            ..Default::default()
        }),
        transport_socket: chain.tls.as_ref().map(tls),
        transport_socket_connect_timeout: chain.connection.handshake_timeout.map(duration),
        ..Default::default()
    });
    let stat_prefix = match &chain.network {
        Network::Http(Http { stat_prefix, .. }) | Network::Tcp { stat_prefix, .. } => Some(stat_prefix),
        Network::Udp { .. } => None,
    };
    if let Some((limit, stat_prefix)) = chain.connection.limit.zip(stat_prefix) {
        const URL: &str = type_url!("envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit");
        network_filter(message, "envoy.filters.network.connection_limit", URL, |filter| {
            filter.message(&downstream::connection_limit(limit, stat_prefix));
        });
    }
    match &chain.network {
        Network::Http(settings) => {
            const URL: &str = type_url!(
                "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
            );
            network_filter(message, "envoy.filters.network.http_connection_manager", URL, |manager| {
                http::connection_manager(manager, settings, telemetry);
            });
        }
        Network::Tcp { target, stat_prefix, by_source } => {
            if matches!(target, TcpTarget::ServerName(_)) {
                server_name::filters(message, stat_prefix);
            }
            const URL: &str = type_url!("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy");
            network_filter(message, "envoy.filters.network.tcp_proxy", URL, |proxy| {
                proxy.message(&TcpProxy {
                    stat_prefix: stat_prefix.to_string(),
                    cluster_specifier: Some(clusters(target)),
                    hash_policy: if *by_source { vec![hash::of_connections()] } else { Vec::new() },
                    idle_timeout: chain.connection.idle_timeout.map(duration),
                    ..Default::default()
                });
                proxy.raw(&telemetry.tcp_proxy);
            });
        }
        // Datagrams have no connections and so no chains.
        Network::Udp { .. } => {}
    }
}

/// Envoy closes connections for which it chooses a cluster that does not exist.
fn clusters(target: &TcpTarget) -> tcp_proxy::ClusterSpecifier {
    use tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};
    let weighted = |name: &str, weight| ClusterWeight { name: name.to_owned(), weight, ..Default::default() };
    match target {
        TcpTarget::Cluster(cluster) | TcpTarget::ServerName(cluster) => {
            ClusterSpecifier::Cluster(cluster.to_string())
        }
        TcpTarget::Partly { cluster, weight, refused } => {
            ClusterSpecifier::WeightedClusters(WeightedCluster {
                clusters: vec![weighted(INVALID_BACKEND_CLUSTER, *refused), weighted(cluster, *weight)],
            })
        }
    }
}

/// Adds a filter to a chain; `write` adds the fields of its configuration.
pub(super) fn network_filter(
    chain: &mut Fields,
    name: &str,
    type_url: &str,
    write: impl FnOnce(&mut Fields),
) {
    chain.nested(FILTERS, |filter| {
        filter.string(FILTER_NAME, name);
        filter.any(FILTER_TYPED_CONFIG, type_url, write);
    });
}

/// True when the server name has to be known, to choose the chain or the host to connect to.
fn reads_server_name(chain: &FilterChain) -> bool {
    let forwards = matches!(&chain.network, Network::Tcp { target: TcpTarget::ServerName(_), .. });
    forwards || !server_names(chain).is_empty()
}

/// Names to match in SNI; none when the chain takes every name.
fn server_names(chain: &FilterChain) -> &[std::sync::Arc<str>] {
    match chain.server_names.first() {
        Some(first) if &**first == ANY_HOST => &[],
        _ => &chain.server_names,
    }
}

fn downstream_tls(tls: &DownstreamTls) -> TransportSocket {
    let config = any(&tls_context(tls));
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(config)),
    }
}

fn quic_tls(tls: &DownstreamTls) -> TransportSocket {
    let config = any(&QuicDownstreamTransport {
        downstream_tls_context: Some(tls_context(tls)),
        ..Default::default()
    });
    TransportSocket {
        name: "envoy.transport_sockets.quic".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(config)),
    }
}

fn tls_context(tls: &DownstreamTls) -> DownstreamTlsContext {
    use downstream_tls_context::SessionTicketKeysType;
    let certificates = tls.certificates.iter().map(|name| SdsSecretConfig {
        name: name.to_string(),
        sds_config: Some(config_source::ads_without_timeout()),
    });
    DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: tls::parameters(&tls.parameters),
            alpn_protocols: tls.alpn.iter().map(|protocol| protocol.to_string()).collect(),
            tls_certificate_sds_secret_configs: certificates.collect(),
            validation_context_type: tls.client.as_deref().map(tls::client_validation),
            ..Default::default()
        }),
        require_client_certificate: tls.client.as_ref().and_then(|client| boolean(client.required)),
        // No resumption unless somebody asks for it, neither by ticket nor by session id: a session would outlive the
        // certificate and the listener that it was made with.
        session_ticket_keys_type: (!tls.tickets)
            .then_some(SessionTicketKeysType::DisableStatelessSessionResumption(true)),
        disable_stateful_session_resumption: !tls.sessions,
        ..Default::default()
    }
}

fn udp_proxy(cluster: &str, stat_prefix: &str, by_source: bool, telemetry: &Encoded) -> ListenerFilter {
    use udp_proxy_config::{HashPolicy, hash_policy::PolicySpecifier};
    use xds_matcher::matcher::{OnMatch, on_match};
    let action = xds_core::TypedExtensionConfig {
        name: "route".to_owned(),
        typed_config: Some(any(&udp_proxy::Route { cluster: cluster.to_owned() })),
    };
    let matcher = xds_matcher::Matcher {
        on_no_match: Some(Box::new(OnMatch {
            on_match: Some(on_match::OnMatch::Action(action)),
            ..Default::default()
        })),
        ..Default::default()
    };
    let config = UdpProxyConfig {
        stat_prefix: stat_prefix.to_owned(),
        access_log: telemetry.routes.clone(),
        hash_policies: (by_source.then_some(PolicySpecifier::SourceIp(true)).into_iter())
            .map(|specifier| HashPolicy { policy_specifier: Some(specifier) })
            .collect(),
        route_specifier: Some(udp_proxy_config::RouteSpecifier::Matcher(matcher)),
        ..Default::default()
    };
    ListenerFilter {
        name: "envoy.filters.udp_listener.udp_proxy".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(any(&config))),
        ..Default::default()
    }
}

static TCP_DEFAULTS: LazyLock<Vec<u8>> = LazyLock::new(|| encode(&socket::tcp(&SocketSettings::default())));

static INSPECT_TLS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let inspector = socket::tls_inspector(Fingerprints::default());
    encode(&Message { listener_filters: vec![inspector], ..Default::default() })
});

/// What a listener for HTTP/3 has. It drains when it changes, and not because a health check is told to fail.
static BY_QUIC: LazyLock<Vec<u8>> = LazyLock::new(|| {
    encode(&Message {
        udp_listener_config: Some(UdpListenerConfig {
            downstream_socket_config: Some(UdpSocketConfig::default()),
            quic_options: Some(QuicProtocolOptions::default()),
            ..Default::default()
        }),
        drain_type: DrainType::ModifyOnly.into(),
        ..Default::default()
    })
});
