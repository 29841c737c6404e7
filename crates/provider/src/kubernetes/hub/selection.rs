//! Which objects count: namespaces by name or by label, Secrets and ConfigMaps by reference.

use std::sync::Arc;

use api::Object;
use ir::Kind;

use super::{Hub, SourceId};
use crate::kubernetes::{
    Scope,
    decode::{Content, Name},
    scope,
};

impl Hub {
    /// Whether an object counts now. A Namespace selects or deselects itself here.
    pub(super) fn counts(&mut self, id: SourceId, name: &Name, content: &Content) -> bool {
        let Some(source) = self.sources.get(&id) else { return false };
        let Some(kind) = source.resource.object_kind() else { return self.is_selected(id, &name.namespace) };
        if kind == Kind::Namespace {
            return self.select_namespace(name, content);
        }
        let wanted = !source.resource.by_reference() || self.references.is_wanted(&name.object(kind));
        wanted && self.is_selected(id, &name.namespace)
    }

    /// Whether objects of a source in this namespace count.
    pub(super) fn is_selected(&self, id: SourceId, namespace: &Arc<str>) -> bool {
        let Some(source) = self.sources.get(&id) else { return false };
        match &self.options.scope {
            // With names, each source has one namespace and watches no other.
            Scope::All | Scope::Namespaces(_) => true,
            Scope::Selector(_) => {
                // Sources of one namespace are those of our own infrastructure.
                source.namespace.is_some()
                    || !source.resource.namespaced
                    || self.selected.contains(namespace)
                    || (source.resource.of_control_plane() && *namespace == self.options.controller_namespace)
            }
        }
    }

    fn select_namespace(&mut self, name: &Name, content: &Content) -> bool {
        let name = &name.name;
        match &self.options.scope {
            Scope::All => true,
            Scope::Namespaces(names) => names.contains(name) || *name == self.options.controller_namespace,
            Scope::Selector(selector) => {
                let Content::Object(object) = content else { return self.selected.contains(name) };
                let Object::Namespace(namespace) = &**object else { return false };
                let selected = scope::matches(selector, namespace.metadata.labels.as_ref());
                match (selected, self.selected.contains(name)) {
                    (true, false) => self.select(name),
                    (false, true) => self.deselect(name),
                    _ => {}
                }
                selected
            }
        }
    }

    /// A namespace counts as of now: what is in it was passed over so far.
    fn select(&mut self, namespace: &Arc<str>) {
        self.selected.insert(namespace.clone());
        let started = |id: &SourceId| {
            let source = self.sources.get(id)?;
            let fits = source.resource.namespaced && source.namespace.is_none() && source.started;
            (fits && !source.resource.by_reference()).then_some(*id)
        };
        let sources: Vec<SourceId> = self.sources.keys().filter_map(started).collect();
        for id in sources {
            self.order_list(id, namespace.clone());
        }
        for object in self.references.wanted_in(namespace) {
            self.want(&object);
        }
    }

    /// A namespace does not count any more.
    fn deselect(&mut self, namespace: &Arc<str>) {
        self.selected.remove(namespace);
        let mut gone: Vec<(SourceId, Name)> = Vec::new();
        for (id, source) in &self.sources {
            if source.resource.namespaced && !self.is_selected(*id, namespace) {
                let names = source.objects.keys().filter(|name| name.namespace == *namespace);
                gone.extend(names.map(|name| (*id, name.clone())));
            }
        }
        gone.sort_unstable();
        for (id, name) in gone {
            self.forget(id, &name);
        }
    }

    /// Deselects a Namespace that is gone.
    pub(super) fn namespace_gone(&mut self, namespace: &Arc<str>) {
        if self.selected.contains(namespace) {
            self.deselect(namespace);
        }
    }
}
