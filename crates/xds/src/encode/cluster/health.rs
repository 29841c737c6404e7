//! Health checks.

use envoy_api::{
    any,
    cluster::OutlierDetection,
    core::{
        HealthCheck, RequestMethod, TypedExtensionConfig,
        health_check::{self, GrpcHealthCheck, HealthChecker as Checker, HttpHealthCheck, TcpHealthCheck},
    },
    duration,
    health_check_file_sink::HealthCheckEventFileSink,
    types::Int64Range,
    well_known::{boolean, uint32},
};
use ir::traffic::{ActiveHealthCheck, HealthChecker, PassiveHealthCheck, Payload};

/// Checks by requests of the proxy's own. `host` is that of requests that name none.
pub(super) fn active(check: &ActiveHealthCheck, host: &str) -> HealthCheck {
    let log = check.log.as_ref();
    HealthCheck {
        timeout: Some(duration(check.timeout)),
        interval: Some(duration(check.interval)),
        initial_jitter: check.initial_jitter.map(duration),
        unhealthy_threshold: uint32(check.unhealthy_threshold),
        healthy_threshold: uint32(check.healthy_threshold),
        health_checker: Some(checker(&check.checker, host)),
        always_log_health_check_failures: log.is_some_and(|log| log.all_failures),
        always_log_health_check_success: log.is_some_and(|log| log.all_successes),
        event_logger: log.into_iter().flat_map(|log| &log.paths).map(|path| sink(path)).collect(),
        ..Default::default()
    }
}

fn sink(path: &str) -> TypedExtensionConfig {
    TypedExtensionConfig {
        name: "envoy.health_check.event_sinks.file".to_owned(),
        typed_config: Some(any(&HealthCheckEventFileSink { event_log_path: path.to_owned() })),
    }
}

fn checker(checker: &HealthChecker, own_host: &str) -> Checker {
    match checker {
        HealthChecker::Http { host, path, method, expected, retriable, receive, send } => {
            let method = method.as_deref().and_then(RequestMethod::from_str_name);
            Checker::HttpHealthCheck(HttpHealthCheck {
                host: host.as_deref().unwrap_or(own_host).to_owned(),
                path: path.to_string(),
                method: method.unwrap_or(RequestMethod::MethodUnspecified).into(),
                expected_statuses: ranges(expected),
                retriable_statuses: ranges(retriable),
                receive: receive.iter().map(payload).collect(),
                send: send.as_ref().map(payload),
                ..Default::default()
            })
        }
        HealthChecker::Tcp { send, receive } => Checker::TcpHealthCheck(TcpHealthCheck {
            send: send.as_ref().map(payload),
            receive: receive.iter().map(payload).collect(),
            ..Default::default()
        }),
        HealthChecker::Grpc { service } => Checker::GrpcHealthCheck(GrpcHealthCheck {
            service_name: service.to_string(),
            ..Default::default()
        }),
    }
}

/// Status codes, ascending, as ranges without their ends.
fn ranges(codes: &[u16]) -> Vec<Int64Range> {
    let mut ranges: Vec<Int64Range> = Vec::new();
    for code in codes.iter().map(|code| i64::from(*code)) {
        match ranges.last_mut() {
            Some(range) if range.end == code => range.end += 1,
            _ => ranges.push(Int64Range { start: code, end: code + 1 }),
        }
    }
    ranges
}

fn payload(payload: &Payload) -> health_check::Payload {
    use health_check::payload::Payload as Form;
    let form = match payload {
        Payload::Text(text) if text.is_empty() => None,
        // Envoy takes text as hexadecimal digits.
        Payload::Text(text) => Some(Form::Text(text.bytes().map(|byte| format!("{byte:02x}")).collect())),
        Payload::Binary(bytes) if bytes.is_empty() => None,
        Payload::Binary(bytes) => Some(Form::Binary(bytes.to_vec())),
    };
    health_check::Payload { payload: form }
}

/// Checks by what endpoints answer to clients.
pub(super) fn passive(check: &PassiveHealthCheck) -> OutlierDetection {
    OutlierDetection {
        split_external_local_origin_errors: check.splits_origin,
        interval: Some(duration(check.interval)),
        base_ejection_time: Some(duration(check.ejection_time)),
        consecutive_local_origin_failure: uint32(check.local_failures),
        consecutive_5xx: uint32(check.errors),
        consecutive_gateway_failure: check.gateway_errors.and_then(uint32),
        // Envoy counts these two, but acts on them only when told to.
        enforcing_consecutive_gateway_failure: check.gateway_errors.and_then(|_| uint32(100)),
        failure_percentage_threshold: check.failure_percentage.and_then(uint32),
        enforcing_failure_percentage: check.failure_percentage.and_then(|_| uint32(100)),
        max_ejection_percent: Some(check.max_ejection).filter(|share| *share > 0).and_then(uint32),
        always_eject_one_host: boolean(check.always_one),
        ..Default::default()
    }
}
