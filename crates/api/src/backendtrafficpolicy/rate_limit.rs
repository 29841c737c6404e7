//! Limits of requests in a time.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    config::declare::{choices, options},
    httproute::{HttpMethod, PathMatchType},
};

options! {
    /// Limits of requests in a time. Both kinds may be there at once.
    RateLimitSpec {
        /// Which of the two kinds counts alone. Deprecated: leave the other one out.
        #[serde(rename = "type")]
        type_: RateLimitType,
        /// Limits of all proxies together, which a rate-limit service keeps.
        /// Envoy: HTTP filter `envoy.filters.http.ratelimit`.
        global: GlobalRateLimit,
        /// Limits of each proxy by itself.
        /// Envoy: HTTP filter `envoy.filters.http.local_ratelimit`.
        local: LocalRateLimit,
    }
    /// What requests and responses count for.
    RateLimitCost {
        /// What a request counts for; 1 by default.
        request: RateLimitCostSpecifier,
        /// What a response counts for, in addition, when it has been sent; nothing by default.
        response: RateLimitCostSpecifier,
    }
    /// Which requests a rule is for: all that is set must hold.
    #[x_kube(validation = (
        "has(self.headers) || has(self.methods) || has(self.path) || has(self.sourceCIDR) || has(self.queryParams)",
        "one of headers, methods, path, sourceCIDR and queryParams must be set"
    ))]
    RateLimitSelectCondition {
        /// Headers, all of which must match.
        /// Envoy: `RateLimit.Action.header_value_match`; `request_headers` for `Distinct`.
        #[schemars(length(max = 128))]
        headers: Vec<RateLimitHeaderMatch>,
        /// Methods, one of which must match.
        /// Envoy: `RateLimit.Action.header_value_match` of `:method`.
        methods: Vec<RateLimitMethodMatch>,
        /// The path.
        /// Envoy: `RateLimit.Action.header_value_match` of `:path`.
        path: RateLimitPathMatch,
        /// The client's address.
        /// Envoy: `RateLimit.Action.masked_remote_address`; `remote_address` for `Distinct`.
        #[serde(rename = "sourceCIDR")]
        source_cidr: RateLimitSourceMatch,
        /// Parameters of the query, all of which must match.
        /// Envoy: `RateLimit.Action.query_parameter_value_match`; `query_parameters` for `Distinct`.
        #[schemars(length(max = 16))]
        query_params: Vec<RateLimitQueryParamMatch>,
    }
}

choices! {
    /// Where limits are kept.
    RateLimitType {
        /// By a service, for all proxies together.
        Global,
        /// By each proxy.
        Local,
    }
    /// Headers of responses that tell of limits.
    XRateLimitHeadersOption {
        /// None.
        Off,
        /// As the third draft of IETF's `RateLimit` headers has them, with `X-` before.
        DraftVersion03,
    }
    /// Where a cost comes from.
    RateLimitCostFrom {
        /// It is given.
        Number,
        /// Metadata that an earlier filter of the proxy has set.
        Metadata,
    }
    /// How a header or a parameter of the query counts.
    RateLimitMatchType {
        /// It has this value.
        Exact,
        /// A regular expression matches its value (RE2 syntax).
        RegularExpression,
        /// Each value has a limit of its own.
        Distinct,
    }
    /// How the client's address counts.
    SourceMatchType {
        /// All addresses share the limit.
        Exact,
        /// Each address has a limit of its own.
        Distinct,
    }
    /// A time that requests are counted in.
    RateLimitUnit {
        /// A second.
        Second,
        /// A minute.
        Minute,
        /// An hour.
        Hour,
        /// A day.
        Day,
        /// Seven days.
        Week,
        /// Thirty days.
        Month,
        /// 365 days.
        Year,
    }
}

/// Limits of all proxies together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GlobalRateLimit {
    /// The limits; a request must keep to all that are for it.
    #[schemars(length(max = 256))]
    pub rules: Vec<RateLimitRule>,
}

/// Limits of each proxy by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRateLimit {
    /// The limits. One of them may be for all requests; the others are for those that they select.
    #[schemars(length(max = 16))]
    #[x_kube(validation = (
        "self.all(r, !has(r.cost) || !has(r.cost.response))",
        "cost.response is not for local limits"
    ))]
    #[x_kube(validation = (
        "self.all(r, !has(r.limit.fromMetadata))",
        "limit.fromMetadata is not for local limits"
    ))]
    pub rules: Vec<RateLimitRule>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitRule {
    /// Which requests it is for: those that all of these take; all requests when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub client_selectors: Vec<RateLimitSelectCondition>,
    /// The limit.
    pub limit: RateLimitValue,
    /// What requests and responses count for; each request for 1 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<RateLimitCost>,
    /// Whether all routes that the policy is for count together; each counts by itself by default. For
    /// global limits alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// Whether requests beyond the limit are counted only, and not refused; false by default.
    /// Envoy: `LocalRateLimit.filter_enforced`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow_mode: Option<bool>,
    /// Headers of responses that tell of the limit; the listener's when unset.
    /// Envoy: `LocalRateLimit.enable_x_ratelimit_headers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_rate_limit_headers: Option<XRateLimitHeadersOption>,
}

/// What a request or response counts for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!(has(self.number) && has(self.metadata))",
    "number and metadata must not both be set"
))]
#[serde(rename_all = "camelCase")]
pub struct RateLimitCostSpecifier {
    /// Which of the fields below counts.
    pub from: RateLimitCostFrom,
    /// The number; with 0 the limit is looked at, but nothing is counted.
    /// Envoy: `RateLimit.hits_addend.number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The metadata.
    /// Envoy: `RateLimit.hits_addend.format`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RateLimitCostMetadata>,
}

/// Metadata that a cost comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitCostMetadata {
    /// Its namespace.
    pub namespace: String,
    /// Its key.
    pub key: String,
}

/// Requests in a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitValue {
    /// The requests, or what they count for.
    /// Envoy: `TokenBucket.max_tokens`, `tokens_per_fill`.
    #[schemars(range(min = 0, max = 4_294_967_295_u32), extend("format" = "int64"))]
    pub requests: u32,
    /// The time.
    /// Envoy: `TokenBucket.fill_interval`.
    pub unit: RateLimitUnit,
    /// Metadata that holds the limit of a request, in place of `requests` and `unit` where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_metadata: Option<RateLimitValueMetadata>,
}

/// Metadata that a limit comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitValueMetadata {
    /// Its namespace.
    #[schemars(length(min = 1))]
    pub namespace: String,
    /// Its key.
    #[schemars(length(min = 1))]
    pub key: String,
}

/// A header of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitHeaderMatch {
    /// How it counts.
    #[serde(default = "exact")]
    pub type_: RateLimitMatchType,
    /// Its name; case does not count.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Its value; unset for type `Distinct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Whether other values are meant; not for type `Distinct`.
    #[serde(default)]
    pub invert: bool,
}

/// A parameter of the query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitQueryParamMatch {
    /// How it counts.
    #[serde(default = "exact")]
    pub type_: RateLimitMatchType,
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Its value; unset for type `Distinct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Whether other values are meant; not for type `Distinct`.
    #[serde(default)]
    pub invert: bool,
}

fn exact() -> RateLimitMatchType {
    RateLimitMatchType::Exact
}

/// A method of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitMethodMatch {
    /// The method.
    pub value: HttpMethod,
    /// Whether other methods are meant.
    #[serde(default)]
    pub invert: bool,
}

/// The path of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitPathMatch {
    /// How it is compared.
    #[serde(default = "prefix")]
    pub type_: PathMatchType,
    /// What it is compared with.
    #[serde(default = "root")]
    #[schemars(length(max = 1024))]
    pub value: String,
    /// Whether other paths are meant.
    #[serde(default)]
    pub invert: bool,
}

fn prefix() -> PathMatchType {
    PathMatchType::PathPrefix
}

fn root() -> String {
    "/".to_owned()
}

/// The client's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitSourceMatch {
    /// Whether addresses share the limit.
    #[serde(default = "shared")]
    pub type_: SourceMatchType,
    /// Addresses as a range, such as `192.168.0.0/24`.
    #[schemars(length(min = 1, max = 256))]
    pub value: String,
    /// Whether other addresses are meant.
    #[serde(default)]
    pub invert: bool,
}

fn shared() -> SourceMatchType {
    SourceMatchType::Exact
}
