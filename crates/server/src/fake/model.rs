//! The client's half of delta ADS, as Envoy does it: subscriptions that follow from what it has, ACK or NACK.

use std::collections::{BTreeMap, BTreeSet};

use envoy_api::{
    cluster::Cluster,
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    hcm::{HttpConnectionManager, http_connection_manager::RouteSpecifier},
    listener::{Listener, filter},
    route::{RouteConfiguration, route, route_action::ClusterSpecifier},
    well_known::{Any, Status},
};
use ir::resource::ResourceType;
use prost::Message;

use super::build::POISON;

/// A resource that the proxy has in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The version that the server gave it.
    pub version: String,
    /// The message.
    pub body: Vec<u8>,
}

/// What a proxy has and wants. It refuses a response that holds [`POISON`], as a whole.
#[derive(Debug, Default)]
pub struct Model {
    held: BTreeMap<(ResourceType, String), Held>,
    wanted: BTreeMap<ResourceType, BTreeSet<String>>,
    /// Clusters whose endpoints came since the cluster did.
    warm: BTreeSet<String>,
    /// Route configurations of earlier listeners, which are drained: what their connections route by.
    drained: BTreeSet<String>,
    /// Broken promises of the server, in words. A test looks that it is empty.
    pub broken: Vec<String>,
    /// How many responses were refused.
    pub refused: usize,
    /// How many responses came.
    pub responses: usize,
    /// The names in each response, in order.
    pub log: Vec<(ResourceType, Vec<String>, Vec<String>)>,
}

impl Model {
    /// A proxy that has nothing.
    pub fn new() -> Self {
        Model::default()
    }

    /// What it has of this name.
    pub fn held(&self, kind: ResourceType, name: &str) -> Option<&Held> {
        self.held.get(&(kind, name.to_owned()))
    }

    /// Names that it has, ascending.
    pub fn names(&self, kind: ResourceType) -> Vec<&str> {
        self.held.keys().filter(|(k, _)| *k == kind).map(|(_, name)| name.as_str()).collect()
    }

    /// Virtual hosts of a route configuration that it has, with the clusters that they name.
    pub fn hosts(&self, route: &str) -> BTreeMap<String, Vec<String>> {
        let Some(held) = self.held(ResourceType::Route, route) else { return BTreeMap::new() };
        let Ok(table) = RouteConfiguration::decode(held.body.as_slice()) else { return BTreeMap::new() };
        table.virtual_hosts.into_iter().map(|host| (host.name.clone(), clusters(&host.routes))).collect()
    }

    /// The requests of a new stream: everything of clusters and listeners, by name what was wanted before, and the
    /// versions that it has.
    pub fn hello(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let mut requests = Vec::new();
        for kind in [
            ResourceType::Cluster,
            ResourceType::Endpoints,
            ResourceType::Listener,
            ResourceType::Route,
            ResourceType::Secret,
        ] {
            let wanted = self.wanted.get(&kind).cloned().unwrap_or_default();
            let wildcard = matches!(kind, ResourceType::Cluster | ResourceType::Listener);
            if wanted.is_empty() && !wildcard {
                continue;
            }
            let versions = self.held.iter().filter(|((k, _), _)| *k == kind);
            requests.push(DeltaDiscoveryRequest {
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: wanted.into_iter().collect(),
                initial_resource_versions: versions
                    .map(|((_, name), held)| (name.clone(), held.version.clone()))
                    .collect(),
                ..DeltaDiscoveryRequest::default()
            });
        }
        requests
    }

    /// Takes in a response; returns the requests that Envoy would send: what it wants now, and ACK or NACK.
    pub fn receive(&mut self, response: &DeltaDiscoveryResponse) -> Vec<DeltaDiscoveryRequest> {
        self.responses += 1;
        let mut answer = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        let Some(kind) = ResourceType::from_type_url(&response.type_url) else { return vec![answer] };
        let names = response.resources.iter().map(|r| r.name.clone()).collect();
        self.log.push((kind, names, response.removed_resources.clone()));
        if let Some(reason) = refusal(response) {
            self.refused += 1;
            answer.error_detail = Some(Status { code: 13, message: reason, details: Vec::new() });
            return vec![answer];
        }
        for name in &response.removed_resources {
            self.held.remove(&(kind, name.clone()));
            if kind == ResourceType::Cluster {
                self.warm.remove(name);
                self.check_removed_cluster(name);
            }
        }
        for resource in &response.resources {
            let body = resource.resource.as_ref().map(|any| any.value.clone()).unwrap_or_default();
            let held = Held { version: resource.version.clone(), body };
            self.held.insert((kind, resource.name.clone()), held);
            match kind {
                ResourceType::Endpoints => {
                    self.warm.insert(resource.name.clone());
                }
                ResourceType::Route => self.check_route(&resource.name),
                _ => {}
            }
        }
        let mut requests = vec![answer];
        requests.extend(self.resubscribe(kind));
        requests
    }

    /// Subscriptions that follow from clusters and listeners.
    fn resubscribe(&mut self, kind: ResourceType) -> Option<DeltaDiscoveryRequest> {
        let (of, wants) = match kind {
            ResourceType::Cluster => (ResourceType::Endpoints, self.wants(kind, endpoints_of)),
            ResourceType::Listener => {
                // As Envoy does, routes are kept for as long as the listener drains.
                self.drained.extend(self.wanted.get(&ResourceType::Route).into_iter().flatten().cloned());
                (ResourceType::Route, self.wants(kind, route_of))
            }
            _ => return None,
        };
        self.want(of, wants)
    }

    /// Listeners that are gone have closed their last connection.
    pub fn end_drain(&mut self) -> Option<DeltaDiscoveryRequest> {
        self.drained.clear();
        let wants = self.wants(ResourceType::Listener, route_of);
        self.want(ResourceType::Route, wants)
    }

    fn want(&mut self, of: ResourceType, mut wants: BTreeSet<String>) -> Option<DeltaDiscoveryRequest> {
        if of == ResourceType::Route {
            wants.extend(self.drained.iter().cloned());
        }
        let before = self.wanted.insert(of, wants.clone()).unwrap_or_default();
        if before == wants {
            return None;
        }
        let gone: Vec<String> = before.difference(&wants).cloned().collect();
        for name in &gone {
            self.held.remove(&(of, name.clone()));
        }
        Some(DeltaDiscoveryRequest {
            type_url: of.type_url().to_owned(),
            resource_names_subscribe: wants.difference(&before).cloned().collect(),
            resource_names_unsubscribe: gone,
            ..DeltaDiscoveryRequest::default()
        })
    }

    fn wants(&self, kind: ResourceType, of: fn(&[u8]) -> Option<String>) -> BTreeSet<String> {
        self.held.iter().filter(|((k, _), _)| *k == kind).filter_map(|(_, held)| of(&held.body)).collect()
    }

    fn check_route(&mut self, name: &str) {
        for (host, clusters) in self.hosts(name) {
            for cluster in clusters {
                if self.held(ResourceType::Cluster, &cluster).is_none() {
                    self.broken.push(format!("{name}: {host} routes to {cluster}, which is not there"));
                }
            }
        }
    }

    fn check_removed_cluster(&mut self, cluster: &str) {
        let routes: Vec<String> = self.names(ResourceType::Route).into_iter().map(str::to_owned).collect();
        for route in routes {
            if self.hosts(&route).values().flatten().any(|c| c == cluster) {
                self.broken.push(format!("{cluster} is taken away while {route} routes to it"));
            }
        }
    }

    /// True when the endpoints of this cluster came.
    pub fn is_warm(&self, cluster: &str) -> bool {
        self.warm.contains(cluster)
    }
}

/// Why Envoy would refuse it.
fn refusal(response: &DeltaDiscoveryResponse) -> Option<String> {
    let poisoned = |any: &Any| any.value.windows(POISON.len()).any(|w| w == POISON.as_bytes());
    let bad = response.resources.iter().any(|r| r.resource.as_ref().is_some_and(poisoned));
    bad.then(|| "there is something bad in it".to_owned())
}

fn clusters(routes: &[envoy_api::route::Route]) -> Vec<String> {
    routes
        .iter()
        .filter_map(|r| match &r.action {
            Some(route::Action::Route(action)) => match &action.cluster_specifier {
                Some(ClusterSpecifier::Cluster(name)) => Some(name.clone()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// The name under which a cluster asks for its endpoints.
fn endpoints_of(body: &[u8]) -> Option<String> {
    let cluster = Cluster::decode(body).ok()?;
    let eds = cluster.eds_cluster_config?;
    Some(if eds.service_name.is_empty() { cluster.name } else { eds.service_name })
}

/// The route configuration that a listener asks for.
fn route_of(body: &[u8]) -> Option<String> {
    let listener = Listener::decode(body).ok()?;
    listener.filter_chains.iter().flat_map(|chain| &chain.filters).find_map(|f| {
        let Some(filter::ConfigType::TypedConfig(any)) = &f.config_type else { return None };
        let manager = envoy_api::unpack::<HttpConnectionManager>(any).ok()??;
        match manager.route_specifier? {
            RouteSpecifier::Rds(rds) => Some(rds.route_config_name),
            _ => None,
        }
    })
}
