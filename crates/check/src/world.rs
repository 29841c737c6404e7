//! Facts in the form in which checks look at them.

use std::sync::Arc;

use ir::{Kind, ObjectRef, Problem, Severity, problem::Subject, status::StatusBody};
use pipeline::Pipeline;
use rustc_hash::FxHashSet;
use store::{Fact, ObjectId, Store, facts};

/// A listener of a Gateway or ListenerSet that is ours.
#[derive(Clone, Copy)]
pub(crate) struct Listener<'a> {
    /// What it is part of.
    pub(crate) owner: &'a ObjectRef,
    /// The Gateway that serves it.
    pub(crate) gateway: &'a ObjectRef,
    /// Its index in `spec.listeners`.
    pub(crate) index: usize,
    pub(crate) fact: &'a facts::Listener,
}

impl Listener<'_> {
    /// Path of a field of it.
    pub(crate) fn field(&self, below: &str) -> String {
        format!("spec.listeners[{}]{below}", self.index)
    }
}

/// A route of HTTP requests or gRPC calls.
#[derive(Clone, Copy)]
pub(crate) struct Route<'a> {
    pub(crate) object: &'a ObjectRef,
    pub(crate) meta: &'a facts::Meta,
    pub(crate) parents: &'a [facts::ParentRef],
    pub(crate) hostnames: &'a [store::NameId],
    pub(crate) rules: &'a [facts::Rule],
}

/// Everything that is looked at.
pub(crate) struct World<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) store: &'a Store,
    pub(crate) listeners: Vec<Listener<'a>>,
    /// By object.
    pub(crate) routes: Vec<Route<'a>>,
    /// Gateways and ListenerSets that have a status of ours.
    ours: FxHashSet<&'a ObjectRef>,
    /// Objects that an API server refuses.
    refused: FxHashSet<&'a Subject>,
}

impl<'a> World<'a> {
    pub(crate) fn new(pipeline: &'a Pipeline, loading: &'a [Problem]) -> World<'a> {
        let store = pipeline.store();
        let ours: FxHashSet<&ObjectRef> = pipeline
            .statuses()
            .filter(|s| matches!(s.body, StatusBody::Gateway { .. } | StatusBody::ListenerSet { .. }))
            .map(|status| &status.object)
            .collect();
        let refused = loading.iter().filter(|problem| problem.severity == Severity::Rejected);
        let refused = refused.map(|problem| &problem.object).collect();
        let mut world = World { pipeline, store, listeners: Vec::new(), routes: Vec::new(), ours, refused };
        for fact in store.facts() {
            let Some(object) = store.object(fact.meta().id) else { continue };
            match fact {
                Fact::Gateway(gateway) if world.is_ours(object) => {
                    world.listeners.extend(listeners(object, object, &gateway.listeners));
                }
                Fact::ListenerSet(set) if world.is_ours(object) => {
                    let gateway = set.gateway.and_then(|id| store.object(id)).unwrap_or(object);
                    world.listeners.extend(listeners(object, gateway, &set.listeners));
                }
                Fact::HttpRoute(route) => world.routes.push(Route {
                    object,
                    meta: &route.meta,
                    parents: &route.parents,
                    hostnames: &route.hostnames,
                    rules: &route.rules,
                }),
                Fact::GrpcRoute(route) => world.routes.push(Route {
                    object,
                    meta: &route.meta,
                    parents: &route.parents,
                    hostnames: &route.hostnames,
                    rules: &route.rules,
                }),
                _ => {}
            }
        }
        world.listeners.sort_by(|a, b| (a.owner, a.index).cmp(&(b.owner, b.index)));
        world.routes.sort_by(|a, b| a.object.cmp(b.object));
        world
    }

    /// True for a Gateway or ListenerSet whose status we write.
    pub(crate) fn is_ours(&self, object: &ObjectRef) -> bool {
        self.ours.contains(object)
    }

    /// Listeners that a parent reference means.
    pub(crate) fn meant<'w>(
        &'w self,
        parent: &'w facts::ParentRef,
    ) -> impl Iterator<Item = &'w Listener<'a>> + 'w {
        let target = parent.target.and_then(|id| self.store.object(id));
        let from = self.listeners.partition_point(|listener| Some(listener.owner) < target);
        let owned = self.listeners[from..].iter().take_while(move |listener| Some(listener.owner) == target);
        owned.filter(|listener| {
            parent.reference.section_name.as_ref().is_none_or(|name| *name == listener.fact.name)
                && parent.reference.port.is_none_or(|port| port == listener.fact.port)
        })
    }

    pub(crate) fn name(&self, id: store::NameId) -> &'a Arc<str> {
        self.store.name(id)
    }

    /// Every object of a kind with its fact, by name.
    pub(crate) fn of_kind(&self, kind: Kind) -> Vec<(&'a ObjectRef, &'a Fact)> {
        let ids = self.store.of_kind(kind);
        let mut all: Vec<_> =
            ids.filter_map(|id| Some((self.store.object(id)?, self.store.fact(id)?))).collect();
        all.sort_by_key(|(object, _)| *object);
        all
    }

    /// An object that is there, or would be if an API server did not refuse it, which has been said.
    pub(crate) fn exists(&self, id: ObjectId) -> bool {
        let refused = |object: &ObjectRef| self.refused.contains(&Subject::from(object));
        self.store.fact(id).is_some() || self.store.object(id).is_some_and(refused)
    }
}

fn listeners<'a>(
    owner: &'a ObjectRef,
    gateway: &'a ObjectRef,
    listeners: &'a [facts::Listener],
) -> impl Iterator<Item = Listener<'a>> {
    listeners.iter().enumerate().map(move |(index, fact)| Listener { owner, gateway, index, fact })
}
