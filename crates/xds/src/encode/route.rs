//! Routes and virtual hosts (RDS), as parts of a body that is put together by concatenation.
//!
//! A `RouteConfiguration` is its head ([`route_configuration_head`]) followed by one field for each virtual host
//! ([`virtual_host_field`]), which in turn is made of one field for each route ([`route_field`]). Each part is encoded
//! once and kept; a change of one route costs the encoding of that route and copies.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use envoy_api::{
    matcher::{StringMatcher, string_matcher::MatchPattern},
    route::{
        DirectResponseAction, HeaderMatcher, RedirectAction, Route, RouteConfiguration,
        RouteMatch as MatchMessage, VirtualCluster, VirtualHost as HostMessage,
        header_matcher::HeaderMatchSpecifier, route,
    },
    well_known::Any,
};
use ir::{
    ObjectRef,
    cluster::INVALID_BACKEND_CLUSTER,
    listener::VirtualHost,
    route::{Action, Cors, RouteMatch, Rule, Target},
    traffic::RouteTraffic,
};
use prost::Message;

use super::{
    cors, forward, headers, http, limits, loopback, matching, metadata, rate_limit,
    redirect::{self, Origin},
    response, session, tracing,
    wire::Fields,
};

/// `envoy.config.route.v3.RouteConfiguration.virtual_hosts`.
const VIRTUAL_HOSTS: u32 = 2;
// `envoy.config.route.v3.VirtualHost`.
pub(super) const ROUTES: u32 = 3;
const HOST_METADATA: u32 = 24;
// `envoy.config.route.v3.Route`.
const ROUTE_ACTION: u32 = 2;
const ROUTE_METADATA: u32 = 4;
const TYPED_PER_FILTER_CONFIG: u32 = 13;
/// Headers in which endpoints report their load (Open Request Cost Aggregation).
const LOAD_REPORTS: [&str; 2] = ["endpoint-load-metrics", "endpoint-load-metrics-bin"];

// `google.protobuf.Any`.
const TYPE_URL: u32 = 1;
const VALUE: u32 = 2;

/// An encoded `envoy.config.route.v3.RouteConfiguration` without virtual hosts: requests are matched without the port
/// of their host. The fields of [`virtual_host_field`] may follow it.
pub fn route_configuration_head(name: &str) -> Vec<u8> {
    RouteConfiguration { name: name.to_owned(), ignore_port_in_host_matching: true, ..Default::default() }
        .encode_to_vec()
}

/// A virtual host as the field `virtual_hosts` of a `RouteConfiguration`, tag and length included. `routes` are fields
/// as [`route_field`] and [`cors_preflight_field`] return them, in the order in which Envoy shall try them.
pub fn virtual_host_field<R: AsRef<[u8]>>(host: &VirtualHost, routes: &[R]) -> Vec<u8> {
    let length: usize = routes.iter().map(|route| route.as_ref().len()).sum();
    // 200 bytes cover names and metadata of usual lengths.
    let mut fields = Fields::with_capacity(length + 200);
    fields.nested(VIRTUAL_HOSTS, |message| {
        message.message(&HostMessage {
            name: host.name.to_string(),
            domains: host.domains.iter().map(|domain| domain.to_string()).collect(),
            virtual_clusters: (host.domains.iter().filter(|_| host.counted))
                .map(|domain| virtual_cluster(domain))
                .collect(),
            ..Default::default()
        });
        metadata::field(message, HOST_METADATA, &host.metadata);
        for route in routes {
            message.raw(route.as_ref());
        }
    });
    fields.into_bytes()
}

/// All requests of a virtual host, which have statistics of their own thereby. Envoy Gateway compares the authority with
/// the beginning of the domain, so that nothing is counted where the domain has a wildcard.
fn virtual_cluster(domain: &str) -> VirtualCluster {
    let matched = |pattern| {
        HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(pattern),
            ..Default::default()
        })
    };
    let specifier = match domain.strip_prefix('*') {
        None => matched(MatchPattern::Prefix(domain.to_owned())),
        Some("") => HeaderMatchSpecifier::PresentMatch(true),
        // A port may stand behind the name.
        Some(suffix) => matched(MatchPattern::Contains(suffix.to_owned())),
    };
    let authority = HeaderMatcher {
        name: ":authority".to_owned(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    };
    VirtualCluster { name: domain.replace('.', "_"), headers: vec![authority] }
}

/// One match of a rule on one host, as the field `routes` of a `VirtualHost`, tag and length included.
///
/// `traffic` is what a policy says of the rule; what the rule says itself goes first. `listener_port` is the port of the
/// Gateway's listener (not the shifted one of the proxy) and `listener_is_tls` tells whether it terminates TLS; redirects
/// without a port of their own depend on them.
pub fn route_field(
    rule: &Rule,
    traffic: Option<&RouteTraffic>,
    matched: &RouteMatch,
    host: &str,
    listener_port: u16,
    listener_is_tls: bool,
) -> Vec<u8> {
    let origin = Origin { port: listener_port, tls: listener_is_tls };
    answering(rule, traffic, matched, host, origin, None)
}

/// The route for requests of scripts of the origins that a rule with CORS allows, where the rule answers by itself: the
/// CORS filter does nothing there, so the route has its headers. It has to come before the match's own route. `None`
/// when the rule has no CORS, and when it forwards.
pub fn cors_answer_field(
    rule: &Rule,
    traffic: Option<&RouteTraffic>,
    matched: &RouteMatch,
    host: &str,
    listener_port: u16,
    listener_is_tls: bool,
) -> Option<Vec<u8>> {
    let policy = rule.cors.as_ref().filter(|_| !matches!(rule.action, Action::Forward(_)))?;
    let origin = Origin { port: listener_port, tls: listener_is_tls };
    Some(answering(rule, traffic, matched, host, origin, Some(policy)))
}

/// One match of a rule on one host; with `cors`, for the origins that it allows.
fn answering(
    rule: &Rule,
    traffic: Option<&RouteTraffic>,
    matched: &RouteMatch,
    host: &str,
    origin: Origin,
    cors: Option<&Cors>,
) -> Vec<u8> {
    let mut message = match traffic {
        Some(traffic) if traffic.connects() => matching::connect_match(matched),
        _ => matching::route_match(matched),
    };
    let mut response_headers_to_add = headers::to_add(&rule.response_headers);
    if let Some(cors) = cors {
        message.headers.push(cors::allowed_origin(cors));
        response_headers_to_add.extend(cors::answer_headers(cors));
    }
    let mut route = Route {
        request_headers_to_add: headers::to_add(&rule.request_headers),
        request_headers_to_remove: headers::to_remove(&rule.request_headers),
        response_headers_to_add,
        response_headers_to_remove: headers::to_remove(&rule.response_headers),
        ..route(rule, matched, host, message, if cors.is_some() { "/cors" } else { "" })
    };
    if let Some(traffic) = traffic {
        of_policy(&mut route, rule, traffic);
    }
    let policy = traffic.and_then(|traffic| traffic.policy.as_ref());
    field(rule, policy, &route, |message| {
        match &rule.action {
            Action::Direct { status } => message.message(&direct(*status)),
            Action::Redirect(action) => {
                message.message(&redirected(redirect::redirect(action, &matched.path, origin)));
            }
            Action::Forward(action) => {
                message
                    .nested(ROUTE_ACTION, |message| forward::action(message, action, traffic, &matched.path));
            }
        }
        for (filter, config) in filter_configs(rule, traffic, matched) {
            filter_config(message, &filter, &config);
        }
    })
}

/// Adds what a policy says beside the action: traces, statistics, headers.
fn of_policy(route: &mut Route, rule: &Rule, traffic: &RouteTraffic) {
    let remove = |from: &mut Vec<String>, header: &str| {
        if from.iter().all(|other| !other.eq_ignore_ascii_case(header)) {
            from.push(header.to_owned());
        }
    };
    if !traffic.compressors.is_empty() {
        // A backend that compresses, too, would be compressed twice.
        remove(&mut route.request_headers_to_remove, "accept-encoding");
    }
    if traffic.hides_reports {
        for header in LOAD_REPORTS {
            remove(&mut route.response_headers_to_remove, header);
        }
    }
    route.tracing = traffic.tracing.as_deref().map(tracing::of_route);
    let name = traffic.stat_name(&rule.metadata.object, rule.metadata.section.as_deref());
    route.stat_prefix = name.map(|name| name.to_string()).unwrap_or_default();
}

/// What filters have for a match of a rule, by name of the filter, ascending.
fn filter_configs(
    rule: &Rule,
    traffic: Option<&RouteTraffic>,
    matched: &RouteMatch,
) -> BTreeMap<Cow<'static, str>, Any> {
    let mut configs = BTreeMap::new();
    if let Some(policy) = &rule.cors {
        configs.insert(Cow::Borrowed(http::CORS_FILTER), cors::policy(policy));
    }
    let forwards = match &rule.action {
        Action::Forward(action) => Some(action),
        Action::Direct { .. } | Action::Redirect(_) => None,
    };
    if forwards.is_some_and(|action| action.dynamic_host) {
        configs.insert(Cow::Borrowed(http::LOOPBACK_FILTER), loopback::GUARD.clone());
    }
    if let Some(persistence) = forwards.and_then(|action| action.session.as_ref()) {
        let config = session::per_route(persistence, &matched.path);
        configs.insert(Cow::Borrowed(http::SESSION_FILTER), config);
    }
    let Some(traffic) = traffic else { return configs };
    if let Some(limit) = traffic.local_limit.as_deref().filter(|_| forwards.is_some()) {
        configs.insert(Cow::Borrowed(rate_limit::LOCAL_LIMIT_FILTER), rate_limit::local(limit));
    }
    if let Some(fault) = &traffic.fault {
        configs.insert(Cow::Borrowed(limits::FAULT_FILTER), limits::fault(fault));
    }
    if let Some(limit) = traffic.buffer {
        configs.insert(Cow::Borrowed(limits::BUFFER_FILTER), limits::buffer(limit));
    }
    let (request, response) = limits::bandwidth(&traffic.bandwidth);
    let directions =
        [(limits::REQUEST_BANDWIDTH_FILTER, request), (limits::RESPONSE_BANDWIDTH_FILTER, response)];
    configs.extend(directions.into_iter().filter_map(|(name, config)| Some((Cow::Borrowed(name), config?))));
    for compressor in &traffic.compressors {
        let name = limits::compressor_filter(compressor.format);
        configs.insert(Cow::Owned(name), limits::compression());
    }
    if let Some(responses) = &traffic.responses {
        configs.insert(Cow::Owned(response::filter_name(responses)), response::on());
    }
    configs
}

/// The route for the preflight requests of browsers that a rule with CORS needs beside the match. It has to come before
/// the match's own route. `None` when the rule has no CORS, when it forwards what its match takes of preflight requests,
/// and when it asks for cookies, which browsers do not send with them.
pub fn cors_preflight_field(rule: &Rule, matched: &RouteMatch, host: &str) -> Option<Vec<u8>> {
    let policy = rule.cors.as_ref()?;
    let takes_preflights = matched.method.as_deref().is_none_or(|method| method == "OPTIONS");
    let forwards = matches!(rule.action, Action::Forward(_));
    if !matched.cookies.is_empty() || (takes_preflights && forwards) {
        return None;
    }
    let route = route(rule, matched, host, matching::preflight_match(matched), "/cors-preflight");
    Some(field(rule, None, &route, |message| {
        match &rule.action {
            Action::Forward(action) => {
                message.nested(ROUTE_ACTION, |message| forward::preflight_action(message, action));
            }
            // The filter acts on routes to clusters alone. It answers first, so there need be no cluster.
            Action::Direct { .. } | Action::Redirect(_) => {
                message.nested(ROUTE_ACTION, forward::nowhere);
            }
        }
        filter_config(message, http::CORS_FILTER, &cors::policy(policy));
    }))
}

/// The clusters that the routes of a rule name: targets and mirrors, in the order of the rule, without the stand-in for
/// invalid backends. Names may repeat.
pub fn clusters_of(rule: &Rule) -> impl Iterator<Item = &Arc<str>> {
    let forward = match &rule.action {
        Action::Forward(forward) => Some(forward),
        Action::Direct { .. } | Action::Redirect(_) => None,
    };
    let targets = forward.into_iter().flat_map(|forward| {
        let (one, many) = match &forward.target {
            Target::Cluster(name) => (Some(name), None),
            Target::Weighted { clusters, .. } => (None, Some(clusters)),
        };
        one.into_iter().chain(many.into_iter().flatten().map(|cluster| &cluster.name))
    });
    let mirrors = forward.into_iter().flat_map(|forward| &forward.mirrors);
    let mirrors =
        mirrors.filter(|mirror| forward::mirrored_share(mirror).is_some()).map(|mirror| &mirror.cluster);
    targets.chain(mirrors).filter(|name| &***name != INVALID_BACKEND_CLUSTER)
}

/// Name and match of a route.
fn route(rule: &Rule, matched: &RouteMatch, host: &str, message: MatchMessage, suffix: &str) -> Route {
    let object = &rule.metadata.object;
    let mut name = format!(
        "{}/{}/{}/rule/{}/match/{}{suffix}/",
        object.kind.name(),
        object.namespace,
        object.name,
        rule.index,
        matched.index,
    );
    if let Some(kind) = name.get_mut(..object.kind.name().len()) {
        kind.make_ascii_lowercase();
    }
    name.extend(host.chars().map(|character| if character == '.' { '_' } else { character }));
    Route { name, r#match: Some(message), ..Default::default() }
}

/// A route as field of its virtual host; `policy` has a say in it, and `rest` adds what is not in `route`.
fn field(rule: &Rule, policy: Option<&ObjectRef>, route: &Route, rest: impl FnOnce(&mut Fields)) -> Vec<u8> {
    // Usual routes take between 250 and 400 bytes.
    let mut fields = Fields::with_capacity(512);
    fields.nested(ROUTES, |message| {
        message.message(route);
        let policies = policy.map(std::slice::from_ref).unwrap_or_default();
        metadata::with_policies(message, ROUTE_METADATA, &rule.metadata, policies);
        rest(message);
    });
    fields.into_bytes()
}

fn filter_config(route: &mut Fields, filter: &str, config: &Any) {
    route.map_entry(TYPED_PER_FILTER_CONFIG, filter, |any| {
        any.string(TYPE_URL, &config.type_url);
        any.string(VALUE, &config.value);
    });
}

fn direct(status: u16) -> Route {
    let response = DirectResponseAction { status: u32::from(status), ..Default::default() };
    Route { action: Some(route::Action::DirectResponse(response)), ..Default::default() }
}

fn redirected(action: RedirectAction) -> Route {
    Route { action: Some(route::Action::Redirect(action)), ..Default::default() }
}
