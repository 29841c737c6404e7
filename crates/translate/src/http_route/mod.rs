//! Stage 4: the rules of an HTTPRoute, free of listeners and hosts, and the clusters that they need.

mod backends;
mod filters;
mod matches;

use std::{sync::Arc, time::Duration};

use ir::{
    Kind, Metadata, ObjectRef,
    cluster::{Protocol, Zones},
    listener::HttpFeatures,
    route::{Action, Forward, Mirror, Retry, Rule, SessionPersistence, Target},
};
use store::{ObjectId, facts};

use crate::{Finding, Reader};
pub use backends::{BackendKind, Destination};
use filters::Filters;

/// HTTP connections that are idle for an hour are closed; streams of a route with a timeout get at least as long.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// What the route stage says of one route. Parts that different readers look at are kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteOutput {
    /// The route.
    pub object: ObjectRef,
    /// Common part of the fact.
    pub origin: Origin,
    /// Rules that are served, in the order of the spec.
    pub rules: Box<[Arc<Rule>]>,
    /// Clusters that they need.
    pub plans: Box<[ClusterPlan]>,
    /// HTTP filters that listeners need for them.
    pub features: HttpFeatures,
    /// What is wrong.
    pub findings: RouteFindings,
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
}

/// A cluster that a rule needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPlan {
    /// Index of the rule.
    pub rule: u16,
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

/// Translates the rules of one route. `None` when it does not exist.
pub fn unit(id: ObjectId, reader: &mut Reader<'_>) -> Option<RouteOutput> {
    let route = reader.http_route(id)?;
    let object = reader.object(id);
    let mut work = Work {
        prefix: format!("httproute/{}/{}/rule/", object.namespace, object.name),
        object: &object,
        route,
        plans: Vec::new(),
        findings: RouteFindings::default(),
    };
    let mut rules = Vec::with_capacity(route.rules.len());
    for (index, rule) in (0u16..).zip(route.rules.iter()) {
        match work.rule(index, rule, reader) {
            Ok(rule) => rules.push(Arc::new(rule)),
            Err(finding) => work.findings.dropped.push((index, finding)),
        }
    }
    let Work { plans, mut findings, .. } = work;
    findings.all_dropped = rules.is_empty() && !findings.dropped.is_empty();
    Some(RouteOutput {
        features: features(&rules),
        origin: Origin { created: route.meta.created, generation: route.meta.generation },
        object,
        rules: rules.into(),
        plans: plans.into(),
        findings,
    })
}

fn features(rules: &[Arc<Rule>]) -> HttpFeatures {
    let forwards = || {
        rules.iter().filter_map(|rule| match &rule.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        })
    };
    HttpFeatures {
        cors: rules.iter().any(|rule| rule.cors.is_some()),
        session_persistence: forwards().any(|forward| forward.session.is_some()),
        dynamic_forward_proxy: forwards().any(|forward| forward.dynamic_host),
    }
}

/// Translation of one route in progress.
struct Work<'a> {
    prefix: String,
    object: &'a ObjectRef,
    route: &'a facts::HttpRoute,
    plans: Vec<ClusterPlan>,
    findings: RouteFindings,
}

impl Work<'_> {
    /// One rule; an error is why it is not served at all.
    fn rule(&mut self, index: u16, rule: &facts::Rule, reader: &mut Reader<'_>) -> Result<Rule, Finding> {
        matches::check(index, rule)?;
        let metadata = Metadata {
            object: self.object.clone(),
            section: rule.name.clone(),
            annotations: self.route.meta.annotations.clone(),
        };
        let mut filters = filters::of_rule(index, &rule.filters);
        let mirrors = self.mirrors(index, &filters, &rule.filters, reader);
        self.findings.unresolved.append(&mut filters.unresolved);
        if let Some(dropped) = filters.dropped.take() {
            return Err(dropped);
        }
        let target = self.target(index, rule, &metadata, reader);
        let action = match (filters.direct, filters.redirect.take(), target) {
            (Some(status), _, _) => Action::Direct { status },
            (None, Some(redirect), _) => Action::Redirect(redirect),
            (None, None, Err(status)) => Action::Direct { status },
            (None, None, Ok(target)) => {
                let forward = forward(rule, target, mirrors, &mut filters, self.object, index);
                Action::Forward(Box::new(Forward { dynamic_host: self.dynamic_host(index), ..forward }))
            }
        };
        Ok(Rule {
            index,
            metadata,
            matches: rule.matches.clone(),
            action,
            request_headers: filters.request_headers,
            response_headers: filters.response_headers,
            cors: filters.cors,
        })
    }

    /// Mirrors are backends like any other: resolved, watched and made into clusters in the same way.
    fn mirrors(
        &mut self,
        index: u16,
        filters: &Filters,
        facts: &[facts::Filter],
        reader: &mut Reader<'_>,
    ) -> Vec<Mirror> {
        let mut mirrors = Vec::new();
        if filters.redirect.is_some() || filters.direct.is_some() || filters.dropped.is_some() {
            return mirrors;
        }
        for (i, filter) in (0u16..).zip(facts) {
            let facts::Filter::Mirror { backend, fraction } = filter else { continue };
            let field = format!("spec.rules[{index}].filters[{i}].requestMirror.backendRef");
            let resolved = backends::resolve(self.route, self.object, backend, 1, None, reader);
            let (destination, protocol, zones) = match resolved {
                Ok(resolved) => resolved,
                Err(problem) => {
                    let finding = Finding::new(
                        field,
                        problem.reason,
                        format!("Mirror of rule {index}: {}", problem.message),
                    );
                    if problem.unavailable {
                        &mut self.findings.unavailable
                    } else {
                        &mut self.findings.unresolved
                    }
                    .push(finding);
                    continue;
                }
            };
            let name: Arc<str> = format!("{}{index}-mirror-{i}", self.prefix).into();
            self.plans.push(ClusterPlan {
                rule: index,
                slot: Slot::Mirror(i),
                name: name.clone(),
                metadata: None,
                protocol,
                zones,
                destinations: [Destination { region: format!("{name}/backend/-1").into(), ..destination }]
                    .into(),
            });
            let (numerator, denominator) = fraction.map_or((None, 100), |(n, d)| (Some(n), d));
            mirrors.push(Mirror { cluster: name, numerator, denominator });
        }
        mirrors
    }

    /// Where requests of a rule go, or the status that answers them instead.
    fn target(
        &mut self,
        index: u16,
        rule: &facts::Rule,
        metadata: &Metadata,
        reader: &mut Reader<'_>,
    ) -> Result<Target, u16> {
        let base = format!("{}{index}", self.prefix);
        let backends = backends::of_rule(self.route, self.object, index, rule, &base, reader);
        self.findings.unresolved.extend(backends.unresolved);
        self.findings.unavailable.extend(backends.unavailable);
        let (target, clusters) = backends.plan?;
        self.plans.extend(clusters.into_iter().map(|cluster| ClusterPlan {
            rule: index,
            slot: cluster.slot,
            name: cluster.name,
            metadata: Some(metadata.clone()),
            protocol: cluster.protocol,
            zones: cluster.zones,
            destinations: cluster.destinations.into(),
        }));
        Ok(target)
    }

    /// True when a rule forwards to whatever host the request names.
    fn dynamic_host(&self, index: u16) -> bool {
        let mut plans = self.plans.iter().filter(|plan| plan.rule == index);
        plans.any(|plan| plan.destinations.iter().any(|d| d.kind == BackendKind::DynamicResolver))
    }
}

fn forward(
    rule: &facts::Rule,
    target: Target,
    mirrors: Vec<Mirror>,
    filters: &mut Filters,
    object: &ObjectRef,
    index: u16,
) -> Forward {
    let timeouts = rule.timeouts;
    // The time for one attempt bounds the request as a whole where there are no further attempts.
    let timeout = match (&rule.retry, timeouts.backend_request) {
        (None, Some(backend)) => Some(backend),
        _ => timeouts.request,
    };
    Forward {
        target,
        host_rewrite: filters.host_rewrite.take(),
        path_rewrite: filters.path_rewrite.take(),
        mirrors: mirrors.into(),
        timeout,
        idle_timeout: timeout.map(|t| if t.is_zero() { t } else { t.max(DEFAULT_IDLE_TIMEOUT) }),
        retry: rule
            .retry
            .as_ref()
            .map(|retry| Retry { per_try_timeout: timeouts.backend_request, ..retry.clone() }),
        session: rule.session.as_ref().map(|session| SessionPersistence {
            name: session.name.clone().unwrap_or_else(|| {
                format!(
                    "{}-{}-{}-rule-{index}",
                    Kind::HttpRoute.name().to_lowercase(),
                    object.namespace,
                    object.name
                )
                .into()
            }),
            carrier: session.carrier.clone(),
        }),
        websocket: true,
        // Set by whoever knows the destinations.
        dynamic_host: false,
    }
}
