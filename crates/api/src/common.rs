//! Building blocks that several kinds share: references, selectors, conditions, the status of routes.

use std::{collections::BTreeMap, ops::Deref};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::text::{
    Duration, GatewayController, Group, HttpHeaderName, HttpHeaderValue, Kind, Namespace, ObjectName,
    SectionName,
};

/// API group of Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

pub(crate) fn gateway_group() -> Group {
    GATEWAY_GROUP.into()
}

pub(crate) fn gateway_kind() -> Kind {
    "Gateway".into()
}

fn core_group() -> Group {
    Group::default()
}

fn service_kind() -> Kind {
    "Service".into()
}

fn secret_kind() -> Kind {
    "Secret".into()
}

pub(crate) fn one() -> i32 {
    1
}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

/// What a route attaches to: a Gateway or ListenerSet, perhaps one listener or port of it, or (for meshes) a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// API group of the parent.
    #[serde(default = "gateway_group")]
    pub group: Group,
    /// Kind of the parent.
    #[serde(default = "gateway_kind")]
    pub kind: Kind,
    /// Namespace of the parent; the route's own when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Name of the parent.
    pub name: ObjectName,
    /// Name of one listener (or Service port) of the parent; all of them when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<SectionName>,
    /// Port of the listeners to attach to; any port when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// Which Gateways a route takes when it names no parent, and which routes a Gateway takes so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GatewayDefaultScope {
    /// Every default Gateway.
    All,
    /// None.
    None,
}

/// A reference to a backend without a weight, as mirrors and external authorization use it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
    "a reference to a Service must name a port"
))]
#[serde(rename_all = "camelCase")]
pub struct BackendObjectReference {
    /// API group of the backend; empty for the core group.
    #[serde(default = "core_group")]
    pub group: Group,
    /// Kind of the backend.
    #[serde(default = "service_kind")]
    pub kind: Kind,
    /// Name of the backend.
    pub name: ObjectName,
    /// Namespace of the backend; the referrer's own when unset. Another namespace must consent by a ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Port of the backend. Required for a Service, where it is the Service's port and not the pods'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// A backend with its share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendRef {
    /// The backend.
    #[serde(flatten)]
    pub reference: BackendObjectReference,
    /// Share of the traffic, relative to the sum of all weights of the rule; 0 sends none.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
}

impl Deref for BackendRef {
    type Target = BackendObjectReference;

    /// Go embeds the reference; so its fields are at hand here too.
    fn deref(&self) -> &BackendObjectReference {
        &self.reference
    }
}

/// A reference to a Secret or an object like it, such as a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretObjectReference {
    /// API group; empty for the core group.
    #[serde(default = "core_group")]
    pub group: Group,
    /// Kind.
    #[serde(default = "secret_kind")]
    pub kind: Kind,
    /// Name.
    pub name: ObjectName,
    /// Namespace; the referrer's own when unset. Another namespace must consent by a ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
}

/// A reference to an object in the referrer's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalObjectReference {
    /// API group; empty for the core group.
    pub group: Group,
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: ObjectName,
}

/// A reference to any object, in any namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// API group; empty for the core group.
    pub group: Group,
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: ObjectName,
    /// Namespace; the referrer's own when unset. Another namespace must consent by a ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
}

/// A kind of route that a listener takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteGroupKind {
    /// API group of the route.
    #[serde(default = "gateway_group")]
    pub group: Group,
    /// Kind of the route.
    pub kind: Kind,
}

/// A choice of objects by their labels: all requirements must hold; an empty selector takes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LabelSelector {
    /// Labels that must be there with exactly this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on single labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelectorRequirement {
    /// Key of the label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values for `In` and `NotIn`; empty for the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// A header with its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    /// Name of the header.
    pub name: HttpHeaderName,
    /// Value of the header.
    pub value: HttpHeaderValue,
}

/// Changes to the headers of a request or a response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeaderFilter {
    /// Headers to overwrite, or to add when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub set: Vec<HttpHeader>,
    /// Headers to add to those already there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add: Vec<HttpHeader>,
    /// Names of headers to remove, without regard to case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<String>,
}

/// A part of a whole: `numerator` of `denominator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.numerator <= self.denominator", "numerator must not be above denominator"))]
#[serde(rename_all = "camelCase")]
pub struct Fraction {
    /// The part.
    #[schemars(range(min = 0))]
    pub numerator: i32,
    /// The whole.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1))]
    pub denominator: i32,
}

/// A number as a fraction, which may be above 1: `numerator` / `denominator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ratio {
    /// What is divided.
    #[schemars(range(min = 1))]
    pub numerator: i32,
    /// By what.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1))]
    pub denominator: i32,
}

fn hundred() -> i32 {
    100
}

/// Keeps a client's requests on one backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.cookieConfig) || !has(self.cookieConfig.lifetimeType) || self.cookieConfig.lifetimeType != 'Permanent' || has(self.absoluteTimeout)",
    "a Permanent cookie needs absoluteTimeout"
))]
#[x_kube(validation = (
    "!has(self.cookieConfig) || self.type == 'Cookie'",
    "cookieConfig is for sessions of type Cookie only"
))]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// Name of the cookie or header; chosen by the implementation when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub session_name: Option<String>,
    /// How long a session lasts at most; without end when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
    /// What carries the session.
    #[serde(default)]
    pub type_: SessionPersistenceType,
    /// Settings of the cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_config: Option<CookieConfig>,
}

/// What carries a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SessionPersistenceType {
    /// A cookie that the gateway sets.
    #[default]
    Cookie,
    /// A header that the client repeats.
    Header,
}

/// Settings of a session cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// How long the client keeps the cookie.
    #[serde(default)]
    pub lifetime_type: CookieLifetimeType,
}

/// How long a client keeps a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CookieLifetimeType {
    /// Until the session's `absoluteTimeout`.
    Permanent,
    /// Until the client ends its own session.
    #[default]
    Session,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known yet.
    Unknown,
}

/// One aspect of the state of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Time of the last change of `status`.
    #[schemars(schema_with = "date_time")]
    pub last_transition_time: Time,
    /// A sentence for people.
    #[schemars(length(max = 32768))]
    pub message: String,
    /// `metadata.generation` of the object that the condition was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Why, in one CamelCase word.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"))]
    pub reason: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// What it is about, such as `Accepted`.
    #[schemars(
        length(max = 316),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
        )
    )]
    pub type_: String,
}

impl Condition {
    /// The condition that stands in a new object until a controller has looked at it.
    pub(crate) fn waiting(type_: &str) -> Condition {
        Condition {
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            message: "Waiting for controller".to_owned(),
            observed_generation: None,
            reason: "Pending".to_owned(),
            status: ConditionStatus::Unknown,
            type_: type_.to_owned(),
        }
    }
}

pub(crate) fn date_time(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "format": "date-time" })
}

/// What a controller thinks of a route with regard to one parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// The parent, as the route names it.
    pub parent_ref: ParentReference,
    /// The controller that wrote this entry.
    pub controller_name: GatewayController,
    /// `Accepted`, `ResolvedRefs` and others.
    #[schemars(length(min = 1, max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Status of a route of any kind: one entry per parent and controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// Entries by parent.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub parents: Vec<RouteParentStatus>,
}

/// `parentRefs` of a route of any kind: at most 32, told apart by section name or port when the parent is the same.
pub(crate) fn parent_refs(generator: &mut SchemaGenerator) -> Schema {
    const TOLD_APART: &str = "self.all(p1, self.all(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.__namespace__) || p1.__namespace__ == '') && (!has(p2.__namespace__) || p2.__namespace__ == '')) || (has(p1.__namespace__) && has(p2.__namespace__) && p1.__namespace__ == p2.__namespace__)) ? ((!has(p1.sectionName) || p1.sectionName == '') == (!has(p2.sectionName) || p2.sectionName == '') && (!has(p1.port) || p1.port == 0) == (!has(p2.port) || p2.port == 0)): true))";
    const UNIQUE: &str = "self.all(p1, self.exists_one(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.__namespace__) || p1.__namespace__ == '') && (!has(p2.__namespace__) || p2.__namespace__ == '')) || (has(p1.__namespace__) && has(p2.__namespace__) && p1.__namespace__ == p2.__namespace__ )) && (((!has(p1.sectionName) || p1.sectionName == '') && (!has(p2.sectionName) || p2.sectionName == '')) || ( has(p1.sectionName) && has(p2.sectionName) && p1.sectionName == p2.sectionName)) && (((!has(p1.port) || p1.port == 0) && (!has(p2.port) || p2.port == 0)) || (has(p1.port) && has(p2.port) && p1.port == p2.port))))";
    schemars::json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": generator.subschema_for::<ParentReference>(),
        "x-kubernetes-list-type": "atomic",
        "x-kubernetes-validations": [
            {
                "rule": TOLD_APART,
                "message": "references to the same parent must all name a sectionName or port, or none of them"
            },
            {
                "rule": UNIQUE,
                "message": "sectionName or port must be unique among references to the same parent"
            }
        ]
    })
}
