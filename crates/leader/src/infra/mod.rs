//! Infrastructure: the objects of each fleet of proxies, applied in order, and what is left over of them, deleted.
//!
//! Objects are applied by server-side apply under Envoy Gateway's field manager, so that its objects become ours in
//! place, and ours its. Every round begins from what is wished and ends when all of it stands: a process that dies
//! between two writes leaves nothing that the next round does not mend.

mod apply;
mod fleet;
mod object;
mod sweep;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ir::infra::DeployMode;
use rustc_hash::FxHashMap;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    FLEET_GAP, Keep, Settings,
    call::{ApiServer, Failure},
    metrics::Metrics,
    queue::{Pace, Verdict},
    work::{Desk, Work},
};
use fleet::{Record, Wish};
use object::{Id, KINDS};

/// Field manager of server-side apply, Envoy Gateway's own.
const FIELD_MANAGER: &str = "envoy-gateway";

/// Longest back-off of one fleet.
const LONGEST: Duration = Duration::from_secs(60);
/// What the API server refuses or forbids, it may take after the next upgrade of roles, or by a quota that is raised.
const REFUSED: Duration = Duration::from_secs(30);
/// Longest time between two repairs of a fleet whose objects somebody else keeps changing.
const LONGEST_REPAIR: Duration = Duration::from_secs(60);

/// The objects that one fleet of proxies shall have.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// Name of the fleet.
    pub name: Arc<str>,
    /// Namespace of all its objects.
    pub namespace: String,
    /// Labels that all its objects carry and no others'.
    pub selector: BTreeMap<String, String>,
    /// The documents to apply, in this order; `None` leaves everything as it is (the wish cannot be rendered).
    pub objects: Option<Vec<Value>>,
    /// Whose namespace it is.
    pub place: Place,
}

/// Whose namespace objects are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// One where proxies run.
    #[default]
    Infrastructure,
    /// A user's, where a Service makes a Gateway known whose proxies run elsewhere. It is taken from nobody, and where
    /// roles do not allow it there is none: traffic does not depend on it.
    User,
}

impl Place {
    /// Kinds that there may be, with their API versions, in the order in which they are looked through.
    fn kinds(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Place::Infrastructure => &KINDS,
            Place::User => &[("v1", "Service")],
        }
    }
}

/// How far the infrastructure of a fleet is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetState {
    /// All objects stand as they are wished, and no others.
    pub applied: bool,
    /// What failed in the last round, by object; it is tried again.
    pub errors: Vec<String>,
}

/// Takes wishes for infrastructure. Clones share; no method waits.
#[derive(Clone, Debug)]
pub struct FleetWriter(Arc<Fleets>);

/// What can be worked on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    /// Fleets that no longer exist are looked for, once in each term.
    Sweep,
    /// One fleet.
    Fleet(Arc<str>),
}

/// All fleets, and who owns which object.
#[derive(Debug, Default)]
pub(crate) struct State {
    fleets: FxHashMap<Arc<str>, Record>,
    owners: FxHashMap<Id, Arc<str>>,
}

#[derive(Debug)]
pub(crate) struct Fleets {
    desk: Desk<Key, State>,
    states: Mutex<BTreeMap<Arc<str>, FleetState>>,
    changes: watch::Sender<u64>,
    api: ApiServer,
    mode: DeployMode,
    /// Namespaces in which proxies may run; empty means all.
    namespaces: Vec<String>,
    controller: Arc<str>,
    keep: Keep,
    metrics: Metrics,
}

impl FleetWriter {
    pub(crate) fn new(api: ApiServer, settings: &Settings, metrics: Metrics) -> Self {
        let namespaces = match settings.mode {
            DeployMode::ControllerNamespace => vec![settings.namespace.clone()],
            DeployMode::GatewayNamespace => settings.namespaces.clone(),
        };
        FleetWriter(Arc::new(Fleets {
            desk: Desk::new(State::default(), Pace { gap: FLEET_GAP, longest: LONGEST }),
            states: Mutex::default(),
            changes: watch::Sender::new(0),
            api,
            mode: settings.mode,
            namespaces,
            controller: settings.controller.clone(),
            keep: settings.keep,
            metrics,
        }))
    }

    /// What a fleet shall have, in place of what was wished before.
    pub fn set(&self, fleet: Fleet) {
        let mut desk = self.0.desk.open();
        let name = fleet.name.clone();
        let record = desk.state().fleets.entry(name.clone()).or_default();
        let wish = match fleet.objects {
            Some(objects) => Wish::Objects(Arc::new(objects)),
            None => Wish::Hold,
        };
        record.wish(fleet.namespace, fleet.selector, fleet.place, wish);
        desk.push(&Key::Fleet(name));
    }

    /// The fleet shall not exist: everything that carries its labels is deleted.
    pub fn remove(&self, name: &str) {
        let mut desk = self.0.desk.open();
        let Some(record) = desk.state().fleets.get_mut(name) else { return };
        record.wish = Wish::Nothing;
        desk.push(&Key::Fleet(name.into()));
    }

    /// An object of a fleet, as the watch has seen it. One that somebody else has changed is applied again.
    pub fn observe(&self, object: &Value) {
        let Some(id) = Id::of(object) else { return };
        let mut desk = self.0.desk.open();
        let now = self.0.desk.now();
        let state = desk.state();
        let Some(name) = state.owners.get(&id).cloned() else { return };
        let at = state.fleets.get_mut(&name).and_then(|record| record.observe(&id, object, now));
        if let Some(at) = at {
            desk.push_at(&Key::Fleet(name), at);
        }
    }

    /// An object of a fleet is gone. If it is wished, it is applied again.
    pub fn gone(&self, kind: &str, namespace: &str, name: &str) {
        let mut desk = self.0.desk.open();
        let now = self.0.desk.now();
        let state = desk.state();
        let found = state.owners.iter().find(|(id, _)| id.is(kind, namespace, name));
        let Some((id, fleet)) = found.map(|(id, fleet)| (id.clone(), fleet.clone())) else { return };
        let at = state.fleets.get_mut(&fleet).and_then(|record| record.gone(&id, now));
        if let Some(at) = at {
            desk.push_at(&Key::Fleet(fleet), at);
        }
    }

    /// How far each fleet is. Fleets that have not been worked on by this process are missing.
    pub fn states(&self) -> BTreeMap<Arc<str>, FleetState> {
        self.0.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the changes of [`FleetWriter::states`].
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub(crate) fn work(&self) -> Arc<Fleets> {
        self.0.clone()
    }
}

impl Work for Fleets {
    type Key = Key;
    type State = State;

    fn desk(&self) -> &Desk<Self::Key, Self::State> {
        &self.desk
    }

    fn begin(&self, state: &mut Self::State) -> Vec<Self::Key> {
        state.owners.clear();
        state.fleets.values_mut().for_each(Record::forget);
        let fleets = state.fleets.keys().cloned().map(Key::Fleet);
        fleets.chain([Key::Sweep]).collect()
    }

    async fn carry_out(self: Arc<Self>, key: Self::Key) -> Verdict {
        match key {
            Key::Sweep => self.sweep().await,
            Key::Fleet(name) => self.round(&name).await,
        }
    }

    fn waiting(&self, depth: usize) {
        self.metrics.waiting("infrastructure", depth);
    }
}

impl Fleets {
    /// Publishes how far a fleet is; `None` when it is no more.
    fn publish(&self, name: &Arc<str>, state: Option<FleetState>) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match state {
            Some(state) if states.get(name) == Some(&state) => false,
            Some(state) => {
                states.insert(name.clone(), state);
                true
            }
            None => states.remove(name).is_some(),
        };
        drop(states);
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

/// When a round that failed is made again.
fn again(failures: &[Failure]) -> Verdict {
    let rests = failures.iter().map(|failure| match failure {
        Failure::Forbidden(_) | Failure::Invalid(_) | Failure::TooLarge => REFUSED,
        _ => Duration::ZERO,
    });
    // What may succeed soon is not held up by what will not.
    Verdict::Again(rests.min().unwrap_or_default())
}
