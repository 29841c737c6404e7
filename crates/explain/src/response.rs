//! Responses that take the place of others (`responseOverride`).

use envoy_api::{
    cel::{Expr, constant::ConstantKind, expr::ExprKind},
    cel_matcher::CelMatcher,
    custom_response::CustomResponse,
    hcm::HttpConnectionManager,
    local_response::LocalResponsePolicy,
    matcher::{HttpResponseLocalReplyMatchInput, HttpResponseStatusCodeMatchInput},
    redirect_response::RedirectPolicy,
    route::Route,
    well_known::Any,
    xds_matcher::{
        matcher::{
            MatcherType, OnMatch,
            matcher_list::{
                FieldMatcher, Predicate,
                predicate::{MatchType, SinglePredicate, single_predicate},
            },
            on_match,
        },
        string_matcher::MatchPattern,
    },
};

use crate::{
    Explanation, Outcome, filters,
    settings::read,
    sources::{Settings, Sources},
};

/// What may be known of a response.
#[derive(Clone, Copy)]
struct Response {
    status: u16,
    /// The proxy has made it.
    local: bool,
}

/// Tells which responses a route replaces, and replaces those of the proxy that are certain.
pub(crate) fn replace(
    manager: &HttpConnectionManager,
    route: &Route,
    sources: Option<&Sources<'_>>,
    told: &mut Explanation,
) {
    let on = |name: &str| route.typed_per_filter_config.contains_key(name);
    let filters = manager.http_filters.iter();
    let filters =
        filters.filter(|filter| filter.name.starts_with(filters::CUSTOM_RESPONSE) && on(&filter.name));
    let configs = filters.filter_map(filters::config_of).filter_map(read::<CustomResponse>);
    let matchers = configs.filter_map(|config| config.custom_response_matcher?.matcher_type);
    let rules: Vec<FieldMatcher> = matchers
        .flat_map(|matcher| match matcher {
            MatcherType::MatcherList(list) => list.matchers,
            MatcherType::MatcherTree(_) => Vec::new(),
        })
        .collect();
    if rules.is_empty() {
        return;
    }
    let words: Vec<String> = rules.iter().map(in_words).collect();
    if let Some(sources) = sources {
        let mut settings = Settings::default();
        settings.push("response override", words.join("; "), sources.policy("responseOverride"));
        told.settings.extend(settings.0);
    }
    for possible in &mut told.outcomes {
        let Outcome::Answered { status, why, .. } = &mut possible.outcome else { continue };
        let response = Response { status: *status, local: true };
        let holds = |rule: &FieldMatcher| rule.predicate.as_ref().map_or(Some(false), |p| holds(p, response));
        // A rule that goes by headers of the response may take it before those behind it.
        let Some(rule) = rules.iter().find(|rule| holds(rule) != Some(false)) else { continue };
        match (holds(rule), replacement(rule)) {
            (Some(true), Some(Replacement::Status(new))) => {
                let new = new.unwrap_or(*status);
                *why = format!("{why}; a response override has {new} in the place of {status}");
                *status = new;
            }
            _ => told.notes.push(format!("a response override may replace the answer with {status}")),
        }
    }
}

/// Tells what clients of gRPC get in the place of HTTP statuses: Envoy answers them in their own way, be it a success. What
/// is refused before there is a request for it to look at is answered as ever, and so are preflight requests.
pub(crate) fn for_grpc(told: &mut Explanation) {
    if told.filters.iter().any(|filter| filter.does == filters::PREFLIGHT) {
        return;
    }
    for possible in &mut told.outcomes {
        if let Outcome::Answered { status, grpc_status, .. } = &mut possible.outcome
            && !matches!(*status, 400 | 426)
        {
            *grpc_status = Some(of_http(*status));
        }
    }
}

/// The gRPC status that Envoy has for an HTTP status (gRPC, HTTP to gRPC status code mapping).
fn of_http(status: u16) -> u8 {
    match status {
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// What takes the place of a response.
enum Replacement {
    /// A response with this status; `None` for that of the response.
    Status(Option<u16>),
    /// The response of another place, which the proxy asks itself.
    Redirect,
}

fn replacement(rule: &FieldMatcher) -> Option<Replacement> {
    let OnMatch { on_match: Some(on_match::OnMatch::Action(action)), .. } = rule.on_match.as_ref()? else {
        return None;
    };
    let any = action.typed_config.as_ref()?;
    if let Some(policy) = read::<LocalResponsePolicy>(any) {
        let status = policy.status_code.and_then(|status| u16::try_from(status.value).ok());
        return Some(Replacement::Status(status));
    }
    read::<RedirectPolicy>(any).map(|_| Replacement::Redirect)
}

fn in_words(rule: &FieldMatcher) -> String {
    let which = rule.predicate.as_ref().map(predicate_in_words).unwrap_or_default();
    let what = match replacement(rule) {
        Some(Replacement::Status(Some(status))) => format!("becomes {status}"),
        Some(Replacement::Status(None)) => "gets other content".to_owned(),
        Some(Replacement::Redirect) => "becomes that of another place".to_owned(),
        None => "is replaced".to_owned(),
    };
    format!("{which} {what}")
}

fn predicate_in_words(predicate: &Predicate) -> String {
    let joined =
        |all: &[Predicate], with: &str| all.iter().map(predicate_in_words).collect::<Vec<_>>().join(with);
    match &predicate.match_type {
        Some(MatchType::SinglePredicate(single)) => match compared(single) {
            Compared::Status(code) => code,
            Compared::Range(first, last) => format!("{first} to {last}"),
            Compared::Local(true) => "made by the proxy".to_owned(),
            Compared::Local(false) => "made by the backend".to_owned(),
            Compared::Other => "with certain headers".to_owned(),
        },
        Some(MatchType::OrMatcher(list)) => joined(&list.predicate, " or "),
        Some(MatchType::AndMatcher(list)) => joined(&list.predicate, ", "),
        Some(MatchType::NotMatcher(inner)) => format!("not {}", predicate_in_words(inner)),
        None => String::new(),
    }
}

/// What a predicate compares.
enum Compared {
    Status(String),
    Range(i64, i64),
    Local(bool),
    Other,
}

fn compared(single: &SinglePredicate) -> Compared {
    let input = single.input.as_ref().and_then(|input| input.typed_config.as_ref());
    match &single.matcher {
        Some(single_predicate::Matcher::ValueMatch(wanted)) => {
            let Some(MatchPattern::Exact(text)) = &wanted.match_pattern else { return Compared::Other };
            let is = |found: bool| found.then_some(text);
            let status = input.and_then(read::<HttpResponseStatusCodeMatchInput>).is_some();
            let local = input.and_then(read::<HttpResponseLocalReplyMatchInput>).is_some();
            match (is(status), is(local)) {
                (Some(text), _) => Compared::Status(text.clone()),
                (_, Some(text)) => Compared::Local(text == "true"),
                _ => Compared::Other,
            }
        }
        Some(single_predicate::Matcher::CustomMatch(custom)) => range(custom.typed_config.as_ref()),
        None => Compared::Other,
    }
}

/// `response.code >= first && response.code <= last`: the only expression that policies make.
fn range(any: Option<&Any>) -> Compared {
    let matcher = any.and_then(read::<CelMatcher>);
    let expression = matcher.and_then(|matcher| matcher.expr_match?.cel_expr_parsed?.expr);
    let mut numbers = Vec::new();
    if let Some(expression) = &expression {
        constants(expression, &mut numbers);
    }
    match numbers[..] {
        [first, last] => Compared::Range(first, last),
        _ => Compared::Other,
    }
}

fn constants(expression: &Expr, found: &mut Vec<i64>) {
    match &expression.expr_kind {
        Some(ExprKind::ConstExpr(constant)) => {
            if let Some(ConstantKind::Int64Value(number)) = constant.constant_kind {
                found.push(number);
            }
        }
        Some(ExprKind::CallExpr(call)) => call.args.iter().for_each(|argument| constants(argument, found)),
        _ => {}
    }
}

/// Whether a response is meant; `None` where that depends on what is not known of it.
fn holds(predicate: &Predicate, response: Response) -> Option<bool> {
    match predicate.match_type.as_ref()? {
        MatchType::SinglePredicate(single) => match compared(single) {
            Compared::Status(code) => Some(code == response.status.to_string()),
            Compared::Range(first, last) => Some((first..=last).contains(&i64::from(response.status))),
            Compared::Local(local) => Some(local == response.local),
            Compared::Other => None,
        },
        MatchType::OrMatcher(list) => any_of(list.predicate.iter().map(|inner| holds(inner, response))),
        MatchType::AndMatcher(list) => {
            any_of(list.predicate.iter().map(|inner| holds(inner, response).map(|holds| !holds)))
                .map(|any| !any)
        }
        MatchType::NotMatcher(inner) => holds(inner, response).map(|holds| !holds),
    }
}

/// Whether one of several holds, as far as it is known.
fn any_of(all: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = Some(false);
    for one in all {
        match one {
            Some(true) => return Some(true),
            None => known = None,
            Some(false) => {}
        }
    }
    known
}
