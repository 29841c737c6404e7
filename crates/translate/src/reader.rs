//! Reading facts and outputs, with a record of every read.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use engine::{Reads, Table};
use ir::{Kind, ObjectRef, listener::Transport, object::ENVOY_GATEWAY_GROUP};
use rustc_hash::FxHashMap;
use store::{
    Addresses, FactKey, NameId, ObjectId, Settings, Store,
    facts::{self, Fact, Target},
};

use crate::{
    AttachListener, AttachOutput, Finding, FleetOutput, GatewayOutput, Host, ListenerSetOutput, ParentOutput,
    RouteOutput, SharedBackend, Slot, Unserved,
    backend_tls::ClientSide,
    gateway::{ClientVerdict, Socket, parameters::INVALID_PARAMETERS},
    shared::Merging,
    telemetry::Statistics,
};

/// Everything that a unit can depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dep {
    /// A fact.
    Fact(FactKey),
    /// The listeners of a Gateway or ListenerSet as far as routes see them.
    Listeners(ObjectId),
    /// One listener as far as its virtual hosts and its route configuration show it.
    Listener(ListenerId),
    /// One socket of a fleet.
    Socket(SocketKey),
    /// The conditions of a Gateway or ListenerSet and its listeners.
    GatewayStatus(ObjectId),
    /// How a Gateway's proxies reach backends: their own side of TLS, whether by cluster IP, whether rules share clusters,
    /// and what they count of it.
    ClientSide(ObjectId),
    /// What a Gateway found about ClientTrafficPolicies.
    ClientVerdicts(ObjectId),
    /// The hostnames without wildcard of the routes on a listener.
    DefaultHost(ListenerId),
    /// Where a route is attached.
    Attached(ObjectId),
    /// The rules of a route.
    Rules(ObjectId),
    /// The clusters that a route needs.
    Plans(ObjectId),
    /// What is wrong with a route's rules and backends.
    RouteFindings(ObjectId),
    /// Routes that match the same requests as a route.
    Overlaps(ObjectId),
    /// `attachedRoutes` of the listeners of a Gateway or ListenerSet.
    AttachedRoutes(ObjectId),
    /// Routes and EnvoyProxies in which a BackendTLSPolicy has a say.
    PolicyRoutes(ObjectId),
    /// HTTP filters that the routes of a table need.
    Features(TableKey),
    /// What a policy says, by itself and merged.
    Policy(ObjectId),
    /// Where a policy acts.
    PolicyStatus(ObjectId),
    /// How policies of a kind in a Gateway relate to each other.
    Relations(Kind, ObjectId),
    /// What a route does with connections or datagrams.
    Layer4(ObjectId),
    /// Routes of connections or datagrams on a listener of a Gateway, by its index.
    Layer4Routes(ListenerId),
}

/// A listener by what it belongs to and its name there: it stays the same whichever listeners come and go beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId {
    /// The Gateway or ListenerSet.
    pub owner: ObjectId,
    /// Its name.
    pub name: NameId,
}

/// A socket of a fleet: what its proxies bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketKey {
    /// Whose proxies: the Gateway, or the GatewayClass that merges its Gateways.
    pub fleet: ObjectId,
    /// Index of the address among those that the proxies bind.
    pub address: u16,
    /// Port that is bound.
    pub port: u16,
    /// Transport.
    pub transport: Transport,
}

/// A route configuration: all plain HTTP listeners of a port share one, each HTTPS listener has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableKey {
    /// Whose proxies have it: the Gateway, or the GatewayClass that merges its Gateways.
    pub fleet: ObjectId,
    /// The listener that gives the table its name.
    pub listener: ListenerId,
}

/// A virtual host in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VirtualHostKey {
    /// The table.
    pub table: TableKey,
    /// The listener that it belongs to.
    pub listener: ListenerId,
    /// The host.
    pub host: Host,
}

/// What one route contributes to one virtual host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    /// The virtual host.
    pub virtual_host: VirtualHostKey,
    /// The route.
    pub route: ObjectId,
}

/// A cluster that a route needs, of whichever fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlanKey {
    /// The route.
    pub route: ObjectId,
    /// Index of the rule.
    pub rule: u16,
    /// Which of the rule's clusters.
    pub slot: Slot,
}

/// A cluster on the proxies of one fleet. The settings of the Gateway there have a say in it: of merged ones that of the
/// first listener that the route is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterKey {
    /// Whose proxies: the Gateway, or the GatewayClass that merges its Gateways.
    pub fleet: ObjectId,
    /// Whom it is for.
    pub of: ClusterOf,
}

/// Whom a cluster is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClusterOf {
    /// One rule of a route.
    Rule(PlanKey),
    /// All rules that share it.
    Shared(SharedBackend),
}

/// Reads facts on behalf of one unit and records what it read.
#[derive(Debug)]
pub struct Reader<'a> {
    store: &'a Store,
    reads: &'a mut Reads<Dep>,
}

impl<'a> Reader<'a> {
    /// A reader that records into `reads`.
    pub fn new(store: &'a Store, reads: &'a mut Reads<Dep>) -> Self {
        Reader { store, reads }
    }

    /// Records a read of an earlier stage's output.
    pub fn record(&mut self, dep: Dep) {
        self.reads.record(dep);
    }

    fn fact(&mut self, id: ObjectId) -> Option<&'a Fact> {
        self.reads.record(Dep::Fact(FactKey::Object(id)));
        self.store.fact(id)
    }

    /// The controller's settings.
    pub fn settings(&mut self) -> &'a Settings {
        self.reads.record(Dep::Fact(FactKey::Settings));
        self.store.settings()
    }

    /// The time that certificates are judged by; 0 when unknown. No read of its own: a Secret is touched when its
    /// certificate begins or ends to be valid.
    pub fn now(&self) -> i64 {
        self.store.now()
    }

    /// What an id stands for. Names never change, so this is no read.
    pub fn object(&self, id: ObjectId) -> ObjectRef {
        self.store.object(id).cloned().unwrap_or_else(|| ObjectRef::new(ir::Kind::Namespace, "", ""))
    }

    /// The kind of an object. It never changes, so this is no read.
    pub fn kind(&self, id: ObjectId) -> Option<ir::Kind> {
        self.store.object(id).map(|object| object.kind)
    }

    /// The text of a name. Names never change, so this is no read.
    pub fn name(&self, id: NameId) -> &'a Arc<str> {
        self.store.name(id)
    }

    /// A GatewayClass.
    pub fn gateway_class(&mut self, id: ObjectId) -> Option<&'a facts::GatewayClass> {
        match self.fact(id)? {
            Fact::GatewayClass(class) => Some(class),
            _ => None,
        }
    }

    /// A Gateway.
    pub fn gateway(&mut self, id: ObjectId) -> Option<&'a facts::Gateway> {
        match self.fact(id)? {
            Fact::Gateway(gateway) => Some(gateway),
            _ => None,
        }
    }

    /// A ListenerSet.
    pub fn listener_set(&mut self, id: ObjectId) -> Option<&'a facts::ListenerSet> {
        match self.fact(id)? {
            Fact::ListenerSet(set) => Some(set),
            _ => None,
        }
    }

    /// The ListenerSets that name a Gateway as their parent, in no order that means anything.
    pub fn listener_sets_of(&mut self, gateway: ObjectId) -> Vec<&'a facts::ListenerSet> {
        self.reads.record(Dep::Fact(FactKey::ListenerSetsOf(gateway)));
        let ids: Vec<_> = self.store.listener_sets_of(gateway).collect();
        ids.into_iter().filter_map(|id| self.listener_set(id)).collect()
    }

    /// An HTTPRoute.
    pub fn http_route(&mut self, id: ObjectId) -> Option<&'a facts::HttpRoute> {
        match self.fact(id)? {
            Fact::HttpRoute(route) => Some(route),
            _ => None,
        }
    }

    /// A GRPCRoute.
    pub fn grpc_route(&mut self, id: ObjectId) -> Option<&'a facts::GrpcRoute> {
        match self.fact(id)? {
            Fact::GrpcRoute(route) => Some(route),
            _ => None,
        }
    }

    /// A TCPRoute, TLSRoute or UDPRoute.
    pub fn layer4_route(&mut self, id: ObjectId) -> Option<&'a facts::Layer4Route> {
        match self.fact(id)? {
            Fact::TcpRoute(route) | Fact::TlsRoute(route) | Fact::UdpRoute(route) => Some(route),
            _ => None,
        }
    }

    /// A Namespace.
    pub fn namespace(&mut self, id: ObjectId) -> Option<&'a facts::Namespace> {
        match self.fact(id)? {
            Fact::Namespace(namespace) => Some(namespace),
            _ => None,
        }
    }

    /// A Service.
    pub fn service(&mut self, id: ObjectId) -> Option<&'a facts::Service> {
        match self.fact(id)? {
            Fact::Service(service) => Some(service),
            _ => None,
        }
    }

    /// A ServiceImport.
    pub fn service_import(&mut self, id: ObjectId) -> Option<&'a facts::ServiceImport> {
        match self.fact(id)? {
            Fact::ServiceImport(import) => Some(import),
            _ => None,
        }
    }

    /// A Secret.
    pub fn secret(&mut self, id: ObjectId) -> Option<&'a facts::Secret> {
        match self.fact(id)? {
            Fact::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    /// A ConfigMap.
    pub fn config_map(&mut self, id: ObjectId) -> Option<&'a facts::ConfigMap> {
        match self.fact(id)? {
            Fact::ConfigMap(map) => Some(map),
            _ => None,
        }
    }

    /// A ClusterTrustBundle.
    pub fn cluster_trust_bundle(&mut self, id: ObjectId) -> Option<&'a facts::ClusterTrustBundle> {
        match self.fact(id)? {
            Fact::ClusterTrustBundle(bundle) => Some(bundle),
            _ => None,
        }
    }

    /// A BackendTLSPolicy.
    pub fn backend_tls_policy(&mut self, id: ObjectId) -> Option<&'a facts::BackendTlsPolicy> {
        match self.fact(id)? {
            Fact::BackendTlsPolicy(policy) => Some(policy),
            _ => None,
        }
    }

    /// The BackendTLSPolicies that target a backend, the oldest first, among those of one age by name.
    pub fn backend_tls_policies_of(&mut self, backend: ObjectId) -> Vec<&'a facts::BackendTlsPolicy> {
        self.reads.record(Dep::Fact(FactKey::BackendTlsPoliciesOf(backend)));
        let ids: Vec<_> = self.store.backend_tls_policies_of(backend).collect();
        let mut policies: Vec<_> = ids.into_iter().filter_map(|id| self.backend_tls_policy(id)).collect();
        policies.sort_by_cached_key(|policy| (policy.meta.created, self.object(policy.meta.id)));
        policies
    }

    /// A Backend.
    pub fn backend(&mut self, id: ObjectId) -> Option<&'a facts::Backend> {
        match self.fact(id)? {
            Fact::Backend(backend) => Some(backend),
            _ => None,
        }
    }

    /// The labels of what can be a backend: a Service, ServiceImport or Backend.
    pub(crate) fn backend_labels(&mut self, id: ObjectId) -> Option<&'a facts::Labels> {
        match self.fact(id)? {
            Fact::Service(service) => Some(&service.labels),
            Fact::ServiceImport(import) => Some(&import.labels),
            Fact::Backend(backend) => Some(&backend.labels),
            _ => None,
        }
    }

    /// An EnvoyProxy.
    pub fn envoy_proxy(&mut self, id: ObjectId) -> Option<&'a facts::EnvoyProxy> {
        match self.fact(id)? {
            Fact::EnvoyProxy(proxy) => Some(proxy),
            _ => None,
        }
    }

    /// The GatewayClasses and Gateways that refer to an EnvoyProxy, in no order that means anything.
    pub fn referrers_of(&mut self, proxy: ObjectId) -> Vec<ObjectId> {
        self.reads.record(Dep::Fact(FactKey::ReferrersOf(proxy)));
        self.store.referrers_of(proxy).collect()
    }

    /// A policy, of whatever kind.
    pub fn policy(&mut self, id: ObjectId) -> Option<&'a Arc<facts::Policy>> {
        match self.fact(id)? {
            Fact::Policy(policy) => Some(policy),
            _ => None,
        }
    }

    /// Policies of a kind that may be for an object, in no order that means anything. Its grants and namespaces are for
    /// the caller to judge.
    pub fn policies_on(&mut self, kind: Kind, object: ObjectId) -> Vec<&'a Arc<facts::Policy>> {
        self.reads.record(Dep::Fact(FactKey::PoliciesOn(kind, object)));
        let ids: Vec<_> = self.store.policies_on(kind, object).collect();
        ids.into_iter().filter_map(|id| self.policy(id)).collect()
    }

    /// Objects that a policy may be for, ascending.
    pub fn targets_of(&mut self, policy: ObjectId) -> Vec<ObjectId> {
        self.reads.record(Dep::Fact(FactKey::TargetsOf(policy)));
        self.store.targets_of(policy).collect()
    }

    /// What selectors of policies look at in an object. No read of its own: [`Reader::policies_on`] is touched when it
    /// changes for a policy that chooses it.
    pub fn selectable(&self, object: ObjectId) -> Option<&'a facts::Selectable> {
        self.store.selectable(object)
    }

    /// The labels of a namespace. One that nobody declared has, where namespaces are implicit, the one label that every
    /// namespace has.
    pub fn namespace_labels(
        &mut self,
        object: ObjectId,
        name: NameId,
    ) -> Option<Cow<'a, BTreeMap<Arc<str>, Arc<str>>>> {
        if let Some(namespace) = self.namespace(object) {
            return Some(Cow::Borrowed(&namespace.labels));
        }
        let implicit = self.settings().implicit_namespaces;
        let own = || BTreeMap::from([("kubernetes.io/metadata.name".into(), self.name(name).clone())]);
        implicit.then(|| Cow::Owned(own()))
    }

    /// The EndpointSlices of a Service or ServiceImport, by name.
    pub fn slices_of(&mut self, service: ObjectId) -> Vec<&'a facts::EndpointSlice> {
        self.reads.record(Dep::Fact(FactKey::SlicesOf(service)));
        let slices: Vec<_> = self.store.slices_of(service).collect();
        for slice in &slices {
            self.reads.record(Dep::Fact(FactKey::Object(slice.meta.id)));
        }
        slices
    }

    /// True when a port of a Service or ServiceImport has endpoints. Cheaper to depend on than the slices: it changes seldom.
    pub fn available(&mut self, service: ObjectId, port: &str) -> bool {
        self.reads.record(Dep::Fact(FactKey::Availability(service)));
        self.store.available(service, port)
    }

    /// What the slices of a Service or ServiceImport hold; `None` when they hold nothing.
    pub fn addresses(&mut self, service: ObjectId) -> Option<Addresses> {
        self.reads.record(Dep::Fact(FactKey::Availability(service)));
        self.store.addresses(service)
    }

    /// The infrastructure Services of the proxies of a Gateway, or of a GatewayClass that merges its Gateways.
    pub fn proxy_services_of(&mut self, owner: ObjectId) -> Vec<&'a facts::Service> {
        self.reads.record(Dep::Fact(FactKey::ProxyServiceOf(owner)));
        let ids: Vec<_> = self.store.proxy_services_of(owner).collect();
        ids.into_iter().filter_map(|id| self.service(id)).collect()
    }

    /// The Gateways of a GatewayClass, the oldest first, among those of one age by namespace and name.
    pub fn gateways_of(&mut self, class: ObjectId) -> Vec<&'a facts::Gateway> {
        self.reads.record(Dep::Fact(FactKey::GatewaysOf(class)));
        let ids: Vec<_> = self.store.gateways_of(class).collect();
        let mut gateways: Vec<_> = ids.into_iter().filter_map(|id| self.gateway(id)).collect();
        gateways.sort_by_cached_key(|gateway| (gateway.meta.created, self.object(gateway.meta.id)));
        gateways
    }

    /// True when some ReferenceGrant lets objects of kind `from` in `from_namespace` refer to `target`
    /// (Gateway API, ReferenceGrant). References within a namespace need none: callers decide that.
    pub fn granted(&mut self, from: (&str, &str), from_namespace: &str, target: Target) -> bool {
        self.reads.record(Dep::Fact(FactKey::GrantsInto(target.namespace)));
        let object = self.object(target.id);
        let grants: Vec<_> = self.store.grants_into(target.namespace).collect();
        grants.into_iter().any(|id| match self.fact(id) {
            Some(Fact::ReferenceGrant(grant)) => {
                grant
                    .from
                    .iter()
                    .any(|f| &*f.group == from.0 && &*f.kind == from.1 && &*f.namespace == from_namespace)
                    && grant.to.iter().any(|t| {
                        &*t.group == object.kind.group()
                            && &*t.kind == object.kind.name()
                            && t.name.as_ref().is_none_or(|name| *name == object.name)
                    })
            }
            _ => false,
        })
    }
}

/// Outputs of the gateway stage, for later stages.
#[derive(Clone, Copy, Debug)]
pub struct GatewayTable<'a>(pub &'a Gateways);

/// Outputs of the gateway stage.
#[derive(Debug)]
pub struct Gateways {
    /// By whose proxies they are: a Gateway's, or those of a GatewayClass that merges its Gateways.
    pub fleets: Table<ObjectId, FleetOutput, Dep>,
    /// Where each Gateway stands in these.
    pub homes: Homes,
}

/// The fleet of each Gateway, by its key in the gateway stage.
#[derive(Debug, Default)]
pub struct Homes(FxHashMap<ObjectId, ObjectId>);

impl Homes {
    /// Notes which Gateways a fleet has, and which it had. A Gateway that moves from one fleet to another may be told
    /// of by either first.
    pub fn replace(&mut self, fleet: ObjectId, old: Option<&FleetOutput>, new: Option<&FleetOutput>) {
        for gateway in old.map_or(&[][..], |fleet| &fleet.gateways) {
            if self.0.get(&gateway.id) == Some(&fleet) {
                self.0.remove(&gateway.id);
            }
        }
        self.0.extend(new.map_or(&[][..], |fleet| &fleet.gateways).iter().map(|gateway| (gateway.id, fleet)));
    }
}

impl<'a> GatewayTable<'a> {
    /// The fleet of a Gateway, by its key. No read: that of any part of the Gateway's output tells when it changes.
    pub fn fleet(&self, gateway: ObjectId) -> Option<ObjectId> {
        self.0.homes.0.get(&gateway).copied()
    }

    /// The name of a Gateway's fleet; empty for a Gateway without output. No read, as above.
    pub(crate) fn fleet_name(&self, gateway: ObjectId) -> Arc<str> {
        let fleet = self.fleet(gateway).and_then(|fleet| self.0.fleets.get(fleet));
        fleet.map_or_else(|| "".into(), |fleet| fleet.name.clone())
    }

    /// What is said of a Gateway. No read.
    pub fn gateway(&self, gateway: ObjectId) -> Option<&'a GatewayOutput> {
        self.0.fleets.get(self.fleet(gateway)?)?.gateway(gateway)
    }

    /// What is said of a ListenerSet of a Gateway. No read.
    pub(crate) fn set(&self, gateway: ObjectId, set: ObjectId) -> Option<&'a ListenerSetOutput> {
        self.0.fleets.get(self.fleet(gateway)?)?.set(set)
    }

    /// The listeners of a Gateway that is ours, or of a ListenerSet that is attached to it (`owner`), with the fleet
    /// that serves them; `None` when there is no such Gateway or ListenerSet.
    pub fn listeners(
        &self,
        reader: &mut Reader<'_>,
        gateway: ObjectId,
        owner: ObjectId,
    ) -> Option<(ObjectId, &'a Arc<[AttachListener]>)> {
        reader.record(Dep::Listeners(owner));
        let fleet = self.fleet(gateway)?;
        if owner == gateway {
            let output = self.gateway(gateway).filter(|g| g.managed)?;
            return Some((fleet, &output.listeners));
        }
        let output = self.set(gateway, owner).filter(|set| set.attached)?;
        Some((fleet, &output.listeners))
    }

    /// All listeners of a fleet, also those of ListenerSets. No read: for units that are roots whenever one of them
    /// changes.
    pub fn all(&self, fleet: ObjectId) -> impl Iterator<Item = &'a AttachListener> + use<'a> {
        self.0.fleets.get(fleet).into_iter().flat_map(FleetOutput::all_listeners)
    }

    /// What is wrong with the parameters of a Gateway that is ours: `None` when there is no such Gateway.
    pub(crate) fn invalid_parameters(
        &self,
        reader: &mut Reader<'_>,
        gateway: ObjectId,
    ) -> Option<Option<Finding>> {
        reader.record(Dep::GatewayStatus(gateway));
        let output = self.gateway(gateway).filter(|g| g.managed)?;
        let invalid = output.status.conditions.iter().find(|c| c.reason == INVALID_PARAMETERS);
        Some(invalid.map(|c| Finding::new("", INVALID_PARAMETERS, c.message.clone())))
    }

    /// The proxies' own side of TLS from a Gateway to backends.
    pub(crate) fn client_side(&self, reader: &mut Reader<'_>, gateway: ObjectId) -> &'a ClientSide {
        static NOTHING: LazyLock<ClientSide> = LazyLock::new(ClientSide::default);
        reader.record(Dep::ClientSide(gateway));
        self.gateway(gateway).map_or(&NOTHING, |g| &g.client_side)
    }

    /// How a fleet's proxies reach Services, where no policy says otherwise.
    pub(crate) fn routing(&self, reader: &mut Reader<'_>, fleet: ObjectId) -> ir::traffic::Routing {
        reader.record(Dep::ClientSide(fleet));
        self.0.fleets.get(fleet).map(|fleet| fleet.routing).unwrap_or_default()
    }

    /// What a fleet's proxies count.
    pub(crate) fn statistics(&self, reader: &mut Reader<'_>, fleet: ObjectId) -> &'a Statistics {
        static NOTHING: LazyLock<Statistics> = LazyLock::new(Statistics::default);
        reader.record(Dep::ClientSide(fleet));
        self.0.fleets.get(fleet).map_or(&NOTHING, |fleet| &fleet.telemetry.statistics)
    }

    /// What a fleet's Gateway says of clusters that rules share; `None` where they share none.
    pub(crate) fn merging(&self, reader: &mut Reader<'_>, fleet: ObjectId) -> Option<&'a Merging> {
        reader.record(Dep::ClientSide(fleet));
        self.0.fleets.get(fleet)?.merging.as_deref()
    }

    /// What a Gateway found about ClientTrafficPolicies.
    pub(crate) fn client_verdicts(&self, reader: &mut Reader<'_>, gateway: ObjectId) -> &'a [ClientVerdict] {
        reader.record(Dep::ClientVerdicts(gateway));
        self.gateway(gateway).map_or(&[], |g| &g.client_verdicts)
    }

    /// One socket of a fleet.
    pub fn socket(&self, reader: &mut Reader<'_>, key: SocketKey) -> Option<&'a Socket> {
        reader.record(Dep::Socket(key));
        self.0.fleets.get(key.fleet)?.sockets.iter().find(|socket| socket.key == key)
    }

    /// One listener of a fleet, for what shows it to clients ([`AttachListener::shown`]): a change of who may attach is
    /// not told.
    pub fn listener(
        &self,
        reader: &mut Reader<'_>,
        fleet: ObjectId,
        id: ListenerId,
    ) -> Option<&'a AttachListener> {
        reader.record(Dep::Listener(id));
        self.0.fleets.get(fleet)?.listeners_of(id.owner).iter().find(|listener| listener.id == id)
    }
}

/// Outputs of the route stage, for later stages.
#[derive(Clone, Copy, Debug)]
pub struct RouteTable<'a>(pub &'a Table<ObjectId, RouteOutput, Dep>);

impl<'a> RouteTable<'a> {
    /// The rules of a route.
    pub fn rules(&self, reader: &mut Reader<'_>, route: ObjectId) -> &'a [Arc<ir::route::Rule>] {
        reader.record(Dep::Rules(route));
        self.0.get(route).map_or(&[], |r| &r.rules)
    }

    /// What of a route a Gateway must not serve, because it cannot show backends the certificate that it should;
    /// `None` when it may serve all of it.
    pub fn unserved(
        &self,
        reader: &mut Reader<'_>,
        gateways: GatewayTable<'a>,
        route: ObjectId,
        gateway: ObjectId,
    ) -> Option<Unserved<'a>> {
        reader.record(Dep::Rules(route));
        let parts = &self.0.get(route)?.over_tls;
        if parts.is_empty() {
            return None;
        }
        let broken = gateways.client_side(reader, gateway).broken.as_ref()?;
        Some(Unserved { parts, broken })
    }

    /// The names of all rules of a route, in the order of the spec; rules without a name are left out.
    pub fn rule_names(&self, reader: &mut Reader<'_>, route: ObjectId) -> &'a [Arc<str>] {
        reader.record(Dep::Rules(route));
        self.0.get(route).map_or(&[], |r| &r.rule_names)
    }

    /// What a route does with connections or datagrams, and its age.
    pub fn layer4(
        &self,
        reader: &mut Reader<'_>,
        route: ObjectId,
    ) -> Option<(&'a crate::route::Origin, &'a crate::route::Layer4)> {
        reader.record(Dep::Layer4(route));
        let output = self.0.get(route)?;
        Some((&output.origin, output.layer4.as_ref()?))
    }

    /// One cluster that a route needs.
    pub fn plan(&self, reader: &mut Reader<'_>, key: PlanKey) -> Option<&'a crate::ClusterPlan> {
        reader.record(Dep::Plans(key.route));
        self.0.get(key.route)?.plans.iter().find(|plan| plan.rule == key.rule && plan.slot == key.slot)
    }

    /// The clusters that a route needs, but those of copies.
    pub(crate) fn plans(
        &self,
        reader: &mut Reader<'_>,
        route: ObjectId,
    ) -> impl Iterator<Item = &'a crate::ClusterPlan> + use<'a> {
        reader.record(Dep::Plans(route));
        let plans = self.0.get(route).map_or(&[][..], |output| &output.plans);
        plans.iter().filter(|plan| !matches!(plan.slot, Slot::Mirror(_)))
    }

    /// The clusters that a rule sends requests to, without those of copies.
    pub(crate) fn plans_of(
        &self,
        reader: &mut Reader<'_>,
        route: ObjectId,
        rule: u16,
    ) -> impl Iterator<Item = &'a crate::ClusterPlan> + use<'a> {
        reader.record(Dep::Plans(route));
        let plans = self.0.get(route).map_or(&[][..], |output| &output.plans);
        let of_rule = plans.iter().filter(move |plan| plan.rule == rule);
        of_rule.filter(|plan| matches!(plan.slot, Slot::Rule | Slot::Backend(_)))
    }
}

/// Outputs of the attach stage, for later stages.
#[derive(Clone, Copy, Debug)]
pub struct AttachTable<'a>(pub &'a Table<ObjectId, AttachOutput, Dep>);

impl<'a> AttachTable<'a> {
    /// The parents of a route that are ours.
    pub fn parents(&self, reader: &mut Reader<'_>, route: ObjectId) -> &'a [ParentOutput] {
        reader.record(Dep::Attached(route));
        self.0.get(route).map_or(&[], |output| &output.parents)
    }
}

/// The group of Envoy Gateway's kinds, for references by group and kind.
pub(crate) const EG_GROUP: &str = ENVOY_GATEWAY_GROUP;
