//! EnvoyProxy.

use ir::Kind;

use super::{Lowering, port};
use crate::facts::{EnvoyProxy, SinkBackend};

impl Lowering<'_> {
    pub(super) fn envoy_proxy(&mut self, proxy: &api::EnvoyProxy) -> EnvoyProxy {
        let metrics = proxy.spec.telemetry.as_ref().and_then(|telemetry| telemetry.metrics.as_ref());
        EnvoyProxy {
            meta: self.meta(Kind::EnvoyProxy, &proxy.metadata),
            // Maps with string keys alone always become JSON.
            spec: serde_json::to_value(&proxy.spec).unwrap_or_default().into(),
            sinks: (metrics.into_iter().flat_map(|metrics| &metrics.sinks))
                .map(|sink| self.sink(sink.open_telemetry.as_ref()?.backend_refs.first()?))
                .collect(),
            client_certificate: (proxy.spec.backend_tls.as_ref())
                .and_then(|tls| tls.client_certificate_ref.as_ref())
                .map(|reference| self.certificate_ref(reference)),
        }
    }

    fn sink(&mut self, backend: &api::BackendObjectReference) -> Option<SinkBackend> {
        let kind = [Kind::Service, Kind::Backend]
            .into_iter()
            .find(|kind| kind.group() == backend.group.as_str() && kind.name() == backend.kind.as_str())?;
        let own = self.namespace.clone();
        let id = self.object(kind, backend.namespace.as_deref().unwrap_or(&own), &backend.name);
        Some(SinkBackend { id, port: backend.port.and_then(port) })
    }
}
