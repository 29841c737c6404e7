//! BackendTrafficPolicy: how proxies talk to the backends of routes.

mod balancing;
mod cluster;
pub(crate) mod health;
pub mod layer4;
mod limits;
mod rate_limit;
mod response;
mod route;
pub(crate) mod telemetry;

use std::{borrow::Cow, sync::Arc, time::Duration};

use api::{ClusterSettings, Duration as Text, backendtrafficpolicy::BackendTrafficPolicySpec};
use ir::{
    Kind,
    listener::HttpFilter,
    route::{Action, Rule, Target, WeightedCluster},
    traffic::{ClusterTraffic, RouteTraffic},
};
use patch::{ListMerge, MergeKeys};
use serde_json::Value;

use super::{Policies, PolicyKind, Settings, Source};
use crate::{
    AttachListener, ClusterKey, ClusterPlan, DefaultHosts, Finding, Reader, Slot,
    reader::{AttachTable, GatewayTable, RouteTable},
    route::{self as routes, BackendKind, Destination},
};
pub(super) use cluster::{http2, keepalive};

/// The kind.
pub const KIND: Kind = Kind::BackendTrafficPolicy;

/// What a BackendTrafficPolicy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Of clusters.
    pub cluster: ClusterTraffic,
    /// Of routes.
    pub route: RouteTraffic,
}

impl Traffic {
    /// Whether zones of endpoints count.
    pub fn by_zone(&self) -> bool {
        self.cluster.load_balancer.as_ref().is_some_and(|balancer| balancer.zones.by_zone())
    }
}

/// BackendTrafficPolicy.
pub(super) struct BackendTraffic;

impl PolicyKind for BackendTraffic {
    fn kind(&self) -> Kind {
        KIND
    }

    fn merge_keys(&self) -> &'static dyn MergeKeys {
        &ByType
    }

    fn deprecated(&self, document: &Value) -> Vec<(&'static str, &'static str)> {
        let compression = document.get("compression").is_some();
        if compression { vec![("spec.compression", "spec.compressor")] } else { Vec::new() }
    }

    fn read(&self, source: &Source<'_>, reader: &mut Reader<'_>) -> (Arc<dyn Settings>, Vec<Finding>) {
        let mut findings = Findings::default();
        let traffic = match serde_json::from_value::<BackendTrafficPolicySpec>(source.document.clone()) {
            Ok(spec) => Traffic {
                cluster: cluster::read(&spec, source.policy, reader, &mut findings),
                route: route::read(&spec, source, reader, &mut findings),
            },
            Err(error) => {
                findings.add("spec", format!("the merged policy cannot be read: {error}"));
                Traffic::default()
            }
        };
        (Arc::new(traffic), findings.0)
    }
}

/// Members of some lists are found by their type; all other lists are replaced, as Envoy Gateway's types say.
struct ByType;

impl MergeKeys for ByType {
    fn of(&self, parent: &str, field: &str) -> ListMerge {
        match (parent, field) {
            ("", "compression" | "compressor" | "httpUpgrade") => ListMerge::ByKey("type"),
            _ => ListMerge::Replace,
        }
    }
}

/// What is wrong with a policy.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, field: &str, message: impl std::fmt::Display) {
        self.0.push(Finding::new(field, "Invalid", format!("{field}: {message}")));
    }
}

/// What `backendSettings` say of a cluster that proxies use for requests of their own. `field` is their path.
///
/// # Errors
/// A sentence that names the first field that cannot be used.
pub(crate) fn of_own_cluster(settings: &ClusterSettings, field: &str) -> Result<ClusterTraffic, String> {
    let mut findings = Findings::default();
    let traffic = cluster::of_own(settings, &mut findings);
    match findings.0.first() {
        // Messages begin with the path of a policy's field.
        Some(finding) => Err(finding.message.replacen("spec", field, 1)),
        None => Ok(traffic),
    }
}

/// A share as numerator and denominator; what the schema would have refused counts as none.
pub(crate) fn fraction(fraction: &api::Fraction) -> (u32, u32) {
    let part = u32::try_from(fraction.numerator).unwrap_or_default();
    (part, u32::try_from(fraction.denominator).unwrap_or(1).max(1))
}

/// A span of time; one that the schema would have refused counts as not set.
fn span(text: Option<&Text>) -> Option<Duration> {
    text.and_then(Text::to_std)
}

/// The outputs of earlier stages that tell which policies apply to a route.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// Gateways.
    pub gateways: GatewayTable<'a>,
    /// Routes.
    pub routes: RouteTable<'a>,
    /// Where routes are attached.
    pub attached: AttachTable<'a>,
    /// Policies.
    pub policies: Policies<'a>,
    /// Hostnames of routes.
    pub hosts: DefaultHosts<'a>,
}

/// How listeners of a Gateway use the backends of a rule.
#[derive(Clone, Debug)]
pub struct Use<'a> {
    /// Each backend has a cluster of its own.
    pub split: bool,
    /// What a policy says of the clusters.
    pub traffic: Cow<'a, ClusterTraffic>,
}

/// How the proxies of a Gateway use the clusters of a plan: at most once as a whole and once split. Of several listeners
/// that use them in one way, the first decides, as with Envoy Gateway. A policy that cannot be applied says nothing:
/// requests that it is for are answered with an error.
pub fn uses<'a>(key: ClusterKey, reader: &mut Reader<'_>, tables: Tables<'a>) -> Vec<Use<'a>> {
    let unsaid = || Use { split: false, traffic: Cow::Owned(ClusterTraffic::default()) };
    let Some(plan) = tables.routes.plan(reader, key.plan) else { return Vec::new() };
    let rule = (key.plan.route, plan.section.as_deref());
    let parents = tables.attached.parents(reader, key.plan.route).iter();
    let mut listeners: Vec<&AttachListener> = parents
        .filter(|p| p.fleet == key.fleet)
        .flat_map(|p| p.bindings.iter())
        .filter_map(|binding| tables.gateways.listener(reader, key.fleet, binding.listener))
        .collect();
    listeners.sort_unstable_by_key(|listener| &listener.place);
    listeners.dedup_by_key(|listener| listener.id);
    let kind = reader.kind(key.plan.route).and_then(routes::of);
    if kind.is_some_and(|kind| kind.is_layer4()) {
        let said = listeners.first().map(|listener| {
            let layers = tables.policies.all_of_rule(KIND, rule, listener, reader);
            layer4::merged(&layers, reader.kind(key.plan.route) == Some(Kind::UdpRoute))
        });
        return vec![Use { split: false, traffic: Cow::Owned(said.unwrap_or_default()) }];
    }
    let mut uses: Vec<Use<'a>> = Vec::with_capacity(1);
    // Copies of requests are nobody's traffic.
    let mirror = matches!(key.plan.slot, Slot::Mirror(_));
    for listener in listeners.into_iter().filter(|_| !mirror) {
        let applied = tables.policies.of_rule(KIND, rule, listener, reader);
        let version = applied.map(|applied| applied.version).filter(|version| version.findings.is_empty());
        let this = match version.and_then(|version| version.get::<Traffic>()) {
            Some(traffic) => Use {
                split: key.plan.slot == Slot::Rule && splits(traffic, plan),
                traffic: Cow::Borrowed(&traffic.cluster),
            },
            None => unsaid(),
        };
        if uses.iter().all(|other| other.split != this.split) {
            uses.push(this);
        }
    }
    if uses.is_empty() {
        uses.push(unsaid());
    }
    uses
}

/// Whether each backend of a plan has a cluster of its own: zones count within a backend, weights between backends, and
/// a cluster has one weight for a locality. Backends that stand in for others must share the others' cluster.
pub fn splits(traffic: &Traffic, plan: &ClusterPlan) -> bool {
    let plain = |d: &Destination| d.priority == 0 && d.kind != BackendKind::DynamicResolver;
    traffic.by_zone() && plan.destinations.iter().all(plain)
}

/// HTTP filters that a listener needs for what a policy says of a rule.
pub fn filters(traffic: &RouteTraffic, rule: &Rule) -> impl Iterator<Item = HttpFilter> + use<> {
    let forwards = matches!(rule.action, Action::Forward(_));
    let bandwidth = &traffic.bandwidth;
    let plain = [
        traffic.responses.clone().map(HttpFilter::CustomResponse),
        traffic.fault.map(|_| HttpFilter::Fault),
        traffic.buffer.map(HttpFilter::Buffer),
        traffic.local_limit.as_ref().filter(|_| forwards).map(|_| HttpFilter::LocalRateLimit),
        bandwidth.request.map(|_| HttpFilter::RequestBandwidth),
        bandwidth.response.as_ref().map(|_| HttpFilter::ResponseBandwidth),
    ];
    plain.into_iter().flatten().chain(traffic.compressors.clone().into_iter().map(HttpFilter::Compressor))
}

/// A rule as it is served where each of its backends has a cluster of its own.
pub fn split(rule: &Rule, plan: &ClusterPlan) -> Rule {
    let mut rule = rule.clone();
    if let Action::Forward(forward) = &mut rule.action {
        let clusters = plan.destinations.iter().map(|destination| WeightedCluster {
            name: destination.region.clone(),
            weight: destination.weight,
            request_headers: Default::default(),
            response_headers: Default::default(),
            host_rewrite: None,
        });
        forward.target = Target::Weighted { clusters: clusters.collect(), missing_status: None };
    }
    rule
}
