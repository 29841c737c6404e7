//! Which Secrets and ConfigMaps are wanted, and by how many objects.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ir::{Kind, ObjectRef};
use rustc_hash::{FxHashMap, FxHashSet};

/// The wanted names, for sources to look at: what is not wanted is not even decoded. Clones share.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted(Arc<Mutex<FxHashSet<ObjectRef>>>);

impl Wanted {
    fn lock(&self) -> MutexGuard<'_, FxHashSet<ObjectRef>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn contains(&self, object: &ObjectRef) -> bool {
        self.lock().contains(object)
    }
}

/// References with the number of objects that hold each.
#[derive(Debug)]
pub(super) struct References {
    wanted: Wanted,
    holders: FxHashMap<ObjectRef, usize>,
    by_object: FxHashMap<ObjectRef, Vec<ObjectRef>>,
}

/// True for the kinds that are kept only when another object refers to them.
pub(super) fn by_reference(kind: Kind) -> bool {
    matches!(kind, Kind::Secret | Kind::ConfigMap)
}

impl References {
    /// Begins with names that are wanted whatever happens.
    pub(super) fn new(keep: BTreeSet<ObjectRef>) -> References {
        let mut references = References {
            wanted: Wanted::default(),
            holders: FxHashMap::default(),
            by_object: FxHashMap::default(),
        };
        let keep: Vec<ObjectRef> = keep.into_iter().collect();
        references.hold(&keep);
        references
    }

    /// The wanted names as sources see them.
    pub(super) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    pub(super) fn is_wanted(&self, object: &ObjectRef) -> bool {
        self.holders.contains_key(object)
    }

    /// Wanted names in a namespace.
    pub(super) fn wanted_in(&self, namespace: &str) -> Vec<ObjectRef> {
        let mut wanted: Vec<ObjectRef> =
            self.holders.keys().filter(|object| &*object.namespace == namespace).cloned().collect();
        wanted.sort_unstable();
        wanted
    }

    /// Adds a holder to each name, and returns those that nobody held before.
    pub(super) fn hold(&mut self, names: &[ObjectRef]) -> Vec<ObjectRef> {
        let mut new = Vec::new();
        for name in names {
            let holders = self.holders.entry(name.clone()).or_insert(0);
            *holders += 1;
            if *holders == 1 {
                self.wanted.lock().insert(name.clone());
                new.push(name.clone());
            }
        }
        new
    }

    /// Takes a holder from each name, and returns those that nobody holds any more.
    pub(super) fn release(&mut self, names: &[ObjectRef]) -> Vec<ObjectRef> {
        let mut free = Vec::new();
        for name in names {
            let Some(holders) = self.holders.get_mut(name) else { continue };
            *holders -= 1;
            if *holders == 0 {
                self.holders.remove(name);
                self.wanted.lock().remove(name);
                free.push(name.clone());
            }
        }
        free
    }

    /// Notes what an object in force refers to; `names` are held already. Returns what it referred to before, which
    /// the caller releases.
    pub(super) fn assign(&mut self, object: &ObjectRef, names: Vec<ObjectRef>) -> Vec<ObjectRef> {
        let before = if names.is_empty() {
            self.by_object.remove(object)
        } else {
            self.by_object.insert(object.clone(), names)
        };
        before.unwrap_or_default()
    }
}
