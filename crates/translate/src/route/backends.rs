//! Backends of a rule: resolved, weighed, grouped into clusters.

use std::sync::Arc;

use ir::{
    Kind, Metadata, ObjectRef,
    cluster::{Address, INVALID_BACKEND_CLUSTER, Protocol, Zones},
    listener::Transport,
    object::MCS_GROUP,
    route::{Target, WeightedCluster},
};
use store::{
    Addresses, NameId, ObjectId,
    facts::{self, BackendTarget, ServiceKind, ServicePort},
};

use super::{Slot, filters};
use crate::{
    Finding, Reader,
    backend_tls::{self, BackendTls, Unusable},
};

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
    /// TLS towards it; `None` for plain text.
    pub tls: Option<Arc<BackendTls>>,
}

impl Destination {
    /// The BackendTLSPolicy that had a say in it.
    pub(crate) fn policy(&self) -> Option<ObjectId> {
        self.tls.as_ref().and_then(|tls| tls.policy)
    }
}

/// What a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// A port of a Service or ServiceImport.
    Service {
        /// The Service or ServiceImport.
        service: ObjectId,
        /// Transport of the port.
        transport: Transport,
        /// Number of the port of the Service.
        port: u16,
        /// Name of the port in EndpointSlices.
        port_name: Arc<str>,
        /// True when its slices hold host names.
        dns: bool,
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

impl BackendKind {
    /// True when Envoy finds the endpoints by DNS.
    pub fn by_dns(&self) -> bool {
        matches!(self, BackendKind::Service { dns: true, .. } | BackendKind::Backend { dns: true, .. })
    }
}

/// What a route forwards. It decides the protocol towards backends that do not name theirs, and how clients
/// are told that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP.
    Http,
    /// gRPC, which needs HTTP/2.
    Grpc,
    /// Bytes of connections or datagrams, whatever they are: they go to ports of this transport.
    Bytes(Transport),
}

impl Speaks {
    fn transport(self) -> Transport {
        match self {
            Speaks::Http | Speaks::Grpc => Transport::Tcp,
            Speaks::Bytes(transport) => transport,
        }
    }

    fn protocol(self) -> Protocol {
        match self {
            Speaks::Http | Speaks::Bytes(_) => Protocol::Http1,
            Speaks::Grpc => Protocol::Http2,
        }
    }

    /// Status for the share of backends that do not resolve. Envoy tells gRPC clients of 503 as `UNAVAILABLE`, which is
    /// what Gateway API asks for there (GRPCRouteRule.backendRefs), and of 500 as `UNKNOWN`.
    fn status_of_invalid(self) -> u16 {
        match self {
            Speaks::Http | Speaks::Bytes(_) => 500,
            Speaks::Grpc => 503,
        }
    }
}

/// Why a backend cannot be used.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub reason: &'static str,
    pub message: String,
    /// True when it is merely without endpoints, which may pass.
    pub unavailable: bool,
    /// The BackendTLSPolicy that had a say in it.
    pub policy: Option<ObjectId>,
}

impl Problem {
    fn new(reason: &'static str, message: String) -> Self {
        Problem { reason, message, unavailable: false, policy: None }
    }
}

/// A backend that can be used. The region of the destination is for the caller to fill.
pub(super) struct Resolved {
    pub destination: Destination,
    pub protocol: Protocol,
    pub zones: Zones,
    /// What its author should know, although it works.
    pub warning: Option<Warning>,
}

/// Something to know of a backend that can be used.
pub(super) struct Warning {
    pub reason: &'static str,
    pub message: String,
}

/// The backends of a rule.
pub(super) struct Backends {
    pub unresolved: Vec<Finding>,
    pub unavailable: Vec<Finding>,
    pub warnings: Vec<Finding>,
    /// BackendTLSPolicies that had a say in it.
    pub policies: Vec<ObjectId>,
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
    pub speaks: Speaks,
}

/// Resolves the backends of one rule.
pub(super) fn of_rule(
    referrer: &Referrer<'_>,
    rule_index: u16,
    backends: &[facts::BackendRef],
    base: &str,
    reader: &mut Reader<'_>,
) -> Backends {
    let invalid_status = referrer.speaks.status_of_invalid();
    let mut out = Backends {
        unresolved: Vec::new(),
        unavailable: Vec::new(),
        warnings: Vec::new(),
        policies: Vec::new(),
        plan: Err(invalid_status),
    };
    let mut weighed = Vec::with_capacity(backends.len());
    for (i, backend) in (0u16..).zip(backends) {
        let filters = filters::of_backend(&backend.filters);
        let region: Arc<str> = format!("{base}/backend/{i}").into();
        let problem_of_filters = filters.as_ref().err().cloned();
        let resolved = resolve(referrer, &backend.backend, backend.weight, problem_of_filters, reader);
        let finding = |reason, message| {
            Finding::new(
                format!("spec.rules[{rule_index}].backendRefs[{i}]"),
                reason,
                format!("Rule {rule_index}, backend {i}: {message}"),
            )
        };
        let (destination, protocol, zones, state) = match resolved {
            Ok(Resolved { destination, protocol, zones, warning }) => {
                out.warnings.extend(warning.map(|w| finding(w.reason, w.message)));
                out.policies.extend(destination.policy());
                (Destination { region, ..destination }, protocol, zones, State::Valid)
            }
            Err(problem) => {
                out.policies.extend(problem.policy);
                let finding = finding(problem.reason, problem.message);
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
    out.plan = plan(base, weighed, invalid_status);
    out
}

/// Groups backends into clusters, or says which status answers instead: `invalid_status` when a reference is invalid or
/// all weights are 0, 503 when backends merely lack endpoints.
fn plan(base: &str, mut weighed: Vec<Weighed>, invalid_status: u16) -> Result<(Target, Vec<Cluster>), u16> {
    let share = |weighed: &[Weighed], state| -> u64 {
        weighed.iter().filter(|w| w.state == state).map(|w| u64::from(w.weight)).sum()
    };
    if share(&weighed, State::Valid) == 0 {
        let has = |state| weighed.iter().any(|w| w.state == state);
        let unavailable = has(State::Unavailable) && !has(State::Invalid);
        return Err(if unavailable { 503 } else { invalid_status });
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
        (invalid, _) => (invalid, Some(invalid_status)),
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
    let dns = |w: &Weighed| w.destination.kind.by_dns();
    weighed.iter().any(dns) && !weighed.iter().all(dns)
}

fn nothing(region: Arc<str>, weight: u32) -> Destination {
    Destination { region, weight, priority: 0, metadata: None, kind: BackendKind::Nothing, tls: None }
}

/// Resolves one reference of a route to a backend.
pub(super) fn resolve(
    referrer: &Referrer<'_>,
    backend: &BackendTarget,
    weight: u32,
    filter_problem: Option<String>,
    reader: &mut Reader<'_>,
) -> Result<Resolved, Problem> {
    if let Some(message) = filter_problem {
        return Err(Problem::new("UnsupportedRefValue", message));
    }
    let Some(target) = backend.target else { return Err(unknown_kind(backend)) };
    let named = reader.object(target.id);
    let Referrer { object, namespace, speaks } = referrer;
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
        Kind::Service => service(target.id, &named, backend, *speaks, weight, reader),
        Kind::ServiceImport => service_import(target.id, &named, backend, *speaks, weight, reader),
        _ => backend_object(target.id, &named, backend.port, *speaks, weight, reader),
    }
}

/// A reference to what no backend can be.
fn unknown_kind(backend: &BackendTarget) -> Problem {
    let known_groups = ["", MCS_GROUP, ir::object::ENVOY_GATEWAY_GROUP];
    if &*backend.kind == "ServiceImport" {
        // Envoy Gateway looks at the kind alone, so the reason is that of one that does not exist.
        Problem::new(
            "BackendNotFound",
            format!(
                "ServiceImport {} does not exist in group {:?}: the group of ServiceImports is {MCS_GROUP}",
                backend.name, backend.group
            ),
        )
    } else if known_groups.contains(&&*backend.group) {
        Problem::new(
            "InvalidKind",
            format!("kind {} is not supported; use Service, ServiceImport or Backend", backend.kind),
        )
    } else {
        Problem::new(
            "InvalidKind",
            format!(
                "group {:?} is not supported; use the core group, {MCS_GROUP} or {}",
                backend.group,
                ir::object::ENVOY_GATEWAY_GROUP
            ),
        )
    }
}

fn service(
    id: ObjectId,
    named: &ObjectRef,
    backend: &BackendTarget,
    speaks: Speaks,
    weight: u32,
    reader: &mut Reader<'_>,
) -> Result<Resolved, Problem> {
    let number = port_number(named, backend)?;
    let Some(service) = reader.service(id) else {
        return Err(Problem::new("BackendNotFound", format!("{named} does not exist")));
    };
    if let ServiceKind::ExternalName(host) = &service.kind {
        return Err(Problem::new(
            "UnsupportedValue",
            format!("{named} is of type ExternalName; use a Backend with an fqdn endpoint for {host}"),
        ));
    }
    let port = port(named, &service.ports, number, speaks)?;
    let section = Some(&port.name).filter(|name| !name.is_empty());
    let tls = tls(id, section, speaks, weight, reader)?;
    let of_policy = |problem| Problem { policy: tls.as_ref().and_then(|tls| tls.policy), ..problem };
    let kind = endpoints(id, named, port, speaks, weight, reader).map_err(of_policy)?;
    let protocol = protocol(named, port, speaks).map_err(of_policy)?;
    // Envoy Gateway's own value, from before there were standard ones. It says nothing that a GRPCRoute has not said.
    let legacy = port.app_protocol.as_deref() == Some("grpc") && speaks == Speaks::Http;
    let warning = legacy.then(|| Warning {
        reason: "DeprecatedValue",
        message: format!(
            "appProtocol grpc of port {number} of {named} is deprecated, use kubernetes.io/h2c instead"
        ),
    });
    Ok(Resolved {
        destination: Destination {
            region: "".into(),
            weight,
            priority: 0,
            metadata: Some(Metadata {
                object: named.clone(),
                section: Some(number.to_string().into()),
                annotations: service.meta.annotations.clone(),
            }),
            kind,
            tls,
        },
        protocol: if legacy { Protocol::Http2 } else { protocol },
        zones: service.zones.unwrap_or_default(),
        warning,
    })
}

/// Like a Service, by the slices that carry the import's name.
fn service_import(
    id: ObjectId,
    named: &ObjectRef,
    backend: &BackendTarget,
    speaks: Speaks,
    weight: u32,
    reader: &mut Reader<'_>,
) -> Result<Resolved, Problem> {
    let number = port_number(named, backend)?;
    let Some(import) = reader.service_import(id) else {
        return Err(Problem::new("BackendNotFound", format!("{named} does not exist")));
    };
    let port = port(named, &import.ports, number, speaks)?;
    let section = Some(&port.name).filter(|name| !name.is_empty());
    let tls = tls(id, section, speaks, weight, reader)?;
    let of_policy = |problem| Problem { policy: tls.as_ref().and_then(|tls| tls.policy), ..problem };
    let kind = endpoints(id, named, port, speaks, weight, reader).map_err(of_policy)?;
    let protocol = protocol(named, port, speaks).map_err(of_policy)?;
    let warning = reader.service(import.service).and_then(|service| {
        let own = service.ports.iter().find(|p| p.port == number && p.protocol == port.protocol)?;
        disagreement(named, port, own).filter(|_| !matches!(speaks, Speaks::Bytes(_)))
    });
    Ok(Resolved {
        destination: Destination {
            region: "".into(),
            weight,
            priority: 0,
            metadata: Some(Metadata {
                object: named.clone(),
                section: Some(number.to_string().into()),
                annotations: import.meta.annotations.clone(),
            }),
            kind,
            tls,
        },
        protocol,
        zones: Zones::default(),
        warning,
    })
}

/// A ServiceImport and the Service of its name in this cluster that do not say the same of a port: the import's word
/// counts, since it speaks for all clusters (GEP-1911).
fn disagreement(import: &ObjectRef, port: &ServicePort, own: &ServicePort) -> Option<Warning> {
    if port.app_protocol == own.app_protocol {
        return None;
    }
    let said = |port: &ServicePort| match &port.app_protocol {
        Some(protocol) => format!("appProtocol {protocol}"),
        None => "no appProtocol".to_owned(),
    };
    Some(Warning {
        reason: "AppProtocolMismatch",
        message: format!(
            "port {} of {import} has {}, that of the Service of the same name has {}; the import's is used",
            port.port,
            said(port),
            said(own)
        ),
    })
}

fn port_number(named: &ObjectRef, backend: &BackendTarget) -> Result<u16, Problem> {
    backend
        .port
        .ok_or_else(|| Problem::new("PortNotSpecified", format!("a reference to {named} needs a port")))
}

fn port<'a>(
    named: &ObjectRef,
    ports: &'a [ServicePort],
    number: u16,
    speaks: Speaks,
) -> Result<&'a ServicePort, Problem> {
    let transport = speaks.transport().name();
    ports
        .iter()
        .find(|p| p.port == number && &*p.protocol == transport)
        .ok_or_else(|| Problem::new("PortNotFound", format!("{named} has no {transport} port {number}")))
}

/// The endpoints of a port of a Service or ServiceImport.
fn endpoints(
    id: ObjectId,
    named: &ObjectRef,
    port: &ServicePort,
    speaks: Speaks,
    weight: u32,
    reader: &mut Reader<'_>,
) -> Result<BackendKind, Problem> {
    // There is no answer to give in the place of a backend's to a connection: it is closed, or goes to another backend.
    let answers = !matches!(speaks, Speaks::Bytes(_));
    if answers && weight > 0 && !reader.available(id, &port.name) {
        return Err(Problem {
            reason: "EndpointsNotFound",
            message: format!("{named} has no endpoints for port {}", port.port),
            unavailable: true,
            policy: None,
        });
    }
    let addresses = reader.addresses(id);
    if addresses == Some(Addresses::Mixed) {
        return Err(Problem::new(
            "UnsupportedAddressType",
            format!(
                "{named} has EndpointSlices with host names and others with IP addresses; one cluster cannot have both"
            ),
        ));
    }
    Ok(BackendKind::Service {
        service: id,
        transport: speaks.transport(),
        port: port.port,
        port_name: port.name.clone(),
        dns: addresses == Some(Addresses::Hosts),
    })
}

/// The protocol towards a port. Values that are not known say nothing (GEP-1911).
fn protocol(named: &ObjectRef, port: &ServicePort, speaks: Speaks) -> Result<Protocol, Problem> {
    match port.app_protocol.as_deref().filter(|_| !matches!(speaks, Speaks::Bytes(_))) {
        Some("kubernetes.io/h2c" | "gateway.envoyproxy.io/h2c") => Ok(Protocol::Http2),
        Some(
            value @ ("kubernetes.io/ws"
            | "kubernetes.io/wss"
            | "gateway.envoyproxy.io/ws"
            | "gateway.envoyproxy.io/wss"),
        ) => spoken(named, speaks, Protocol::Http1Only, value),
        _ => Ok(speaks.protocol()),
    }
}

/// The protocol that a backend asks for, where the requests of the route can be sent by it.
fn spoken(named: &ObjectRef, speaks: Speaks, asked: Protocol, value: &str) -> Result<Protocol, Problem> {
    if speaks == Speaks::Grpc && asked != Protocol::Http2 {
        return Err(Problem::new(
            "UnsupportedProtocol",
            format!("{named} asks for {value}, which cannot carry gRPC"),
        ));
    }
    Ok(asked)
}

/// TLS towards a backend that gets requests or connections. `section` is the name of its port, for a Backend the number.
fn tls(
    id: ObjectId,
    section: Option<&Arc<str>>,
    speaks: Speaks,
    weight: u32,
    reader: &mut Reader<'_>,
) -> Result<Option<Arc<BackendTls>>, Problem> {
    if weight == 0 || speaks.transport() == Transport::Udp {
        return Ok(None);
    }
    backend_tls::of(id, section.map(|section| &**section), reader).map_err(|Unusable { message, policy }| {
        Problem { policy, ..Problem::new("InvalidBackendTLS", message) }
    })
}

fn backend_object(
    id: ObjectId,
    named: &ObjectRef,
    port: Option<u16>,
    speaks: Speaks,
    weight: u32,
    reader: &mut Reader<'_>,
) -> Result<Resolved, Problem> {
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
    if let Some(finding) = crate::backend::invalid(backend, reader) {
        return Err(Problem::new(finding.reason, format!("{named}: {}", finding.message)));
    }
    let section: Option<Arc<str>> = port.map(|port| port.to_string().into());
    let tls = tls(id, section.as_ref(), speaks, weight, reader)?;
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
        tls,
    };
    let protocol = match backend.protocol {
        Some(asked) => spoken(named, speaks, asked, "WebSocket by spec.appProtocols")?,
        None => speaks.protocol(),
    };
    Ok(Resolved { destination, protocol, zones: Zones::default(), warning: None })
}
