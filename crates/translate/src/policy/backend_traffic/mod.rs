//! BackendTrafficPolicy: how proxies talk to the backends of routes.

mod balancing;
mod cluster;
pub(crate) mod health;
pub mod layer4;
mod limits;
pub mod merging;
mod rate_limit;
mod response;
mod route;
mod routing;
pub(crate) mod telemetry;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api::{ClusterSettings, Duration as Text, backendtrafficpolicy::BackendTrafficPolicySpec};
use ir::{
    Kind,
    listener::HttpFilter,
    route::{Action, Rule, Target},
    traffic::{ClusterTraffic, HealthChecker, RouteTraffic},
};
use patch::{ListMerge, MergeKeys};
use serde_json::Value;
use store::ObjectId;

use super::{AtRoute, Policies, PolicyKind, Settings, Source, Version};
use crate::{
    AttachListener, Binding, ClusterPlan, DefaultHosts, Finding, PlanKey, Reader, SharedBackend, Slot,
    destination,
    reader::{AttachTable, GatewayTable, RouteTable},
    route::{self as routes, BackendKind, Destination},
};
pub(super) use cluster::{http2, keepalive};
pub(crate) use routing::Reach;

/// The kind.
pub const KIND: Kind = Kind::BackendTrafficPolicy;

/// Reason of `Warning` for health checks that backends cannot be asked for.
const UNSUPPORTED_HEALTH_CHECK: &str = "UnsupportedHealthCheck";

/// What a BackendTrafficPolicy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Of clusters.
    pub cluster: ClusterTraffic,
    /// Of routes.
    pub route: RouteTraffic,
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

    fn read(&self, source: &Source, reader: &mut Reader<'_>) -> (Arc<dyn Settings>, Vec<Finding>) {
        let mut findings = Findings::default();
        let traffic = match serde_json::from_value::<BackendTrafficPolicySpec>(Value::clone(&source.document))
        {
            Ok(spec) => Traffic {
                cluster: cluster::read(&spec, source.policy(), reader, &mut findings),
                route: route::read(&spec, source, reader, &mut findings),
            },
            Err(error) => {
                findings.add("spec", format!("the merged policy cannot be read: {error}"));
                Traffic::default()
            }
        };
        (Arc::new(traffic), findings.0)
    }

    fn tell_apart(&self, versions: &mut BTreeMap<Box<[ObjectId]>, Version>, reader: &Reader<'_>) {
        response::tell_apart(versions, reader);
    }

    fn in_vain(
        &self,
        version: &Version,
        at: AtRoute<'_>,
        routes: RouteTable<'_>,
        reader: &mut Reader<'_>,
    ) -> Vec<(&'static str, String)> {
        let Some(traffic) = version.get::<Traffic>() else { return Vec::new() };
        if !matches!(
            traffic.cluster.active_health.as_ref().map(|check| &check.checker),
            Some(HealthChecker::Grpc { .. })
        ) {
            return Vec::new();
        }
        let named = |plan: &ClusterPlan, rule: &str| plan.section.as_deref() == Some(rule);
        let ours = |plan: &&ClusterPlan| match at.rule {
            Some(rule) => named(plan, rule),
            None => !at.others.iter().any(|other| named(plan, other)),
        };
        let without = routes.plans(reader, at.route).filter(ours);
        let without = without.filter(|plan| destination::lacks_http2_for_checks(plan, &traffic.cluster));
        let backends: BTreeSet<String> = (without.flat_map(|plan| plan.destinations.iter()))
            .filter_map(|d| d.metadata.as_ref())
            .map(|backend| {
                format!("{} {}/{}", backend.object.kind, backend.object.namespace, backend.object.name)
            })
            .collect();
        if backends.is_empty() {
            return Vec::new();
        }
        let backends = backends.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!(
            "spec.healthCheck.active: checks by gRPC need HTTP/2, so {backends} is not checked; set appProtocol kubernetes.io/h2c where the backend speaks it, or use type HTTP or TCP"
        );
        vec![(UNSUPPORTED_HEALTH_CHECK, message)]
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

/// How the proxies of a fleet use the backends of a plan.
#[derive(Clone, Debug, Default)]
pub struct Uses<'a> {
    /// Clusters of the rule's own.
    pub own: Vec<Own<'a>>,
    /// Backends whose clusters it shares; one may be here more than once.
    pub shared: Vec<SharedBackend>,
}

/// A cluster of a rule's own.
#[derive(Clone, Debug)]
pub struct Own<'a> {
    /// The backend that it is for, by its index; `None` for all.
    pub backend: Option<usize>,
    /// What a policy says of it.
    pub traffic: Cow<'a, ClusterTraffic>,
    /// The first listener that uses it, with the hosts that the route answers there.
    pub on: Option<(&'a AttachListener, &'a Binding)>,
}

/// How the proxies of a fleet use the clusters of a plan: as a whole, split, not at all. Of several listeners that use a
/// cluster, the first decides, as with Envoy Gateway. A policy that cannot be applied says nothing: requests that it is
/// for are answered with an error. Empty when the route no longer needs the plan.
pub fn uses<'a>(fleet: ObjectId, key: PlanKey, reader: &mut Reader<'_>, tables: Tables<'a>) -> Uses<'a> {
    let mut uses = Uses::default();
    let Some(plan) = tables.routes.plan(reader, key) else { return uses };
    // Copies of requests are nobody's traffic.
    let mirror = matches!(key.slot, Slot::Mirror(_));
    let rule = (key.route, plan.section.as_deref());
    for on in listeners(fleet, key.route, reader, tables) {
        let listener = on.0;
        let terms = if mirror || key.slot == Slot::PassedThrough {
            None
        } else {
            merging::terms(rule, listener, reader, (tables.gateways, tables.policies))
        };
        let shared = terms.map(|terms| shared(&terms, plan, rule.0, reader)).unwrap_or_default();
        let apart: Vec<usize> =
            (0..plan.destinations.len()).filter(|i| shared.get(*i) != Some(&true)).collect();
        let backends = plan.destinations.iter().zip(&shared).filter(|(_, shared)| **shared);
        uses.shared.extend(backends.filter_map(|(d, _)| Some(d.sharing?.with())));
        if apart.is_empty() && !plan.destinations.is_empty() {
            continue;
        }
        let traffic = if mirror { Cow::default() } else { traffic(rule, listener, reader, tables) };
        let split =
            apart.len() < plan.destinations.len() || (key.slot == Slot::Rule && splits(&traffic, plan));
        let backends = if split { apart.into_iter().map(Some).collect() } else { vec![None] };
        for backend in backends {
            if uses.own.iter().all(|other| other.backend != backend) {
                uses.own.push(Own { backend, traffic: traffic.clone(), on: Some(on) });
            }
        }
    }
    if uses.own.is_empty() && uses.shared.is_empty() {
        uses.own.push(Own { backend: None, traffic: Cow::default(), on: None });
    }
    uses
}

/// The listeners of a fleet that a route is on, in their order, each with the hosts that the route answers there.
fn listeners<'a>(
    fleet: ObjectId,
    route: ObjectId,
    reader: &mut Reader<'_>,
    tables: Tables<'a>,
) -> Vec<(&'a AttachListener, &'a Binding)> {
    let parents = tables.attached.parents(reader, route);
    let bindings = parents.iter().filter(|p| p.fleet == fleet).flat_map(|p| p.bindings.iter());
    let mut listeners: Vec<(&AttachListener, &Binding)> =
        bindings.filter_map(|b| Some((tables.gateways.listener(reader, fleet, b.listener)?, b))).collect();
    listeners.sort_by_key(|(listener, _)| &listener.place);
    listeners.dedup_by_key(|(listener, _)| listener.id);
    listeners
}

/// Which backends of a plan share clusters, by index. What a route of connections or datagrams takes goes to one
/// cluster: that of all its backends, or its own.
fn shared(
    terms: &merging::Terms<'_>,
    plan: &ClusterPlan,
    route: ObjectId,
    reader: &mut Reader<'_>,
) -> Vec<bool> {
    if is_layer4(route, reader) {
        return vec![terms.of_all(plan, reader).is_some(); plan.destinations.len()];
    }
    plan.destinations.iter().map(|destination| terms.shared(destination, reader).is_some()).collect()
}

fn is_layer4(route: ObjectId, reader: &Reader<'_>) -> bool {
    reader.kind(route).and_then(routes::of).is_some_and(|kind| kind.is_layer4())
}

/// What policies say of the clusters of a rule on a listener.
fn traffic<'a>(
    rule: (ObjectId, Option<&str>),
    listener: &AttachListener,
    reader: &mut Reader<'_>,
    tables: Tables<'a>,
) -> Cow<'a, ClusterTraffic> {
    if is_layer4(rule.0, reader) {
        let layers = tables.policies.all_of_rule(KIND, rule, listener, reader);
        return Cow::Owned(layer4::merged(&layers, reader.kind(rule.0) == Some(Kind::UdpRoute)));
    }
    let applied = tables.policies.of_rule(KIND, rule, listener, reader);
    let version = applied.map(|applied| applied.version).filter(|version| version.findings.is_empty());
    match version.and_then(|version| version.get::<Traffic>()) {
        Some(traffic) => Cow::Borrowed(&traffic.cluster),
        None => Cow::default(),
    }
}

/// Whether each backend of a plan has a cluster of its own: zones count within a backend, weights between backends, and
/// a cluster has one weight for a locality. Backends that stand in for others must share the others' cluster.
fn splits(traffic: &ClusterTraffic, plan: &ClusterPlan) -> bool {
    let plain = |d: &Destination| d.priority == 0 && d.kind != BackendKind::DynamicResolver;
    by_zone(traffic) && plan.destinations.iter().all(plain)
}

/// Whether zones of endpoints count.
fn by_zone(traffic: &ClusterTraffic) -> bool {
    traffic.load_balancer.as_ref().is_some_and(|balancer| balancer.zones.by_zone())
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

/// A rule as it is served on a listener, where its clusters are others than the route by itself has; `None` where they
/// are not. `said` is what a policy says of the rule.
pub fn served(
    rule: &Rule,
    said: Option<&Traffic>,
    (route, listener): (ObjectId, &AttachListener),
    reader: &mut Reader<'_>,
    (gateways, table, policies): (GatewayTable<'_>, RouteTable<'_>, Policies<'_>),
) -> Option<Rule> {
    let Action::Forward(forward) = &rule.action else { return None };
    let by_zone = said.is_some_and(|said| by_zone(&said.cluster));
    if listener.on_routes.merging.is_some() {
        let section = (route, rule.metadata.section.as_deref());
        if let Some(terms) = merging::terms(section, listener, reader, (gateways, policies)) {
            let plans = table.plans_of(reader, route, rule.index);
            if let Some(target) = merging::target(&forward.target, plans, by_zone, &terms, reader) {
                return Some(merging::with_target(rule, target));
            }
        }
    }
    if !by_zone || !matches!(forward.target, Target::Cluster(_)) {
        return None;
    }
    let plan = table.plan(reader, PlanKey { route, rule: rule.index, slot: Slot::Rule })?;
    let clusters = || plan.destinations.iter().map(merging::weighted).collect();
    splits(&said?.cluster, plan)
        .then(|| merging::with_target(rule, Target::Weighted { clusters: clusters(), missing_status: None }))
}
