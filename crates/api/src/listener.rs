//! Listener: a port, a protocol and perhaps a host name, and which routes may attach.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{LabelSelector, RouteGroupKind, SecretObjectReference},
    text::{AnnotationValue, Hostname, ProtocolType, SectionName},
};

/// Rules for the listeners of a Gateway or ListenerSet.
pub(crate) const PLAIN_WITHOUT_TLS: (&str, &str) = (
    "self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)",
    "tls must not be set on listeners of protocol HTTP, TCP or UDP",
);
pub(crate) const HTTPS_TERMINATES: (&str, &str) = (
    "self.all(l, (l.protocol == 'HTTPS' && has(l.tls)) ? (l.tls.mode == '' || l.tls.mode == 'Terminate') : true)",
    "tls.mode must be Terminate on listeners of protocol HTTPS",
);
pub(crate) const TLS_HAS_MODE: (&str, &str) = (
    "self.all(l, (l.protocol == 'TLS' ? has(l.tls) && has(l.tls.mode) && l.tls.mode != '' : true))",
    "tls.mode must be set on listeners of protocol TLS",
);
pub(crate) const PORTS_WITHOUT_HOSTNAME: (&str, &str) = (
    "self.all(l, l.protocol in ['TCP', 'UDP'] ? (!has(l.hostname) || l.hostname == '') : true)",
    "hostname must not be set on listeners of protocol TCP or UDP",
);

/// A place that takes traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Name, unique within the Gateway.
    pub name: SectionName,
    /// Host name that requests must have; any when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// What is spoken on the port.
    pub protocol: ProtocolType,
    /// TLS; for protocols HTTPS and TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTlsConfig>,
    /// Which routes may attach; those of the Gateway's namespace when unset.
    #[serde(default)]
    pub allowed_routes: AllowedRoutes,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.mode == 'Terminate' ? size(self.certificateRefs) > 0 || size(self.options) > 0 : true",
    "mode Terminate needs certificateRefs or options"
))]
#[serde(rename_all = "camelCase")]
pub struct ListenerTlsConfig {
    /// Whether TLS ends here.
    #[serde(default)]
    pub mode: TlsModeType,
    /// Certificates; the one that fits the client's server name is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub certificate_refs: Vec<SecretObjectReference>,
    /// Settings that only this implementation knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub options: BTreeMap<String, AnnotationValue>,
}

/// Whether TLS ends at the listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TlsModeType {
    /// TLS ends here.
    #[default]
    Terminate,
    /// TLS goes on to the backend untouched.
    Passthrough,
}

/// Which routes may attach to a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// Namespaces whose routes may attach.
    #[serde(default)]
    pub namespaces: RouteNamespaces,
    /// Kinds of routes that may attach; all that fit the protocol when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub kinds: Vec<RouteGroupKind>,
}

/// Namespaces whose routes may attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteNamespaces {
    /// How the namespaces are chosen.
    #[serde(default)]
    pub from: FromNamespaces,
    /// Namespaces by label, for `from: Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How namespaces of routes are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FromNamespaces {
    /// Every namespace.
    All,
    /// Namespaces by label.
    Selector,
    /// The Gateway's own namespace.
    #[default]
    Same,
}
