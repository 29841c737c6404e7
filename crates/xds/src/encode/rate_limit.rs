//! Limits of requests that each proxy keeps by itself.

use envoy_api::{
    any,
    core::RuntimeFractionalPercent,
    duration,
    hcm::HttpFilter,
    local_ratelimit::LocalRateLimit as Message,
    matcher::AddressMatcher,
    ratelimit::{LocalRateLimitDescriptor, XRateLimitHeadersRfcVersion, rate_limit_descriptor::Entry},
    route::{
        HeaderMatcher, QueryParameterMatcher, RateLimit,
        header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier,
        rate_limit::{
            Action, HitsAddend, XRateLimitOption,
            action::{
                ActionSpecifier, HeaderValueMatch, QueryParameterValueMatch, QueryParameters,
                RemoteAddressMatch, RequestHeaders,
            },
        },
    },
    types::{FractionalPercent, TokenBucket, fractional_percent::DenominatorType},
    well_known::{Any, boolean, uint32, uint64},
    xds_core::CidrRange,
};
use ir::{
    route::StringMatch,
    traffic::{Cost, LocalRateLimit, Quota, RateLimitRule, SourceSelector, ValueSelector},
};

use super::{http::filter, matching};

pub(super) const LOCAL_LIMIT_FILTER: &str = "envoy.filters.http.local_ratelimit";

/// Prefix of statistics.
const STATS: &str = "http_local_rate_limiter";
/// Clients, or other values with a limit of their own, that are remembered at once.
const MAX_DYNAMIC: u32 = 10_000;
/// The address of the client, as a command operator.
const CLIENT_ADDRESS: &str = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%";

/// Limits nothing unless a route says otherwise.
pub(super) fn local_filter() -> HttpFilter {
    let config = Message {
        stat_prefix: STATS.to_owned(),
        max_dynamic_descriptors: uint32(MAX_DYNAMIC),
        ..Default::default()
    };
    filter(LOCAL_LIMIT_FILTER, any(&config))
}

/// What a route has for the filter.
pub(super) fn local(limit: &LocalRateLimit) -> Any {
    let always = || {
        Some(RuntimeFractionalPercent {
            default_value: Some(FractionalPercent {
                numerator: 100,
                denominator: DenominatorType::Hundred.into(),
            }),
            ..Default::default()
        })
    };
    let headers = if limit.tells {
        XRateLimitHeadersRfcVersion::DraftVersion03
    } else {
        XRateLimitHeadersRfcVersion::Off
    };
    let (mut rate_limits, mut descriptors, mut dynamic) = (Vec::new(), Vec::new(), false);
    for (index, rule) in limit.rules.iter().enumerate() {
        let parts = Parts::of(index, rule);
        dynamic |= parts.entries.iter().any(|entry| entry.value.is_empty());
        descriptors.push(LocalRateLimitDescriptor {
            entries: parts.entries.clone(),
            token_bucket: Some(bucket(rule.quota)),
            shadow_mode: rule.shadow,
        });
        rate_limits.extend(parts.alternatives(index, rule));
    }
    any(&Message {
        stat_prefix: STATS.to_owned(),
        token_bucket: Some(bucket(limit.default)),
        filter_enabled: always(),
        filter_enforced: always(),
        descriptors,
        enable_x_ratelimit_headers: headers.into(),
        // Otherwise each request would count for the limit of all others as well.
        always_consume_default_token_bucket: boolean(false),
        rate_limits,
        // The filter's own number does not hold for routes; with Envoy's, 20 clients would push each other out.
        max_dynamic_descriptors: if dynamic { uint32(MAX_DYNAMIC) } else { None },
        ..Default::default()
    })
}

fn bucket(quota: Quota) -> TokenBucket {
    TokenBucket {
        max_tokens: quota.requests,
        tokens_per_fill: uint32(quota.requests),
        fill_interval: Some(duration(std::time::Duration::from_secs(quota.seconds))),
    }
}

/// What Envoy makes of a request that a rule takes, and what it compares that with. The two go together, entry by entry;
/// an entry without value stands for each value.
#[derive(Default)]
struct Parts {
    before_method: Vec<Action>,
    after_method: Vec<Action>,
    entries: Vec<Entry>,
}

impl Parts {
    fn of(index: usize, rule: &RateLimitRule) -> Parts {
        let mut parts = Parts::default();
        for (i, header) in rule.headers.iter().enumerate() {
            let action = parts.selected(format!("rule-{index}-match-{i}"), header, header_action);
            parts.before_method.push(action);
        }
        if !rule.methods.is_empty() {
            parts.entry(format!("rule-{index}-method"), true);
        }
        if let Some((path, inverted)) = &rule.path {
            let key = parts.entry(format!("rule-{index}-path"), true);
            parts.after_method.push(header_match(&key, ":path", path, *inverted));
        }
        if let Some(source) = &rule.source {
            parts.source(index, source);
        }
        for (i, parameter) in rule.query.iter().enumerate() {
            let key = format!("rule-{index}-match-{}", rule.headers.len() + i);
            let action = parts.selected(key, parameter, query_action);
            parts.after_method.push(action);
        }
        parts
    }

    /// Adds an entry and returns its key, which is its value, too, where all values share the limit.
    fn entry(&mut self, key: String, shared: bool) -> String {
        let value = if shared { key.clone() } else { String::new() };
        self.entries.push(Entry { key: key.clone(), value });
        key
    }

    fn selected(
        &mut self,
        key: String,
        selector: &ValueSelector,
        action: impl Fn(&str, &ValueSelector) -> Action,
    ) -> Action {
        let key = self.entry(key, matches!(selector, ValueSelector::Matching { .. }));
        action(&key, selector)
    }

    fn source(&mut self, index: usize, source: &SourceSelector) {
        let range = CidrRange {
            address_prefix: source.network.to_string(),
            prefix_len: uint32(u32::from(source.length)),
        };
        let address = |key: &str, value: &str| {
            action(ActionSpecifier::RemoteAddressMatch(RemoteAddressMatch {
                descriptor_key: key.to_owned(),
                descriptor_value: value.to_owned(),
                address_matcher: Some(AddressMatcher {
                    ranges: vec![range.clone()],
                    invert_match: source.inverted,
                }),
                ..Default::default()
            }))
        };
        let key = format!("rule-{index}-masked-remote-address");
        let prefix = if source.inverted { "invert:" } else { "" };
        let value = format!("{prefix}{}/{}", source.network, source.length);
        self.after_method.push(address(&key, &value));
        self.entries.push(Entry { key, value });
        if source.each {
            let key = self.entry(format!("rule-{index}-remote-address"), false);
            self.after_method.push(address(&key, CLIENT_ADDRESS));
        }
    }

    /// A request has one method, so there is a way to the same limit for each.
    fn alternatives(self, index: usize, rule: &RateLimitRule) -> Vec<RateLimit> {
        let Parts { before_method, after_method, .. } = self;
        let with = |method: Option<Action>| RateLimit {
            actions: before_method
                .iter()
                .cloned()
                .chain(method)
                .chain(after_method.iter().cloned())
                .collect(),
            hits_addend: rule.cost.as_ref().map(hits),
            x_ratelimit_option: match rule.tells {
                None => XRateLimitOption::Unspecified,
                Some(true) => XRateLimitOption::DraftVersion03,
                Some(false) => XRateLimitOption::Off,
            }
            .into(),
            ..Default::default()
        };
        if rule.methods.is_empty() {
            return vec![with(None)];
        }
        let key = format!("rule-{index}-method");
        let exact = |method: &std::sync::Arc<str>| StringMatch::Exact(method.clone());
        let methods = rule.methods.iter();
        methods
            .map(|(method, inverted)| with(Some(header_match(&key, ":method", &exact(method), *inverted))))
            .collect()
    }
}

fn action(specifier: ActionSpecifier) -> Action {
    Action { action_specifier: Some(specifier) }
}

fn header_action(key: &str, selector: &ValueSelector) -> Action {
    match selector {
        ValueSelector::Each(name) => action(ActionSpecifier::RequestHeaders(RequestHeaders {
            header_name: name.to_string(),
            descriptor_key: key.to_owned(),
            ..Default::default()
        })),
        ValueSelector::Matching { wanted, inverted } => {
            header_match(key, &wanted.name, &wanted.value, *inverted)
        }
    }
}

fn header_match(key: &str, name: &str, value: &StringMatch, inverted: bool) -> Action {
    action(ActionSpecifier::HeaderValueMatch(HeaderValueMatch {
        descriptor_key: key.to_owned(),
        descriptor_value: key.to_owned(),
        expect_match: boolean(!inverted),
        headers: vec![HeaderMatcher {
            name: name.to_owned(),
            header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(matching::string(value))),
            ..Default::default()
        }],
        ..Default::default()
    }))
}

fn query_action(key: &str, selector: &ValueSelector) -> Action {
    action(match selector {
        ValueSelector::Each(name) => ActionSpecifier::QueryParameters(QueryParameters {
            query_parameter_name: name.to_string(),
            descriptor_key: key.to_owned(),
            ..Default::default()
        }),
        ValueSelector::Matching { wanted, inverted } => {
            let value = QueryParameterMatchSpecifier::StringMatch(matching::string(&wanted.value));
            ActionSpecifier::QueryParameterValueMatch(QueryParameterValueMatch {
                descriptor_key: key.to_owned(),
                descriptor_value: key.to_owned(),
                expect_match: boolean(!inverted),
                query_parameters: vec![QueryParameterMatcher {
                    name: wanted.name.to_string(),
                    query_parameter_match_specifier: Some(value),
                }],
                ..Default::default()
            })
        }
    })
}

fn hits(cost: &Cost) -> HitsAddend {
    match cost {
        Cost::Number(number) => HitsAddend { number: uint64(*number), ..Default::default() },
        Cost::Metadata { namespace, key } => {
            HitsAddend { format: format!("%DYNAMIC_METADATA({namespace}:{key})%"), ..Default::default() }
        }
    }
}
