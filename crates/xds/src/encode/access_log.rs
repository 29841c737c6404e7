//! Access logs.

use std::borrow::Cow;

use envoy_api::{
    access_log::{
        AccessLog as Message, AccessLogFilter, AndFilter, ExtensionFilter, ResponseFlagFilter, access_log,
        access_log_filter::FilterSpecifier, extension_filter,
    },
    any,
    cel_access_log_filter::ExpressionFilter,
    core::{
        ApiVersion, DataSource, SubstitutionFormatString, TypedExtensionConfig, data_source,
        substitution_format_string::Format,
    },
    file_access_log::{FileAccessLog, file_access_log},
    grpc_access_log::{CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig, TcpGrpcAccessLogConfig},
    open_telemetry::{AnyValue, KeyValue, KeyValueList, any_value},
    open_telemetry_access_log::OpenTelemetryAccessLogConfig,
    req_without_query::ReqWithoutQuery,
    well_known::{Any, IntoValue, object},
};
use ir::telemetry::{AccessLog, AccessLogs, Collector, Fields, LogEntries, LogFormat, LogSink, LogType};

use super::{command, telemetry};

/// Name of logs at OpenTelemetry collectors.
const OPEN_TELEMETRY_LOG: &str = "otel_envoy_accesslog";
/// Attributes that tell which proxy an entry is from.
const PROXY: [(&str, &str); 2] = [
    ("k8s.namespace.name", "%ENVIRONMENT(ENVOY_POD_NAMESPACE)%"),
    ("k8s.pod.name", "%ENVIRONMENT(ENVOY_POD_NAME)%"),
];

/// Name and command operator of each field that logs have where no others are given, ascending by name.
const DEFAULT_FIELDS: [(&str, &str); 24] = [
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

/// The logs of one kind. One that is of nothing in particular is of routes and, where no route was found, of listeners.
pub(super) fn of(logs: &AccessLogs, kind: LogType) -> Vec<Message> {
    let general = kind != LogType::Upstream;
    let chosen = logs.0.iter().filter(|log| log.of.map_or(general, |of| of == kind));
    chosen.map(|log| access_log(log, kind == LogType::Listener && log.of.is_none())).collect()
}

fn access_log(log: &AccessLog, without_route: bool) -> Message {
    let (name, config) = sink(&log.sink);
    Message {
        name: name.to_owned(),
        filter: filter(log, without_route),
        config_type: Some(access_log::ConfigType::TypedConfig(config)),
    }
}

/// Which entries are written: those for which all expressions hold. `without_route` leaves those for which no route or
/// filter chain was found (response flag `NR`); the rest is logged where it is taken.
fn filter(log: &AccessLog, without_route: bool) -> Option<AccessLogFilter> {
    let specified = |specifier| AccessLogFilter { filter_specifier: Some(specifier) };
    let no_route = ResponseFlagFilter { flags: vec!["NR".to_owned()] };
    let mut filters: Vec<AccessLogFilter> = (log.matches.iter())
        .map(|expression| ExtensionFilter {
            name: "envoy.access_loggers.extension_filters.cel".to_owned(),
            config_type: Some(extension_filter::ConfigType::TypedConfig(any(&ExpressionFilter {
                expression: expression.to_string(),
                ..Default::default()
            }))),
        })
        .map(|extension| specified(FilterSpecifier::ExtensionFilter(extension)))
        .chain(without_route.then(|| specified(FilterSpecifier::ResponseFlagFilter(no_route))))
        .collect();
    if filters.len() > 1 {
        return Some(specified(FilterSpecifier::AndFilter(AndFilter { filters })));
    }
    filters.pop()
}

fn sink(sink: &LogSink) -> (&'static str, Any) {
    match sink {
        LogSink::File { path, format } => ("envoy.access_loggers.file", any(&file(path, format))),
        LogSink::Service { cluster, name, entries } => {
            let common = CommonGrpcAccessLogConfig {
                log_name: name.to_string(),
                grpc_service: Some(telemetry::grpc_service(cluster)),
                transport_api_version: ApiVersion::V3.into(),
                ..Default::default()
            };
            match entries {
                LogEntries::Tcp => {
                    let config = TcpGrpcAccessLogConfig { common_config: Some(common) };
                    ("envoy.access_loggers.tcp_grpc", any(&config))
                }
                LogEntries::Http { request_headers, response_headers, response_trailers } => {
                    let texts =
                        |list: &[std::sync::Arc<str>]| list.iter().map(|text| text.to_string()).collect();
                    let config = HttpGrpcAccessLogConfig {
                        common_config: Some(common),
                        additional_request_headers_to_log: texts(request_headers),
                        additional_response_headers_to_log: texts(response_headers),
                        additional_response_trailers_to_log: texts(response_trailers),
                    };
                    ("envoy.access_loggers.http_grpc", any(&config))
                }
            }
        }
        LogSink::OpenTelemetry { collector, body, attributes, resource } => {
            let config = open_telemetry(collector, body, attributes, resource);
            ("envoy.access_loggers.open_telemetry", any(&config))
        }
    }
}

fn file(path: &str, format: &LogFormat) -> FileAccessLog {
    let (format, formatters) = match format {
        LogFormat::Text(text) => {
            let source = DataSource {
                specifier: Some(data_source::Specifier::InlineString(command::escape_log(text).into_owned())),
                ..Default::default()
            };
            (Format::TextFormatSource(source), formatters([&**text]))
        }
        LogFormat::Json(fields) => {
            let fields = or_default(fields);
            let members = fields.iter().map(|(key, value)| (*key, command::escape_log(value).into_value()));
            (Format::JsonFormat(object(members)), formatters(fields.iter().map(|(_, value)| *value)))
        }
    };
    FileAccessLog {
        path: path.to_owned(),
        access_log_format: Some(file_access_log::AccessLogFormat::LogFormat(SubstitutionFormatString {
            format: Some(format),
            formatters,
            ..Default::default()
        })),
    }
}

#[expect(deprecated, reason = "patches of users name the shape that Envoy Gateway gives it")]
fn open_telemetry(
    collector: &Collector,
    body: &str,
    attributes: &Fields,
    resource: &Fields,
) -> OpenTelemetryAccessLogConfig {
    // Entries without body and attributes of their own would say nothing.
    let attributes =
        if attributes.is_empty() && !body.is_empty() { Vec::new() } else { or_default(attributes) };
    let values = |(name, value): (&str, &str)| KeyValue {
        key: name.to_owned(),
        value: Some(string(command::escape_log(value))),
        ..Default::default()
    };
    let own = resource.iter().map(|(name, value)| values((name, value)));
    OpenTelemetryAccessLogConfig {
        common_config: Some(CommonGrpcAccessLogConfig {
            log_name: OPEN_TELEMETRY_LOG.to_owned(),
            grpc_service: Some(telemetry::collector(collector)),
            transport_api_version: ApiVersion::V3.into(),
            ..Default::default()
        }),
        resource_attributes: Some(KeyValueList { values: own.collect() }),
        body: (!body.is_empty()).then(|| string(command::escape_log(body))),
        formatters: formatters(attributes.iter().map(|(_, value)| *value).chain([body])),
        attributes: Some(KeyValueList { values: PROXY.into_iter().chain(attributes).map(values).collect() }),
        ..Default::default()
    }
}

fn string(text: Cow<'_, str>) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(text.into_owned())) }
}

/// Fields, or the default ones.
fn or_default(fields: &Fields) -> Vec<(&str, &str)> {
    if fields.is_empty() {
        return DEFAULT_FIELDS.to_vec();
    }
    fields.iter().map(|(name, value)| (&**name, &**value)).collect()
}

/// The formatters that Envoy has to have for these formats.
fn formatters<'a>(formats: impl IntoIterator<Item = &'a str>) -> Vec<TypedExtensionConfig> {
    let wanted = formats.into_iter().any(|format| format.contains(command::REQ_WITHOUT_QUERY));
    let formatter = wanted.then(|| TypedExtensionConfig {
        name: "envoy.formatter.req_without_query".to_owned(),
        typed_config: Some(any(&ReqWithoutQuery {})),
    });
    formatter.into_iter().collect()
}
