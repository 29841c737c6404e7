//! Which calls a GRPCRoute takes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{httproute::HeaderMatchType, text::HttpHeaderName};

/// Conditions on a call; all of them must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteMatch {
    /// Condition on service and method; every one when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethodMatch>,
    /// Conditions on headers. Of several with the same name, whatever its case, the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<GrpcHeaderMatch>,
}

/// A condition on service and method of a call, of which one may be left open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "has(self.type) ? has(self.service) || has(self.method) : true",
    "service or method or both must be set"
))]
#[x_kube(validation = (
    r#"(!has(self.type) || self.type == 'Exact') && has(self.service) ? self.service.matches(r"""^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$"""): true"#,
    "service must be names of letters, digits and '_', joined by dots, when type is Exact"
))]
#[x_kube(validation = (
    r#"(!has(self.type) || self.type == 'Exact') && has(self.method) ? self.method.matches(r"""^[A-Za-z_][A-Za-z_0-9]*$"""): true"#,
    "method must be a name of letters, digits and '_' when type is Exact"
))]
#[serde(rename_all = "camelCase")]
pub struct GrpcMethodMatch {
    /// How service and method are compared.
    #[serde(default)]
    pub type_: GrpcMethodMatchType,
    /// The service with its package, such as `shop.v1.Cart`; every one when unset or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub service: Option<String>,
    /// The method; every one when unset or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub method: Option<String>,
}

/// How service and method are compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum GrpcMethodMatchType {
    /// As they are.
    #[default]
    Exact,
    /// Regular expressions (RE2) over the whole service and the whole method.
    RegularExpression,
}

/// A condition on a header.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcHeaderMatch {
    /// How the value is compared.
    #[serde(default)]
    pub type_: HeaderMatchType,
    /// Name of the header.
    pub name: HttpHeaderName,
    /// What the value is compared with.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}
