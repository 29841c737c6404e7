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
        enable_envoy_headers: bool,
        /// Whether responses of rate limits come without headers that begin with `X-RateLimit-`; false by default.
        disable_rate_limit_headers: bool,
        /// What becomes of the header `X-Forwarded-Client-Cert`; it is taken away by default.
        x_forwarded_client_cert: XForwardedClientCert,
        /// What becomes of headers with an underscore in their names; their requests are refused by default.
        with_underscores_action: WithUnderscoresAction,
        /// Whether a client's `X-Request-ID` is kept. Deprecated: use `requestID: PreserveOrGenerate`.
        #[serde(rename = "preserveXRequestID")]
        preserve_x_request_id: bool,
        /// What becomes of the header `X-Request-ID`; `Generate` by default.
        #[serde(rename = "requestID")]
        request_id: RequestIdAction,
        /// Changes to headers of requests before a route is chosen.
        early_request_headers: HeaderEdits,
        /// Changes to headers of all responses.
        late_response_headers: HeaderEdits,
        /// How hosts of requests are made uniform.
        host: HostSettings,
        /// Bytes of all headers of a request together, rounded up to 1Ki: 1Ki to 8192Ki, `60Ki` by default. Longer
        /// ones are answered with status 431.
        max_request_header_limit: Quantity,
    }
    /// What becomes of the header `X-Forwarded-Client-Cert`.
    #[x_kube(validation = (
        "(has(self.certDetailsToAdd) && self.certDetailsToAdd.size() > 0) ? (self.mode == 'AppendForward' || self.mode == 'SanitizeSet') : true",
        "certDetailsToAdd is for modes AppendForward and SanitizeSet only"
    ))]
    XForwardedClientCert {
        /// What becomes of it; `Sanitize` by default.
        mode: XfccForwardMode,
        /// What is told of the client's certificate beside its hash.
        #[schemars(length(max = 5))]
        cert_details_to_add: Vec<XfccCertData>,
    }
    /// How hosts of requests are made uniform.
    HostSettings {
        /// Whether a dot at the end is taken away, also before a port; false by default.
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub set: Vec<HttpHeader>,
    /// Headers to add to those already there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add: Vec<HttpHeader>,
    /// Headers to add when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add_if_absent: Vec<HttpHeader>,
    /// Names of headers to remove, without regard to case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<String>,
    /// Headers to remove by what their names are like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub remove_on_match: Vec<StringMatch>,
}
