//! Aggregates: numbers kept by adding and subtracting, never by scanning.

use rustc_hash::FxHashMap;

use crate::Key;

/// A number per key; zero takes no memory.
#[derive(Debug)]
pub struct Counts<K> {
    counts: FxHashMap<K, u32>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Counts { counts: FxHashMap::default() }
    }
}

impl<K: Key> Counts<K> {
    /// The number for `key`.
    pub fn get(&self, key: K) -> u32 {
        self.counts.get(&key).copied().unwrap_or(0)
    }

    /// Adds one. True when it was zero before.
    pub fn increment(&mut self, key: K) -> bool {
        let count = self.counts.entry(key).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// Takes one away. True when it is zero now. Taking from zero leaves zero.
    pub fn decrement(&mut self, key: K) -> bool {
        let Some(count) = self.counts.get_mut(&key) else { return false };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&key);
            return true;
        }
        false
    }
}
