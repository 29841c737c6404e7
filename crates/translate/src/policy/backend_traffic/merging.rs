//! Which rules may share clusters: those of whose clusters no policy below the Gateway has a word.

use ir::{
    Kind,
    route::{Rule, Target, WeightedCluster},
    traffic::{Balancing, ClusterTraffic},
};
use serde_json::Value;
use store::{ObjectId, facts};

use super::{KIND, Policies, Traffic, layer4};
use crate::{
    AttachListener, ClusterPlan, Reader, SharedBackend,
    policy::target::holder,
    reader::GatewayTable,
    route::{self as routes, Destination},
    shared::Merging,
};

/// Fields of a BackendTrafficPolicy that say something of clusters. What they say of routes beside it does not matter:
/// a policy with one of them keeps its rules' clusters apart, as with Envoy Gateway.
const OF_CLUSTERS: [&str; 11] = [
    "admissionControl",
    "circuitBreaker",
    "connection",
    "dns",
    "healthCheck",
    "http2",
    "loadBalancer",
    "proxyProtocol",
    "tcpKeepalive",
    "timeout",
    "useClientProtocol",
];

/// By which backends of a rule on a listener share clusters.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    merging: &'a Merging,
    /// The Gateway's policy chooses endpoints by hash, which takes all backends of a rule together.
    hashes: bool,
}

impl Terms<'_> {
    /// Whose cluster a backend shares; `None` for a cluster of the rule's own.
    pub fn shared(&self, destination: &Destination, reader: &mut Reader<'_>) -> Option<SharedBackend> {
        let sharing = destination.sharing.filter(|sharing| sharing.alone || !self.hashes)?;
        self.merging.chooses(sharing.backend, reader).then(|| sharing.with())
    }

    /// The cluster that all backends of a plan share; `None` where there is none.
    pub fn of_all(&self, plan: &ClusterPlan, reader: &mut Reader<'_>) -> Option<SharedBackend> {
        let shared = self.shared(plan.destinations.first()?, reader)?;
        let mut all = plan.destinations.iter();
        all.all(|other| other.sharing.is_some_and(|s| s.with() == shared)).then_some(shared)
    }
}

/// What a Gateway's own policy says of clusters. One that cannot be applied says nothing.
pub fn of_gateway<'a>(
    gateway: ObjectId,
    reader: &mut Reader<'_>,
    policies: Policies<'a>,
) -> Option<&'a Traffic> {
    let policy = holder(KIND, gateway, None, reader)?;
    let version = policies.version(policy, &[], false, reader)?.version;
    version.get::<Traffic>().filter(|_| version.findings.is_empty())
}

/// What clusters that share have of the Gateway's policy; `datagrams` tells that datagrams are sent.
pub fn traffic_of_shared(
    gateway: ObjectId,
    datagrams: bool,
    reader: &mut Reader<'_>,
    policies: Policies<'_>,
) -> ClusterTraffic {
    match of_gateway(gateway, reader, policies).map(|traffic| &traffic.cluster) {
        None => ClusterTraffic::default(),
        // Checks and limits are for connections.
        Some(said) if datagrams => ClusterTraffic {
            load_balancer: said.load_balancer.clone(),
            dns: said.dns.clone(),
            routing: said.routing,
            ..ClusterTraffic::default()
        },
        Some(said) => said.clone(),
    }
}

/// By which terms a rule of a route on a listener shares clusters; `None` when it has clusters of its own.
pub fn terms<'a>(
    rule: (ObjectId, Option<&str>),
    listener: &'a AttachListener,
    reader: &mut Reader<'_>,
    (gateways, policies): (GatewayTable<'_>, Policies<'_>),
) -> Option<Terms<'a>> {
    let merging = listener.on_routes.merging.as_deref()?;
    let narrower = narrower(rule, listener, reader)?;
    let of_gateway = of_gateway(listener.gateway, reader, policies);
    if narrower && differs(rule, listener, of_gateway, reader, (gateways, policies)) {
        return None;
    }
    let balancer = of_gateway.and_then(|traffic| traffic.cluster.load_balancer.as_ref());
    let hashes = balancer.is_some_and(|b| matches!(b.rule, Balancing::ConsistentHash { .. }));
    Some(Terms { merging, hashes })
}

/// Whether policies narrower than the Gateway's apply to a rule; `None` when one of them says something of clusters, or
/// is for the route and goes in the place of the Gateway's, whatever it says.
fn narrower(
    (route, rule): (ObjectId, Option<&str>),
    listener: &AttachListener,
    reader: &mut Reader<'_>,
) -> Option<bool> {
    let of_rule = rule.and_then(|rule| holder(KIND, route, Some(rule), reader));
    let of_route = of_rule.or_else(|| holder(KIND, route, None, reader));
    if let Some(policy) = of_route.and_then(|policy| reader.policy(policy))
        && (policy.merge.is_none() || says_of_clusters(policy))
    {
        return None;
    }
    for scope in listener.scopes() {
        if scope.object == listener.gateway && scope.section.is_none() {
            break;
        }
        let Some(policy) = holder(KIND, scope.object, scope.section.as_deref(), reader) else { continue };
        return reader.policy(policy).is_none_or(|policy| !says_of_clusters(policy)).then_some(true);
    }
    Some(of_route.is_some())
}

fn says_of_clusters(policy: &facts::Policy) -> bool {
    OF_CLUSTERS.iter().any(|field| policy.document.get(field).is_some_and(|said| *said != Value::Null))
}

/// Whether a rule's clusters would have other settings than the Gateway's policy gives to all: a policy that says nothing
/// of clusters may still stand in the place of one that does.
fn differs(
    rule: (ObjectId, Option<&str>),
    listener: &AttachListener,
    of_gateway: Option<&Traffic>,
    reader: &mut Reader<'_>,
    (gateways, policies): (GatewayTable<'_>, Policies<'_>),
) -> bool {
    let kind = reader.kind(rule.0);
    let common = of_gateway.map(|traffic| traffic.cluster.clone()).unwrap_or_default();
    let (own, common) = if kind.and_then(routes::of).is_some_and(|kind| kind.is_layer4()) {
        let datagrams = kind == Some(Kind::UdpRoute);
        let layers = policies.all_of_rule(KIND, rule, listener, reader);
        let own = layer4::merged(&layers, datagrams);
        let of_gateway: Vec<_> =
            layers.last().filter(|_| of_gateway.is_some()).copied().into_iter().collect();
        (own, layer4::merged(&of_gateway, datagrams))
    } else {
        let applied = policies.of_rule(KIND, rule, listener, reader);
        let version = applied.map(|applied| applied.version).filter(|version| version.findings.is_empty());
        let own = version.and_then(|version| version.get::<Traffic>());
        (own.map(|traffic| traffic.cluster.clone()).unwrap_or_default(), common)
    };
    if own == common {
        return false;
    }
    let default = gateways.routing(reader, listener.gateway);
    let resolved = |traffic: ClusterTraffic| {
        let routing = Some(traffic.routing.unwrap_or(default));
        ClusterTraffic { routing, ..traffic }
    };
    resolved(own) != resolved(common)
}

/// Where the requests of a rule go when it shares clusters; `None` when it shares none. Its own clusters stand before
/// those that it shares, as with Envoy Gateway. `by_zone` tells that zones of endpoints count, for which even one cluster
/// has a weight.
pub fn target<'p>(
    target: &Target,
    plans: impl Iterator<Item = &'p ClusterPlan>,
    by_zone: bool,
    terms: &Terms<'_>,
    reader: &mut Reader<'_>,
) -> Option<Target> {
    let plans: Vec<&ClusterPlan> = plans.collect();
    let (entries, missing_status) = match target {
        Target::Cluster(_) => {
            (plans.first()?.destinations.iter().map(weighted).collect::<Vec<WeightedCluster>>(), None)
        }
        Target::Weighted { clusters, missing_status } => (clusters.to_vec(), *missing_status),
    };
    let destinations: Vec<&Destination> = plans.iter().flat_map(|plan| plan.destinations.iter()).collect();
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    for entry in entries {
        let destination = destinations.iter().find(|destination| destination.region == entry.name);
        match destination.and_then(|destination| terms.shared(destination, reader)) {
            Some(backend) => shared.push(WeightedCluster { name: backend.name(reader), ..entry }),
            None => own.push(entry),
        }
    }
    match (&own[..], &shared[..]) {
        (_, []) => None,
        ([], [only]) if !by_zone => Some(Target::Cluster(only.name.clone())),
        _ => {
            own.append(&mut shared);
            Some(Target::Weighted { clusters: own.into(), missing_status })
        }
    }
}

/// A backend with a cluster of its own in a rule.
pub(super) fn weighted(destination: &Destination) -> WeightedCluster {
    WeightedCluster {
        name: destination.region.clone(),
        weight: destination.weight,
        request_headers: Default::default(),
        response_headers: Default::default(),
        host_rewrite: None,
    }
}

/// A rule with another target.
pub(super) fn with_target(rule: &Rule, target: Target) -> Rule {
    let mut rule = rule.clone();
    if let ir::route::Action::Forward(forward) = &mut rule.action {
        forward.target = target;
    }
    rule
}
