//! The proxy-neutral model to encoded Envoy resources, with provenance.
//!
//! [`encode`] holds one pure function for each Envoy message; [`resource`] wraps their results with name, content hash
//! and owners; [`entry`] and [`listener`] are the units of the emit stage that need more than one output of translation.
//!
//! **Invariant:** equal input gives equal bytes, in every process and on every replica.

pub mod encode;
pub mod entry;
pub mod listener;
pub mod resource;
