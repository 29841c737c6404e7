//! BackendTrafficPolicy: how proxies talk to the backends of routes (Envoy Gateway's kind).

mod limits;
mod rate_limit;
mod response;

pub use limits::*;
pub use rate_limit::*;
pub use response::*;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clustersettings::ClusterSettings,
    common::Fraction,
    config::declare::options,
    envoyproxy::{CustomTag, MergeType, RoutingType},
    policy::{PolicyStatus, PolicyTargetReferences},
    text::Quantity,
};

/// How proxies talk to the backends of routes. The policy for a rule goes before that for its route, which goes before
/// those for listeners and Gateways.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gateway.envoyproxy.io",
    version = "v1alpha1",
    kind = "BackendTrafficPolicy",
    plural = "backendtrafficpolicies",
    namespaced
)]
#[kube(
    status = "PolicyStatus",
    shortname = "btp",
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
    "has(self.targetRef) ? self.targetRef.group == 'gateway.networking.k8s.io' : true ",
    "targetRef.group must be gateway.networking.k8s.io"
))]
#[x_kube(validation = (
    "has(self.targetRef) ? self.targetRef.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute', 'UDPRoute', 'TCPRoute', 'TLSRoute'] : true",
    "targetRef.kind must be Gateway, ListenerSet, HTTPRoute, GRPCRoute, TCPRoute, UDPRoute or TLSRoute"
))]
#[x_kube(validation = (
    "has(self.targetRefs) ? self.targetRefs.all(ref, ref.group == 'gateway.networking.k8s.io') : true ",
    "the group of each of targetRefs must be gateway.networking.k8s.io"
))]
#[x_kube(validation = (
    "has(self.targetRefs) ? self.targetRefs.all(ref, ref.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute', 'UDPRoute', 'TCPRoute', 'TLSRoute']) : true ",
    "the kind of each of targetRefs must be Gateway, ListenerSet, HTTPRoute, GRPCRoute, TCPRoute, UDPRoute or TLSRoute"
))]
#[x_kube(validation = (
    "!has(self.mergeType) || ((!has(self.targetRef) || self.targetRef.kind in ['HTTPRoute', 'GRPCRoute', 'UDPRoute', 'TCPRoute', 'TLSRoute']) && (!has(self.targetRefs) || self.targetRefs.all(ref, ref.kind in ['HTTPRoute', 'GRPCRoute', 'UDPRoute', 'TCPRoute', 'TLSRoute'])) && (!has(self.targetSelectors) || self.targetSelectors.all(sel, sel.kind in ['HTTPRoute', 'GRPCRoute', 'UDPRoute', 'TCPRoute', 'TLSRoute'])))",
    "mergeType is for policies that target routes only"
))]
#[x_kube(validation = (
    "!has(self.compression) || !has(self.compressor)",
    "compression and compressor must not both be set"
))]
#[x_kube(validation = (
    "!has(self.requestBuffer) || !has(self.httpUpgrade) || self.httpUpgrade.size() == 0",
    "requestBuffer and httpUpgrade must not both be set"
))]
#[x_kube(validation = (
    "!has(self.admissionControl) || ((!has(self.targetRef) || self.targetRef.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute']) && (!has(self.targetRefs) || self.targetRefs.all(ref, ref.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute'])) && (!has(self.targetSelectors) || self.targetSelectors.all(sel, sel.kind in ['Gateway', 'ListenerSet', 'HTTPRoute', 'GRPCRoute'])))",
    "admissionControl is for policies that target Gateways, ListenerSets, HTTPRoutes and GRPCRoutes only"
))]
#[x_kube(validation = (
    "!((has(self.connection) && has(self.connection.preconnect) && has(self.connection.preconnect.predictivePercent)) && !(has(self.loadBalancer) && has(self.loadBalancer.type) && self.loadBalancer.type in ['Random', 'RoundRobin']))",
    "connection.preconnect.predictivePercent needs a loadBalancer of type Random or RoundRobin"
))]
#[serde(rename_all = "camelCase")]
pub struct BackendTrafficPolicySpec {
    /// What the policy is for.
    #[serde(flatten)]
    pub targets: PolicyTargetReferences,
    /// How proxies talk to the backends.
    #[serde(flatten)]
    pub cluster: ClusterSettings,
    /// How the policy goes together with the closest one of a listener, ListenerSet or Gateway that the route is
    /// attached to. When unset, that one has no effect on the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_type: Option<MergeType>,
    /// Limits of requests in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitSpec>,
    /// Limits of bytes in a time.
    /// Envoy: HTTP filter `envoy.filters.http.bandwidth_limit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_limit: Option<BandwidthLimitSpec>,
    /// Delays and errors made on purpose.
    /// Envoy: HTTP filter `envoy.filters.http.fault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_injection: Option<FaultInjection>,
    /// Requests refused at random while too many fail.
    /// Envoy: HTTP filter `envoy.filters.http.admission_control` of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission_control: Option<AdmissionControl>,
    /// Whether backends are spoken to in the version of HTTP that the client speaks; false by default.
    /// Envoy: `HttpProtocolOptions.use_downstream_protocol_config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_client_protocol: Option<bool>,
    /// Compression of responses. Deprecated: use `compressor`.
    /// Envoy: HTTP filters `envoy.filters.http.compressor`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compression: Vec<Compression>,
    /// Compression of responses. Of those that a client likes equally, the first is used.
    /// Envoy: HTTP filters `envoy.filters.http.compressor`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compressor: Vec<Compression>,
    /// Responses that take the place of others; the first that matches is used.
    /// Envoy: HTTP filter `envoy.filters.http.custom_response`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response_override: Vec<ResponseOverride>,
    /// Protocols that connections may be upgraded to; WebSocket by default, none with `requestBuffer`.
    /// Envoy: `RouteAction.upgrade_configs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http_upgrade: Vec<ProtocolUpgradeConfig>,
    /// Requests are sent to backends only when they are there as a whole. It does not go with streams and upgrades.
    /// Envoy: HTTP filter `envoy.filters.http.buffer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_buffer: Option<RequestBuffer>,
    /// Traces and metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<BackendTelemetry>,
    /// Whether requests go to the endpoints of a Service or to its cluster IP; the EnvoyProxy's when unset.
    /// Envoy: endpoints of the `ClusterLoadAssignment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_type: Option<RoutingType>,
}

options! {
    /// Traces and metrics.
    BackendTelemetry {
        /// Traces, in place of the EnvoyProxy's settings.
        tracing: BackendTracing,
        /// Metrics.
        metrics: BackendMetrics,
    }
    /// Metrics of routes.
    BackendMetrics {
        /// Name of the route in statistics, made of text and the tokens `%ROUTE_NAME%`, `%ROUTE_NAMESPACE%` and
        /// `%ROUTE_KIND%`; routes have no statistics of their own when unset.
        /// Envoy: `Route.stat_prefix`; for TCP and TLS routes `TcpProxy.stat_prefix`.
        route_stat_name: String,
    }
    /// How CONNECT requests are treated.
    ConnectConfig {
        /// Whether the proxy ends the tunnel and sends what is in it to the backend as TCP; false by default.
        /// Envoy: `UpgradeConfig.connect_config`.
        terminate: bool,
    }
}

/// Traces of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendTracing {
    /// Share of requests that are traced; all by default.
    /// Envoy: `Route.tracing.random_sampling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_fraction: Option<Fraction>,
    /// Share of requests that are traced because the client asks for it; none by default.
    /// Envoy: `Route.tracing.client_sampling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_sampling_fraction: Option<Fraction>,
    /// Share of requests that are traced at most, whatever the other shares say; all by default.
    /// Envoy: `Route.tracing.overall_sampling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overall_sampling_fraction: Option<Fraction>,
    /// Tags of spans. Deprecated: use `tags`.
    /// Envoy: `Route.tracing.custom_tags`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Tags of spans; values may hold operators of access logs.
    /// Envoy: `Route.tracing.custom_tags`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Names of spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_name: Option<BackendSpanName>,
}

/// Names of spans; they may hold operators of access logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendSpanName {
    /// Of the proxy as a client.
    /// Envoy: `Route.tracing.upstream_operation`.
    pub client: String,
    /// Of the proxy as a server.
    /// Envoy: `Route.tracing.operation`.
    pub server: String,
}

/// A protocol that connections may be upgraded to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("!has(self.connect) || self.type == 'CONNECT'", "connect is for type CONNECT only"))]
#[serde(rename_all = "camelCase")]
pub struct ProtocolUpgradeConfig {
    /// The protocol as in the `Upgrade` header, or `CONNECT`; case does not count.
    /// Envoy: `UpgradeConfig.upgrade_type`; for `CONNECT` also `RouteMatch.connect_matcher`.
    pub type_: String,
    /// How CONNECT requests are treated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<ConnectConfig>,
}

/// How much of a request is buffered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestBuffer {
    /// Bytes of a request at most; longer ones are answered with status 413.
    /// Envoy: `Buffer.max_request_bytes`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub limit: Quantity,
}

fn is_unset(quantity: &Quantity) -> bool {
    quantity.0.is_empty()
}
