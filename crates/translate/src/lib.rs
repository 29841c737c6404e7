//! Facts to the proxy-neutral model and problems: pure functions in fixed stages.
//!
//! Each stage has a *unit*: a function of a key and a [`Reader`] (the only way to facts; it records reads) and of the
//! outputs of earlier stages. A unit is total: bad input becomes a [`Finding`] beside the output, never an error.
//! Status is built from the same outputs that xDS is built from, so acceptance is decided once.
//!
//! **Invariant:** no IO, no clock, no Envoy type.

pub mod attach;
pub mod backend;
pub mod backend_tls;
mod default_host;
pub mod destination;
mod expression;
mod features;
pub mod gateway;
pub mod host;
pub mod layer4;
mod namespaces;
pub mod policy;
pub mod precedence;
mod reader;
pub mod route;
pub mod secret;
pub mod shared;
pub mod status;
pub mod telemetry;
mod trust;
mod unserved;

pub use attach::{AttachOutput, Binding, ParentOutput};
pub use default_host::DefaultHosts;
pub use gateway::{AttachListener, FleetOutput, GatewayOutput, ListenerSetOutput, Place};
pub use host::Host;
pub use policy::{Policies, PolicyKind, PolicyOutput};
pub use reader::{
    AttachTable, ClusterKey, ClusterOf, Dep, EntryKey, GatewayTable, Gateways, Homes, ListenerId, PlanKey,
    Reader, RouteTable, SocketKey, TableKey, VirtualHostKey,
};
pub use route::{ClusterPlan, RouteKind, RouteOutput, Slot};
pub use shared::SharedBackend;
pub use status::Overlap;
pub use telemetry::{FleetTelemetry, OwnCluster};
pub use unserved::{TlsPart, Unserved};

use std::borrow::Cow;

/// Something wrong in one object, found by a unit: what a condition of that object will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path of the field.
    pub field: String,
    /// Reason of the condition.
    pub reason: &'static str,
    /// A sentence: what is wrong and what to do.
    pub message: Cow<'static, str>,
}

impl Finding {
    /// A finding about a field.
    pub fn new(
        field: impl Into<String>,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Finding { field: field.into(), reason, message: message.into() }
    }
}
