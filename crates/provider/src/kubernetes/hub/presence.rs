//! Which sources there are: by scope, by what the API server has, and in which order they begin.

use std::{collections::BTreeMap, sync::Arc};

use ir::{Kind, Problem, infra::DeployMode};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::Instant;

use super::{Hub, Known, Order, SourceId};
use crate::kubernetes::{Scope, problems, resource::Resource};

/// The version in which each resource with a CRD is served, by plural and group; those that are missing are not here.
pub(in crate::kubernetes) type Served = BTreeMap<(&'static str, String), &'static str>;

impl Hub {
    /// Takes what the API server has.
    pub(in crate::kubernetes) fn discovered(&mut self, served: &Served, now: Instant) {
        self.now = now;
        for resource in self.resources.clone() {
            let version = match resource.built_in {
                true => resource.versions.first(),
                false => served.get(&(resource.group, resource.plural.clone())),
            };
            match version {
                Some(version) => self.present(&resource, version),
                None => self.absent(&resource),
            }
        }
        if !self.discovered {
            self.discovered = true;
            self.problems_changed = true;
        }
        self.start_due();
    }

    fn of_resource(&self, resource: &Resource) -> Vec<SourceId> {
        let same = |known: &Known| known.resource.what == resource.what;
        self.sources.iter().filter(|(_, known)| same(known)).map(|(id, _)| *id).collect()
    }

    /// A resource is served: its sources are made, or begin anew in another version.
    fn present(&mut self, resource: &Arc<Resource>, version: &'static str) {
        let sources = self.of_resource(resource);
        if sources.is_empty() {
            if self.discovered {
                tracing::info!(kind = %resource, version, "the API server has this kind now");
                self.problems_changed = true;
            }
            for (namespace, optional) in self.namespaces(resource) {
                self.add(resource.clone(), version, namespace, optional);
            }
        }
        let changes = |id: &SourceId| self.sources.get(id).is_some_and(|source| source.version != version);
        let is_news = sources.is_empty() || sources.iter().any(changes);
        let kind = resource.object_kind().filter(|_| is_news && !resource.built_in);
        if let Some((witness, kind)) = self.options.witness.as_ref().zip(kind) {
            witness.served(kind, version);
        }
        for id in sources {
            let Some(source) = self.sources.get_mut(&id) else { continue };
            source.absent = None;
            if source.version != version {
                source.version = version;
                if source.started {
                    self.orders.push(Order::Stop(id));
                    self.orders.push(Order::Start(id, version));
                }
            }
        }
    }

    /// A resource is not served. What is in force goes only when it is missing for a while, because an API server that
    /// starts may not know all of its CRDs yet.
    fn absent(&mut self, resource: &Arc<Resource>) {
        for id in self.of_resource(resource) {
            let Some(source) = self.sources.get_mut(&id) else { continue };
            let since = *source.absent.get_or_insert(self.now);
            if !source.objects.is_empty() && self.now < since + self.options.timing.absence {
                self.orders.push(Order::DiscoverAgain);
                continue;
            }
            tracing::info!(kind = %resource, "the API server does not have this kind any more");
            let names: Vec<_> = source.objects.keys().cloned().collect();
            for name in names {
                self.forget(id, &name);
            }
            self.count(id);
            self.sources.remove(&id);
            self.orders.push(Order::Stop(id));
            self.problems_changed = true;
        }
    }

    fn add(
        &mut self,
        resource: Arc<Resource>,
        version: &'static str,
        namespace: Option<Arc<str>>,
        optional: bool,
    ) {
        let id = SourceId(self.next_source);
        self.next_source += 1;
        let known = Known {
            resource,
            namespace,
            version,
            optional,
            started: false,
            done: false,
            epoch: 0,
            seen: None,
            objects: FxHashMap::default(),
            fetches: 0,
            tombstones: FxHashMap::default(),
            absent: None,
            failure: None,
            counted: 0,
        };
        self.all_started = false;
        self.sources.insert(id, known);
    }

    /// The namespaces in which a resource is watched, one source for each, and whether it may be forbidden there; none
    /// stands for all.
    fn namespaces(&self, resource: &Resource) -> Vec<(Option<Arc<str>>, bool)> {
        let own = &self.options.controller_namespace;
        if !resource.namespaced {
            // A policy that trusts one says what is missing; nothing else needs them.
            let optional = resource.object_kind() == Some(Kind::ClusterTrustBundle);
            return vec![(None, optional)];
        }
        if resource.object_kind().is_none() && self.options.mode == DeployMode::ControllerNamespace {
            return vec![(Some(own.clone()), false)];
        }
        let Scope::Namespaces(names) = &self.options.scope else { return vec![(None, false)] };
        let mut namespaces: Vec<_> = names.iter().map(|name| (Some(name.clone()), false)).collect();
        if resource.of_control_plane() && !names.contains(own) {
            namespaces.push((Some(own.clone()), true));
        }
        namespaces
    }

    /// Starts what may begin: Namespaces first where their labels decide what counts, Secrets and ConfigMaps last,
    /// when it is known which of them are referred to.
    pub(super) fn start_due(&mut self) {
        if self.all_started {
            return;
        }
        let by_label = matches!(self.options.scope, Scope::Selector(_));
        let phase = |source: &Known| match source.resource.object_kind() {
            Some(Kind::Namespace) if by_label => 0,
            _ if source.resource.by_reference() => 2,
            _ => 1,
        };
        let current = self.sources.values().filter(|source| !source.done).map(phase).min();
        self.all_started = true;
        for (id, source) in &mut self.sources {
            if !source.started && current.is_none_or(|current| phase(source) <= current) {
                source.started = true;
                self.orders.push(Order::Start(*id, source.version));
            }
            self.all_started &= source.started;
        }
    }

    /// Kinds without which nothing can work, and that the API server does not have.
    pub(super) fn missing(&self) -> Vec<Problem> {
        let present: FxHashSet<&str> = self.sources.values().map(|source| source.resource.kind).collect();
        let needed = [Kind::GatewayClass, Kind::Gateway, Kind::HttpRoute];
        let missing = needed.iter().filter(|kind| self.discovered && !present.contains(kind.name()));
        missing.map(|kind| problems::missing_crd(*kind)).collect()
    }
}
