//! The listener that tells the platform whether the proxy is ready.

use super::{address, http};
use envoy_api::{
    any, encode,
    hcm::{HttpConnectionManager, http_connection_manager::RouteSpecifier},
    health_check::HealthCheck,
    listener::{Filter, FilterChain, Listener, filter},
    matcher::{StringMatcher, string_matcher::MatchPattern},
    route::{
        DirectResponseAction, HeaderMatcher, Route, RouteConfiguration, RouteMatch, VirtualHost,
        header_matcher::HeaderMatchSpecifier, route, route_match::PathSpecifier,
    },
    well_known::boolean,
};
use ir::listener::Transport;

/// Port of the readiness listener, on every proxy.
pub const READY_PORT: u16 = 19003;

/// Name of the readiness listener that binds this address.
pub fn ready_listener_name(address: &str) -> String {
    format!("envoy-gateway-proxy-ready-{address}-{READY_PORT}")
}

/// The encoded readiness listener on this address: `/ready` is answered with 200 while the proxy takes traffic and
/// with 503 while it drains, everything else with 500. It works when the proxy is overloaded, and over IPv4 also when the address
/// is IPv6.
pub fn ready_listener(address: &str) -> Vec<u8> {
    let health_check = HealthCheck {
        pass_through_mode: boolean(false),
        headers: vec![HeaderMatcher {
            name: ":path".to_owned(),
            header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
                match_pattern: Some(MatchPattern::Exact("/ready".to_owned())),
                ..Default::default()
            })),
            ..Default::default()
        }],
        ..Default::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: "eg-ready-http".to_owned(),
        route_specifier: Some(RouteSpecifier::RouteConfig(everything_fails())),
        http_filters: vec![
            http::filter("envoy.filters.http.health_check", any(&health_check)),
            http::router(false, Vec::new()),
        ],
        ..Default::default()
    };
    encode(&Listener {
        name: ready_listener_name(address),
        address: Some(address::bind(address, READY_PORT, Transport::Tcp, address.contains(':'))),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(any(&manager))),
            }],
            ..Default::default()
        }],
        bypass_overload_manager: true,
        ..Default::default()
    })
}

fn everything_fails() -> RouteConfiguration {
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        action: Some(route::Action::DirectResponse(DirectResponseAction {
            status: 500,
            ..Default::default()
        })),
        ..Default::default()
    };
    RouteConfiguration {
        name: "ready_route".to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: "ready_route".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![route],
            ..Default::default()
        }],
        ..Default::default()
    }
}
