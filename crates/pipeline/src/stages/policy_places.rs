//! Where a policy acts, and what it says there.

use std::{collections::BTreeSet, fmt, sync::Arc};

use engine::Reads;
use ir::{Kind, ObjectRef};
use store::{ObjectId, Store};
use translate::{
    Policies, Reader,
    policy::{self, Place, PolicyOutput, Scope},
};

use super::{AppliedField, Stages, applied};

/// An object, or a listener or rule of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The object.
    pub object: ObjectRef,
    /// The listener or rule; `None` for the whole object.
    pub section: Option<Arc<str>>,
}

impl fmt::Display for Part {
    /// `HTTPRoute default/shop rule cart`, `Gateway default/eg listener http`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        let Some(section) = &self.section else { return Ok(()) };
        let of_listeners = matches!(self.object.kind, Kind::Gateway | Kind::ListenerSet);
        write!(f, " {} {section}", if of_listeners { "listener" } else { "rule" })
    }
}

/// A policy at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyPlace {
    /// What it is for.
    pub of: Part,
    /// The Gateway, ListenerSet or listener where it acts.
    pub at: Part,
    /// Why it is not applied; `None` when it is.
    pub against: Option<String>,
    /// What of it has no effect all the same.
    pub warnings: Vec<String>,
    /// The broader policies that it is merged over, the closest first.
    pub merged_over: Vec<ObjectRef>,
    /// The broader policy in whose place it has effect, with what that one is for.
    pub replaces: Option<(Part, ObjectRef)>,
    /// Narrower policies that are merged over it, with what they are for.
    pub merged: Vec<(Part, ObjectRef)>,
    /// Narrower policies that have effect in its place, with what they are for.
    pub replaced: Vec<(Part, ObjectRef)>,
    /// What it says there, merged, ascending by field; empty where it is not applied.
    pub fields: Vec<AppliedField>,
}

impl Stages {
    /// The places of a policy, in the order of its targets; none for what is no policy, or acts nowhere.
    pub(crate) fn places_of_policy(&self, store: &Store, policy: &ObjectRef) -> Vec<PolicyPlace> {
        let Some((id, output)) = store.find(policy).and_then(|id| Some((id, self.policies.get(id)?))) else {
            return Vec::new();
        };
        // Whoever asks now asks again later: nothing is recorded.
        let mut reads = Reads::default();
        let mut view = View { stages: self, store, reader: Reader::new(store, &mut reads), id, output };
        // Of a route's place with an entry for each of its listeners, these say it all.
        let in_parts = |place: &Place| {
            let part =
                |other: &&Place| other.partial && other.of == place.of && other.at.object == place.at.object;
            !place.partial && output.places.iter().any(|other| part(&other))
        };
        let places = output.places.iter().filter(|place| !in_parts(place));
        places.filter_map(|place| view.place(place)).collect()
    }
}

struct View<'a> {
    stages: &'a Stages,
    store: &'a Store,
    reader: Reader<'a>,
    id: ObjectId,
    output: &'a PolicyOutput,
}

impl View<'_> {
    fn place(&mut self, place: &Place) -> Option<PolicyPlace> {
        let against = place.refused.as_ref().or(place.invalid.as_ref());
        let mut told = PolicyPlace {
            of: self.part(&place.of)?,
            at: self.part(&place.at)?,
            against: against.map(|finding| format!("{}: {}", finding.reason, finding.message)),
            warnings: place.warnings.iter().map(|(_, message)| message.clone()).collect(),
            merged_over: place.merged.clone(),
            replaces: None,
            merged: Vec::new(),
            replaced: Vec::new(),
            fields: Vec::new(),
        };
        if against.is_some() {
            return Some(told);
        }
        if place.merged.is_empty() {
            told.replaces = self.broader(place);
        }
        let parents: Vec<ObjectId> =
            place.merged.iter().filter_map(|parent| self.store.find(parent)).collect();
        let policies = Policies(&self.stages.policies);
        let applied = policies.version(self.id, &parents, false, &mut self.reader)?;
        told.fields = applied::fields(self.store, &applied);
        [told.merged, told.replaced] = self.narrower(place);
        Some(told)
    }

    fn part(&self, scope: &Scope) -> Option<Part> {
        Some(Part { object: self.store.object(scope.object)?.clone(), section: scope.section.clone() })
    }

    /// The policy that a scope has, with the scope.
    fn holder(&mut self, scope: &Scope) -> Option<(Part, ObjectRef)> {
        let kind = self.output.object.kind;
        let holder = policy::holder(kind, scope.object, scope.section.as_deref(), &mut self.reader)?;
        (holder != self.id).then_some(())?;
        Some((self.part(scope)?, self.store.object(holder)?.clone()))
    }

    /// The closest broader policy.
    fn broader(&mut self, place: &Place) -> Option<(Part, ObjectRef)> {
        let mut scopes = Vec::new();
        if place.of != place.at {
            if place.of.section.is_some() {
                scopes.push(Scope { object: place.of.object, section: None });
            }
            scopes.push(place.at.clone());
        }
        let mut scope = place.at.clone();
        while let Some(around) = policy::around_scope(&scope, &mut self.reader) {
            scopes.push(around.clone());
            scope = around;
        }
        scopes.iter().find_map(|scope| self.holder(scope))
    }

    /// Narrower policies: merged over this one, and in its place.
    fn narrower(&mut self, place: &Place) -> [Vec<(Part, ObjectRef)>; 2] {
        let rule = |rule: &Arc<str>| Scope { object: place.of.object, section: Some(rule.clone()) };
        let mut replaced: BTreeSet<Scope> = place.overriding.iter().map(rule).collect();
        let mut merged = BTreeSet::new();
        if let Some((gateway, scope)) = &place.scope
            && let Some(relations) = self.stages.relations.get(&(self.output.object.kind, *gateway))
        {
            merged.extend(relations.merged(scope).into_iter().cloned());
            replaced.extend(relations.overriding(scope).into_iter().cloned());
        }
        let mut named =
            |scopes: BTreeSet<Scope>| scopes.iter().filter_map(|scope| self.holder(scope)).collect();
        [named(merged), named(replaced)]
    }
}
