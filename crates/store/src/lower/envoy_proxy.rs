//! EnvoyProxy.

use api::envoyproxy::{ProxyAccessLogSink, ProxyTelemetry, TelemetryBackendRef};
use ir::Kind;

use super::Lowering;
use crate::facts::{Collector, CollectorRef, EnvoyProxy, TelemetryBackends};

impl Lowering<'_> {
    pub(super) fn envoy_proxy(&mut self, proxy: &api::EnvoyProxy) -> EnvoyProxy {
        EnvoyProxy {
            meta: self.meta(Kind::EnvoyProxy, &proxy.metadata),
            // Maps with string keys alone always become JSON.
            spec: serde_json::to_value(&proxy.spec).unwrap_or_default().into(),
            backends: (proxy.spec.telemetry.as_ref())
                .map(|telemetry| self.telemetry_backends(telemetry))
                .unwrap_or_default(),
            client_certificate: (proxy.spec.backend_tls.as_ref())
                .and_then(|tls| tls.client_certificate_ref.as_ref())
                .map(|reference| self.certificate_ref(reference)),
        }
    }

    fn telemetry_backends(&mut self, telemetry: &ProxyTelemetry) -> TelemetryBackends {
        let logs = telemetry.access_log.as_ref().map_or(&[][..], |log| &log.settings);
        let traces = telemetry.tracing.as_ref().map_or(&[][..], |tracing| &tracing.provider.backend_refs);
        let metrics = telemetry.metrics.as_ref().map_or(&[][..], |metrics| &metrics.sinks);
        TelemetryBackends {
            logs: (logs.iter())
                .map(|log| log.sinks.iter().map(|sink| self.collector(of_log(sink))).collect())
                .collect(),
            traces: self.collector(traces),
            metrics: (metrics.iter())
                .map(|sink| sink.open_telemetry.as_ref().map_or(&[][..], |sink| &sink.backend_refs))
                .map(|backends| self.collector(backends))
                .collect(),
        }
    }

    fn collector(&mut self, backends: &[TelemetryBackendRef]) -> Collector {
        (backends.iter())
            .map(|backend| CollectorRef {
                backend: self.backend_target(&backend.reference),
                weight: u32::try_from(backend.weight).unwrap_or(1),
                fallback: backend.fallback.unwrap_or(false),
            })
            .collect()
    }
}

/// The backends of a sink of logs, whichever of its members is there: the schema sees to it that only one is.
fn of_log(sink: &ProxyAccessLogSink) -> &[TelemetryBackendRef] {
    let als = sink.als.as_ref().map(|als| &als.backend_refs);
    als.or(sink.open_telemetry.as_ref().map(|collector| &collector.backend_refs)).map_or(&[], Vec::as_slice)
}
