//! Responses that take the place of others.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{HttpHeaderFilter, LocalObjectReference},
    config::declare::{choices, options},
    envoyproxy::StringMatch,
    httproute::{HttpPathModifier, RedirectScheme},
    text::{HttpHeaderName, PreciseHostname},
};

choices! {
    /// Whose responses are meant.
    ResponseOverrideSource {
        /// All.
        All,
        /// Those that the proxy itself makes.
        Local,
        /// Those of backends.
        Backend,
    }
    /// How status codes are written.
    StatusCodeValueType {
        /// One.
        Value,
        /// From one to another.
        Range,
    }
    /// Where a body comes from.
    ResponseValueType {
        /// It is given.
        Inline,
        /// A ConfigMap.
        ValueRef,
    }
}

/// A response that takes the place of others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(has(self.response) && !has(self.redirect)) || (!has(self.response) && has(self.redirect))",
    "exactly one of response and redirect must be set"
))]
#[serde(rename_all = "camelCase")]
pub struct ResponseOverride {
    /// Which responses are meant.
    #[serde(rename = "match")]
    pub matched: CustomResponseMatch,
    /// The response in their place.
    /// Envoy: `LocalResponsePolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<CustomResponse>,
    /// The answer to another request in their place.
    /// Envoy: `RedirectPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<CustomRedirect>,
    /// Whose responses are meant; all by default.
    /// Envoy: a condition of `CustomResponse.custom_response_matcher`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ResponseOverrideSource>,
}

options! {
    /// Which responses are meant: all that is set must hold.
    #[x_kube(validation = (
        "has(self.statusCodes) || has(self.responseHeaders)",
        "one of statusCodes and responseHeaders must be set"
    ))]
    CustomResponseMatch {
        /// Status codes, one of which the response has.
        /// Envoy: `CustomResponse.custom_response_matcher`.
        #[schemars(length(min = 1, max = 50))]
        status_codes: Vec<StatusCodeMatch>,
        /// Headers, all of which the response has.
        /// Envoy: `CustomResponse.custom_response_matcher`.
        #[schemars(length(min = 1, max = 16))]
        response_headers: Vec<ResponseOverrideHeaderMatch>,
    }
    /// The response in the place of others.
    CustomResponse {
        /// `Content-Type`.
        /// Envoy: `LocalResponsePolicy.body_format.content_type`.
        content_type: String,
        /// The body; it may hold operators of access logs.
        /// Envoy: `LocalResponsePolicy.body_format`.
        body: CustomResponseBody,
        /// The status code; the original's when unset.
        /// Envoy: `LocalResponsePolicy.status_code`.
        status_code: i32,
        /// Headers to add or set.
        /// Envoy: `LocalResponsePolicy.response_headers_to_add`.
        #[x_kube(validation = (
            "!has(self.remove) || size(self.remove) == 0",
            "headers of a response in the place of others cannot be removed"
        ))]
        header: HttpHeaderFilter,
    }
}

/// A header of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResponseOverrideHeaderMatch {
    /// Its name; case does not count.
    pub name: HttpHeaderName,
    /// Its value.
    pub value: StringMatch,
}

/// Status codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(!has(self.type) || self.type == 'Value')? has(self.value) : true",
    "value must be set for type Value"
))]
#[x_kube(validation = (
    "(has(self.type) && self.type == 'Range')? has(self.range) : true",
    "range must be set for type Range"
))]
#[serde(rename_all = "camelCase")]
pub struct StatusCodeMatch {
    /// Which of the fields below counts.
    #[serde(default = "value")]
    pub type_: StatusCodeValueType,
    /// One status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i32>,
    /// Status codes from one to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<StatusCodeRange>,
}

fn value() -> StatusCodeValueType {
    StatusCodeValueType::Value
}

/// Status codes from one to another, both included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.end > self.start", "end must be above start"))]
#[serde(rename_all = "camelCase")]
pub struct StatusCodeRange {
    /// The first.
    pub start: i32,
    /// The last.
    pub end: i32,
}

/// The body of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(!has(self.type) || self.type == 'Inline')? has(self.inline) : true",
    "inline must be set for type Inline"
))]
#[x_kube(validation = (
    "(has(self.type) && self.type == 'ValueRef')? has(self.valueRef) : true",
    "valueRef must be set for type ValueRef"
))]
#[x_kube(validation = (
    "has(self.valueRef) ? self.valueRef.kind == 'ConfigMap' : true",
    "valueRef must be a ConfigMap"
))]
#[serde(rename_all = "camelCase")]
pub struct CustomResponseBody {
    /// Which of the fields below counts.
    #[serde(default = "inline")]
    pub type_: ResponseValueType,
    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// A ConfigMap in the policy's namespace, whose key `response.body` is the body; its only key where it has no such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_ref: Option<LocalObjectReference>,
}

fn inline() -> ResponseValueType {
    ResponseValueType::Inline
}

/// The answer to another request, which the proxy sends along the routes itself, in the place of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomRedirect {
    /// Scheme of the other request; the original's when unset.
    /// Envoy: `RedirectPolicy.redirect_action.scheme_redirect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    /// Host of the other request; the original's when unset.
    /// Envoy: `RedirectPolicy.redirect_action.host_redirect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "hostname")]
    pub hostname: Option<PreciseHostname>,
    /// Path of the other request; the original's when unset.
    /// Envoy: `RedirectPolicy.redirect_action.path_redirect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self.type == 'ReplaceFullPath'", "path.type must be ReplaceFullPath"))]
    pub path: Option<HttpPathModifier>,
    /// Port of the other request; that of the scheme when unset.
    /// Envoy: `RedirectPolicy.redirect_action.port_redirect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Status code of what clients get: 301 or 302.
    /// Envoy: `RedirectPolicy.status_code`.
    #[serde(default = "found")]
    #[schemars(extend("enum" = [301, 302]))]
    pub status_code: i32,
}

fn hostname(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    PreciseHostname::json_schema(generator)
}

fn found() -> i32 {
    302
}
