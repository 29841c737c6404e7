//! Facts of Backend.

use std::sync::Arc;

use ir::cluster::{Address, Protocol};

use super::Meta;

/// What is kept of a Backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Common part.
    pub meta: Meta,
    /// Fixed endpoints or the request's own host.
    pub kind: BackendKind,
    /// `appProtocols`: the first that is known decides.
    pub protocol: Option<Protocol>,
    /// `fallback`: used when all others are unhealthy.
    pub fallback: bool,
    /// True when `tls` is set.
    pub tls: bool,
}

/// `type` with its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// `Endpoints`.
    Endpoints(Box<[BackendEndpoint]>),
    /// `DynamicResolver`.
    DynamicResolver,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendEndpoint {
    /// Address.
    pub address: Address,
    /// `hostname`.
    pub hostname: Option<Arc<str>>,
    /// `zone`.
    pub zone: Option<Arc<str>>,
}
