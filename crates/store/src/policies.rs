//! Which policies may be for an object: by its name, or by its labels.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use engine::{Buckets, Dirty};
use ir::Kind;
use rustc_hash::FxHashMap;

use crate::{
    FactKey, ObjectId,
    facts::{Meta, Policy, Selectable, SelectedNamespaces},
};

/// Policies by the objects that they may be for.
///
/// A selector is looked at by kind, labels and, where it says so, equal namespaces; what depends on other objects (labels
/// of namespaces, grants) is for translation to judge.
#[derive(Debug, Default)]
pub(crate) struct PolicyIndex {
    /// Policies by their kind and an object.
    on: Buckets<(Kind, ObjectId), ObjectId>,
    /// Objects by policy.
    targets: Buckets<ObjectId, ObjectId>,
    /// Every object that a selector can choose.
    selectable: FxHashMap<ObjectId, Selectable>,
    /// Policies with selectors, by their ids.
    selecting: BTreeMap<ObjectId, (Kind, Arc<Policy>)>,
}

/// Whether one of a policy's selectors chooses an object, as far as the two alone can tell.
fn chooses(policy: &Policy, object: &Selectable) -> bool {
    policy.selectors.iter().any(|selector| {
        selector.kind == object.kind
            && (selector.namespaces != SelectedNamespaces::Same || object.namespace == policy.meta.namespace)
            && selector.labels.matches(&object.labels)
    })
}

impl PolicyIndex {
    /// Policies of a kind that may be for an object, in no order that means anything.
    pub(crate) fn on(&self, kind: Kind, object: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        self.on.members((kind, object))
    }

    /// Objects that a policy may be for.
    pub(crate) fn targets(&self, policy: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        self.targets.members(policy)
    }

    /// What selectors look at.
    pub(crate) fn selectable(&self, object: ObjectId) -> Option<&Selectable> {
        self.selectable.get(&object)
    }

    /// Notes a policy, new or changed.
    pub(crate) fn insert(&mut self, kind: Kind, policy: &Arc<Policy>, dirty: &mut Dirty<FactKey>) {
        let id = policy.meta.id;
        let mut targets: BTreeSet<ObjectId> = policy.targets.iter().map(|target| target.object).collect();
        self.selecting.remove(&id);
        if !policy.selectors.is_empty() {
            let chosen = self.selectable.iter().filter(|(_, object)| chooses(policy, object));
            targets.extend(chosen.map(|(object, _)| *object));
            self.selecting.insert(id, (kind, policy.clone()));
        }
        self.replace(kind, id, &targets, dirty);
    }

    /// Forgets a policy.
    pub(crate) fn remove(&mut self, kind: Kind, id: ObjectId, dirty: &mut Dirty<FactKey>) {
        self.selecting.remove(&id);
        self.replace(kind, id, &BTreeSet::new(), dirty);
    }

    fn replace(&mut self, kind: Kind, id: ObjectId, new: &BTreeSet<ObjectId>, dirty: &mut Dirty<FactKey>) {
        let old: BTreeSet<ObjectId> = self.targets.members(id).collect();
        for object in old.difference(new) {
            self.on.remove((kind, *object), id);
            self.targets.remove(id, *object);
            dirty.insert(FactKey::PoliciesOn(kind, *object));
        }
        for object in new.difference(&old) {
            self.on.insert((kind, *object), id);
            self.targets.insert(id, *object);
            dirty.insert(FactKey::PoliciesOn(kind, *object));
        }
        if old != *new {
            dirty.insert(FactKey::TargetsOf(id));
        }
    }

    /// Notes an object that selectors can choose, new, changed, or (`None`) gone.
    pub(crate) fn note(&mut self, id: ObjectId, new: Option<Selectable>, dirty: &mut Dirty<FactKey>) {
        if self.selectable.get(&id) == new.as_ref() {
            return;
        }
        let old = self.selectable.remove(&id);
        for (policy, (kind, fact)) in &self.selecting {
            let named = fact.targets.iter().any(|target| target.object == id);
            let was = old.as_ref().is_some_and(|object| chooses(fact, object));
            let is = new.as_ref().is_some_and(|object| chooses(fact, object));
            if was || is {
                // Also when it was chosen before: another of the selectors may do so now.
                dirty.insert(FactKey::PoliciesOn(*kind, id));
            }
            if named || was == is {
                continue;
            }
            if is {
                self.on.insert((*kind, id), *policy);
                self.targets.insert(*policy, id);
            } else {
                self.on.remove((*kind, id), *policy);
                self.targets.remove(*policy, id);
            }
            dirty.insert(FactKey::TargetsOf(*policy));
        }
        if let Some(new) = new {
            self.selectable.insert(id, new);
        }
    }
}

/// What selectors look at in an object; `None` for kinds that no policy can be for.
pub(crate) fn selectable(object: &api::Object, kind: Kind, meta: &Meta) -> Option<Selectable> {
    static NONE: LazyLock<Arc<BTreeMap<Arc<str>, Arc<str>>>> = LazyLock::new(Default::default);
    let chosen = kind.group() == ir::object::GATEWAY_GROUP
        && kind.namespaced()
        && !kind.is_policy()
        && kind != Kind::ReferenceGrant;
    let labels = || match &object.metadata().labels {
        Some(labels) if !labels.is_empty() => {
            Arc::new(labels.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect())
        }
        _ => NONE.clone(),
    };
    chosen.then(|| Selectable {
        kind,
        namespace: meta.namespace,
        namespace_object: meta.namespace_object,
        labels: labels(),
    })
}
