//! What is in force: the sources' events made into changes, without IO and without a clock.
//!
//! The hub says what shall be done ([`Order`]) and takes what comes of it ([`Hub::event`], [`Hub::fetched`],
//! [`Hub::listed`], [`Hub::discovered`]). Three things make it more than a map:
//! - **Lists against what is known.** A list is complete as of one moment; what it does not name is gone.
//! - **Fetches beside the watch.** A fetched object may be newer than what the watch tells next, and may be deleted
//!   before it arrives: such entries are marked as ahead, deletions meanwhile are remembered, and a fetch that a list
//!   has overtaken is made again.
//! - **Holding.** An object that newly refers to a Secret or ConfigMap waits for it.

mod fetch;
mod objects;
mod presence;
mod selection;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::Object;
use ir::{Kind, ObjectRef, Problem};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::Instant;

use super::{
    Options, Progress,
    decode::{Content, Item, Name, Version},
    metrics::{KindLabel, Metrics},
    observed::{Observed, Observer, WorkloadKind},
    problems,
    references::{References, Wanted},
    resource::{Resource, What},
    server::{Failure, FailureKind},
    source::{Change, Event, SourceId},
    witness::Testimony,
};

pub(super) use presence::Served;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Start a source, in this version of its resource.
    Start(SourceId, &'static str),
    /// Stop a source.
    Stop(SourceId),
    /// Fetch one object.
    Get(Fetch<ObjectRef>),
    /// List one namespace beside the watch.
    List(Fetch<Arc<str>>),
    /// Look at which kinds there are, after [`super::Timing::absence`].
    DiscoverAgain,
}

/// A fetch beside the watch of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetch<T> {
    pub(super) source: SourceId,
    /// What to fetch.
    pub(super) what: T,
    /// The source's epoch when the fetch was ordered: in another one the answer may be older than what is known.
    epoch: u32,
}

/// What is known of one source.
#[derive(Debug)]
struct Known {
    resource: Arc<Resource>,
    namespace: Option<Arc<str>>,
    version: &'static str,
    /// True for what the control plane has beside its scope; it may lack the permission.
    optional: bool,
    started: bool,
    /// True once a list was complete, or reading is forbidden.
    done: bool,
    /// Counts beginnings and ends of lists; 0 before the first.
    epoch: u32,
    /// Names that the list under way has shown.
    seen: Option<FxHashSet<Name>>,
    objects: FxHashMap<Name, Seen>,
    /// Fetches that have not been answered.
    fetches: usize,
    /// What was deleted while there were fetches.
    tombstones: FxHashMap<Name, Version>,
    /// Since when the CRD is missing while objects are in force.
    absent: Option<Instant>,
    failure: Option<Failure>,
    /// Objects as the metrics know them.
    counted: i64,
}

/// What others may know of a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceView<'a> {
    pub(super) resource: &'a Arc<Resource>,
    pub(super) version: &'static str,
    /// The namespace that it watches; none for all.
    pub(super) namespace: Option<&'a Arc<str>>,
    /// True when it may lack the permission.
    pub(super) optional: bool,
    /// Why the latest request failed; none when it did not.
    pub(super) failure: Option<&'a Failure>,
}

impl Known {
    fn view(&self) -> SourceView<'_> {
        SourceView {
            resource: &self.resource,
            version: self.version,
            namespace: self.namespace.as_ref(),
            optional: self.optional,
            failure: self.failure.as_ref(),
        }
    }
}

/// The version of an object that was seen last.
#[derive(Clone, Copy, Debug)]
struct Seen {
    version: Version,
    /// True when a fetch brought it, so that the watch may still tell of older versions.
    ahead: bool,
}

/// How an object came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    List,
    Watch,
    Fetch,
}

/// An object that waits for what it refers to.
#[derive(Debug)]
struct Held {
    object: Object,
    references: Vec<ObjectRef>,
    waiting: BTreeSet<ObjectRef>,
    until: Instant,
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Hub {
    options: Options,
    resources: Vec<Arc<Resource>>,
    sources: BTreeMap<SourceId, Known>,
    next_source: u32,
    /// Namespaces that the selector selects; empty with other scopes.
    selected: FxHashSet<Arc<str>>,
    references: References,
    held: FxHashMap<ObjectRef, Held>,
    /// Objects that are being fetched.
    fetching: FxHashSet<ObjectRef>,
    observer: Observer,
    /// Objects since the last [`Hub::take_changes`].
    changes: BTreeMap<ObjectRef, Option<Object>>,
    undecodable: BTreeMap<ObjectRef, Problem>,
    problems_changed: bool,
    discovered: bool,
    /// False while a source waits for its turn.
    all_started: bool,
    synced: bool,
    orders: Vec<Order>,
    metrics: Metrics,
    now: Instant,
}

/// What changed since it was last asked.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) objects: BTreeMap<ObjectRef, Option<Object>>,
    pub(super) problems: Vec<Problem>,
}

impl Hub {
    /// Knows nothing yet. The first orders come with the first [`Hub::discovered`].
    pub(super) fn new(mut options: Options, metrics: Metrics, now: Instant) -> Hub {
        Hub {
            references: References::new(std::mem::take(&mut options.keep)),
            options,
            resources: Resource::all().into_iter().map(Arc::new).collect(),
            sources: BTreeMap::new(),
            next_source: 0,
            selected: FxHashSet::default(),
            held: FxHashMap::default(),
            fetching: FxHashSet::default(),
            observer: Observer::default(),
            changes: BTreeMap::new(),
            undecodable: BTreeMap::new(),
            problems_changed: false,
            discovered: false,
            all_started: true,
            synced: false,
            orders: Vec::new(),
            metrics,
            now,
        }
    }

    /// The names of Secrets and ConfigMaps that are wanted.
    pub(super) fn wanted(&self) -> Wanted {
        self.references.wanted()
    }

    /// What a source watches: its resource and namespace.
    pub(super) fn source(&self, id: SourceId) -> Option<SourceView<'_>> {
        self.sources.get(&id).map(Known::view)
    }

    /// All that can be discovered: resources that need a CRD.
    pub(super) fn discoverable(&self) -> Vec<Arc<Resource>> {
        self.resources.iter().filter(|resource| !resource.built_in).cloned().collect()
    }

    /// What to do now.
    pub(super) fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// The changes, once all is synced; none when there are none.
    pub(super) fn take_changes(&mut self) -> Option<Changes> {
        let first = !self.synced;
        if first && !self.is_complete() {
            return None;
        }
        self.synced = true;
        if first {
            // Nobody was told of what came and went.
            self.changes.retain(|_, object| object.is_some());
        } else if self.changes.is_empty() && !self.problems_changed {
            return None;
        }
        self.problems_changed = false;
        Some(Changes { objects: std::mem::take(&mut self.changes), problems: self.problems() })
    }

    /// Our infrastructure, if it changed, once all is synced.
    pub(super) fn take_observed(&mut self) -> Option<Observed> {
        if self.synced { self.observer.take_changed() } else { None }
    }

    /// How far the first lists are.
    pub(super) fn progress(&self) -> Progress {
        if self.synced {
            return Progress { synced: true, waiting: Arc::default() };
        }
        let mut waiting: Vec<String> =
            self.sources.values().filter(|s| !s.done).map(|s| problems::waiting_for(s.view())).collect();
        if !self.discovered {
            waiting.push("which kinds the API server has".to_owned());
        }
        waiting.extend(self.held.keys().map(|object| format!("what {object} refers to")));
        waiting.sort_unstable();
        Progress { synced: false, waiting: waiting.into() }
    }

    fn is_complete(&self) -> bool {
        self.discovered && self.held.is_empty() && self.sources.values().all(|source| source.done)
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.undecodable.values().cloned().collect();
        problems.extend(self.sources.values().filter_map(|source| problems::of_source(source.view())));
        problems.extend(self.missing());
        problems.sort_unstable();
        problems.dedup();
        problems
    }

    /// When [`Hub::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.values().map(|held| held.until).min()
    }

    /// The time passes: what was held for too long goes on without what it waits for.
    pub(super) fn tick(&mut self, now: Instant) {
        self.now = now;
        let late: Vec<ObjectRef> = self
            .held
            .iter()
            .filter(|(_, held)| held.until <= now)
            .map(|(object, _)| object.clone())
            .collect();
        for object in late {
            self.release(&object);
        }
    }

    /// Takes what a source tells.
    pub(super) fn event(&mut self, id: SourceId, event: Event, now: Instant) {
        self.now = now;
        let Some(source) = self.sources.get_mut(&id) else { return };
        match event {
            Event::ListBegins => {
                source.epoch += 1;
                source.seen = Some(FxHashSet::default());
                // The list is asked for after all fetches that were answered, so it is at least as new.
                source.objects.values_mut().for_each(|seen| seen.ahead = false);
            }
            Event::Listed(items) => items.into_iter().for_each(|item| self.item(id, item, Origin::List)),
            Event::ListEnds(version) => self.list_ends(id, version),
            Event::Changed(changes) => {
                for change in changes {
                    match change {
                        Change::Applied(item) => self.item(id, item, Origin::Watch),
                        Change::Deleted(name, version) => self.deleted(id, &name, version),
                    }
                }
            }
            Event::Failed(failure) => self.failed(id, failure),
            Event::Recovered => {
                if source.failure.take().is_some_and(|failure| failure.kind == FailureKind::Forbidden) {
                    self.problems_changed = true;
                }
            }
        }
        self.count(id);
        self.start_due();
    }

    fn list_ends(&mut self, id: SourceId, version: Version) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.epoch += 1;
        source.done = true;
        if source.resource.what == What::Pod {
            self.observer.pods_are_readable();
        }
        let listed = source.seen.take().unwrap_or_default();
        let mut gone: Vec<Name> = (source.objects.iter())
            .filter(|(name, seen)| {
                // What a fetch brought since may be too new for the list.
                let too_new = seen.ahead && seen.version.is_newer_than(version);
                !listed.contains(*name) && !too_new
            })
            .map(|(name, _)| name.clone())
            .collect();
        gone.sort_unstable();
        for name in gone {
            self.forget(id, &name);
        }
    }

    fn failed(&mut self, id: SourceId, failure: Failure) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        let known = source.failure.as_ref().is_some_and(|known| known.kind == failure.kind);
        let forbidden = |failure: &Failure| failure.kind == FailureKind::Forbidden;
        // What is in force stays: a Role may be away for a moment while it is replaced.
        source.done |= forbidden(&failure);
        self.problems_changed |= source.failure.as_ref().is_some_and(forbidden) != forbidden(&failure);
        if !known {
            problems::log_failure(source.view(), &failure);
        }
        source.failure = Some(failure);
    }

    fn count(&mut self, id: SourceId) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        let objects = i64::try_from(source.objects.len()).unwrap_or(i64::MAX);
        let label = KindLabel { kind: source.resource.kind };
        self.metrics.objects.get_or_create(&label).inc_by(objects - source.counted);
        source.counted = objects;
        self.metrics.undecodable.set(i64::try_from(self.undecodable.len()).unwrap_or(i64::MAX));
    }

    /// Takes one object.
    fn item(&mut self, id: SourceId, item: Item, origin: Origin) {
        let Item { name, version, content, testimony } = item;
        let counts = self.counts(id, &name, &content);
        let Some(source) = self.sources.get_mut(&id) else { return };
        if let Some(listed) = source.seen.as_mut().filter(|_| origin == Origin::List) {
            listed.insert(name.clone());
        }
        if matches!(content, Content::Unwanted) {
            return;
        }
        let deleted = source.tombstones.get(&name).is_some_and(|deletion| !version.is_newer_than(*deletion));
        if origin == Origin::Fetch && deleted {
            return;
        }
        let known = source.objects.get(&name).copied();
        if !counts {
            if known.is_some() {
                self.forget(id, &name);
            }
            return;
        }
        if let Some(known) = known {
            let may_be_older = known.ahead || origin == Origin::Fetch;
            if known.version == version || (may_be_older && !version.is_newer_than(known.version)) {
                return;
            }
        }
        source.objects.insert(name.clone(), Seen { version, ahead: origin == Origin::Fetch });
        if let (Some(testimony), Some(witness)) = (testimony, &self.options.witness) {
            match (*testimony, source.resource.object_kind()) {
                (Testimony::Sight(sight), Some(kind)) => witness.seen(&name.object(kind), &sight),
                (Testimony::Sight(_), None) => {}
                (Testimony::Infrastructure(document), _) => witness.infrastructure(&document),
            }
        }
        self.take_content(id, &name, content);
    }

    fn deleted(&mut self, id: SourceId, name: &Name, version: Version) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        if source.fetches > 0 {
            source.tombstones.insert(name.clone(), version);
        }
        let newer = |seen: &Seen| seen.ahead && seen.version.is_newer_than(version);
        if source.objects.get(name).is_some_and(|seen| !newer(seen)) {
            self.forget(id, name);
        }
    }

    /// What an object is to us becomes what is in force.
    fn take_content(&mut self, id: SourceId, name: &Name, content: Content) {
        let Some(source) = self.sources.get(&id) else { return };
        let kind = source.resource.object_kind();
        match content {
            Content::Object(object) => {
                if let Object::Service(service) = &*object {
                    self.observer.service(name, Some(service));
                }
                if let Some(kind) = kind {
                    self.apply(name.object(kind), *object);
                }
            }
            Content::Undecodable(problem) => match kind {
                Some(kind) => {
                    tracing::warn!("{problem}");
                    let object = name.object(kind);
                    self.withdraw(&object);
                    self.undecodable.insert(object, *problem);
                    self.problems_changed = true;
                }
                None => {
                    tracing::warn!("{problem}");
                    self.unobserve(id, name);
                }
            },
            Content::Workload(workload, fleet) => {
                self.observer.workload(workload.kind, name, Some((*workload, fleet)));
            }
            Content::Pod(pod) => self.observer.pod(name, Some(*pod)),
            Content::Node(node) => self.observer.node(name, Some(node)),
            Content::Unowned => self.unobserve(id, name),
            Content::Unwanted => {}
        }
    }

    /// An object is not there any more, or does not count any more.
    fn forget(&mut self, id: SourceId, name: &Name) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.objects.remove(name);
        let resource = source.resource.clone();
        if let Some(witness) = self.options.witness.as_ref().filter(|_| resource.of_fleets()) {
            witness.infrastructure_gone(resource.kind, &name.namespace, &name.name);
        }
        match resource.object_kind() {
            Some(kind) => {
                match kind {
                    Kind::Service => self.observer.service(name, None),
                    Kind::Namespace => self.namespace_gone(&name.name),
                    _ => {}
                }
                let object = name.object(kind);
                if let Some(witness) = self.options.witness.as_ref().filter(|_| !resource.built_in) {
                    witness.gone(&object);
                }
                self.withdraw(&object);
            }
            None => self.unobserve(id, name),
        }
    }

    fn unobserve(&mut self, id: SourceId, name: &Name) {
        match self.sources.get(&id).map(|source| source.resource.what) {
            Some(What::Deployment) => self.observer.workload(WorkloadKind::Deployment, name, None),
            Some(What::DaemonSet) => self.observer.workload(WorkloadKind::DaemonSet, name, None),
            Some(What::Pod) => self.observer.pod(name, None),
            Some(What::Node) => self.observer.node(name, None),
            Some(What::Object(..)) | None => {}
        }
    }
}
