//! The resource types that discovery serves.

use std::fmt;

/// A resource type of the discovery services.
///
/// The order is that of making before breaking: what comes later may name what comes earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// A certificate, key or validation context (SDS).
    Secret,
    /// An upstream cluster (CDS).
    Cluster,
    /// The endpoints of one cluster (EDS).
    ClusterLoadAssignment,
    /// A filter's configuration, discovered by name (ECDS).
    ExtensionConfig,
    /// A listener (LDS).
    Listener,
    /// Routes by a key of the request (SRDS).
    ScopedRouteConfiguration,
    /// The virtual hosts of a listener (RDS).
    RouteConfiguration,
    /// One virtual host, found on demand (VHDS).
    VirtualHost,
}

impl ResourceType {
    /// Every type, in the order of making before breaking.
    pub const ALL: [Self; 8] = [
        Self::Secret,
        Self::Cluster,
        Self::ClusterLoadAssignment,
        Self::ExtensionConfig,
        Self::Listener,
        Self::ScopedRouteConfiguration,
        Self::RouteConfiguration,
        Self::VirtualHost,
    ];

    /// The type URL as it stands in discovery requests and in `Any`.
    #[must_use]
    pub const fn url(self) -> &'static str {
        match self {
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::ClusterLoadAssignment => {
                "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
            }
            Self::ExtensionConfig => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::ScopedRouteConfiguration => {
                "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
            }
            Self::RouteConfiguration => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }

    /// The type of a URL; `None` for a type that Ferrogate does not serve.
    #[must_use]
    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }

    /// The name of its discovery service, as metrics and logs show it: `lds`, `rds`, `cds` and so on.
    #[must_use]
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Secret => "sds",
            Self::Cluster => "cds",
            Self::ClusterLoadAssignment => "eds",
            Self::ExtensionConfig => "ecds",
            Self::Listener => "lds",
            Self::ScopedRouteConfiguration => "srds",
            Self::RouteConfiguration => "rds",
            Self::VirtualHost => "vhds",
        }
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.short_name())
    }
}
