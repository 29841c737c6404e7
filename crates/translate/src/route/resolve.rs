//! One reference of a route to a backend: what it leads to, and how that is reached.

use std::sync::Arc;

use ir::{
    Kind, Metadata, ObjectRef,
    cluster::{Address, Protocol, Zones},
    listener::Transport,
    object::MCS_GROUP,
};
use store::{
    Addresses, NameId, ObjectId,
    facts::{self, BackendTarget, Meta, ServiceKind, ServicePort},
};

use crate::{
    Reader, SharedBackend,
    backend_tls::{self, BackendTls, INVALID_BACKEND_TLS, Unusable},
    policy::backend_traffic::Reach,
    shared::{AppProtocol, Sharing},
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
    /// Whose cluster it may share; `None` where the rule needs one of its own.
    pub sharing: Option<Sharing>,
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
    /// An address that is given by itself.
    Address(Address),
    /// A Backend that takes the request's own host.
    DynamicResolver,
    /// One that does not resolve or has no endpoints: an empty locality.
    Nothing,
}

impl BackendKind {
    /// True when Envoy finds the endpoints by DNS.
    pub fn by_dns(&self) -> bool {
        matches!(
            self,
            BackendKind::Service { dns: true, .. }
                | BackendKind::Backend { dns: true, .. }
                | BackendKind::Address(Address::Host(..))
        )
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
    /// Connections that the client has encrypted for the backend: they get no TLS of ours.
    Encrypted,
    /// What the proxy itself has to say, by whichever protocol its listener there speaks.
    Itself,
}

impl Speaks {
    fn transport(self) -> Transport {
        match self {
            Speaks::Http | Speaks::Grpc | Speaks::Encrypted | Speaks::Itself => Transport::Tcp,
            Speaks::Bytes(transport) => transport,
        }
    }

    /// True where there are requests, which can be answered in the place of a backend and whose protocol matters.
    fn has_requests(self) -> bool {
        matches!(self, Speaks::Http | Speaks::Grpc)
    }

    /// As names of shared clusters have it; `None` for what shares none.
    fn app_protocol(self, protocol: Protocol) -> Option<AppProtocol> {
        Some(match self {
            Speaks::Http if protocol == Protocol::Http2 => AppProtocol::Http2,
            Speaks::Http => AppProtocol::Http,
            Speaks::Grpc => AppProtocol::Grpc,
            Speaks::Bytes(Transport::Tcp) => AppProtocol::Tcp,
            Speaks::Bytes(Transport::Udp) => AppProtocol::Udp,
            Speaks::Encrypted | Speaks::Itself => return None,
        })
    }

    fn protocol(self) -> Protocol {
        match self {
            Speaks::Http | Speaks::Bytes(_) | Speaks::Encrypted | Speaks::Itself => Protocol::Http1,
            Speaks::Grpc => Protocol::Http2,
        }
    }

    /// Status for the share of backends that do not resolve. Envoy tells gRPC clients of 503 as `UNAVAILABLE`, which is
    /// what Gateway API asks for there (GRPCRouteRule.backendRefs), and of 500 as `UNKNOWN`.
    pub(super) fn status_of_invalid(self) -> u16 {
        match self {
            Speaks::Http | Speaks::Bytes(_) | Speaks::Encrypted | Speaks::Itself => 500,
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

/// The route that refers to a backend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Referrer<'a> {
    pub object: &'a ObjectRef,
    pub namespace: NameId,
    pub speaks: Speaks,
    /// How the Services of a rule of requests are reached; `None` where it does not matter whether they have endpoints.
    pub reach: Option<Reach<'a>>,
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
    let Referrer { object, namespace, speaks, reach } = referrer;
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
    let wanted =
        Wanted { id: target.id, named: &named, port: backend.port, speaks: *speaks, weight, reach: *reach };
    wanted.resolved(reader)
}

/// Resolves a reference of the proxies' own, such as that to a collector. It needs no grant: who writes parameters of
/// proxies decides where they connect to, as with Envoy Gateway. The region of the destination is for the caller to fill.
///
/// # Errors
/// Why the backend cannot be used.
pub(crate) fn resolve_own(
    backend: &BackendTarget,
    weight: u32,
    reader: &mut Reader<'_>,
) -> Result<Destination, Unusable> {
    let unusable = |Problem { message, policy, .. }| Unusable { message, policy };
    let Some(target) = backend.target else { return Err(unusable(unknown_kind(backend))) };
    let named = reader.object(target.id);
    let wanted = Wanted {
        id: target.id,
        named: &named,
        port: backend.port,
        speaks: Speaks::Itself,
        weight,
        reach: None,
    };
    let destination = wanted.resolved(reader).map_err(unusable)?.destination;
    if destination.kind == BackendKind::DynamicResolver {
        let message = format!("{named} is a DynamicResolver, which only requests of clients can go to");
        return Err(Unusable { message, policy: destination.policy() });
    }
    Ok(destination)
}

/// A backend as all users of its shared cluster see it; the region is for the caller to fill. `None` when it cannot be
/// used: then it has no users.
pub(crate) fn of_backend(
    shared: &SharedBackend,
    reader: &mut Reader<'_>,
) -> Option<(Destination, Protocol, Zones)> {
    let speaks = match shared.protocol {
        AppProtocol::Http | AppProtocol::Http2 => Speaks::Http,
        AppProtocol::Grpc => Speaks::Grpc,
        AppProtocol::Tcp => Speaks::Bytes(Transport::Tcp),
        AppProtocol::Udp => Speaks::Bytes(Transport::Udp),
    };
    let named = reader.object(shared.backend);
    let port = Some(shared.port).filter(|port| *port > 0);
    // Its users have seen to it that it can be reached.
    let wanted = Wanted { id: shared.backend, named: &named, port, speaks, weight: 1, reach: None };
    let Resolved { destination, protocol, zones, .. } = wanted.resolved(reader).ok()?;
    Some((destination, protocol, zones))
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

/// What a reference asks for, when it may be used.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    id: ObjectId,
    named: &'a ObjectRef,
    port: Option<u16>,
    speaks: Speaks,
    weight: u32,
    reach: Option<Reach<'a>>,
}

impl Wanted<'_> {
    fn resolved(&self, reader: &mut Reader<'_>) -> Result<Resolved, Problem> {
        match self.named.kind {
            Kind::Service => self.service(reader),
            Kind::ServiceImport => self.service_import(reader),
            _ => self.backend(reader),
        }
    }

    fn sharing(&self, protocol: Protocol) -> Option<Sharing> {
        let (backend, port) = (self.id, self.port.unwrap_or(0));
        Some(Sharing { backend, port, protocol: self.speaks.app_protocol(protocol)?, alone: true })
    }

    fn is_missing(&self) -> Problem {
        Problem::new("BackendNotFound", format!("{} does not exist", self.named))
    }

    fn service(&self, reader: &mut Reader<'_>) -> Result<Resolved, Problem> {
        let number = self.port_number()?;
        let service = reader.service(self.id).ok_or_else(|| self.is_missing())?;
        if let ServiceKind::ExternalName(host) = &service.kind {
            return Err(Problem::new(
                "UnsupportedValue",
                format!(
                    "{} is of type ExternalName; use a Backend with an fqdn endpoint for {host}",
                    self.named
                ),
            ));
        }
        let port = self.port(&service.ports, number)?;
        let mut resolved = self.of_port(port, &service.meta, reader)?;
        resolved.zones = service.zones.unwrap_or_default();
        // Envoy Gateway's own value, from before there were standard ones. It says nothing that a GRPCRoute has not said.
        if port.app_protocol.as_deref() == Some("grpc") && self.speaks == Speaks::Http {
            resolved.protocol = Protocol::Http2;
            resolved.destination.sharing =
                resolved.destination.sharing.map(|s| Sharing { protocol: AppProtocol::Grpc, ..s });
            resolved.warning = Some(Warning {
                reason: "DeprecatedValue",
                message: format!(
                    "appProtocol grpc of port {number} of {} is deprecated, use kubernetes.io/h2c instead",
                    self.named
                ),
            });
        }
        Ok(resolved)
    }

    /// Like a Service, by the slices that carry the import's name.
    fn service_import(&self, reader: &mut Reader<'_>) -> Result<Resolved, Problem> {
        let number = self.port_number()?;
        let import = reader.service_import(self.id).ok_or_else(|| self.is_missing())?;
        let port = self.port(&import.ports, number)?;
        let mut resolved = self.of_port(port, &import.meta, reader)?;
        resolved.warning = reader.service(import.service).and_then(|service| {
            let own = service.ports.iter().find(|p| p.port == number && p.protocol == port.protocol)?;
            disagreement(self.named, port, own).filter(|_| self.speaks.has_requests())
        });
        Ok(resolved)
    }

    /// A port of a Service or ServiceImport, whose common part is `meta`.
    fn of_port(&self, port: &ServicePort, meta: &Meta, reader: &mut Reader<'_>) -> Result<Resolved, Problem> {
        let section = Some(&port.name).filter(|name| !name.is_empty());
        let tls = self.tls(section, reader)?;
        let of_policy = |problem| Problem { policy: tls.as_ref().and_then(|tls| tls.policy), ..problem };
        let kind = self.endpoints(port, reader).map_err(of_policy)?;
        let protocol = self.protocol(port).map_err(of_policy)?;
        let metadata = Metadata {
            object: self.named.clone(),
            section: Some(port.port.to_string().into()),
            annotations: meta.annotations.clone(),
        };
        Ok(Resolved {
            destination: self.destination(metadata, kind, tls, protocol),
            protocol,
            zones: Zones::default(),
            warning: None,
        })
    }

    fn destination(
        &self,
        metadata: Metadata,
        kind: BackendKind,
        tls: Option<Arc<BackendTls>>,
        protocol: Protocol,
    ) -> Destination {
        // A dynamic resolver has no endpoints that rules could share.
        let sharing = self.sharing(protocol).filter(|_| kind != BackendKind::DynamicResolver);
        Destination {
            sharing,
            region: "".into(),
            weight: self.weight,
            priority: 0,
            metadata: Some(metadata),
            kind,
            tls,
        }
    }

    fn port_number(&self) -> Result<u16, Problem> {
        let message = || format!("a reference to {} needs a port", self.named);
        self.port.ok_or_else(|| Problem::new("PortNotSpecified", message()))
    }

    fn port<'p>(&self, ports: &'p [ServicePort], number: u16) -> Result<&'p ServicePort, Problem> {
        let transport = self.speaks.transport().name();
        ports.iter().find(|p| p.port == number && &*p.protocol == transport).ok_or_else(|| {
            Problem::new("PortNotFound", format!("{} has no {transport} port {number}", self.named))
        })
    }

    fn has_cluster_ip(&self, reader: &mut Reader<'_>) -> bool {
        match self.named.kind {
            Kind::Service => {
                let service = reader.service(self.id);
                service.is_some_and(|service| matches!(service.kind, ServiceKind::ClusterIp(Some(_))))
            }
            _ => reader.service_import(self.id).is_some_and(|import| import.address.is_some()),
        }
    }

    /// The endpoints of a port of a Service or ServiceImport.
    fn endpoints(&self, port: &ServicePort, reader: &mut Reader<'_>) -> Result<BackendKind, Problem> {
        // There is no answer to give in the place of a backend's to a connection: it is closed, or goes to another backend.
        if let Some(reach) = self.reach
            && self.weight > 0
            && !reader.available(self.id, &port.name)
            && !(self.has_cluster_ip(reader) && reach.by_cluster_ip(reader))
        {
            return Err(Problem {
                reason: "EndpointsNotFound",
                message: format!("{} has no endpoints for port {}", self.named, port.port),
                unavailable: true,
                policy: None,
            });
        }
        let addresses = reader.addresses(self.id);
        if addresses == Some(Addresses::Mixed) {
            return Err(Problem::new(
                "UnsupportedAddressType",
                format!(
                    "{} has EndpointSlices with host names and others with IP addresses; one cluster cannot have both",
                    self.named
                ),
            ));
        }
        Ok(BackendKind::Service {
            service: self.id,
            transport: self.speaks.transport(),
            port: port.port,
            port_name: port.name.clone(),
            dns: addresses == Some(Addresses::Hosts),
        })
    }

    /// The protocol towards a port. Values that are not known say nothing (GEP-1911).
    fn protocol(&self, port: &ServicePort) -> Result<Protocol, Problem> {
        match port.app_protocol.as_deref().filter(|_| self.speaks.has_requests()) {
            Some("kubernetes.io/h2c" | "gateway.envoyproxy.io/h2c") => Ok(Protocol::Http2),
            Some(
                value @ ("kubernetes.io/ws"
                | "kubernetes.io/wss"
                | "gateway.envoyproxy.io/ws"
                | "gateway.envoyproxy.io/wss"),
            ) => self.spoken(Protocol::Http1Only, value),
            _ => Ok(self.speaks.protocol()),
        }
    }

    /// The protocol that a backend asks for, where the requests of the route can be sent by it.
    fn spoken(&self, asked: Protocol, value: &str) -> Result<Protocol, Problem> {
        if self.speaks == Speaks::Grpc && asked != Protocol::Http2 {
            return Err(Problem::new(
                "UnsupportedProtocol",
                format!("{} asks for {value}, which cannot carry gRPC", self.named),
            ));
        }
        Ok(asked)
    }

    /// TLS towards a backend that gets requests or connections which are not encrypted yet. `section` is the name of its
    /// port, for a Backend the number.
    fn tls(
        &self,
        section: Option<&Arc<str>>,
        reader: &mut Reader<'_>,
    ) -> Result<Option<Arc<BackendTls>>, Problem> {
        let plain = self.speaks == Speaks::Encrypted || self.speaks.transport() == Transport::Udp;
        if self.weight == 0 || plain {
            return Ok(None);
        }
        let tls = backend_tls::of(self.id, section.map(|section| &**section), reader);
        tls.map_err(|Unusable { message, policy }| Problem {
            policy,
            ..Problem::new(INVALID_BACKEND_TLS, message)
        })
    }

    fn backend(&self, reader: &mut Reader<'_>) -> Result<Resolved, Problem> {
        let settings = reader.settings();
        if !settings.enable_backend {
            return Err(Problem::new(
                "UnsupportedValue",
                "Backend objects are switched off; set extensionApis.enableBackend in the EnvoyGateway configuration".to_owned(),
            ));
        }
        let backend = reader.backend(self.id).ok_or_else(|| self.is_missing())?;
        if let Some(finding) = crate::backend::invalid(backend, reader) {
            return Err(Problem::new(finding.reason, format!("{}: {}", self.named, finding.message)));
        }
        let section: Option<Arc<str>> = self.port.map(|port| port.to_string().into());
        let tls = self.tls(section.as_ref(), reader)?;
        let kind = match &backend.kind {
            facts::BackendKind::DynamicResolver => BackendKind::DynamicResolver,
            facts::BackendKind::Endpoints(endpoints) => {
                if !settings.allow_local_backends
                    && self.speaks != Speaks::Itself
                    && endpoints.iter().any(|e| matches!(e.address, Address::Unix(_)))
                {
                    return Err(Problem::new(
                        "UnsupportedAddressType",
                        format!(
                            "{}: routes cannot use Unix sockets, which only proxies on the operator's host could reach",
                            self.named
                        ),
                    ));
                }
                BackendKind::Backend {
                    backend: self.id,
                    dns: endpoints.iter().any(|e| matches!(e.address, Address::Host(..))),
                }
            }
        };
        let metadata = Metadata {
            object: self.named.clone(),
            section: None,
            annotations: backend.meta.annotations.clone(),
        };
        let protocol = match backend.protocol {
            Some(asked) => self.spoken(asked, "WebSocket by spec.appProtocols")?,
            None => self.speaks.protocol(),
        };
        let priority = u32::from(backend.fallback);
        let destination = Destination { priority, ..self.destination(metadata, kind, tls, protocol) };
        Ok(Resolved { destination, protocol, zones: Zones::default(), warning: None })
    }
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
