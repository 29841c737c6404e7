//! Which requests a rule of an HTTPRoute takes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{HttpHeaderName, HttpHeaderValue};

/// A condition on requests; every part of it must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteMatch {
    /// Condition on the path.
    #[serde(default)]
    pub path: HttpPathMatch,
    /// Conditions on headers; all must fit. Of several with one name (in any case) the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<HttpHeaderMatch>,
    /// Conditions on query parameters; all must fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub query_params: Vec<HttpQueryParamMatch>,
    /// The method; any when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
}

/// A condition on the path of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(self.type in ['Exact','PathPrefix']) ? self.value.startsWith('/') : true",
    "value must begin with '/' when type is Exact or PathPrefix"
))]
#[x_kube(validation = (
    "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('//') : true",
    "value must not contain '//' when type is Exact or PathPrefix"
))]
#[x_kube(validation = (
    "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('/./') : true",
    "value must not contain '/./' when type is Exact or PathPrefix"
))]
#[x_kube(validation = (
    "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('/../') : true",
    "value must not contain '/../' when type is Exact or PathPrefix"
))]
#[x_kube(validation = (
    "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('%2f') : true",
    "value must not contain '%2f' when type is Exact or PathPrefix"
))]
#[x_kube(validation = (
    "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('%2F') : true",
    "value must not contain '%2F' when type is Exact or PathPrefix"
))]
#[x_kube(validation = (
    "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('#') : true",
    "value must not contain '#' when type is Exact or PathPrefix"
))]
#[x_kube(validation = (
    "(self.type in ['Exact','PathPrefix']) ? !self.value.endsWith('/..') : true",
    "value must not end with '/..' when type is Exact or PathPrefix"
))]
#[x_kube(validation = (
    "(self.type in ['Exact','PathPrefix']) ? !self.value.endsWith('/.') : true",
    "value must not end with '/.' when type is Exact or PathPrefix"
))]
#[x_kube(validation = (
    "self.type in ['Exact','PathPrefix'] || self.type == 'RegularExpression'",
    "type must be one of Exact, PathPrefix, RegularExpression"
))]
#[x_kube(validation = (
    r#"(self.type in ['Exact','PathPrefix']) ? self.value.matches(r"""^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$""") : true"#,
    "value must hold only characters that a path may have (RFC 3986 §3.3) when type is Exact or PathPrefix"
))]
#[serde(rename_all = "camelCase")]
pub struct HttpPathMatch {
    /// How the path is compared.
    #[serde(default)]
    pub type_: PathMatchType,
    /// What it is compared with.
    #[serde(default = "slash")]
    #[schemars(length(max = 1024))]
    pub value: String,
}

impl Default for HttpPathMatch {
    /// The prefix `/`, which every path has.
    fn default() -> Self {
        HttpPathMatch { type_: PathMatchType::PathPrefix, value: slash() }
    }
}

fn slash() -> String {
    "/".to_owned()
}

/// How a path is compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum PathMatchType {
    /// The whole path, as it is.
    Exact,
    /// Whole segments from the start, split at `/`.
    #[default]
    PathPrefix,
    /// A regular expression (RE2) over the whole path.
    RegularExpression,
}

/// A condition on a header.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeaderMatch {
    /// How the value is compared.
    #[serde(default)]
    pub type_: HeaderMatchType,
    /// Name of the header.
    pub name: HttpHeaderName,
    /// What the value is compared with.
    pub value: HttpHeaderValue,
}

/// How the value of a header is compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum HeaderMatchType {
    /// The whole value, as it is.
    #[default]
    Exact,
    /// A regular expression (RE2) over the whole value.
    RegularExpression,
}

/// A condition on a query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpQueryParamMatch {
    /// How the value is compared.
    #[serde(default)]
    pub type_: QueryParamMatchType,
    /// Name of the parameter; case counts.
    pub name: HttpHeaderName,
    /// What the value is compared with.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// How the value of a query parameter is compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum QueryParamMatchType {
    /// The whole value, as it is.
    #[default]
    Exact,
    /// A regular expression (RE2) over the whole value.
    RegularExpression,
}

/// A method of HTTP (RFC 9110 §9.3 and RFC 5789).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

impl HttpMethod {
    /// The method as it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Delete => "DELETE",
            HttpMethod::Connect => "CONNECT",
            HttpMethod::Options => "OPTIONS",
            HttpMethod::Trace => "TRACE",
            HttpMethod::Patch => "PATCH",
        }
    }
}
