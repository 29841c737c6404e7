//! Scopes of policies and how they contain each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ir::{Kind, status::ParentReference};
use store::ObjectId;

use crate::{ParentOutput, Reader};

/// What a policy can be for: an object, or a listener or rule of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The object.
    pub object: ObjectId,
    /// The listener or rule; `None` for the whole object.
    pub section: Option<Arc<str>>,
}

/// A policy for a scope inside of another one: it has effect there in place of the broader scope's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation {
    /// The Gateway that contains both.
    pub gateway: ObjectId,
    /// The broader scope.
    pub parent: Scope,
    /// The narrower one.
    pub child: Scope,
    /// True when the narrower one is a route.
    pub of_route: bool,
    /// True when the narrower one's policy is merged over the broader one's.
    pub merged: bool,
}

/// Relations in one Gateway, of one kind of policies, with the number of policies that make each.
#[derive(Debug, Default)]
pub struct Relations {
    counts: BTreeMap<Relation, u32>,
}

impl Relations {
    /// Adds a relation.
    pub fn insert(&mut self, relation: &Relation) {
        *self.counts.entry(relation.clone()).or_insert(0) += 1;
    }

    /// Takes a relation away.
    pub fn remove(&mut self, relation: &Relation) {
        if let Some(count) = self.counts.get_mut(relation) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(relation);
            }
        }
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Scopes whose policies are merged over that of `scope`.
    pub fn merged(&self, scope: &Scope) -> BTreeSet<&Scope> {
        self.counts.keys().filter(|r| r.merged && r.parent == *scope).map(|r| &r.child).collect()
    }

    /// Scopes whose policies have effect in place of that of `scope`, also where they stand in a scope that it contains.
    pub fn overriding(&self, scope: &Scope) -> BTreeSet<&Scope> {
        let merged = self.merged(scope);
        let related = |r: &&Relation| {
            let within = match &scope.section {
                // All relations here are in the Gateway.
                None => scope.object == r.gateway || scope.object == r.parent.object,
                // A route that is attached to the object as a whole is on its listener, too.
                Some(_) => r.of_route && scope.object == r.parent.object && r.parent.section.is_none(),
            };
            !r.merged && (r.parent == *scope || within)
        };
        let children = self.counts.keys().filter(related).map(|r| &r.child);
        children.filter(|child| *child != scope && !merged.contains(*child)).collect()
    }
}

/// The scopes around a listener of a Gateway, the most specific one first. `owner` is the Gateway or a ListenerSet.
pub fn around_listener((owner, name): (ObjectId, &Arc<str>), gateway: ObjectId) -> Vec<Scope> {
    let own = Scope { object: owner, section: Some(name.clone()) };
    let broader = broader(&own, gateway);
    std::iter::once(own).chain(broader).collect()
}

/// The broader scopes of a Gateway's, a ListenerSet's or a listener's, the closest one first.
pub(super) fn broader(scope: &Scope, gateway: ObjectId) -> Vec<Scope> {
    std::iter::successors(around(scope, gateway), |scope| around(scope, gateway)).collect()
}

/// The next broader scope of a Gateway's or ListenerSet's own scope.
fn around(scope: &Scope, gateway: ObjectId) -> Option<Scope> {
    match &scope.section {
        Some(_) => Some(Scope { object: scope.object, section: None }),
        None if scope.object != gateway => Some(Scope { object: gateway, section: None }),
        None => None,
    }
}

/// The next broader scope of a Gateway's, a ListenerSet's or a listener's; `None` for that of a Gateway.
pub fn around_scope(scope: &Scope, reader: &mut Reader<'_>) -> Option<Scope> {
    around(scope, gateway_of(scope.object, reader)?)
}

/// The scope that a route is attached to by one of its parents.
pub(super) fn of_parent(parent: &ParentOutput) -> Scope {
    let object = parent.parent.target.unwrap_or(parent.gateway);
    Scope { object, section: parent.parent.reference.section_name.clone() }
}

/// The Gateway whose listeners a target has; `None` for what has no listeners.
pub(super) fn gateway_of(target: ObjectId, reader: &mut Reader<'_>) -> Option<ObjectId> {
    match reader.kind(target)? {
        Kind::Gateway => Some(target),
        Kind::ListenerSet => reader.listener_set(target)?.gateway,
        _ => None,
    }
}

/// Whether a Gateway or ListenerSet has a listener of this name.
pub(super) fn has_section(target: ObjectId, section: &str, reader: &mut Reader<'_>) -> bool {
    let listeners = match reader.kind(target) {
        Some(Kind::ListenerSet) => reader.listener_set(target).map(|set| &set.listeners),
        _ => reader.gateway(target).map(|gateway| &gateway.listeners),
    };
    listeners.is_some_and(|listeners| listeners.iter().any(|l| &*l.name == section))
}

/// A scope as status names it.
pub(super) fn ancestor(scope: &Scope, reader: &Reader<'_>) -> ParentReference {
    let object = reader.object(scope.object);
    ParentReference {
        group: object.kind.group().into(),
        kind: object.kind.name().into(),
        namespace: Some(object.namespace),
        name: object.name,
        section_name: scope.section.clone(),
        port: None,
    }
}
