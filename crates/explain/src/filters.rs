//! HTTP filters in the order in which they act, and those that answer a request themselves.

use envoy_api::{
    buffer::{BufferPerRoute, buffer_per_route::Override},
    cors::CorsPolicy,
    fault::{FaultAbort, HttpFault, fault_abort::ErrorType},
    fault_common::fault_delay::FaultDelaySecifier,
    hcm::{HttpConnectionManager, HttpFilter, http_filter},
    health_check::HealthCheck,
    http_rbac::RbacPerRoute,
    matcher::{HttpRequestHeaderMatchInput, string_matcher::MatchPattern},
    rbac_rules::{Action as RbacResult, rbac},
    route::{
        FilterConfig, Route, RouteConfiguration, VirtualHost, header_matcher::HeaderMatchSpecifier, route,
    },
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
use serde_json::Value;

use crate::{
    Explanation, Filter, Outcome, Protocol, Setting, config, outcome, request::Request, settings::read,
    sources, sources::Sources, values,
};

pub(crate) const CORS: &str = "envoy.filters.http.cors";
pub(crate) const SESSION: &str = "envoy.filters.http.stateful_session";
/// What names of filters that compress begin with.
pub(crate) const COMPRESSOR: &str = "envoy.filters.http.compressor";
/// What names of filters that replace responses begin with.
pub(crate) const CUSTOM_RESPONSE: &str = "envoy.filters.http.custom_response";
/// What the filter for CORS does with preflight requests.
pub(crate) const PREFLIGHT: &str = "answers the preflight request";
const LOCAL_LIMIT: &str = "envoy.filters.http.local_ratelimit";
const LOOPBACK: &str = "envoy.filters.http.rbac.dfp_loopback_deny";
const ROUTER: &str = "envoy.filters.http.router";

/// What names begin with of filters that let every request pass, but for those that are asked.
const PASSIVE: [&str; 13] = [
    CORS,
    LOOPBACK,
    SESSION,
    COMPRESSOR,
    CUSTOM_RESPONSE,
    "envoy.filters.http.fault",
    "envoy.filters.http.buffer",
    "envoy.filters.http.bandwidth_limit",
    "envoy.filters.http.health_check",
    "envoy.filters.http.grpc_web",
    "envoy.filters.http.grpc_stats",
    "envoy.filters.http.header_mutation",
    "envoy.filters.http.set_filter_state",
];

/// Answers of filters, each with its share of requests in percent; what is left of them goes on to the route.
pub(crate) type Answers = Vec<(f64, Outcome)>;

/// A filter as a route has it.
struct At<'a> {
    name: &'a str,
    settings: Option<&'a Any>,
    /// The route forwards, and does not answer by itself.
    forwards: bool,
}

/// What a filter does with a request.
struct Act {
    does: String,
    /// The answer that it gives to a share of requests.
    answers: Option<(f64, Outcome)>,
    may_answer: Option<u16>,
}

impl Act {
    fn does(does: impl Into<String>) -> Act {
        Act { does: does.into(), answers: None, may_answer: None }
    }

    fn answers(does: impl Into<String>, percent: f64, outcome: Outcome) -> Act {
        Act { answers: Some((percent, outcome)), ..Act::does(does) }
    }
}

/// Tells the filters, and the answers of those that give some.
pub(crate) fn pass(
    manager: &HttpConnectionManager,
    (table, host, route): (&RouteConfiguration, &VirtualHost, &Route),
    (request, sources): (&Request, Option<&Sources<'_>>),
    told: &mut Explanation,
) -> Answers {
    let (mut answers, mut left) = (Answers::new(), 100.0);
    let moves = sources.map(moves).unwrap_or_default();
    for filter in &manager.http_filters {
        // The most specific configuration counts.
        let settings =
            [&route.typed_per_filter_config, &host.typed_per_filter_config, &table.typed_per_filter_config]
                .into_iter()
                .find_map(|configs| configs.get(&filter.name));
        let wrapped = settings.and_then(|any| unpack::<FilterConfig>(any).ok().flatten());
        let switched_off = wrapped.as_ref().map_or(filter.disabled && settings.is_none(), |w| w.disabled);
        let inner = wrapped.as_ref().and_then(|wrapped| wrapped.config.as_ref()).or(settings);
        let forwards = matches!(route.action, Some(route::Action::Route(_)));
        let acts = if switched_off {
            Act::does("nothing: it is off for this route")
        } else if left <= 0.0 {
            Act::does("nothing: a filter before it has answered")
        } else {
            act(&At { name: &filter.name, settings: inner, forwards }, request, told)
        };
        if let Some((percent, outcome)) = acts.answers {
            answers.push((left * percent / 100.0, outcome));
            left -= left * percent / 100.0;
        }
        let moved = moves.iter().rev().find(|(name, anchor, _)| {
            filter.name.starts_with(name) && manager.http_filters.iter().any(|f| f.name.starts_with(anchor))
        });
        told.filters.push(Filter {
            name: filter.name.clone(),
            does: acts.does,
            may_answer: acts.may_answer,
            moved: moved.map(|(.., setting)| setting.clone()),
        });
    }
    answers
}

/// Filters that are moved, what they are moved by, and who says so.
fn moves(sources: &Sources<'_>) -> Vec<(String, String, Setting)> {
    let Some((Value::Array(all), (object, field))) =
        sources::parameter(sources.pipeline, &sources.gateway, "filterOrder")
    else {
        return Vec::new();
    };
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let moves = all.iter().enumerate().filter_map(|(index, position)| {
        let name = text(position, "name")?;
        let (word, anchor) = match text(position, "before") {
            Some(anchor) => ("before", anchor),
            None => ("after", text(position, "after")?),
        };
        let setting = Setting {
            name: "order".to_owned(),
            value: format!("{word} {anchor}"),
            object: object.clone(),
            field: format!("{field}[{index}]"),
        };
        (name != anchor).then_some((name, anchor, setting))
    });
    moves.collect()
}

fn act(at: &At<'_>, request: &Request, told: &mut Explanation) -> Act {
    if at.name == ROUTER {
        return Act::does(if at.forwards { "sends the request on" } else { "answers as the route says" });
    }
    if let Some(policy) = at.settings.and_then(read::<CorsPolicy>) {
        if !at.forwards {
            return Act::does("nothing: the route answers by itself");
        }
        return match preflight(&policy, request) {
            Some(answer) => Act::answers(PREFLIGHT, 100.0, answer),
            None => Act::does("adds CORS headers to responses, for origins that are allowed"),
        };
    }
    if let Some(rules) = at.settings.and_then(read::<RbacPerRoute>) {
        let denies =
            rules.rbac.and_then(|rbac| rbac.matcher).is_some_and(|matcher| denies(&matcher, request));
        if denies {
            let outcome = Outcome::answer(403, format!("filter {} denies the request", at.name));
            return Act::answers("denies the request", 100.0, outcome);
        }
        return Act::does("lets the request pass");
    }
    if let Some(fault) = at.settings.and_then(read::<HttpFault>) {
        return injected(&fault);
    }
    if let Some(BufferPerRoute { r#override: Some(Override::Buffer(buffer)) }) = at.settings.and_then(read) {
        let most = u64::from(buffer.max_request_bytes.map_or(0, |bytes| bytes.value));
        return buffered(most, request, told);
    }
    if at.name == LOCAL_LIMIT && at.settings.is_some() {
        told.notes.push("the rate limit answers with 429 when there were too many requests".to_owned());
        return Act {
            may_answer: Some(429),
            ..Act::does("counts the request, and refuses it above the limit")
        };
    }
    if at.name != LOCAL_LIMIT && !PASSIVE.iter().any(|name| at.name.starts_with(name)) {
        let name = at.name;
        told.notes
            .push(format!("filter {name} may answer the request itself; what it does is not told here"));
    }
    Act::does(match (at.settings, at.name) {
        (None, CORS | LOOPBACK | LOCAL_LIMIT | "envoy.filters.http.fault") => {
            "nothing: the route has no settings for it"
        }
        (None, _) => "acts with the settings of the listener",
        (Some(_), _) => "acts with the settings of the route",
    })
}

/// What becomes of a request whose body is waited for. Envoy looks at the limit when it stores a part of the body, and what
/// comes with the end of the request is passed on instead: over HTTP/2 and HTTP/3 a body may be such a part as a whole.
fn buffered(most: u64, request: &Request, told: &mut Explanation) -> Act {
    if request.body <= most {
        return Act::does(format!("waits for the whole body, of which {most} bytes are the most"));
    }
    let why = format!("the body has {} bytes, and {most} are the most that is buffered", request.body);
    if request.protocol == Protocol::Http1 {
        return Act::answers("refuses the request", 100.0, Outcome::answer(413, why));
    }
    let protocol = request.protocol.name();
    told.notes.push(format!(
        "the answer is 413, because {why}, unless the whole body comes in one frame of {protocol}"
    ));
    Act { may_answer: Some(413), ..Act::does("refuses the request, unless the body comes in one frame") }
}

/// A fault that is made on purpose: a wait, an error, or both.
fn injected(fault: &HttpFault) -> Act {
    let waits = fault.delay.as_ref().and_then(|delay| {
        let Some(FaultDelaySecifier::FixedDelay(time)) = &delay.fault_delay_secifier else { return None };
        let share = delay.percentage.as_ref().map_or(0.0, outcome::percent);
        Some(format!("lets {}% of requests wait {}", rounded(share), config::duration(time)))
    });
    let Some((share, outcome)) = fault.abort.as_ref().and_then(aborted) else {
        return Act::does(waits.unwrap_or_else(|| "nothing".to_owned()));
    };
    let aborts = format!("answers {}% of requests with an error", rounded(share));
    let does = waits.into_iter().chain([aborts]).collect::<Vec<_>>().join("; ");
    if share > 0.0 { Act::answers(does, share, outcome) } else { Act::does(does) }
}

fn aborted(abort: &FaultAbort) -> Option<(f64, Outcome)> {
    let share = abort.percentage.as_ref().map_or(0.0, outcome::percent);
    let (status, with) = match abort.error_type.as_ref()? {
        ErrorType::HttpStatus(status) => (u16::try_from(*status).ok()?, String::new()),
        ErrorType::GrpcStatus(status) => (http_status(*status), format!(", gRPC status {status}")),
        ErrorType::HeaderAbort(_) => return None,
    };
    Some((share, Outcome::answer(status, format!("a fault that is made on purpose{with}"))))
}

/// The HTTP status of a gRPC status, for clients that speak no gRPC (gRPC, HTTP to gRPC status code mapping, reversed).
fn http_status(grpc: u32) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

fn rounded(share: f64) -> f64 {
    (share * 100.0).round() / 100.0
}

/// The answer of the proxy itself to a health check, before any route is looked for.
pub(crate) fn own_answer(manager: &HttpConnectionManager, request: &Request) -> Option<Outcome> {
    let checks = manager.http_filters.iter().filter_map(config_of).filter_map(read::<HealthCheck>);
    let mut paths = checks.filter_map(|check| health_path(&check));
    paths.find(|path| *path == request.path).map(|path| {
        Outcome::answer(
            200,
            format!("the proxy answers health checks at {path} itself, whatever routes there are"),
        )
    })
}

/// The path at which a proxy answers health checks.
pub(crate) fn health_path(check: &HealthCheck) -> Option<String> {
    match check.headers.first()?.header_match_specifier.as_ref()? {
        HeaderMatchSpecifier::StringMatch(matched) => match matched.match_pattern.as_ref()? {
            MatchPattern::Exact(path) => Some(path.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The configuration of a filter.
pub(crate) fn config_of(filter: &HttpFilter) -> Option<&Any> {
    match filter.config_type.as_ref()? {
        http_filter::ConfigType::TypedConfig(any) => Some(any),
        http_filter::ConfigType::ConfigDiscovery(_) => None,
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
