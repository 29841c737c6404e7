//! What one route contributes to one virtual host: encoded routes with their place in the order.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use ir::{
    listener::HttpFilter,
    route::{Action, Forward, HeaderValue, Mirror, PathMatch, RouteMatch, Rule, StringMatch, ValueMatch},
    traffic::RouteTraffic,
};
use translate::{
    AttachListener, DefaultHosts, EntryKey, GatewayTable, Host, Policies, Reader, RouteTable, Unserved,
    policy::backend_traffic::{self, Traffic},
    precedence::{OrderKey, Origin},
    route,
};
use xxhash_rust::xxh3::Xxh3;

use crate::encode;

/// Seconds for which clients remember that a listener offers HTTP/3: a day.
const ALTERNATIVE_LIFETIME: u32 = 24 * 60 * 60;

/// Status of answers to requests for which a policy cannot be applied.
const UNUSABLE_POLICY: u16 = 500;

/// An encoded route with its place in the order, kept once for all who hold it.
pub type PlacedRoute = Arc<(Arc<OrderKey>, Bytes)>;

/// The contribution of one route to one virtual host. Its `Debug` output shows no bytes, which hold header values.
#[derive(Clone, PartialEq, Eq)]
pub struct Entries {
    /// Encoded routes, ascending by order.
    pub routes: Box<[PlacedRoute]>,
    /// Clusters that they name, ascending, each once.
    pub clusters: Box<[Arc<str>]>,
    /// Hash of what each match asks for, ascending, each once: routes with a hash in common take the same requests.
    pub matches: Box<[u64]>,
    /// HTTP filters that the listener needs for them.
    pub filters: BTreeSet<HttpFilter>,
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes: Vec<(&OrderKey, usize)> =
            self.routes.iter().map(|route| (&*route.0, route.1.len())).collect();
        f.debug_struct("Entries").field("routes", &routes).field("clusters", &self.clusters).finish()
    }
}

/// Encodes the contribution of one route. `None` when the listener is gone.
pub fn unit(
    key: EntryKey,
    created: i64,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    routes: RouteTable<'_>,
    policies: Policies<'_>,
    hosts: DefaultHosts<'_>,
) -> Option<Entries> {
    let virtual_host = key.virtual_host;
    let listener = gateways.listener(reader, virtual_host.table.fleet, virtual_host.listener)?;
    let rules = routes.rules(reader, key.route);
    let object = reader.object(key.route);
    let host: Arc<str> = match virtual_host.host {
        Host::Any => "*".into(),
        Host::Name(name) => reader.name(name).clone(),
    };
    let unserved = routes.unserved(reader, gateways, key.route, listener.gateway);
    let rules = rules.iter().map(|rule| with_http3(served(rule, unserved.as_ref()), listener));
    let rules: Vec<Cow<'_, Rule>> = rules.collect();
    let on_routes = &listener.on_routes;
    let broken = on_routes.broken || (on_routes.wants_host && hosts.of(listener.id, reader).is_err());
    let mut encoded = Vec::with_capacity(rules.iter().map(|rule| rule.matches.len()).sum());
    let mut matches = Vec::new();
    let mut filters = BTreeSet::new();
    let mut clusters = Vec::new();
    for rule in &rules {
        let section = (key.route, rule.metadata.section.as_deref());
        let applied = policies.of_rule(backend_traffic::KIND, section, listener, reader);
        let version = applied.map(|applied| applied.version);
        // A policy that cannot be applied must not leave its routes open.
        let refused = broken || version.is_some_and(|version| !version.findings.is_empty());
        let said = version.and_then(|version| version.get::<Traffic>());
        let changed = match said {
            _ if refused => {
                Some(Rule { action: Action::Direct { status: UNUSABLE_POLICY }, ..Rule::clone(rule) })
            }
            said => backend_traffic::served(
                rule,
                said,
                (key.route, listener),
                reader,
                (gateways, routes, policies),
            ),
        };
        let rule: &Rule = changed.as_ref().unwrap_or(rule);
        // The errors are counted under the name that the route has in statistics.
        let named = said
            .filter(|_| refused)
            .map(|said| RouteTraffic { stat_name: said.route.stat_name.clone(), ..RouteTraffic::default() });
        let traffic = named.as_ref().or(said.map(|said| &said.route));
        filters.extend(route::filters(rule, object.kind));
        filters.extend(traffic.into_iter().flat_map(|traffic| backend_traffic::filters(traffic, rule)));
        clusters.extend(encode::clusters_of(rule).cloned());
        let connects = traffic.is_some_and(RouteTraffic::connects);
        let mut entry = 0;
        for matched in rule.matches.iter() {
            matches.push(hash_of(matched, connects));
            let mut push = |bytes: Vec<u8>| {
                let origin = Origin {
                    created,
                    namespace: &object.namespace,
                    name: &object.name,
                    kind: object.kind,
                    rule: rule.index,
                    entry,
                };
                let order = if listener.keeps_order {
                    OrderKey::as_written(&origin)
                } else {
                    OrderKey::new(matched, &origin)
                };
                encoded.push(Arc::new((Arc::new(order), Bytes::from(bytes))));
                entry += 1;
            };
            encode_match((rule, traffic), matched, &host, listener, &mut push);
        }
    }
    encoded.sort_unstable();
    clusters.sort_unstable();
    clusters.dedup();
    matches.sort_unstable();
    matches.dedup();
    Some(Entries { routes: encoded.into(), clusters: clusters.into(), matches: matches.into(), filters })
}

/// A rule as a Gateway serves it: with 500 in the place of backends that it must not reach, and without copies to them.
fn served<'a>(rule: &'a Rule, unserved: Option<&Unserved<'_>>) -> Cow<'a, Rule> {
    let Some(unserved) = unserved else { return Cow::Borrowed(rule) };
    if unserved.has_rule(rule.index) {
        return Cow::Owned(Rule { action: Action::Direct { status: 500 }, ..rule.clone() });
    }
    let Action::Forward(forward) = &rule.action else { return Cow::Borrowed(rule) };
    let mirrors = forward.mirrors.iter().filter(|mirror| !unserved.has_mirror(&mirror.cluster));
    let mirrors: Box<[Mirror]> = mirrors.cloned().collect();
    if mirrors.len() == forward.mirrors.len() {
        return Cow::Borrowed(rule);
    }
    let action = Action::Forward(Box::new(Forward { mirrors, ..Forward::clone(forward) }));
    Cow::Owned(Rule { action, ..rule.clone() })
}

fn encode_match(
    (rule, traffic): (&Rule, Option<&RouteTraffic>),
    matched: &RouteMatch,
    host: &str,
    listener: &AttachListener,
    push: &mut dyn FnMut(Vec<u8>),
) {
    if let Some(preflight) = encode::cors_preflight_field(rule, matched, host) {
        push(preflight);
    }
    let traffic = of_listener(traffic, listener);
    let (traffic, port, tls) = (traffic.as_deref(), listener.port, listener.tls);
    if let Some(answer) = encode::cors_answer_field(rule, traffic, matched, host, port, tls) {
        push(answer);
    }
    push(encode::route_field(rule, traffic, matched, host, port, tls));
}

/// What a policy says of a route, with what the listener says of it.
fn of_listener<'a>(
    traffic: Option<&'a RouteTraffic>,
    listener: &AttachListener,
) -> Option<Cow<'a, RouteTraffic>> {
    let on_routes = &listener.on_routes;
    let limited = on_routes.quiet_limits && traffic.is_some_and(|traffic| traffic.local_limit.is_some());
    if !on_routes.ends_idle_streams && !limited {
        return traffic.map(Cow::Borrowed);
    }
    let mut traffic = traffic.cloned().unwrap_or_default();
    traffic.idle_of_listener = on_routes.ends_idle_streams;
    if let Some(limit) = traffic.local_limit.as_mut().filter(|_| on_routes.quiet_limits) {
        limit.tells = false;
    }
    Some(Cow::Owned(traffic))
}

/// The rule with the header that tells clients of HTTP/3 on the port (RFC 7838), where the listener offers it.
fn with_http3<'a>(rule: Cow<'a, Rule>, listener: &AttachListener) -> Cow<'a, Rule> {
    if !listener.on_routes.http3 {
        return rule;
    }
    let mut rule = rule.into_owned();
    let value = format!("h3=\":{}\"; ma={ALTERNATIVE_LIFETIME}", listener.port);
    let header = HeaderValue { name: "alt-svc".into(), value: value.into(), append: true };
    rule.response_headers.add = rule.response_headers.add.iter().cloned().chain([header]).collect();
    Cow::Owned(rule)
}

/// A hash of what a match asks for, whichever position it has in its rule. Order counts nowhere, and case not in the
/// names of headers; a prefix is the same with a slash at its end. CONNECT requests match by nothing else.
fn hash_of(matched: &RouteMatch, connects: bool) -> u64 {
    let path = match &matched.path {
        PathMatch::Prefix(prefix) => PathMatch::Prefix(prefix.trim_end_matches('/').into()),
        other => other.clone(),
    };
    let mut headers: Vec<(String, &StringMatch)> =
        matched.headers.iter().map(|header| (header.name.to_ascii_lowercase(), &header.value)).collect();
    headers.sort_unstable();
    let sorted = |values: &'_ [ValueMatch]| {
        let mut values = values.to_vec();
        values.sort_unstable();
        values
    };
    let asked = (connects, path, &matched.method, headers, sorted(&matched.query), sorted(&matched.cookies));
    let mut hasher = Xxh3::new();
    asked.hash(&mut hasher);
    hasher.finish()
}
