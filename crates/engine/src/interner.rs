//! Small ids for large names, freed when nothing refers to them.

use std::{fmt, hash::Hash, marker::PhantomData};

use rustc_hash::FxHashMap;

/// The id of an interned `T`. Ids are only comparable within one [`Interner`]; their order says nothing.
pub struct Id<T>(u32, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// The least id, for bounds of ranges.
    pub const MIN: Id<T> = Id(0, PhantomData);
    /// An id above all others, for bounds of ranges. It stands for nothing.
    pub const MAX: Id<T> = Id(u32::MAX, PhantomData);
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    holders: u32,
}

/// Values by id and ids by value, with a count of holders for each.
///
/// Dropping the last hold does not free the id at once: units that ran before may still carry it until the transaction
/// ends. [`Interner::sweep`] frees what is unheld, at the end of a transaction.
#[derive(Debug)]
pub struct Interner<T> {
    slots: Vec<Slot<T>>,
    ids: FxHashMap<T, u32>,
    free: Vec<u32>,
    unheld: Vec<u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner { slots: Vec::new(), ids: FxHashMap::default(), free: Vec::new(), unheld: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Interner<T> {
    /// The id of `value`, with one hold more.
    pub fn hold(&mut self, value: &T) -> Id<T> {
        if let Some(&index) = self.ids.get(value) {
            self.slots[index as usize].holders += 1;
            return Id(index, PhantomData);
        }
        let slot = Slot { value: Some(value.clone()), holders: 1 };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                // 2^32 live names would need more than 64 GiB; the cast cannot lose anything before that.
                (self.slots.len() - 1) as u32
            }
        };
        self.ids.insert(value.clone(), index);
        Id(index, PhantomData)
    }

    /// Gives one hold back.
    pub fn release(&mut self, id: Id<T>) {
        let slot = &mut self.slots[id.0 as usize];
        slot.holders = slot.holders.saturating_sub(1);
        if slot.holders == 0 {
            self.unheld.push(id.0);
        }
    }

    /// Frees what nobody holds. Call it when a transaction has ended, so that no output carries a freed id.
    pub fn sweep(&mut self) {
        for index in std::mem::take(&mut self.unheld) {
            let slot = &mut self.slots[index as usize];
            if slot.holders == 0
                && let Some(value) = slot.value.take()
            {
                self.ids.remove(&value);
                self.free.push(index);
            }
        }
    }

    /// The id of a value that somebody holds.
    pub fn find(&self, value: &T) -> Option<Id<T>> {
        self.ids.get(value).map(|&index| Id(index, PhantomData))
    }

    /// The value of an id; `None` only for an id that was freed.
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        self.slots.get(id.0 as usize).and_then(|slot| slot.value.as_ref())
    }

    /// How many values are held or wait for the sweep.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
