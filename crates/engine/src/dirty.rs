//! What changed, and what was read.

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use crate::Key;

/// The dependencies that a transaction has touched so far: facts first, then outputs stage by stage.
#[derive(Debug)]
pub struct Dirty<D> {
    order: Vec<D>,
    seen: FxHashSet<D>,
}

impl<D: Key> Default for Dirty<D> {
    fn default() -> Self {
        Dirty { order: Vec::new(), seen: FxHashSet::default() }
    }
}

impl<D: Key> Dirty<D> {
    /// Marks one dependency; marking it again has no effect.
    pub fn insert(&mut self, dep: D) {
        if self.seen.insert(dep) {
            self.order.push(dep);
        }
    }

    /// All marked dependencies in the order in which they were first marked.
    pub fn iter(&self) -> impl Iterator<Item = D> + '_ {
        self.order.iter().copied()
    }

    /// True when `dep` was marked.
    pub fn contains(&self, dep: D) -> bool {
        self.seen.contains(&dep)
    }

    /// True when nothing was marked.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How many dependencies were marked.
    pub fn len(&self) -> usize {
        self.order.len()
    }
}

impl<D: Key> Extend<D> for Dirty<D> {
    fn extend<I: IntoIterator<Item = D>>(&mut self, deps: I) {
        for dep in deps {
            self.insert(dep);
        }
    }
}

/// The reads of one run of a unit. Reading something absent is recorded like reading something present, so that its
/// creation wakes the reader.
#[derive(Debug)]
pub struct Reads<D> {
    deps: SmallVec<[D; 8]>,
}

impl<D> Default for Reads<D> {
    fn default() -> Self {
        Reads { deps: SmallVec::new() }
    }
}

impl<D: Key> Reads<D> {
    /// Records one read.
    pub fn record(&mut self, dep: D) {
        // Units read the same thing several times in a row (a Service per backendRef): drop the cheap duplicates here,
        // the rest in `into_sorted`.
        if self.deps.last() != Some(&dep) {
            self.deps.push(dep);
        }
    }

    /// The distinct reads in ascending order.
    pub(crate) fn into_sorted(mut self) -> Box<[D]> {
        self.deps.sort_unstable();
        self.deps.dedup();
        self.deps.into_vec().into_boxed_slice()
    }
}
