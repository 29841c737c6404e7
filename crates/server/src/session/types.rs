//! What a stream knows of one resource type: subscriptions, what the proxy has, what is left to do.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use ir::resource::{ResourceType, Version};
use rustc_hash::{FxHashMap, FxHashSet};

/// Stands for content that the proxy has from elsewhere under a version that is not ours.
pub(super) const FOREIGN: Version = Version(0);

/// Responses without an answer that are remembered per type. An older one is forgotten: its answer then counts as
/// stale. Envoy answers in order, so this many are in flight only when it holds answers back; 512 × 64 names × 40
/// bytes bound the memory of one type to 1.3 MB.
const OUTSTANDING: usize = 512;

/// What the proxy has of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    /// The version last sent, or claimed by the proxy when it connected.
    pub(super) sent: Option<Version>,
    /// The version that the proxy last accepted.
    pub(super) acked: Option<Version>,
}

/// Something to do for one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// The revision that first asked for it.
    pub(super) tag: u64,
    /// True when an answer is owed even if the proxy has this version.
    pub(super) forced: bool,
}

/// One name in a response without an answer yet.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    /// `None` for a removal.
    pub(super) version: Option<Version>,
    /// `None` when no revision waits for it.
    pub(super) tag: Option<u64>,
}

/// A response without an answer yet.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Number among all responses of the stream; the nonce is its decimal form.
    pub(super) seq: u64,
    pub(super) at: Instant,
    pub(super) entries: Vec<Entry>,
}

/// Counts unfinished work per revision, so that the stream can tell which revisions are in force at the proxy.
#[derive(Debug, Default)]
pub(super) struct Tags(BTreeMap<u64, usize>);

impl Tags {
    pub(super) fn add(&mut self, tag: u64) {
        *self.0.entry(tag).or_default() += 1;
    }

    pub(super) fn release(&mut self, tag: u64) {
        if let Some(count) = self.0.get_mut(&tag) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&tag);
            }
        }
    }

    pub(super) fn release_entry(&mut self, entry: &Entry) {
        if let Some(tag) = entry.tag {
            self.release(tag);
        }
    }

    /// The oldest revision with unfinished work.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.0.keys().next().copied()
    }
}

/// State of one type on one stream.
#[derive(Debug, Default)]
pub(super) struct TypeState {
    /// A request of this type has come.
    pub(super) started: bool,
    /// The proxy wants all resources of the type.
    pub(super) wildcard: bool,
    /// `wildcard` comes from an empty first request; ends with the first name that is asked for.
    pub(super) legacy: bool,
    /// A first answer is owed even when there is nothing to send: Envoy's start waits for it.
    pub(super) owes_answer: bool,
    /// Names asked for.
    pub(super) names: FxHashSet<Arc<str>>,
    pub(super) served: FxHashMap<Arc<str>, Served>,
    /// Whether a revision is in force only when its removals are. True for what takes traffic; that a cluster, its
    /// endpoints or a secret lingers changes nothing, and a refused host may need it for as long as it is refused.
    pub(super) counts_removals: bool,
    /// To be looked at by the next poll.
    pub(super) dirty: BTreeMap<Arc<str>, Work>,
    /// Waits for an event: the answer of the proxy, a warm cluster, a point in time.
    pub(super) parked: FxHashMap<Arc<str>, Work>,
    /// Names to take away once nothing needs them, with the revision that asked for it.
    pub(super) removals: BTreeMap<Arc<str>, u64>,
    /// After a refusal of several resources: groups to send apart.
    pub(super) isolate: VecDeque<Vec<(Arc<str>, Work)>>,
    pub(super) outstanding: VecDeque<Sent>,
    /// Versions that this proxy refused.
    pub(super) refused: FxHashMap<Arc<str>, Version>,
}

impl TypeState {
    pub(super) fn subscribed(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    pub(super) fn sent(&self, name: &str) -> Option<Version> {
        self.served.get(name).and_then(|s| s.sent)
    }

    /// Marks a name for the next poll; what was parked or planned for removal becomes part of it.
    pub(super) fn mark(&mut self, name: &Arc<str>, mut work: Work, tags: &mut Tags) {
        tags.add(work.tag);
        if let Some(parked) = self.parked.remove(name) {
            work = merge(work, parked, tags);
        }
        if let Some(tag) = self.removals.remove(name).filter(|_| self.counts_removals) {
            work = merge(work, Work { tag, forced: false }, tags);
        }
        if let Some(dirty) = self.dirty.get(name) {
            work = merge(work, *dirty, tags);
        }
        self.dirty.insert(Arc::clone(name), work);
    }

    /// Lets a parked name be looked at again.
    pub(super) fn unpark(&mut self, name: &Arc<str>, tags: &mut Tags) {
        if let Some(mut work) = self.parked.remove(name) {
            if let Some(dirty) = self.dirty.get(name) {
                work = merge(work, *dirty, tags);
            }
            self.dirty.insert(Arc::clone(name), work);
        }
    }

    /// Parks work until an event.
    pub(super) fn park(&mut self, name: &Arc<str>, mut work: Work, tags: &mut Tags) {
        if let Some(parked) = self.parked.get(name) {
            work = merge(work, *parked, tags);
        }
        self.parked.insert(Arc::clone(name), work);
    }

    /// Plans a removal; the work becomes part of it.
    pub(super) fn plan_removal(&mut self, name: &Arc<str>, tag: u64, tags: &mut Tags) {
        let earlier = self.removals.get(name).copied();
        self.removals.insert(Arc::clone(name), earlier.map_or(tag, |earlier| earlier.min(tag)));
        match earlier {
            _ if !self.counts_removals => tags.release(tag),
            Some(earlier) => tags.release(tag.max(earlier)),
            None => {}
        }
    }

    /// The entry of a planned removal in a response.
    pub(super) fn removal(&self, name: Arc<str>, tag: u64) -> Entry {
        Entry { name, version: None, tag: self.counts_removals.then_some(tag) }
    }

    /// Forgets all work for a name that the proxy does not want any more.
    pub(super) fn forget(&mut self, name: &Arc<str>, tags: &mut Tags) {
        let work = self.dirty.remove(name).into_iter().chain(self.parked.remove(name));
        let removal = self.removals.remove(name).filter(|_| self.counts_removals);
        work.map(|w| w.tag).chain(removal).for_each(|tag| tags.release(tag));
        self.served.remove(name);
        self.refused.remove(name);
    }

    /// Remembers a response until its answer comes.
    pub(super) fn await_answer(&mut self, sent: Sent, tags: &mut Tags) {
        if self.outstanding.len() == OUTSTANDING
            && let Some(oldest) = self.outstanding.pop_front()
        {
            oldest.entries.iter().for_each(|entry| tags.release_entry(entry));
        }
        self.outstanding.push_back(sent);
    }

    /// The response with this nonce, if it still waits for an answer.
    pub(super) fn answered(&mut self, nonce: &str) -> Option<Sent> {
        let seq: u64 = nonce.parse().ok()?;
        let place = self.outstanding.iter().position(|sent| sent.seq == seq)?;
        self.outstanding.remove(place)
    }

    /// True when something that a revision up to `tag` asked for is neither sent nor answered.
    pub(super) fn unfinished(&self, tag: u64) -> bool {
        self.dirty.values().chain(self.parked.values()).any(|w| w.tag <= tag)
            || self.isolate.iter().flatten().any(|(_, w)| w.tag <= tag)
            || self
                .outstanding
                .iter()
                .flat_map(|s| &s.entries)
                .any(|e| e.version.is_some() && e.tag.is_some_and(|t| t <= tag))
    }
}

/// One work of two for the same name; the later revision's tag is done with.
fn merge(a: Work, b: Work, tags: &mut Tags) -> Work {
    tags.release(a.tag.max(b.tag));
    Work { tag: a.tag.min(b.tag), forced: a.forced || b.forced }
}

/// Position of a type in arrays of all types.
pub(super) fn index(kind: ResourceType) -> usize {
    kind as usize
}
