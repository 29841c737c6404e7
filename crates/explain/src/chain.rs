//! The filter chain that takes a connection, and its handshake.

use envoy_api::{
    core::transport_socket::ConfigType,
    hcm::HttpConnectionManager,
    listener::{FilterChain, Listener, filter},
    quic::QuicDownstreamTransport,
    tcp_proxy::TcpProxy,
    tls::DownstreamTlsContext,
    unpack,
};
use ir::{Kind, ObjectRef};
use pipeline::Pipeline;
use store::{Fact, dns_name_matches};

use crate::{
    Chain, Explanation, Outcome, Protocol, Question, Scheme, Setting, config::Config, host, origin, settings,
    sources::Sources,
};

/// What a connection has come to.
pub(crate) enum Entered {
    /// It is closed; why has been told.
    Nowhere,
    /// Its bytes are forwarded.
    Connection(Box<TcpProxy>),
    /// It carries requests.
    Http {
        manager: Box<HttpConnectionManager>,
        protocol: Protocol,
        /// Server name of the handshake.
        server_name: Option<String>,
    },
}

/// Chooses the chain, makes the handshake, and finds what is spoken.
pub(crate) fn enter(
    pipeline: &Pipeline,
    config: &Config<'_>,
    listener: &Listener,
    question: &Question,
    told: &mut Explanation,
) -> Entered {
    let secure = question.scheme == Scheme::Https;
    let server_name = question.server_name.as_deref().filter(|_| secure).map(str::to_ascii_lowercase);
    let Some((chain, chosen)) = choose(listener, server_name.as_deref(), secure) else {
        let names = known_names(listener);
        told.conclude(Outcome::closed(match &server_name {
            Some(name) => format!("no filter chain takes server name {name:?}; there are {names}"),
            None if secure => format!(
                "no filter chain takes connections without server name; there are {names}. An address in a URL is no \
                 server name: put the name there (curl: --resolve or --connect-to for the address), or use --sni"
            ),
            None => format!("no filter chain takes connections without TLS; there are {names}"),
        }));
        return Entered::Nowhere;
    };
    let tls = tls_context(chain);
    let common = tls.as_ref().and_then(|tls| tls.common_tls_context.as_ref());
    let certificates: Vec<String> = common
        .into_iter()
        .flat_map(|common| common.tls_certificate_sds_secret_configs.iter())
        .map(|secret| secret.name.clone())
        .collect();
    let alpn = common.map(|common| common.alpn_protocols.clone()).unwrap_or_default();
    let manager = network_filter::<HttpConnectionManager>(chain);
    let settings = said(pipeline, (listener, chain), (manager.as_ref(), tls.as_ref()), told);
    // What HTTP is spoken is known after the handshake.
    let protocol = if manager.is_some() { String::new() } else { "TCP".to_owned() };
    let shown = Chain { name: chain.name.clone(), chosen, certificates, alpn, protocol, settings };
    let chain_told = told.chain.insert(shown);
    let proxy = network_filter::<TcpProxy>(chain);
    let Some(manager) = manager else {
        return match proxy {
            Some(proxy) => Entered::Connection(Box::new(proxy)),
            None => {
                told.conclude(Outcome::closed("the chain neither speaks HTTP nor forwards connections"));
                Entered::Nowhere
            }
        };
    };
    let handshake = match (&tls, secure) {
        (Some(tls), true) => {
            let offered = chain_told.alpn.clone();
            let certificates = chain_told.certificates.clone();
            handshake(pipeline, config, (tls, &certificates, &offered), question, told)
        }
        (None, false) => Ok(question.protocol.unwrap_or(Protocol::Http1)),
        (Some(_), false) => {
            Err("the listener expects a TLS handshake and gets plain HTTP: it closes the connection; \
                                 use https"
                .to_owned())
        }
        (None, true) => {
            Err("the listener speaks plain HTTP and gets a TLS handshake: the client fails with a wrong \
                             version; use http, or a listener of protocol HTTPS"
                .to_owned())
        }
    };
    match handshake {
        Ok(protocol) => {
            if let Some(chain) = &mut told.chain {
                protocol.name().clone_into(&mut chain.protocol);
            }
            Entered::Http { manager: Box::new(manager), protocol, server_name }
        }
        Err(why) => {
            told.conclude(Outcome::closed(why));
            Entered::Nowhere
        }
    }
}

/// What is set for the connections of a chain; also tells the policy of its listener.
fn said(
    pipeline: &Pipeline,
    (listener, chain): (&Listener, &FilterChain),
    speaks: (Option<&HttpConnectionManager>, Option<&DownstreamTlsContext>),
    told: &mut Explanation,
) -> Vec<Setting> {
    let Some(gateway) = host::gateway_of(&chain.name) else { return Vec::new() };
    let mut policies = pipeline.policies_of_listener((&gateway, &chain.name));
    policies.retain(|policy| policy.policy.kind == Kind::ClientTrafficPolicy);
    told.policies = origin::told(&policies);
    settings::of_chain(listener, chain, speaks, &Sources { pipeline, gateway, rule: None, policies })
}

/// The chain for a server name, and why: the name itself, then the longest wildcard, then chains without names, then the
/// default chain (Envoy, `FilterChainMatch`). What names nothing else is looked at in that order too.
pub(crate) fn choose<'a>(
    listener: &'a Listener,
    server_name: Option<&str>,
    secure: bool,
) -> Option<(&'a FilterChain, String)> {
    let names = |chain: &'a FilterChain| {
        chain.filter_chain_match.as_ref().map_or(&[][..], |matched| &matched.server_names[..])
    };
    let transport = if secure { "tls" } else { "raw_buffer" };
    let suits = |chain: &&'a FilterChain| {
        let wanted = chain.filter_chain_match.as_ref().map_or("", |matched| &*matched.transport_protocol);
        wanted.is_empty() || wanted == transport
    };
    let named = |wanted: &str| {
        let mut chains = listener.filter_chains.iter().filter(suits);
        chains.find(|chain| names(chain).iter().any(|name| name.eq_ignore_ascii_case(wanted)))
    };
    if let Some(server_name) = server_name {
        if let Some(chain) = named(server_name) {
            return Some((chain, format!("its server name is {server_name}")));
        }
        let mut rest = server_name;
        while let Some((_, parent)) = rest.split_once('.') {
            let wildcard = format!("*.{parent}");
            if let Some(chain) = named(&wildcard) {
                let why =
                    format!("{wildcard} is the most specific of the server names that take {server_name}");
                return Some((chain, why));
            }
            rest = parent;
        }
    }
    let mut unnamed = listener.filter_chains.iter().filter(suits);
    let unnamed = unnamed.find(|chain| names(chain).is_empty());
    let why = match server_name {
        Some(name) => format!("it takes every server name, and no other chain takes {name}"),
        None => "it takes connections without server name".to_owned(),
    };
    unnamed.or(listener.default_filter_chain.as_ref()).map(|chain| (chain, why))
}

fn known_names(listener: &Listener) -> String {
    let names: Vec<String> = (listener.filter_chains.iter())
        .flat_map(|chain| chain.filter_chain_match.iter().flat_map(|matched| matched.server_names.iter()))
        .cloned()
        .collect();
    if names.is_empty() { "none with server names".to_owned() } else { names.join(", ") }
}

/// The handshake: the protocol that both agree on, or why it fails.
fn handshake(
    pipeline: &Pipeline,
    config: &Config<'_>,
    (tls, certificates, offered): (&DownstreamTlsContext, &[String], &[String]),
    question: &Question,
    told: &mut Explanation,
) -> Result<Protocol, String> {
    let missing: Vec<&str> =
        certificates.iter().map(|name| &**name).filter(|name| !config.has_secret(name)).collect();
    if !certificates.is_empty() && missing.len() == certificates.len() {
        return Err(format!("the proxy has no certificate to show: {} is not there", missing.join(", ")));
    }
    if tls.require_client_certificate.is_some_and(|required| required.value) && !question.client_certificate {
        return Err("the listener demands a client certificate, and the client shows none".to_owned());
    }
    if let Some(name) = &question.server_name {
        suit(pipeline, certificates, name, told);
    }
    let offers = |protocol: &str| offered.iter().any(|offered| offered == protocol);
    match question.protocol {
        Some(Protocol::Http3) => Ok(Protocol::Http3),
        None if offers("h2") => Ok(Protocol::Http2),
        None | Some(Protocol::Http1) => Ok(Protocol::Http1),
        Some(Protocol::Http2) if offers("h2") => Ok(Protocol::Http2),
        Some(Protocol::Http2) => {
            told.notes.push(format!(
                "the listener does not offer HTTP/2 (ALPN: {}), so client and proxy speak HTTP/1.1; gRPC does not \
                 work over it",
                if offered.is_empty() { "none".to_owned() } else { offered.join(", ") }
            ));
            Ok(Protocol::Http1)
        }
    }
}

/// Notes what clients that verify certificates will say.
fn suit(pipeline: &Pipeline, certificates: &[String], server_name: &str, told: &mut Explanation) {
    let store = pipeline.store();
    let facts = certificates.iter().filter_map(|name| {
        let (namespace, secret) = name.split_once('/')?;
        match store.fact(store.find(&ObjectRef::new(Kind::Secret, namespace, secret))?)? {
            Fact::Secret(secret) => secret.pair().ok(),
            _ => None,
        }
    });
    let facts: Vec<_> = facts.collect();
    let server_name = server_name.to_ascii_lowercase();
    let covers =
        |names: &[std::sync::Arc<str>]| names.iter().any(|name| dns_name_matches(name, &server_name));
    if !facts.is_empty() && !facts.iter().any(|certificate| covers(&certificate.dns_names)) {
        told.notes.push(format!(
            "no certificate of the listener is for {server_name:?}: clients that verify it refuse the connection"
        ));
    }
}

/// The TLS settings of a chain that ends TLS.
pub(crate) fn tls_context(chain: &FilterChain) -> Option<DownstreamTlsContext> {
    let ConfigType::TypedConfig(any) = chain.transport_socket.as_ref()?.config_type.as_ref()?;
    match unpack::<DownstreamTlsContext>(any) {
        Ok(Some(context)) => Some(context),
        _ => unpack::<QuicDownstreamTransport>(any).ok().flatten()?.downstream_tls_context,
    }
}

/// The network filter of a type.
pub(crate) fn network_filter<M: prost::Name + Default>(chain: &FilterChain) -> Option<M> {
    chain.filters.iter().find_map(|filter| match filter.config_type.as_ref()? {
        filter::ConfigType::TypedConfig(any) => unpack::<M>(any).ok().flatten(),
        filter::ConfigType::ConfigDiscovery(_) => None,
    })
}
