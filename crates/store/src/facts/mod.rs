//! What is kept of each object. One file per kind; shared parts here.

mod backend;
mod backend_tls;
mod config;
mod envoy_proxy;
mod gateway;
mod grpc_route;
mod http_route;
mod labels;
mod layer4;
mod policy;
mod reference_grant;
mod service;
mod service_import;

pub use backend::{Backend, BackendEndpoint, BackendKind};
pub use backend_tls::{BackendTls, BackendTlsPolicy, ClientTls, ClusterTrustBundle, Trust};
pub use config::{ConfigMap, Namespace, Secret};
pub use envoy_proxy::{Collector, CollectorRef, EnvoyProxy, TelemetryBackends};
pub use gateway::{
    Address, AllowedNamespaces, CertificateRef, FrontendTls, FrontendValidation, Gateway, GatewayBackendTls,
    GatewayClass, GatewayTls, LabelRequirement, LabelSelector, Listener, ListenerSet, ListenerTls,
    MISDIRECTED_REQUESTS, Operator, ParametersRef, RouteKind,
};
pub use grpc_route::GrpcRoute;
pub use http_route::{
    BackendRef, BackendTarget, Filter, HeaderEdit, HttpRoute, ParentRef, PathModifier, Redirect, Rule,
    SessionPersistence, Timeouts,
};
pub use labels::Labels;
pub use layer4::{Layer4Route, Layer4Rule};
pub use policy::{MergeType, Policy, PolicyTarget, Selectable, SelectedNamespaces, TargetSelector};
pub use reference_grant::{GrantFrom, GrantTo, ReferenceGrant};
pub use service::{EndpointSlice, Service, ServiceKind, ServicePort, SliceAddress, SliceEndpoint, SlicePort};
pub use service_import::ServiceImport;

use std::sync::Arc;

use crate::{NameId, ObjectId};

/// A target of a reference: the object, which may be absent, and the namespace whose grants decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The object.
    pub id: ObjectId,
    /// Its namespace.
    pub namespace: NameId,
}

/// What every fact keeps of `metadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The object.
    pub id: ObjectId,
    /// Its namespace as a name; the empty name for cluster-scoped kinds.
    pub namespace: NameId,
    /// The Namespace object it lives in, whether or not it is known.
    pub namespace_object: ObjectId,
    /// Creation time in seconds since 1970; 0 when unknown, so that undated objects are oldest and names decide.
    pub created: i64,
    /// `metadata.generation`.
    pub generation: i64,
    /// Annotations under `gateway.envoyproxy.io/`, that prefix cut off, ascending.
    pub annotations: Arc<[(Arc<str>, Arc<str>)]>,
}

/// One object as a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// GatewayClass.
    GatewayClass(GatewayClass),
    /// Gateway.
    Gateway(Arc<Gateway>),
    /// ListenerSet.
    ListenerSet(Arc<ListenerSet>),
    /// HTTPRoute.
    HttpRoute(Arc<HttpRoute>),
    /// GRPCRoute.
    GrpcRoute(Arc<GrpcRoute>),
    /// TLSRoute.
    TlsRoute(Arc<Layer4Route>),
    /// TCPRoute.
    TcpRoute(Arc<Layer4Route>),
    /// UDPRoute.
    UdpRoute(Arc<Layer4Route>),
    /// ReferenceGrant.
    ReferenceGrant(ReferenceGrant),
    /// Namespace.
    Namespace(Namespace),
    /// Service.
    Service(Service),
    /// EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// ServiceImport.
    ServiceImport(ServiceImport),
    /// Secret.
    Secret(Secret),
    /// ConfigMap.
    ConfigMap(ConfigMap),
    /// Backend.
    Backend(Backend),
    /// EnvoyProxy.
    EnvoyProxy(EnvoyProxy),
    /// BackendTLSPolicy.
    BackendTlsPolicy(BackendTlsPolicy),
    /// ClusterTrustBundle.
    ClusterTrustBundle(ClusterTrustBundle),
    /// A policy, of whatever kind.
    Policy(Arc<Policy>),
}

impl Fact {
    /// The common part.
    pub fn meta(&self) -> &Meta {
        match self {
            Fact::GatewayClass(f) => &f.meta,
            Fact::Gateway(f) => &f.meta,
            Fact::ListenerSet(f) => &f.meta,
            Fact::HttpRoute(f) => &f.meta,
            Fact::GrpcRoute(f) => &f.meta,
            Fact::TlsRoute(f) | Fact::TcpRoute(f) | Fact::UdpRoute(f) => &f.meta,
            Fact::ReferenceGrant(f) => &f.meta,
            Fact::Namespace(f) => &f.meta,
            Fact::Service(f) => &f.meta,
            Fact::EndpointSlice(f) => &f.meta,
            Fact::ServiceImport(f) => &f.meta,
            Fact::Secret(f) => &f.meta,
            Fact::ConfigMap(f) => &f.meta,
            Fact::Backend(f) => &f.meta,
            Fact::EnvoyProxy(f) => &f.meta,
            Fact::BackendTlsPolicy(f) => &f.meta,
            Fact::ClusterTrustBundle(f) => &f.meta,
            Fact::Policy(f) => &f.meta,
        }
    }

    /// `spec.parentRefs` of a route of whatever kind, in order; `None` for what is no route.
    pub fn parents(&self) -> Option<&[ParentRef]> {
        match self {
            Fact::HttpRoute(route) => Some(&route.parents),
            Fact::GrpcRoute(route) => Some(&route.parents),
            Fact::TlsRoute(route) | Fact::TcpRoute(route) | Fact::UdpRoute(route) => Some(&route.parents),
            _ => None,
        }
    }

    /// The Gateway that a ListenerSet names as its parent.
    pub fn listener_set_of(&self) -> Option<ObjectId> {
        match self {
            Fact::ListenerSet(set) => set.gateway,
            _ => None,
        }
    }

    /// The GatewayClass of a Gateway.
    pub fn gateway_class(&self) -> Option<ObjectId> {
        match self {
            Fact::Gateway(gateway) => Some(gateway.class),
            _ => None,
        }
    }

    /// The EnvoyProxy that a GatewayClass or Gateway refers to.
    pub fn parameters(&self) -> Option<ObjectId> {
        match self {
            Fact::GatewayClass(class) => class.parameters.as_ref()?.target,
            Fact::Gateway(gateway) => gateway.parameters.as_ref()?.target,
            _ => None,
        }
    }
}
