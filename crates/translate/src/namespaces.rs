//! Which namespaces may attach to a Gateway, a ListenerSet or a listener.

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
    if *allowed == AllowedNamespaces::All {
        return true;
    }
    let Some(labels) = reader.namespace_labels(object.namespace_object, object.namespace) else {
        return false;
    };
    match allowed {
        AllowedNamespaces::Selector(selector) => selector.as_ref().is_some_and(|s| s.matches(&labels)),
        _ => **reader.name(object.namespace) == *home,
    }
}
