//! One stage: memoised outputs with their reads.

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{Dirty, Key, Reads};

/// Above this many dirty units a stage runs on all cores. A unit costs 1–10 µs and handing work to rayon about
/// 5–10 µs, so below some dozens the hand-over costs more than it saves.
const PARALLEL_THRESHOLD: usize = 64;

/// A set of readers is a vector up to this size and a hash set beyond: most facts have one reader, a shared Gateway has
/// all routes.
const FEW_READERS: usize = 8;

/// How much work a stage has done since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Units that ran.
    pub recomputed: u64,
    /// Units whose output changed, appeared or disappeared.
    pub changed: u64,
}

/// One output that changed in [`Table::update`].
#[derive(Debug)]
pub struct Change<'a, K, V> {
    /// The unit.
    pub key: K,
    /// Its output before; `None` when it is new.
    pub old: Option<&'a V>,
    /// Its output now; `None` when it is gone.
    pub new: Option<&'a V>,
}

#[derive(Debug)]
struct Memo<V, D> {
    value: V,
    reads: Box<[D]>,
}

/// Who read something. There is one for each thing that was read, so it is small where there is one reader.
#[derive(Debug)]
enum Readers<K> {
    One(K),
    Few(Vec<K>),
    Many(Box<FxHashSet<K>>),
}

impl<K: Key> Readers<K> {
    fn insert(&mut self, key: K) {
        match self {
            Readers::One(one) => *self = Readers::Few(vec![*one, key]),
            Readers::Few(few) if few.is_empty() => *self = Readers::One(key),
            Readers::Few(few) if few.len() < FEW_READERS => few.push(key),
            Readers::Few(few) => {
                *self = Readers::Many(Box::new(few.iter().copied().chain([key]).collect()));
            }
            Readers::Many(many) => {
                many.insert(key);
            }
        }
    }

    fn remove(&mut self, key: &K) {
        match self {
            Readers::One(one) if one == key => *self = Readers::Few(Vec::new()),
            Readers::One(_) => {}
            Readers::Few(few) => few.retain(|k| k != key),
            Readers::Many(many) => {
                many.remove(key);
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Readers::One(_) => false,
            Readers::Few(few) => few.is_empty(),
            Readers::Many(many) => many.is_empty(),
        }
    }

    fn extend_into(&self, out: &mut FxHashSet<K>) {
        match self {
            Readers::One(one) => {
                out.insert(*one);
            }
            Readers::Few(few) => out.extend(few.iter().copied()),
            Readers::Many(many) => out.extend(many.iter().copied()),
        }
    }
}

/// The outputs of one stage, by key, with the reads that each depends on.
#[derive(Debug)]
pub struct Table<K, V, D> {
    name: &'static str,
    // Boxed: a hash table keeps up to twice the room that its entries take.
    memos: FxHashMap<K, Box<Memo<V, D>>>,
    readers: FxHashMap<D, Readers<K>>,
    counters: Counters,
}

impl<K: Key, V: Eq + Send + Sync, D: Key> Table<K, V, D> {
    /// An empty table; `name` appears in metrics and dumps.
    pub fn new(name: &'static str) -> Self {
        Table {
            name,
            memos: FxHashMap::default(),
            readers: FxHashMap::default(),
            counters: Counters::default(),
        }
    }

    /// The name given to [`Table::new`].
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The output of a unit. Units of later stages must record the read themselves.
    pub fn get(&self, key: K) -> Option<&V> {
        self.memos.get(&key).map(|m| &m.value)
    }

    /// What a unit read in its last run, ascending; for dumps ("why is this here?").
    pub fn reads(&self, key: K) -> Option<&[D]> {
        self.memos.get(&key).map(|m| &*m.reads)
    }

    /// All outputs, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.memos.iter().map(|(k, m)| (*k, &m.value))
    }

    /// All outputs, ascending by key.
    pub fn iter_sorted(&self) -> impl Iterator<Item = (K, &V)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|(k, _)| *k);
        all.into_iter()
    }

    /// How many outputs there are.
    pub fn len(&self) -> usize {
        self.memos.len()
    }

    /// True when there is no output.
    pub fn is_empty(&self) -> bool {
        self.memos.is_empty()
    }

    /// Work done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Runs every unit that read something dirty, and every unit in `roots`, and keeps the results.
    ///
    /// `unit` returns `None` when its object is gone; it may do so only when a root wakes it again should the object
    /// return, because its reads are forgotten. `changed` is called once for each output that differs, in ascending
    /// order of keys; it is the place to mark what later stages read.
    pub fn update<F, C>(
        &mut self,
        dirty: &Dirty<D>,
        roots: impl IntoIterator<Item = K>,
        unit: F,
        mut changed: C,
    ) where
        F: Fn(K, &mut Reads<D>) -> Option<V> + Sync,
        C: FnMut(Change<'_, K, V>),
    {
        let mut keys: FxHashSet<K> = roots.into_iter().collect();
        for dep in dirty.iter() {
            if let Some(readers) = self.readers.get(&dep) {
                readers.extend_into(&mut keys);
            }
        }
        let mut keys: Vec<K> = keys.into_iter().collect();
        keys.sort_unstable();
        self.counters.recomputed += keys.len() as u64;
        let run = |key: K| {
            let mut reads = Reads::default();
            let value = unit(key, &mut reads);
            (key, value, reads.into_sorted())
        };
        let results: Vec<_> = if keys.len() > PARALLEL_THRESHOLD {
            keys.into_par_iter().map(run).collect()
        } else {
            keys.into_iter().map(run).collect()
        };
        for (key, value, reads) in results {
            self.replace(key, value, reads, &mut changed);
        }
    }

    fn replace(
        &mut self,
        key: K,
        value: Option<V>,
        reads: Box<[D]>,
        changed: &mut impl FnMut(Change<'_, K, V>),
    ) {
        let Some(value) = value else {
            if let Some(old) = self.memos.remove(&key) {
                self.forget(key, &old.reads, &[]);
                self.counters.changed += 1;
                changed(Change { key, old: Some(&old.value), new: None });
            }
            return;
        };
        match self.memos.get_mut(&key) {
            Some(memo) => {
                let old_reads = std::mem::replace(&mut memo.reads, reads);
                let same = memo.value == value;
                let old = (!same).then(|| std::mem::replace(&mut memo.value, value));
                let memo = &self.memos[&key];
                if let Some(old) = &old {
                    self.counters.changed += 1;
                    changed(Change { key, old: Some(old), new: Some(&memo.value) });
                }
                if old_reads != memo.reads {
                    let reads = memo.reads.clone();
                    self.forget(key, &old_reads, &reads);
                    self.remember(key, &reads, &old_reads);
                }
            }
            None => {
                self.counters.changed += 1;
                changed(Change { key, old: None, new: Some(&value) });
                self.remember(key, &reads, &[]);
                self.memos.insert(key, Box::new(Memo { value, reads }));
            }
        }
    }

    /// Drops `key` as a reader of what is in `reads` but not in `keep` (both ascending).
    fn forget(&mut self, key: K, reads: &[D], keep: &[D]) {
        for dep in reads.iter().filter(|d| keep.binary_search(d).is_err()) {
            if let Some(readers) = self.readers.get_mut(dep) {
                readers.remove(&key);
                if readers.is_empty() {
                    self.readers.remove(dep);
                }
            }
        }
    }

    /// Adds `key` as a reader of what is in `reads` but not in `known` (both ascending).
    fn remember(&mut self, key: K, reads: &[D], known: &[D]) {
        for dep in reads.iter().filter(|d| known.binary_search(d).is_err()) {
            self.readers.entry(*dep).or_insert_with(|| Readers::Few(Vec::new())).insert(key);
        }
    }
}
