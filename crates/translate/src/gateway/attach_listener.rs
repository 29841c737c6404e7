//! Listeners as routes see them.

use std::sync::Arc;

use ir::{Metadata, downstream::Http1, tls::ClientValidation};
use rustc_hash::FxHashMap;
use store::{NameId, ObjectId, facts::AllowedNamespaces};

use super::{
    Fleet, Guard, clients,
    listener::{self, Judged},
    member::Member,
    misdirected::{self, Door},
    parameters::Parameters,
    siblings,
};
use crate::{
    ListenerId, Reader, TableKey,
    policy::{self, Scope},
    shared::Merging,
};

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
    /// What policies can be for that have a say on it, the most specific one first.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        policy::around_listener((self.id.owner, &self.name), self.gateway)
    }

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

/// The listeners of a fleet as routes see them, in the order of `judged`.
pub(super) fn attach_listeners(
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
