//! What the proxy routes by: the bodies of listeners and route configurations in force and on their way, and how
//! often each cluster is named by them.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use ir::resource::{Fragment, Resource, ResourceType, Version};
use rustc_hash::{FxHashMap, FxHashSet};

use super::trial::Trial;

/// The body that the proxy accepted last.
#[derive(Clone, Debug, Default)]
pub(super) enum Base {
    /// None.
    #[default]
    Nothing,
    /// One that an earlier stream or another server sent: it may name any cluster.
    Foreign,
    /// This one.
    Body(Arc<Resource>),
}

impl Base {
    pub(super) fn fragments(&self) -> &[Arc<Fragment>] {
        match self {
            Base::Body(body) => &body.fragments,
            Base::Nothing | Base::Foreign => &[],
        }
    }
}

/// A body that was sent and not answered.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) body: Arc<Resource>,
    /// The version in the target that the body was made from.
    pub(super) target: Version,
    pub(super) seq: u64,
}

/// One listener or route configuration on one stream.
#[derive(Debug, Default)]
pub(super) struct Holder {
    pub(super) base: Base,
    pub(super) pending: Option<Pending>,
    /// Clusters that the proxy must have before the rest of the target can go out.
    pub(super) waits_for: FxHashSet<Arc<str>>,
    /// Not before this time, unless the proxy asks.
    pub(super) rests_until: Option<Instant>,
    /// A search for the refused virtual hosts.
    pub(super) trial: Option<Trial>,
    /// Virtual hosts that this proxy refused, by content hash.
    pub(super) refused: BTreeMap<Arc<str>, u64>,
}

/// All of them, with the counts of the clusters that they name.
#[derive(Debug, Default)]
pub(super) struct Holders {
    listeners: FxHashMap<Arc<str>, Holder>,
    routes: FxHashMap<Arc<str>, Holder>,
    refs: FxHashMap<Arc<str>, usize>,
    foreign: usize,
    /// Names with something in `waits_for`, so that a warm cluster costs no look at all the others.
    waiting: FxHashSet<(ResourceType, Arc<str>)>,
}

impl Holders {
    /// True for the types that have holders.
    pub(super) fn holds(kind: ResourceType) -> bool {
        matches!(kind, ResourceType::Listener | ResourceType::Route)
    }

    fn table(&mut self, kind: ResourceType) -> &mut FxHashMap<Arc<str>, Holder> {
        if kind == ResourceType::Listener { &mut self.listeners } else { &mut self.routes }
    }

    pub(super) fn get(&self, kind: ResourceType, name: &str) -> Option<&Holder> {
        if kind == ResourceType::Listener { self.listeners.get(name) } else { self.routes.get(name) }
    }

    pub(super) fn entry(&mut self, kind: ResourceType, name: &Arc<str>) -> &mut Holder {
        self.table(kind).entry(Arc::clone(name)).or_default()
    }

    /// The proxy may route to this cluster by a body that is in force or on its way.
    pub(super) fn names_cluster(&self, cluster: &str) -> bool {
        self.foreign > 0 || self.refs.contains_key(cluster)
    }

    /// The proxy says that it has this; `body` when we know the content of that version.
    pub(super) fn claim(&mut self, kind: ResourceType, name: &Arc<str>, body: Option<Arc<Resource>>) {
        self.drop_holder(kind, name);
        let base = match body {
            Some(body) => {
                self.count(&body, None);
                Base::Body(body)
            }
            None => {
                self.foreign += 1;
                Base::Foreign
            }
        };
        self.entry(kind, name).base = base;
    }

    /// What the proxy brought along turns out to be this.
    pub(super) fn recognise(&mut self, kind: ResourceType, name: &Arc<str>, body: &Arc<Resource>) {
        let holder = self.entry(kind, name);
        if !matches!(holder.base, Base::Foreign) {
            return;
        }
        holder.base = Base::Body(Arc::clone(body));
        self.foreign -= 1;
        self.count(body, None);
    }

    /// A body goes out.
    pub(super) fn sent(&mut self, name: &Arc<str>, body: &Arc<Resource>, target: Version, seq: u64) {
        let kind = body.kind;
        let holder = self.entry(kind, name);
        let same = match (&holder.pending, &holder.base) {
            (Some(pending), _) => pending.body.version == body.version,
            (None, Base::Body(base)) => base.version == body.version,
            _ => false,
        };
        if same {
            return;
        }
        let replaced = holder.pending.replace(Pending { body: Arc::clone(body), target, seq });
        let base = body_of(&holder.base);
        self.count(body, base.as_deref());
        if let Some(replaced) = replaced {
            self.uncount(&replaced.body, base.as_deref());
        }
    }

    /// The proxy accepted this version, or did not answer for so long that we go on as if. False when it is not the
    /// one on its way.
    pub(super) fn acked(&mut self, kind: ResourceType, name: &Arc<str>, version: Version) -> bool {
        let Some(holder) = self.table(kind).get_mut(name) else { return false };
        let Some(pending) = holder.pending.take_if(|p| p.body.version == version) else { return false };
        let before = std::mem::replace(&mut holder.base, Base::Body(Arc::clone(&pending.body)));
        match before {
            Base::Nothing => {}
            Base::Foreign => self.foreign -= 1,
            Base::Body(before) => self.uncount(&before, Some(&pending.body)),
        }
        true
    }

    /// The proxy refused this version: what it had before stays in force.
    pub(super) fn nacked(
        &mut self,
        kind: ResourceType,
        name: &Arc<str>,
        version: Version,
    ) -> Option<Pending> {
        let holder = self.table(kind).get_mut(name)?;
        let pending = holder.pending.take_if(|p| p.body.version == version)?;
        let base = body_of(&holder.base);
        self.uncount(&pending.body, base.as_deref());
        Some(pending)
    }

    /// The proxy has it no more.
    pub(super) fn drop_holder(&mut self, kind: ResourceType, name: &str) {
        let Some((name, holder)) = self.table(kind).remove_entry(name) else { return };
        if !holder.waits_for.is_empty() {
            self.waiting.remove(&(kind, name));
        }
        let base = body_of(&holder.base);
        if let Some(pending) = &holder.pending {
            self.uncount(&pending.body, base.as_deref());
        }
        match &holder.base {
            Base::Nothing => {}
            Base::Foreign => self.foreign -= 1,
            Base::Body(body) => self.uncount(body, None),
        }
    }

    /// Names of this type that wait for the cluster.
    pub(super) fn waiting_for(&self, kind: ResourceType, cluster: &str) -> Vec<Arc<str>> {
        let waits = |name: &str| self.get(kind, name).is_some_and(|h| h.waits_for.contains(cluster));
        self.waiting.iter().filter(|(k, n)| *k == kind && waits(n)).map(|(_, n)| Arc::clone(n)).collect()
    }

    /// Notes what a name waits for from now on.
    pub(super) fn wait(&mut self, kind: ResourceType, name: &Arc<str>, clusters: FxHashSet<Arc<str>>) {
        if clusters.is_empty() {
            self.waiting.remove(&(kind, Arc::clone(name)));
        } else {
            self.waiting.insert((kind, Arc::clone(name)));
        }
        self.entry(kind, name).waits_for = clusters;
    }

    /// Counts the clusters that `body` names and `but` does not.
    fn count(&mut self, body: &Resource, but: Option<&Resource>) {
        for_each_new_cluster(body, but, |cluster| {
            *self.refs.entry(Arc::clone(cluster)).or_default() += 1;
        });
    }

    fn uncount(&mut self, body: &Resource, but: Option<&Resource>) {
        for_each_new_cluster(body, but, |cluster| {
            if let Some(count) = self.refs.get_mut(cluster) {
                *count -= 1;
                if *count == 0 {
                    self.refs.remove(cluster);
                }
            }
        });
    }
}

fn body_of(base: &Base) -> Option<Arc<Resource>> {
    match base {
        Base::Body(body) => Some(Arc::clone(body)),
        Base::Nothing | Base::Foreign => None,
    }
}

/// Calls `found` for each cluster of each fragment of `body` that `but` does not have with the same content. Costs a
/// comparison of pointers per fragment: commits keep what did not change.
fn for_each_new_cluster(body: &Resource, but: Option<&Resource>, mut found: impl FnMut(&Arc<str>)) {
    if but.is_none_or(|b| b.clusters != body.clusters) {
        body.clusters.iter().for_each(&mut found);
    }
    let empty: &[Arc<Fragment>] = &[];
    for_each_new_fragment(&body.fragments, but.map_or(empty, |b| &b.fragments), |fragment, _| {
        fragment.clusters.iter().for_each(&mut found);
    });
}

/// How far ahead the place of a fragment is looked for after a difference: a commit removes few neighbours at once.
const RESYNC: usize = 16;

/// Calls `found` for each fragment that `base` does not have with the same content, with the one of the same name in
/// `base`. Names are unique within each; their order is the translator's.
///
/// Where nothing moved this is one comparison of pointers for each fragment; names are looked up only from the first
/// difference on.
pub(super) fn for_each_new_fragment<'a>(
    fragments: &'a [Arc<Fragment>],
    base: &'a [Arc<Fragment>],
    mut found: impl FnMut(&'a Arc<Fragment>, Option<&'a Arc<Fragment>>),
) {
    let mut rest = base.iter().peekable();
    let mut by_name: Option<FxHashMap<&str, &Arc<Fragment>>> = None;
    for fragment in fragments {
        if rest.next_if(|b| Arc::ptr_eq(b, fragment)).is_some() {
            continue;
        }
        let names = by_name.get_or_insert_with(|| base.iter().map(|b| (b.name.as_ref(), b)).collect());
        let before = names.get(fragment.name.as_ref()).copied();
        // Go on behind it, so that one fragment less or another in its place does not cost a look-up for all others.
        if before.is_some_and(|before| rest.clone().take(RESYNC).any(|b| Arc::ptr_eq(b, before))) {
            while rest.next().is_some_and(|b| before.is_some_and(|before| !Arc::ptr_eq(b, before))) {}
        }
        if before.is_none_or(|b| b.hash != fragment.hash) {
            found(fragment, before);
        }
    }
}
