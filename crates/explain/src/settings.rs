//! What is set for a route and for the connections and requests of a listener, with who set it.

use envoy_api::{
    bandwidth_limit::BandwidthLimit,
    buffer::{BufferPerRoute, buffer_per_route::Override},
    connection_limit::ConnectionLimit,
    core::{HeaderValueOption, http_protocol_options::HeadersWithUnderscoresAction},
    early_header_mutation::HeaderMutation as Early,
    fault::HttpFault,
    hcm::{HttpConnectionManager, http_connection_manager::PathWithEscapedSlashesAction},
    header_mutation::HeaderMutation as Late,
    health_check::HealthCheck,
    listener::{FilterChain, Listener},
    local_ratelimit::LocalRateLimit,
    mutation_rules::{HeaderMutation, header_mutation::Action},
    route::{
        Route as Message, RouteAction, route,
        route_action::{HashPolicy, HostRewriteSpecifier, UpgradeConfig, hash_policy::PolicySpecifier},
    },
    tls::DownstreamTlsContext,
    types::TokenBucket,
    unpack,
    well_known::{Any, Duration},
};
use ir::secret::{REDACTED, is_credential_header};

use crate::{
    Setting, backends, chain,
    config::{self, Config},
    filters, outcome,
    sources::{Settings, Source, Sources, first},
    tls,
};

/// The header in which listeners note a connection for themselves: nobody has set it.
const NOTE: &str = "x-ferrogate-connection";

/// What is set for a route.
pub(crate) fn of_route(config: &Config<'_>, route: &Message, sources: &Sources<'_>) -> Vec<Setting> {
    let mut settings = Settings::default();
    settings.push(
        "request headers",
        headers(&route.request_headers_to_add, &route.request_headers_to_remove),
        sources.filter("RequestHeaderModifier"),
    );
    let http3 = route.response_headers_to_add.iter().filter(|option| is_alt_svc(option)).cloned();
    let others = route.response_headers_to_add.iter().filter(|option| !is_alt_svc(option)).cloned();
    settings.push(
        "response headers",
        headers(&others.collect::<Vec<_>>(), &route.response_headers_to_remove),
        sources.filter("ResponseHeaderModifier"),
    );
    settings.push("HTTP/3", headers(&http3.collect::<Vec<_>>(), &[]), sources.policy("http3"));
    if let Some(route::Action::Route(action)) = &route.action {
        of_action(action, sources, &mut settings);
        mirrors(config, action, sources, &mut settings);
    }
    for (filter, any) in &route.typed_per_filter_config {
        of_filter(filter, any, sources, &mut settings);
    }
    if !route.stat_prefix.is_empty() {
        settings.said("statistics", &*route.stat_prefix, sources.policy("telemetry.metrics.routeStatName"));
    }
    settings.0
}

/// HTTP/3 is offered by this header.
fn is_alt_svc(option: &HeaderValueOption) -> bool {
    option.header.as_ref().is_some_and(|header| header.key == "alt-svc")
}

fn headers(add: &[HeaderValueOption], remove: &[String]) -> String {
    let added = add.iter().filter_map(changed);
    added.chain(remove.iter().map(|name| format!("remove {name}"))).collect::<Vec<_>>().join("; ")
}

fn changed(option: &HeaderValueOption) -> Option<String> {
    let header = option.header.as_ref()?;
    let value = if is_credential_header(&header.key) { REDACTED } else { &*header.value };
    let verb = match option.append_action {
        0 => "add",
        1 => "add if absent",
        _ => "set",
    };
    Some(format!("{verb} {}: {value}", header.key))
}

fn of_action(action: &RouteAction, sources: &Sources<'_>, settings: &mut Settings) {
    let rewrite = || sources.filter("URLRewrite");
    if !action.prefix_rewrite.is_empty() {
        let value = format!("the matched prefix becomes {}", action.prefix_rewrite);
        settings.push("path rewrite", value, rewrite());
    }
    if let Some(regex) = &action.regex_rewrite {
        let pattern = regex.pattern.as_ref().map(|pattern| &*pattern.regex).unwrap_or_default();
        settings.push("path rewrite", format!("{pattern} becomes {}", regex.substitution), rewrite());
    }
    if let Some(HostRewriteSpecifier::HostRewriteLiteral(host)) = &action.host_rewrite_specifier {
        settings.push("host rewrite", &**host, rewrite());
    }
    let timeout = sources.timeout();
    match &action.timeout {
        Some(time) => settings.push("timeout", limit(time), timeout),
        None => settings.push("timeout", "15s", crate::sources::default()),
    }
    if let Some(time) = &action.idle_timeout {
        let source = sources.policy("timeout.http.streamIdleTimeout");
        settings.said("timeout without traffic", limit(time), source);
    }
    if let Some(time) = action.max_stream_duration.as_ref().and_then(|max| max.max_stream_duration.as_ref()) {
        settings.push("longest stream", limit(time), sources.policy("timeout.http.maxStreamDuration"));
    }
    if let Some(retry) = &action.retry_policy {
        let number = retry.num_retries.map_or(1, |number| number.value);
        let mut value = format!("{number} on {}", retry.retry_on);
        if !retry.retriable_status_codes.is_empty() {
            let codes = retry.retriable_status_codes.iter().map(u32::to_string);
            value = format!("{value} ({})", codes.collect::<Vec<_>>().join(", "));
        }
        if let Some(time) = &retry.per_try_timeout {
            value = format!("{value}, {} for each attempt", config::duration(time));
        }
        settings.push("retries", value, sources.retry());
    }
    let hash: Vec<String> = action.hash_policy.iter().filter_map(hashed).collect();
    settings.push("endpoint chosen by", hash.join(", "), sources.policy("loadBalancer.consistentHash"));
    let upgrades = action.upgrade_configs.iter().map(upgrade).collect::<Vec<_>>().join(", ");
    settings.push("upgrade", upgrades, sources.policy("httpUpgrade"));
}

fn upgrade(upgrade: &UpgradeConfig) -> String {
    let ends = if upgrade.connect_config.is_some() { " (ends here)" } else { "" };
    format!("{}{ends}", upgrade.upgrade_type)
}

fn hashed(policy: &HashPolicy) -> Option<String> {
    Some(match policy.policy_specifier.as_ref()? {
        PolicySpecifier::Header(header) => format!("header {}", header.header_name),
        PolicySpecifier::Cookie(cookie) => format!("cookie {}", cookie.name),
        PolicySpecifier::ConnectionProperties(_) => "address of the client".to_owned(),
        PolicySpecifier::QueryParameter(parameter) => format!("query parameter {}", parameter.name),
        PolicySpecifier::FilterState(_) => return None,
    })
}

/// A time limit, of which zero is none.
fn limit(time: &Duration) -> String {
    if time.seconds == 0 && time.nanos == 0 { "none".to_owned() } else { config::duration(time) }
}

/// Where copies go, each with its share.
fn mirrors(config: &Config<'_>, action: &RouteAction, sources: &Sources<'_>, settings: &mut Settings) {
    for mirror in &action.request_mirror_policies {
        let upstream = backends::upstream(config, &mirror.cluster, 100.0).unwrap_or_default();
        let backends: Vec<&str> = upstream.backends.iter().map(|backend| &*backend.object).collect();
        let to = if backends.is_empty() { mirror.cluster.clone() } else { backends.join(", ") };
        let share = (outcome::mirror_percent(mirror) * 100.0).round() / 100.0;
        settings.push("mirror", format!("{share}% to {to}"), mirror_source(&mirror.cluster, sources));
    }
}

/// The filter that a mirror's cluster is for: it is named `httproute/default/shop/rule/0-mirror-1` after the index of the
/// filter.
pub(crate) fn mirror_source(cluster: &str, sources: &Sources<'_>) -> Source {
    match cluster.rsplit_once("-mirror-") {
        Some((_, index)) => sources.of_rule(&format!("filters[{index}]")),
        None => sources.of_rule(""),
    }
}

/// What a route has for an HTTP filter.
fn of_filter(filter: &str, any: &Any, sources: &Sources<'_>, settings: &mut Settings) {
    if let Some(fault) = read::<HttpFault>(any) {
        settings.said("fault", fault_in_words(&fault), sources.policy("faultInjection"));
    } else if let Some(limit) = read::<LocalRateLimit>(any) {
        settings.said("rate limit", limits(&limit), sources.policy("rateLimit"));
    } else if let Some(BufferPerRoute { r#override: Some(Override::Buffer(buffer)) }) = read(any) {
        let bytes = buffer.max_request_bytes.map_or(0, |bytes| bytes.value);
        settings.said("request buffer", format!("{bytes} bytes"), sources.policy("requestBuffer"));
    } else if let Some(limit) = read::<BandwidthLimit>(any) {
        let name = filter.rsplit('/').next().unwrap_or_default();
        let value = format!("{} KiB/s", limit.limit_kbps.map_or(0, |kib| kib.value));
        settings.said(&format!("bandwidth of a {name}"), value, sources.policy("bandwidthLimit"));
    } else if filter.starts_with(filters::COMPRESSOR) {
        let format = filter.rsplit('.').next().unwrap_or_default();
        let source = first([sources.policy("compressor"), sources.policy("compression")]);
        settings.said("compressor", format, source);
    } else if filter == filters::SESSION {
        settings.push("session persistence", "on", sources.of_rule("sessionPersistence"));
    } else if filter == filters::CORS {
        settings.push("CORS", "on", sources.filter("CORS"));
    }
}

fn fault_in_words(fault: &HttpFault) -> String {
    use envoy_api::{fault::fault_abort::ErrorType, fault_common::fault_delay::FaultDelaySecifier};
    let share = |share: Option<&envoy_api::types::FractionalPercent>| {
        format!("{}%", (share.map_or(100.0, outcome::percent) * 100.0).round() / 100.0)
    };
    let delay = fault.delay.as_ref().map(|delay| match &delay.fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(time)) => {
            format!("{} wait {}", share(delay.percentage.as_ref()), config::duration(time))
        }
        _ => "waits".to_owned(),
    });
    let abort = fault.abort.as_ref().map(|abort| {
        let with = match &abort.error_type {
            Some(ErrorType::HttpStatus(status)) => status.to_string(),
            Some(ErrorType::GrpcStatus(status)) => format!("gRPC status {status}"),
            _ => "an error".to_owned(),
        };
        format!("{} get {with}", share(abort.percentage.as_ref()))
    });
    delay.into_iter().chain(abort).collect::<Vec<_>>().join("; ")
}

fn limits(limit: &LocalRateLimit) -> String {
    let bucket = |bucket: &TokenBucket| {
        let every = bucket.fill_interval.as_ref().map(config::duration).unwrap_or_default();
        format!("{} in {every}", bucket.max_tokens)
    };
    let rules = limit.descriptors.iter().filter_map(|d| d.token_bucket.as_ref()).map(bucket);
    let others = limit.token_bucket.iter().filter(|bucket| bucket.max_tokens < u32::MAX).map(bucket);
    rules.chain(others).collect::<Vec<_>>().join(", ")
}

pub(crate) fn read<M: prost::Name + Default>(any: &Any) -> Option<M> {
    unpack::<M>(any).ok().flatten()
}

/// What is set for the connections and requests of a listener.
pub(crate) fn of_chain(
    listener: &Listener,
    chain: &FilterChain,
    (manager, tls): (Option<&HttpConnectionManager>, Option<&DownstreamTlsContext>),
    sources: &Sources<'_>,
) -> Vec<Setting> {
    let mut settings = Settings::default();
    let policy = |path: &str| sources.policy(path);
    if listener.listener_filters.iter().any(|filter| filter.name.ends_with(".proxy_protocol")) {
        let source = first([policy("proxyProtocol"), policy("enableProxyProtocol")]);
        settings.said("PROXY protocol", "connections begin with it", source);
    }
    if let Some(tls) = tls {
        tls::of_clients(tls, sources, &mut settings);
    }
    if let Some(limit) = chain::network_filter::<ConnectionLimit>(chain) {
        let number = limit.max_connections.map_or(0, |number| number.value);
        settings.said("connections at once", number.to_string(), policy("connection.connectionLimit.value"));
    }
    if let Some(manager) = manager {
        of_manager(manager, sources, &mut settings);
    }
    settings.0
}

fn of_manager(manager: &HttpConnectionManager, sources: &Sources<'_>, settings: &mut Settings) {
    let policy = |path: &str| sources.policy(path);
    let common = manager.common_http_protocol_options.unwrap_or_default();
    let spans = [
        ("time for a request", &manager.request_timeout, "timeout.http.requestReceivedTimeout"),
        ("time for headers", &manager.request_headers_timeout, "timeout.http.requestHeadersReceivedTimeout"),
        ("idle timeout", &common.idle_timeout, "timeout.http.idleTimeout"),
        ("timeout without traffic", &manager.stream_idle_timeout, "timeout.http.streamIdleTimeout"),
        (
            "life of a connection",
            &common.max_connection_duration,
            "connection.connectionLimit.maxConnectionDuration",
        ),
        ("longest stream", &common.max_stream_duration, "connection.connectionLimit.maxStreamDuration"),
    ];
    for (name, time, path) in spans {
        settings.said(name, time.as_ref().map(limit).unwrap_or_default(), policy(path));
    }
    let number = |number: Option<envoy_api::well_known::UInt32Value>| {
        number.map(|number| number.value.to_string()).unwrap_or_default()
    };
    let most = policy("connection.connectionLimit.maxRequestsPerConnection");
    settings.said("requests of a connection", number(common.max_requests_per_connection), most);
    let action = PathWithEscapedSlashesAction::try_from(manager.path_with_escaped_slashes_action);
    let action = action.unwrap_or_default().as_str_name();
    settings.said("escaped slashes", action, policy("path.escapedSlashesAction"));
    let slashes = if manager.merge_slashes { "become one" } else { "stay" };
    settings.said("slashes in a row", slashes, policy("path.disableMergeSlashes"));
    let action = HeadersWithUnderscoresAction::try_from(common.headers_with_underscores_action);
    let action = action.unwrap_or_default().as_str_name();
    settings.said("headers with underscores", action, policy("headers.withUnderscoresAction"));
    if !manager.original_ip_detection_extensions.is_empty() {
        settings.said("address of the client", "from a header", policy("clientIPDetection"));
    }
    let early = manager.early_header_mutation_extensions.iter();
    let early = early.filter_map(|extension| read::<Early>(extension.typed_config.as_ref()?));
    let early = early.flat_map(|early| early.mutations).filter_map(mutation);
    let early: Vec<String> = early.filter(|change| !change.contains(NOTE)).collect();
    settings.said("early request headers", early.join("; "), policy("headers.earlyRequestHeaders"));
    for filter in &manager.http_filters {
        let Some(any) = filters::config_of(filter) else { continue };
        if let Some(late) = read::<Late>(any) {
            let late = late.mutations.unwrap_or_default().response_mutations;
            let late: Vec<String> = late.into_iter().filter_map(mutation).collect();
            settings.said("late response headers", late.join("; "), policy("headers.lateResponseHeaders"));
        } else if let Some(check) = read::<HealthCheck>(any) {
            let path = filters::health_path(&check).unwrap_or_default();
            settings.said("health check", format!("answered at {path}"), policy("healthCheck.path"));
        }
    }
    if manager.strip_trailing_host_dot {
        settings.said("dot at the end of hosts", "taken away", policy("headers.host.stripTrailingHostDot"));
    }
}

fn mutation(mutation: HeaderMutation) -> Option<String> {
    match mutation.action? {
        Action::Append(option) => changed(&option),
        Action::Remove(name) => Some(format!("remove {name}")),
        Action::RemoveOnMatch(_) => Some("remove by name".to_owned()),
    }
}
