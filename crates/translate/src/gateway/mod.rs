//! Stage 1: a Gateway's listeners, judged and grouped into sockets.

mod certificates;
mod client_side;
mod clients;
mod conflict;
pub(crate) mod frontend;
mod infra;
mod listener;
mod misdirected;
mod overlap;
pub(crate) mod parameters;
mod sets;
mod siblings;
mod socket;

use std::sync::Arc;

use ir::{
    Condition, ConditionStatus, Kind, Metadata, ObjectRef, downstream::Http1, infra::Wish,
    tls::ClientValidation,
};
use store::{
    Infrastructure, NameId, ObjectId,
    facts::{self, AllowedNamespaces},
};

use self::{
    listener::OVERLAPPING_TLS,
    misdirected::{Door, Misdirected},
};
use crate::{ListenerId, Reader, backend_tls::ClientSide, secret::SecretKey};
pub use clients::{ClientVerdict, NoHttp3};
pub use listener::Judged;
pub use misdirected::Guard;
pub use parameters::Judge;
pub use sets::ListenerSetOutput;
pub use socket::{Chain, Socket};

/// What the gateway stage says of one Gateway. Parts that different readers look at are kept apart, so that a rotated
/// certificate wakes no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayOutput {
    /// The Gateway.
    pub object: ObjectRef,
    /// True when its class is ours. Everything else is empty when it is not.
    pub managed: bool,
    /// True when proxies serve it: it is ours and acceptable as a whole.
    pub served: bool,
    /// Name of the proxy fleet that serves it: `namespace/name`.
    pub fleet: Arc<str>,
    /// Its own listeners as routes see them, in the order of the spec.
    pub listeners: Arc<[AttachListener]>,
    /// ListenerSets that name it as their parent, ascending by id.
    pub sets: Box<[ListenerSetOutput]>,
    /// What proxies listen on.
    pub sockets: Box<[Socket]>,
    /// What SDS has to serve for listeners, ascending: certificates, and authorities of clients.
    pub secrets: Box<[SecretKey]>,
    /// The proxies' own side of TLS to backends.
    pub client_side: ClientSide,
    /// What became of ClientTrafficPolicies.
    pub client_verdicts: Box<[ClientVerdict]>,
    /// Address of the readiness listener; `None` where nobody asks for readiness over the network.
    pub ready_listener: Option<Arc<str>>,
    /// What its proxies need of a cluster; `None` where they are not in one.
    pub wish: Option<Arc<Wish>>,
    /// Conditions.
    pub status: GatewayConditions,
}

/// Conditions of a Gateway or ListenerSet and its listeners, except those that need to know the proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayConditions {
    /// `metadata.generation` they were made from.
    pub generation: i64,
    /// Conditions of the Gateway as a whole.
    pub conditions: Vec<Condition>,
    /// Each listener's, in the order of the spec; empty when the object was not looked into.
    pub listeners: Vec<ListenerConditions>,
    /// ListenerSets that are attached with at least one valid listener; none for a ListenerSet.
    pub attached_sets: u32,
    /// Paths of fields behind conditions that do not hold, for `--to problems`.
    pub problems: Vec<ir::Problem>,
}

/// Conditions of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConditions {
    /// The listener.
    pub id: ListenerId,
    /// Its name.
    pub name: Arc<str>,
    /// Kinds of routes that may attach.
    pub supported_kinds: Vec<&'static str>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// A listener as routes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachListener {
    /// What it is known by.
    pub id: ListenerId,
    /// Name.
    pub name: Arc<str>,
    /// Where it stands among the listeners of its Gateway.
    pub place: Place,
    /// Port of the Gateway.
    pub port: u16,
    /// Hostname; `None` for any.
    pub hostname: Option<NameId>,
    /// True when routes on it are served.
    pub ready: bool,
    /// True when requests come in over TLS.
    pub tls: bool,
    /// True when TLS ends at the listener.
    pub terminates: bool,
    /// Kinds of routes that may attach.
    pub kinds: Vec<&'static str>,
    /// Namespaces whose routes may attach.
    pub namespaces: AllowedNamespaces,
    /// Hostnames of ready listeners on the port, told apart by the same means, that its own covers: their requests are
    /// not for it.
    pub narrower: Box<[NameId]>,
    /// True when connections choose it by server name: HTTPS and TLS.
    pub by_name: bool,
    /// The listener whose route configuration takes its routes; `None` while it is not ready, and for protocols without
    /// route configurations.
    pub table: Option<ListenerId>,
    /// Which requests for other listeners' hosts that route configuration answers with 421.
    pub guard: Guard,
    /// What clients must show when they connect; `None` when they are not asked for a certificate.
    pub client: Option<Arc<ClientValidation>>,
    /// What its ClientTrafficPolicy means for routes.
    pub on_routes: OnRoutes,
    /// Name in xDS: `<namespace>/<gateway>/<listener>`, for a listener of a ListenerSet
    /// `<namespace>/<gateway>/<namespace>/<set>/<listener>`.
    pub xds_name: Arc<str>,
    /// What xDS resources made for it say about their origin.
    pub metadata: Metadata,
}

impl AttachListener {
    /// The part that its virtual hosts and its route configuration are made from.
    pub fn shown(&self) -> impl PartialEq + use<'_> {
        let protocol = (self.port, self.tls, self.by_name);
        let table = (self.table, protocol, self.hostname, self.ready, self.guard);
        (table, &self.client, &self.on_routes, &self.place, &self.xds_name, &self.metadata)
    }
}

/// What a ClientTrafficPolicy means for the routes of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnRoutes {
    /// The policy cannot be applied: all requests are answered with status 500, and connections without HTTP are closed.
    pub broken: bool,
    /// It says when streams without traffic end.
    pub ends_idle_streams: bool,
    /// HTTP/3 is offered on the port.
    pub http3: bool,
    /// The host of HTTP/1.0 requests that name none is left to its routes: without exactly one, it is as broken.
    pub wants_host: bool,
    /// HTTP/1, which is spoken to backends likewise.
    pub http1: Option<Arc<Http1>>,
}

/// Where a listener stands in the list that a Gateway's listeners form (Gateway API, `ListenerSetSpec.listeners`): the
/// Gateway's own come first, then those of ListenerSets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Age, namespace and name of the ListenerSet; `None`, which is less than any, for the Gateway's own.
    pub set: Option<(i64, Arc<str>, Arc<str>)>,
    /// Index in the list of its owner.
    pub index: u16,
}

/// Who has listeners: a Gateway, or a ListenerSet that is attached to it.
#[derive(Debug)]
struct Owner<'a> {
    object: &'a ObjectRef,
    meta: &'a facts::Meta,
    /// How names of its listeners in xDS begin.
    prefix: &'a str,
}

impl Owner<'_> {
    /// Judges listeners one by one.
    fn judge<'a>(&self, listeners: &'a [facts::Listener], reader: &mut Reader<'_>) -> Vec<Judged<'a>> {
        listeners.iter().zip(0u16..).map(|(fact, index)| listener::judge(self, fact, index, reader)).collect()
    }

    /// Where one of its listeners stands.
    fn place(&self, index: u16) -> Place {
        let ObjectRef { kind, namespace, name } = self.object;
        let set = (*kind == Kind::ListenerSet).then(|| (self.meta.created, namespace.clone(), name.clone()));
        Place { set, index }
    }

    /// A condition of the object's generation.
    fn condition(
        &self,
        kind: &'static str,
        status: ConditionStatus,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Condition {
        Condition {
            kind,
            status,
            reason: reason.into(),
            message: message.into(),
            observed_generation: self.meta.generation,
        }
    }
}

/// Judges one Gateway. `None` when it does not exist. `judge` says whether parameters can be used.
pub fn unit(id: ObjectId, reader: &mut Reader<'_>, judge: Judge) -> Option<GatewayOutput> {
    let gateway = reader.gateway(id)?;
    let object = reader.object(id);
    let fleet: Arc<str> = format!("{}/{}", object.namespace, object.name).into();
    if !is_ours(gateway, reader) {
        return Some(GatewayOutput::empty(object, fleet, false));
    }
    let in_cluster = reader.settings().infrastructure == Infrastructure::Kubernetes;
    let sets = sets::of(gateway, &object, reader);
    if let Some(finding) = unsupported_address(gateway) {
        return Some(refused(gateway, object, fleet, sets, finding, in_cluster, reader));
    }
    let usable = parameters::of_gateway(gateway, reader, judge).and_then(|parameters| {
        let sinks = if in_cluster { infra::metric_sinks(&parameters, reader)? } else { [].into() };
        Ok((parameters, sinks))
    });
    // Without usable parameters nothing of the infrastructure changes, but what runs goes on serving, and goes on
    // following its listeners and routes: a typing error in one place must not stop traffic.
    let (parameters, sinks, unusable) = match usable {
        Ok((parameters, sinks)) => (parameters, sinks, None),
        Err(finding) => (parameters::Parameters::defaults(), [].into(), Some(finding)),
    };
    let owner = Owner { object: &object, meta: &gateway.meta, prefix: &fleet };
    let mut judged = owner.judge(&gateway.listeners, reader);
    for set in &sets {
        judged.extend(set.owner().judge(set.listeners(), reader));
    }
    let frontend = frontend::of_gateway(gateway, reader);
    frontend.mark(&mut judged);
    conflict::mark(&mut judged, reader);
    let client_verdicts = clients::cover(gateway.meta.id, &mut judged, reader);
    let (mode, unknown_mode) = Misdirected::of(gateway, reader);
    let overlapping = overlap::mark(&mut judged, mode, reader);
    let doors = misdirected::doors(&judged, mode);
    let listeners = attach_listeners(gateway, &object, (&judged, &doors), reader);
    let sockets = socket::group(gateway, (&judged, &doors, mode), &parameters, reader);
    let wish = in_cluster.then(|| match unusable {
        Some(_) => infra::on_hold(gateway, &object, reader).into(),
        None => infra::wish(gateway, &object, &judged, &parameters, sinks, reader),
    });
    let secrets = served_secrets(&judged);
    let (mut judged, mut listeners) = (judged.into_iter(), listeners.into_iter());
    let own = gateway.listeners.len();
    let mut status = conditions(&owner, judged.by_ref().take(own).collect());
    let own = listeners.by_ref().take(own).collect();
    let mut outputs: Vec<ListenerSetOutput> = (sets.into_iter())
        .map(|set| {
            let count = set.listeners().len();
            set.output(judged.by_ref().take(count).collect(), listeners.by_ref().take(count).collect())
        })
        .collect();
    let (client_side, unresolved) = client_side::of_gateway(gateway, &object, &parameters, reader);
    resolved_refs(gateway, &owner, frontend.unresolved.into_iter().chain(unresolved).collect(), &mut status);
    if frontend.insecure {
        insecure(&owner, &mut status);
    }
    shared_connections(&owner, overlapping, unknown_mode, &mut status);
    if let Some(finding) = unusable {
        for set in &mut outputs {
            set.parent_is_not_accepted(&object);
        }
        not_accepted(&object, gateway.meta.generation, finding, &mut status);
    }
    status.attached_sets = sets::count(&outputs);
    outputs.sort_unstable_by_key(|set| set.id);
    Some(GatewayOutput {
        status,
        object,
        managed: true,
        served: true,
        fleet,
        listeners: own,
        sets: outputs.into(),
        sockets,
        secrets,
        client_side,
        client_verdicts,
        ready_listener: in_cluster.then(|| parameters.bind_address().0.into()),
        wish,
    })
}

/// Adds what there is to say of connections on which clients may send requests for several listeners.
fn shared_connections(
    owner: &Owner<'_>,
    overlapping: Option<crate::Finding>,
    unknown_mode: Option<crate::Finding>,
    status: &mut GatewayConditions,
) {
    status.conditions.extend(overlapping.map(|finding| {
        let message = finding.message.to_string();
        owner.condition(OVERLAPPING_TLS, ConditionStatus::True, finding.reason, message)
    }));
    status.problems.extend(unknown_mode.map(|finding| ir::Problem {
        severity: ir::Severity::Warning,
        ..crate::status::problem(owner.object, "", finding)
    }));
}

/// What SDS serves for listeners that are ready, ascending, each once.
fn served_secrets(judged: &[Judged<'_>]) -> Box<[SecretKey]> {
    let ready = || judged.iter().filter(|listener| listener.ready());
    let certificates = ready().flat_map(|j| j.certificates.iter().map(|c| SecretKey::Certificate(c.id)));
    let authorities = ready().filter_map(|j| j.client.as_ref()?.authorities);
    let mut keys: Vec<SecretKey> = certificates.chain(authorities).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into()
}

impl GatewayOutput {
    fn empty(object: ObjectRef, fleet: Arc<str>, managed: bool) -> Self {
        GatewayOutput {
            object,
            managed,
            served: false,
            fleet,
            listeners: [].into(),
            sets: [].into(),
            sockets: [].into(),
            secrets: [].into(),
            client_side: ClientSide::default(),
            client_verdicts: [].into(),
            ready_listener: None,
            wish: None,
            status: GatewayConditions::default(),
        }
    }

    /// One of its ListenerSets.
    pub fn set(&self, id: ObjectId) -> Option<&ListenerSetOutput> {
        let at = self.sets.binary_search_by_key(&id, |set| set.id).ok()?;
        self.sets.get(at)
    }

    /// All listeners: its own and those of its ListenerSets.
    pub fn all_listeners(&self) -> impl Iterator<Item = &AttachListener> {
        self.listeners.iter().chain(self.sets.iter().flat_map(|set| set.listeners.iter()))
    }
}

/// The output of a Gateway that is ours and cannot be accepted.
fn refused(
    gateway: &facts::Gateway,
    object: ObjectRef,
    fleet: Arc<str>,
    sets: Vec<sets::Set<'_>>,
    finding: crate::Finding,
    in_cluster: bool,
    reader: &mut Reader<'_>,
) -> GatewayOutput {
    let wish = in_cluster.then(|| infra::on_hold(gateway, &object, reader).into());
    let mut output = GatewayOutput::empty(object, fleet, true);
    output.wish = wish;
    output.status.generation = gateway.meta.generation;
    let mut outputs: Vec<ListenerSetOutput> =
        sets.into_iter().map(|set| set.without_parent(&output.object)).collect();
    outputs.sort_unstable_by_key(|set| set.id);
    output.sets = outputs.into();
    not_accepted(&output.object, gateway.meta.generation, finding, &mut output.status);
    output
}

/// Says why a Gateway or ListenerSet is not accepted, in place of what its listeners gave.
fn not_accepted(
    object: &ObjectRef,
    generation: i64,
    finding: crate::Finding,
    status: &mut GatewayConditions,
) {
    status.conditions.retain(|condition| condition.kind != "Accepted");
    let accepted = Condition {
        kind: "Accepted",
        status: ConditionStatus::False,
        reason: finding.reason.into(),
        message: finding.message.to_string(),
        observed_generation: generation,
    };
    status.conditions.insert(0, accepted);
    status.problems.push(crate::status::problem(object, "Accepted", finding));
}

/// Says whether the references of `spec.tls` resolve, when it is there.
fn resolved_refs(
    gateway: &facts::Gateway,
    owner: &Owner<'_>,
    findings: Vec<crate::Finding>,
    status: &mut GatewayConditions,
) {
    const KIND: &str = "ResolvedRefs";
    if gateway.tls.is_none() {
        return;
    }
    status.conditions.push(match findings.last() {
        None => owner.condition(KIND, ConditionStatus::True, KIND, "All references of spec.tls resolve"),
        Some(last) => {
            let messages: Vec<&str> = findings.iter().map(|finding| &*finding.message).collect();
            owner.condition(KIND, ConditionStatus::False, last.reason, messages.join("; "))
        }
    });
    let problem = |finding| crate::status::problem(owner.object, KIND, finding);
    status.problems.extend(findings.into_iter().map(problem));
}

/// Says that clients get in whatever certificate they show (GEP-91).
fn insecure(owner: &Owner<'_>, status: &mut GatewayConditions) {
    const KIND: &str = "InsecureFrontendValidationMode";
    let message = "spec.tls.frontend has mode AllowInsecureFallback: clients without a valid certificate are let in, \
                   and only backends can turn them away";
    status.conditions.push(owner.condition(KIND, ConditionStatus::True, "ConfigurationChanged", message));
    status.problems.push(ir::Problem {
        severity: ir::Severity::Warning,
        ..crate::status::problem(
            owner.object,
            KIND,
            crate::Finding::new("spec.tls.frontend", "ConfigurationChanged", message),
        )
    });
}

/// True when the Gateway's class names our controller. In standalone mode a class that does not exist counts as ours.
fn is_ours(gateway: &facts::Gateway, reader: &mut Reader<'_>) -> bool {
    let settings = reader.settings();
    match reader.gateway_class(gateway.class) {
        Some(class) => class.controller_name == settings.controller_name,
        None => settings.implicit_gateway_class,
    }
}

fn unsupported_address(gateway: &facts::Gateway) -> Option<crate::Finding> {
    let (i, facts::Address { kind, .. }) = gateway
        .addresses
        .iter()
        .enumerate()
        .find(|(_, address)| !matches!(&*address.kind, "IPAddress" | "Hostname"))?;
    Some(crate::Finding::new(
        format!("spec.addresses[{i}].type"),
        "UnsupportedAddress",
        format!("addresses of type {kind} are not supported; use IPAddress or Hostname"),
    ))
}

fn attach_listeners(
    gateway: &facts::Gateway,
    object: &ObjectRef,
    (judged, doors): (&[Judged<'_>], &[Door]),
    reader: &Reader<'_>,
) -> Vec<AttachListener> {
    let mut narrower = siblings::narrower(judged, reader);
    let http3 = clients::http3_ports(judged);
    (judged.iter().zip(doors).zip(&mut narrower))
        .map(|((own, door), narrower)| {
            let listener = own.fact;
            let by_host = matches!(own.protocol, listener::Protocol::Http | listener::Protocol::Https);
            AttachListener {
                id: own.id,
                name: listener.name.clone(),
                place: own.place.clone(),
                port: listener.port,
                hostname: listener.hostname,
                ready: own.ready(),
                tls: own.protocol == listener::Protocol::Https,
                terminates: !own.certificates.is_empty(),
                kinds: own.supported_kinds.clone(),
                namespaces: listener.namespaces.clone(),
                narrower: std::mem::take(narrower).into(),
                by_name: misdirected::by_name(own),
                table: Some(judged[door.table].id).filter(|_| by_host && own.ready()),
                guard: door.guard,
                client: own.client.as_ref().map(|asked| asked.validation.clone()),
                on_routes: clients::on_routes(own, &http3, reader),
                xds_name: own.xds_name.clone(),
                metadata: Metadata {
                    object: object.clone(),
                    section: Some(listener.name.clone()),
                    annotations: gateway.meta.annotations.clone(),
                },
            }
        })
        .collect()
}

/// Conditions of a Gateway, from its own listeners.
fn conditions(owner: &Owner<'_>, judged: Vec<Judged<'_>>) -> GatewayConditions {
    let rejected: Vec<String> =
        judged.iter().filter(|j| !j.accepted()).map(|j| j.fact.name.to_string()).collect();
    let accepted = match (rejected.len(), judged.len()) {
        (0, _) => owner.condition("Accepted", ConditionStatus::True, "Accepted", "The Gateway is accepted"),
        (bad, all) if bad == all => owner.condition(
            "Accepted",
            ConditionStatus::False,
            "ListenersNotValid",
            "No listener is valid; see the conditions of the listeners",
        ),
        _ => owner.condition(
            "Accepted",
            ConditionStatus::True,
            "ListenersNotValid",
            format!("Some listeners are not valid: {}", rejected.join(", ")),
        ),
    };
    let mut status = of_listeners(owner, judged);
    status.conditions.push(accepted);
    status
}

/// Conditions of listeners, with the problems behind those that do not hold.
fn of_listeners(owner: &Owner<'_>, judged: Vec<Judged<'_>>) -> GatewayConditions {
    let object = owner.object;
    let mut problems = Vec::new();
    let listeners = (judged.into_iter().enumerate())
        .map(|(i, j)| {
            let (conditions, found) = j.conditions(owner.meta.generation);
            problems.extend(found.into_iter().map(|(condition, finding)| ir::Problem {
                object: object.into(),
                field: format!("spec.listeners[{i}]{}", finding.field),
                // Listeners that overlap work.
                severity: match condition {
                    OVERLAPPING_TLS => ir::Severity::Warning,
                    _ => ir::Severity::Error,
                },
                condition: condition.to_owned(),
                reason: finding.reason.to_owned(),
                message: finding.message.into_owned(),
            }));
            problems.extend(weaknesses(i, &j, object));
            ListenerConditions {
                id: j.id,
                name: j.fact.name.clone(),
                supported_kinds: j.supported_kinds,
                conditions,
            }
        })
        .collect();
    GatewayConditions {
        generation: owner.meta.generation,
        listeners,
        problems,
        ..GatewayConditions::default()
    }
}

/// Warnings about certificates that a listener serves although clients may refuse them. No condition tells of them:
/// the listener works.
fn weaknesses<'a>(
    index: usize,
    judged: &'a Judged<'_>,
    object: &'a ObjectRef,
) -> impl Iterator<Item = ir::Problem> + 'a {
    judged.certificates.iter().filter_map(move |certificate| {
        Some(ir::Problem {
            object: object.into(),
            field: format!("spec.listeners[{index}].tls.certificateRefs[{}]", certificate.reference),
            severity: ir::Severity::Warning,
            condition: String::new(),
            reason: "WeakCertificate".to_owned(),
            message: certificate.weakness.clone()?,
        })
    })
}
