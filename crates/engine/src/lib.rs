//! Generic incremental computation in one transaction.
//!
//! A program is a row of stages in fixed order. Each stage is a [`Table`] from keys to outputs; an output is the
//! result of a pure function (a *unit*) that reads facts and outputs of earlier stages and records every read in
//! [`Reads`]. After a change, [`Table::update`] runs exactly the units that read something [`Dirty`], and stops where
//! an output stays equal. Running a row of empty tables with everything dirty is a build from scratch: cold start,
//! oracle and fallback are the same code.
//!
//! **Invariant:** this crate knows nothing of Gateway API, Kubernetes or Envoy.

mod buckets;
mod counts;
mod dirty;
mod interner;
mod table;

pub use buckets::Buckets;
pub use counts::Counts;
pub use dirty::{Dirty, Reads};
pub use interner::{Id, Interner};
pub use table::{Change, Counters, Table};

#[cfg(test)]
mod tests;

/// What a key of any table must be able to do. `Ord` makes the order of evaluation the same in every run.
pub trait Key: Copy + Eq + Ord + std::hash::Hash + Send + Sync + std::fmt::Debug {}
impl<T: Copy + Eq + Ord + std::hash::Hash + Send + Sync + std::fmt::Debug> Key for T {}
