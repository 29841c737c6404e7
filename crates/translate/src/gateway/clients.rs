//! Which ClientTrafficPolicy each listener has, and what it makes of the listener.
//!
//! The policy for a listener goes before that for its ListenerSet, which goes before that for the Gateway; with
//! `mergeType` it is merged over the one that it goes before, as that one has effect there. Plain HTTP listeners of a
//! port share one filter chain, so a policy that is for some of them cannot be applied: it is refused
//! there, as with Envoy Gateway, and the listener has the Gateway's, unless the refused one is for it alone.

use std::{
    collections::{BTreeSet, hash_map::Entry},
    sync::Arc,
};

use ir::downstream::{ConnectionSettings, Http1, HttpSettings, SocketSettings};
use rustc_hash::FxHashMap;
use store::ObjectId;

use super::{
    OnRoutes,
    frontend::Asked,
    listener::{Judged, Protocol},
};
use crate::{
    Finding, ListenerId, Reader,
    policy::{
        Scope, around_listener,
        client_traffic::{Client, ClientCheck, KIND},
        holder, parents,
    },
    shared::Merging,
};

/// The policy of a listener.
#[derive(Clone, Debug)]
pub struct Covered {
    /// What it says.
    pub settings: Arc<Client>,
    /// True when it cannot be applied: then the listener's routes answer with an error.
    pub broken: bool,
    /// What it says of HTTP/1 is not what the policy for the Gateway as a whole says.
    pub narrower_http1: bool,
}

/// What became of a policy at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientVerdict {
    /// The policy.
    pub policy: ObjectId,
    /// What it is for.
    pub scope: Scope,
    /// Name of the listener.
    pub listener: Arc<str>,
    /// Why it is not applied.
    pub against: Box<[Finding]>,
    /// Why the listener does not offer HTTP/3, which it asks for.
    pub without_http3: Option<NoHttp3>,
    /// The listener, when it leaves the host of requests that name none to its routes.
    pub wants_host: Option<ListenerId>,
}

/// Why a listener does not offer HTTP/3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHttp3 {
    /// It asks clients for certificates, which Envoy cannot do over QUIC.
    Certificates,
    /// Another listener takes the port's datagrams.
    PortTaken,
}

/// Gives each listener that is served its policy, in the order of the listeners; what became of policies, by Gateway.
pub(super) fn cover(
    judged: &mut [Judged<'_>],
    reader: &mut Reader<'_>,
) -> FxHashMap<ObjectId, Vec<ClientVerdict>> {
    // What policies say, by themselves and merged over others.
    let mut read: FxHashMap<Vec<ObjectId>, Arc<Client>> = FxHashMap::default();
    let mut verdicts: FxHashMap<ObjectId, Vec<ClientVerdict>> = FxHashMap::default();
    for i in 0..judged.len() {
        if !judged[i].ready() {
            continue;
        }
        let scopes = around(&judged[i]);
        for (nth, scope) in scopes.iter().enumerate() {
            let Some(policy) = holder(KIND, scope.object, scope.section.as_deref(), reader) else { continue };
            let mut all = vec![(policy, scope.clone())];
            all.extend(parents(KIND, policy, &scopes[nth + 1..], reader));
            let key = all.iter().map(|(policy, _)| *policy).collect();
            let settings = match read.entry(key) {
                Entry::Occupied(read) => read.get().clone(),
                Entry::Vacant(unread) => {
                    let Some(fact) = reader.policy(policy).cloned() else { continue };
                    let settings = Arc::new(Client::of(&fact, &unread.key()[1..], reader));
                    unread.insert(settings).clone()
                }
            };
            let listener = &judged[i];
            let tls = !listener.certificates.is_empty();
            let refused = others_on_port(judged, i, scope).map(|others| refused(&others));
            let kept = refused.is_none();
            let against = match refused {
                Some(refused) => vec![refused],
                None => settings
                    .against(by_http(listener), tls)
                    .into_iter()
                    .chain(unvouched(listener, &settings))
                    .collect(),
            };
            let broken = kept && !against.is_empty();
            let wants_host = kept && wants_host(listener, &settings, reader);
            verdicts.entry(listener.gateway).or_default().push(ClientVerdict {
                policy,
                wants_host: wants_host.then_some(listener.id),
                listener: listener.fact.name.clone(),
                without_http3: if kept { no_http3(judged, i, &settings) } else { None },
                against: against.into(),
                scope: scope.clone(),
            });
            if kept {
                let whole = |scope: &Scope| scope.object == judged[i].gateway && scope.section.is_none();
                let mut says = all.iter().filter(|(policy, _)| settings.http1_of == Some(*policy));
                let narrower_http1 = says.any(|(_, scope)| !whole(scope));
                apply(&mut judged[i], Covered { settings, broken, narrower_http1 });
            }
            if kept || scope.section.is_some() {
                break;
            }
        }
    }
    verdicts
}

/// What a policy can be for that has a listener, the most specific first.
fn around(listener: &Judged<'_>) -> Vec<Scope> {
    around_listener((listener.id.owner, &listener.fact.name), listener.gateway)
}

/// Other plain HTTP listeners of the port that a policy is not for; `None` when there is none, or nothing is shared.
fn others_on_port(judged: &[Judged<'_>], index: usize, scope: &Scope) -> Option<Vec<String>> {
    let own = &judged[index];
    if own.protocol != Protocol::Http {
        return None;
    }
    // Gateways of a class that merges them share ports, too.
    let within = |other: &Judged<'_>| [other.id.owner, other.gateway].contains(&scope.object);
    let others = judged.iter().enumerate().filter(|(i, other)| {
        *i != index
            && other.protocol == Protocol::Http
            && other.ready()
            && other.fact.port == own.fact.port
            && (scope.section.is_some() || !within(other))
    });
    let others: Vec<String> = others.map(|(_, other)| other.label()).collect();
    (!others.is_empty()).then_some(others)
}

fn refused(others: &[String]) -> Finding {
    let message = format!(
        "plain HTTP listeners of one port cannot have different policies, and this one is not for {}; use a policy for the whole Gateway, or other ports",
        others.join(", ")
    );
    Finding::new("spec.targetRefs", "Invalid", message)
}

/// True for listeners that speak HTTP.
pub(super) fn by_http(listener: &Judged<'_>) -> bool {
    matches!(listener.protocol, Protocol::Http | Protocol::Https)
}

/// Why names of clients cannot be asked for: anybody can write one into a certificate.
fn unvouched(listener: &Judged<'_>, settings: &Client) -> Option<Finding> {
    let check = settings.tls.client.as_ref().filter(|_| !listener.certificates.is_empty())?;
    let of_gateway = listener.client.as_ref().and_then(|asked| asked.authorities);
    check.unvouched(of_gateway.is_some())
}

/// True when a listener leaves the host of requests that name none to its routes.
fn wants_host(listener: &Judged<'_>, settings: &Client, reader: &Reader<'_>) -> bool {
    by_http(listener) && settings.default_host && own_host(listener, reader).is_none()
}

/// The hostname of a listener, if it has no wildcard.
fn own_host<'a>(listener: &Judged<'_>, reader: &Reader<'a>) -> Option<&'a Arc<str>> {
    listener.fact.hostname.map(|name| reader.name(name)).filter(|name| !name.starts_with('*'))
}

/// The listener whose routes tell the host of requests that name none; `None` when nobody asks for it.
pub(super) fn default_host_of(listener: &Judged<'_>, reader: &Reader<'_>) -> Option<ListenerId> {
    let policy = listener.policy.as_ref()?;
    wants_host(listener, &policy.settings, reader).then_some(listener.id)
}

/// Gives a listener its policy. What the policy asks of clients goes in the place of what the Gateway asks; only
/// authorities that it leaves open are the Gateway's.
fn apply(listener: &mut Judged<'_>, covered: Covered) {
    if let Some(check) = covered.settings.tls.client.as_ref().filter(|_| !listener.certificates.is_empty()) {
        listener.client = Some(asked(check, listener.client.as_ref()));
    }
    if let Some(mode) = covered.settings.tls.misdirected {
        listener.mode = mode;
    }
    listener.policy = Some(covered);
}

/// What a policy asks of clients, over what the Gateway asks.
fn asked(check: &ClientCheck, of_gateway: Option<&Asked>) -> Asked {
    let mut validation = check.validation.clone();
    let mut authorities = check.authorities;
    if let (None, Some(asked)) = (authorities, of_gateway) {
        authorities = asked.authorities;
        validation.authorities.clone_from(&asked.validation.authorities);
    }
    if authorities.is_none() {
        // Envoy refuses what only authorities can vouch for.
        validation.names = [].into();
        validation.expired = false;
    }
    Asked { authorities, validation: Arc::new(validation) }
}

/// What an HTTPS listener that is not served would ask of clients by its policy; `None` when the policy does not say, or
/// there is none.
pub(super) fn asked_unserved(listener: &Judged<'_>, reader: &mut Reader<'_>) -> Option<Asked> {
    let scopes = around(listener);
    let (nth, policy) = (scopes.iter().enumerate()).find_map(|(nth, scope)| {
        Some((nth, holder(KIND, scope.object, scope.section.as_deref(), reader)?))
    })?;
    let broader = parents(KIND, policy, &scopes[nth + 1..], reader);
    let broader: Vec<ObjectId> = broader.into_iter().map(|(policy, _)| policy).collect();
    let fact = reader.policy(policy).cloned()?;
    let settings = Client::of(&fact, &broader, reader);
    Some(asked(settings.tls.client.as_ref()?, listener.client.as_ref()))
}

/// Why a listener does not offer HTTP/3; `None` when it does, and when nobody asks for it.
fn no_http3(judged: &[Judged<'_>], index: usize, settings: &Client) -> Option<NoHttp3> {
    let listener = &judged[index];
    let asked = settings.http3 && listener.protocol == Protocol::Https;
    match () {
        () if !asked => None,
        () if settings.tls.client.is_some() || listener.client.is_some() => Some(NoHttp3::Certificates),
        () if takes_datagrams(judged, listener.fact.port) => Some(NoHttp3::PortTaken),
        () => None,
    }
}

fn takes_datagrams(judged: &[Judged<'_>], port: u16) -> bool {
    let mut ready = judged.iter().filter(|listener| listener.ready());
    ready.any(|listener| listener.protocol == Protocol::Udp && listener.fact.port == port)
}

/// Ports on which HTTP/3 is offered: those with an HTTPS listener whose policy asks for it and that asks clients for no
/// certificate, unless another listener takes the port's datagrams.
pub(super) fn http3_ports(judged: &[Judged<'_>]) -> BTreeSet<u16> {
    let ready = judged.iter().filter(|listener| listener.ready());
    let asked = ready.filter(|listener| {
        let policy = listener.policy.as_ref();
        by_quic(listener) && policy.is_some_and(|policy| policy.settings.http3 && !policy.broken)
    });
    asked.map(|listener| listener.fact.port).filter(|port| !takes_datagrams(judged, *port)).collect()
}

/// True for listeners that clients can reach over QUIC: Envoy cannot ask for certificates there.
pub(super) fn by_quic(listener: &Judged<'_>) -> bool {
    listener.protocol == Protocol::Https && listener.client.is_none()
}

/// What a policy that cannot be applied still says of requests: all of them get an error, and what limits connections is
/// left out, as with Envoy Gateway.
fn of_broken(settings: &HttpSettings) -> HttpSettings {
    HttpSettings {
        request_timeout: None,
        headers_timeout: None,
        idle_timeout: None,
        stream_idle_timeout: None,
        max_connection_duration: None,
        ends_unsafely: false,
        max_requests: None,
        max_stream_duration: None,
        ..settings.clone()
    }
}

/// What the connection manager of a listener says of requests.
pub(super) fn http(listener: &Judged<'_>, reader: &Reader<'_>) -> Arc<HttpSettings> {
    let Some(policy) = &listener.policy else { return Arc::default() };
    let own = &policy.settings.http;
    let mut settings = if policy.broken { of_broken(own) } else { own.clone() };
    settings.http1 = http1(listener, reader);
    Arc::new(settings)
}

/// HTTP/1 of a listener, with the host of requests that name none.
fn http1(listener: &Judged<'_>, reader: &Reader<'_>) -> Option<Arc<Http1>> {
    let policy = listener.policy.as_ref().filter(|_| by_http(listener))?;
    let http1 = policy.settings.http.http1.as_ref()?;
    match (&http1.http10, own_host(listener, reader)) {
        (Some(_), Some(host)) if policy.settings.default_host => {
            Some(Arc::new(http1.with_default_host(Some(host.clone()))))
        }
        _ => Some(http1.clone()),
    }
}

/// HTTP/1 as the policy of a whole Gateway has it for backends, which are sent no HTTP/1.0.
pub(super) fn http1_of_gateway(gateway: ObjectId, reader: &mut Reader<'_>) -> Option<Arc<Http1>> {
    let policy = holder(KIND, gateway, None, reader)?;
    let fact = reader.policy(policy).cloned()?;
    Some(without_http10(Client::of(&fact, &[], reader).http.http1.as_deref()?))
}

fn without_http10(http1: &Http1) -> Arc<Http1> {
    Arc::new(Http1 { http10: None, ..http1.clone() })
}

/// Whether the rules of a listener may share clusters with those of others: HTTP/1 towards backends is then the
/// Gateway's, so no narrower policy may have a word on it.
fn shares(listener: &Judged<'_>, merging: &Merging, reader: &Reader<'_>) -> bool {
    let policy = listener.policy.as_ref();
    if policy.is_some_and(|policy| policy.narrower_http1) {
        return false;
    }
    !by_http(listener) || http1(listener, reader).map(|http1| without_http10(&http1)) == merging.http1
}

/// What the policy of a listener means for its routes. `http3` are the ports on which HTTP/3 is offered.
pub(super) fn on_routes(
    listener: &Judged<'_>,
    http3: &BTreeSet<u16>,
    (merging, counted): (Option<&Arc<Merging>>, bool),
    reader: &Reader<'_>,
) -> OnRoutes {
    let policy = listener.policy.as_ref();
    OnRoutes {
        counted,
        broken: policy.is_some_and(|policy| policy.broken),
        ends_idle_streams: policy.is_some_and(|policy| policy.settings.http.stream_idle_timeout.is_some()),
        http3: listener.protocol == Protocol::Https && http3.contains(&listener.fact.port),
        http1: http1(listener, reader),
        quiet_limits: policy.is_some_and(|policy| policy.settings.quiet_limits),
        wants_host: default_host_of(listener, reader).is_some(),
        merging: merging.filter(|merging| shares(listener, merging, reader)).cloned(),
    }
}

/// What connections of a listener are given.
pub(super) fn connection(listener: &Judged<'_>) -> ConnectionSettings {
    let policy = listener.policy.as_ref().filter(|policy| !policy.broken);
    policy.map_or_else(ConnectionSettings::default, |policy| policy.settings.connection.clone())
}

/// Adds what a listener says of a socket to what those before it say: the first decides, but for what must be known of
/// a connection before it has a listener.
pub(super) fn join(settings: &mut Option<SocketSettings>, listener: &Judged<'_>) {
    let policy = listener.policy.as_ref().filter(|policy| !policy.broken);
    let own = policy.map_or_else(SocketSettings::default, |policy| policy.settings.socket.clone());
    let Some(settings) = settings else {
        *settings = Some(own);
        return;
    };
    settings.proxy_protocol = settings.proxy_protocol.or(own.proxy_protocol);
    settings.fingerprints.ja3 |= own.fingerprints.ja3;
    settings.fingerprints.ja4 |= own.fingerprints.ja4;
}
