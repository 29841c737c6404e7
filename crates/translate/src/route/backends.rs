//! Backends of a rule: resolved, weighed, grouped into clusters.

use std::sync::Arc;

use ir::{
    Kind, Metadata, ObjectRef,
    cluster::{Address, INVALID_BACKEND_CLUSTER, Protocol, Zones},
    route::{Target, WeightedCluster},
};
use store::{
    NameId, ObjectId,
    facts::{self, BackendTarget, ServiceKind},
};

use super::{Slot, filters};
use crate::{Finding, Reader};

/// API group of ServiceImport.
const MCS_GROUP: &str = "multicluster.x-k8s.io";

/// One backend of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Region of its locality: `<cluster>/backend/<index>`.
    pub region: Arc<str>,
    /// Weight of its locality.
    pub weight: u32,
    /// 1 for a fallback, else 0.
    pub priority: u32,
    /// The backend, with its port as section; `None` for one that does not resolve.
    pub metadata: Option<Metadata>,
    /// What it is.
    pub kind: BackendKind,
}

/// What a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// A port of a Service.
    Service {
        /// The Service.
        service: ObjectId,
        /// Name of the port in EndpointSlices.
        port_name: Arc<str>,
    },
    /// A Backend with fixed endpoints.
    Backend {
        /// The Backend.
        backend: ObjectId,
        /// True when its endpoints are host names.
        dns: bool,
    },
    /// A Backend that takes the request's own host.
    DynamicResolver,
    /// One that does not resolve or has no endpoints: an empty locality.
    Nothing,
}

/// Why a backend cannot be used.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub reason: &'static str,
    pub message: String,
    /// True when it is merely without endpoints, which may pass.
    pub unavailable: bool,
}

impl Problem {
    fn new(reason: &'static str, message: String) -> Self {
        Problem { reason, message, unavailable: false }
    }
}

/// The backends of a rule.
pub(super) struct Backends {
    pub unresolved: Vec<Finding>,
    pub unavailable: Vec<Finding>,
    /// Target and clusters, or the status that answers instead.
    pub plan: Result<(Target, Vec<Cluster>), u16>,
}

/// A cluster of a rule.
pub(super) struct Cluster {
    pub slot: Slot,
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub zones: Zones,
    pub destinations: Vec<Destination>,
}

/// One backend after resolution.
struct Weighed {
    index: u16,
    weight: u32,
    filters: filters::BackendFilters,
    destination: Destination,
    protocol: Protocol,
    zones: Zones,
    state: State,
}

/// Whether a backend can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Valid,
    /// It resolves but has no endpoints: 503 for its share.
    Unavailable,
    /// It does not resolve: 500 for its share.
    Invalid,
}

/// The route that refers to a backend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Referrer<'a> {
    pub object: &'a ObjectRef,
    pub namespace: NameId,
}

/// Resolves the backends of one rule.
pub(super) fn of_rule(
    referrer: &Referrer<'_>,
    rule_index: u16,
    backends: &[facts::BackendRef],
    base: &str,
    reader: &mut Reader<'_>,
) -> Backends {
    let mut out = Backends { unresolved: Vec::new(), unavailable: Vec::new(), plan: Err(500) };
    let mut weighed = Vec::with_capacity(backends.len());
    for (i, backend) in (0u16..).zip(backends) {
        let filters = filters::of_backend(&backend.filters);
        let region: Arc<str> = format!("{base}/backend/{i}").into();
        let problem_of_filters = filters.as_ref().err().cloned();
        let resolved = resolve(referrer, &backend.backend, backend.weight, problem_of_filters, reader);
        let (destination, protocol, zones, state) = match resolved {
            Ok((destination, protocol, zones)) => {
                (Destination { region, ..destination }, protocol, zones, State::Valid)
            }
            Err(problem) => {
                let finding = Finding::new(
                    format!("spec.rules[{rule_index}].backendRefs[{i}]"),
                    problem.reason,
                    format!("Rule {rule_index}, backend {i}: {}", problem.message),
                );
                let (state, findings) = if problem.unavailable {
                    (State::Unavailable, &mut out.unavailable)
                } else {
                    (State::Invalid, &mut out.unresolved)
                };
                findings.push(finding);
                (nothing(region, backend.weight), Protocol::default(), Zones::default(), state)
            }
        };
        weighed.push(Weighed {
            index: i,
            weight: backend.weight,
            filters: filters.unwrap_or_default(),
            destination,
            protocol,
            zones,
            state,
        });
    }
    if backends.len() > 1 && weighed.iter().any(|w| w.destination.kind == BackendKind::DynamicResolver) {
        out.unresolved.push(Finding::new(
            format!("spec.rules[{rule_index}].backendRefs"),
            "InvalidBackendRef",
            format!("Rule {rule_index}: a DynamicResolver Backend must be the only backend of its rule"),
        ));
        return out;
    }
    out.plan = plan(base, weighed);
    out
}

/// Groups backends into clusters, or says which status answers instead: 500 when a reference is invalid or all weights
/// are 0, 503 when backends merely lack endpoints.
fn plan(base: &str, mut weighed: Vec<Weighed>) -> Result<(Target, Vec<Cluster>), u16> {
    let share = |weighed: &[Weighed], state| -> u64 {
        weighed.iter().filter(|w| w.state == state).map(|w| u64::from(w.weight)).sum()
    };
    if share(&weighed, State::Valid) == 0 {
        let has = |state| weighed.iter().any(|w| w.state == state);
        return Err(if has(State::Unavailable) && !has(State::Invalid) { 503 } else { 500 });
    }
    weighed.retain(|w| w.weight > 0);
    let apart =
        weighed.iter().any(|w| w.state != State::Valid || has_filters(w) || w.zones != Zones::default())
            || mixed_addresses(&weighed);
    if !apart {
        let cluster = Cluster {
            slot: Slot::Rule,
            name: base.into(),
            protocol: weighed.iter().map(|w| w.protocol).max().unwrap_or_default(),
            zones: Zones::default(),
            destinations: weighed.into_iter().map(|w| w.destination).collect(),
        };
        return Ok((Target::Cluster(cluster.name.clone()), vec![cluster]));
    }
    // Envoy has one status for all missing clusters of a rule. Where both are needed, backends without endpoints keep
    // their clusters, which are empty, so that Envoy answers 503 for them by itself.
    let (invalid, unavailable) = (share(&weighed, State::Invalid), share(&weighed, State::Unavailable));
    let (missing, missing_status) = match (invalid, unavailable) {
        (0, 0) => (0, None),
        (0, unavailable) => (unavailable, Some(503)),
        (invalid, _) => (invalid, Some(500)),
    };
    let has_cluster = |w: &Weighed| match w.state {
        State::Valid => true,
        State::Unavailable => invalid > 0,
        State::Invalid => false,
    };
    let mut entries = Vec::new();
    if missing > 0 {
        entries.push(WeightedCluster {
            name: INVALID_BACKEND_CLUSTER.into(),
            weight: u32::try_from(missing).unwrap_or(u32::MAX),
            request_headers: Default::default(),
            response_headers: Default::default(),
            host_rewrite: None,
        });
    }
    let mut clusters = Vec::new();
    for w in &mut weighed {
        let name = w.destination.region.clone();
        if has_cluster(w) {
            let filters = std::mem::take(&mut w.filters);
            entries.push(WeightedCluster {
                name: name.clone(),
                weight: w.weight,
                request_headers: filters.request_headers,
                response_headers: filters.response_headers,
                host_rewrite: filters.host_rewrite,
            });
        }
        clusters.push(Cluster {
            slot: Slot::Backend(w.index),
            name,
            protocol: w.protocol,
            zones: w.zones,
            destinations: vec![w.destination.clone()],
        });
    }
    Ok((Target::Weighted { clusters: entries.into(), missing_status }, clusters))
}

fn has_filters(w: &Weighed) -> bool {
    !w.filters.request_headers.is_empty()
        || !w.filters.response_headers.is_empty()
        || w.filters.host_rewrite.is_some()
}

/// Host names and IP addresses cannot share a cluster: one is resolved by Envoy, the other comes by EDS.
fn mixed_addresses(weighed: &[Weighed]) -> bool {
    let dns = |w: &Weighed| matches!(w.destination.kind, BackendKind::Backend { dns: true, .. });
    weighed.iter().any(dns) && !weighed.iter().all(dns)
}

fn nothing(region: Arc<str>, weight: u32) -> Destination {
    Destination { region, weight, priority: 0, metadata: None, kind: BackendKind::Nothing }
}

/// Resolves one reference of a route to a backend. The region of the result is for the caller to fill.
pub(super) fn resolve(
    referrer: &Referrer<'_>,
    backend: &BackendTarget,
    weight: u32,
    filter_problem: Option<String>,
    reader: &mut Reader<'_>,
) -> Result<(Destination, Protocol, Zones), Problem> {
    if let Some(message) = filter_problem {
        return Err(Problem::new("UnsupportedRefValue", message));
    }
    let known_groups = ["", MCS_GROUP, ir::object::ENVOY_GATEWAY_GROUP];
    let Some(target) = backend.target else {
        return Err(if &*backend.kind == "ServiceImport" {
            Problem::new("BackendNotFound", format!("ServiceImport {} does not exist", backend.name))
        } else if known_groups.contains(&&*backend.group) {
            Problem::new(
                "InvalidKind",
                format!("kind {} is not supported; use Service or Backend", backend.kind),
            )
        } else {
            Problem::new(
                "InvalidKind",
                format!(
                    "group {:?} is not supported; use the core group or {}",
                    backend.group,
                    ir::object::ENVOY_GATEWAY_GROUP
                ),
            )
        });
    };
    let named = reader.object(target.id);
    let Referrer { object, namespace } = referrer;
    if target.namespace != *namespace
        && !reader.granted((object.kind.group(), object.kind.name()), &object.namespace, target)
    {
        return Err(Problem::new(
            "RefNotPermitted",
            format!(
                "no ReferenceGrant in namespace {} permits {}s of namespace {} to use {named}",
                named.namespace, object.kind, object.namespace
            ),
        ));
    }
    match named.kind {
        Kind::Service => service(target.id, &named, backend, weight, reader),
        _ => backend_object(target.id, &named, weight, reader),
    }
}

fn service(
    id: ObjectId,
    named: &ObjectRef,
    backend: &BackendTarget,
    weight: u32,
    reader: &mut Reader<'_>,
) -> Result<(Destination, Protocol, Zones), Problem> {
    let Some(number) = backend.port else {
        return Err(Problem::new("PortNotSpecified", format!("a reference to {named} needs a port")));
    };
    let Some(service) = reader.service(id) else {
        return Err(Problem::new("BackendNotFound", format!("{named} does not exist")));
    };
    if let ServiceKind::ExternalName(host) = &service.kind {
        return Err(Problem::new(
            "UnsupportedValue",
            format!("{named} is of type ExternalName; use a Backend with an fqdn endpoint for {host}"),
        ));
    }
    let Some(port) = service.ports.iter().find(|p| p.port == number && &*p.protocol == "TCP") else {
        return Err(Problem::new("PortNotFound", format!("{named} has no TCP port {number}")));
    };
    if weight > 0 && !reader.available(id, &port.name) {
        return Err(Problem {
            reason: "EndpointsNotFound",
            message: format!("{named} has no endpoints for port {number}"),
            unavailable: true,
        });
    }
    let protocol = match port.app_protocol.as_deref() {
        Some("kubernetes.io/h2c" | "gateway.envoyproxy.io/h2c" | "grpc") => Protocol::Http2,
        Some(
            "kubernetes.io/ws"
            | "kubernetes.io/wss"
            | "gateway.envoyproxy.io/ws"
            | "gateway.envoyproxy.io/wss",
        ) => Protocol::Http1Only,
        _ => Protocol::Http1,
    };
    let destination = Destination {
        region: "".into(),
        weight,
        priority: 0,
        metadata: Some(Metadata {
            object: named.clone(),
            section: Some(number.to_string().into()),
            annotations: service.meta.annotations.clone(),
        }),
        kind: BackendKind::Service { service: id, port_name: port.name.clone() },
    };
    Ok((destination, protocol, service.zones.unwrap_or_default()))
}

fn backend_object(
    id: ObjectId,
    named: &ObjectRef,
    weight: u32,
    reader: &mut Reader<'_>,
) -> Result<(Destination, Protocol, Zones), Problem> {
    let settings = reader.settings();
    if !settings.enable_backend {
        return Err(Problem::new(
            "UnsupportedValue",
            "Backend objects are switched off; set extensionApis.enableBackend in the EnvoyGateway configuration".to_owned(),
        ));
    }
    let Some(backend) = reader.backend(id) else {
        return Err(Problem::new("BackendNotFound", format!("{named} does not exist")));
    };
    if let Some(finding) = crate::backend::invalid(backend, settings) {
        return Err(Problem::new(finding.reason, format!("{named}: {}", finding.message)));
    }
    if backend.tls {
        // Plain text to a backend that is meant to have TLS would be a silent leak.
        return Err(Problem::new(
            "InvalidBackendTLS",
            format!("{named}: spec.tls is not supported yet, and plain text is not sent in its place"),
        ));
    }
    let kind = match &backend.kind {
        facts::BackendKind::DynamicResolver => BackendKind::DynamicResolver,
        facts::BackendKind::Endpoints(endpoints) => {
            if !settings.allow_local_backends
                && endpoints.iter().any(|e| matches!(e.address, Address::Unix(_)))
            {
                return Err(Problem::new(
                    "UnsupportedAddressType",
                    format!(
                        "{named}: routes cannot use Unix sockets, which only proxies on the operator's host could reach"
                    ),
                ));
            }
            BackendKind::Backend {
                backend: id,
                dns: endpoints.iter().any(|e| matches!(e.address, Address::Host(..))),
            }
        }
    };
    let destination = Destination {
        region: "".into(),
        weight,
        priority: u32::from(backend.fallback),
        metadata: Some(Metadata {
            object: named.clone(),
            section: None,
            annotations: backend.meta.annotations.clone(),
        }),
        kind,
    };
    Ok((destination, backend.protocol.unwrap_or_default(), Zones::default()))
}
