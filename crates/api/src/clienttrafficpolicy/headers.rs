//! Headers of requests and responses.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::HttpHeader,
    config::declare::{choices, options},
    envoyproxy::StringMatch,
    text::Quantity,
};

options! {
    /// How headers are treated.
    #[x_kube(validation = (
        "!(has(self.preserveXRequestID) && has(self.requestID))",
        "preserveXRequestID and requestID must not both be set"
    ))]
    HeaderSettings {
        /// Whether the proxy adds headers whose names begin with `X-Envoy-` to requests and responses; false by default.
        /// Envoy: `Router.suppress_envoy_headers`, the other way round.
        enable_envoy_headers: bool,
        /// Whether responses of rate limits come without headers that begin with `X-RateLimit-`; false by default.
        /// Envoy: `LocalRateLimit.enable_x_ratelimit_headers`.
        disable_rate_limit_headers: bool,
        /// What becomes of the header `X-Forwarded-Client-Cert`; it is taken away by default.
        /// Envoy: `HttpConnectionManager.forward_client_cert_details`.
        x_forwarded_client_cert: XForwardedClientCert,
        /// What becomes of headers with an underscore in their names; their requests are refused by default.
        /// Envoy: `HttpConnectionManager.common_http_protocol_options.headers_with_underscores_action`.
        with_underscores_action: WithUnderscoresAction,
        /// Whether a client's `X-Request-ID` is kept. Deprecated: use `requestID: PreserveOrGenerate`.
        /// Envoy: `HttpConnectionManager.preserve_external_request_id`.
        #[serde(rename = "preserveXRequestID")]
        preserve_x_request_id: bool,
        /// What becomes of the header `X-Request-ID`; `Generate` by default.
        /// Envoy: `HttpConnectionManager.generate_request_id`, `preserve_external_request_id`.
        #[serde(rename = "requestID")]
        request_id: RequestIdAction,
        /// Changes to headers of requests before a route is chosen.
        /// Envoy: `HttpConnectionManager.early_header_mutation_extensions`.
        early_request_headers: HeaderEdits,
        /// Changes to headers of all responses.
        /// Envoy: HTTP filter `envoy.filters.http.header_mutation`.
        late_response_headers: HeaderEdits,
        /// How hosts of requests are made uniform.
        host: HostSettings,
        /// Bytes of all headers of a request together, rounded up to 1Ki: 1Ki to 8192Ki, `60Ki` by default. Longer
        /// ones are answered with status 431.
        /// Envoy: `HttpConnectionManager.max_request_headers_kb`.
        max_request_header_limit: Quantity,
    }
    /// What becomes of the header `X-Forwarded-Client-Cert`.
    #[x_kube(validation = (
        "(has(self.certDetailsToAdd) && self.certDetailsToAdd.size() > 0) ? (self.mode == 'AppendForward' || self.mode == 'SanitizeSet') : true",
        "certDetailsToAdd is for modes AppendForward and SanitizeSet only"
    ))]
    XForwardedClientCert {
        /// What becomes of it; `Sanitize` by default.
        /// Envoy: `HttpConnectionManager.forward_client_cert_details`.
        mode: XfccForwardMode,
        /// What is told of the client's certificate beside its hash.
        /// Envoy: `HttpConnectionManager.set_current_client_cert_details`.
        #[schemars(length(max = 5))]
        cert_details_to_add: Vec<XfccCertData>,
    }
    /// How hosts of requests are made uniform.
    HostSettings {
        /// Whether a dot at the end is taken away, also before a port; false by default.
        /// Envoy: `HttpConnectionManager.strip_trailing_host_dot`.
        strip_trailing_host_dot: bool,
    }
}

choices! {
    /// What becomes of headers with an underscore in their names.
    WithUnderscoresAction {
        /// They are headers like others.
        Allow,
        /// Their requests are refused.
        RejectRequest,
        /// They are taken away.
        DropHeader,
    }
    /// What becomes of the header `X-Request-ID`.
    RequestIdAction {
        /// A client's is kept; where there is none, one is made.
        PreserveOrGenerate,
        /// A client's is kept; none is made.
        Preserve,
        /// One is made, whatever the client says.
        Generate,
        /// There is none.
        Disable,
    }
    /// What becomes of the header `X-Forwarded-Client-Cert`.
    XfccForwardMode {
        /// It is taken away.
        Sanitize,
        /// It is kept when the client has shown a certificate.
        ForwardOnly,
        /// The client's certificate is added to it.
        AppendForward,
        /// It tells the client's certificate alone.
        SanitizeSet,
        /// It is kept.
        AlwaysForwardOnly,
    }
    /// What is told of a client's certificate.
    XfccCertData {
        /// Its subject.
        Subject,
        /// All of it.
        Cert,
        /// It with the chain that the client sent.
        Chain,
        /// DNS names among its alternative names.
        DNS,
        /// URIs among its alternative names.
        URI,
    }
}

/// Changes to headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderEdits {
    /// Headers to overwrite, or to add when absent.
    /// Envoy: `HeaderMutation.append` with `OVERWRITE_IF_EXISTS_OR_ADD`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub set: Vec<HttpHeader>,
    /// Headers to add to those already there.
    /// Envoy: `HeaderMutation.append` with `APPEND_IF_EXISTS_OR_ADD`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add: Vec<HttpHeader>,
    /// Headers to add when absent.
    /// Envoy: `HeaderMutation.append` with `ADD_IF_ABSENT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add_if_absent: Vec<HttpHeader>,
    /// Names of headers to remove, without regard to case.
    /// Envoy: `HeaderMutation.remove`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<String>,
    /// Headers to remove by what their names are like.
    /// Envoy: `HeaderMutation.remove_on_match`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub remove_on_match: Vec<StringMatch>,
}
