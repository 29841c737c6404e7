//! What a GRPCRoute does to calls.

use kube::{KubeSchema, core::Rule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    common::{HttpHeaderFilter, LocalObjectReference},
    httproute::HttpRequestMirrorFilter,
};

/// One thing that is done to requests or responses: `type` and the field that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("!(has(self.requestHeaderModifier) && self.type != 'RequestHeaderModifier')", "requestHeaderModifier must not be set unless type is RequestHeaderModifier"))]
#[x_kube(validation = ("!(!has(self.requestHeaderModifier) && self.type == 'RequestHeaderModifier')", "type RequestHeaderModifier needs requestHeaderModifier"))]
#[x_kube(validation = ("!(has(self.responseHeaderModifier) && self.type != 'ResponseHeaderModifier')", "responseHeaderModifier must not be set unless type is ResponseHeaderModifier"))]
#[x_kube(validation = ("!(!has(self.responseHeaderModifier) && self.type == 'ResponseHeaderModifier')", "type ResponseHeaderModifier needs responseHeaderModifier"))]
#[x_kube(validation = ("!(has(self.requestMirror) && self.type != 'RequestMirror')", "requestMirror must not be set unless type is RequestMirror"))]
#[x_kube(validation = ("!(!has(self.requestMirror) && self.type == 'RequestMirror')", "type RequestMirror needs requestMirror"))]
#[x_kube(validation = ("!(has(self.extensionRef) && self.type != 'ExtensionRef')", "extensionRef must not be set unless type is ExtensionRef"))]
#[x_kube(validation = ("!(!has(self.extensionRef) && self.type == 'ExtensionRef')", "type ExtensionRef needs extensionRef"))]
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

/// A list of filters, on a rule or on a backend: at most 16, and header modifiers at most once.
pub(super) fn grpc_route_filters(generator: &mut SchemaGenerator) -> Schema {
    let once = ["RequestHeaderModifier", "ResponseHeaderModifier"].map(|kind| {
        Rule::new(format!("self.filter(f, f.type == '{kind}').size() <= 1"))
            .message(format!("a filter of type {kind} may be used only once").as_str())
    });
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": generator.subschema_for::<GrpcRouteFilter>(),
        "x-kubernetes-list-type": "atomic",
        "x-kubernetes-validations": once
    })
}
