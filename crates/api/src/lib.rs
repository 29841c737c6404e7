//! Kubernetes types of every kind that Ferrogate reads, with defaults, limits and CEL rules beside the fields.
//!
//! The types follow Gateway API 1.6 (experimental channel) and Envoy Gateway's `v1alpha1`. From them alone come the
//! CRDs, and from the CRDs' schemas come defaulting and validation in crate `admission`.
//!
//! Conventions: a field is an `Option` only when it may be unset and has no default in the CRD; fields with a default
//! are plain, and reading a document fills them as an API server would. Lists are plain `Vec`s. Closed enumerations
//! are Rust enums; strings with a grammar are the newtypes of [`text`], which deref to `str`.
//!
//! **Invariant:** no logic beyond reading, writing and describing documents.

#![allow(
    unreachable_pub,
    reason = "derive(KubeSchema) copies each struct, with its visibility, into a function"
)]

mod crd;
mod object;
mod schema;

pub mod backend;
pub mod backendtlspolicy;
pub mod backendtrafficpolicy;
pub mod clienttrafficpolicy;
pub mod clustersettings;
pub mod common;
pub mod config;
pub mod core;
pub mod envoyproxy;
pub mod gateway;
pub mod gatewayclass;
pub mod grpcroute;
pub mod httproute;
pub mod layer4;
pub mod listener;
pub mod listenerset;
pub mod policy;
pub mod referencegrant;
pub mod serviceimport;
pub mod text;
pub mod tls;

pub use backend::*;
pub use backendtlspolicy::*;
pub use backendtrafficpolicy::{BackendTrafficPolicy, BackendTrafficPolicySpec};
pub use clienttrafficpolicy::{ClientTrafficPolicy, ClientTrafficPolicySpec};
pub use clustersettings::ClusterSettings;
pub use common::*;
pub use core::{
    ClusterTrustBundle, ConfigMap, CoreNamespace, EndpointSlice, Secret, SecretBytes, SecretData, Service,
};
pub use crd::{GATEWAY_API_VERSION, crds};
pub use envoyproxy::{EnvoyProxy, EnvoyProxySpec, EnvoyProxyStatus};
pub use gateway::*;
pub use gatewayclass::*;
pub use grpcroute::*;
pub use httproute::*;
pub use k8s_openapi;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
pub use layer4::*;
pub use listener::*;
pub use listenerset::*;
pub use object::{KINDS, KindInfo, Object, plural};
pub use policy::*;
pub use referencegrant::*;
pub use serviceimport::*;
pub use text::*;
pub use tls::*;

#[cfg(test)]
mod tests;
