//! What a commit means for the cluster: statuses, infrastructure and finalizers, handed to the leader's writers.
//!
//! It runs on the pipeline's thread, after commits and whenever the data plane has news, and hands in only what may
//! have changed. Every replica does; who writes is the leader's business.

mod fleet;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use ir::{
    Kind, ObjectRef, Problem,
    infra::{DeployMode, Installation, Wish},
    status::{Status, StatusBody},
};
use leader::{Leader, Place};
use pipeline::{Commit, Pipeline};
use provider::kubernetes::Observed;
use server::Feeds;

use crate::{
    bootstraps::{self, Bootstraps, Known},
    conditions::{self, Refusals, Verdict, Word},
    control::Outlet,
};
use fleet::FleetRecord;

/// The part of the flow behind the pipeline. Clones share.
#[derive(Clone)]
pub(crate) struct Publisher(Arc<Mutex<State>>);

/// Where to publish.
pub(crate) struct Target {
    /// The writers; a new one knows nothing yet.
    pub leader: Leader,
    /// The cluster as it is.
    pub observed: Observed,
    /// The authority of the control plane, for proxies in other namespaces.
    pub ca: Option<Arc<str>>,
}

struct State {
    feeds: Feeds,
    bootstraps: Bootstraps,
    target: Option<Target>,
    /// True until everything has been handed to the target.
    fresh: bool,
    /// True once a commit has been seen: sockets that come later are new.
    started: bool,
    installation: Arc<Installation>,
    refusals: Refusals,
    /// What stands against the parameters of Gateways, GatewayClasses and EnvoyProxies by Envoy's word.
    against: BTreeMap<ObjectRef, Word>,
    fleets: BTreeMap<Arc<str>, FleetRecord>,
    /// Our classes, with what they were last said to be.
    classes: BTreeMap<Arc<str>, bool>,
}

impl Publisher {
    /// Publishes nothing before [`Publisher::aim`].
    pub(crate) fn new(feeds: Feeds, bootstraps: Bootstraps) -> Publisher {
        Publisher(Arc::new(Mutex::new(State {
            feeds,
            bootstraps,
            target: None,
            fresh: false,
            started: false,
            installation: Arc::default(),
            refusals: Refusals::default(),
            against: BTreeMap::new(),
            fleets: BTreeMap::new(),
            classes: BTreeMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic ends the process; until then each table is right by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes here from the next commit on, which hands in everything.
    pub(crate) fn aim(&self, target: Target) {
        let mut state = self.lock();
        state.target = Some(target);
        state.fresh = true;
    }

    /// The cluster as it is now; [`Publisher::refresh`] draws the conclusions.
    pub(crate) fn observe(&self, observed: Observed) {
        if let Some(target) = &mut self.lock().target {
            target.observed = observed;
        }
    }

    /// Draws conclusions from what the data plane and the cluster say now. Returns when to come again at the latest.
    pub(crate) fn refresh(&self, pipeline: &Pipeline) -> Option<Instant> {
        let mut state = self.lock();
        if state.target.is_none() || state.fresh {
            return None;
        }
        let refusals = Refusals::of(state.feeds.deliveries().all());
        let mut touched = state.refusals.differences(&refusals);
        state.refusals = refusals;
        for wish in pipeline.wishes() {
            if state.fleets.get(&wish.fleet).is_some_and(|record| record.waits_for_envoy) {
                state.wish(wish);
            }
        }
        touched.extend(state.note_refused(pipeline));
        let fleets: Vec<Arc<str>> = pipeline.fleets().keys().cloned().collect();
        touched.extend(state.judge(pipeline, fleets.iter()));
        state.publish_statuses(pipeline, &touched);
        let now = Instant::now();
        state.fleets.values().filter_map(|fleet| fleet.deadline(now)).min()
    }

    /// What Envoy has against bootstraps of fleets, each once.
    pub(crate) fn refused_bootstraps(&self, pipeline: &Pipeline) -> Vec<Problem> {
        let state = self.lock();
        let mut problems = Vec::new();
        for wish in pipeline.wishes() {
            let record = state.fleets.get(&wish.fleet);
            let Some(words) = record.and_then(|record| record.refused.as_ref()) else { continue };
            let problem = ::check::refused_bootstrap(wish, words);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems
    }

    /// Every status as it is published.
    pub(crate) fn statuses(&self, pipeline: &Pipeline) -> Vec<Status> {
        let state = self.lock();
        pipeline.statuses().map(|status| state.completed(status)).collect()
    }
}

impl Outlet for Publisher {
    fn committed(&mut self, pipeline: &Pipeline, commit: &Commit) {
        self.lock().committed(pipeline, commit);
    }
}

impl State {
    fn committed(&mut self, pipeline: &Pipeline, commit: &Commit) {
        let everything = std::mem::take(&mut self.fresh);
        let installation = &pipeline.store().settings().installation;
        let reinstalled = self.installation != *installation;
        self.installation = installation.clone();

        let mut changed: BTreeSet<Arc<str>> =
            commit.resources.iter().map(|(fleet, _)| fleet.clone()).collect();
        if everything || reinstalled {
            for wish in pipeline.wishes() {
                self.wish(wish);
            }
            changed.extend(pipeline.fleets().keys().cloned());
        }
        for (fleet, wish) in &commit.wishes {
            changed.insert(fleet.clone());
            match wish {
                Some(wish) if !everything && !reinstalled => self.wish(wish),
                Some(_) => {}
                None => self.unwish(fleet),
            }
        }
        for fleet in &commit.removed_fleets {
            self.fleets.remove(fleet);
        }
        for fleet in &changed {
            if let Some(known) = pipeline.fleets().get(fleet) {
                self.fleets.entry(fleet.clone()).or_default().note_sockets(&known.spec.sockets, self.started);
            }
        }
        self.started = true;
        let mut touched = self.judge(pipeline, changed.iter());
        touched.extend(self.note_refused(pipeline));
        touched.extend(commit.statuses.iter().map(|(object, _)| object.clone()));
        if everything {
            touched.extend(pipeline.statuses().map(|status| status.object.clone()));
        }
        self.publish_statuses(pipeline, &touched);
        let classes = commit.statuses.iter().any(|(object, _)| object.kind == Kind::GatewayClass);
        if everything || classes || !commit.wishes.is_empty() {
            self.publish_classes(pipeline, everything);
        }
    }

    /// Hands in the infrastructure of one fleet.
    fn wish(&mut self, wish: &Wish) {
        let record = self.fleets.entry(wish.fleet.clone()).or_default();
        record.class = Some(wish.class.object.name.clone());
        let Some(target) = &self.target else { return };
        let context = infra::Context { installation: &self.installation, ca: target.ca.as_deref() };
        // A bootstrap that Envoy refuses would end proxies that run.
        let known = infra::draft(wish, &context)
            .filter(|_| !wish.on_hold)
            .map_or(Known::Usable, |draft| self.bootstraps.look(draft));
        // Until Envoy has answered, what it said before holds: a status that changes twice says nothing more.
        record.waits_for_envoy = known == Known::Asked;
        if !record.waits_for_envoy {
            (record.failure, record.refused) = (None, None);
        }
        let rendered = match known {
            Known::Usable if !wish.on_hold => Some(infra::render(wish, &context)),
            Known::Usable | Known::Asked => None,
            Known::Refused(words) => {
                let failure = ::check::against_bootstrap(&words);
                tracing::error!(fleet = %wish.fleet, "its infrastructure stays as it is: {failure}");
                record.failure = Some(failure);
                record.refused = Some(words);
                None
            }
        };
        let (objects, alias) = match rendered {
            None => (None, None),
            Some(Ok(rendered)) => {
                let bodies = |objects: Vec<infra::RenderedObject>| {
                    Some(objects.into_iter().map(|object| object.body).collect())
                };
                (bodies(rendered.objects), bodies(rendered.alias.into_iter().collect()))
            }
            Some(Err(error)) => {
                tracing::error!(fleet = %wish.fleet, "its infrastructure stays as it is: {error}");
                record.failure = Some(error.to_string());
                (None, None)
            }
        };
        let owner = &wish.owner.identity().object;
        let fleets = target.leader.fleets();
        fleets.set(leader::Fleet {
            name: wish.fleet.clone(),
            namespace: namespace(&self.installation, owner).to_string(),
            selector: infra::names::selector_labels(&wish.owner),
            objects,
            place: Place::Infrastructure,
        });
        if owner.kind == Kind::Gateway {
            fleets.set(leader::Fleet {
                name: alias_of(&wish.fleet),
                namespace: owner.namespace.to_string(),
                selector: infra::names::alias_labels(&owner.name),
                objects: alias,
                place: Place::User,
            });
        }
    }

    /// Notes whose parameters Envoy has something against, and returns those of whom it has something else to say than
    /// before.
    fn note_refused(&mut self, pipeline: &Pipeline) -> BTreeSet<ObjectRef> {
        let mut against = BTreeMap::new();
        for wish in pipeline.wishes() {
            let record = self.fleets.get(&wish.fleet);
            let Some(words) = record.and_then(|record| record.refused.as_ref()) else { continue };
            let message = format!("The EnvoyProxy is not valid: {}", ::check::against_bootstrap(words));
            let word = Word::no("InvalidParameters", message);
            let gateways = pipeline.fleets().get(&wish.fleet).map_or(&[][..], |fleet| &fleet.spec.gateways);
            for object in gateways.iter().cloned().chain(bootstraps::concerned(wish, pipeline)) {
                against.entry(object).or_insert_with(|| word.clone());
            }
        }
        let before = std::mem::replace(&mut self.against, against);
        let all = before.keys().chain(self.against.keys());
        all.filter(|object| before.get(*object) != self.against.get(*object)).cloned().collect()
    }

    fn unwish(&mut self, fleet: &Arc<str>) {
        self.fleets.remove(fleet);
        if let Some(target) = &self.target {
            target.leader.fleets().remove(fleet);
            target.leader.fleets().remove(&alias_of(fleet));
        }
    }

    /// Judges fleets anew, and returns the Gateways of those that are judged differently, with their ListenerSets.
    fn judge<'a>(
        &mut self,
        pipeline: &Pipeline,
        fleets: impl Iterator<Item = &'a Arc<str>>,
    ) -> BTreeSet<ObjectRef> {
        let Some(target) = &self.target else { return BTreeSet::new() };
        let states = target.leader.fleets().states();
        let mut touched = BTreeSet::new();
        for fleet in fleets {
            let Some(known) = pipeline.fleets().get(fleet) else { continue };
            let Some(first) = known.spec.gateways.first() else { continue };
            let asked = fleet::asked(pipeline, &known.spec.gateways);
            let ready_on = ready_on(&target.observed, fleet);
            let inputs = fleet::Inputs {
                name: fleet,
                sockets: &known.spec.sockets,
                infrastructure: target.observed.fleets.get(fleet),
                namespace: namespace(&self.installation, first),
                nodes: &target.observed.nodes,
                ready_on: ready_on.as_ref(),
                feed: self.feeds.status(fleet),
                refusals: &self.refusals,
                errors: states.get(fleet).map_or(&[][..], |state| &state.errors),
                gateways: &asked,
            };
            for gateway in self.fleets.entry(fleet.clone()).or_default().judge(&inputs, Instant::now()) {
                let store = pipeline.store();
                let sets = store.find(&gateway).into_iter().flat_map(|id| store.listener_sets_of(id));
                touched.extend(sets.filter_map(|id| store.object(id).cloned()));
                touched.insert(gateway);
            }
        }
        touched
    }

    fn completed(&self, status: &Status) -> Status {
        let mut status = status.clone();
        let verdict = |fleet: &Arc<str>, gateway: &ObjectRef| {
            let verdict = self.fleets.get(fleet).and_then(|record| record.verdicts.get(gateway));
            verdict.cloned().unwrap_or_else(|| Verdict {
                addresses: Vec::new(),
                programmed: Word::no("NoResources", "There are no proxies for the Gateway"),
                listeners: Vec::new(),
            })
        };
        let against = |object: &ObjectRef| self.against.get(object).cloned();
        conditions::complete(&mut status, &self.refusals, verdict, against);
        status
    }

    fn publish_statuses(&self, pipeline: &Pipeline, objects: &BTreeSet<ObjectRef>) {
        let Some(target) = &self.target else { return };
        let writer = target.leader.statuses();
        let store = pipeline.store();
        for object in objects {
            match pipeline.status(object) {
                // A route without parents of ours has nothing to say, and what it said before goes.
                Some(Status { body: StatusBody::Route { parents }, .. }) if parents.is_empty() => {
                    writer.clear(object);
                }
                Some(status) => writer.set(&self.completed(status)),
                None if store.find(object).is_some_and(|id| store.fact(id).is_some()) => writer.clear(object),
                None => writer.gone(object),
            }
        }
    }

    /// Hands in which of our classes are in use.
    fn publish_classes(&mut self, pipeline: &Pipeline, everything: bool) {
        let Some(target) = &self.target else { return };
        let writer = target.leader.classes();
        let used: BTreeSet<&Arc<str>> =
            self.fleets.values().filter_map(|fleet| fleet.class.as_ref()).collect();
        let store = pipeline.store();
        let ids = store.of_kind(Kind::GatewayClass);
        let ours = ids.filter_map(|id| store.object(id)).filter(|class| pipeline.status(class).is_some());
        let now: BTreeMap<Arc<str>, bool> =
            ours.map(|class| (class.name.clone(), used.contains(&class.name))).collect();
        for (class, in_use) in &now {
            if everything || self.classes.get(class) != Some(in_use) {
                writer.set(class, *in_use);
            }
        }
        for class in self.classes.keys().filter(|class| !now.contains_key(*class)) {
            writer.gone(class);
        }
        self.classes = now;
    }
}

/// Nodes that a proxy of a fleet is ready on, where only these answer; none where that is not so or not known.
fn ready_on(observed: &Observed, fleet: &Arc<str>) -> Option<BTreeSet<Arc<str>>> {
    let local = observed.fleets.get(fleet)?.services.iter().any(|service| service.local);
    let pods = observed.pods.as_ref().filter(|_| local)?;
    let ready = pods.values().filter(|pod| pod.fleet == *fleet && pod.ready && !pod.terminating);
    Some(ready.map(|pod| pod.node.clone()).collect())
}

/// What the leader knows the objects in a Gateway's own namespace by; no fleet has such a name.
fn alias_of(fleet: &str) -> Arc<str> {
    format!("{fleet}//alias").into()
}

/// Where the proxies of an owner run.
fn namespace<'a>(installation: &'a Installation, owner: &'a ObjectRef) -> &'a Arc<str> {
    match installation.mode {
        DeployMode::ControllerNamespace => &installation.controller_namespace,
        DeployMode::GatewayNamespace => &owner.namespace,
    }
}
