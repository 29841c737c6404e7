//! What a policy says of routes.

use api::{
    backendtrafficpolicy::BackendTrafficPolicySpec,
    clustersettings::{Retry, TriggerEnum},
};
use ir::traffic::{RetryPolicy, RouteTraffic, Upgrade};

use super::{Findings, balancing, health, limits, rate_limit, response, span, telemetry};
use crate::{Reader, policy::Source};

/// Reads the parts of a policy that routes have.
pub(super) fn read(
    spec: &BackendTrafficPolicySpec,
    source: &Source,
    reader: &mut Reader<'_>,
    findings: &mut Findings,
) -> RouteTraffic {
    let settings = &spec.cluster;
    let http = settings.timeout.as_ref().and_then(|timeout| timeout.http.as_ref());
    let balancer = settings.load_balancer.as_ref();
    let telemetry = spec.telemetry.as_ref();
    let metrics = telemetry.and_then(|telemetry| telemetry.metrics.as_ref());
    if spec.request_buffer.is_some() && !spec.http_upgrade.is_empty() {
        // One may come from a broader policy.
        findings
            .add("spec.requestBuffer", "does not go with httpUpgrade: upgraded streams cannot be buffered");
    }
    RouteTraffic {
        policy: Some(reader.object(source.policy().meta.id)),
        idle_of_listener: false,
        request_timeout: span(http.and_then(|http| http.request_timeout.as_ref())),
        max_stream_duration: span(http.and_then(|http| http.max_stream_duration.as_ref())),
        stream_idle_timeout: span(http.and_then(|http| http.stream_idle_timeout.as_ref())),
        retry: settings.retry.as_ref().map(|retry| self::retry(retry, findings)),
        hash: balancer.and_then(balancing::hash),
        hides_reports: balancer.is_some_and(balancing::hides_reports),
        fault: spec.fault_injection.as_ref().map(limits::fault),
        local_limit: (spec.rate_limit.as_ref())
            .and_then(|limits| rate_limit::read(limits, findings))
            .map(Box::new),
        bandwidth: (spec.bandwidth_limit.as_ref())
            .map(|bandwidth| limits::bandwidth(bandwidth, findings))
            .unwrap_or_default(),
        compressors: limits::compressors(spec),
        responses: response::read(&spec.response_override, source, reader, findings),
        upgrades: upgrades(spec),
        buffer: spec.request_buffer.as_ref().and_then(|buffer| limits::buffer(buffer, findings)),
        tracing: (telemetry.and_then(|telemetry| telemetry.tracing.as_ref()))
            .map(|tracing| Box::new(telemetry::tracing(tracing))),
        stat_name: (metrics.and_then(|metrics| metrics.route_stat_name.as_deref()))
            .and_then(|name| telemetry::stat_name(name, findings)),
    }
}

/// Protocols that connections may be upgraded to; none for requests that are buffered, `None` where nothing is said.
fn upgrades(spec: &BackendTrafficPolicySpec) -> Option<Box<[Upgrade]>> {
    if spec.http_upgrade.is_empty() {
        return spec.request_buffer.as_ref().map(|_| Box::default());
    }
    let all = spec.http_upgrade.iter().map(|upgrade| Upgrade {
        protocol: upgrade.type_.as_str().into(),
        terminates: upgrade.connect.as_ref().and_then(|connect| connect.terminate).unwrap_or(false),
    });
    Some(all.collect())
}

fn retry(spec: &Retry, findings: &mut Findings) -> RetryPolicy {
    let on = spec.retry_on.as_ref();
    let on = on.filter(|on| on.triggers.is_some() || on.http_status_codes.is_some());
    let each = spec.per_retry.as_ref();
    let back_off = each.and_then(|each| each.back_off.as_ref());
    let base_interval = span(back_off.and_then(|back_off| back_off.base_interval.as_ref()));
    let max_interval = span(back_off.and_then(|back_off| back_off.max_interval.as_ref()));
    let at = |field: &str| format!("spec.retry.perRetry.backOff.{field}");
    for (field, interval) in [("baseInterval", base_interval), ("maxInterval", max_interval)] {
        if interval.is_some_and(|interval| interval.is_zero()) {
            findings.add(&at(field), "must be above 0s");
        }
    }
    if base_interval.zip(max_interval).is_some_and(|(base, max)| base > max) {
        findings.add(&at("maxInterval"), "must not be below baseInterval");
    }
    RetryPolicy {
        attempts: Some(u32::try_from(spec.num_retries).unwrap_or_default()),
        attempts_per_priority: spec.num_attempts_per_priority.filter(|attempts| *attempts > 0),
        triggers: on.and_then(|on| on.triggers.as_deref()).filter(|t| !t.is_empty()).map(triggers),
        codes: on.map(|on| health::codes(on.http_status_codes.as_deref().unwrap_or_default())),
        per_try_timeout: span(each.and_then(|each| each.timeout.as_ref())),
        base_interval,
        max_interval,
    }
}

/// Events in Envoy's words, ascending, each once.
fn triggers(triggers: &[TriggerEnum]) -> Box<[&'static str]> {
    let mut words: Vec<&'static str> = triggers.iter().map(|trigger| word(*trigger)).collect();
    words.sort_unstable();
    words.dedup();
    words.into()
}

fn word(trigger: TriggerEnum) -> &'static str {
    match trigger {
        TriggerEnum::Error5xx => "5xx",
        TriggerEnum::GatewayError => "gateway-error",
        TriggerEnum::Reset => "reset",
        TriggerEnum::ResetBeforeRequest => "reset-before-request",
        TriggerEnum::ConnectFailure => "connect-failure",
        TriggerEnum::Retriable4xx => "retriable-4xx",
        TriggerEnum::RefusedStream => "refused-stream",
        TriggerEnum::RetriableStatusCodes => "retriable-status-codes",
        TriggerEnum::Cancelled => "cancelled",
        TriggerEnum::DeadlineExceeded => "deadline-exceeded",
        TriggerEnum::Internal => "internal",
        TriggerEnum::ResourceExhausted => "resource-exhausted",
        TriggerEnum::Unavailable => "unavailable",
    }
}
