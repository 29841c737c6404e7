//! What a fleet of proxies needs of a cluster: Kubernetes objects and Envoy's bootstrap, from a
//! [`Wish`](ir::infra::Wish).
//!
//! **Invariant:** no IO and no clock; equal input gives equal objects, in every process.

pub mod names;
