//! Membership: which units contribute to which collection.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::Key;

/// Sets of members by bucket, kept in step with the outputs that contribute to them.
///
/// An empty bucket takes no memory, so churn does not grow the table.
#[derive(Debug)]
pub struct Buckets<B, M> {
    members: FxHashMap<B, BTreeSet<M>>,
}

impl<B, M> Default for Buckets<B, M> {
    fn default() -> Self {
        Buckets { members: FxHashMap::default() }
    }
}

impl<B: Key, M: Key> Buckets<B, M> {
    /// Adds a member. True when it was not there.
    pub fn insert(&mut self, bucket: B, member: M) -> bool {
        self.members.entry(bucket).or_default().insert(member)
    }

    /// Removes a member. True when it was there.
    pub fn remove(&mut self, bucket: B, member: M) -> bool {
        let Some(members) = self.members.get_mut(&bucket) else { return false };
        let removed = members.remove(&member);
        if members.is_empty() {
            self.members.remove(&bucket);
        }
        removed
    }

    /// Members of a bucket, ascending.
    pub fn members(&self, bucket: B) -> impl Iterator<Item = M> + '_ {
        self.members.get(&bucket).into_iter().flatten().copied()
    }

    /// True when `member` is in `bucket`.
    pub fn contains(&self, bucket: B, member: M) -> bool {
        self.members.get(&bucket).is_some_and(|m| m.contains(&member))
    }

    /// How many members a bucket has.
    pub fn len(&self, bucket: B) -> usize {
        self.members.get(&bucket).map_or(0, BTreeSet::len)
    }

    /// True when a bucket has no member.
    pub fn is_empty(&self, bucket: B) -> bool {
        !self.members.contains_key(&bucket)
    }

    /// All buckets that have members, in no particular order.
    pub fn buckets(&self) -> impl Iterator<Item = B> + '_ {
        self.members.keys().copied()
    }
}
