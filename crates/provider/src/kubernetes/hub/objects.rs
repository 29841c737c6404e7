//! Objects in force, and objects that wait for what they refer to.

use std::collections::BTreeSet;

use api::Object;
use ir::ObjectRef;

use super::{Held, Hub};
use crate::kubernetes::references::by_reference;

impl Hub {
    /// Puts an object in force, at once or when what it newly refers to is there.
    pub(super) fn apply(&mut self, reference: ObjectRef, object: Object) {
        self.problems_changed |= self.undecodable.remove(&reference).is_some();
        let references = (self.options.references)(&object);
        // Held before the old ones are let go, so that what stays referred to is not dropped in between.
        let new = self.references.hold(&references);
        if let Some(held) = self.held.remove(&reference) {
            self.let_go(&held.references);
        }
        for name in new {
            self.want(&name);
        }
        let waiting: BTreeSet<ObjectRef> =
            references.iter().filter(|name| self.fetching.contains(name)).cloned().collect();
        if waiting.is_empty() {
            self.put(reference, object, references);
        } else {
            let until = self.now + self.options.timing.hold;
            self.held.insert(reference, Held { object, references, waiting, until });
        }
    }

    fn put(&mut self, reference: ObjectRef, object: Object, references: Vec<ObjectRef>) {
        let before = self.references.assign(&reference, references);
        self.let_go(&before);
        self.changes.insert(reference, Some(object));
    }

    /// Puts a held object in force.
    pub(super) fn release(&mut self, reference: &ObjectRef) {
        if let Some(held) = self.held.remove(reference) {
            self.put(reference.clone(), held.object, held.references);
        }
    }

    /// What was waited for is there, or will not come: objects that wait for nothing else go on.
    pub(super) fn arrived(&mut self, name: &ObjectRef) {
        let mut ready = Vec::new();
        for (reference, held) in &mut self.held {
            if held.waiting.remove(name) && held.waiting.is_empty() {
                ready.push(reference.clone());
            }
        }
        for reference in ready {
            self.release(&reference);
        }
    }

    /// Takes an object out of force.
    pub(super) fn withdraw(&mut self, reference: &ObjectRef) {
        if let Some(held) = self.held.remove(reference) {
            self.let_go(&held.references);
        }
        let before = self.references.assign(reference, Vec::new());
        self.let_go(&before);
        self.problems_changed |= self.undecodable.remove(reference).is_some();
        self.changes.insert(reference.clone(), None);
    }

    /// Drops Secrets and ConfigMaps that nothing refers to any more.
    fn let_go(&mut self, names: &[ObjectRef]) {
        for name in self.references.release(names) {
            self.fetching.remove(&name);
            let Some(id) = self.source_of(&name) else { continue };
            let name = crate::kubernetes::decode::Name::of(&name);
            if self.sources.get(&id).is_some_and(|source| source.objects.contains_key(&name)) {
                self.forget(id, &name);
            }
        }
    }

    /// A Secret or ConfigMap is wanted as of now: it is fetched, unless its source is still to be started. One that is
    /// started may be listing already, and may have passed over it.
    pub(super) fn want(&mut self, name: &ObjectRef) {
        debug_assert!(by_reference(name.kind));
        let Some(id) = self.source_of(name) else { return };
        if self.is_selected(id, &name.namespace) && self.sources.get(&id).is_some_and(|source| source.started)
        {
            self.order_get(id, name.clone());
        }
    }
}
