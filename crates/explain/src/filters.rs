//! HTTP filters in the order in which they act, and those that answer a request themselves.

use envoy_api::{
    cors::CorsPolicy,
    hcm::HttpConnectionManager,
    http_rbac::RbacPerRoute,
    matcher::HttpRequestHeaderMatchInput,
    rbac_rules::{Action as RbacResult, rbac},
    route::{FilterConfig, Route, RouteConfiguration, VirtualHost, route},
    unpack,
    well_known::Any,
    xds_matcher::{
        Matcher,
        matcher::{
            MatcherType, OnMatch,
            matcher_list::{
                Predicate,
                predicate::{MatchType, SinglePredicate, single_predicate},
            },
            on_match,
        },
        string_matcher,
    },
};
use regex::Regex;

use crate::{Explanation, Filter, Outcome, request::Request, values};

/// Filters that let every request pass, but for CORS and RBAC, which are asked.
const PASSIVE: [&str; 10] = [
    "envoy.filters.http.cors",
    "envoy.filters.http.rbac.dfp_loopback_deny",
    "envoy.filters.http.stateful_session",
    "envoy.filters.http.grpc_web",
    "envoy.filters.http.grpc_stats",
    "envoy.filters.http.header_mutation",
    "envoy.filters.http.compressor",
    "envoy.filters.http.set_filter_state",
    "envoy.filters.http.upstream_codec",
    "envoy.filters.http.router",
];

/// Tells the filters, and the answer of the first one that is certain to give one.
pub(crate) fn pass(
    manager: &HttpConnectionManager,
    (table, host, route): (&RouteConfiguration, &VirtualHost, &Route),
    request: &Request,
    told: &mut Explanation,
) -> Option<Outcome> {
    let mut answer = None;
    for filter in &manager.http_filters {
        // The most specific configuration counts.
        let settings =
            [&route.typed_per_filter_config, &host.typed_per_filter_config, &table.typed_per_filter_config]
                .into_iter()
                .find_map(|configs| configs.get(&filter.name));
        let wrapped = settings.and_then(|any| unpack::<FilterConfig>(any).ok().flatten());
        let switched_off = wrapped.as_ref().map_or(filter.disabled && settings.is_none(), |w| w.disabled);
        let inner = wrapped.as_ref().and_then(|wrapped| wrapped.config.as_ref()).or(settings);
        let does = if switched_off {
            "nothing: it is off for this route".to_owned()
        } else if answer.is_some() {
            "nothing: a filter before it has answered".to_owned()
        } else {
            // CORS is for requests that are forwarded: redirects and answers of a route go before it.
            let forwards = matches!(route.action, Some(route::Action::Route(_)));
            act((&filter.name, inner, forwards), request, told, &mut answer)
        };
        told.filters.push(Filter { name: filter.name.clone(), does });
    }
    answer
}

fn act(
    (name, settings, forwards): (&str, Option<&Any>, bool),
    request: &Request,
    told: &mut Explanation,
    answer: &mut Option<Outcome>,
) -> String {
    if name == "envoy.filters.http.router" {
        return "sends the request on".to_owned();
    }
    let policy = settings.and_then(|any| unpack::<CorsPolicy>(any).ok().flatten());
    if policy.is_some() && !forwards {
        return "nothing: the route answers by itself".to_owned();
    }
    if let Some(policy) = policy {
        *answer = preflight(&policy, request);
        return if answer.is_some() {
            "answers the preflight request".to_owned()
        } else {
            "adds CORS headers to responses, for origins that are allowed".to_owned()
        };
    }
    if let Some(rules) = settings.and_then(|any| unpack::<RbacPerRoute>(any).ok().flatten()) {
        let denies =
            rules.rbac.and_then(|rbac| rbac.matcher).is_some_and(|matcher| denies(&matcher, request));
        if denies {
            *answer = Some(Outcome::answer(403, format!("filter {name} denies the request")));
            return "denies the request".to_owned();
        }
        return "lets the request pass".to_owned();
    }
    if !PASSIVE.contains(&name) {
        told.notes
            .push(format!("filter {name} may answer the request itself; what it does is not told here"));
    }
    match (settings, name) {
        (None, "envoy.filters.http.cors" | "envoy.filters.http.rbac.dfp_loopback_deny") => {
            "nothing: the route has no settings for it".to_owned()
        }
        (None, _) => "acts with the settings of the listener".to_owned(),
        (Some(_), _) => "acts with the settings of the route".to_owned(),
    }
}

/// The answer to a preflight request, which is 200 whether or not the origin is allowed; only the headers differ.
fn preflight(policy: &CorsPolicy, request: &Request) -> Option<Outcome> {
    let origin = request.header("origin").filter(|origin| !origin.is_empty())?;
    let asks = request.header("access-control-request-method").is_some_and(|method| !method.is_empty());
    if request.method != "OPTIONS" || !asks {
        return None;
    }
    let allowed = policy.allow_origin_string_match.iter().any(|wanted| values::matches(wanted, &origin));
    if allowed {
        return Some(Outcome::answer(200, format!("a preflight request of the allowed origin {origin}")));
    }
    let passes = policy.forward_not_matching_preflights.is_none_or(|passes| passes.value);
    (!passes).then(|| {
        let why = format!(
            "a preflight request of {origin}, which is no allowed origin: the answer lacks CORS headers"
        );
        Outcome::answer(200, why)
    })
}

/// Whether a matcher of RBAC comes to the action DENY.
fn denies(matcher: &Matcher, request: &Request) -> bool {
    let listed = match &matcher.matcher_type {
        Some(MatcherType::MatcherList(list)) => list.matchers.iter().find_map(|field| {
            holds(field.predicate.as_ref()?, request).then_some(field.on_match.as_ref()).flatten()
        }),
        _ => None,
    };
    listed.or(matcher.on_no_match.as_deref()).is_some_and(is_denial)
}

fn is_denial(on_match: &OnMatch) -> bool {
    let Some(on_match::OnMatch::Action(action)) = &on_match.on_match else { return false };
    let action = action.typed_config.as_ref().and_then(|any| unpack::<RbacResult>(any).ok().flatten());
    action.is_some_and(|action| action.action == rbac::Action::Deny as i32)
}

fn holds(predicate: &Predicate, request: &Request) -> bool {
    match &predicate.match_type {
        Some(MatchType::SinglePredicate(single)) => single_holds(single, request),
        Some(MatchType::OrMatcher(list)) => list.predicate.iter().any(|inner| holds(inner, request)),
        Some(MatchType::AndMatcher(list)) => list.predicate.iter().all(|inner| holds(inner, request)),
        Some(MatchType::NotMatcher(inner)) => !holds(inner, request),
        None => false,
    }
}

fn single_holds(single: &SinglePredicate, request: &Request) -> bool {
    let input = single.input.as_ref().and_then(|input| input.typed_config.as_ref());
    let input = input.and_then(|any| unpack::<HttpRequestHeaderMatchInput>(any).ok().flatten());
    let Some(value) = input.and_then(|input| request.header(&input.header_name.to_ascii_lowercase())) else {
        return false;
    };
    let Some(single_predicate::Matcher::ValueMatch(wanted)) = &single.matcher else { return false };
    match &wanted.match_pattern {
        Some(string_matcher::MatchPattern::Exact(text)) => value == *text,
        Some(string_matcher::MatchPattern::Prefix(text)) => value.starts_with(text),
        Some(string_matcher::MatchPattern::Suffix(text)) => value.ends_with(text),
        Some(string_matcher::MatchPattern::Contains(text)) => value.contains(text),
        Some(string_matcher::MatchPattern::SafeRegex(regex)) => {
            Regex::new(&format!(r"\A(?:{})\z", regex.regex)).is_ok_and(|regex| regex.is_match(&value))
        }
        Some(string_matcher::MatchPattern::Custom(_)) | None => false,
    }
}
