//! Clusters that rules share: one for each backend, named after it (`EnvoyProxy.spec.mergeBackends`).
//!
//! A cluster of its own is what a rule has where anything says something of the rule's clusters that is not the
//! Gateway's word for all of them, so that a shared cluster carries the settings of no single user.

use std::sync::Arc;

use api::LabelSelector as SelectorSpec;
use ir::downstream::Http1;
use serde_json::Value;
use store::{ObjectId, facts::LabelSelector};

use crate::{ClusterPlan, Reader, Slot, route};

/// What a Gateway says of clusters that its rules share; there is none where each rule has clusters of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merging {
    /// Labels of the backends whose clusters are shared; `None` for all.
    pub selector: Option<LabelSelector>,
    /// HTTP/1 as clients of all listeners speak it: what the Gateway's ClientTrafficPolicy says.
    pub http1: Option<Arc<Http1>>,
}

impl Merging {
    /// Reads `mergeBackends`.
    pub(crate) fn of(spec: &Value) -> Merging {
        let selector = spec.get("selector").filter(|selector| !selector.is_null());
        // One that cannot be read chooses nothing, as one does that Kubernetes would refuse.
        let selector =
            selector.map(|selector| match serde_json::from_value::<SelectorSpec>(selector.clone()) {
                Ok(selector) => store::applied_selector(&selector),
                Err(_) => LabelSelector::nothing(),
            });
        Merging { selector, http1: None }
    }

    /// Whether the cluster of a backend is shared, as far as its labels say.
    pub(crate) fn chooses(&self, backend: ObjectId, reader: &mut Reader<'_>) -> bool {
        let Some(selector) = &self.selector else { return true };
        reader.backend_labels(backend).is_some_and(|labels| selector.matches(&labels.to_map()))
    }
}

/// What is spoken to a backend, as names of shared clusters have it. Rules that speak different protocols to a backend
/// share no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AppProtocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 for an HTTPRoute.
    Http2,
    /// gRPC.
    Grpc,
    /// Bytes of connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl AppProtocol {
    const fn name(self) -> &'static str {
        match self {
            AppProtocol::Http => "http",
            AppProtocol::Http2 => "http2",
            AppProtocol::Grpc => "grpc",
            AppProtocol::Tcp => "tcp",
            AppProtocol::Udp => "udp",
        }
    }
}

/// A backend by what all users of its shared cluster have alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SharedBackend {
    /// The Service, ServiceImport or Backend.
    pub backend: ObjectId,
    /// The port that users name; 0 for none.
    pub port: u16,
    /// What is spoken.
    pub protocol: AppProtocol,
}

impl SharedBackend {
    /// Name of the cluster: `service/<namespace>/<name>/<port>/<protocol>`.
    pub fn name(&self, reader: &Reader<'_>) -> Arc<str> {
        let object = reader.object(self.backend);
        let kind = object.kind.name().to_lowercase();
        let protocol = self.protocol.name();
        format!("{kind}/{}/{}/{}/{protocol}", object.namespace, object.name, self.port).into()
    }

    /// The cluster that its users share; `None` when the backend cannot be used, and so has no users.
    pub(crate) fn plan(&self, reader: &mut Reader<'_>) -> Option<ClusterPlan> {
        let (destination, protocol, zones) = route::of_backend(self, reader)?;
        let name = self.name(reader);
        let destination = route::Destination { region: name.clone(), ..destination };
        Some(ClusterPlan {
            rule: 0,
            section: None,
            slot: Slot::Rule,
            name,
            metadata: destination.metadata.clone(),
            protocol,
            zones,
            destinations: [destination].into(),
        })
    }
}

/// A backend of a rule that may share the backend's cluster, as far as the route itself says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// The backend.
    pub backend: ObjectId,
    /// The port that the reference names; 0 for none.
    pub port: u16,
    /// What is spoken.
    pub protocol: AppProtocol,
    /// It is the rule's only backend: nothing has to hold several together.
    pub alone: bool,
}

impl Sharing {
    /// The backend whose cluster is shared.
    pub fn with(&self) -> SharedBackend {
        SharedBackend { backend: self.backend, port: self.port, protocol: self.protocol }
    }
}
