//! What listeners say of clients: settings of connection managers, header changes, filters that only they have.

use envoy_api::{
    any,
    connection_limit::ConnectionLimit as LimitMessage,
    core::{
        CidrRange, HeaderValue as HeaderMessage, HeaderValueOption, Http1ProtocolOptions,
        Http2ProtocolOptions, HttpProtocolOptions, KeepaliveSettings, SchemeHeaderTransformation,
        TypedExtensionConfig,
        header_value_option::HeaderAppendAction,
        http_protocol_options::HeadersWithUnderscoresAction,
        http1_protocol_options::{HeaderKeyFormat, header_key_format::HeaderFormat},
    },
    custom_header::CustomHeaderConfig,
    duration,
    early_header_mutation::HeaderMutation as Early,
    hcm::{
        HttpConnectionManager, HttpFilter,
        http_connection_manager::{
            ForwardClientCertDetails, PathWithEscapedSlashesAction, ServerHeaderTransformation,
            SetCurrentClientCertDetails,
        },
    },
    header_mutation::{HeaderMutation as Late, Mutations},
    health_check::HealthCheck,
    matcher::{StringMatcher, string_matcher::MatchPattern},
    mutation_rules::{HeaderMutation, header_mutation},
    preserve_case::PreserveCaseFormatterConfig,
    route::{HeaderMatcher, header_matcher::HeaderMatchSpecifier},
    types::{HttpStatus, Percent, StatusCode},
    well_known::{boolean, uint32, uint64},
    xff::{XffConfig, XffTrustedCidrs},
};
use ir::{
    downstream::{
        CertificateDetails, ClientAddress, ConnectionLimit, EscapedSlashes, ForwardedCertificate,
        HeaderEdits, Http1, HttpSettings, TextMatch, Trusted, Underscores,
    },
    route::HeaderValue,
    traffic::Http2,
};

use super::{command, http::filter, matching};

/// Streams of a client's HTTP/2 connection at once.
const STREAMS: u32 = 100;
/// Initial flow-control windows of HTTP/2: 64 KiB for a stream, 1 MiB for a connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// The fields of a connection manager that its settings decide, filters aside.
pub(super) fn manager(http: &HttpSettings) -> HttpConnectionManager {
    let mut manager = HttpConnectionManager {
        common_http_protocol_options: Some(common(http)),
        http_protocol_options: http.http1.as_deref().and_then(http1),
        http2_protocol_options: Some(http2_of_clients(http.http2.as_ref())),
        normalize_path: boolean(true),
        merge_slashes: !http.keeps_slashes,
        path_with_escaped_slashes_action: match http.escaped_slashes {
            Some(EscapedSlashes::Keep) => PathWithEscapedSlashesAction::KeepUnchanged,
            Some(EscapedSlashes::Reject) => PathWithEscapedSlashesAction::RejectRequest,
            Some(EscapedSlashes::Unescape) => PathWithEscapedSlashesAction::UnescapeAndForward,
            Some(EscapedSlashes::Redirect) | None => PathWithEscapedSlashesAction::UnescapeAndRedirect,
        }
        .into(),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        use_remote_address: boolean(http.client_address.is_none()),
        original_ip_detection_extensions: http.client_address.iter().map(client_address).collect(),
        early_header_mutation_extensions: early(&http.early).into_iter().collect(),
        strip_trailing_host_dot: http.strips_dot,
        max_request_headers_kb: http.max_headers.and_then(uint32),
        request_timeout: http.request_timeout.map(duration),
        request_headers_timeout: http.headers_timeout.map(duration),
        stream_idle_timeout: http.stream_idle_timeout.map(duration),
        http1_safe_max_connection_duration: http.max_connection_duration.is_some() && !http.ends_unsafely,
        scheme_header_transformation: (http.scheme_of_backend)
            .then_some(SchemeHeaderTransformation { match_upstream: true, transformation: None }),
        ..Default::default()
    };
    if let Some(request_id) = http.request_id {
        manager.generate_request_id = boolean(request_id.generates);
        manager.preserve_external_request_id = request_id.preserves;
    }
    if let Some(forwarded) = http.client_certificate {
        let (action, details) = forwarded_certificate(forwarded);
        manager.forward_client_cert_details = action.into();
        manager.set_current_client_cert_details = details;
    }
    manager
}

fn common(http: &HttpSettings) -> HttpProtocolOptions {
    HttpProtocolOptions {
        headers_with_underscores_action: match http.underscores {
            Some(Underscores::Allow) => HeadersWithUnderscoresAction::Allow,
            Some(Underscores::Drop) => HeadersWithUnderscoresAction::DropHeader,
            Some(Underscores::Reject) | None => HeadersWithUnderscoresAction::RejectRequest,
        }
        .into(),
        idle_timeout: http.idle_timeout.map(duration),
        max_connection_duration: http.max_connection_duration.map(duration),
        max_requests_per_connection: http.max_requests.and_then(uint32),
        max_stream_duration: http.max_stream_duration.map(duration),
        ..Default::default()
    }
}

/// Options of HTTP/1 on both sides of a proxy; `None` where Envoy's own hold.
pub(super) fn http1(http1: &Http1) -> Option<Http1ProtocolOptions> {
    let http10 = http1.http10.as_ref();
    let options = Http1ProtocolOptions {
        enable_trailers: http1.trailers,
        header_key_format: http1.keeps_case.then(|| HeaderKeyFormat {
            header_format: Some(HeaderFormat::StatefulFormatter(TypedExtensionConfig {
                name: "preserve_case".to_owned(),
                typed_config: Some(any(&PreserveCaseFormatterConfig::default())),
            })),
        }),
        accept_http_10: http10.is_some(),
        default_host_for_http_10: http10
            .and_then(|http10| http10.default_host.as_deref())
            .unwrap_or_default()
            .to_owned(),
        ignore_http_11_upgrade: http1.ignored_upgrades.iter().map(text).collect(),
        ..Default::default()
    };
    (options != Http1ProtocolOptions::default()).then_some(options)
}

/// HTTP/2 with clients or backends; as many streams at once as Envoy allows unless it is said.
pub(super) fn http2(settings: Option<&Http2>) -> Http2ProtocolOptions {
    let default = Http2::default();
    let settings = settings.unwrap_or(&default);
    Http2ProtocolOptions {
        max_concurrent_streams: settings.max_streams.and_then(uint32),
        initial_stream_window_size: uint32(settings.stream_window.unwrap_or(STREAM_WINDOW)),
        initial_connection_window_size: uint32(settings.connection_window.unwrap_or(CONNECTION_WINDOW)),
        override_stream_error_on_invalid_http_message: settings.resets_streams.and_then(boolean),
        connection_keepalive: settings.keepalive.map(|keepalive| KeepaliveSettings {
            interval: keepalive.interval.map(duration),
            timeout: keepalive.timeout.map(duration),
            interval_jitter: keepalive.jitter.map(|jitter| Percent { value: f64::from(jitter) }),
            connection_idle_interval: keepalive.idle_interval.map(duration),
        }),
        ..Default::default()
    }
}

/// HTTP/2 with clients, of whom each has limited streams at once.
fn http2_of_clients(settings: Option<&Http2>) -> Http2ProtocolOptions {
    let options = http2(settings);
    let streams = options.max_concurrent_streams.or(uint32(STREAMS));
    Http2ProtocolOptions { max_concurrent_streams: streams, ..options }
}

fn client_address(address: &ClientAddress) -> TypedExtensionConfig {
    let (name, config) = match address {
        ClientAddress::ForwardedFor { trusted, keeps } => {
            let mut config = XffConfig { skip_xff_append: boolean(*keeps), ..Default::default() };
            match trusted {
                // Envoy counts the proxies before the peer of the connection.
                Trusted::Hops(hops) => config.xff_num_trusted_hops = hops.saturating_sub(1),
                Trusted::Ranges(ranges) => {
                    let cidrs = ranges.iter().map(|(address, length)| CidrRange {
                        address_prefix: address.to_string(),
                        prefix_len: uint32(u32::from(*length)),
                    });
                    config.xff_trusted_cidrs = Some(XffTrustedCidrs { cidrs: cidrs.collect() });
                }
            }
            ("envoy.extensions.http.original_ip_detection.xff", any(&config))
        }
        ClientAddress::Header { name, required } => {
            let config = CustomHeaderConfig {
                header_name: name.to_string(),
                allow_extension_to_set_address_as_trusted: true,
                reject_with_status: required.then(|| HttpStatus { code: StatusCode::Forbidden.into() }),
            };
            ("envoy.extensions.http.original_ip_detection.custom_header", any(&config))
        }
    };
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) }
}

fn forwarded_certificate(
    forwarded: ForwardedCertificate,
) -> (ForwardClientCertDetails, Option<SetCurrentClientCertDetails>) {
    let told = |details: CertificateDetails| {
        (details != CertificateDetails::default()).then(|| SetCurrentClientCertDetails {
            subject: details.subject.then_some(true).and_then(boolean),
            cert: details.certificate,
            chain: details.chain,
            dns: details.dns,
            uri: details.uri,
            ..Default::default()
        })
    };
    match forwarded {
        ForwardedCertificate::Sanitize => (ForwardClientCertDetails::Sanitize, None),
        ForwardedCertificate::Forward => (ForwardClientCertDetails::ForwardOnly, None),
        ForwardedCertificate::Append(details) => (ForwardClientCertDetails::AppendForward, told(details)),
        ForwardedCertificate::Set(details) => (ForwardClientCertDetails::SanitizeSet, told(details)),
        ForwardedCertificate::AlwaysForward => (ForwardClientCertDetails::AlwaysForwardOnly, None),
    }
}

fn early(edits: &HeaderEdits) -> Option<TypedExtensionConfig> {
    (!edits.is_empty()).then(|| TypedExtensionConfig {
        name: "envoy.http.early_header_mutation.header_mutation".to_owned(),
        typed_config: Some(any(&Early { mutations: mutations(edits) })),
    })
}

/// The filter that changes headers of all responses.
pub(super) fn late(edits: &HeaderEdits) -> HttpFilter {
    let mutations = Mutations { response_mutations: mutations(edits), ..Default::default() };
    filter(
        "envoy.filters.http.header_mutation",
        any(&Late { mutations: Some(mutations), ..Default::default() }),
    )
}

/// The filter that answers at one path in place of backends.
pub(super) fn health_check(path: &str) -> HttpFilter {
    let matched = HeaderMatcher {
        name: ":path".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(path.to_owned())),
            ..Default::default()
        })),
        ..Default::default()
    };
    let config =
        HealthCheck { pass_through_mode: boolean(false), headers: vec![matched], ..Default::default() };
    filter("envoy.filters.http.health_check", any(&config))
}

/// The configuration of the filter that limits connections.
pub(super) fn connection_limit(limit: ConnectionLimit, stat_prefix: &str) -> LimitMessage {
    LimitMessage {
        stat_prefix: stat_prefix.to_owned(),
        max_connections: uint64(limit.connections),
        delay: limit.delay.map(duration),
        ..Default::default()
    }
}

fn mutations(edits: &HeaderEdits) -> Vec<HeaderMutation> {
    use header_mutation::{Action, RemoveOnMatch};
    let set = |header: &HeaderValue, action: HeaderAppendAction| {
        Action::Append(HeaderValueOption {
            header: Some(HeaderMessage {
                key: header.name.to_string(),
                value: command::escape(&header.value).into_owned(),
                ..Default::default()
            }),
            append_action: action.into(),
            ..Default::default()
        })
    };
    let add = edits.add.iter().map(|header| {
        let append = HeaderAppendAction::AppendIfExistsOrAdd;
        set(header, if header.append { append } else { HeaderAppendAction::OverwriteIfExistsOrAdd })
    });
    let add_absent = edits.add_absent.iter().map(|header| set(header, HeaderAppendAction::AddIfAbsent));
    let remove = edits.remove.iter().map(|name| Action::Remove(name.to_string()));
    let remove_like = edits
        .remove_like
        .iter()
        .map(|matched| Action::RemoveOnMatch(RemoveOnMatch { key_matcher: Some(text(matched)) }));
    let actions = add.chain(add_absent).chain(remove).chain(remove_like);
    actions.map(|action| HeaderMutation { action: Some(action) }).collect()
}

/// A matcher of texts.
pub(super) fn text(matched: &TextMatch) -> StringMatcher {
    let pattern = match matched {
        TextMatch::Exact(text) => MatchPattern::Exact(text.to_string()),
        TextMatch::Prefix(text) => MatchPattern::Prefix(text.to_string()),
        TextMatch::Suffix(text) => MatchPattern::Suffix(text.to_string()),
        TextMatch::Regex(regex) => return matching::regex(regex),
    };
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}
