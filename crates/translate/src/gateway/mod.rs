//! Stage 1: the listeners of Gateways, judged and grouped into sockets.
//!
//! What is judged together is what one fleet of proxies serves: a Gateway, or all Gateways of a GatewayClass that merges
//! them. Merged ones are parts of their fleet, as ListenerSets are parts of their Gateway.

mod attach_listener;
mod certificates;
mod client_side;
mod clients;
mod closed;
mod conditions;
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
    Condition, ConditionStatus, Kind, ObjectRef,
    infra::{HostProxy, Wish},
    traffic::Routing,
};
use store::{Infrastructure, ObjectId, facts};

use self::{
    attach_listener::attach_listeners,
    member::{Member, Part},
    parameters::Parameters,
};
use crate::{
    Finding, FleetTelemetry, Reader, backend_tls::ClientSide, secret::SecretKey, shared::Merging, telemetry,
};
pub use attach_listener::{Age, AttachListener, OnRoutes, Place};
pub use clients::{ClientVerdict, NoHttp3};
pub use conditions::{GatewayConditions, ListenerConditions};
pub use listener::Judged;
pub use misdirected::Guard;
pub use parameters::{Judge, said};
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
    /// What its proxies are told when they start; `None` in a cluster, where the wish tells.
    pub host: Option<Arc<HostProxy>>,
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
    // They have a say in where metrics go, also where that makes parameters unusable.
    let mut policies = Vec::new();
    let mut named = None;
    let usable = parameters::of_fleet(fleet.class, own, reader, judge).and_then(|parameters| {
        named = parameters.proxies.first().copied();
        let sinks = infra::metric_sinks(&parameters, &mut policies, reader)?;
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
    let (mut telemetry, silent) = self::telemetry(fleet, &members, &parameters, reader);
    if let Some(proxy) = named {
        telemetry.add_policies(&policies, &reader.object(proxy));
    }
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
    let host = (!in_cluster).then(|| infra::host_proxy(&parameters, sinks.clone()));
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
        host,
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
            host: None,
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

/// True when a class names our controller. In standalone mode one that does not exist counts as ours.
fn is_ours(class: ObjectId, reader: &mut Reader<'_>) -> bool {
    let settings = reader.settings();
    match reader.gateway_class(class) {
        Some(class) => class.controller_name == settings.controller_name,
        None => settings.implicit_gateway_class,
    }
}
