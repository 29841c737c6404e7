//! The body of a route configuration that a proxy can be given now: the target, with the virtual hosts that must
//! wait or were refused as they were before.

use std::sync::Arc;

use bytes::Bytes;
use ir::resource::{Fragment, Resource, ResourceType, Version};
use rustc_hash::FxHashSet;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{
    clusters::Gates,
    holders::{Base, Holder},
};
use crate::feed::Snapshot;

/// What can be sent now, and what the rest waits for.
#[derive(Debug)]
pub(super) struct Composed {
    /// `None` when nothing can be sent before the clusters are warm.
    pub(super) body: Option<Arc<Resource>>,
    pub(super) waits_for: FxHashSet<Arc<str>>,
}

/// Makes the body. Relies on each virtual host owning its domains, so that an old one and a new one of different names
/// go together.
pub(super) fn compose(
    target: &Arc<Resource>,
    holder: &Holder,
    gates: &Gates,
    snapshot: &Snapshot,
) -> Composed {
    let quarantined = snapshot.quarantine().of_route(&target.name);
    let mut waits_for = FxHashSet::default();
    let plain = quarantined.is_none() && holder.trial.is_none() && holder.refused.is_empty();
    if plain && gates.all_warm() {
        return Composed { body: Some(Arc::clone(target)), waits_for };
    }
    let mut choices = Vec::new();
    super::holders::for_each_new_fragment(&target.fragments, holder.base.fragments(), |new, before| {
        let good = || {
            let held = quarantined?.get(&new.name)?.good.as_ref()?;
            // When nothing of what it routes to is left, answering "not found" is the better failure.
            let alive = |c: &Arc<str>| snapshot.get(ResourceType::Cluster, c).is_some();
            let suspect = holder.trial.as_ref().is_some_and(|trial| trial.excludes(held));
            (!suspect && (held.clusters.is_empty() || held.clusters.iter().any(alive))).then_some(held)
        };
        let held = quarantined.and_then(|q| q.get(&new.name)).is_some_and(|held| held.hash == new.hash);
        let choice = if held || holder.refused.get(&new.name) == Some(&new.hash) {
            before.or_else(good)
        } else {
            choose(new, before, holder, gates, &mut waits_for)
        };
        if choice.is_none_or(|c| !Arc::ptr_eq(c, new)) {
            choices.push((Arc::clone(&new.name), choice.cloned()));
        }
    });
    if matches!(holder.base, Base::Foreign) && !waits_for.is_empty() {
        // What the proxy has is unknown, so no part of it can be kept: all or nothing.
        return Composed { body: None, waits_for };
    }
    let head = match &holder.base {
        Base::Body(base) if holder.trial.as_ref().is_some_and(|t| t.excludes_head(&target.head)) => {
            Some(base.head.clone())
        }
        _ => None,
    };
    if choices.is_empty() && head.is_none() {
        return Composed { body: Some(Arc::clone(target)), waits_for };
    }
    let patched = patch(target, head, &choices);
    let body = match &holder.base {
        // Nothing is left of the change: the same content must keep its version.
        Base::Body(base) if same_content(base, &patched) => Arc::clone(base),
        _ => Arc::new(patched),
    };
    Composed { body: Some(body), waits_for }
}

/// What is left of a route configuration that is gone from the target: the virtual hosts that route to nothing that is
/// there are left out, so that they answer "not found". One with a living cluster stays whole: its dead clusters are
/// kept at the proxy for as long as it is named here, because a stale answer is better than none.
pub(super) fn drained(base: &Arc<Resource>, snapshot: &Snapshot) -> Arc<Resource> {
    let alive = |c: &Arc<str>| snapshot.get(ResourceType::Cluster, c).is_some();
    let ended = |f: &&Arc<Fragment>| !f.clusters.is_empty() && !f.clusters.iter().any(alive);
    let choices: Vec<_> = base.fragments.iter().filter(ended).map(|f| (Arc::clone(&f.name), None)).collect();
    if choices.is_empty() { Arc::clone(base) } else { Arc::new(patch(base, None, &choices)) }
}

fn same_content(a: &Resource, b: &Resource) -> bool {
    a.head == b.head
        && a.fragments.len() == b.fragments.len()
        && a.fragments.iter().zip(b.fragments.iter()).all(|(a, b)| a.hash == b.hash && a.name == b.name)
}

/// The fragment to serve of one that nobody refused; `None` to leave it out.
fn choose<'a>(
    new: &'a Arc<Fragment>,
    before: Option<&'a Arc<Fragment>>,
    holder: &Holder,
    gates: &Gates,
    waits_for: &mut FxHashSet<Arc<str>>,
) -> Option<&'a Arc<Fragment>> {
    if holder.trial.as_ref().is_some_and(|trial| trial.excludes(new)) {
        return before;
    }
    let mut waits = false;
    for cluster in new.clusters.iter().filter(|c| gates.is_cold(c)) {
        waits = true;
        waits_for.insert(Arc::clone(cluster));
    }
    if waits { before } else { Some(new) }
}

/// The target with some virtual hosts replaced or left out.
fn patch(target: &Resource, head: Option<Bytes>, choices: &[(Arc<str>, Option<Arc<Fragment>>)]) -> Resource {
    let mut choices = choices.iter().peekable();
    let mut fragments = Vec::with_capacity(target.fragments.len());
    for fragment in target.fragments.iter() {
        match choices.next_if(|(name, _)| *name == fragment.name) {
            Some((_, choice)) => fragments.extend(choice.clone()),
            None => fragments.push(Arc::clone(fragment)),
        }
    }
    let head = head.unwrap_or_else(|| target.head.clone());
    Resource {
        kind: target.kind,
        name: Arc::clone(&target.name),
        version: patched_version(&head, &fragments),
        head,
        fragments: fragments.into(),
        warming: target.warming,
        first_check: target.first_check,
        endpoints: target.endpoints.clone(),
        secrets: target.secrets.clone(),
        clusters: target.clusters.clone(),
        owners: target.owners.clone(),
    }
}

/// Content hash of a patched body; equal content gives the equal version on every stream.
fn patched_version(head: &Bytes, fragments: &[Arc<Fragment>]) -> Version {
    let hashes: Vec<u8> = fragments.iter().flat_map(|f| f.hash.to_le_bytes()).collect();
    Version(xxh3_64_with_seed(&hashes, xxh3_64(head)))
}
