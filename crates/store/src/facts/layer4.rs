//! Facts of TCPRoute, TLSRoute and UDPRoute.

use std::sync::Arc;

use super::{BackendRef, Meta, ParentRef};
use crate::NameId;

/// What is kept of a TCPRoute, TLSRoute or UDPRoute: they differ in their kind alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer4Route {
    /// Common part.
    pub meta: Meta,
    /// `spec.parentRefs`, in order.
    pub parents: Box<[ParentRef]>,
    /// `spec.hostnames` of a TLSRoute, in order; empty for all, and for the other kinds.
    pub hostnames: Box<[NameId]>,
    /// `spec.rules`, in order: one, but for objects that were written in an older version.
    pub rules: Box<[Layer4Rule]>,
}

/// One rule; it takes everything that the route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer4Rule {
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `backendRefs`, in order; their filters are empty.
    pub backends: Box<[BackendRef]>,
}
