//! 421 for requests that came over a connection made for another listener (RFC 9110 §15.5.20, Gateway API GEP-3567).
//!
//! A client may send requests for every name of a certificate over one HTTP/2 or HTTP/3 connection, and Envoy has
//! chosen the listener by the server name of the handshake, once. Routes can match headers only, so the connection
//! manager notes protocol and server name in a header as a request comes in, over whatever the client has put there,
//! and the route configuration takes it away before the request goes on.

use std::sync::LazyLock;

use envoy_api::{
    any,
    core::{HeaderValue, HeaderValueOption, TypedExtensionConfig, header_value_option::HeaderAppendAction},
    early_header_mutation::HeaderMutation as Early,
    encode,
    hcm::HttpConnectionManager,
    mutation_rules::{HeaderMutation, header_mutation::Action},
    route::{
        DirectResponseAction, HeaderMatcher, Route, RouteConfiguration, RouteMatch,
        header_matcher::HeaderMatchSpecifier, route, route_match::PathSpecifier,
    },
};

use super::{matching, route::ROUTES, wire::Fields};

/// The header with the note. It leaves neither towards backends nor towards clients.
const HEADER: &str = "x-ferrogate-connection";
/// What is noted: `HTTP/2 shop.example.com`; a `-` stands for no server name.
const NOTED: &str = "%PROTOCOL% %REQUESTED_SERVER_NAME%";
/// Notes of connections that carry requests for several hosts: HTTP/2 and HTTP/3, and only where the client has named
/// the host that it meant. HTTP/1.1 clients use a connection for one host, and without server name nobody can tell what
/// the client wanted.
const SHARED_CONNECTION: &str = "HTTP/[23] [^-].*";

/// 421 Misdirected Request: the client may try again over a connection of its own.
const MISDIRECTED: u32 = 421;

/// The field of a connection manager that makes it write the note.
pub(super) static NOTE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let note = Early {
        mutations: vec![HeaderMutation { action: Some(Action::Append(overwriting(HEADER, NOTED))) }],
    };
    let extension = TypedExtensionConfig {
        name: "envoy.http.early_header_mutation.header_mutation".to_owned(),
        typed_config: Some(any(&note)),
    };
    encode(&HttpConnectionManager { early_header_mutation_extensions: vec![extension], ..Default::default() })
});

/// The field of a route configuration that takes the note from requests before they go to a backend.
pub fn note_removal() -> &'static [u8] {
    static REMOVAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        encode(&RouteConfiguration {
            request_headers_to_remove: vec![HEADER.to_owned()],
            ..Default::default()
        })
    });
    &REMOVAL
}

/// The route that answers requests for another listener's hosts, as the field `routes` of a `VirtualHost`. It leaves
/// requests of connections that are not shared to the routes after it, unless `always`.
pub fn misdirected_route_field(always: bool) -> &'static [u8] {
    static SHARED: LazyLock<Vec<u8>> = LazyLock::new(|| {
        answer(vec![HeaderMatcher {
            name: HEADER.to_owned(),
            header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(matching::regex(
                SHARED_CONNECTION,
            ))),
            ..Default::default()
        }])
    });
    static ALWAYS: LazyLock<Vec<u8>> = LazyLock::new(|| answer(Vec::new()));
    if always { &ALWAYS } else { &SHARED }
}

/// 421 for requests with certain headers.
fn answer(headers: Vec<HeaderMatcher>) -> Vec<u8> {
    let route = Route {
        name: "misdirected".to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            headers,
            ..Default::default()
        }),
        action: Some(route::Action::DirectResponse(DirectResponseAction {
            status: MISDIRECTED,
            ..Default::default()
        })),
        // A cache may keep a 421 otherwise (RFC 9110 §15.1), and give it to clients that ask the right listener.
        response_headers_to_add: vec![overwriting("cache-control", "no-store")],
        ..Default::default()
    };
    let mut fields = Fields::default();
    fields.nested(ROUTES, |message| message.message(&route));
    fields.into_bytes()
}

fn overwriting(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}
