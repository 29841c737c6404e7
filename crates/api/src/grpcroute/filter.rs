//! What a GRPCRoute does to calls.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::{
    common::{HttpHeaderFilter, LocalObjectReference},
    httproute::{HttpRequestMirrorFilter, by_type, filters, only_once},
};

/// Fields of a filter with the types that they belong to.
const MEMBERS: [(&str, &str); 4] = [
    ("requestHeaderModifier", "RequestHeaderModifier"),
    ("responseHeaderModifier", "ResponseHeaderModifier"),
    ("requestMirror", "RequestMirror"),
    ("extensionRef", "ExtensionRef"),
];

/// One thing that is done to requests or responses: `type` and the field that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = by_type(&MEMBERS)))]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteFilter {
    /// Which field below holds the filter.
    pub type_: GrpcRouteFilterType,
    /// Changes headers of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes headers of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Sends a copy of requests to another backend, whose responses are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<HttpRequestMirrorFilter>,
    /// A filter of this implementation's own, such as Envoy Gateway's HTTPRouteFilter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

/// Which filter a [`GrpcRouteFilter`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum GrpcRouteFilterType {
    /// Changes headers of responses.
    ResponseHeaderModifier,
    /// Changes headers of requests.
    RequestHeaderModifier,
    /// Sends a copy of requests to another backend.
    RequestMirror,
    /// An own filter of the implementation.
    ExtensionRef,
}

/// A list of filters, on a rule or on a backend: header modifiers at most once.
pub(super) fn grpc_route_filters(generator: &mut SchemaGenerator) -> Schema {
    let once = ["RequestHeaderModifier", "ResponseHeaderModifier"].map(only_once);
    filters::<GrpcRouteFilter>(generator, &once)
}
