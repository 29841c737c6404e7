//! HTTPRoute: routes of HTTP requests.

mod filter;
mod matches;

pub use filter::{
    ForwardBodyConfig, GrpcAuthConfig, HttpAuthConfig, HttpCorsFilter, HttpExternalAuthFilter,
    HttpMethodWithWildcard, HttpPathModifier, HttpPathModifierType, HttpRequestMirrorFilter,
    HttpRequestRedirectFilter, HttpRouteExternalAuthProtocol, HttpRouteFilter, HttpRouteFilterType,
    HttpUrlRewriteFilter, RedirectScheme,
};
pub(crate) use filter::{by_type, filters, only_once};
pub use matches::{
    HeaderMatchType, HttpHeaderMatch, HttpMethod, HttpPathMatch, HttpQueryParamMatch, HttpRouteMatch,
    PathMatchType, QueryParamMatchType,
};

use std::ops::Deref;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{BackendRef, GatewayDefaultScope, ParentReference, RouteStatus, SessionPersistence},
    text::{Duration, Hostname, SectionName},
};

/// Which requests the route takes, and where they go.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    root = "HttpRoute",
    namespaced
)]
#[kube(
    plural = "httproutes",
    status = "RouteStatus",
    category = "gateway-api",
    derive = "PartialEq",
    schema = "disabled"
)]
#[kube(printcolumn = r#"{"name":"Hostnames","type":"string","jsonPath":".spec.hostnames"}"#)]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteSpec {
    /// What the route attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::common::parent_refs")]
    pub parent_refs: Vec<ParentReference>,
    /// Default Gateways that the route attaches to, besides `parentRefs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Host names that a request's Host header must have one of; those of the listener when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub hostnames: Vec<Hostname>,
    /// Matches with their actions. The default is one rule that takes every request.
    #[serde(default = "one_rule")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = (
        "(self.size() > 0 ? self[0].matches.size() : 0) + (self.size() > 1 ? self[1].matches.size() : 0) + (self.size() > 2 ? self[2].matches.size() : 0) + (self.size() > 3 ? self[3].matches.size() : 0) + (self.size() > 4 ? self[4].matches.size() : 0) + (self.size() > 5 ? self[5].matches.size() : 0) + (self.size() > 6 ? self[6].matches.size() : 0) + (self.size() > 7 ? self[7].matches.size() : 0) + (self.size() > 8 ? self[8].matches.size() : 0) + (self.size() > 9 ? self[9].matches.size() : 0) + (self.size() > 10 ? self[10].matches.size() : 0) + (self.size() > 11 ? self[11].matches.size() : 0) + (self.size() > 12 ? self[12].matches.size() : 0) + (self.size() > 13 ? self[13].matches.size() : 0) + (self.size() > 14 ? self[14].matches.size() : 0) + (self.size() > 15 ? self[15].matches.size() : 0) <= 128",
        "all rules of a route together may have at most 128 matches"
    ))]
    #[x_kube(validation = (
        "self.all(l1, !has(l1.name) || self.exists_one(l2, has(l2.name) && l1.name == l2.name))",
        "names of rules must be unique within the route"
    ))]
    pub rules: Vec<HttpRouteRule>,
}

fn one_rule() -> Vec<HttpRouteRule> {
    vec![HttpRouteRule::default()]
}

fn slash_match() -> Vec<HttpRouteMatch> {
    vec![HttpRouteMatch::default()]
}

/// Requests that match, what is done to them, and where they go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(has(self.backendRefs) && size(self.backendRefs) > 0) ? (!has(self.filters) || self.filters.all(f, !has(f.requestRedirect))): true",
    "a filter RequestRedirect must not be used together with backendRefs"
))]
#[x_kube(validation = (
    "(has(self.filters) && self.filters.exists_one(f, has(f.requestRedirect) && has(f.requestRedirect.path) && f.requestRedirect.path.type == 'ReplacePrefixMatch' && has(f.requestRedirect.path.replacePrefixMatch))) ? ((size(self.matches) != 1 || !has(self.matches[0].path) || self.matches[0].path.type != 'PathPrefix') ? false : true) : true",
    "a filter RequestRedirect with path.replacePrefixMatch needs exactly one match, of type PathPrefix"
))]
#[x_kube(validation = (
    "(has(self.filters) && self.filters.exists_one(f, has(f.urlRewrite) && has(f.urlRewrite.path) && f.urlRewrite.path.type == 'ReplacePrefixMatch' && has(f.urlRewrite.path.replacePrefixMatch))) ? ((size(self.matches) != 1 || !has(self.matches[0].path) || self.matches[0].path.type != 'PathPrefix') ? false : true) : true",
    "a filter URLRewrite with path.replacePrefixMatch needs exactly one match, of type PathPrefix"
))]
#[x_kube(validation = (
    "(has(self.backendRefs) && self.backendRefs.exists_one(b, (has(b.filters) && b.filters.exists_one(f, has(f.requestRedirect) && has(f.requestRedirect.path) && f.requestRedirect.path.type == 'ReplacePrefixMatch' && has(f.requestRedirect.path.replacePrefixMatch))) )) ? ((size(self.matches) != 1 || !has(self.matches[0].path) || self.matches[0].path.type != 'PathPrefix') ? false : true) : true",
    "within backendRefs, a filter RequestRedirect with path.replacePrefixMatch needs exactly one match, of type PathPrefix"
))]
#[x_kube(validation = (
    "(has(self.backendRefs) && self.backendRefs.exists_one(b, (has(b.filters) && b.filters.exists_one(f, has(f.urlRewrite) && has(f.urlRewrite.path) && f.urlRewrite.path.type == 'ReplacePrefixMatch' && has(f.urlRewrite.path.replacePrefixMatch))) )) ? ((size(self.matches) != 1 || !has(self.matches[0].path) || self.matches[0].path.type != 'PathPrefix') ? false : true) : true",
    "within backendRefs, a filter URLRewrite with path.replacePrefixMatch needs exactly one match, of type PathPrefix"
))]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteRule {
    /// Name, unique within the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<SectionName>,
    /// Conditions; a request takes the rule when one of them fits. The default fits every request.
    #[serde(default = "slash_match")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<HttpRouteMatch>,
    /// What is done to requests and responses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "filter::http_route_filters")]
    pub filters: Vec<HttpRouteFilter>,
    /// Where requests go. With none, and no redirect, they are answered with an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub backend_refs: Vec<HttpBackendRef>,
    /// How long requests may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<HttpRouteTimeouts>,
    /// When a failed request is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<HttpRouteRetry>,
    /// Keeps a client's requests on one backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

impl Default for HttpRouteRule {
    /// What an empty rule means: every request, and nowhere to go.
    fn default() -> Self {
        HttpRouteRule {
            name: None,
            matches: slash_match(),
            filters: Vec::new(),
            backend_refs: Vec::new(),
            timeouts: None,
            retry: None,
            session_persistence: None,
        }
    }
}

/// A backend with its share of the traffic and its own filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpBackendRef {
    /// The backend with its weight.
    #[serde(flatten)]
    pub backend_ref: BackendRef,
    /// What is done to requests that go to this backend, and to its responses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "filter::http_route_filters")]
    pub filters: Vec<HttpRouteFilter>,
}

impl Deref for HttpBackendRef {
    type Target = BackendRef;

    /// Go embeds the reference; so its fields are at hand here too.
    fn deref(&self) -> &BackendRef {
        &self.backend_ref
    }
}

/// How long requests may take. `0s` means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!(has(self.request) && has(self.backendRequest) && duration(self.request) != duration('0s') && duration(self.backendRequest) > duration(self.request))",
    "backendRequest must not be longer than request"
))]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteTimeouts {
    /// From the request until the whole response, retries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// For one try at a backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

/// When a failed request is sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteRetry {
    /// Status codes, 400 to 599, that are tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "retry_codes")]
    pub codes: Vec<i32>,
    /// How many further tries there may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "retry_attempts")]
    pub attempts: Option<i64>,
    /// How long to wait at least before a further try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

fn retry_codes(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "set",
        "items": { "type": "integer", "minimum": 400, "maximum": 599 }
    })
}

fn retry_attempts(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "integer", "minimum": 1 })
}
