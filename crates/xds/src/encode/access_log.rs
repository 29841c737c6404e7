//! The access log that every listener has unless an EnvoyProxy says otherwise: JSON lines to `/dev/stdout`.

use envoy_api::{
    access_log::{AccessLog, AccessLogFilter, ResponseFlagFilter, access_log, access_log_filter},
    any,
    core::{SubstitutionFormatString, substitution_format_string},
    file_access_log::{FileAccessLog, file_access_log},
    well_known::{IntoValue, object},
};

/// JSON key and command operator of each member.
const JSON_FORMAT: [(&str, &str); 24] = [
    (":authority", "%REQ(:AUTHORITY)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("duration", "%DURATION%"),
    ("method", "%REQ(:METHOD)%"),
    ("protocol", "%PROTOCOL%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route_name", "%ROUTE_NAME%"),
    ("start_time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("user-agent", "%REQ(USER-AGENT)%"),
    ("x-envoy-origin-path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("x-envoy-upstream-service-time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x-forwarded-for", "%REQ(X-FORWARDED-FOR)%"),
    ("x-request-id", "%REQ(X-REQUEST-ID)%"),
];

/// One line for each request or connection.
pub(super) fn of_routes() -> AccessLog {
    let members = JSON_FORMAT.map(|(key, operator)| (key, operator.into_value()));
    let file = FileAccessLog {
        path: "/dev/stdout".to_owned(),
        access_log_format: Some(file_access_log::AccessLogFormat::LogFormat(SubstitutionFormatString {
            format: Some(substitution_format_string::Format::JsonFormat(object(members))),
            ..Default::default()
        })),
    };
    AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        filter: None,
        config_type: Some(access_log::ConfigType::TypedConfig(any(&file))),
    }
}

/// One line for each connection that no filter chain takes (response flag `NR`); the rest is logged by the chains.
pub(super) fn of_listener() -> AccessLog {
    let no_route = ResponseFlagFilter { flags: vec!["NR".to_owned()] };
    AccessLog {
        filter: Some(AccessLogFilter {
            filter_specifier: Some(access_log_filter::FilterSpecifier::ResponseFlagFilter(no_route)),
        }),
        ..of_routes()
    }
}
