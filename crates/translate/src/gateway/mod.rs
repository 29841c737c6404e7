//! Stage 1: the listeners of Gateways, judged and grouped into sockets.
//!
//! What is judged together is what one fleet of proxies serves: a Gateway, or all Gateways of a GatewayClass that merges
//! them. Merged ones are parts of their fleet, as ListenerSets are parts of their Gateway.

mod certificates;
mod client_side;
mod clients;
mod closed;
mod conflict;
pub(crate) mod frontend;
mod infra;
mod listener;
mod member;
mod misdirected;
mod overlap;
pub(crate) mod parameters;
mod sets;
mod siblings;
mod socket;

use std::sync::Arc;

use ir::{
    Condition, ConditionStatus, Kind, Metadata, ObjectRef,
    downstream::Http1,
    infra::{HostMetrics, Wish},
    tls::ClientValidation,
    traffic::Routing,
};
use rustc_hash::FxHashMap;
use store::{
    Infrastructure, NameId, ObjectId,
    facts::{self, AllowedNamespaces},
};

use self::{
    listener::OVERLAPPING_TLS,
    member::{Member, Part},
    misdirected::Door,
    parameters::Parameters,
};
use crate::{
    Finding, FleetTelemetry, ListenerId, Reader, TableKey, backend_tls::ClientSide, secret::SecretKey,
    shared::Merging, telemetry,
};
pub use clients::{ClientVerdict, NoHttp3};
pub use listener::Judged;
pub use misdirected::Guard;
pub use parameters::Judge;
pub use sets::ListenerSetOutput;
pub use socket::{Chain, Socket};

/// What the gateway stage says of one fleet of proxies and of the Gateways that it serves. Parts that different readers
/// look at are kept apart, so that a rotated certificate wakes no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetOutput {
    /// Its name: `namespace/name` of the Gateway, or the name of the class whose Gateways are merged.
    pub name: Arc<str>,
    /// The Gateways, ascending by id. None for a class whose Gateways are not merged, and for a Gateway that is merged
    /// with the others of its class: then the other of the two has them.
    pub gateways: Box<[GatewayOutput]>,
    /// ListenerSets that name one of them as their parent, ascending by id.
    pub sets: Box<[ListenerSetOutput]>,
    /// True when proxies serve it: some Gateway is ours and acceptable as a whole.
    pub served: bool,
    /// What proxies listen on.
    pub sockets: Box<[Socket]>,
    /// What SDS has to serve for listeners, ascending: certificates, and authorities of clients.
    pub secrets: Box<[SecretKey]>,
    /// How its proxies reach Services, where no policy says otherwise.
    pub routing: Routing,
    /// What its proxies tell of their traffic, and to whom.
    pub telemetry: FleetTelemetry,
    /// What its Gateway says of clusters that rules share; `None` where they share none.
    pub merging: Option<Arc<Merging>>,
    /// Address of the readiness listener; `None` where nobody asks for readiness over the network.
    pub ready_listener: Option<Arc<str>>,
    /// What its proxies need of a cluster; `None` where they are not in one.
    pub wish: Option<Arc<Wish>>,
    /// What its proxies are told of metrics when they start; `None` in a cluster, where the wish tells.
    pub metrics: Option<Arc<HostMetrics>>,
}

/// What the gateway stage says of one Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayOutput {
    /// Its id.
    pub id: ObjectId,
    /// The Gateway.
    pub object: ObjectRef,
    /// True when its class is ours. Everything else is empty when it is not.
    pub managed: bool,
    /// Its own listeners as routes see them, in the order of the spec.
    pub listeners: Arc<[AttachListener]>,
    /// The proxies' own side of TLS from it to backends.
    pub client_side: ClientSide,
    /// What became of ClientTrafficPolicies.
    pub client_verdicts: Box<[ClientVerdict]>,
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
    /// The Gateway that it is part of, by itself or through a ListenerSet.
    pub gateway: ObjectId,
    /// Name.
    pub name: Arc<str>,
    /// Where it stands among the listeners of its fleet.
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
    /// The route configuration that takes its routes; `None` while it is not ready, and for protocols without route
    /// configurations.
    pub table: Option<TableKey>,
    /// Which requests for other listeners' hosts that route configuration answers with 421.
    pub guard: Guard,
    /// Where the port is crowded, the names that its certificates are for: besides the hosts within its own hostname,
    /// requests for these alone are refused. `None` where those for all other listeners' hosts are.
    pub reach: Option<Box<[Arc<str>]>>,
    /// What clients must show when they connect; `None` when they are not asked for a certificate.
    pub client: Option<Arc<ClientValidation>>,
    /// It is not served, and its hosts are closed to clients that have not shown what it asks for: to all, when it
    /// has nothing to check certificates by.
    pub closed: bool,
    /// What its ClientTrafficPolicy and the EnvoyProxy mean for routes.
    pub on_routes: OnRoutes,
    /// Its routes are tried in the order in which they are written, whatever they match.
    pub keeps_order: bool,
    /// Name in xDS: `<namespace>/<gateway>/<listener>`, for a listener of a ListenerSet
    /// `<namespace>/<gateway>/<namespace>/<set>/<listener>`.
    pub xds_name: Arc<str>,
    /// What xDS resources made for it say about their origin.
    pub metadata: Metadata,
}

impl AttachListener {
    /// The part that its virtual hosts and its route configuration are made from.
    pub fn shown(&self) -> impl PartialEq + use<'_> {
        let protocol = (self.port, self.tls, self.by_name, self.closed);
        let table = (self.table, protocol, self.hostname, self.ready, self.guard, self.keeps_order);
        (table, &self.reach, &self.client, &self.on_routes, &self.place, &self.xds_name, &self.metadata)
    }
}

/// What a ClientTrafficPolicy and the EnvoyProxy mean for the routes of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnRoutes {
    /// The policy cannot be applied: all requests are answered with status 500, and connections without HTTP are closed.
    pub broken: bool,
    /// It says when streams without traffic end.
    pub ends_idle_streams: bool,
    /// HTTP/3 is offered on the port.
    pub http3: bool,
    /// Clients are not told of local rate limits, where a rule of the limits does not say otherwise.
    pub quiet_limits: bool,
    /// Each virtual host has statistics of its own.
    pub counted: bool,
    /// The host of HTTP/1.0 requests that name none is left to its routes: without exactly one, it is as broken.
    pub wants_host: bool,
    /// HTTP/1, which is spoken to backends likewise.
    pub http1: Option<Arc<Http1>>,
    /// Its rules may share clusters with those of other listeners.
    pub merging: Option<Arc<Merging>>,
}

/// Where a listener stands in the list that the listeners of a fleet form: Gateway after Gateway, and of each its own
/// before those of ListenerSets (Gateway API, `ListenerSetSpec.listeners`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The Gateway among those that are merged; `None` where a Gateway has proxies of its own.
    pub gateway: Option<Age>,
    /// The ListenerSet; `None`, which is less than any, for the Gateway's own.
    pub set: Option<Age>,
    /// Index in the list of its owner.
    pub index: u16,
}

/// What objects go in order by: creation in seconds since 1970, then namespace and name.
pub type Age = (i64, Arc<str>, Arc<str>);

/// Who has listeners: a Gateway, or a ListenerSet that is attached to it.
#[derive(Debug)]
struct Owner<'a> {
    object: &'a ObjectRef,
    meta: &'a facts::Meta,
    /// How names of its listeners in xDS begin.
    prefix: &'a str,
    /// What it has from the Gateway.
    part: &'a Part,
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
        Place { gateway: self.part.age.clone(), set, index }
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

/// Judges the Gateways of one fleet: a Gateway, or all of a GatewayClass. `None` when there is no such object. `judge`
/// says whether parameters can be used.
pub fn unit(id: ObjectId, reader: &mut Reader<'_>, judge: Judge) -> Option<FleetOutput> {
    let object = reader.object(id);
    let merged = object.kind == Kind::GatewayClass;
    let (fleet, gateways) = if merged {
        let gateways = reader.gateways_of(id);
        if gateways.is_empty() && reader.gateway_class(id).is_none() {
            return None;
        }
        (Fleet { id, name: object.name.clone(), class: id, merged }, gateways)
    } else {
        let gateway = reader.gateway(id)?;
        let name = format!("{}/{}", object.namespace, object.name).into();
        (Fleet { id, name, class: gateway.class, merged }, vec![gateway])
    };
    if !is_ours(fleet.class, reader) {
        let output = FleetOutput::empty(&fleet);
        let foreign = (!merged).then(|| GatewayOutput::empty(id, object, false));
        return Some(FleetOutput { gateways: foreign.into_iter().collect(), ..output });
    }
    if parameters::merge_gateways(fleet.class, reader) != merged || gateways.is_empty() {
        return Some(FleetOutput::empty(&fleet));
    }
    Some(judged(&fleet, gateways, reader, judge))
}

/// A fleet of proxies by what it serves.
#[derive(Debug)]
struct Fleet {
    /// The Gateway or GatewayClass.
    id: ObjectId,
    name: Arc<str>,
    class: ObjectId,
    /// True when all Gateways of the class share it.
    merged: bool,
}

/// Judges the Gateways of a fleet, in the order of precedence.
fn judged<'a>(
    fleet: &Fleet,
    gateways: Vec<&'a facts::Gateway>,
    reader: &mut Reader<'a>,
    judge: Judge,
) -> FleetOutput {
    let in_cluster = reader.settings().infrastructure == Infrastructure::Kubernetes;
    // Merged Gateways have no say in how their proxies run.
    let own = gateways.first().filter(|_| !fleet.merged).and_then(|gateway| gateway.parameters.as_ref());
    let usable = parameters::of_fleet(fleet.class, own, reader, judge).and_then(|parameters| {
        let sinks = infra::metric_sinks(&parameters, reader)?;
        Ok((parameters, sinks))
    });
    let members: Vec<Member<'_>> =
        gateways.into_iter().map(|gateway| Member::new(fleet, gateway, reader)).collect();
    let served = members.iter().any(Member::is_served);
    // Without usable parameters nothing of the infrastructure changes, but what runs goes on serving by those of the
    // class, and goes on following its listeners and routes: a typing error in one place must not stop traffic.
    let (parameters, sinks, unusable) = match usable {
        Ok((parameters, sinks)) => (parameters, sinks, None),
        Err(finding) => {
            let of_class = own.and_then(|_| parameters::of_fleet(fleet.class, None, reader, judge).ok());
            (of_class.unwrap_or_else(Parameters::defaults), [].into(), Some(finding))
        }
    };
    let (telemetry, silent) = self::telemetry(fleet, &members, &parameters, reader);
    let mut judged: Vec<Judged<'_>> = Vec::new();
    for member in &members {
        judged.extend(member.judge(reader));
    }
    conflict::mark(&mut judged, reader);
    let mut verdicts = clients::cover(&mut judged, reader);
    closed::mark(&mut judged, reader);
    let mut overlapping = overlap::mark(&mut judged, reader);
    let doors = misdirected::doors(&judged);
    let merging = merging(fleet, &members, &parameters, reader);
    let counted = telemetry.statistics.virtual_hosts;
    let of_routes = (&parameters, merging.as_ref(), counted);
    let listeners = attach_listeners(fleet, &members, (&judged, &doors), of_routes, reader);
    let of_listeners = &telemetry.listeners;
    let sockets = socket::group(fleet, &members, (&judged, &doors), (&parameters, of_listeners), reader);
    let metrics = (!in_cluster).then(|| infra::host_metrics(&parameters, sinks.clone()));
    let wish = in_cluster.then(|| match unusable {
        None if served => infra::wish(fleet, &members, &judged, &parameters, sinks, reader),
        _ => infra::on_hold(fleet, reader).into(),
    });
    let secrets = served_secrets(&judged);
    let (mut judged, mut listeners) = (judged.into_iter(), listeners.into_iter());
    let (mut gateways, mut sets) = (Vec::with_capacity(members.len()), Vec::new());
    for member in members {
        let count = member.listeners();
        let (own, attached) = (judged.by_ref().take(count), listeners.by_ref().take(count));
        let overlapping = overlapping.remove(&member.part.id);
        let verdicts = verdicts.remove(&member.part.id).unwrap_or_default().into();
        let findings = (unusable.clone().or_else(|| silent.clone()), overlapping, verdicts);
        gateways.push(member.output((own, attached), findings, &parameters, &mut sets, reader));
    }
    gateways.sort_unstable_by_key(|gateway| gateway.id);
    sets.sort_unstable_by_key(|set| set.id);
    FleetOutput {
        name: fleet.name.clone(),
        gateways: gateways.into(),
        sets: sets.into(),
        served,
        sockets,
        secrets,
        routing: parameters.routing(),
        telemetry,
        merging,
        ready_listener: (in_cluster && served).then(|| parameters.bind_address().0.into()),
        wish,
        metrics,
    }
}

/// Telemetry of a fleet; what it says cannot be used keeps nothing else from being served.
fn telemetry(
    fleet: &Fleet,
    members: &[Member<'_>],
    parameters: &Parameters,
    reader: &mut Reader<'_>,
) -> (FleetTelemetry, Option<Finding>) {
    let service = || match members.first().filter(|_| !fleet.merged) {
        Some(Member { object, .. }) => format!("{}.{}", object.name, object.namespace).into(),
        None => fleet.name.clone(),
    };
    let (mut telemetry, finding) = telemetry::of_fleet(service, parameters, reader);
    // Collectors of merged Gateways are shown the certificate of the first.
    if let Some(first) = members.first().filter(|_| telemetry.uses_tls()) {
        telemetry.client_side = client_side::of_gateway(first.gateway, &first.object, parameters, reader).0;
    }
    (telemetry, finding)
}

/// What the Gateway of a fleet says of clusters that rules share. Merged Gateways share none: their settings differ.
fn merging(
    fleet: &Fleet,
    members: &[Member<'_>],
    parameters: &Parameters,
    reader: &mut Reader<'_>,
) -> Option<Arc<Merging>> {
    let gateway = members.first().filter(|_| !fleet.merged)?.part.id;
    let merging = parameters.merging(fleet.class, reader)?;
    Some(Arc::new(Merging { http1: clients::http1_of_gateway(gateway, reader), ..merging }))
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

impl FleetOutput {
    fn empty(fleet: &Fleet) -> Self {
        FleetOutput {
            name: fleet.name.clone(),
            gateways: [].into(),
            sets: [].into(),
            served: false,
            sockets: [].into(),
            secrets: [].into(),
            routing: Routing::default(),
            telemetry: FleetTelemetry::default(),
            merging: None,
            ready_listener: None,
            wish: None,
            metrics: None,
        }
    }

    /// True when some Gateway of it is ours.
    pub fn managed(&self) -> bool {
        self.gateways.iter().any(|gateway| gateway.managed)
    }

    /// One of its Gateways.
    pub fn gateway(&self, id: ObjectId) -> Option<&GatewayOutput> {
        let at = self.gateways.binary_search_by_key(&id, |gateway| gateway.id).ok()?;
        self.gateways.get(at)
    }

    /// One of the ListenerSets.
    pub fn set(&self, id: ObjectId) -> Option<&ListenerSetOutput> {
        let at = self.sets.binary_search_by_key(&id, |set| set.id).ok()?;
        self.sets.get(at)
    }

    /// The listeners of a Gateway or ListenerSet.
    pub fn listeners_of(&self, owner: ObjectId) -> &[AttachListener] {
        let own = self.gateway(owner).map(|gateway| &gateway.listeners);
        own.or_else(|| self.set(owner).map(|set| &set.listeners)).map_or(&[], |listeners| listeners)
    }

    /// All listeners: those of Gateways and of their ListenerSets.
    pub fn all_listeners(&self) -> impl Iterator<Item = &AttachListener> {
        let own = self.gateways.iter().flat_map(|gateway| gateway.listeners.iter());
        own.chain(self.sets.iter().flat_map(|set| set.listeners.iter()))
    }
}

impl GatewayOutput {
    fn empty(id: ObjectId, object: ObjectRef, managed: bool) -> Self {
        GatewayOutput {
            id,
            object,
            managed,
            listeners: [].into(),
            client_side: ClientSide::default(),
            client_verdicts: [].into(),
            status: GatewayConditions::default(),
        }
    }
}

/// Says why a Gateway or ListenerSet is not accepted, in place of what its listeners gave.
fn not_accepted(object: &ObjectRef, generation: i64, finding: Finding, status: &mut GatewayConditions) {
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
    findings: Vec<Finding>,
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
            Finding::new("spec.tls.frontend", "ConfigurationChanged", message),
        )
    });
}

/// True when a class names our controller. In standalone mode one that does not exist counts as ours.
fn is_ours(class: ObjectId, reader: &mut Reader<'_>) -> bool {
    let settings = reader.settings();
    match reader.gateway_class(class) {
        Some(class) => class.controller_name == settings.controller_name,
        None => settings.implicit_gateway_class,
    }
}

fn attach_listeners(
    fleet: &Fleet,
    members: &[Member<'_>],
    (judged, doors): (&[Judged<'_>], &[Door]),
    (parameters, merging, counted): (&Parameters, Option<&Arc<Merging>>, bool),
    reader: &Reader<'_>,
) -> Vec<AttachListener> {
    let members: FxHashMap<ObjectId, &Member<'_>> =
        members.iter().map(|member| (member.part.id, member)).collect();
    let mut narrower = siblings::narrower(judged, reader);
    let http3 = clients::http3_ports(judged);
    (judged.iter().zip(doors).zip(&mut narrower))
        .filter_map(|((own, door), narrower)| {
            let (listener, member) = (own.fact, members.get(&own.gateway)?);
            let by_host = matches!(own.protocol, listener::Protocol::Http | listener::Protocol::Https);
            let table = TableKey { fleet: fleet.id, listener: judged[door.table].id };
            Some(AttachListener {
                id: own.id,
                gateway: own.gateway,
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
                table: Some(table).filter(|_| by_host && own.ready()),
                guard: door.guard,
                reach: door.crowded.then(|| own.names_of_certificates()),
                client: own.client.as_ref().map(|asked| asked.validation.clone()),
                closed: own.closed,
                on_routes: clients::on_routes(own, &http3, (merging, counted), reader),
                keeps_order: parameters.keeps_route_order(),
                xds_name: own.xds_name.clone(),
                metadata: Metadata {
                    object: member.object.clone(),
                    section: Some(listener.name.clone()),
                    annotations: member.gateway.meta.annotations.clone(),
                },
            })
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
