//! TCPRoute, TLSRoute and UDPRoute: routes of connections and datagrams.
//!
//! Versions before v1 take more than v1 does: several rules, which must then have names of their own, and in
//! TLSRoute's first version no host names. Objects that were written in such a version come as they are when v1 is
//! read, so the types take all of it, and `in_version` of each kind narrows its schema.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    common::{BackendRef, GatewayDefaultScope, ParentReference, RouteStatus},
    text::{Hostname, SectionName},
};

/// Makes the spec of a kind: what all three have, the fields of its own, and its rules.
macro_rules! layer4_kind {
    (
        $(#[$about:meta])* $spec:ident: $kind:tt, $root:tt, $plural:tt;
        $(own { $($field:tt)* })?
        $(#[$about_rules:meta])* rules
    ) => {
        $(#[$about])*
        #[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
        #[kube(group = "gateway.networking.k8s.io", version = "v1", kind = $kind, root = $root, namespaced)]
        #[kube(
            plural = $plural,
            status = "RouteStatus",
            category = "gateway-api",
            derive = "PartialEq",
            schema = "disabled"
        )]
        #[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
        #[serde(rename_all = "camelCase")]
        pub struct $spec {
            /// What the route attaches to.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schemars(schema_with = "crate::common::parent_refs")]
            pub parent_refs: Vec<ParentReference>,
            /// Default Gateways that the route attaches to, besides `parentRefs`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub use_default_gateways: Option<GatewayDefaultScope>,
            $($($field)*)?
            $(#[$about_rules])*
            #[schemars(length(min = 1, max = 1), extend("x-kubernetes-list-type" = "atomic"))]
            pub rules: Vec<Layer4RouteRule>,
        }
    };
}

layer4_kind! {
    /// Where connections to a listener go.
    TcpRouteSpec: "TCPRoute", "TcpRoute", "tcproutes";
    /// Where connections go.
    rules
}

layer4_kind! {
    /// Where TLS connections to a listener go, chosen by the server name (SNI) that the client asks for.
    TlsRouteSpec: "TLSRoute", "TlsRoute", "tlsroutes";
    own {
        /// Server names that a connection must ask for one of; those of the listener when empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 1024), extend("x-kubernetes-list-type" = "atomic"))]
        pub hostnames: Vec<Hostname>,
    }
    /// Where connections go.
    rules
}

layer4_kind! {
    /// Where datagrams to a listener go.
    UdpRouteSpec: "UDPRoute", "UdpRoute", "udproutes";
    /// Where datagrams go.
    rules
}

/// A rule of a TCPRoute, TLSRoute or UDPRoute: it has no matches, so it takes all that the route takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Layer4RouteRule {
    /// Name, unique within the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<SectionName>,
    /// The backends with their shares. What falls to one that cannot be used is refused.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub backend_refs: Vec<BackendRef>,
}

/// How many rules a route may have in versions that take several.
const MOST_RULES: u32 = 16;

/// Makes the schema of TCPRoute or UDPRoute that of `version`.
pub(crate) fn in_version(version: &str, schema: &mut Value) {
    if version == "v1alpha2" {
        several_rules(schema);
    }
}

/// Makes the schema of TLSRoute that of `version`.
pub(crate) fn tls_in_version(version: &str, schema: &mut Value) {
    if version == "v1alpha2" {
        several_rules(schema);
        return;
    }
    if let Some(required) = schema.pointer_mut("/properties/spec/required").and_then(Value::as_array_mut) {
        required.insert(0, json!("hostnames"));
    }
    if let Some(hostnames) = schema.pointer_mut("/properties/spec/properties/hostnames") {
        hostnames["minItems"] = json!(1);
        // The pattern of the items says the last two as well. They are Gateway API's all the same, and together with
        // the pattern the first is what keeps addresses out.
        hostnames["x-kubernetes-validations"] = json!([
            { "rule": "self.all(h, !isIP(h))", "message": "a host name must not be an IP address" },
            {
                "rule": r"self.all(h, !h.contains('*') ? h.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$') : true)",
                "message": "a host name must follow RFC 1123"
            },
            {
                "rule": r"self.all(h, h.contains('*') ? (h.startsWith('*.') && h.substring(2).matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$')) : true)",
                "message": "a wildcard must be the first label of a host name that follows RFC 1123"
            }
        ]);
    }
}

fn several_rules(schema: &mut Value) {
    if let Some(rules) = schema.pointer_mut("/properties/spec/properties/rules") {
        rules["maxItems"] = json!(MOST_RULES);
        rules["x-kubernetes-validations"] = json!([{
            "rule": "self.all(l1, !has(l1.name) || self.exists_one(l2, has(l2.name) && l1.name == l2.name))",
            "message": "names of rules must be unique within the route"
        }]);
    }
}
