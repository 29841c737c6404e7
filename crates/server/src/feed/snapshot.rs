//! One consistent state of the resources of a fleet, cheap to copy because versions share their structure.

use std::{collections::BTreeMap, sync::Arc};

use ir::resource::{Fragment, Resource, ResourceType, Version};
use rpds::RedBlackTreeMapSync;
use rustc_hash::FxHashMap;

/// A type and a name.
pub type Key = (ResourceType, Arc<str>);

type Table = RedBlackTreeMapSync<Arc<str>, Arc<Resource>>;

/// All resources of a fleet at one revision, with what is quarantined. Never changes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) revision: u64,
    pub(crate) generation: u64,
    tables: [Table; ResourceType::ALL.len()],
    pub(crate) quarantine: Arc<Quarantine>,
}

impl Snapshot {
    /// The revision of the commit that made it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Counts revisions and quarantines alike: what streams compare to see that there is something new.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The resource of this name.
    pub fn get(&self, kind: ResourceType, name: &str) -> Option<&Arc<Resource>> {
        self.tables[kind as usize].get(name)
    }

    /// The names of this type, ascending.
    pub fn names(&self, kind: ResourceType) -> impl Iterator<Item = &Arc<str>> {
        self.tables[kind as usize].keys()
    }

    /// The resources of this type, ascending by name.
    pub fn resources(&self, kind: ResourceType) -> impl Iterator<Item = &Arc<Resource>> {
        self.tables[kind as usize].values()
    }

    /// How many resources there are of this type.
    pub fn len(&self, kind: ResourceType) -> usize {
        self.tables[kind as usize].size()
    }

    /// What is kept from proxies because one refused it.
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// The key of a resource, with the copy of its name that is known already: one for all versions, or the log would
    /// keep one for each change.
    pub(crate) fn key_of(&self, resource: &Resource) -> Key {
        let known = self.tables[resource.kind as usize].get_key_value(resource.name.as_ref());
        (resource.kind, Arc::clone(known.map_or(&resource.name, |(name, _)| name)))
    }

    pub(crate) fn insert(&mut self, (kind, name): &Key, resource: Arc<Resource>) {
        self.tables[*kind as usize].insert_mut(Arc::clone(name), resource);
    }

    pub(crate) fn remove(&mut self, kind: ResourceType, name: &str) -> bool {
        self.tables[kind as usize].remove_mut(name)
    }
}

/// Versions that Envoy refused and no proxy accepted, each with the last one that some proxy accepted.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    pub(crate) resources: FxHashMap<Key, HeldResource>,
    pub(crate) fragments: FxHashMap<Arc<str>, BTreeMap<Arc<str>, HeldFragment>>,
}

/// A refused version of a resource.
#[derive(Clone, Debug)]
pub struct HeldResource {
    /// The version that is not served.
    pub version: Version,
    /// What is served in its place; `None` when no proxy ever accepted a version.
    pub good: Option<Arc<Resource>>,
}

/// A refused virtual host.
#[derive(Clone, Debug)]
pub struct HeldFragment {
    /// Content hash of the fragment that is not served.
    pub hash: u64,
    /// What is served in its place; `None` when no proxy ever accepted one.
    pub good: Option<Arc<Fragment>>,
}

impl Quarantine {
    /// How many resources and virtual hosts are held.
    pub fn len(&self) -> usize {
        self.resources.len() + self.fragments.values().map(BTreeMap::len).sum::<usize>()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.fragments.is_empty()
    }

    /// The refused version of this resource.
    pub fn resource(&self, kind: ResourceType, name: &Arc<str>) -> Option<&HeldResource> {
        if self.resources.is_empty() {
            return None;
        }
        self.resources.get(&(kind, Arc::clone(name)))
    }

    /// The refused virtual hosts of this route configuration.
    pub fn of_route(&self, name: &str) -> Option<&BTreeMap<Arc<str>, HeldFragment>> {
        self.fragments.get(name)
    }

    /// True when this refusal is known.
    pub(crate) fn holds(&self, key: &Key, fragment: Option<&Arc<str>>, version: Version) -> bool {
        match fragment {
            None => self.resources.get(key).is_some_and(|held| held.version == version),
            Some(name) => self
                .fragments
                .get(&key.1)
                .and_then(|hosts| hosts.get(name))
                .is_some_and(|held| held.hash == version.0),
        }
    }

    /// Lifts what concerned older content of this resource. `None` means that the resource is gone.
    pub(crate) fn lift(&mut self, key: &Key, now: Option<&Resource>) {
        let stale = |held: &HeldResource| now.is_none_or(|r| r.version != held.version);
        if self.resources.get(key).is_some_and(stale) {
            self.resources.remove(key);
        }
        if key.0 != ResourceType::Route {
            return;
        }
        if let Some(held) = self.fragments.get_mut(&key.1) {
            held.retain(|name, fragment| {
                now.and_then(|r| find_fragment(&r.fragments, name)).is_some_and(|f| f.hash == fragment.hash)
            });
            if held.is_empty() {
                self.fragments.remove(&key.1);
            }
        }
    }
}

/// The fragment of this name. Looked for one by one: only refused hosts are.
pub(crate) fn find_fragment<'a>(fragments: &'a [Arc<Fragment>], name: &str) -> Option<&'a Arc<Fragment>> {
    fragments.iter().find(|f| f.name.as_ref() == name)
}
