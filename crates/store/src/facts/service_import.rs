//! Facts of ServiceImport.

use std::net::IpAddr;

use super::{Labels, Meta, ServicePort};
use crate::ObjectId;

/// What is kept of a ServiceImport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceImport {
    /// Common part.
    pub meta: Meta,
    /// The Service of the same name in this cluster, which the import is of when the cluster exports it.
    pub service: ObjectId,
    /// The first of its virtual addresses; `None` without one.
    pub address: Option<IpAddr>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.ports`, in order.
    pub ports: Box<[ServicePort]>,
}
