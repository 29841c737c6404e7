//! Which names changed lately, so that a stream's work is proportional to what changed.

use std::{collections::VecDeque, sync::Arc};

use super::snapshot::Key;

/// Names that the log holds. 16,384 × 40 bytes are 640 KiB per fleet at most; a stream further behind than that
/// compares everything, which costs it less than following as many single changes.
const LIMIT: usize = 16_384;

/// What changed between two generations.
#[derive(Clone, Debug)]
pub enum Changes {
    /// Nothing but these names, in the order of the changes; a name may come twice.
    Names(Vec<Arc<[Key]>>),
    /// Unknown: compare everything.
    All,
}

#[derive(Default)]
pub(super) struct Log {
    entries: VecDeque<(u64, Arc<[Key]>)>,
    names: usize,
    /// Generations up to this one are forgotten.
    base: u64,
}

impl Log {
    pub(super) fn push(&mut self, generation: u64, changed: Vec<Key>) {
        self.names += changed.len();
        self.entries.push_back((generation, changed.into()));
        while self.names > LIMIT || self.entries.len() > LIMIT {
            let Some((generation, names)) = self.entries.pop_front() else { break };
            self.names -= names.len();
            self.base = generation;
        }
    }

    pub(super) fn since(&self, generation: u64) -> Changes {
        if generation < self.base {
            return Changes::All;
        }
        let first = self.entries.partition_point(|(g, _)| *g <= generation);
        Changes::Names(self.entries.range(first..).map(|(_, names)| Arc::clone(names)).collect())
    }
}
