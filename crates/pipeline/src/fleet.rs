//! Fleets: the proxies that serve one Gateway, or all Gateways of a class that merges them, with everything they are sent.

use std::{collections::BTreeMap, sync::Arc};

use ir::ObjectRef;
use ir::infra::{HostProxy, Wish};
use ir::listener::ListenerRef;
use ir::resource::{Resource, ResourceType, ResourceUpdate};

/// One fleet of proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// What its infrastructure has to provide.
    pub spec: FleetSpec,
    /// What its proxies are sent.
    pub resources: BTreeMap<(ResourceType, Arc<str>), Arc<Resource>>,
}

/// What the infrastructure of a fleet has to provide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetSpec {
    /// The Gateways that it serves.
    pub gateways: Vec<ObjectRef>,
    /// What its proxies listen on.
    pub sockets: Vec<SocketSpec>,
    /// What it needs of a cluster; `None` on a host.
    pub wish: Option<Arc<Wish>>,
    /// What its proxies are told when they start; `None` in a cluster, where the wish tells.
    pub host: Option<Arc<HostProxy>>,
}

/// One socket of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSpec {
    /// Name of the listener in xDS.
    pub name: Arc<str>,
    /// Address that is bound.
    pub address: Arc<str>,
    /// Port that is bound.
    pub port: u16,
    /// The listeners of Gateway API that it serves.
    pub listeners: Vec<ListenerRef>,
}

impl SocketSpec {
    /// Whether a listener of a Gateway is on it, be it one of the Gateway's own or of a ListenerSet.
    pub fn serves(&self, gateway: &ObjectRef) -> bool {
        self.listeners.iter().any(|listener| listener.gateway == *gateway)
    }
}

impl Fleet {
    /// Sets or removes one resource and notes the change, unless the content is the same.
    pub(crate) fn publish(
        &mut self,
        kind: ResourceType,
        name: &Arc<str>,
        resource: Option<Arc<Resource>>,
        update: &mut ResourceUpdate,
    ) {
        let key = (kind, name.clone());
        match resource {
            Some(resource) => {
                let old = self.resources.get(&key);
                if old.is_some_and(|old| old.version == resource.version && old.owners == resource.owners) {
                    return;
                }
                let same_bytes = old.is_some_and(|old| old.version == resource.version);
                self.resources.insert(key, resource.clone());
                if !same_bytes {
                    update.changed.push(resource);
                }
            }
            None => {
                if self.resources.remove(&key).is_some() {
                    update.removed.push(key);
                }
            }
        }
    }
}
