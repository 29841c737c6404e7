//! Encoded xDS resources as they travel from the last stage to the xDS server: bytes, content hash, provenance.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::ObjectRef;

/// The xDS resource types that Ferrogate serves, in the order of the make-before-break phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS).
    Secret,
    /// `envoy.config.cluster.v3.Cluster` (CDS).
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS).
    Endpoints,
    /// `envoy.config.listener.v3.Listener` (LDS).
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration` (RDS).
    Route,
}

impl ResourceType {
    /// All types, in phase order.
    pub const ALL: [ResourceType; 5] = [
        ResourceType::Secret,
        ResourceType::Cluster,
        ResourceType::Endpoints,
        ResourceType::Listener,
        ResourceType::Route,
    ];

    /// The `type_url` that xDS requests and responses carry.
    pub const fn type_url(self) -> &'static str {
        match self {
            ResourceType::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            ResourceType::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            ResourceType::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            ResourceType::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            ResourceType::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The type with this `type_url`.
    pub fn from_type_url(url: &str) -> Option<ResourceType> {
        ResourceType::ALL.into_iter().find(|t| t.type_url() == url)
    }

    /// Short name for metrics and logs: `lds`, `rds`, `cds`, `eds` or `sds`.
    pub const fn short(self) -> &'static str {
        match self {
            ResourceType::Secret => "sds",
            ResourceType::Cluster => "cds",
            ResourceType::Endpoints => "eds",
            ResourceType::Listener => "lds",
            ResourceType::Route => "rds",
        }
    }
}

/// A content hash. Equal content has the equal version on every replica and after every restart, so a proxy that
/// reconnects to another replica is sent nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A part of a route configuration that is encoded once and spliced into the body: one virtual host, as the field
/// `virtual_hosts` (tag and length included), so that concatenation yields a valid message. Its `Debug` output shows
/// the number of bytes only.
#[derive(PartialEq, Eq)]
pub struct Fragment {
    /// Name of the virtual host.
    pub name: Arc<str>,
    /// Encoded field.
    pub bytes: Bytes,
    /// Content hash of `bytes`.
    pub hash: u64,
    /// Clusters that its routes name, ascending; routes to a cluster that the proxy does not have yet wait for it.
    pub clusters: Box<[Arc<str>]>,
    /// The objects whose authors can mend it when Envoy refuses it.
    pub owners: Box<[ObjectRef]>,
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragment")
            .field("name", &self.name)
            .field("bytes", &self.bytes.len())
            .field("hash", &format_args!("{:016x}", self.hash))
            .field("clusters", &self.clusters)
            .field("owners", &self.owners)
            .finish()
    }
}

/// What a new or changed cluster waits for before a route may name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Warming {
    /// The ACK of its endpoints: enough for an EDS cluster.
    Endpoints,
    /// The ACK of the cluster itself: DNS decides when it is warm.
    Cluster,
}

/// One encoded resource. Its `Debug` output shows the number of bytes only: they hold keys, credentials in headers, and
/// nothing that a person could read.
#[derive(PartialEq, Eq)]
pub struct Resource {
    /// Its type.
    pub kind: ResourceType,
    /// Its name in xDS (`cluster_name` for endpoints).
    pub name: Arc<str>,
    /// Content hash over head and fragments.
    pub version: Version,
    /// The encoded message; for a route configuration all of it but the virtual hosts.
    pub head: Bytes,
    /// Virtual hosts of a route configuration, each name once; empty for all other types.
    pub fragments: Arc<[Arc<Fragment>]>,
    /// For a cluster, what it waits for when it is new.
    pub warming: Warming,
    /// For a cluster, the longest time that the first active health check of an endpoint takes; zero without checks. Envoy
    /// has a new cluster only when each of its endpoints was checked once.
    pub first_check: Duration,
    /// For a cluster, the name of the `ClusterLoadAssignment` that it subscribes to; `None` when it needs none.
    pub endpoints: Option<Arc<str>>,
    /// For a cluster, the names of the secrets that it subscribes to: it is not warm before it has them.
    pub secrets: Box<[Arc<str>]>,
    /// For a listener that forwards connections or datagrams, clusters that it names itself, ascending, each once; empty
    /// for HTTP.
    pub clusters: Box<[Arc<str>]>,
    /// The objects whose authors can mend it when Envoy refuses it.
    pub owners: Box<[ObjectRef]>,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Resource");
        text.field("kind", &self.kind)
            .field("name", &self.name)
            .field("version", &self.version)
            .field("head", &format_args!("{} bytes", self.head.len()))
            .field("fragments", &self.fragments)
            .field("warming", &self.warming)
            .field("first_check", &self.first_check)
            .field("endpoints", &self.endpoints)
            .field("secrets", &self.secrets)
            .field("clusters", &self.clusters)
            .field("owners", &self.owners)
            .finish()
    }
}

impl Resource {
    /// The whole encoded message. Costs a copy when there are fragments: call it when sending, not before.
    pub fn body(&self) -> Bytes {
        if self.fragments.is_empty() {
            return self.head.clone();
        }
        let mut body = Vec::with_capacity(self.encoded_len());
        body.extend_from_slice(&self.head);
        for fragment in self.fragments.iter() {
            body.extend_from_slice(&fragment.bytes);
        }
        body.into()
    }

    /// Length of [`Resource::body`] in bytes.
    pub fn encoded_len(&self) -> usize {
        self.head.len() + self.fragments.iter().map(|f| f.bytes.len()).sum::<usize>()
    }
}

/// The changes that one commit makes to the resources of one proxy fleet.
#[derive(Debug, Default)]
pub struct ResourceUpdate {
    /// New and changed resources.
    pub changed: Vec<Arc<Resource>>,
    /// Resources that are gone.
    pub removed: Vec<(ResourceType, Arc<str>)>,
}

impl ResourceUpdate {
    /// True when the commit changed nothing for this fleet.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// What proxies say about one resource; flows back from the xDS server into status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// At least one proxy runs this version.
    Accepted,
    /// Envoy refuses this version, in these words.
    Rejected {
        /// Envoy's `error_detail`, trimmed.
        message: Arc<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_show_no_bytes() {
        let fragment = Fragment {
            name: "default/eg/http/*".into(),
            bytes: Bytes::from_static(b"the token"),
            hash: 1,
            clusters: Box::new([]),
            owners: Box::new([]),
        };
        let resource = Resource {
            kind: ResourceType::Secret,
            name: "default/cert".into(),
            version: Version(1),
            head: Bytes::from_static(b"the key"),
            fragments: Arc::new([Arc::new(fragment)]),
            warming: Warming::Endpoints,
            first_check: Duration::ZERO,
            endpoints: None,
            secrets: Box::new([]),
            clusters: Box::new([]),
            owners: Box::new([]),
        };
        let shown = format!("{resource:#?}");
        assert!(shown.contains("7 bytes") && !shown.contains("the key"), "{shown}");
        assert!(shown.contains("bytes: 9") && !shown.contains("the token"), "{shown}");
    }
}
