//! Proofs about whole commits: the incremental result is the result from scratch, and a change costs what it must.

mod counts;
mod objects;
mod random;
