//! Proofs about whole commits: the incremental result is the result from scratch, and a change costs what it must.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod counts;
mod crowded;
mod objects;
mod policies;
mod random;
