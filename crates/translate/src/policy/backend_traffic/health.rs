//! Health checks.

use std::{sync::Arc, time::Duration};

use api::{
    clustersettings::{
        ActiveHealthCheck as ActiveSpec, ActiveHealthCheckPayload, ActiveHealthCheckPayloadType,
        ActiveHealthCheckerType, HttpActiveHealthChecker, HttpStatus, PassiveHealthCheck as PassiveSpec,
    },
    envoyproxy::{HealthCheckLog as LogSpec, HealthCheckLogMatch},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ir::traffic::{ActiveHealthCheck, HealthCheckLog, HealthChecker, PassiveHealthCheck, Payload};

use super::span;

/// Status code of a healthy endpoint, unless others are given.
const HEALTHY: u16 = 200;
/// Where a log goes that names no file.
const STDOUT: &str = "/dev/stdout";

/// Checks by requests of the proxy's own. `None` for one that the schema would have refused.
pub(super) fn active(spec: &ActiveSpec) -> Option<ActiveHealthCheck> {
    let checker = match spec.type_ {
        ActiveHealthCheckerType::HTTP => http(spec.http.as_ref()?),
        ActiveHealthCheckerType::TCP => {
            let tcp = spec.tcp.as_ref()?;
            HealthChecker::Tcp { send: payload(tcp.send.as_ref()), receive: payload(tcp.receive.as_ref()) }
        }
        ActiveHealthCheckerType::GRPC => {
            let service = spec.grpc.as_ref().and_then(|grpc| grpc.service.as_deref());
            HealthChecker::Grpc { service: service.unwrap_or_default().into() }
        }
    };
    Some(ActiveHealthCheck {
        timeout: span(Some(&spec.timeout)).unwrap_or(Duration::from_secs(1)),
        interval: span(Some(&spec.interval)).unwrap_or(Duration::from_secs(3)),
        initial_jitter: span(spec.initial_jitter.as_ref()),
        unhealthy_threshold: spec.unhealthy_threshold,
        healthy_threshold: spec.healthy_threshold,
        checker,
        port: (spec.overrides.as_ref())
            .and_then(|overrides| overrides.port)
            .and_then(|port| u16::try_from(port).ok()),
        log: spec.health_check_log.as_ref().map(log),
    })
}

fn http(spec: &HttpActiveHealthChecker) -> HealthChecker {
    let mut expected = codes(&spec.expected_statuses);
    if expected.is_empty() {
        expected = [HEALTHY].into();
    }
    HealthChecker::Http {
        host: spec.hostname.as_deref().map(Into::into),
        path: spec.path.as_str().into(),
        method: spec.method.as_ref().map(|method| method.to_ascii_uppercase().into()),
        expected,
        retriable: codes(&spec.retriable_statuses),
        receive: payload(spec.expected_response.as_ref()),
        send: payload(spec.request_body.as_ref()),
    }
}

/// Status codes, ascending, each once.
pub(super) fn codes(codes: &[HttpStatus]) -> Box<[u16]> {
    let mut codes: Vec<u16> = codes.iter().map(|code| code.0).collect();
    codes.sort_unstable();
    codes.dedup();
    codes.into()
}

fn payload(spec: Option<&ActiveHealthCheckPayload>) -> Option<Payload> {
    let spec = spec?;
    Some(match spec.type_ {
        ActiveHealthCheckPayloadType::Text => Payload::Text(spec.text.as_deref()?.into()),
        ActiveHealthCheckPayloadType::Binary => {
            Payload::Binary(STANDARD.decode(spec.binary.as_deref()?).ok()?.into())
        }
    })
}

pub(crate) fn log(spec: &LogSpec) -> HealthCheckLog {
    let logged = |which| spec.matches.is_empty() || spec.matches.contains(&which);
    let mut paths: Box<[Arc<str>]> =
        (spec.sinks.iter()).filter_map(|sink| sink.file.as_ref()?.path.as_deref()).map(Into::into).collect();
    if paths.is_empty() {
        paths = [STDOUT.into()].into();
    }
    HealthCheckLog {
        paths,
        all_failures: logged(HealthCheckLogMatch::Failure),
        all_successes: logged(HealthCheckLogMatch::Success),
    }
}

/// Checks by what endpoints answer to clients.
pub(super) fn passive(spec: &PassiveSpec) -> PassiveHealthCheck {
    PassiveHealthCheck {
        splits_origin: spec.split_external_local_origin_errors,
        interval: span(Some(&spec.interval)).unwrap_or(Duration::from_secs(3)),
        local_failures: spec.consecutive_local_origin_failures,
        gateway_errors: spec.consecutive_gateway_errors,
        errors: spec.consecutive_5xx_errors,
        ejection_time: span(Some(&spec.base_ejection_time)).unwrap_or(Duration::from_secs(30)),
        max_ejection: u32::try_from(spec.max_ejection_percent).unwrap_or_default(),
        failure_percentage: spec.failure_percentage_threshold,
        always_one: spec.always_eject_one_endpoint,
    }
}
