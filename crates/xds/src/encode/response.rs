//! Responses that take the place of others.

use envoy_api::{
    any,
    cel::{
        Constant, Expr, ParsedExpr,
        constant::ConstantKind,
        expr::{Call, ExprKind, Ident, Select},
    },
    cel_matcher::{CelMatcher, HttpAttributesCelMatchInput},
    core::{HeaderValue as HeaderMessage, HeaderValueOption, header_value_option::HeaderAppendAction},
    custom_response::CustomResponse,
    hcm::HttpFilter,
    local_response::LocalResponsePolicy,
    matcher::{
        HttpResponseHeaderMatchInput, HttpResponseLocalReplyMatchInput, HttpResponseStatusCodeMatchInput,
    },
    redirect_response::{RedirectPolicy, redirect_policy::RedirectActionSpecifier},
    route::{
        FilterConfig, RedirectAction,
        redirect_action::{PathRewriteSpecifier, SchemeRewriteSpecifier},
    },
    well_known::{Any, uint32},
    xds_core::TypedExtensionConfig,
    xds_matcher::{
        Matcher, RegexMatcher, StringMatcher,
        matcher::{
            MatcherList, MatcherType, OnMatch,
            matcher_list::{
                FieldMatcher, Predicate,
                predicate::{MatchType, PredicateList, SinglePredicate, single_predicate},
            },
            on_match,
        },
        regex_matcher::{EngineType, GoogleRe2},
        string_matcher::MatchPattern,
    },
    xds_types::CelExpression,
};
use ir::{
    route::{HeaderMutations, StringMatch},
    traffic::{Replacement, ResponseOverride, ResponseOverrides, StatusCodes},
};
use prost::Name;

use super::{command, headers, http::filter, wire::Fields};

/// `envoy.extensions.http.custom_response.local_response_policy.v3.LocalResponsePolicy.body_format`.
const BODY_FORMAT: u32 = 2;
/// `envoy.config.core.v3.SubstitutionFormatString.text_format`.
const TEXT_FORMAT: u32 = 1;

/// Name of the filter for the responses of one policy.
pub(super) fn filter_name(overrides: &ResponseOverrides) -> String {
    format!("envoy.filters.http.custom_response/{}", overrides.policy)
}

/// The responses of a policy; off unless a route says otherwise.
pub(super) fn response_filter(overrides: &ResponseOverrides) -> HttpFilter {
    let matchers = (overrides.rules.iter().enumerate())
        .filter_map(|(index, rule)| {
            let name = format!("{}/responseoverride/rule/{index}", overrides.policy);
            Some(FieldMatcher {
                predicate: Some(predicate(rule)?),
                on_match: Some(OnMatch {
                    on_match: Some(on_match::OnMatch::Action(extension(
                        &name,
                        replacement(&rule.replacement),
                    ))),
                    ..Default::default()
                }),
            })
        })
        .collect();
    let matcher = Matcher {
        matcher_type: Some(MatcherType::MatcherList(MatcherList { matchers })),
        ..Default::default()
    };
    let config = CustomResponse { custom_response_matcher: Some(matcher) };
    HttpFilter { disabled: true, ..filter(&filter_name(overrides), any(&config)) }
}

/// What a route has for the filter: that it is on.
pub(super) fn on() -> Any {
    any(&FilterConfig { config: Some(Any::default()), ..Default::default() })
}

fn extension(name: &str, config: Any) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) }
}

/// Which responses are meant; `None` when nothing is asked for, which the schema excludes.
fn predicate(rule: &ResponseOverride) -> Option<Predicate> {
    let any_code = list(rule.codes.iter().map(|codes| code(*codes)).collect(), MatchType::OrMatcher);
    let headers = rule.headers.iter().map(|header| {
        let input = HttpResponseHeaderMatchInput { header_name: header.name.to_string() };
        compared("http-response-header-match-input", any(&input), string(&header.value))
    });
    let all_headers = list(headers.collect(), MatchType::AndMatcher);
    let mut all: Vec<Predicate> = any_code.into_iter().chain(all_headers).collect();
    if all.is_empty() {
        return None;
    }
    all.extend(rule.local.map(|local| {
        let input = any(&HttpResponseLocalReplyMatchInput {});
        compared("http-response-local-reply-match-input", input, exact(if local { "true" } else { "false" }))
    }));
    list(all, MatchType::AndMatcher)
}

/// Several predicates as one; `None` without any.
fn list(mut predicates: Vec<Predicate>, together: fn(PredicateList) -> MatchType) -> Option<Predicate> {
    if predicates.len() < 2 {
        return predicates.pop();
    }
    Some(Predicate { match_type: Some(together(PredicateList { predicate: predicates })) })
}

fn compared(name: &str, input: Any, with: StringMatcher) -> Predicate {
    single(extension(name, input), single_predicate::Matcher::ValueMatch(with))
}

fn single(input: TypedExtensionConfig, matcher: single_predicate::Matcher) -> Predicate {
    let single = SinglePredicate { input: Some(input), matcher: Some(matcher) };
    Predicate { match_type: Some(MatchType::SinglePredicate(single)) }
}

fn exact(text: &str) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Exact(text.to_owned())), ..Default::default() }
}

fn string(value: &StringMatch) -> StringMatcher {
    let pattern = match value {
        StringMatch::Exact(text) => MatchPattern::Exact(text.to_string()),
        StringMatch::Prefix(text) => MatchPattern::Prefix(text.to_string()),
        StringMatch::Suffix(text) => MatchPattern::Suffix(text.to_string()),
        StringMatch::Regex(regex) => {
            let engine_type = Some(EngineType::GoogleRe2(GoogleRe2 {}));
            MatchPattern::SafeRegex(RegexMatcher { regex: regex.to_string(), engine_type })
        }
    };
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

/// One status code is compared as text; of several in a row an expression decides.
fn code(codes: StatusCodes) -> Predicate {
    match codes {
        StatusCodes::One(code) => compared(
            "http-response-status-code-match-input",
            any(&HttpResponseStatusCodeMatchInput {}),
            exact(&code.to_string()),
        ),
        StatusCodes::Range(first, last) => {
            let expression = CelMatcher {
                expr_match: Some(CelExpression {
                    cel_expr_parsed: Some(ParsedExpr {
                        expr: Some(between(first, last)),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            };
            single(
                extension("http-attributes-cel-match-input", any(&HttpAttributesCelMatchInput {})),
                single_predicate::Matcher::CustomMatch(extension("cel-matcher", any(&expression))),
            )
        }
    }
}

/// `response.code >= first && response.code <= last`, with the numbers of nodes that Envoy Gateway gives them.
fn between(first: i32, last: i32) -> Expr {
    let node = |id, kind| Expr { id, expr_kind: Some(kind) };
    let call = |id, function: &str, args| {
        node(id, ExprKind::CallExpr(Box::new(Call { target: None, function: function.to_owned(), args })))
    };
    let comparison = |id: i64, function, number: i32| {
        let response = node(id - 2, ExprKind::IdentExpr(Ident { name: "response".to_owned() }));
        let code = node(
            id - 1,
            ExprKind::SelectExpr(Box::new(Select {
                operand: Some(Box::new(response)),
                field: "code".to_owned(),
                test_only: false,
            })),
        );
        let constant = Constant { constant_kind: Some(ConstantKind::Int64Value(i64::from(number))) };
        call(id, function, vec![code, node(id + 1, ExprKind::ConstExpr(constant))])
    };
    call(9, "_&&_", vec![comparison(3, "_>=_", first), comparison(7, "_<=_", last)])
}

fn replacement(replacement: &Replacement) -> Any {
    match replacement {
        Replacement::Response { status, content_type, body, headers } => {
            let own = content_type.as_ref().map(|text| HeaderValueOption {
                header: Some(HeaderMessage {
                    key: "Content-Type".to_owned(),
                    value: command::escape(text).into_owned(),
                    ..Default::default()
                }),
                append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
                ..Default::default()
            });
            let others = headers::to_add(&HeaderMutations { add: headers.clone(), remove: [].into() });
            let mut policy = Fields::default();
            policy.message(&LocalResponsePolicy {
                status_code: status.and_then(uint32),
                response_headers_to_add: own.into_iter().chain(others).collect(),
                ..Default::default()
            });
            if !body.is_empty() {
                // The older of two forms, which Envoy Gateway writes and users' patches name.
                let body = command::escape(body);
                policy.nested(BODY_FORMAT, |format| format.string(TEXT_FORMAT, body.as_bytes()));
            }
            Any { type_url: LocalResponsePolicy::type_url(), value: policy.into_bytes() }
        }
        Replacement::Redirect { scheme, hostname, path, port, status } => {
            let text = |text: &std::sync::Arc<str>| text.to_string();
            let action = RedirectAction {
                host_redirect: hostname.as_ref().map(text).unwrap_or_default(),
                port_redirect: port.map(u32::from).unwrap_or_default(),
                scheme_rewrite_specifier: (scheme.as_ref().map(text))
                    .map(SchemeRewriteSpecifier::SchemeRedirect),
                path_rewrite_specifier: path.as_ref().map(text).map(PathRewriteSpecifier::PathRedirect),
                ..Default::default()
            };
            any(&RedirectPolicy {
                status_code: uint32(*status),
                redirect_action_specifier: Some(RedirectActionSpecifier::RedirectAction(action)),
                ..Default::default()
            })
        }
    }
}
