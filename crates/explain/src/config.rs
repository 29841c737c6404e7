//! The resources of a Gateway's proxies, decoded as far as a question needs them.

use envoy_api::{
    cluster::{Cluster, cluster::ClusterDiscoveryType},
    core::{self, address},
    endpoint::ClusterLoadAssignment,
    hcm::{HttpConnectionManager, http_connection_manager::RouteSpecifier},
    listener::Listener,
    route::RouteConfiguration,
    well_known::{Kind, Struct},
};
use ir::resource::{Resource, ResourceType};
use pipeline::Fleet;
use prost::Message;

/// The resources of the proxies of one Gateway. What we have encoded can be decoded, so a resource that cannot is as one
/// that is not there.
#[derive(Clone, Copy)]
pub(crate) struct Config<'a> {
    fleet: &'a Fleet,
}

impl<'a> Config<'a> {
    pub(crate) fn new(fleet: &'a Fleet) -> Config<'a> {
        Config { fleet }
    }

    fn resource(&self, kind: ResourceType, name: &str) -> Option<&'a Resource> {
        self.fleet.resources.get(&(kind, name.into())).map(|resource| &**resource)
    }

    pub(crate) fn listener(&self, name: &str) -> Option<Listener> {
        Listener::decode(self.resource(ResourceType::Listener, name)?.body()).ok()
    }

    /// The route configuration of a connection manager.
    pub(crate) fn table(&self, manager: &HttpConnectionManager) -> Option<RouteConfiguration> {
        match manager.route_specifier.as_ref()? {
            RouteSpecifier::Rds(rds) => {
                let resource = self.resource(ResourceType::Route, &rds.route_config_name)?;
                RouteConfiguration::decode(resource.body()).ok()
            }
            RouteSpecifier::RouteConfig(table) => Some(table.clone()),
            RouteSpecifier::ScopedRoutes(_) => None,
        }
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<Cluster> {
        Cluster::decode(self.resource(ResourceType::Cluster, name)?.body()).ok()
    }

    /// The endpoints of a cluster: what EDS serves for it, or else what it holds itself.
    pub(crate) fn endpoints(&self, cluster: &Cluster) -> Option<ClusterLoadAssignment> {
        let by_eds = matches!(
            &cluster.cluster_discovery_type,
            Some(ClusterDiscoveryType::Type(kind))
                if *kind == envoy_api::cluster::cluster::DiscoveryType::Eds as i32
        );
        if !by_eds {
            return cluster.load_assignment.clone();
        }
        let service = cluster.eds_cluster_config.as_ref().map(|eds| &*eds.service_name).unwrap_or_default();
        let name = if service.is_empty() { &*cluster.name } else { service };
        ClusterLoadAssignment::decode(self.resource(ResourceType::Endpoints, name)?.body()).ok()
    }

    /// Whether SDS serves a secret of this name.
    pub(crate) fn has_secret(&self, name: &str) -> bool {
        self.resource(ResourceType::Secret, name).is_some()
    }
}

/// The object that a resource stands for, as its metadata says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Listener, rule or port.
    pub(crate) section: Option<String>,
}

impl Named {
    /// `HTTPRoute default/shop`.
    pub(crate) fn object(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Reads metadata.
pub(crate) fn metadata(metadata: Option<&core::Metadata>) -> Option<Named> {
    let Some(Kind::ListValue(resources)) =
        metadata?.filter_metadata.get("envoy-gateway")?.fields.get("resources")?.kind.as_ref()
    else {
        return None;
    };
    let Some(Kind::StructValue(object)) = resources.values.first()?.kind.as_ref() else { return None };
    Some(Named {
        kind: text(object, "kind")?,
        namespace: text(object, "namespace").unwrap_or_default(),
        name: text(object, "name")?,
        section: text(object, "sectionName"),
    })
}

fn text(object: &Struct, name: &str) -> Option<String> {
    match object.fields.get(name)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

/// An address as `1.2.3.4:80`, `[::1]:80` or a path.
pub(crate) fn address(address: Option<&core::Address>) -> String {
    match address.and_then(|address| address.address.as_ref()) {
        Some(address::Address::SocketAddress(socket)) => {
            let port = match socket.port_specifier {
                Some(core::socket_address::PortSpecifier::PortValue(port)) => port,
                Some(core::socket_address::PortSpecifier::NamedPort(_)) | None => 0,
            };
            let host = &socket.address;
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        }
        Some(address::Address::Pipe(pipe)) => pipe.path.clone(),
        Some(address::Address::EnvoyInternalAddress(_)) | None => String::new(),
    }
}

/// A duration as `1.5s`.
pub(crate) fn duration(duration: &envoy_api::well_known::Duration) -> String {
    match duration.nanos {
        0 => format!("{}s", duration.seconds),
        nanos => format!("{}s", f64::from(nanos) / 1e9 + duration.seconds as f64),
    }
}
