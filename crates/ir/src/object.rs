//! How objects are named: kind, namespace, name.

use std::{fmt, sync::Arc};

/// API group of Gateway API kinds.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// API group of Envoy Gateway's kinds, which Ferrogate serves unchanged.
pub const ENVOY_GATEWAY_GROUP: &str = "gateway.envoyproxy.io";
/// API group of `ClusterTrustBundle`.
pub const CERTIFICATES_GROUP: &str = "certificates.k8s.io";
/// API group of `EndpointSlice`.
pub const DISCOVERY_GROUP: &str = "discovery.k8s.io";

/// API group of the Multi-Cluster Services API.
pub const MCS_GROUP: &str = "multicluster.x-k8s.io";

/// API group of a kind; the core group is the empty string.
pub type Group = &'static str;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $group:expr, $version:literal, $namespaced:literal;)*) => {
        /// Every kind that Ferrogate reads: the one registry of names, groups, versions and scopes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// All kinds, in the order of the registry.
            pub const ALL: &[Kind] = &[$(Kind::$variant,)*];

            /// The `kind` of a document, such as `HTTPRoute`.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }

            /// The API group; empty for core kinds.
            pub const fn group(self) -> Group {
                match self { $(Kind::$variant => $group,)* }
            }

            /// The API version that Ferrogate reads.
            pub const fn version(self) -> &'static str {
                match self { $(Kind::$variant => $version,)* }
            }

            /// True when objects of this kind live in a namespace.
            pub const fn namespaced(self) -> bool {
                match self { $(Kind::$variant => $namespaced,)* }
            }
        }
    };
}

kinds! {
    /// Names the controller of Gateways.
    GatewayClass = "GatewayClass", GATEWAY_GROUP, "v1", false;
    /// A set of listeners.
    Gateway = "Gateway", GATEWAY_GROUP, "v1", true;
    /// Listeners that others than its owner add to a Gateway.
    ListenerSet = "ListenerSet", GATEWAY_GROUP, "v1", true;
    /// Routes of HTTP requests.
    HttpRoute = "HTTPRoute", GATEWAY_GROUP, "v1", true;
    /// Routes of gRPC calls.
    GrpcRoute = "GRPCRoute", GATEWAY_GROUP, "v1", true;
    /// Routes of TLS connections by server name.
    TlsRoute = "TLSRoute", GATEWAY_GROUP, "v1", true;
    /// Routes of connections.
    TcpRoute = "TCPRoute", GATEWAY_GROUP, "v1", true;
    /// Routes of datagrams.
    UdpRoute = "UDPRoute", GATEWAY_GROUP, "v1", true;
    /// Consent to references from another namespace.
    ReferenceGrant = "ReferenceGrant", GATEWAY_GROUP, "v1", true;
    /// A namespace; only its labels are read.
    Namespace = "Namespace", "", "v1", false;
    /// A backend by its cluster-internal name.
    Service = "Service", "", "v1", true;
    /// Addresses of a Service.
    EndpointSlice = "EndpointSlice", DISCOVERY_GROUP, "v1", true;
    /// A Service of a set of clusters, as this cluster sees it.
    ServiceImport = "ServiceImport", MCS_GROUP, "v1alpha1", true;
    /// Certificates and credentials.
    Secret = "Secret", "", "v1", true;
    /// Trust bundles and other text.
    ConfigMap = "ConfigMap", "", "v1", true;
    /// A backend by IP address, host name or Unix socket.
    Backend = "Backend", ENVOY_GATEWAY_GROUP, "v1alpha1", true;
    /// How the proxies of a Gateway or a class run and behave.
    EnvoyProxy = "EnvoyProxy", ENVOY_GATEWAY_GROUP, "v1alpha1", true;
    /// TLS towards a backend, and what its certificate must show.
    BackendTlsPolicy = "BackendTLSPolicy", GATEWAY_GROUP, "v1", true;
    /// Authorities that may be trusted in the whole cluster.
    ClusterTrustBundle = "ClusterTrustBundle", CERTIFICATES_GROUP, "v1beta1", false;
    /// How proxies talk to the backends of routes.
    BackendTrafficPolicy = "BackendTrafficPolicy", ENVOY_GATEWAY_GROUP, "v1alpha1", true;
    /// How clients talk to listeners.
    ClientTrafficPolicy = "ClientTrafficPolicy", ENVOY_GATEWAY_GROUP, "v1alpha1", true;
}

impl Kind {
    /// The kind with this group and name, if Ferrogate reads it. Versions are not compared.
    pub fn find(group: &str, name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|k| k.group() == group && k.name() == name)
    }

    /// True for policies: kinds that attach to others, and whose status has an entry for each object that they act on
    /// (Gateway API, GEP-713). Their names say it.
    pub fn is_policy(self) -> bool {
        self.name().ends_with("Policy")
    }

    /// True for routes: kinds that attach to parents, and whose status has an entry for each. Their names say it.
    pub fn is_route(self) -> bool {
        self.name().ends_with("Route")
    }

    /// The `apiVersion` of a document of this kind.
    pub fn api_version(self) -> String {
        self.api_version_in(self.version())
    }

    /// The same in another version of its group.
    pub fn api_version_in(self, version: &str) -> String {
        if self.group().is_empty() { version.to_owned() } else { format!("{}/{version}", self.group()) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One object by kind, namespace and name. The namespace of a cluster-scoped object is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Kind, with group and version.
    pub kind: Kind,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// A reference; pass an empty namespace for cluster-scoped kinds.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        ObjectRef { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    /// `HTTPRoute default/shop`, or `GatewayClass edge` for cluster-scoped kinds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}
