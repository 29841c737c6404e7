//! What is hashed to choose an endpoint.

use envoy_api::{
    duration,
    route::route_action::{
        HashPolicy,
        hash_policy::{
            ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
        },
    },
    types,
};
use ir::traffic::HashKey;

/// The hash policies of a route.
pub(super) fn policies(key: &HashKey) -> Vec<HashPolicy> {
    let policy = |specifier| HashPolicy { policy_specifier: Some(specifier), ..Default::default() };
    match key {
        HashKey::SourceIp => {
            vec![policy(PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true }))]
        }
        HashKey::Headers(names) => names
            .iter()
            .map(|name| Header { header_name: name.to_string(), ..Default::default() })
            .map(|header| policy(PolicySpecifier::Header(header)))
            .collect(),
        HashKey::QueryParams(names) => names
            .iter()
            .map(|name| policy(PolicySpecifier::QueryParameter(QueryParameter { name: name.to_string() })))
            .collect(),
        HashKey::Cookie { name, ttl, attributes } => {
            let attributes = attributes.iter();
            vec![policy(PolicySpecifier::Cookie(Cookie {
                name: name.to_string(),
                ttl: ttl.map(duration),
                attributes: attributes
                    .map(|(name, value)| CookieAttribute { name: name.to_string(), value: value.to_string() })
                    .collect(),
                ..Default::default()
            }))]
        }
    }
}

/// The hash policy of connections: the address of the client.
pub(super) fn of_connections() -> types::HashPolicy {
    use types::hash_policy::{PolicySpecifier, SourceIp};
    types::HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp {})) }
}
