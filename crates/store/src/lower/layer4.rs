//! TCPRoute, TLSRoute and UDPRoute.

use ir::Kind;

use super::{Lowering, text};
use crate::facts::{Layer4Route, Layer4Rule};

impl Lowering<'_> {
    pub(super) fn tcp_route(&mut self, route: &api::TcpRoute) -> Layer4Route {
        self.layer4(Kind::TcpRoute, &route.metadata, &route.spec.parent_refs, &[], &route.spec.rules)
    }

    pub(super) fn tls_route(&mut self, route: &api::TlsRoute) -> Layer4Route {
        let spec = &route.spec;
        self.layer4(Kind::TlsRoute, &route.metadata, &spec.parent_refs, &spec.hostnames, &spec.rules)
    }

    pub(super) fn udp_route(&mut self, route: &api::UdpRoute) -> Layer4Route {
        self.layer4(Kind::UdpRoute, &route.metadata, &route.spec.parent_refs, &[], &route.spec.rules)
    }

    fn layer4(
        &mut self,
        kind: Kind,
        metadata: &api::ObjectMeta,
        parents: &[api::ParentReference],
        hostnames: &[api::Hostname],
        rules: &[api::Layer4RouteRule],
    ) -> Layer4Route {
        Layer4Route {
            meta: self.meta(kind, metadata),
            parents: parents.iter().map(|parent| self.parent_ref(parent)).collect(),
            hostnames: hostnames.iter().map(|hostname| self.name(hostname)).collect(),
            rules: (rules.iter())
                .map(|rule| Layer4Rule {
                    name: rule.name.as_deref().map(text),
                    backends: rule.backend_refs.iter().map(|b| self.backend_ref(b, &[])).collect(),
                })
                .collect(),
        }
    }
}
