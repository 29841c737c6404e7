//! The virtual host that takes a request.

use envoy_api::route::{RouteConfiguration, VirtualHost};
use ir::{Kind, ObjectRef};

use crate::{
    Explanation, Host, matching,
    origin::Origins,
    request::{Request, split_port},
};

/// A virtual host with the domain that took the request.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) host: &'a VirtualHost,
    pub(crate) domain: &'a str,
}

/// How names end of virtual hosts, but for their last part, that refuse what is for listeners which ask for other
/// certificates.
const GUARDED: &str = "/client-certificate";

/// Kinds of domains, from the most specific one (Envoy, `VirtualHost.domains`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Any,
    /// `name*`, by length.
    Prefix(usize),
    /// `*name`, by length.
    Suffix(usize),
    Exact,
}

/// How a domain takes a host, if it does. Both in lower case.
fn rank(domain: &str, host: &str) -> Option<Rank> {
    if domain == "*" {
        return Some(Rank::Any);
    }
    if let Some(suffix) = domain.strip_prefix('*') {
        return (host.len() > suffix.len() && host.ends_with(suffix)).then_some(Rank::Suffix(suffix.len()));
    }
    if let Some(prefix) = domain.strip_suffix('*') {
        return (host.len() > prefix.len() && host.starts_with(prefix)).then_some(Rank::Prefix(prefix.len()));
    }
    (domain == host).then_some(Rank::Exact)
}

/// The host of a request as domains are compared with it.
fn compared(table: &RouteConfiguration, authority: &str) -> String {
    let host = match split_port(authority) {
        Some((host, _)) if table.ignore_port_in_host_matching => host,
        _ => authority,
    };
    host.to_ascii_lowercase()
}

/// All virtual hosts that take a host, the most specific one first.
fn taking<'a>(table: &'a RouteConfiguration, authority: &str) -> Vec<(Rank, Found<'a>)> {
    let wanted = compared(table, authority);
    let mut found: Vec<(Rank, Found<'a>)> = table
        .virtual_hosts
        .iter()
        .flat_map(|host| host.domains.iter().map(move |domain| Found { host, domain }))
        .filter_map(|found| Some((rank(&found.domain.to_ascii_lowercase(), &wanted)?, found)))
        .collect();
    found.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    found
}

/// The virtual host for an authority.
pub(crate) fn find<'a>(table: &'a RouteConfiguration, authority: &str) -> Option<Found<'a>> {
    taking(table, authority).into_iter().next().map(|(_, found)| found)
}

/// The virtual host in the answer.
pub(crate) fn told(table: &RouteConfiguration, found: &Found<'_>) -> Host {
    Host {
        name: found.host.name.clone(),
        table: table.name.clone(),
        domain: found.domain.to_owned(),
        listener: listener_in_words(listener(&found.host.name)),
        broader: Vec::new(),
    }
}

/// The listener that a virtual host belongs to, as it is named in xDS: `namespace/gateway/listener`, for a listener of a
/// ListenerSet `namespace/gateway/namespace/set/listener`. Names of virtual hosts have one part more, those that refuse
/// misdirected requests two.
pub(crate) fn listener(virtual_host: &str) -> &str {
    let name = virtual_host.rsplit_once('/').map_or(virtual_host, |(name, _)| name);
    name.strip_suffix("/misdirected").or_else(|| name.strip_suffix(GUARDED)).unwrap_or(name)
}

/// True for the virtual host of a listener that refuses whatever is for listeners which ask for other certificates.
pub(crate) fn guards(virtual_host: &str) -> bool {
    virtual_host.rsplit_once('/').is_some_and(|(name, _)| name.ends_with(GUARDED))
}

/// The Gateway of a listener that is named as in xDS.
pub(crate) fn gateway_of(listener: &str) -> Option<ObjectRef> {
    let mut parts = listener.split('/');
    let (namespace, name) = (parts.next()?, parts.next()?);
    Some(ObjectRef::new(Kind::Gateway, namespace, name))
}

/// `Gateway default/eg listener https`.
pub(crate) fn listener_in_words(name: &str) -> String {
    match name.split('/').collect::<Vec<_>>()[..] {
        [namespace, gateway, listener] => format!("Gateway {namespace}/{gateway} listener {listener}"),
        [_, _, namespace, set, listener] => format!("ListenerSet {namespace}/{set} listener {listener}"),
        _ => name.to_owned(),
    }
}

/// Tells the virtual hosts with broader domains, and their routes that would have taken the request.
pub(crate) fn broader(
    table: &RouteConfiguration,
    found: &Found<'_>,
    request: &Request,
    origins: &Origins<'_>,
    told: &mut Explanation,
) {
    for (_, other) in taking(table, &request.authority).into_iter().skip(1) {
        if other.host.name == found.host.name {
            continue;
        }
        if let Some(host) = &mut told.virtual_host {
            host.broader.push(other.domain.to_owned());
        }
        for route in &other.host.routes {
            if matching::judge(route.r#match.as_ref(), request).is_ok() {
                let why = format!(
                    "its hostname {} is less specific than {}, whose routes alone are looked at",
                    other.domain, found.domain
                );
                told.lost.push(origins.with_reason(route, why));
            }
        }
    }
}

/// Whether a hostname takes an authority, port and case aside.
pub(crate) fn takes(hostname: &str, authority: &str) -> bool {
    let host = split_port(authority).map_or(authority, |(host, _)| host);
    rank(&hostname.to_ascii_lowercase(), &host.to_ascii_lowercase()).is_some()
}
