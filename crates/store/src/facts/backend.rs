//! Facts of Backend.

use std::sync::Arc;

use ir::cluster::{Address, Protocol};

use super::{BackendTls, Labels, Meta};
use crate::ObjectId;

/// What is kept of a Backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Common part.
    pub meta: Meta,
    /// Fixed endpoints or the request's own host.
    pub kind: BackendKind,
    /// `appProtocols`: the first that is known decides.
    pub protocol: Option<Protocol>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `fallback`: used when all others are unhealthy.
    pub fallback: bool,
    /// `tls`.
    pub tls: Option<Arc<BackendTls>>,
    /// The BackendTLSPolicy that has its namespace and name, whether or not it is there: what they trust would have the
    /// same name in xDS.
    pub namesake: ObjectId,
}

impl Backend {
    /// Ports of its endpoints, ascending, each once.
    pub fn ports(&self) -> Vec<u16> {
        let BackendKind::Endpoints(endpoints) = &self.kind else { return Vec::new() };
        let mut ports: Vec<u16> = (endpoints.iter())
            .filter_map(|endpoint| match endpoint.address {
                Address::Ip(_, port) | Address::Host(_, port) => Some(port),
                Address::Unix(_) => None,
            })
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
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
