//! Routes to a dynamic resolver must not reach the proxy's own host.

use std::sync::LazyLock;

use envoy_api::{
    any,
    http_rbac::{Rbac, RbacPerRoute},
    matcher::HttpRequestHeaderMatchInput,
    rbac_rules::{Action, rbac},
    well_known::Any,
    xds_core::TypedExtensionConfig,
    xds_matcher::{
        Matcher, RegexMatcher, StringMatcher,
        matcher::{
            MatcherList, MatcherType, OnMatch,
            matcher_list::{
                FieldMatcher, Predicate,
                predicate::{MatchType, SinglePredicate, single_predicate},
            },
            on_match,
        },
        regex_matcher, string_matcher,
    },
};

/// Hosts that mean the proxy itself, in any case of letters and with or without a port: the loopback range in full and
/// in short forms, the unspecified address (which connects to the own host), names that resolve to them by
/// convention (RFC 6761), and IPv4 within IPv6. Names in DNS that point to such an address are not caught: whoever
/// controls what clients may ask for has to limit the hosts of the route.
const OWN_HOST: &str = r"(?i)^(?:127(?:\.\d{1,3}){0,3}|0(?:\.0){0,3}|(?:.*\.)?localhost\.?|localhost\.localdomain\.?|ip6-localhost|ip6-loopback|\[::1?\]|\[(?:0*:)*0*1?\]|\[::ffff:.*\]|::1?)(?::\d+)?$";

/// The configuration that such a route has for the filter.
pub(super) static GUARD: LazyLock<Any> = LazyLock::new(|| {
    let input = TypedExtensionConfig {
        name: "http_header".to_owned(),
        typed_config: Some(any(&HttpRequestHeaderMatchInput { header_name: ":authority".to_owned() })),
    };
    let regex = RegexMatcher {
        regex: OWN_HOST.to_owned(),
        engine_type: Some(regex_matcher::EngineType::GoogleRe2(regex_matcher::GoogleRe2 {})),
    };
    let value = StringMatcher {
        ignore_case: false,
        match_pattern: Some(string_matcher::MatchPattern::SafeRegex(regex)),
    };
    let predicate =
        SinglePredicate { input: Some(input), matcher: Some(single_predicate::Matcher::ValueMatch(value)) };
    let matched = FieldMatcher {
        predicate: Some(Predicate { match_type: Some(MatchType::SinglePredicate(predicate)) }),
        on_match: Some(decide("deny-loopback-host", "DENY", rbac::Action::Deny)),
    };
    let matcher = Matcher {
        on_no_match: Some(Box::new(decide("default", "ALLOW", rbac::Action::Allow))),
        matcher_type: Some(MatcherType::MatcherList(MatcherList { matchers: vec![matched] })),
    };
    any(&RbacPerRoute { rbac: Some(Rbac { matcher: Some(matcher), ..Default::default() }) })
});

fn decide(name: &str, label: &str, action: rbac::Action) -> OnMatch {
    let action = any(&Action { name: label.to_owned(), action: action.into() });
    OnMatch {
        on_match: Some(on_match::OnMatch::Action(TypedExtensionConfig {
            name: name.to_owned(),
            typed_config: Some(action),
        })),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::OWN_HOST;

    #[test]
    fn own_hosts_are_caught_in_every_spelling_and_others_are_not() {
        let regex = regex::Regex::new(OWN_HOST).unwrap();
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "a.localhost",
            "localhost.",
            "127.0.0.1",
            "127.1:80",
            "127.9.9.9",
            "0.0.0.0",
            "[::1]",
            "[::1]:80",
            "[::]",
            "[::ffff:127.0.0.1]:80",
            "ip6-loopback",
            "[0:0:0:0:0:0:0:1]",
        ] {
            assert!(regex.is_match(host), "{host}");
        }
        for host in
            ["example.com", "localhost.example.com", "10.0.0.1:80", "[2001:db8::1]:80", "mylocalhost.com"]
        {
            assert!(!regex.is_match(host), "{host}");
        }
    }
}
