//! What an HTTPRoute does to requests and responses.

use kube::{KubeSchema, core::Rule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::HttpMethod;
use crate::{
    common::{BackendObjectReference, Fraction, HttpHeaderFilter, LocalObjectReference},
    text::{CorsOrigin, HttpHeaderName, PreciseHostname},
};

/// Fields of a filter with the types that they belong to.
const MEMBERS: [(&str, &str); 8] = [
    ("requestHeaderModifier", "RequestHeaderModifier"),
    ("responseHeaderModifier", "ResponseHeaderModifier"),
    ("requestMirror", "RequestMirror"),
    ("requestRedirect", "RequestRedirect"),
    ("urlRewrite", "URLRewrite"),
    ("cors", "CORS"),
    ("externalAuth", "ExternalAuth"),
    ("extensionRef", "ExtensionRef"),
];

/// One thing that is done to requests or responses: `type` and the field that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = by_type(&MEMBERS)))]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteFilter {
    /// Which field below holds the filter.
    pub type_: HttpRouteFilterType,
    /// Changes headers of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes headers of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Sends a copy of requests to another backend, whose responses are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<HttpRequestMirrorFilter>,
    /// Answers requests with a redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<HttpRequestRedirectFilter>,
    /// Changes host name or path of requests on their way to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<HttpUrlRewriteFilter>,
    /// Answers cross-origin preflight requests and marks responses (the Fetch standard's CORS protocol).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<HttpCorsFilter>,
    /// Asks another server whether a request may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<HttpExternalAuthFilter>,
    /// A filter of this implementation's own, such as Envoy Gateway's HTTPRouteFilter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

/// Which filter an [`HttpRouteFilter`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum HttpRouteFilterType {
    /// Changes headers of requests.
    RequestHeaderModifier,
    /// Changes headers of responses.
    ResponseHeaderModifier,
    /// Sends a copy of requests to another backend.
    RequestMirror,
    /// Answers with a redirect.
    RequestRedirect,
    /// Changes host name or path.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// An own filter of the implementation.
    ExtensionRef,
    /// Cross-origin resource sharing.
    #[serde(rename = "CORS")]
    Cors,
    /// Asks another server.
    ExternalAuth,
}

impl HttpRouteFilterType {
    /// The type as it stands in a document.
    pub const fn as_str(self) -> &'static str {
        match self {
            HttpRouteFilterType::RequestHeaderModifier => "RequestHeaderModifier",
            HttpRouteFilterType::ResponseHeaderModifier => "ResponseHeaderModifier",
            HttpRouteFilterType::RequestMirror => "RequestMirror",
            HttpRouteFilterType::RequestRedirect => "RequestRedirect",
            HttpRouteFilterType::UrlRewrite => "URLRewrite",
            HttpRouteFilterType::ExtensionRef => "ExtensionRef",
            HttpRouteFilterType::Cors => "CORS",
            HttpRouteFilterType::ExternalAuth => "ExternalAuth",
        }
    }
}

/// A list of filters, on a rule or on a backend.
pub(super) fn http_route_filters(generator: &mut SchemaGenerator) -> Schema {
    /// Types that make no sense twice, in the order in which failures are told.
    const ONCE: [&str; 5] =
        ["CORS", "RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite"];
    let both = "!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))";
    let both = Rule::new(both).message("a RequestRedirect and a URLRewrite must not be used together");
    let rules: Vec<Rule> = std::iter::once(both).chain(ONCE.into_iter().map(only_once)).collect();
    filters::<HttpRouteFilter>(generator, &rules)
}

/// A list of filters of a route of any kind: at most 16.
pub(crate) fn filters<Filter: JsonSchema>(generator: &mut SchemaGenerator, rules: &[Rule]) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": generator.subschema_for::<Filter>(),
        "x-kubernetes-list-type": "atomic",
        "x-kubernetes-validations": rules
    })
}

/// The rule that a type of filters stands in a list at most once.
pub(crate) fn only_once(kind: &str) -> Rule {
    Rule::new(format!("self.filter(f, f.type == '{kind}').size() <= 1"))
        .message(format!("a filter of type {kind} may be used only once").as_str())
}

/// The rules that exactly the field of a filter's type is set.
pub(crate) fn by_type(members: &[(&str, &str)]) -> Vec<Rule> {
    let rule = |rule: String, message: String| Rule::new(rule).message(message.as_str());
    let of_member = |(field, kind): &(&str, &str)| {
        [
            rule(
                format!("!(has(self.{field}) && self.type != '{kind}')"),
                format!("{field} must not be set unless type is {kind}"),
            ),
            rule(
                format!("!(!has(self.{field}) && self.type == '{kind}')"),
                format!("type {kind} needs {field}"),
            ),
        ]
    };
    members.iter().flat_map(of_member).collect()
}

/// Changes a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.type == 'ReplaceFullPath' ? has(self.replaceFullPath) : true", "type ReplaceFullPath needs replaceFullPath"))]
#[x_kube(validation = ("has(self.replaceFullPath) ? self.type == 'ReplaceFullPath' : true", "replaceFullPath needs type ReplaceFullPath"))]
#[x_kube(validation = ("self.type == 'ReplacePrefixMatch' ? has(self.replacePrefixMatch) : true", "type ReplacePrefixMatch needs replacePrefixMatch"))]
#[x_kube(validation = ("has(self.replacePrefixMatch) ? self.type == 'ReplacePrefixMatch' : true", "replacePrefixMatch needs type ReplacePrefixMatch"))]
#[serde(rename_all = "camelCase")]
pub struct HttpPathModifier {
    /// Which part is replaced.
    pub type_: HttpPathModifierType,
    /// The new path, for type `ReplaceFullPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replace_full_path: Option<String>,
    /// What takes the place of the matched prefix, for type `ReplacePrefixMatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replace_prefix_match: Option<String>,
}

/// Which part of a path is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HttpPathModifierType {
    /// All of it.
    ReplaceFullPath,
    /// The prefix that matched.
    ReplacePrefixMatch,
}

/// Answers requests with a redirect. What is unset stays as in the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestRedirectFilter {
    /// Scheme of the new location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    /// Host name of the new location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<PreciseHostname>,
    /// Path of the new location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathModifier>,
    /// Port of the new location; when unset, the one the new scheme is known for, else the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Status code of the answer.
    #[serde(default = "found")]
    #[schemars(schema_with = "redirect_code")]
    pub status_code: i32,
}

/// Scheme of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RedirectScheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

fn found() -> i32 {
    302
}

fn redirect_code(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "enum": [301, 302, 303, 307, 308] })
}

/// Changes host name or path of requests on their way to the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpUrlRewriteFilter {
    /// New value of the Host header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<PreciseHostname>,
    /// Change of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathModifier>,
}

/// Sends a copy of requests to another backend. All of them, unless `percent` or `fraction` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("!(has(self.percent) && has(self.fraction))", "percent and fraction must not both be set"))]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestMirrorFilter {
    /// Where the copies go.
    pub backend_ref: BackendObjectReference,
    /// Share of the requests that is copied, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// Share of the requests that is copied, as a fraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// Cross-origin resource sharing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCorsFilter {
    /// Origins that may read responses; `*` alone means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = ("!('*' in self && self.size() > 1)", "'*' must be the only entry of allowOrigins"))]
    pub allow_origins: Vec<CorsOrigin>,
    /// Whether requests may carry credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Methods that may be used; `*` alone means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = ("!('*' in self && self.size() > 1)", "'*' must be the only entry of allowMethods"))]
    pub allow_methods: Vec<HttpMethodWithWildcard>,
    /// Headers that requests may carry; `*` alone means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = ("!('*' in self && self.size() > 1)", "'*' must be the only entry of allowHeaders"))]
    pub allow_headers: Vec<HttpHeaderName>,
    /// Headers of responses that scripts may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub expose_headers: Vec<HttpHeaderName>,
    /// How long, in seconds, a browser may keep the answer to a preflight request.
    #[serde(default = "five")]
    #[schemars(range(min = 1))]
    pub max_age: i32,
}

fn five() -> i32 {
    5
}

/// A method of HTTP, or `*` for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HttpMethodWithWildcard {
    /// One method.
    Method(HttpMethod),
    /// Any method.
    Any(Asterisk),
}

/// The text `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Asterisk {
    /// `*`.
    #[serde(rename = "*")]
    Asterisk,
}

impl HttpMethodWithWildcard {
    /// The method as it stands in a request, or `*`.
    pub const fn as_str(self) -> &'static str {
        match self {
            HttpMethodWithWildcard::Method(method) => method.as_str(),
            HttpMethodWithWildcard::Any(_) => "*",
        }
    }
}

impl JsonSchema for HttpMethodWithWildcard {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HttpMethodWithWildcard".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "enum": ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"]
        })
    }
}

/// Asks another server whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.protocol == 'GRPC' ? has(self.grpc) : true", "protocol GRPC needs grpc"))]
#[x_kube(validation = ("has(self.grpc) ? self.protocol == 'GRPC' : true", "grpc needs protocol GRPC"))]
#[x_kube(validation = ("self.protocol == 'HTTP' ? has(self.http) : true", "protocol HTTP needs http"))]
#[x_kube(validation = ("has(self.http) ? self.protocol == 'HTTP' : true", "http needs protocol HTTP"))]
#[serde(rename_all = "camelCase")]
pub struct HttpExternalAuthFilter {
    /// What the server speaks.
    pub protocol: HttpRouteExternalAuthProtocol,
    /// The server.
    pub backend_ref: BackendObjectReference,
    /// Settings for protocol GRPC (Envoy's `ext_authz` service).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAuthConfig>,
    /// Settings for protocol HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuthConfig>,
    /// Sends the body of the request along; not sent when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBodyConfig>,
}

/// What an authorization server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpRouteExternalAuthProtocol {
    /// HTTP.
    Http,
    /// gRPC.
    Grpc,
}

/// Settings of an authorization server that speaks gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcAuthConfig {
    /// Headers of the request that are sent to the server; all of them when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_headers: Vec<String>,
}

/// Settings of an authorization server that speaks HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpAuthConfig {
    /// What is put before the path of the request; nothing when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1024),
        regex(pattern = r"^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$")
    )]
    pub path: Option<String>,
    /// Headers of the request that are sent to the server, besides Host, Method, Path, Content-Length and
    /// Authorization.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_headers: Vec<String>,
    /// Headers of the server's answer that are put on the request to the backend; all of them when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_response_headers: Vec<String>,
}

/// Sends the body of the request along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardBodyConfig {
    /// Longest body in bytes; none is sent when 0 or unset.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "body_size")]
    pub max_size: u16,
}

fn is_zero(size: &u16) -> bool {
    *size == 0
}

fn body_size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer" })
}
