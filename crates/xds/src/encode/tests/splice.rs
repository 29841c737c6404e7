use envoy_api::{encode, route};
use ir::{
    listener::VirtualHost,
    route::{Cors, RouteMatch, Rule},
};
use prost::Message;
use serde_json::json;

use super::{HOST, ROUTES, forward, forwarding, prefix, text, to_json, virtual_host};
use crate::encode::{cors_preflight_field, route_configuration_head, route_field, virtual_host_field};

#[test]
fn the_head_is_a_configuration_without_hosts() {
    assert_eq!(
        to_json(ROUTES, &route_configuration_head("default/edge/http")),
        json!({"name": "default/edge/http", "ignorePortInHostMatching": true})
    );
}

#[test]
fn parts_put_together_equal_the_message_built_whole() {
    let rule = Rule {
        cors: Some(Cors {
            allow_origins: [text("*")].into(),
            allow_methods: [text("GET")].into(),
            allow_headers: [].into(),
            expose_headers: [].into(),
            max_age: None,
            allow_credentials: false,
        }),
        ..forwarding(forward())
    };
    let get = RouteMatch { method: Some(text("GET")), ..prefix("/a") };
    let fields = [
        cors_preflight_field(&rule, &get, HOST).unwrap(),
        route_field(&rule, None, &get, HOST, 80, false),
        route_field(&forwarding(forward()), None, &prefix("/"), HOST, 80, false),
    ];
    // 200 routes so that the length of the host takes several bytes.
    let many: Vec<&Vec<u8>> = fields.iter().cycle().take(200).collect();
    let second = VirtualHost { name: text("empty"), domains: [text("*")].into(), ..virtual_host() };

    let mut body = route_configuration_head("default/edge/http");
    body.extend(virtual_host_field(&virtual_host(), &many));
    body.extend(virtual_host_field::<Vec<u8>>(&second, &[]));
    let spliced = route::RouteConfiguration::decode(body.as_slice()).unwrap();

    let metadata = spliced.virtual_hosts[0].metadata.clone();
    assert!(metadata.is_some());
    let routes = many.iter().map(|field| {
        let mut host = route::VirtualHost::decode(field.as_slice()).unwrap();
        host.routes.remove(0)
    });
    let whole = route::RouteConfiguration {
        name: "default/edge/http".to_owned(),
        ignore_port_in_host_matching: true,
        virtual_hosts: vec![
            route::VirtualHost {
                name: "default/edge/http/*_example_com".to_owned(),
                domains: vec![HOST.to_owned()],
                routes: routes.collect(),
                metadata: metadata.clone(),
                ..Default::default()
            },
            route::VirtualHost {
                name: "empty".to_owned(),
                domains: vec!["*".to_owned()],
                metadata,
                ..Default::default()
            },
        ],
        ..Default::default()
    };
    assert_eq!(spliced, whole);
    // Nothing is left over and nothing is said twice.
    assert_eq!(body.len(), encode(&whole).len());
}

#[test]
fn a_virtual_host_tells_gateway_and_listener() {
    let mut body = route_configuration_head("r");
    body.extend(virtual_host_field::<Vec<u8>>(&virtual_host(), &[]));
    assert_eq!(
        to_json(ROUTES, &body)["virtualHosts"],
        json!([{
            "name": "default/edge/http/*_example_com",
            "domains": ["*.example.com"],
            "metadata": {"filterMetadata": {"envoy-gateway": {"resources": [
                {"kind": "Gateway", "namespace": "default", "name": "edge", "sectionName": "http"},
            ]}}},
        }])
    );
}
