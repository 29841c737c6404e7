//! Facts of GRPCRoute.

use super::{Meta, ParentRef, Rule};
use crate::NameId;

/// What is kept of a GRPCRoute. Its calls are HTTP requests, and so are its rules: service and method are the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcRoute {
    /// Common part.
    pub meta: Meta,
    /// `spec.parentRefs`, in order.
    pub parents: Box<[ParentRef]>,
    /// `spec.hostnames`, in order; empty for all.
    pub hostnames: Box<[NameId]>,
    /// `spec.rules`, in order.
    pub rules: Box<[Rule]>,
}
