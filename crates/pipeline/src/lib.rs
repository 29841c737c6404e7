//! All stages wired in order: one commit that yields xDS, status and problems of the same moment.
//!
//! [`Pipeline::commit`] applies a change set to the store and runs the stages of `translate` and `xds` over what it
//! touched. A pipeline that is given everything at once is a translation from scratch: the same code serves the cold
//! start, the `translate` command, and [`Pipeline::audit`], which compares the incremental result with a fresh one.
//!
//! **Invariant:** no IO and no clock; the only state is facts and outputs.

mod audit;
mod fleet;
mod isolation;
mod misdirected;
mod neighbours;
mod order;
mod stages;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::{Counters, Dirty};
use ir::{Problem, infra::Wish, resource::ResourceUpdate, status::Status};
pub use store::{ChangeSet, Infrastructure, Settings};
use store::{Fact, FactKey, Store};

pub use audit::Difference;
pub use fleet::{Fleet, FleetSpec, SocketSpec};
use stages::Stages;
pub use stages::{AppliedField, AppliedPolicy, Explanation, HostView, Parameter, Part, PolicyPlace};

/// What one commit changed.
#[derive(Debug, Default)]
pub struct Commit {
    /// Number of this commit, from 1.
    pub revision: u64,
    /// Changed resources by fleet. A fleet that is new is here even when it has no resource.
    pub resources: Vec<(Arc<str>, ResourceUpdate)>,
    /// Fleets that are gone.
    pub removed_fleets: Vec<Arc<str>>,
    /// Wishes that changed, by fleet; `None` for a fleet that is gone or no longer runs in a cluster.
    pub wishes: Vec<(Arc<str>, Option<Arc<Wish>>)>,
    /// Status that changed; `None` for an object that has none any more.
    pub statuses: Vec<(ir::ObjectRef, Option<Status>)>,
    /// Work done, by stage.
    pub work: Vec<(&'static str, Counters)>,
}

/// Facts, stages and their results.
#[derive(Debug)]
pub struct Pipeline {
    store: Store,
    stages: Stages,
    revision: u64,
}

impl Pipeline {
    /// An empty pipeline.
    pub fn new(settings: Settings) -> Self {
        Pipeline { store: Store::new(settings), stages: Stages::default(), revision: 0 }
    }

    /// Applies changes as one transaction.
    pub fn commit(&mut self, changes: ChangeSet) -> Commit {
        let dirty = self.store.apply(changes);
        self.revision += 1;
        let before = self.stages.counters();
        let mut commit = self.stages.run(&self.store, &dirty);
        self.store.end_transaction();
        commit.revision = self.revision;
        commit.work = (self.stages.counters().into_iter().zip(before))
            .map(|((name, now), (_, then))| {
                let work = Counters {
                    recomputed: now.recomputed - then.recomputed,
                    changed: now.changed - then.changed,
                };
                (name, work)
            })
            .collect();
        commit
    }

    /// Number of the last commit.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The fleets of proxies with their resources, by name.
    pub fn fleets(&self) -> &BTreeMap<Arc<str>, Fleet> {
        self.stages.fleets()
    }

    /// What each fleet needs of a cluster, by name of the fleet.
    pub fn wishes(&self) -> impl Iterator<Item = &Arc<Wish>> {
        self.fleets().values().filter_map(|fleet| fleet.spec.wish.as_ref())
    }

    /// Every status, by object.
    pub fn statuses(&self) -> impl Iterator<Item = &Status> {
        self.stages.statuses().into_iter()
    }

    /// The status of one object; `None` when it has none.
    pub fn status(&self, object: &ir::ObjectRef) -> Option<&Status> {
        self.stages.status(self.store.find(object)?)
    }

    /// Everything that translation found wrong, by object.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.statuses().flat_map(|status| status.problems.iter().cloned()).collect();
        problems.sort();
        problems.dedup();
        problems
    }

    /// The hosts that are served, by fleet, socket and order of routes: where a person can try a route.
    pub fn hosts(&self) -> Vec<HostView> {
        self.stages.host_views(&self.store)
    }

    /// The policies of all kinds that apply to a rule of a route, which may have a name, on a listener of a Gateway, which
    /// is named as in xDS.
    pub fn policies_of_rule(
        &self,
        route: (&ir::ObjectRef, Option<&str>),
        listener: (&ir::ObjectRef, &str),
    ) -> Vec<AppliedPolicy> {
        self.stages.policies_of_rule(&self.store, route, listener)
    }

    /// The policies of all kinds that apply to a listener of a Gateway, which is named as in xDS.
    pub fn policies_of_listener(&self, listener: (&ir::ObjectRef, &str)) -> Vec<AppliedPolicy> {
        self.stages.policies_of_listener(&self.store, listener)
    }

    /// What the parameters of a Gateway's proxies say, and who says it: an EnvoyProxy or the configuration file. `field` is
    /// a path below `spec`, such as `backendTLS.minVersion`.
    pub fn parameter(&self, gateway: &ir::ObjectRef, field: &str) -> Option<Parameter> {
        stages::parameter(&self.store, gateway, field)
    }

    /// The BackendTLSPolicy for a backend; `section` is the name of the port, for a Backend its number.
    pub fn policy_of_backend(&self, backend: &ir::ObjectRef, section: Option<&str>) -> Option<ir::ObjectRef> {
        stages::policy_of_backend(&self.store, backend, section)
    }

    /// Where a policy acts, with what it says there and what it has to do with other policies. None for what is no policy,
    /// is of a kind that is for backends, or acts nowhere.
    pub fn places_of_policy(&self, policy: &ir::ObjectRef) -> Vec<PolicyPlace> {
        self.stages.places_of_policy(&self.store, policy)
    }

    /// Pairs of routes that have a match in common on some virtual host, each pair both ways round.
    pub fn overlaps(&self) -> BTreeSet<(ir::ObjectRef, ir::ObjectRef)> {
        self.stages.overlapping(&self.store)
    }

    /// The routes of each virtual host that has any.
    pub fn routes_by_virtual_host(&self) -> Vec<BTreeSet<ir::ObjectRef>> {
        self.stages.routes_by_virtual_host(&self.store)
    }

    /// Routes of a kind on listeners that end TLS and do not offer HTTP/2, each with the listener.
    pub fn without_http2(&self, kind: ir::Kind) -> BTreeSet<(ir::ObjectRef, ir::listener::ListenerRef)> {
        self.stages.without_http2(kind, &self.store)
    }

    /// Work done since the start, by stage.
    pub fn counters(&self) -> Vec<(&'static str, Counters)> {
        self.stages.counters()
    }

    /// When a commit is due because a certificate begins or ends to be valid, in seconds since 1970.
    pub fn next_boundary(&self) -> Option<i64> {
        self.store.next_boundary()
    }

    /// The facts, for metrics.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Why an output is what it is: each output of a stage whose key mentions `text`, with what it read.
    pub fn explain(&self, stage: &str, text: &str) -> Vec<Explanation> {
        self.stages.explain(&self.store, stage, text)
    }
}

/// Every fact of a store as touched: what a build from scratch starts from.
fn everything(store: &Store) -> Dirty<FactKey> {
    let mut dirty = Dirty::default();
    dirty.insert(FactKey::Settings);
    let mut ids: Vec<_> = store.facts().map(|fact| fact.meta().id).collect();
    ids.sort_unstable();
    dirty.extend(ids.into_iter().map(FactKey::Object));
    dirty.extend(store.facts().filter_map(Fact::gateway_class).map(FactKey::GatewaysOf));
    dirty
}
