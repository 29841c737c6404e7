//! The fact base: facts by id, their indexes, and the transaction that changes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use engine::{Buckets, Dirty, Id, Interner};
use ir::{Kind, ObjectRef};
use rustc_hash::FxHashMap;

use crate::{
    Settings,
    facts::{EndpointSlice, Fact, Selectable},
    lower::Lowering,
    policies::{self, PolicyIndex},
};

/// An object, known or only referred to.
pub type ObjectId = Id<ObjectRef>;

/// A hostname or namespace.
pub type NameId = Id<Arc<str>>;

/// A fact that a unit can read, and that a change can touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FactKey {
    /// An object, also when it is absent.
    Object(ObjectId),
    /// The set of EndpointSlices of a Service or ServiceImport; its members are read one by one.
    SlicesOf(ObjectId),
    /// Which ports of a Service or ServiceImport have endpoints at all, and whether these are host names.
    Availability(ObjectId),
    /// The set of ReferenceGrants in a namespace; its members are read one by one.
    GrantsInto(NameId),
    /// The infrastructure Service of the proxies of a Gateway, or of a GatewayClass that merges its Gateways.
    ProxyServiceOf(ObjectId),
    /// The set of Gateways of a GatewayClass; its members are read one by one.
    GatewaysOf(ObjectId),
    /// The set of GatewayClasses and Gateways that refer to an EnvoyProxy.
    ReferrersOf(ObjectId),
    /// The set of BackendTLSPolicies that target a backend; its members are read one by one.
    BackendTlsPoliciesOf(ObjectId),
    /// The set of ListenerSets that name a Gateway as their parent; its members are read one by one.
    ListenerSetsOf(ObjectId),
    /// The set of policies of a kind that may be for an object, and the object's labels where selectors chose it; its
    /// members are read one by one.
    PoliciesOn(Kind, ObjectId),
    /// The set of objects that a policy may be for.
    TargetsOf(ObjectId),
    /// The controller's settings.
    Settings,
}

/// Changes to apply in one transaction. The last change of an object wins.
#[derive(Debug, Default)]
pub struct ChangeSet {
    /// Objects that appeared or changed.
    pub apply: Vec<api::Object>,
    /// Objects that are gone.
    pub delete: Vec<ObjectRef>,
    /// New settings.
    pub settings: Option<Settings>,
    /// The time in seconds since 1970. Certificates are judged by it; without it, by none.
    pub now: Option<i64>,
}

#[derive(Debug)]
struct Entry {
    fact: Fact,
    holds: Box<[Hold]>,
}

/// What EndpointSlices of one Service hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// IP addresses.
    Ips,
    /// Host names, for Envoy to resolve.
    Hosts,
    /// Both, which no cluster can have.
    Mixed,
}

/// What is there of a Service or ServiceImport.
#[derive(Debug, Default, PartialEq, Eq)]
struct Availability {
    /// Names of ports with endpoints, ascending.
    ports: Box<[Arc<str>]>,
    addresses: Option<Addresses>,
}

/// An interned id that a fact holds as long as it exists.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    Object(ObjectId),
    Name(NameId),
}

/// Facts and their indexes.
#[derive(Debug)]
pub struct Store {
    objects: Interner<ObjectRef>,
    names: Interner<Arc<str>>,
    // Boxed: a hash table keeps up to twice the room that its entries take.
    facts: FxHashMap<ObjectId, Box<Entry>>,
    slices: Buckets<ObjectId, ObjectId>,
    available: FxHashMap<ObjectId, Availability>,
    grants: Buckets<NameId, ObjectId>,
    proxy_services: Buckets<ObjectId, ObjectId>,
    /// Gateways by their GatewayClass.
    gateways: Buckets<ObjectId, ObjectId>,
    /// GatewayClasses and Gateways by the EnvoyProxy that they refer to.
    referrers: Buckets<ObjectId, ObjectId>,
    /// BackendTLSPolicies by the backends that they target.
    backend_tls_policies: Buckets<ObjectId, ObjectId>,
    /// ListenerSets by the Gateway that they name.
    listener_sets: Buckets<ObjectId, ObjectId>,
    policies: PolicyIndex,
    /// Services whose slices changed in this transaction; empty between transactions.
    changed_slices: Vec<ObjectId>,
    settings: Settings,
    now: i64,
    /// Moments at which something in an object begins or ends to be valid.
    boundaries: BTreeSet<(i64, ObjectId)>,
}

impl Store {
    /// An empty store.
    pub fn new(settings: Settings) -> Self {
        Store {
            objects: Interner::default(),
            names: Interner::default(),
            facts: FxHashMap::default(),
            slices: Buckets::default(),
            available: FxHashMap::default(),
            grants: Buckets::default(),
            proxy_services: Buckets::default(),
            gateways: Buckets::default(),
            referrers: Buckets::default(),
            backend_tls_policies: Buckets::default(),
            listener_sets: Buckets::default(),
            policies: PolicyIndex::default(),
            changed_slices: Vec::new(),
            settings,
            now: 0,
            boundaries: BTreeSet::new(),
        }
    }

    /// Applies changes and returns what they touched. Ids of objects that are gone stay valid until
    /// [`Store::end_transaction`].
    pub fn apply(&mut self, changes: ChangeSet) -> Dirty<FactKey> {
        let mut dirty = Dirty::default();
        if let Some(settings) = changes.settings
            && settings != self.settings
        {
            self.settings = settings;
            dirty.insert(FactKey::Settings);
        }
        if let Some(now) = changes.now {
            self.advance(now, &mut dirty);
        }
        for object in changes.delete {
            if let Some(id) = self.objects.find(&object) {
                self.remove(id, &mut dirty);
            }
        }
        for object in changes.apply {
            let (fact, holds) = Lowering::new(&mut self.objects, &mut self.names).lower(&object);
            self.note(&object, &fact, &mut dirty);
            self.insert(fact, holds, &mut dirty);
        }
        self.refresh_availability(&mut dirty);
        dirty
    }

    /// Moves the time forward and touches the Secrets whose certificates thereby begin or end to be valid.
    fn advance(&mut self, now: i64, dirty: &mut Dirty<FactKey>) {
        if now <= self.now {
            return;
        }
        let passed = self
            .boundaries
            .range((Bound::Excluded((self.now, ObjectId::MAX)), Bound::Included((now, ObjectId::MAX))));
        dirty.extend(passed.map(|(_, id)| FactKey::Object(*id)));
        self.now = now;
    }

    /// The next moment at which a certificate begins or ends to be valid: a commit is due then.
    pub fn next_boundary(&self) -> Option<i64> {
        self.boundaries
            .range((Bound::Excluded((self.now, ObjectId::MAX)), Bound::Unbounded))
            .next()
            .map(|(at, _)| *at)
    }

    /// The time that certificates are judged by; 0 when it is not known.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Frees ids that nothing refers to any more. Call it when all stages have run.
    pub fn end_transaction(&mut self) {
        self.objects.sweep();
        self.names.sweep();
    }

    /// Keeps the labels of an object that policies can choose by them. They are no part of its fact: only policies read
    /// them.
    fn note(&mut self, object: &api::Object, fact: &Fact, dirty: &mut Dirty<FactKey>) {
        let meta = fact.meta();
        let Some(kind) = self.objects.get(meta.id).map(|object| object.kind) else { return };
        if let Some(selectable) = policies::selectable(object, kind, meta) {
            self.policies.note(meta.id, Some(selectable), dirty);
        }
    }

    fn insert(&mut self, fact: Fact, holds: Box<[Hold]>, dirty: &mut Dirty<FactKey>) {
        let id = fact.meta().id;
        if let Some(old) = self.facts.get(&id)
            && old.fact == fact
        {
            self.release(&holds);
            return;
        }
        if let Some(old) = self.facts.remove(&id) {
            self.unindex(&old.fact, Some(&fact), dirty);
            self.release(&old.holds);
        }
        self.index(&fact, dirty);
        dirty.insert(FactKey::Object(id));
        self.facts.insert(id, Box::new(Entry { fact, holds }));
    }

    fn remove(&mut self, id: ObjectId, dirty: &mut Dirty<FactKey>) {
        if let Some(old) = self.facts.remove(&id) {
            self.unindex(&old.fact, None, dirty);
            self.policies.note(id, None, dirty);
            self.release(&old.holds);
            dirty.insert(FactKey::Object(id));
        }
    }

    fn release(&mut self, holds: &[Hold]) {
        for hold in holds {
            match *hold {
                Hold::Object(id) => self.objects.release(id),
                Hold::Name(id) => self.names.release(id),
            }
        }
    }

    /// Buckets are touched only when membership changes; that a member changed is its own key's matter.
    fn index(&mut self, fact: &Fact, dirty: &mut Dirty<FactKey>) {
        let id = fact.meta().id;
        self.boundaries.extend(boundaries(fact).into_iter().map(|at| (at, id)));
        match fact {
            Fact::EndpointSlice(slice) => {
                for backend in slice.backends() {
                    if self.slices.insert(backend, id) {
                        dirty.insert(FactKey::SlicesOf(backend));
                    }
                }
            }
            Fact::ReferenceGrant(grant) if self.grants.insert(grant.meta.namespace, id) => {
                dirty.insert(FactKey::GrantsInto(grant.meta.namespace));
            }
            Fact::Policy(policy) => {
                if let Some(kind) = self.objects.get(id).map(|object| object.kind) {
                    self.policies.insert(kind, policy, dirty);
                }
            }
            Fact::Service(service) => {
                if let Some(owner) = service.proxy_of
                    && self.proxy_services.insert(owner, id)
                {
                    dirty.insert(FactKey::ProxyServiceOf(owner));
                }
            }
            Fact::BackendTlsPolicy(policy) => {
                for target in &policy.targets {
                    if self.backend_tls_policies.insert(target.object, id) {
                        dirty.insert(FactKey::BackendTlsPoliciesOf(target.object));
                    }
                }
            }
            _ => {}
        }
        if let Some(class) = fact.gateway_class()
            && self.gateways.insert(class, id)
        {
            dirty.insert(FactKey::GatewaysOf(class));
        }
        if let Some(gateway) = fact.listener_set_of()
            && self.listener_sets.insert(gateway, id)
        {
            dirty.insert(FactKey::ListenerSetsOf(gateway));
        }
        if let Some(proxy) = fact.parameters()
            && self.referrers.insert(proxy, id)
        {
            dirty.insert(FactKey::ReferrersOf(proxy));
        }
    }

    fn unindex(&mut self, old: &Fact, new: Option<&Fact>, dirty: &mut Dirty<FactKey>) {
        let id = old.meta().id;
        for at in boundaries(old) {
            self.boundaries.remove(&(at, id));
        }
        match (old, new) {
            (Fact::EndpointSlice(old), new) => {
                let kept: Vec<ObjectId> = match new {
                    Some(Fact::EndpointSlice(new)) => new.backends().collect(),
                    _ => Vec::new(),
                };
                for backend in old.backends().filter(|backend| !kept.contains(backend)) {
                    self.slices.remove(backend, id);
                    dirty.insert(FactKey::SlicesOf(backend));
                }
            }
            (Fact::ReferenceGrant(grant), None) => {
                self.grants.remove(grant.meta.namespace, id);
                dirty.insert(FactKey::GrantsInto(grant.meta.namespace));
            }
            (Fact::Policy(_), None) => {
                if let Some(kind) = self.objects.get(id).map(|object| object.kind) {
                    self.policies.remove(kind, id, dirty);
                }
            }
            (Fact::Service(old), new) => {
                let kept = matches!(new, Some(Fact::Service(new)) if new.proxy_of == old.proxy_of);
                if let Some(owner) = old.proxy_of.filter(|_| !kept) {
                    self.proxy_services.remove(owner, id);
                    dirty.insert(FactKey::ProxyServiceOf(owner));
                }
            }
            (Fact::BackendTlsPolicy(old), new) => {
                let kept = |object| match new {
                    Some(Fact::BackendTlsPolicy(new)) => new.targets.iter().any(|t| t.object == object),
                    _ => false,
                };
                for target in old.targets.iter().filter(|target| !kept(target.object)) {
                    self.backend_tls_policies.remove(target.object, id);
                    dirty.insert(FactKey::BackendTlsPoliciesOf(target.object));
                }
            }
            _ => {}
        }
        let class = new.and_then(Fact::gateway_class);
        if let Some(old) = old.gateway_class().filter(|old| class != Some(*old)) {
            self.gateways.remove(old, id);
            dirty.insert(FactKey::GatewaysOf(old));
        }
        let parent = new.and_then(Fact::listener_set_of);
        if let Some(gateway) = old.listener_set_of().filter(|gateway| parent != Some(*gateway)) {
            self.listener_sets.remove(gateway, id);
            dirty.insert(FactKey::ListenerSetsOf(gateway));
        }
        if let Some(proxy) = old.parameters().filter(|proxy| new.and_then(Fact::parameters) != Some(*proxy)) {
            self.referrers.remove(proxy, id);
            dirty.insert(FactKey::ReferrersOf(proxy));
        }
        if let Fact::EndpointSlice(slice) = old {
            // The slice itself may be gone before availability is refreshed, so its Service is noted here.
            self.changed_slices.extend(slice.backends());
        }
    }

    /// Finds out which Services gained or lost endpoints on a port, for the Services whose slices changed.
    fn refresh_availability(&mut self, dirty: &mut Dirty<FactKey>) {
        let changed = std::mem::take(&mut self.changed_slices);
        let mut services: Vec<ObjectId> = dirty
            .iter()
            .filter_map(|key| match key {
                FactKey::Object(id) => match self.fact(id) {
                    Some(Fact::EndpointSlice(slice)) => Some(slice.backends()),
                    _ => None,
                },
                _ => None,
            })
            .flatten()
            .chain(changed)
            .collect();
        services.sort_unstable();
        services.dedup();
        for service in services {
            let mut new = Availability::default();
            let mut ports: Vec<Arc<str>> = Vec::new();
            for slice in self.slices_of(service).filter(|slice| !slice.endpoints.is_empty()) {
                ports.extend(slice.ports.iter().map(|port| port.name.clone()));
                new.addresses = match (new.addresses, slice.fqdn) {
                    (None, true) => Some(Addresses::Hosts),
                    (None, false) => Some(Addresses::Ips),
                    (Some(Addresses::Hosts), true) => Some(Addresses::Hosts),
                    (Some(Addresses::Ips), false) => Some(Addresses::Ips),
                    _ => Some(Addresses::Mixed),
                };
            }
            ports.sort_unstable();
            ports.dedup();
            new.ports = ports.into();
            if self.available.get(&service).unwrap_or(&Availability::default()) != &new {
                dirty.insert(FactKey::Availability(service));
                if new.addresses.is_none() {
                    self.available.remove(&service);
                } else {
                    self.available.insert(service, new);
                }
            }
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A fact; `None` when the object is absent. Units read it through `Reader`, which records.
    pub fn fact(&self, id: ObjectId) -> Option<&Fact> {
        self.facts.get(&id).map(|entry| &entry.fact)
    }

    /// All facts, in no particular order.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.facts.values().map(|entry| &entry.fact)
    }

    /// Slices of a Service or ServiceImport, in a stable order (by name).
    pub fn slices_of(&self, service: ObjectId) -> impl Iterator<Item = &EndpointSlice> {
        let mut slices: BTreeMap<&str, &EndpointSlice> = BTreeMap::new();
        for id in self.slices.members(service) {
            if let (Some(Fact::EndpointSlice(slice)), Some(object)) = (self.fact(id), self.object(id)) {
                slices.insert(&object.name, slice);
            }
        }
        slices.into_values()
    }

    /// True when a port of a Service or ServiceImport, by its name, has endpoints.
    pub fn available(&self, service: ObjectId, port: &str) -> bool {
        self.available.get(&service).is_some_and(|available| available.ports.iter().any(|p| &**p == port))
    }

    /// What the slices of a Service or ServiceImport hold; `None` when they hold nothing.
    pub fn addresses(&self, service: ObjectId) -> Option<Addresses> {
        self.available.get(&service)?.addresses
    }

    /// ReferenceGrants in a namespace.
    pub fn grants_into(&self, namespace: NameId) -> impl Iterator<Item = ObjectId> + '_ {
        self.grants.members(namespace)
    }

    /// Infrastructure Services of the proxies of a Gateway, or of a GatewayClass that merges its Gateways.
    pub fn proxy_services_of(&self, owner: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        self.proxy_services.members(owner)
    }

    /// Gateways of a GatewayClass.
    pub fn gateways_of(&self, class: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        self.gateways.members(class)
    }

    /// GatewayClasses and Gateways that refer to an EnvoyProxy.
    pub fn referrers_of(&self, proxy: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        self.referrers.members(proxy)
    }

    /// BackendTLSPolicies that target a backend.
    pub fn backend_tls_policies_of(&self, backend: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        self.backend_tls_policies.members(backend)
    }

    /// ListenerSets that name a Gateway as their parent.
    pub fn listener_sets_of(&self, gateway: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        self.listener_sets.members(gateway)
    }

    /// Policies of a kind that may be for an object: that name it, or choose its labels.
    pub fn policies_on(&self, kind: Kind, object: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        self.policies.on(kind, object)
    }

    /// Objects that a policy may be for.
    pub fn targets_of(&self, policy: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        self.policies.targets(policy)
    }

    /// What selectors of policies look at in an object; `None` for one that does not exist, or that no policy is for.
    pub fn selectable(&self, object: ObjectId) -> Option<&Selectable> {
        self.policies.selectable(object)
    }

    /// What an id stands for; `None` only for an id that was freed.
    pub fn object(&self, id: ObjectId) -> Option<&ObjectRef> {
        self.objects.get(id)
    }

    /// The id of an object that is known or referred to.
    pub fn find(&self, object: &ObjectRef) -> Option<ObjectId> {
        self.objects.find(object)
    }

    /// The text of a name; empty only for an id that was freed.
    pub fn name(&self, id: NameId) -> &Arc<str> {
        static EMPTY: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "".into());
        self.names.get(id).unwrap_or(&EMPTY)
    }

    /// Ids of all objects of one kind that exist, in no particular order.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = ObjectId> + '_ {
        self.facts.keys().copied().filter(move |id| self.object(*id).is_some_and(|o| o.kind == kind))
    }

    /// How many facts and interned names there are: (facts, objects, names). For metrics and leak tests.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.facts.len(), self.objects.len(), self.names.len())
    }
}

/// Moments at which something in an object begins or ends to be valid: certificates are valid from `not_before` up to
/// and with `not_after`, lists of revoked ones up to and with their next update.
fn boundaries(fact: &Fact) -> Vec<i64> {
    let (certificate, bundle, lists) = match fact {
        Fact::Secret(secret) => (
            secret.certificate.as_ref().and_then(|certificate| certificate.as_ref().ok()),
            secret.bundle.as_ref().and_then(|bundle| bundle.as_ref().ok()),
            secret.revocations.as_ref().and_then(|lists| lists.as_ref().ok()),
        ),
        Fact::ConfigMap(map) => (None, map.bundle.as_ref().ok(), map.revocations.as_ref().ok()),
        Fact::ClusterTrustBundle(object) => (None, object.bundle.as_ref().ok(), None),
        _ => return Vec::new(),
    };
    let of_certificate = certificate.map(|c| [c.not_before, c.not_after.saturating_add(1)]);
    let members = bundle.into_iter().flat_map(|bundle| bundle.members.iter());
    let of_members = members.flat_map(|member| [member.not_before, member.not_after.saturating_add(1)]);
    let begins = lists.map(|lists| lists.not_before);
    let ends = lists.and_then(|lists| lists.next_update).map(|next| next.saturating_add(1));
    of_certificate.into_iter().flatten().chain(of_members).chain(begins).chain(ends).collect()
}
