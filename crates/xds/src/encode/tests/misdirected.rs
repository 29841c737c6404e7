use serde_json::json;

use super::{
    LISTENER, ROUTES,
    listener::{https, on_port},
    to_json,
};
use crate::encode::{
    listener, misdirected_route_field, note_removal, route_configuration_head, virtual_host_field,
};

#[test]
fn the_note_is_written_over_what_a_client_sends_and_taken_away() {
    let mut chain = https("default/edge/https", "example.com", "default/cert");
    let mut found = |notes: bool| {
        if let ir::listener::Network::Http(http) = &mut chain.network {
            http.notes_connection = notes;
        }
        let found = to_json(LISTENER, &listener(&on_port("https", 443, vec![chain.clone()], None)));
        found["filterChains"][0]["filters"][0]["typedConfig"]["earlyHeaderMutationExtensions"].clone()
    };
    assert_eq!(found(false), json!(null));
    let mutations = found(true)[0]["typedConfig"]["mutations"].clone();
    assert_eq!(
        mutations,
        json!([{"append": {
            "header": {"key": "x-ferrogate-connection", "value": "%PROTOCOL% %REQUESTED_SERVER_NAME%"},
            "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD",
        }}])
    );
    let mut body = route_configuration_head("default/edge/https");
    body.extend_from_slice(note_removal());
    assert_eq!(to_json(ROUTES, &body)["requestHeadersToRemove"], json!(["x-ferrogate-connection"]));
}

#[test]
fn refusals_come_first_and_are_not_kept() {
    for always in [false, true] {
        let mut body = route_configuration_head("default/edge/https");
        body.extend(virtual_host_field(&super::virtual_host(), &[misdirected_route_field(always)]));
        let route = to_json(ROUTES, &body)["virtualHosts"][0]["routes"][0].clone();
        assert_eq!(route["match"]["headers"].is_null(), always);
        assert_eq!(route["directResponse"], json!({"status": 421}));
        assert_eq!(
            route["responseHeadersToAdd"][0]["header"],
            json!({"key": "cache-control", "value": "no-store"})
        );
    }
}
