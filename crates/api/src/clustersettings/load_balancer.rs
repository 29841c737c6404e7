//! How an endpoint is chosen for a request.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    config::{
        Opaque,
        declare::{choices, options},
    },
    text::Duration,
};

/// How an endpoint is chosen for a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.type == 'ConsistentHash' ? has(self.consistentHash) : !has(self.consistentHash)",
    "consistentHash must be set for type ConsistentHash, and for no other"
))]
#[x_kube(validation = (
    "self.type == 'BackendUtilization' ? has(self.backendUtilization) : !has(self.backendUtilization)",
    "backendUtilization must be set for type BackendUtilization, and for no other"
))]
#[x_kube(validation = (
    "self.type == 'DynamicModule' ? has(self.dynamicModule) : !has(self.dynamicModule)",
    "dynamicModule must be set for type DynamicModule, and for no other"
))]
#[x_kube(validation = (
    "self.type in ['Random', 'ConsistentHash', 'DynamicModule'] ? !has(self.slowStart) : true",
    "slowStart is for types RoundRobin, LeastRequest and BackendUtilization only"
))]
#[x_kube(validation = (
    "self.type == 'ConsistentHash' && has(self.zoneAware) ? !has(self.zoneAware.preferLocal) : true",
    "zoneAware.preferLocal is not for type ConsistentHash; use zoneAware.weightedZones"
))]
#[x_kube(validation = (
    "self.type == 'BackendUtilization' && has(self.zoneAware) ? !has(self.zoneAware.preferLocal) : true",
    "zoneAware.preferLocal is not for type BackendUtilization; use zoneAware.weightedZones"
))]
#[x_kube(validation = (
    "self.type == 'DynamicModule' ? !has(self.zoneAware) : true",
    "zoneAware is not for type DynamicModule"
))]
#[x_kube(validation = (
    "has(self.zoneAware) ? !(has(self.zoneAware.preferLocal) && has(self.zoneAware.weightedZones)) : true",
    "zoneAware.preferLocal and zoneAware.weightedZones must not both be set"
))]
#[x_kube(validation = (
    "self.type == 'DynamicModule' ? !has(self.endpointOverride) : true",
    "endpointOverride is not for type DynamicModule"
))]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancer {
    /// The rule by which endpoints are chosen.
    /// Envoy: the policy of `Cluster.load_balancing_policy`: `maglev`, `least_request`, `random`, `round_robin` or
    /// `client_side_weighted_round_robin`.
    pub type_: LoadBalancerType,
    /// What is hashed, for type `ConsistentHash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,
    /// What endpoints report, for type `BackendUtilization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_utilization: Option<BackendUtilization>,
    /// The module, for type `DynamicModule`. It has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_module: Option<DynamicModuleLbPolicy>,
    /// Endpoints that requests ask for by address; `type` decides where they do not, or the endpoint is not there.
    /// Envoy: `envoy.load_balancing_policies.override_host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_override: Option<EndpointOverride>,
    /// Fewer requests at first for endpoints that are new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
    /// How zones of endpoints count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_aware: Option<ZoneAware>,
}

choices! {
    /// The rule by which endpoints are chosen.
    LoadBalancerType {
        /// By the hash of a part of the request, so that like requests go to the same endpoint.
        ConsistentHash,
        /// The one of two with fewer requests.
        LeastRequest,
        /// At random.
        Random,
        /// In turn.
        RoundRobin,
        /// By the load that endpoints report.
        BackendUtilization,
        /// As a module of the proxy decides.
        DynamicModule,
    }
    /// What is hashed.
    ConsistentHashType {
        /// The client's address.
        SourceIP,
        /// One header. Deprecated: use `Headers`.
        Header,
        /// Headers.
        Headers,
        /// A cookie.
        Cookie,
        /// Parameters of the query.
        QueryParams,
    }
}

/// What is hashed to choose an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.type == 'Header' ? has(self.header) : !has(self.header)",
    "header must be set for type Header, and for no other"
))]
#[x_kube(validation = (
    "self.type == 'Headers' ? has(self.headers) : !has(self.headers)",
    "headers must be set for type Headers, and for no other"
))]
#[x_kube(validation = (
    "self.type == 'Cookie' ? has(self.cookie) : !has(self.cookie)",
    "cookie must be set for type Cookie, and for no other"
))]
#[x_kube(validation = (
    "self.type == 'QueryParams' ? has(self.queryParams) : !has(self.queryParams)",
    "queryParams must be set for type QueryParams, and for no other"
))]
#[serde(rename_all = "camelCase")]
pub struct ConsistentHash {
    /// Which of the fields below counts.
    pub type_: ConsistentHashType,
    /// The header, for type `Header`.
    /// Envoy: `RouteAction.hash_policy.header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HashedName>,
    /// The headers, for type `Headers`.
    /// Envoy: `RouteAction.hash_policy.header`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HashedName>,
    /// The cookie, for type `Cookie`.
    /// Envoy: `RouteAction.hash_policy.cookie`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<HashedCookie>,
    /// The parameters, for type `QueryParams`.
    /// Envoy: `RouteAction.hash_policy.query_parameter`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<HashedName>,
    /// Entries of the table that endpoints share: a prime number.
    /// Envoy: `Maglev.table_size`.
    #[serde(default = "table_size")]
    #[schemars(range(min = 2, max = 5_000_011))]
    pub table_size: u64,
}

fn table_size() -> u64 {
    65_537
}

/// A header, or a parameter of the query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HashedName {
    /// Its name.
    pub name: String,
}

/// A cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HashedCookie {
    /// Its name.
    /// Envoy: `RouteAction.hash_policy.cookie.name`.
    pub name: String,
    /// How long it is kept by clients that the proxy gives one to; clients without the cookie are given none when unset.
    /// Envoy: `RouteAction.hash_policy.cookie.ttl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Further attributes of a cookie that the proxy gives.
    /// Envoy: `RouteAction.hash_policy.cookie.attributes`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// How the load that endpoints report weighs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendUtilization {
    /// Time for which reports of an endpoint must have come before they count; `10s` by default.
    /// Envoy: `ClientSideWeightedRoundRobin.blackout_period`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blackout_period: Option<Duration>,
    /// Time after which a report counts no more; `3m` by default.
    /// Envoy: `ClientSideWeightedRoundRobin.weight_expiration_period`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_expiration_period: Option<Duration>,
    /// Time between changes of weights; `1s` by default.
    /// Envoy: `ClientSideWeightedRoundRobin.weight_update_period`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_update_period: Option<Duration>,
    /// How much errors weigh, in percent: 100 is once.
    /// Envoy: `ClientSideWeightedRoundRobin.error_utilization_penalty`, a hundredth of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_utilization_penalty_percent: Option<u32>,
    /// Reported metrics of which the highest is the load, where the application reports none itself.
    /// Envoy: `ClientSideWeightedRoundRobin.metric_names_for_computing_utilization`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metric_names_for_computing_utilization: Vec<String>,
    /// Whether clients see the headers that reports come in.
    /// Envoy: `Route.response_headers_to_remove`, the other way round.
    #[serde(default)]
    pub keep_response_headers: bool,
    /// Reports on a connection of their own, instead of in headers of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_band: Option<OutOfBandReporting>,
}

options! {
    /// Reports on a connection of their own.
    OutOfBandReporting {
        /// Time between reports; `10s` by default.
        /// Envoy: `ClientSideWeightedRoundRobin.oob_reporting_period`.
        #[x_kube(validation = ("duration(self) > duration('0s')", "reportingPeriod must be above 0"))]
        reporting_period: Duration,
        /// Port of the endpoint that reports; the endpoint's own when unset.
        /// Envoy: `ClientSideWeightedRoundRobin.oob_reporting_config.port_value`.
        #[schemars(range(min = 1, max = 65535))]
        port: i32,
        /// The `:authority` of the request for reports; the name of the cluster when unset.
        /// Envoy: `ClientSideWeightedRoundRobin.oob_reporting_config.authority`.
        #[schemars(length(min = 1, max = 259), regex(pattern = r"^[^\x00\n\r]*$"))]
        authority: String,
    }
    /// How zones of endpoints count.
    ZoneAware {
        /// The proxy's own zone goes first.
        /// Envoy: `LocalityLbConfig.zone_aware_lb_config`.
        prefer_local: PreferLocalZone,
        /// Zones by weight; zones that are not listed have weight 1.
        /// Envoy: `LocalityLbConfig.locality_weighted_lb_config`, `LocalityLbEndpoints.load_balancing_weight`.
        #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["zone"]))]
        weighted_zones: Vec<WeightedZoneConfig>,
    }
    /// When the proxy's own zone goes first.
    PreferLocalZone {
        /// The own zone takes all requests, whatever the share of its endpoints.
        force: ForceLocalZone,
        /// Endpoints in all zones below which zones do not count; 6 by default.
        /// Envoy: `ZoneAwareLbConfig.min_cluster_size`.
        min_endpoints_threshold: u64,
        /// Share of requests for which zones count, in percent; 100 by default.
        /// Envoy: `ZoneAwareLbConfig.routing_enabled`.
        #[schemars(range(min = 0, max = 100))]
        percentage_enabled: u32,
    }
    /// When the own zone takes all requests.
    ForceLocalZone {
        /// Endpoints in the own zone below which it does not; 1 by default.
        /// Envoy: `ZoneAwareLbConfig.force_local_zone.min_size`.
        min_endpoints_in_zone_threshold: u32,
    }
    /// Where a request names the endpoint it wants.
    EndpointOverrideExtractFrom {
        /// A header that holds its address and port.
        /// Envoy: `OverrideHost.override_host_sources.header`.
        header: String,
    }
}

/// A zone with its weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightedZoneConfig {
    /// The zone: label `topology.kubernetes.io/zone` of the endpoints' nodes.
    /// Envoy: `Locality.zone`.
    pub zone: String,
    /// Its share of the requests, relative to those of other zones.
    /// Envoy: `LocalityLbEndpoints.load_balancing_weight`.
    pub weight: u32,
}

/// Endpoints that requests ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointOverride {
    /// Where a request names the endpoint; the first that does counts.
    #[schemars(length(min = 1, max = 10))]
    pub extract_from: Vec<EndpointOverrideExtractFrom>,
}

/// Fewer requests at first for endpoints that are new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowStart {
    /// Time after which an endpoint gets its full share.
    /// Envoy: `SlowStartConfig.slow_start_window`.
    pub window: Duration,
}

/// A module of the proxy that chooses endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DynamicModuleLbPolicy {
    /// Name of the module.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub name: String,
    /// Name of the policy in the module.
    #[schemars(length(min = 1, max = 253))]
    pub lb_policy_name: String,
    /// What the policy is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Opaque>,
}
