//! HTTP/3: whether a client gets it, and if not, why.

use envoy_api::{hcm::HttpConnectionManager, listener::FilterChain};
use ir::Kind;
use pipeline::Pipeline;

use crate::{
    Question, Scheme, chain, host,
    socket::{self, Bound, Takes},
};

/// Why a client gets no HTTP/3. `None` when it does, and when nothing listens on the port at all.
pub(crate) fn refused(pipeline: &Pipeline, sockets: &[Bound<'_>], question: &Question) -> Option<String> {
    if question.scheme == Scheme::Http {
        return Some("HTTP/3 is spoken with TLS alone; use https".to_owned());
    }
    let (port, name) = (question.port, question.server_name.as_deref().map(str::to_ascii_lowercase));
    let choose = |takes| {
        let socket = socket::on_port(sockets, port, takes)?;
        Some((socket, chain::choose(&socket.listener, name.as_deref(), true).map(|(chain, _)| chain)))
    };
    let by_quic = choose(Takes::Quic);
    if by_quic.as_ref().is_some_and(|(_, chain)| chain.is_some()) {
        return None;
    }
    let (socket, chosen) = choose(Takes::Connections)?;
    let Some(chain) = chosen.or_else(|| socket.listener.filter_chains.first()) else {
        return Some(format!("port {port} takes no TLS"));
    };
    let (place, listener) = (format!("port {port} offers no HTTP/3"), host::listener_in_words(&chain.name));
    let Some(tls) = chain::tls_context(chain).filter(|_| speaks_http(chain)) else {
        return Some(format!(
            "{place}: {listener} ends no TLS, and HTTP/3 is for listeners of protocol HTTPS"
        ));
    };
    if by_quic.is_none()
        && let Some(why) = not_asked(pipeline, &chain.name)
    {
        return Some(format!("{place}: {why}"));
    }
    if tls.common_tls_context.is_some_and(|common| common.validation_context_type.is_some()) {
        return Some(format!(
            "{place} for {}: {listener} asks clients for certificates, which Envoy cannot do over QUIC",
            name.as_deref().unwrap_or("clients that send no server name"),
        ));
    }
    match socket::on_port(sockets, port, Takes::Datagrams) {
        Some(taken) => {
            let by = taken.spec.listeners.iter().map(|l| format!("{} listener {}", l.owner, l.name));
            let by = by.collect::<Vec<_>>().join(", ");
            Some(format!("{place}: {by} takes the datagrams of the port; give one of them another port"))
        }
        None => by_quic.is_none().then_some(place),
    }
}

fn speaks_http(chain: &FilterChain) -> bool {
    chain::network_filter::<HttpConnectionManager>(chain).is_some()
}

/// Why the policy of a listener does not ask for HTTP/3; `None` when it does. One listener's policy asks for all that are
/// on the port.
fn not_asked(pipeline: &Pipeline, listener: &str) -> Option<String> {
    let gateway = host::gateway_of(listener)?;
    let policies = pipeline.policies_of_listener((&gateway, listener));
    let listener = host::listener_in_words(listener);
    let Some(policy) = policies.iter().find(|policy| policy.policy.kind == Kind::ClientTrafficPolicy) else {
        return Some(format!("no ClientTrafficPolicy for {listener} asks for it (spec.http3)"));
    };
    let places = pipeline.places_of_policy(&policy.policy);
    if let Some(why) = places.iter().find_map(|place| place.against.as_ref()) {
        return Some(format!("{} for {listener} cannot be applied: {why}", policy.policy));
    }
    let asks = policy.fields.iter().any(|field| field.path == "http3");
    (!asks).then(|| format!("{} for {listener} does not ask for it (spec.http3)", policy.policy))
}
