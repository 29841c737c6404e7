//! What proxies count.

use std::sync::Arc;

use api::envoyproxy::ProxyTelemetry;
use ir::{ObjectRef, telemetry::ClusterStatistics, traffic::HealthCheckLog};
use store::facts::{self, BackendTarget};

use crate::policy::backend_traffic::{health, telemetry::check_tokens};

/// What the name of a cluster in statistics may be made of, beside text.
const TOKENS: [&str; 6] = [
    "%ROUTE_NAME%",
    "%ROUTE_NAMESPACE%",
    "%ROUTE_KIND%",
    "%ROUTE_RULE_NAME%",
    "%ROUTE_RULE_NUMBER%",
    "%BACKEND_REFS%",
];

/// What the proxies of a fleet count, and which results of health checks they log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Of clusters.
    pub clusters: ClusterStatistics,
    /// The name of a cluster in statistics, with tokens; `None` for its own.
    pub stat_name: Option<Arc<str>>,
    /// Each virtual host has statistics of its own.
    pub virtual_hosts: bool,
    /// The log of health checks for which no policy has another.
    pub health_log: Option<HealthCheckLog>,
}

impl Statistics {
    /// The name of the cluster of a rule in statistics.
    pub(crate) fn stat_name(&self, route: &ObjectRef, index: u16, rule: &facts::Rule) -> Option<Arc<str>> {
        let pattern = self.stat_name.as_deref()?;
        let backends: Vec<String> = rule.backends.iter().map(|b| backend(&b.backend, route)).collect();
        let values = [
            route.name.to_string(),
            route.namespace.to_string(),
            route.kind.name().to_lowercase(),
            rule.name.as_deref().unwrap_or("-").to_owned(),
            index.to_string(),
            backends.join("|"),
        ];
        let name = TOKENS
            .iter()
            .zip(values)
            .fold(pattern.to_owned(), |name, (token, value)| name.replace(token, &value));
        Some(name.into())
    }
}

fn backend(backend: &BackendTarget, route: &ObjectRef) -> String {
    format!("{}/{}", backend.namespace.as_ref().unwrap_or(&route.namespace), backend.name)
}

/// What is counted, and which results of health checks are logged.
///
/// # Errors
/// A sentence that names the field that cannot be used.
pub(super) fn read(spec: &ProxyTelemetry) -> Result<Statistics, String> {
    let metrics = spec.metrics.as_ref();
    let flag = |flag: Option<bool>| flag.unwrap_or(false);
    let pattern = metrics.and_then(|metrics| metrics.cluster_stat_name.as_deref());
    if let Some(pattern) = pattern {
        check_tokens(pattern, &TOKENS)
            .map_err(|message| format!("spec.telemetry.metrics.clusterStatName: {message}"))?;
    }
    Ok(Statistics {
        clusters: ClusterStatistics {
            per_endpoint: flag(metrics.and_then(|metrics| metrics.enable_per_endpoint_stats)),
            sizes: flag(metrics.and_then(|metrics| metrics.enable_request_response_sizes_stats)),
        },
        stat_name: pattern.filter(|pattern| !pattern.is_empty()).map(Arc::from),
        virtual_hosts: flag(metrics.and_then(|metrics| metrics.enable_virtual_host_stats)),
        health_log: spec.health_check_log.as_ref().map(health::log),
    })
}
