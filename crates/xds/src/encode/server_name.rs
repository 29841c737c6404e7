//! Connections that are forwarded to the host that their client asks for by SNI.

use std::sync::LazyLock;

use envoy_api::{
    encode,
    matcher::{StringMatcher, string_matcher::MatchPattern},
    network_rbac::Rbac,
    rbac_rules::{
        Permission, Policy, Principal, Rbac as Rules, permission, principal, rbac::Action as RulesAction,
    },
    sni_dynamic_forward_proxy::{FilterConfig, filter_config::PortSpecifier},
};

use super::{
    cluster,
    listener::network_filter,
    wire::{Fields, type_url},
};

/// Port of the host: SNI has no port, and this is that of TLS.
const PORT: u32 = 443;

/// Names that mean the proxy itself: by convention (RFC 6761), and addresses of loopback and of any interface. Not one
/// regular expression, as for HTTP: Envoy limits the size of those in this place.
const OWN_NAMES: [&str; 13] = [
    "localhost",
    "localhost.",
    "localhost.localdomain",
    "localhost.localdomain.",
    "ip6-localhost",
    "ip6-loopback",
    "127",
    "0",
    "0.0.0.0",
    "::",
    "::1",
    "[::]",
    "[::1]",
];
const OWN_PREFIXES: [&str; 3] = ["127.", "::ffff:", "[::ffff:"];
const OWN_SUFFIXES: [&str; 2] = [".localhost", ".localhost."];

/// Adds the filters that go before the TCP proxy: one refuses names of the proxy itself, the other resolves the name.
pub(super) fn filters(chain: &mut Fields, stat_prefix: &str) {
    const RBAC: &str = type_url!("envoy.extensions.filters.network.rbac.v3.RBAC");
    network_filter(chain, "envoy.filters.network.rbac", RBAC, |filter| {
        filter.message(&Rbac { stat_prefix: stat_prefix.to_owned(), ..Default::default() });
        filter.raw(&NOT_LOOPBACK);
    });
    const FORWARD: &str =
        type_url!("envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig");
    network_filter(chain, "envoy.filters.network.sni_dynamic_forward_proxy", FORWARD, |filter| {
        filter.raw(&RESOLVE);
    });
}

static NOT_LOOPBACK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let named = |pattern| Permission {
        rule: Some(permission::Rule::RequestedServerName(StringMatcher {
            match_pattern: Some(pattern),
            ignore_case: true,
        })),
    };
    let exact = OWN_NAMES.iter().map(|name| MatchPattern::Exact((*name).to_owned()));
    let prefix = OWN_PREFIXES.iter().map(|name| MatchPattern::Prefix((*name).to_owned()));
    let suffix = OWN_SUFFIXES.iter().map(|name| MatchPattern::Suffix((*name).to_owned()));
    let policy = Policy {
        permissions: exact.chain(prefix).chain(suffix).map(named).collect(),
        principals: vec![Principal { identifier: Some(principal::Identifier::Any(true)) }],
        ..Default::default()
    };
    let rules = Rules {
        action: RulesAction::Deny.into(),
        policies: [("deny-loopback-sni".to_owned(), policy)].into(),
        ..Default::default()
    };
    encode(&Rbac { rules: Some(rules), ..Default::default() })
});

static RESOLVE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    encode(&FilterConfig {
        dns_cache_config: Some(cluster::dns_cache(None)),
        port_specifier: Some(PortSpecifier::PortValue(PORT)),
        ..Default::default()
    })
});
