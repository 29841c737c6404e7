//! From changed resources to changes of fleets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ir::resource::{Resource, ResourceType, ResourceUpdate};
use store::ObjectId;
use translate::{FleetOutput, secret::SecretKey};
use xds::resource;

use super::Stages;
use crate::{Commit, FleetSpec, SocketSpec};

type Changed = (ResourceType, Arc<str>, Option<Arc<Resource>>);

/// Name of a fleet before and now.
type FleetChange = (Option<Arc<str>>, Option<Arc<str>>);

/// Resources that changed in a run, by who needs them.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    fleets: BTreeMap<ObjectId, FleetChange>,
    of_fleet: BTreeMap<ObjectId, Vec<Changed>>,
    of_secret: BTreeMap<SecretKey, Vec<Changed>>,
    moved_secrets: BTreeSet<(SecretKey, ObjectId)>,
}

/// A change as removal of the old name and insertion under the new one.
fn changed(kind: ResourceType, old: Option<&Arc<Resource>>, new: Option<&Arc<Resource>>) -> Vec<Changed> {
    let mut changes = Vec::new();
    if let Some(old) = old.filter(|old| new.is_none_or(|new| new.name != old.name)) {
        changes.push((kind, old.name.clone(), None));
    }
    if let Some(new) = new {
        changes.push((kind, new.name.clone(), Some(new.clone())));
    }
    changes
}

/// One change for each resource. A name may pass from one unit to another (a listener that moves up in the list of
/// sockets); whichever of the two is told first, it is not gone.
fn last_words(changes: Vec<Changed>) -> BTreeMap<(ResourceType, Arc<str>), Option<Arc<Resource>>> {
    let mut last = BTreeMap::new();
    for (kind, name, resource) in changes {
        let entry = last.entry((kind, name)).or_default();
        if resource.is_some() {
            *entry = resource;
        }
    }
    last
}

impl Publication {
    pub(super) fn fleet(&mut self, id: ObjectId, old: Option<&FleetOutput>, new: Option<&FleetOutput>) {
        let name = |g: Option<&FleetOutput>| g.filter(|g| g.managed()).map(|g| g.name.clone());
        self.fleets.insert(id, (name(old), name(new)));
    }

    /// Fleets whose output changed in this run.
    pub(super) fn touched_fleets(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.fleets.keys().copied()
    }

    pub(super) fn fleet_resource(
        &mut self,
        id: ObjectId,
        kind: ResourceType,
        old: Option<&Arc<Resource>>,
        new: Option<&Arc<Resource>>,
    ) {
        self.of_fleet.entry(id).or_default().extend(changed(kind, old, new));
    }

    /// The same for units that make several resources.
    pub(super) fn fleet_resources(
        &mut self,
        id: ObjectId,
        kind: ResourceType,
        old: &[Arc<Resource>],
        new: &[Arc<Resource>],
    ) {
        let gone = old.iter().flat_map(|old| changed(kind, Some(old), None));
        let here = new.iter().flat_map(|new| changed(kind, None, Some(new)));
        // What is here under its old name is not gone: insertions are the last word.
        self.of_fleet.entry(id).or_default().extend(gone.chain(here));
    }

    pub(super) fn secret(
        &mut self,
        key: SecretKey,
        old: Option<&Arc<Resource>>,
        new: Option<&Arc<Resource>>,
    ) {
        self.of_secret.entry(key).or_default().extend(changed(ResourceType::Secret, old, new));
    }

    /// A fleet may have begun or ceased to need what SDS serves.
    pub(super) fn secret_moved(&mut self, secret: SecretKey, fleet: ObjectId) {
        self.moved_secrets.insert((secret, fleet));
    }

    /// What proxies need whatever their listeners and routes: the readiness listener in a cluster.
    pub(super) fn fixed(&mut self, id: ObjectId, old: Option<&FleetOutput>, new: Option<&FleetOutput>) {
        let ready = |g: Option<&FleetOutput>| {
            g.and_then(|g| g.ready_listener.as_deref())
                .map(|address| Arc::new(resource::ready_listener(address)))
        };
        self.fleet_resource(id, ResourceType::Listener, ready(old).as_ref(), ready(new).as_ref());
    }
}

impl Stages {
    /// Applies everything that changed to the fleets that need it.
    pub(super) fn publish(&mut self, publication: &Publication) -> Commit {
        let mut commit = Commit::default();
        let mut changes: BTreeMap<Arc<str>, Vec<Changed>> = BTreeMap::new();
        let mut fleets = std::mem::take(&mut self.fleets);
        for (id, (old, new)) in &publication.fleets {
            match (old, new) {
                (Some(old), None) => {
                    if fleets.remove(old).is_some_and(|fleet| fleet.spec.wish.is_some()) {
                        commit.wishes.push((old.clone(), None));
                    }
                    commit.removed_fleets.push(old.clone());
                }
                (_, Some(fleet)) => {
                    let (state, spec) = (fleets.entry(fleet.clone()).or_default(), self.spec(*id));
                    if state.spec.wish != spec.wish {
                        commit.wishes.push((fleet.clone(), spec.wish.clone()));
                    }
                    state.spec = spec;
                    changes.entry(fleet.clone()).or_default();
                }
                (None, None) => {}
            }
        }
        for (fleet, resources) in &publication.of_fleet {
            self.queue(*fleet, resources.clone(), &mut changes);
        }
        for (fleet, resources) in self.moved(publication) {
            self.queue(fleet, resources, &mut changes);
        }
        for (secret, resources) in &publication.of_secret {
            self.queue_secret(*secret, &publication.moved_secrets, resources, &mut changes);
        }
        for (fleet, resources) in changes {
            let Some(state) = fleets.get_mut(&fleet) else { continue };
            let mut update = ResourceUpdate::default();
            for ((kind, name), resource) in last_words(resources) {
                state.publish(kind, &name, resource, &mut update);
            }
            commit.resources.push((fleet, update));
        }
        self.fleets = fleets;
        commit
    }

    fn queue(
        &self,
        fleet: ObjectId,
        resources: Vec<Changed>,
        changes: &mut BTreeMap<Arc<str>, Vec<Changed>>,
    ) {
        if let Some(fleet) = self.gateways.fleets.get(fleet).filter(|fleet| fleet.managed()) {
            changes.entry(fleet.name.clone()).or_default().extend(resources);
        }
    }

    /// Queues the changes of what SDS serves for the fleets that need it. A fleet that ceased to in this run is told that
    /// it is gone.
    fn queue_secret(
        &self,
        key: SecretKey,
        moved: &BTreeSet<(SecretKey, ObjectId)>,
        resources: &[Changed],
        changes: &mut BTreeMap<Arc<str>, Vec<Changed>>,
    ) {
        let bound: BTreeSet<ObjectId> = self.secret_use.fleets.members(key).collect();
        let gone: Vec<Changed> =
            resources.iter().map(|(kind, name, _)| (*kind, name.clone(), None)).collect();
        for fleet in &bound {
            self.queue(*fleet, resources.to_vec(), changes);
        }
        let left = moved.range((key, ObjectId::MIN)..=(key, ObjectId::MAX)).map(|(_, fleet)| *fleet);
        for fleet in left.filter(|fleet| !bound.contains(fleet)) {
            self.queue(fleet, gone.clone(), changes);
        }
    }

    /// What SDS serves that a fleet began or ceased to need, although it did not change.
    fn moved(&self, publication: &Publication) -> Vec<(ObjectId, Vec<Changed>)> {
        let mut out = Vec::new();
        for (secret, fleet) in &publication.moved_secrets {
            let bound = self.secret_use.fleets.contains(*secret, *fleet);
            if let Some(resource) = self.secrets.get(*secret) {
                let change = (ResourceType::Secret, resource.name.clone(), bound.then(|| resource.clone()));
                out.push((*fleet, vec![change]));
            }
        }
        out
    }

    fn spec(&self, id: ObjectId) -> FleetSpec {
        self.gateways.fleets.get(id).map_or_else(FleetSpec::default, |fleet| FleetSpec {
            gateways: fleet.gateways.iter().map(|gateway| gateway.object.clone()).collect(),
            wish: fleet.wish.clone(),
            host: fleet.host.clone(),
            sockets: (fleet.sockets.iter())
                .map(|socket| SocketSpec {
                    name: socket.name.clone(),
                    address: socket.address.clone(),
                    port: socket.key.port,
                    listeners: socket.listeners.to_vec(),
                })
                .collect(),
        })
    }
}
