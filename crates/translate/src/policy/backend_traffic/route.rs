//! What a policy says of routes.

use api::{
    backendtrafficpolicy::BackendTrafficPolicySpec,
    clustersettings::{Retry, TriggerEnum},
};
use ir::traffic::{RetryPolicy, RouteTraffic};

use super::{Findings, health, span};

/// Reads the parts of a policy that routes have.
pub(super) fn read(spec: &BackendTrafficPolicySpec, findings: &mut Findings) -> RouteTraffic {
    let http = spec.cluster.timeout.as_ref().and_then(|timeout| timeout.http.as_ref());
    RouteTraffic {
        idle_of_listener: false,
        request_timeout: span(http.and_then(|http| http.request_timeout.as_ref())),
        max_stream_duration: span(http.and_then(|http| http.max_stream_duration.as_ref())),
        stream_idle_timeout: span(http.and_then(|http| http.stream_idle_timeout.as_ref())),
        retry: spec.cluster.retry.as_ref().map(|retry| self::retry(retry, findings)),
    }
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
