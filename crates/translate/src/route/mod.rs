//! Stage 2: routes by themselves, free of listeners and hosts: their rules, and the clusters that they need.
//!
//! A kind of routes is one module here that implements [`RouteKind`], and one line in [`KINDS`]. What kinds have in
//! common stands beside them: backends of all, rules of those that route HTTP requests.

mod backends;
mod filters;
mod grpc;
mod http;
mod layer4;
mod matches;
mod resolve;
mod rules;

use std::sync::Arc;

use ir::{
    Kind, Metadata, ObjectRef,
    cluster::{Protocol, Zones},
    listener::TcpTarget,
    route::Rule,
};
use store::{
    NameId, ObjectId,
    facts::{Meta, ParentRef},
};

use crate::{Finding, GatewayTable, Reader, TlsPart};
pub use resolve::{BackendKind, Destination};
pub(crate) use resolve::{of_backend, resolve_own};
pub use rules::filters;

/// A kind of routes.
///
/// Which protocols of listeners it goes with is Gateway API's matter for all kinds at once, built or not: see
/// `gateway::listener::Protocol::kinds`.
pub trait RouteKind: Sync {
    /// The kind.
    fn kind(&self) -> Kind;

    /// What decides where a route attaches. `None` when it does not exist.
    fn head<'a>(&self, id: ObjectId, reader: &mut Reader<'a>) -> Option<Head<'a>>;

    /// True for routes of connections or datagrams: they decide on filter chains of listeners, not on virtual hosts.
    fn is_layer4(&self) -> bool {
        false
    }

    /// Why a route attaches nowhere, whatever its parents admit.
    fn unattachable(&self, _id: ObjectId, _reader: &mut Reader<'_>) -> Option<Finding> {
        None
    }

    /// Translates a route. `None` when it does not exist. Gateways have no say in it but for Services that are there by
    /// their cluster IP alone.
    fn translate(
        &self,
        id: ObjectId,
        reader: &mut Reader<'_>,
        gateways: GatewayTable<'_>,
    ) -> Option<RouteOutput>;
}

/// The kinds of routes that are built.
const KINDS: &[&dyn RouteKind] =
    &[&http::HttpRoute, &grpc::GrpcRoute, &layer4::TLS_ROUTE, &layer4::TCP_ROUTE, &layer4::UDP_ROUTE];

/// What stages need to know of a kind of routes; `None` for kinds that are no routes.
pub fn of(kind: Kind) -> Option<&'static dyn RouteKind> {
    KINDS.iter().copied().find(|route| route.kind() == kind)
}

/// What decides where a route attaches: all kinds have these parts alike.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Common part of the fact.
    pub meta: &'a Meta,
    /// `spec.parentRefs`.
    pub parents: &'a [ParentRef],
    /// `spec.hostnames`; empty for any, and for kinds that have none.
    pub hostnames: &'a [NameId],
}

/// Translates one route. `None` when it does not exist.
pub fn unit(id: ObjectId, reader: &mut Reader<'_>, gateways: GatewayTable<'_>) -> Option<RouteOutput> {
    of(reader.kind(id)?)?.translate(id, reader, gateways)
}

/// How names of a route's clusters begin: `httproute/<namespace>/<name>/rule/`.
fn rule_prefix(object: &ObjectRef) -> String {
    format!("{}/{}/{}/rule/", object.kind.name().to_lowercase(), object.namespace, object.name)
}

/// What the route stage says of one route. Parts that different readers look at are kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteOutput {
    /// The route.
    pub object: ObjectRef,
    /// Common part of the fact.
    pub origin: Origin,
    /// Rules of HTTP requests that are served, in the order of the spec.
    pub rules: Box<[Arc<Rule>]>,
    /// Names of all rules that have one, in the order of the spec: policies are for rules by name.
    pub rule_names: Box<[Arc<str>]>,
    /// What a route of connections or datagrams does with them; `None` for routes of requests, and when no rule is left.
    pub layer4: Option<Layer4>,
    /// Clusters that they need.
    pub plans: Box<[ClusterPlan]>,
    /// BackendTLSPolicies that have a say in them, ascending.
    pub policies: Box<[ObjectId]>,
    /// What of it reaches a backend over TLS, each part once.
    pub over_tls: Box<[TlsPart]>,
    /// What is wrong.
    pub findings: RouteFindings,
}

/// What a route does with connections or datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer4 {
    /// Name of its filter chains: `tcproute/<namespace>/<name>`.
    pub name: Arc<str>,
    /// Name of its rule; `None` for a TLSRoute, whose rules are one.
    pub section: Option<Arc<str>>,
    /// Where to.
    pub target: TcpTarget,
    /// Where to from listeners that pass TLS through, if that differs: TLS of ours is never put around the client's.
    pub passed_through: Option<TcpTarget>,
}

/// Age and generation of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Creation time in seconds; the older route wins ties.
    pub created: i64,
    /// `metadata.generation`.
    pub generation: i64,
}

/// What is wrong with the rules of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteFindings {
    /// References that do not resolve: `ResolvedRefs` is false.
    pub unresolved: Vec<Finding>,
    /// Backends without endpoints: `BackendsAvailable` is false.
    pub unavailable: Vec<Finding>,
    /// Rules that are not served, by index: `PartiallyInvalid`, or `Accepted` false when no rule is left.
    pub dropped: Vec<(u16, Finding)>,
    /// What is served and yet deserves a word: problems without a condition.
    pub warnings: Vec<Finding>,
    /// True when no rule is left.
    pub all_dropped: bool,
}

/// Which cluster of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// The one cluster of all backends.
    Rule,
    /// The cluster of one backend, by its index in `backendRefs`.
    Backend(u16),
    /// The cluster of one mirror, by its index in `filters`.
    Mirror(u16),
    /// The one cluster of all backends of a TLSRoute, for listeners that pass TLS through.
    PassedThrough,
}

/// A cluster that a rule needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPlan {
    /// Index of the rule.
    pub rule: u16,
    /// Name of the rule.
    pub section: Option<Arc<str>>,
    /// Which of its clusters.
    pub slot: Slot,
    /// Name in xDS.
    pub name: Arc<str>,
    /// The route, with the rule's name; `None` for mirrors.
    pub metadata: Option<Metadata>,
    /// Protocol towards the backends.
    pub protocol: Protocol,
    /// Spread over zones.
    pub zones: Zones,
    /// The backends.
    pub destinations: Box<[Destination]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_routes_has_its_line() {
        for kind in Kind::ALL.iter().copied() {
            assert_eq!(of(kind).is_some(), kind.is_route(), "{kind}");
        }
    }
}
