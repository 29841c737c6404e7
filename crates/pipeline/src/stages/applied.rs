//! What people ask of outputs: which policies apply to a rule, which routes get in each other's way.

use std::collections::{BTreeMap, BTreeSet};

use engine::Reads;
use ir::{
    Kind, ObjectRef,
    listener::ListenerRef,
    secret::{REDACTED, is_credential_header},
};
use serde_json::Value;
use store::{Fact, ObjectId, Store};
use translate::{
    AttachListener, ListenerId, Policies, Reader, backend_tls,
    gateway::{self, Chain},
    policy::{self, Applied},
};

use super::Stages;

/// A policy that applies to a rule on a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedPolicy {
    /// The policy.
    pub policy: ObjectRef,
    /// The broader ones that it is merged over, the closest first.
    pub parents: Vec<ObjectRef>,
    /// What they say together, ascending by field.
    pub fields: Vec<AppliedField>,
    /// Why they cannot be applied; empty when they can.
    pub invalid: Vec<String>,
}

/// A field that a policy sets.
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedField {
    /// Path below `spec`, such as `timeout.http.requestTimeout`. A list is one field.
    pub path: String,
    /// Its value. What stands in it of headers that carry credentials is hidden.
    pub value: Value,
    /// The policy that says it.
    pub policy: ObjectRef,
}

/// What the parameters of proxies say.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The value.
    pub value: Value,
    /// The EnvoyProxy that says it; `None` for the configuration file.
    pub proxy: Option<ObjectRef>,
}

impl Stages {
    /// The policies of all kinds that apply to a rule of a route on a listener of a Gateway, which is named as in xDS.
    pub(crate) fn policies_of_rule(
        &self,
        store: &Store,
        (route, rule): (&ObjectRef, Option<&str>),
        listener: (&ObjectRef, &str),
    ) -> Vec<AppliedPolicy> {
        let Some((route, listener)) = store.find(route).zip(self.listener_named(store, listener)) else {
            return Vec::new();
        };
        self.applied(store, |kind, reader| {
            Policies(&self.policies).of_rule(kind, (route, rule), listener, reader)
        })
    }

    /// The policies of all kinds that apply to a listener of a Gateway, which is named as in xDS.
    pub(crate) fn policies_of_listener(
        &self,
        store: &Store,
        listener: (&ObjectRef, &str),
    ) -> Vec<AppliedPolicy> {
        let Some(listener) = self.listener_named(store, listener) else { return Vec::new() };
        self.applied(store, |kind, reader| Policies(&self.policies).of_listener(kind, listener, reader))
    }

    fn listener_named(&self, store: &Store, (gateway, name): (&ObjectRef, &str)) -> Option<&AttachListener> {
        let gateway = store.find(gateway)?;
        let mut listeners = self.gateways.fleets.iter().flat_map(|(_, fleet)| fleet.all_listeners());
        listeners.find(|known| known.gateway == gateway && *known.xds_name == *name)
    }

    fn applied<'a>(
        &'a self,
        store: &Store,
        of_kind: impl Fn(Kind, &mut Reader<'_>) -> Option<Applied<'a>>,
    ) -> Vec<AppliedPolicy> {
        // Whoever asks now asks again later: nothing is recorded.
        let mut reads = Reads::default();
        let reader = &mut Reader::new(store, &mut reads);
        let kinds = Kind::ALL.iter().copied().filter(|kind| policy::of(*kind).is_some());
        let applied = kinds.filter_map(|kind| of_kind(kind, reader));
        applied.filter_map(|applied| told(store, &applied)).collect()
    }
}

/// What the parameters of a Gateway's proxies say of a field below `spec`; `None` where nobody says anything.
pub(crate) fn parameter(store: &Store, gateway: &ObjectRef, field: &str) -> Option<Parameter> {
    let mut reads = Reads::default();
    let (value, by) = gateway::said(store.find(gateway)?, field, &mut Reader::new(store, &mut reads))?;
    Some(Parameter { value, proxy: by.and_then(|id| store.object(id)).cloned() })
}

/// The BackendTLSPolicy for a Service, ServiceImport or Backend; `section` is the name of the port, for a Backend its
/// number.
pub(crate) fn policy_of_backend(
    store: &Store,
    backend: &ObjectRef,
    section: Option<&str>,
) -> Option<ObjectRef> {
    let mut reads = Reads::default();
    let reader = &mut Reader::new(store, &mut reads);
    let policy = backend_tls::policy_of(store.find(backend)?, section, reader)?;
    store.object(policy.meta.id).cloned()
}

impl Stages {
    /// Pairs of routes that have a match in common on some virtual host, each pair both ways round.
    pub(crate) fn overlapping(&self, store: &Store) -> BTreeSet<(ObjectRef, ObjectRef)> {
        let routes = self.attached.iter().map(|(id, _)| id);
        let pairs =
            routes.flat_map(|id| self.host_index.overlaps(id).into_iter().map(move |o| (id, o.route)));
        pairs.filter_map(|(a, b)| Some((store.object(a)?.clone(), store.object(b)?.clone()))).collect()
    }

    /// The routes of each virtual host.
    pub(crate) fn routes_by_virtual_host(&self, store: &Store) -> Vec<BTreeSet<ObjectRef>> {
        let hosts = self.hosts.iter().filter_map(|(key, _)| self.host_index.get(key));
        hosts.map(|host| host.owners.iter().filter_map(|id| store.object(*id)).cloned().collect()).collect()
    }

    /// Routes of a kind on listeners that end TLS and do not offer HTTP/2.
    pub(crate) fn without_http2(&self, kind: Kind, store: &Store) -> BTreeSet<(ObjectRef, ListenerRef)> {
        let without: BTreeMap<ListenerId, ObjectId> = (self.gateways.fleets.iter())
            .flat_map(|(_, fleet)| fleet.sockets.iter().map(move |socket| (fleet, socket)))
            .flat_map(|(fleet, socket)| socket.chains.iter().map(move |chain| (fleet, chain)))
            .filter_map(|(fleet, chain)| match chain {
                Chain::Http { name, tls: Some(tls), .. } if !tls.alpn.iter().any(|p| &**p == "h2") => {
                    let listener = fleet.all_listeners().find(|listener| listener.xds_name == *name)?;
                    Some((listener.id, listener.gateway))
                }
                _ => None,
            })
            .collect();
        let bound = self.attached.iter().flat_map(|(route, attached)| {
            let bindings = attached.parents.iter().flat_map(|parent| parent.bindings.iter());
            bindings.map(move |binding| (route, binding.listener))
        });
        let bound = bound.filter_map(|(route, id)| Some((route, id, *without.get(&id)?)));
        bound
            .filter_map(|(route, listener, gateway)| {
                let route = store.object(route).filter(|route| route.kind == kind)?;
                let owner = store.object(listener.owner)?.clone();
                let (name, gateway) = (store.name(listener.name).clone(), store.object(gateway)?.clone());
                Some((route.clone(), ListenerRef { owner, name, gateway }))
            })
            .collect()
    }
}

fn told(store: &Store, applied: &Applied<'_>) -> Option<AppliedPolicy> {
    Some(AppliedPolicy {
        policy: store.object(applied.policy)?.clone(),
        parents: applied.parents.iter().filter_map(|parent| store.object(*parent)).cloned().collect(),
        fields: fields(store, applied),
        invalid: applied.version.findings.iter().map(|finding| finding.message.to_string()).collect(),
    })
}

/// What a policy says where it applies, each field with the policy that it comes from; ascending by field.
pub(super) fn fields(store: &Store, applied: &Applied<'_>) -> Vec<AppliedField> {
    let version = applied.version;
    let mut fields = Vec::new();
    if version.origins.is_empty() {
        if let Some(document) = document(store, applied.policy) {
            leaves("", document, &mut |path, value| fields.push((path, value.clone(), applied.policy)));
            fields.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        }
    } else {
        let origins = version.origins.iter();
        fields.extend(origins.filter_map(|(path, from)| {
            let value = path.split('.').try_fold(document(store, *from)?, |value, name| value.get(name))?;
            Some((path.clone(), value.clone(), *from))
        }));
    }
    let fields = fields.into_iter().filter_map(|(path, value, policy)| {
        Some(AppliedField { path, value: without_credentials(value), policy: store.object(policy)?.clone() })
    });
    fields.collect()
}

fn document(store: &Store, policy: ObjectId) -> Option<&Value> {
    match store.fact(policy)? {
        Fact::Policy(policy) => Some(&policy.document),
        _ => None,
    }
}

/// A value in which headers that carry credentials have none: whoever may ask for settings need not know them.
fn without_credentials(value: Value) -> Value {
    match value {
        Value::Array(entries) => entries.into_iter().map(without_credentials).collect(),
        Value::Object(mut fields) => {
            let name = fields.get("name").and_then(Value::as_str);
            if name.is_some_and(is_credential_header)
                && let Some(value) = fields.get_mut("value")
            {
                *value = REDACTED.into();
            }
            fields.into_iter().map(|(name, value)| (name, without_credentials(value))).collect()
        }
        other => other,
    }
}

/// Every field of a document that holds no further fields, with its path.
fn leaves(path: &str, value: &Value, found: &mut dyn FnMut(String, &Value)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(&path, value, found);
            }
        }
        leaf => found(path.to_owned(), leaf),
    }
}
