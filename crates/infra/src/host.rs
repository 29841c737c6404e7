//! What parameters mean for a proxy on a host, as far as it reads them when it starts.

use std::time::Duration;

use api::{
    config::LogLevel,
    envoyproxy::{ProxyBootstrap, ProxyLogComponent},
};
use ir::infra::HostProxy;
use serde_json::Value;

use crate::{
    RenderError,
    bootstrap::{stats, user},
    parameters::Parameters,
    pod::args,
};

/// How a proxy on a host starts, where an EnvoyProxy says.
#[derive(Clone, Debug, Default)]
pub struct HostSettings {
    /// What it does with its statistics.
    pub metrics: ::bootstrap::Metrics,
    /// Envoy's log level (`logging.level.default`).
    pub log_level: Option<String>,
    /// Log levels of Envoy's parts, as `--component-log-level` has them.
    pub component_log_level: Option<String>,
    /// Worker threads.
    pub concurrency: Option<u32>,
    /// Arguments of Envoy beside those that it has anyway.
    pub extra_args: Vec<String>,
    /// Longest wait for open requests when it stops (`shutdown.drainTimeout`).
    pub drain_timeout: Option<Duration>,
    /// Shortest drain (`shutdown.minDrainDuration`).
    pub min_drain: Option<Duration>,
    /// Changes to its bootstrap.
    change: Option<ProxyBootstrap>,
}

impl HostSettings {
    /// What a proxy is told.
    ///
    /// # Errors
    ///
    /// When the parameters are not those of an EnvoyProxy.
    pub fn new(proxy: &HostProxy) -> Result<HostSettings, RenderError> {
        let parameters = Parameters::read(&proxy.parameters)?;
        let level = &parameters.spec.logging.level;
        let default: Option<LogLevel> = level.get(&ProxyLogComponent::Default).copied();
        Ok(HostSettings {
            metrics: stats::metrics(parameters.metrics(), &proxy.sinks),
            log_level: default.as_ref().map(args::word),
            component_log_level: args::components(level),
            concurrency: parameters.spec.concurrency.and_then(|threads| u32::try_from(threads).ok()),
            extra_args: parameters.spec.extra_args.clone(),
            drain_timeout: parameters.drain_timeout().map(Duration::from_secs),
            min_drain: parameters.shutdown().min_drain_duration.and_then(|least| least.to_std()),
            change: parameters.spec.bootstrap.clone(),
        })
    }

    /// The bootstrap of the proxy: `base`, with what the EnvoyProxy changes in it.
    ///
    /// # Errors
    ///
    /// When a change does not apply, takes away what leads to the control plane, or moves the admin port, by which the
    /// proxy is watched and drained.
    pub fn bootstrap(&self, base: Value) -> Result<Value, RenderError> {
        let Some(change) = &self.change else { return Ok(base) };
        let unusable = |message| RenderError::new("spec.bootstrap", message);
        let changed = user::changed(&base, change).map_err(unusable)?;
        user::keeps_admin(&base, &changed).map_err(unusable)?;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn base() -> Value {
        json!({
            "node": { "id": "eg", "cluster": "eg" },
            "admin": { "address": { "pipe": { "path": "/run/eg.sock", "mode": 0o600 } } },
            "stats_flush_interval": "5s",
        })
    }

    fn settings(parameters: Value) -> HostSettings {
        HostSettings::new(&HostProxy { parameters: parameters.into(), sinks: [].into() }).unwrap()
    }

    #[test]
    fn what_is_said_is_passed_on_and_the_rest_is_open() {
        let said = settings(json!({
            "logging": { "level": { "default": "debug", "http": "trace" } },
            "concurrency": 3,
            "extraArgs": ["--disable-extensions=envoy.access_loggers.stderr"],
            "shutdown": { "drainTimeout": "7s" },
        }));
        assert_eq!(
            (said.log_level.as_deref(), said.component_log_level.as_deref()),
            (Some("debug"), Some("http:trace"))
        );
        assert_eq!((said.concurrency, said.drain_timeout), (Some(3), Some(Duration::from_secs(7))));
        assert_eq!(said.extra_args.len(), 1);
        let silent = settings(json!({}));
        assert_eq!((silent.log_level.as_deref(), silent.component_log_level), (Some("warn"), None));
        assert_eq!((silent.concurrency, silent.drain_timeout), (None, None));
        assert_eq!(silent.extra_args, Vec::<String>::new());
    }

    #[test]
    fn a_bootstrap_is_changed_but_not_where_it_is_watched() {
        let bootstrap = |change: Value| {
            settings(json!({ "bootstrap": change })).bootstrap(base()).map_err(|error| error.to_string())
        };
        let merged = bootstrap(json!({ "type": "Merge", "value": "stats_flush_interval: 9s" })).unwrap();
        assert_eq!(merged["statsFlushInterval"], "9s", "merging is by message");
        let patches = json!([{ "op": "replace", "path": "/stats_flush_interval", "value": "8s" }]);
        let patched = bootstrap(json!({ "type": "JSONPatch", "jsonPatches": patches })).unwrap();
        assert_eq!(patched["stats_flush_interval"], "8s");
        for (change, field) in [
            ("admin: { address: { pipe: { path: /tmp/other.sock } } }", "admin"),
            ("dynamic_resources: { cds_config: { path: /tmp/clusters.yaml } }", "dynamic_resources"),
        ] {
            let refused = bootstrap(json!({ "type": "Merge", "value": change })).unwrap_err();
            assert!(refused.contains("spec.bootstrap") && refused.contains(field), "{refused}");
        }
        assert_eq!(settings(json!({})).bootstrap(base()).unwrap(), base());
    }
}
