//! Gateway: where traffic enters, as a set of listeners.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{
        Condition, GatewayDefaultScope, LabelSelector, ObjectReference, RouteGroupKind, SecretObjectReference,
    },
    listener::{HTTPS_TERMINATES, Listener, PLAIN_WITHOUT_TLS, PORTS_WITHOUT_HOSTNAME, TLS_HAS_MODE},
    text::{AddressType, AnnotationValue, Group, Kind, LabelValue, ObjectName, SectionName},
};

/// What a Gateway shall be.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(group = "gateway.networking.k8s.io", version = "v1", kind = "Gateway", namespaced)]
#[kube(
    status = "GatewayStatus",
    shortname = "gtw",
    category = "gateway-api",
    derive = "PartialEq",
    schema = "disabled"
)]
#[kube(printcolumn = r#"{"name":"Class","type":"string","jsonPath":".spec.gatewayClassName"}"#)]
#[kube(printcolumn = r#"{"name":"Address","type":"string","jsonPath":".status.addresses[*].value"}"#)]
#[kube(
    printcolumn = r#"{"name":"Programmed","type":"string","jsonPath":".status.conditions[?(@.type==\"Programmed\")].status"}"#
)]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Name of the GatewayClass.
    pub gateway_class_name: ObjectName,
    /// Ports and host names that take traffic. Port, protocol and host name together are unique.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = PLAIN_WITHOUT_TLS, validation = HTTPS_TERMINATES)]
    #[x_kube(validation = TLS_HAS_MODE, validation = PORTS_WITHOUT_HOSTNAME)]
    #[x_kube(validation = (
        "self.all(l1, self.exists_one(l2, l1.name == l2.name))",
        "names of listeners must be unique within the Gateway"
    ))]
    #[x_kube(validation = (
        "self.all(l1, self.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol && (has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : !has(l1.hostname) && !has(l2.hostname))))",
        "port, protocol and hostname together must be unique for each listener"
    ))]
    pub listeners: Vec<Listener>,
    /// Addresses that are asked for; the implementation chooses when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = (
        "self.all(a1, a1.type == 'IPAddress' && has(a1.value) ? self.exists_one(a2, a2.type == a1.type && has(a2.value) && a2.value == a1.value) : true )",
        "addresses of type IPAddress must be unique"
    ))]
    #[x_kube(validation = (
        "self.all(a1, a1.type == 'Hostname' && has(a1.value) ? self.exists_one(a2, a2.type == a1.type && has(a2.value) && a2.value == a1.value) : true )",
        "addresses of type Hostname must be unique"
    ))]
    pub addresses: Vec<GatewaySpecAddress>,
    /// Settings of the objects that run the Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<GatewayInfrastructure>,
    /// Which ListenerSets may add listeners; none when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_listeners: Option<AllowedListeners>,
    /// TLS towards backends and clients, for the whole Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTlsConfig>,
    /// Whether the Gateway takes routes that name no parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<GatewayDefaultScope>,
}

/// An address that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    r#"self.type == 'Hostname' ? (!has(self.value) || self.value.matches(r"""^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$""")): true"#,
    "value of an address of type Hostname must be a host name, perhaps with a wildcard label"
))]
#[schemars(extend("oneOf" = address_value()))]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpecAddress {
    /// Type of the address.
    #[serde(default = "ip_address")]
    pub type_: AddressType,
    /// The address; any of the type when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub value: Option<String>,
}

fn ip_address() -> AddressType {
    "IPAddress".into()
}

/// An `IPAddress` must be one; other types are free.
fn address_value() -> serde_json::Value {
    serde_json::json!([
        {
            "properties": {
                "type": { "enum": ["IPAddress"] },
                "value": { "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] }
            }
        },
        { "properties": { "type": { "not": { "enum": ["IPAddress"] } } } }
    ])
}

const LABEL_KEYS: (&str, &str) = (
    r#"self.all(key, key.matches(r"""^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$"""))"#,
    "keys must be an optional DNS prefix and a name of letters, digits, '-', '_' and '.', up to 63 characters",
);
const LABEL_KEY_PREFIX: (&str, &str) = (
    r#"self.all(key, key.split("/")[0].size() < 253)"#,
    "the prefix of a key must be shorter than 253 characters",
);

/// Settings of the objects that run a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayInfrastructure {
    /// Labels for those objects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = LABEL_KEYS, validation = LABEL_KEY_PREFIX)]
    pub labels: BTreeMap<String, LabelValue>,
    /// Annotations for those objects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = LABEL_KEYS, validation = LABEL_KEY_PREFIX)]
    pub annotations: BTreeMap<String, AnnotationValue>,
    /// Parameters of this Gateway, which go before those of its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<LocalParametersReference>,
}

/// A reference to the parameters of a Gateway, in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalParametersReference {
    /// API group.
    pub group: Group,
    /// Kind.
    pub kind: Kind,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Which ListenerSets may add listeners to a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedListeners {
    /// Namespaces whose ListenerSets may attach.
    #[serde(default)]
    pub namespaces: ListenerNamespaces,
}

/// Namespaces whose ListenerSets may attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerNamespaces {
    /// How the namespaces are chosen.
    #[serde(default)]
    pub from: ListenerFromNamespaces,
    /// Namespaces by label, for `from: Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How namespaces of ListenerSets are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ListenerFromNamespaces {
    /// Every namespace.
    All,
    /// Namespaces by label.
    Selector,
    /// The Gateway's own namespace.
    Same,
    /// No namespace.
    #[default]
    None,
}

/// TLS of a whole Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayTlsConfig {
    /// TLS from the Gateway to backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<GatewayBackendTls>,
    /// TLS from clients to the Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend: Option<FrontendTlsConfig>,
}

/// TLS from a Gateway to backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayBackendTls {
    /// Certificate that the Gateway shows to backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
}

/// How certificates of clients are checked, by port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTlsConfig {
    /// For every HTTPS port that `perPort` does not name.
    pub default: TlsConfig,
    /// For single ports; replaces `default` there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["port"]))]
    #[x_kube(validation = (
        "self.all(t1, self.exists_one(t2, t1.port == t2.port))",
        "ports must be unique within perPort"
    ))]
    pub per_port: Vec<TlsPortConfig>,
}

/// How certificates of clients are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsConfig {
    /// The check; none when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<FrontendTlsValidation>,
}

/// How certificates of clients are checked on one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsPortConfig {
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The settings.
    pub tls: TlsConfig,
}

/// A check of certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTlsValidation {
    /// Authorities that are trusted; ConfigMaps with the key `ca.crt`.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// What happens to clients whose certificate is missing or not valid.
    #[serde(default)]
    pub mode: FrontendValidationModeType,
}

/// What happens to clients whose certificate is missing or not valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FrontendValidationModeType {
    /// They are turned away.
    #[default]
    AllowValidOnly,
    /// They are let in; backends must check for themselves.
    AllowInsecureFallback,
}

/// State of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Addresses that are in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<GatewayStatusAddress>,
    /// `Accepted`, `Programmed` and others.
    #[serde(default = "waiting_to_be_programmed", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// State of each listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<ListenerStatus>,
    /// How many ListenerSets are attached with at least one valid listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<i32>,
}

/// An address that is in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    r#"self.type == 'Hostname' ? self.value.matches(r"""^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"""): true"#,
    "value of an address of type Hostname must be a host name, perhaps with a wildcard label"
))]
#[schemars(extend("oneOf" = address_value()))]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatusAddress {
    /// Type of the address.
    #[serde(default = "ip_address")]
    pub type_: AddressType,
    /// The address.
    #[schemars(length(min = 1, max = 253))]
    pub value: String,
}

/// State of one listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Name of the listener.
    pub name: SectionName,
    /// Kinds of routes that may attach, as far as they are supported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub supported_kinds: Vec<RouteGroupKind>,
    /// How many routes are attached.
    pub attached_routes: i32,
    /// `Accepted`, `Conflicted`, `Programmed`, `ResolvedRefs` and others.
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What the API server writes before any controller has.
pub(crate) fn waiting_to_be_programmed() -> Vec<Condition> {
    ["Accepted", "Programmed"].map(Condition::waiting).into()
}
