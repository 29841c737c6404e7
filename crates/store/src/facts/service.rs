//! Facts of Service and EndpointSlice.

use std::{net::IpAddr, sync::Arc};

use super::{Labels, Meta};
use crate::ObjectId;

/// What is kept of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Common part.
    pub meta: Meta,
    /// How it is reached.
    pub kind: ServiceKind,
    /// `spec.ports`, in order.
    pub ports: Box<[ServicePort]>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Zone awareness that the Service asks for; `None` for none.
    pub zones: Option<ir::cluster::Zones>,
    /// The Gateway whose proxies are behind it, or the GatewayClass of merged Gateways, when its labels say that it is an
    /// infrastructure Service.
    pub proxy_of: Option<ObjectId>,
}

/// How a Service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// By its endpoints, or by its cluster IP; `None` while it has none.
    ClusterIp(Option<IpAddr>),
    /// By its endpoints, without a cluster IP.
    Headless,
    /// By a DNS name outside.
    ExternalName(Arc<str>),
}

/// One port of a Service or ServiceImport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`; empty when there is only one port.
    pub name: Arc<str>,
    /// `port`.
    pub port: u16,
    /// `protocol`: TCP, UDP or SCTP.
    pub protocol: Arc<str>,
    /// `appProtocol`.
    pub app_protocol: Option<Arc<str>>,
}

/// What is kept of an EndpointSlice. Unreferenced ones are kept too, so that a new reference needs no list call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Common part.
    pub meta: Meta,
    /// The Service, by the label `kubernetes.io/service-name`.
    pub service: Option<ObjectId>,
    /// The ServiceImport, by the label `multicluster.kubernetes.io/service-name`. A slice may have both.
    pub import: Option<ObjectId>,
    /// True for `addressType: FQDN`.
    pub fqdn: bool,
    /// `ports`, in order.
    pub ports: Box<[SlicePort]>,
    /// `endpoints`, in order; one entry for each address.
    pub endpoints: Box<[SliceEndpoint]>,
}

impl EndpointSlice {
    /// The Service and the ServiceImport whose endpoints it holds.
    pub fn backends(&self) -> impl Iterator<Item = ObjectId> + use<> {
        self.service.into_iter().chain(self.import)
    }
}

/// One port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// `name`; empty for the unnamed port.
    pub name: Arc<str>,
    /// `port`; a slice port without number stands for all ports and is not kept.
    pub port: u16,
    /// `protocol`.
    pub protocol: Arc<str>,
}

/// One address of a slice: 32 bytes, since there may be 100,000 of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Address.
    pub address: SliceAddress,
    /// Zone.
    pub zone: Option<Arc<str>>,
    /// Finishes what it has and gets nothing new: terminating, not serving or not ready.
    pub draining: bool,
}

/// Address in a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SliceAddress {
    /// IPv4 or IPv6.
    Ip(IpAddr),
    /// Host name, in slices of type FQDN.
    Host(Arc<str>),
}
