//! What is wished of one object, and what is known of it.

use std::sync::Arc;

use ir::{Condition, status::StatusBody};
use serde_json::Value;
use status_json::Shape;

/// An object as the watch has seen it.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.resourceVersion`.
    pub resource_version: &'a str,
    /// `status`, as it stands there.
    pub status: Option<&'a Value>,
    /// False when `status` has passed through types, which know no fields of others: it serves to compare, and where
    /// it has parts that others wrote, the object is read before it is written.
    pub exact: bool,
}

/// The same, kept. The status is text, which takes a fifth of the memory of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) generation: i64,
    pub(super) resource_version: Arc<str>,
    status: Option<Arc<str>>,
    exact: bool,
}

impl Seen {
    pub(super) fn new(live: Live<'_>) -> Self {
        Seen {
            generation: live.generation,
            resource_version: live.resource_version.into(),
            status: live.status.filter(|status| !status.is_null()).map(|status| status.to_string().into()),
            exact: live.exact,
        }
    }

    /// Of a whole object.
    pub(super) fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        Seen::new(Live {
            generation: metadata["generation"].as_i64().unwrap_or(0),
            resource_version: metadata["resourceVersion"].as_str().unwrap_or_default(),
            status: object.get("status"),
            exact: true,
        })
    }

    /// Whether the status can be written with what is known of it: all of it, or a list where every entry is ours.
    pub(super) fn suffices(&self, shape: Shape, controller: &str) -> bool {
        self.exact
            || (shape != Shape::Owned && !status_json::has_others(self.status().as_ref(), shape, controller))
    }

    pub(super) fn status(&self) -> Option<Value> {
        self.status.as_ref().and_then(|status| serde_json::from_str(status).ok())
    }
}

/// What is wished of one object, and what is known of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// `None`: nothing of ours shall be there.
    pub(super) wish: Option<Arc<StatusBody>>,
    /// `None`: not known.
    pub(super) live: Option<Seen>,
    /// The object is known not to exist.
    pub(super) absent: bool,
    /// The version of the object in which it is as near to the wish as the API server lets it be.
    pub(super) settled: Option<Arc<str>>,
}

impl Record {
    /// Takes what was seen, unless something newer is known; tells whether it is news.
    pub(super) fn see(&mut self, seen: Seen) -> bool {
        if let Some(live) = &self.live
            && !newer(&live.resource_version, &seen.resource_version)
            && (live.exact || !seen.exact)
        {
            return false;
        }
        self.live = Some(seen);
        true
    }
}

/// Whether the second version is newer than the first. Versions are numbers wherever objects are kept in etcd
/// (and since Kubernetes 1.35 by contract); where they are not, any other is taken for newer.
pub(crate) fn newer(one: &str, other: &str) -> bool {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => other > one,
        _ => one != other,
    }
}

/// The generation that a wish was made of; `None` when it has no condition.
pub(super) fn generation(wish: &StatusBody) -> Option<i64> {
    fn newest(conditions: &[Condition]) -> Option<i64> {
        conditions.iter().map(|condition| condition.observed_generation).max()
    }
    match wish {
        StatusBody::Conditions(conditions) | StatusBody::Class { conditions, .. } => newest(conditions),
        StatusBody::Gateway { conditions, listeners, .. }
        | StatusBody::ListenerSet { conditions, listeners, .. } => {
            newest(conditions).max(listeners.iter().filter_map(|l| newest(&l.conditions)).max())
        }
        StatusBody::Route { parents } | StatusBody::Policy { ancestors: parents } => {
            parents.iter().filter_map(|p| newest(&p.conditions)).max()
        }
        StatusBody::Parameters { ancestors } => ancestors.iter().filter_map(|a| newest(&a.conditions)).max(),
    }
}
