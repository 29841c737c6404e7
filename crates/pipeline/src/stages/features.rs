//! HTTP filters that tables need.

use std::collections::{BTreeMap, BTreeSet};

use ir::listener::HttpFilter;
use rustc_hash::FxHashMap;
use translate::TableKey;

/// HTTP filters that tables need, each with the number of entries that need it.
#[derive(Debug, Default)]
pub(super) struct FeatureIndex {
    tables: FxHashMap<TableKey, BTreeMap<HttpFilter, u32>>,
}

impl FeatureIndex {
    /// The filters that a table needs.
    pub(super) fn get(&self, table: TableKey) -> BTreeSet<HttpFilter> {
        self.tables.get(&table).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// Replaces what an entry of a table needs. True when the table needs others than before.
    pub(super) fn replace(
        &mut self,
        table: TableKey,
        old: Option<&BTreeSet<HttpFilter>>,
        new: Option<&BTreeSet<HttpFilter>>,
    ) -> bool {
        if old == new {
            return false;
        }
        let counts = self.tables.entry(table).or_default();
        let mut changed = false;
        for filter in new.into_iter().flatten() {
            let count = counts.entry(filter.clone()).or_insert(0);
            *count += 1;
            changed |= *count == 1;
        }
        for filter in old.into_iter().flatten() {
            let Some(count) = counts.get_mut(filter) else { continue };
            *count -= 1;
            if *count == 0 {
                counts.remove(filter);
                changed = true;
            }
        }
        if counts.is_empty() {
            self.tables.remove(&table);
        }
        changed
    }
}
