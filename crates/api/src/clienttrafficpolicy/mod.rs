//! ClientTrafficPolicy: how clients talk to listeners (Envoy Gateway's kind).

mod headers;
mod tls;

pub use headers::*;
pub use tls::*;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clustersettings::{Http2Settings, TcpKeepalive},
    config::declare::{choices, options},
    envoyproxy::{MergeType, StringMatch},
    policy::{PolicyStatus, PolicyTargetReferences},
    text::{Duration, Quantity},
};

/// How clients talk to listeners. The policy for a listener goes before that for its ListenerSet, which goes before that
/// for the Gateway; with `mergeType`, it is merged over that.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gateway.envoyproxy.io",
    version = "v1alpha1",
    kind = "ClientTrafficPolicy",
    plural = "clienttrafficpolicies",
    namespaced
)]
#[kube(
    status = "PolicyStatus",
    shortname = "ctp",
    category = "envoy-gateway",
    derive = "PartialEq",
    schema = "disabled"
)]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[x_kube(validation = (
    "(has(self.targetRef) && !has(self.targetRefs)) || (!has(self.targetRef) && has(self.targetRefs)) || (has(self.targetSelectors) && self.targetSelectors.size() > 0) ",
    "one of targetRef and targetRefs must be set, or targetSelectors"
))]
#[x_kube(validation = (
    "has(self.targetRef) ? self.targetRef.group == 'gateway.networking.k8s.io' : true",
    "targetRef.group must be gateway.networking.k8s.io"
))]
#[x_kube(validation = (
    "has(self.targetRef) ? self.targetRef.kind in ['Gateway', 'ListenerSet'] : true",
    "targetRef.kind must be Gateway or ListenerSet"
))]
#[x_kube(validation = (
    "has(self.targetRefs) ? self.targetRefs.all(ref, ref.group == 'gateway.networking.k8s.io') : true",
    "the group of each of targetRefs must be gateway.networking.k8s.io"
))]
#[x_kube(validation = (
    "has(self.targetRefs) ? self.targetRefs.all(ref, ref.kind in ['Gateway', 'ListenerSet']) : true",
    "the kind of each of targetRefs must be Gateway or ListenerSet"
))]
#[x_kube(validation = (
    "!has(self.mergeType) || ((!has(self.targetRef) || self.targetRef.kind != 'Gateway' || has(self.targetRef.sectionName)) && (!has(self.targetRefs) || self.targetRefs.all(ref, ref.kind != 'Gateway' || has(ref.sectionName))) && (!has(self.targetSelectors) || self.targetSelectors.all(sel, sel.kind != 'Gateway')))",
    "mergeType is for policies that target ListenerSets, or listeners by sectionName: nothing is broader than a Gateway as a whole"
))]
#[serde(rename_all = "camelCase")]
pub struct ClientTrafficPolicySpec {
    /// What the policy is for.
    #[serde(flatten)]
    pub targets: PolicyTargetReferences,
    /// How the policy of a listener or ListenerSet goes together with the one that has effect there without it: a
    /// listener's with that of its ListenerSet, or else of its Gateway, a ListenerSet's with that of its Gateway. When
    /// unset, that one has no effect there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_type: Option<MergeType>,
    /// TCP keepalive of connections from clients; off when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Whether every connection begins with the PROXY protocol. Deprecated: use `proxyProtocol`.
    /// Envoy: listener filter `envoy.filters.listener.proxy_protocol`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_proxy_protocol: Option<bool>,
    /// Connections begin with the PROXY protocol, whose client address is the one that counts. It goes before
    /// `enableProxyProtocol`.
    /// Envoy: listener filter `envoy.filters.listener.proxy_protocol`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 0))]
    pub proxy_protocol: Option<ProxyProtocolSettings>,
    /// How the address of a client is found; it is the connection's when unset.
    #[serde(default, rename = "clientIPDetection", skip_serializing_if = "Option::is_none")]
    pub client_ip_detection: Option<ClientIpDetectionSettings>,
    /// TLS of listeners that end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTlsSettings>,
    /// How paths of requests are made uniform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathSettings>,
    /// How headers are treated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeaderSettings>,
    /// Time limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<ClientTimeout>,
    /// Limits of connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ClientConnection>,
    /// HTTP/1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http1: Option<Http1Settings>,
    /// HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<Http2Settings>,
    /// HTTP/3 is offered on the port of each HTTPS listener.
    /// Envoy: a second `Listener` with `udp_listener_config.quic_options`, and the response header `alt-svc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http3: Option<Http3Settings>,
    /// gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcSettings>,
    /// A path at which the proxy itself answers, so that others know that it is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheckSettings>,
    /// Which scheme backends are told; the client's by default.
    /// Envoy: `HttpConnectionManager.scheme_header_transformation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<SchemeHeaderTransform>,
}

options! {
    /// The PROXY protocol.
    ProxyProtocolSettings {
        /// Whether connections without it are taken as well; false by default.
        /// Envoy: `ProxyProtocol.allow_requests_without_proxy_protocol`.
        optional: bool,
    }
    /// How the address of a client is found.
    #[x_kube(validation = (
        "[has(self.xForwardedFor), has(self.customHeader), has(self.directSourceIP)].filter(x, x).size() == 1",
        "exactly one of xForwardedFor, customHeader and directSourceIP must be set"
    ))]
    ClientIpDetectionSettings {
        /// By the header `X-Forwarded-For`.
        /// Envoy: `HttpConnectionManager.original_ip_detection_extensions`
        /// (`envoy.http.original_ip_detection.xff`).
        x_forwarded_for: XForwardedForSettings,
        /// By a header that holds the address alone.
        /// Envoy: `HttpConnectionManager.original_ip_detection_extensions`
        /// (`envoy.http.original_ip_detection.custom_header`).
        custom_header: CustomHeaderSettings,
        /// By the connection, whatever headers say.
        /// Envoy: `HttpConnectionManager.use_remote_address`.
        #[serde(rename = "directSourceIP")]
        direct_source_ip: DirectSourceIpSettings,
    }
    /// Which addresses of `X-Forwarded-For` are trusted.
    #[x_kube(validation = (
        "(has(self.numTrustedHops) && !has(self.trustedCIDRs)) || (!has(self.numTrustedHops) && has(self.trustedCIDRs))",
        "exactly one of numTrustedHops and trustedCIDRs must be set"
    ))]
    XForwardedForSettings {
        /// Proxies before this one that are trusted, the last one of them being the connection's peer.
        /// Envoy: `XffConfig.xff_num_trusted_hops`, one less.
        num_trusted_hops: u32,
        /// Addresses of proxies that are trusted.
        /// Envoy: `XffConfig.xff_trusted_cidrs`.
        #[serde(rename = "trustedCIDRs")]
        #[schemars(length(min = 1), inner(regex(pattern = CIDR)))]
        trusted_cidrs: Vec<String>,
        /// Whether the header goes to backends without the connection's address; false by default.
        /// Envoy: `XffConfig.skip_xff_append`.
        disable_x_forwarded_for_append: bool,
    }
    /// The connection's address counts.
    DirectSourceIpSettings {}
    /// How paths of requests are made uniform, before a route is chosen.
    PathSettings {
        /// What becomes of `%2F`, `%2f`, `%5C` and `%5c` in paths; `UnescapeAndRedirect` by default.
        /// Envoy: `HttpConnectionManager.path_with_escaped_slashes_action`.
        escaped_slashes_action: PathEscapedSlashAction,
        /// Whether several slashes in a row are left as they are; false by default.
        /// Envoy: `HttpConnectionManager.merge_slashes`, the other way round.
        disable_merge_slashes: bool,
    }
    /// Time limits.
    ClientTimeout {
        /// Of connections.
        tcp: TcpClientTimeout,
        /// Of HTTP.
        http: HttpClientTimeout,
    }
    /// Time limits of connections.
    TcpClientTimeout {
        /// Time without traffic after which a connection of a TCP or TLS listener is closed; `1h` by default.
        /// Envoy: `TcpProxy.idle_timeout`.
        idle_timeout: Duration,
        /// Time for the TLS handshake; unlimited by default.
        /// Envoy: `FilterChain.transport_socket_connect_timeout`.
        tls_handshake_timeout: Duration,
        /// Time until what chooses the listener is known, such as the server name; `15s` by default.
        /// Envoy: `Listener.listener_filters_timeout`.
        connection_inspection_timeout: Duration,
    }
    /// Time limits of HTTP.
    HttpClientTimeout {
        /// Time until the whole request is there; unlimited by default.
        /// Envoy: `HttpConnectionManager.request_timeout`.
        request_received_timeout: Duration,
        /// Time until the headers of a request are there; unlimited when unset or 0.
        /// Envoy: `HttpConnectionManager.request_headers_timeout`.
        request_headers_received_timeout: Duration,
        /// Time without requests after which a connection is closed; `1h` by default.
        /// Envoy: `HttpConnectionManager.common_http_protocol_options.idle_timeout`.
        idle_timeout: Duration,
        /// Time without traffic after which a stream is reset; `5m` by default.
        /// Envoy: `HttpConnectionManager.stream_idle_timeout`.
        stream_idle_timeout: Duration,
    }
    /// Limits of connections.
    #[x_kube(validation = ("!has(self.closeDelay) || has(self.value)", "closeDelay needs value"))]
    ConnectionLimit {
        /// Connections at once.
        /// Envoy: network filter `envoy.filters.network.connection_limit`, `ConnectionLimit.max_connections`.
        #[schemars(range(min = 1))]
        value: i64,
        /// Time before a connection above the limit is closed; none by default.
        /// Envoy: `ConnectionLimit.delay`.
        close_delay: Duration,
        /// Time after which a connection is drained; none by default.
        /// Envoy: `HttpConnectionManager.common_http_protocol_options.max_connection_duration`.
        max_connection_duration: Duration,
        /// Requests that a connection is used for; no limit by default.
        /// Envoy: `HttpConnectionManager.common_http_protocol_options.max_requests_per_connection`.
        max_requests_per_connection: u32,
        /// Time after which a stream is reset; none by default.
        /// Envoy: `HttpConnectionManager.common_http_protocol_options.max_stream_duration`.
        max_stream_duration: Duration,
    }
    /// HTTP/1.
    Http1Settings {
        /// Whether trailers are read and sent on; false by default.
        /// Envoy: `Http1ProtocolOptions.enable_trailers`, towards backends as well.
        enable_trailers: bool,
        /// Whether names of headers keep their case, both ways; false by default.
        /// Envoy: `Http1ProtocolOptions.header_key_format`, towards backends as well.
        preserve_header_case: bool,
        /// HTTP/1.0 is taken as well.
        /// Envoy: `Http1ProtocolOptions.accept_http_10`, towards backends as well.
        http10: Http10Settings,
        /// Whether a connection may be closed at once when `maxConnectionDuration` is over, without telling the client
        /// with a response before; false by default.
        /// Envoy: `HttpConnectionManager.http1_safe_max_connection_duration`, the other way round.
        disable_safe_max_connection_duration: bool,
        /// Values of the header `Upgrade` for which the request is treated as one without it.
        /// Envoy: `Http1ProtocolOptions.ignore_http_11_upgrade`.
        ignored_upgrade_types: Vec<StringMatch>,
    }
    /// HTTP/1.0.
    Http10Settings {
        /// Whether requests without a host are for the listener's own; false by default.
        /// Envoy: `Http1ProtocolOptions.default_host_for_http_10`.
        use_default_host: bool,
    }
    /// HTTP/3.
    Http3Settings {}
    /// gRPC.
    GrpcSettings {
        /// Whether gRPC-Web is translated to gRPC; by default on listeners with GRPCRoutes.
        /// Envoy: HTTP filter `envoy.filters.http.grpc_web`.
        enable_web: bool,
    }
}

choices! {
    /// What becomes of escaped slashes in paths.
    PathEscapedSlashAction {
        /// They stay.
        KeepUnchanged,
        /// The request is refused with status 400.
        RejectRequest,
        /// They become slashes.
        UnescapeAndForward,
        /// The client is sent to the path in which they are slashes.
        UnescapeAndRedirect,
    }
    /// Which scheme backends are told.
    SchemeHeaderTransform {
        /// The client's.
        Preserve,
        /// That of the connection to the backend.
        MatchBackend,
    }
}

/// A range of addresses, such as `10.0.0.0/8` or `2001:db8::/32`. Whether its numbers are in bounds is for translation to
/// judge.
const CIDR: &str = r"^(([0-9]{1,3}\.){3}[0-9]{1,3}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)/[0-9]{1,3}$";

/// A header that holds the address of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomHeaderSettings {
    /// Name of the header.
    /// Envoy: `CustomHeaderConfig.header_name`.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub name: String,
    /// Whether requests without a valid address there are refused with status 403; false by default.
    /// Envoy: `CustomHeaderConfig.reject_with_status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_closed: Option<bool>,
}

/// Limits of connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientConnection {
    /// Limits of their number and life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<ConnectionLimit>,
    /// Bytes that are buffered for a connection before it is read no further; 32768 by default.
    /// Envoy: `Listener.per_connection_buffer_limit_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_limit: Option<Quantity>,
    /// Bytes that the kernel buffers for a connection, each way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_buffer_limit: Option<Quantity>,
    /// Connections that a worker takes from the kernel each time that it looks; 0 for all that are there.
    /// Envoy: `Listener.max_connections_to_accept_per_socket_event`.
    #[serde(default = "one")]
    pub max_accept_per_socket_event: Option<u32>,
}

fn one() -> Option<u32> {
    Some(1)
}

/// A path at which the proxy itself answers with status 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckSettings {
    /// The path, which must be equal.
    /// Envoy: HTTP filter `envoy.filters.http.health_check`, `HealthCheck.headers`.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
}
