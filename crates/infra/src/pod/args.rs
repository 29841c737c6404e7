//! Command lines of both containers.

use std::{collections::BTreeMap, time::Duration};

use api::{config::LogLevel, envoyproxy::ProxyLogComponent};
use serde_json::Value;

use crate::metadata::Fleet;

/// Seconds beyond the drain timeout for which the shutdown manager lets Envoy wait.
const READY_BEYOND_DRAIN: u64 = 10;

/// Arguments of Envoy.
pub(super) fn envoy_args(fleet: &Fleet<'_>, bootstrap: &str) -> Vec<String> {
    let spec = &fleet.parameters.spec;
    let level = &spec.logging.level;
    let default = level.get(&ProxyLogComponent::Default).copied().unwrap_or(LogLevel::Warn);
    let mut args: Vec<String> = vec![
        "--service-cluster".to_owned(),
        fleet.wish.fleet.to_string(),
        "--service-node".to_owned(),
        "$(ENVOY_POD_NAME)".to_owned(),
        crate::kept::CONFIG_ARGUMENT.to_owned(),
        // Kubernetes puts variables of the container in the place of $(NAME), which the zone of the node needs.
        bootstrap.to_owned(),
        "--log-level".to_owned(),
        word(&default),
        "--cpuset-threads".to_owned(),
        "--drain-strategy".to_owned(),
        "immediate".to_owned(),
    ];
    if let Some(concurrency) = spec.concurrency {
        args.extend(["--concurrency".to_owned(), concurrency.to_string()]);
    }
    let components = components(level).unwrap_or_else(|| "misc:error".to_owned());
    args.extend(["--component-log-level".to_owned(), components]);
    args.extend(["--drain-time-s".to_owned(), fleet.parameters.drain_seconds().to_string()]);
    args.extend(spec.extra_args.iter().cloned());
    args
}

/// Log levels of Envoy's parts, as its command line has them; `None` when none has one of its own.
pub(crate) fn components(level: &BTreeMap<ProxyLogComponent, LogLevel>) -> Option<String> {
    let components: Vec<String> = level
        .iter()
        .filter(|(component, _)| **component != ProxyLogComponent::Default)
        .map(|(component, level)| format!("{}:{}", word(component), word(level)))
        .collect();
    (!components.is_empty()).then(|| components.join(","))
}

/// A level or component as Envoy's command line writes it.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Arguments of the shutdown manager.
pub(super) fn shutdown_manager_args(fleet: &Fleet<'_>) -> Vec<String> {
    let mut args = vec!["envoy".to_owned(), "shutdown-manager".to_owned()];
    if let Some(drain) = fleet.parameters.drain_timeout() {
        args.push(format!("--ready-timeout={}s", drain + READY_BEYOND_DRAIN));
    }
    args
}

/// The command that drains Envoy before its Pod stops.
pub(super) fn pre_stop_command(fleet: &Fleet<'_>) -> Vec<String> {
    let shutdown = fleet.parameters.shutdown();
    let mut command: Vec<String> = ["envoy-gateway", "envoy", "shutdown"].map(str::to_owned).into();
    let flags = [
        ("health-check-failure-delay", shutdown.health_check_failure_delay),
        ("drain-timeout", shutdown.drain_timeout),
        ("min-drain-duration", shutdown.min_drain_duration),
    ];
    for (flag, value) in flags {
        if let Some(seconds) = value.and_then(|value| value.to_std()).as_ref().map(Duration::as_secs) {
            command.push(format!("--{flag}={seconds}s"));
        }
    }
    command
}
