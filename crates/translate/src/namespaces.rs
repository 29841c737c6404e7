//! Which namespaces may attach to a Gateway, a ListenerSet or a listener.

use std::collections::BTreeMap;

use store::facts::{AllowedNamespaces, Meta};

use crate::Reader;

/// True when an object, by the common part of its fact, is in a namespace that may attach. `home` is the namespace of
/// what it attaches to.
pub(crate) fn admits(
    allowed: &AllowedNamespaces,
    home: &str,
    object: &Meta,
    reader: &mut Reader<'_>,
) -> bool {
    let labels = match (allowed, reader.namespace(object.namespace_object)) {
        (AllowedNamespaces::All, _) => return true,
        (_, Some(namespace)) => &namespace.labels,
        (_, None) if !reader.settings().implicit_namespaces => return false,
        // A namespace that nobody declared has the one label that every namespace has.
        (_, None) => {
            &BTreeMap::from([("kubernetes.io/metadata.name".into(), reader.name(object.namespace).clone())])
        }
    };
    match allowed {
        AllowedNamespaces::Selector(selector) => selector.as_ref().is_some_and(|s| s.matches(labels)),
        _ => **reader.name(object.namespace) == *home,
    }
}
