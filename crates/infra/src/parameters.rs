//! The parameters of a wish, read.

use api::envoyproxy::{
    CorePart, EnvoyProxyKubernetesProvider, EnvoyProxySpec, IpFamily, KubernetesContainerSpec,
    KubernetesPatchSpec, KubernetesPodSpec, ProxyMetrics, ShutdownConfig,
};
use api::k8s_openapi::api::core::v1::Container;
use serde_json::Value;

use crate::RenderError;

/// How long connections may take to end, in seconds, where no EnvoyProxy says.
const DRAIN_TIMEOUT: u64 = 60;

/// The merged parameters of a fleet.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    pub spec: EnvoyProxySpec,
    pub kubernetes: EnvoyProxyKubernetesProvider,
}

/// What a Deployment and a DaemonSet have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkloadParameters<'a> {
    pub daemon_set: bool,
    pub name: Option<&'a str>,
    pub strategy: Option<&'a Value>,
    pub pod: Option<&'a KubernetesPodSpec>,
    pub container: Option<&'a KubernetesContainerSpec>,
    pub init_containers: &'a [CorePart<Container>],
    pub patch: Option<&'a KubernetesPatchSpec>,
    pub replicas: Option<i32>,
}

impl Parameters {
    pub(crate) fn read(spec: &Value) -> Result<Parameters, RenderError> {
        let mut spec: EnvoyProxySpec = serde_json::from_value(spec.clone()).map_err(|error| {
            RenderError::new(
                "spec",
                format_args!("the merged parameters are not those of an EnvoyProxy: {error}"),
            )
        })?;
        let kubernetes = spec.provider.take().and_then(|provider| provider.kubernetes).unwrap_or_default();
        Ok(Parameters { spec, kubernetes })
    }

    pub(crate) fn workload(&self) -> WorkloadParameters<'_> {
        if let Some(set) = &self.kubernetes.envoy_daemon_set {
            return WorkloadParameters {
                daemon_set: true,
                name: set.name.as_deref(),
                strategy: set.strategy.as_ref().map(CorePart::as_value),
                pod: set.pod.as_ref(),
                container: set.container.as_ref(),
                init_containers: &[],
                patch: set.patch.as_ref(),
                replicas: None,
            };
        }
        let deployment = self.kubernetes.envoy_deployment.as_ref();
        WorkloadParameters {
            daemon_set: false,
            name: deployment.and_then(|d| d.name.as_deref()),
            strategy: deployment.and_then(|d| d.strategy.as_ref()).map(CorePart::as_value),
            pod: deployment.and_then(|d| d.pod.as_ref()),
            container: deployment.and_then(|d| d.container.as_ref()),
            init_containers: deployment.map_or(&[], |d| &d.init_containers),
            patch: deployment.and_then(|d| d.patch.as_ref()),
            replicas: deployment.and_then(|d| d.replicas),
        }
    }

    pub(crate) fn metrics(&self) -> Option<&ProxyMetrics> {
        self.spec.telemetry.as_ref()?.metrics.as_ref()
    }

    /// Whether Prometheus can read metrics from a port.
    pub(crate) fn prometheus(&self) -> bool {
        !self.metrics().and_then(|m| m.prometheus.as_ref()).is_some_and(|p| p.disable)
    }

    pub(crate) fn ip_family(&self) -> IpFamily {
        self.spec.ip_family.unwrap_or(IpFamily::IPv4)
    }

    pub(crate) fn shutdown(&self) -> ShutdownConfig {
        self.spec.shutdown.clone().unwrap_or_default()
    }

    /// How long connections may take to end, in seconds, if an EnvoyProxy says.
    pub(crate) fn drain_timeout(&self) -> Option<u64> {
        self.shutdown().drain_timeout.and_then(|timeout| timeout.to_std()).map(|timeout| timeout.as_secs())
    }

    /// How long connections may take to end, in seconds.
    pub(crate) fn drain_seconds(&self) -> u64 {
        self.drain_timeout().unwrap_or(DRAIN_TIMEOUT)
    }
}
