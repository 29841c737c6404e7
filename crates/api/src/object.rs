//! The registry of kinds: one line makes a kind known to loading, admission and CRD export.

use std::fmt;

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::CustomResourceExt;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    backend::{Backend, BackendSpec, BackendStatus},
    backendtlspolicy::{BackendTlsPolicy, BackendTlsPolicySpec},
    backendtrafficpolicy::{BackendTrafficPolicy, BackendTrafficPolicySpec},
    clienttrafficpolicy::{ClientTrafficPolicy, ClientTrafficPolicySpec},
    common::RouteStatus,
    core::{ClusterTrustBundle, ConfigMap, CoreNamespace, EndpointSlice, Secret, Service},
    envoyproxy::{EnvoyProxy, EnvoyProxySpec, EnvoyProxyStatus},
    gateway::{Gateway, GatewaySpec, GatewayStatus},
    gatewayclass::{GatewayClass, GatewayClassSpec, GatewayClassStatus},
    grpcroute::{GrpcRoute, GrpcRouteSpec},
    httproute::{HttpRoute, HttpRouteSpec},
    layer4::{self, TcpRoute, TcpRouteSpec, TlsRoute, TlsRouteSpec, UdpRoute, UdpRouteSpec},
    listenerset::{ListenerSet, ListenerSetSpec, ListenerSetStatus},
    policy::PolicyStatus,
    referencegrant::{ReferenceGrant, ReferenceGrantSpec},
    schema,
    serviceimport::{MCS_GROUP, ServiceImport, ServiceImportSpec, ServiceImportStatus},
};

/// A kind that Ferrogate reads: its names and the versions in which it may come.
#[derive(Clone, Copy)]
pub struct KindInfo {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// The `kind` of a document, such as `HTTPRoute`.
    pub name: &'static str,
    /// Versions that are read, all as the same type; the best first.
    pub versions: &'static [&'static str],
    /// The version in which API servers keep objects.
    pub storage: &'static str,
    /// True when objects live in a namespace.
    pub namespaced: bool,
    /// Names, scope and columns for an API server; `None` for its own kinds.
    pub(crate) crd: Option<fn() -> CustomResourceDefinition>,
    schema: fn() -> Value,
    /// Makes the schema that of one version, where versions differ.
    in_version: Option<fn(&str, &mut Value)>,
}

impl fmt::Debug for KindInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.group)
    }
}

impl PartialEq for KindInfo {
    fn eq(&self, other: &Self) -> bool {
        self.group == other.group && self.name == other.name
    }
}

impl Eq for KindInfo {}

impl KindInfo {
    /// The kind with this name in the group of `api_version`, if it is read in that version.
    pub fn find(api_version: &str, kind: &str) -> Option<&'static KindInfo> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        KINDS.iter().find(|k| k.group == group && k.name == kind && k.versions.contains(&version))
    }

    /// The kind with this name in this group, in whatever version.
    pub fn named(group: &str, kind: &str) -> Option<&'static KindInfo> {
        KINDS.iter().find(|k| k.group == group && k.name == kind)
    }

    /// The OpenAPI schema of the kind in its best version: limits, defaults and CEL rules. It is made anew by each
    /// call.
    pub fn schema(&self) -> Value {
        self.schema_of(self.versions.first().copied().unwrap_or_default())
    }

    /// The OpenAPI schema of the kind in one of its versions. It is made anew by each call.
    pub fn schema_of(&self, version: &str) -> Value {
        let mut schema = (self.schema)();
        if let Some(in_version) = self.in_version {
            in_version(version, &mut schema);
        }
        schema
    }

    /// True for a version that Gateway API keeps for objects of old manifests only: an alpha one of a kind that has
    /// come to v1.
    pub fn is_deprecated(&self, version: &str) -> bool {
        self.versions.contains(&"v1") && version.contains("alpha")
    }

    /// Name in paths and RBAC rules: the plural in lower case, as all of these kinds form it.
    pub fn plural(&self) -> String {
        plural(self.name)
    }

    /// True for kinds of other projects, whose CRDs come with these: they are read where they are there, and never
    /// installed.
    pub fn is_foreign(&self) -> bool {
        self.group == MCS_GROUP
    }

    /// True for Kubernetes' own kinds, which need no CRD.
    pub fn is_core(&self) -> bool {
        self.crd.is_none()
    }
}

/// The plural of a kind in lower case, as CRDs and Kubernetes itself form it.
pub fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if kind.ends_with('s') => format!("{kind}es"),
        _ => format!("{kind}s"),
    }
}

/// A type of the registry has metadata.
trait Metadata {
    fn metadata(&self) -> &ObjectMeta;
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
}

macro_rules! kinds {
    (@optional) => { None };
    (@optional $in_version:expr) => { Some($in_version) };
    ($($(#[$doc:meta])* $variant:ident($type:ty) = $group:literal, $name:literal, $versions:expr, $storage:literal,
        $namespaced:literal, $crd:expr, $schema:expr $(, in_version = $in_version:expr)?;)*) => {
        /// Every kind that Ferrogate reads, in the order of [`Object`].
        pub const KINDS: &[KindInfo] = &[$(KindInfo {
            group: $group,
            name: $name,
            versions: &$versions,
            storage: $storage,
            namespaced: $namespaced,
            crd: $crd,
            schema: $schema,
            in_version: kinds!(@optional $($in_version)?),
        },)*];

        #[derive(Clone, Copy)]
        enum Position { $($variant,)* }

        /// An admitted object of any kind that Ferrogate reads.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object { $($(#[$doc])* $variant(Box<$type>),)* }

        impl Object {
            /// Name, namespace, labels, generation and so on.
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Object::$variant(object) => Metadata::metadata(object.as_ref()),)* }
            }

            /// The same, to be changed.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Object::$variant(object) => Metadata::metadata_mut(object.as_mut()),)* }
            }

            /// The kind of the object.
            pub fn kind(&self) -> &'static KindInfo {
                &KINDS[match self { $(Object::$variant(_) => Position::$variant as usize,)* }]
            }

            /// Reads an object whose kind is known. It must have been defaulted and validated; nothing is checked here.
            ///
            /// # Errors
            ///
            /// When the document does not fit the type, or the kind is not one of [`KINDS`].
            pub fn decode<'de, D: serde::Deserializer<'de>>(
                kind: &KindInfo,
                document: D,
            ) -> Result<Object, D::Error> {
                $(if kind.group == $group && kind.name == $name {
                    return <$type>::deserialize(document).map(|object| Object::$variant(Box::new(object)));
                })*
                Err(serde::de::Error::custom(format_args!("unknown kind {}", kind.name)))
            }
        }

        $(impl Metadata for $type {
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }

        impl From<$type> for Object {
            fn from(object: $type) -> Object {
                Object::$variant(Box::new(object))
            }
        })*
    };
}

kinds! {
    /// Names the controller of Gateways.
    GatewayClass(GatewayClass) = "gateway.networking.k8s.io", "GatewayClass", ["v1", "v1beta1"], "v1", false,
        Some(GatewayClass::crd), schema::custom::<GatewayClassSpec, GatewayClassStatus>;
    /// A set of listeners.
    Gateway(Gateway) = "gateway.networking.k8s.io", "Gateway", ["v1", "v1beta1"], "v1", true,
        Some(Gateway::crd), schema::custom::<GatewaySpec, GatewayStatus>;
    /// Listeners that others than its owner add to a Gateway.
    ListenerSet(ListenerSet) = "gateway.networking.k8s.io", "ListenerSet", ["v1"], "v1", true,
        Some(ListenerSet::crd), schema::custom::<ListenerSetSpec, ListenerSetStatus>;
    /// Routes of HTTP requests.
    HttpRoute(HttpRoute) = "gateway.networking.k8s.io", "HTTPRoute", ["v1", "v1beta1"], "v1", true,
        Some(HttpRoute::crd), schema::custom::<HttpRouteSpec, RouteStatus>;
    /// Routes of gRPC calls.
    GrpcRoute(GrpcRoute) = "gateway.networking.k8s.io", "GRPCRoute", ["v1"], "v1", true,
        Some(GrpcRoute::crd), schema::custom::<GrpcRouteSpec, RouteStatus>;
    /// Routes of TLS connections by server name.
    TlsRoute(TlsRoute) = "gateway.networking.k8s.io", "TLSRoute", ["v1", "v1alpha3", "v1alpha2"], "v1", true,
        Some(TlsRoute::crd), schema::custom::<TlsRouteSpec, RouteStatus>, in_version = layer4::tls_in_version;
    /// Routes of connections.
    TcpRoute(TcpRoute) = "gateway.networking.k8s.io", "TCPRoute", ["v1", "v1alpha2"], "v1", true,
        Some(TcpRoute::crd), schema::custom::<TcpRouteSpec, RouteStatus>, in_version = layer4::in_version;
    /// Routes of datagrams.
    UdpRoute(UdpRoute) = "gateway.networking.k8s.io", "UDPRoute", ["v1", "v1alpha2"], "v1", true,
        Some(UdpRoute::crd), schema::custom::<UdpRouteSpec, RouteStatus>, in_version = layer4::in_version;
    /// Consent to references from another namespace.
    ReferenceGrant(ReferenceGrant) = "gateway.networking.k8s.io", "ReferenceGrant", ["v1", "v1beta1"], "v1beta1",
        true, Some(ReferenceGrant::crd), schema::custom::<ReferenceGrantSpec, ()>;
    /// A namespace; only its labels are read.
    Namespace(CoreNamespace) = "", "Namespace", ["v1"], "v1", false, None, schema::core::<CoreNamespace>;
    /// A backend by its cluster-internal name.
    Service(Service) = "", "Service", ["v1"], "v1", true, None, schema::core::<Service>;
    /// Addresses of a Service.
    EndpointSlice(EndpointSlice) = "discovery.k8s.io", "EndpointSlice", ["v1"], "v1", true,
        None, schema::core::<EndpointSlice>;
    /// A Service of a set of clusters, as this cluster sees it.
    ServiceImport(ServiceImport) = "multicluster.x-k8s.io", "ServiceImport", ["v1beta1", "v1alpha1"], "v1beta1",
        true, Some(ServiceImport::crd), schema::custom::<ServiceImportSpec, ServiceImportStatus>;
    /// Certificates and credentials.
    Secret(Secret) = "", "Secret", ["v1"], "v1", true, None, schema::core::<k8s_openapi::api::core::v1::Secret>;
    /// Trust bundles and other text.
    ConfigMap(ConfigMap) = "", "ConfigMap", ["v1"], "v1", true, None, schema::core::<ConfigMap>;
    /// A backend by IP address, host name or Unix socket.
    Backend(Backend) = "gateway.envoyproxy.io", "Backend", ["v1alpha1"], "v1alpha1", true,
        Some(Backend::crd), schema::custom::<BackendSpec, BackendStatus>;
    /// How the proxies of a Gateway or a class run and behave.
    EnvoyProxy(EnvoyProxy) = "gateway.envoyproxy.io", "EnvoyProxy", ["v1alpha1"], "v1alpha1", true,
        Some(EnvoyProxy::crd), schema::custom::<EnvoyProxySpec, EnvoyProxyStatus>;
    /// TLS towards a backend, and what its certificate must show.
    BackendTlsPolicy(BackendTlsPolicy) = "gateway.networking.k8s.io", "BackendTLSPolicy", ["v1", "v1alpha3"], "v1",
        true, Some(BackendTlsPolicy::crd), schema::custom::<BackendTlsPolicySpec, PolicyStatus>;
    /// Authorities that may be trusted in the whole cluster.
    ClusterTrustBundle(ClusterTrustBundle) = "certificates.k8s.io", "ClusterTrustBundle", ["v1beta1", "v1alpha1"],
        "v1beta1", false, None, schema::core::<k8s_openapi::api::certificates::v1beta1::ClusterTrustBundle>;
    /// How proxies talk to the backends of routes.
    BackendTrafficPolicy(BackendTrafficPolicy) = "gateway.envoyproxy.io", "BackendTrafficPolicy", ["v1alpha1"],
        "v1alpha1", true, Some(BackendTrafficPolicy::crd),
        schema::custom::<BackendTrafficPolicySpec, PolicyStatus>;
    /// How clients talk to listeners.
    ClientTrafficPolicy(ClientTrafficPolicy) = "gateway.envoyproxy.io", "ClientTrafficPolicy", ["v1alpha1"],
        "v1alpha1", true, Some(ClientTrafficPolicy::crd), schema::custom::<ClientTrafficPolicySpec, PolicyStatus>;
}

impl Object {
    /// Name of the object; empty when it has none.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Namespace of the object; empty for cluster-scoped kinds.
    pub fn namespace(&self) -> &str {
        if self.kind().namespaced { self.metadata().namespace.as_deref().unwrap_or_default() } else { "" }
    }

    /// Generation of the object; 0 when it has none.
    pub fn generation(&self) -> i64 {
        self.metadata().generation.unwrap_or_default()
    }

    /// Reads an object from JSON by its `apiVersion` and `kind`, without defaults from the schema or validation;
    /// for tests and for objects that an API server has admitted.
    ///
    /// # Errors
    ///
    /// When the kind is not known, or the document does not fit its type.
    pub fn from_json(document: &Value) -> Result<Object, serde_json::Error> {
        let text = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = KindInfo::find(text("apiVersion"), text("kind")).ok_or_else(|| {
            serde::de::Error::custom(format_args!("unknown kind {} {}", text("apiVersion"), text("kind")))
        })?;
        Object::decode(kind, document)
    }
}
