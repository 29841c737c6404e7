//! TCPRoute, TLSRoute and UDPRoute: everything that a route takes goes to one cluster.

use std::sync::Arc;

use ir::{
    Kind, Metadata, ObjectRef,
    cluster::{Protocol, Zones},
    listener::{TcpTarget, Transport},
};
use store::{ObjectId, facts};

use super::{
    BackendKind, ClusterPlan, Destination, Head, Layer4, Origin, RouteFindings, RouteKind, RouteOutput, Slot,
    resolve::{Referrer, Resolved, Speaks, resolve},
};
use crate::{Finding, GatewayTable, Reader, TlsPart, backend_tls::INVALID_BACKEND_TLS};

/// A kind of routes of connections or datagrams.
#[derive(Debug)]
pub(super) struct Layer4Kind {
    kind: Kind,
    transport: Transport,
}

pub(super) const TLS_ROUTE: Layer4Kind = Layer4Kind { kind: Kind::TlsRoute, transport: Transport::Tcp };
pub(super) const TCP_ROUTE: Layer4Kind = Layer4Kind { kind: Kind::TcpRoute, transport: Transport::Tcp };
pub(super) const UDP_ROUTE: Layer4Kind = Layer4Kind { kind: Kind::UdpRoute, transport: Transport::Udp };

impl RouteKind for Layer4Kind {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn head<'a>(&self, id: ObjectId, reader: &mut Reader<'a>) -> Option<Head<'a>> {
        let route = reader.layer4_route(id)?;
        Some(Head { meta: &route.meta, parents: &route.parents, hostnames: &route.hostnames })
    }

    fn is_layer4(&self) -> bool {
        true
    }

    fn unattachable(&self, id: ObjectId, reader: &mut Reader<'_>) -> Option<Finding> {
        let takes = self.takes(reader.layer4_route(id)?);
        (!takes).then(|| Finding::new("spec.rules", "InvalidRule", "The route must have exactly one rule"))
    }

    fn translate(
        &self,
        id: ObjectId,
        reader: &mut Reader<'_>,
        _gateways: GatewayTable<'_>,
    ) -> Option<RouteOutput> {
        let route = reader.layer4_route(id)?;
        let object = reader.object(id);
        let mut output = RouteOutput {
            origin: Origin { created: route.meta.created, generation: route.meta.generation },
            rules: [].into(),
            layer4: None,
            plans: [].into(),
            policies: [].into(),
            over_tls: [].into(),
            rule_names: route.rules.iter().filter_map(|rule| rule.name.clone()).collect(),
            findings: RouteFindings::default(),
            object,
        };
        if !self.takes(route) {
            return Some(output);
        }
        let name = format!("{}-1", super::rule_prefix(&output.object));
        let passed_through = format!("{name}/passed-through");
        let mut work = self.work(route, &output.object, (name, Speaks::Bytes(self.transport)), reader);
        // TLS that backends ask for is for connections that come decrypted (Gateway API, BackendTLSPolicy.targetRefs).
        let passed_through = (self.kind == Kind::TlsRoute && work.wants_tls())
            .then(|| self.work(route, &output.object, (passed_through, Speaks::Encrypted), reader));
        let section = if self.kind == Kind::TlsRoute { None } else { route.rules[0].name.clone() };
        let metadata = Metadata {
            object: output.object.clone(),
            section: section.clone(),
            annotations: route.meta.annotations.clone(),
        };
        output.layer4 = Some(Layer4 {
            name: format!(
                "{}/{}/{}",
                self.kind.name().to_lowercase(),
                output.object.namespace,
                output.object.name
            )
            .into(),
            section: section.clone(),
            target: work.target(),
            passed_through: passed_through.as_ref().map(Work::target),
        });
        work.policies.sort_unstable();
        work.policies.dedup();
        output.policies = std::mem::take(&mut work.policies).into();
        if work.destinations.iter().any(|destination| destination.tls.is_some()) {
            output.over_tls = [TlsPart::Rule(0)].into();
        }
        output.findings.unresolved = std::mem::take(&mut work.unresolved);
        let passed_through = passed_through.map(|work| (Slot::PassedThrough, work));
        output.plans = [(Slot::Rule, work)]
            .into_iter()
            .chain(passed_through)
            .map(|(slot, work)| ClusterPlan {
                rule: 0,
                section: section.clone(),
                slot,
                name: work.name,
                metadata: Some(metadata.clone()),
                protocol: Protocol::default(),
                zones: work.zones,
                destinations: work.destinations.into(),
            })
            .collect();
        Some(output)
    }
}

impl Layer4Kind {
    /// Rules match nothing, so several would mean the same. Those of a TLSRoute are taken together, as Envoy Gateway has
    /// it; only versions before v1 let them be written.
    fn takes(&self, route: &facts::Layer4Route) -> bool {
        route.rules.len() == 1 || self.kind == Kind::TlsRoute
    }

    /// The backends of a route as one cluster of this name.
    fn work(
        &self,
        route: &facts::Layer4Route,
        object: &ObjectRef,
        (name, speaks): (String, Speaks),
        reader: &mut Reader<'_>,
    ) -> Work<'_> {
        let mut work = Work {
            kind: self,
            name: name.into(),
            destinations: Vec::new(),
            zones: Zones::default(),
            refused: 0,
            policies: Vec::new(),
            unresolved: Vec::new(),
        };
        let referrer = Referrer { object, namespace: route.meta.namespace, speaks, reach: None };
        work.backends(route, &referrer, reader);
        work
    }
}

/// The backends of one route.
struct Work<'a> {
    kind: &'a Layer4Kind,
    /// Name of the cluster.
    name: Arc<str>,
    destinations: Vec<Destination>,
    zones: Zones,
    /// Sum of the weights of backends that cannot be used.
    refused: u32,
    /// BackendTLSPolicies that have a say.
    policies: Vec<ObjectId>,
    unresolved: Vec<Finding>,
}

impl Work<'_> {
    fn backends(&mut self, route: &facts::Layer4Route, referrer: &Referrer<'_>, reader: &mut Reader<'_>) {
        let mut position = 0;
        for (r, rule) in route.rules.iter().enumerate() {
            for (i, backend) in rule.backends.iter().enumerate() {
                let region = format!("{}/backend/{position}", self.name).into();
                position += 1;
                match resolve(referrer, &backend.backend, backend.weight, None, reader) {
                    Ok(_) if backend.weight == 0 => {}
                    Ok(Resolved { destination, zones, .. }) => {
                        self.policies.extend(destination.policy());
                        self.destinations.push(Destination { region, ..destination });
                        self.zones = zones;
                    }
                    Err(problem) => {
                        self.policies.extend(problem.policy);
                        self.refused = self.refused.saturating_add(backend.weight);
                        self.unresolved.push(Finding::new(
                            format!("spec.rules[{r}].backendRefs[{i}]"),
                            problem.reason,
                            format!("Rule {r}, backend {i}: {}", problem.message),
                        ));
                    }
                }
            }
        }
        if !self.has_one_backend(route) {
            self.destinations.iter_mut().for_each(|destination| destination.sharing = None);
        }
        // The proxy's own zone is preferred among the endpoints of one backend; several share by weight.
        if self.destinations.len() > 1 {
            self.zones = Zones::default();
        }
        self.check_dynamic();
    }

    /// True when a route refers to one backend: what it takes goes to one cluster, so several cannot be shared one by one.
    /// Rules of a TLSRoute are taken together, so that they may refer to one backend several times.
    fn has_one_backend(&self, route: &facts::Layer4Route) -> bool {
        let mut all = route.rules.iter().flat_map(|rule| rule.backends.iter());
        if self.kind.kind != Kind::TlsRoute {
            return all.nth(1).is_none();
        }
        let Some(first) = all.next() else { return false };
        let named =
            |backend: &facts::BackendRef| (backend.backend.target.map(|t| t.id), backend.backend.port);
        all.all(|other| named(other) == named(first))
    }

    /// A dynamic resolver finds the host in the SNI, so it goes with TLSRoutes alone, and with no other backend.
    fn check_dynamic(&mut self) {
        if !self.is_dynamic() {
            return;
        }
        let (reason, message) = if self.kind.kind != Kind::TlsRoute {
            let message = "a DynamicResolver Backend needs a TLSRoute, whose connections name the host";
            ("UnsupportedValue", message)
        } else if self.destinations.len() > 1 {
            ("InvalidBackendRef", "a DynamicResolver Backend must be the only backend of its route")
        } else {
            return;
        };
        self.destinations.clear();
        self.unresolved.push(Finding::new("spec.rules[0].backendRefs", reason, message));
    }

    /// True when a backend is to be reached over TLS, also where it cannot be.
    fn wants_tls(&self) -> bool {
        self.destinations.iter().any(|destination| destination.tls.is_some())
            || self.unresolved.iter().any(|finding| finding.reason == INVALID_BACKEND_TLS)
    }

    fn is_dynamic(&self) -> bool {
        self.destinations.iter().any(|d| d.kind == BackendKind::DynamicResolver)
    }

    /// Connections for backends that cannot be used are refused by their weight. Datagrams are not: Envoy has no way to
    /// drop a share of them, so the other backends get them.
    fn target(&self) -> TcpTarget {
        let cluster = self.name.clone();
        if self.is_dynamic() {
            return TcpTarget::ServerName(cluster);
        }
        let weight = self.destinations.iter().fold(0, |sum: u32, d| sum.saturating_add(d.weight));
        match (self.refused, self.kind.transport) {
            (1.., Transport::Tcp) if weight > 0 => {
                TcpTarget::Partly { cluster, weight, refused: self.refused }
            }
            _ => TcpTarget::Cluster(cluster),
        }
    }
}
