//! Rules of HTTP requests: matches, filters, backends.

use std::sync::Arc;

use ir::{
    Kind, Metadata, ObjectRef,
    listener::HttpFilter,
    route::{Action, Forward, Mirror, Retry, Rule, SessionPersistence, Target},
};
use store::{
    ObjectId,
    facts::{self, Meta, ParentRef},
};

use super::{
    BackendKind, ClusterPlan, Destination, Origin, RouteFindings, RouteOutput, Slot, backends,
    filters::{self as route_filters, Filters},
    matches,
    resolve::{Referrer, Resolved, Speaks, resolve},
};
use crate::{Finding, GatewayTable, Reader, TlsPart, policy::backend_traffic::Reach};

/// Translates the rules of one route; `speaks` tells what its requests are.
pub(super) fn translate(
    meta: &Meta,
    (rules, parents): (&[facts::Rule], &[ParentRef]),
    speaks: Speaks,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
) -> RouteOutput {
    let object = reader.object(meta.id);
    let mut work = Work {
        prefix: super::rule_prefix(&object),
        object: &object,
        meta,
        parents,
        gateways,
        speaks,
        plans: Vec::new(),
        policies: Vec::new(),
        findings: RouteFindings::default(),
    };
    let mut served = Vec::with_capacity(rules.len());
    for (index, rule) in (0u16..).zip(rules) {
        match work.rule(index, rule, reader) {
            Ok(rule) => served.push(Arc::new(rule)),
            Err(finding) => work.findings.dropped.push((index, finding)),
        }
    }
    let Work { plans, mut policies, mut findings, .. } = work;
    policies.sort_unstable();
    policies.dedup();
    let over_tls = plans.iter().filter(|plan| plan.destinations.iter().any(|d| d.tls.is_some()));
    let mut over_tls: Vec<TlsPart> = over_tls.map(TlsPart::of).collect();
    over_tls.dedup();
    findings.all_dropped = served.is_empty() && !findings.dropped.is_empty();
    RouteOutput {
        origin: Origin { created: meta.created, generation: meta.generation },
        object,
        rules: served.into(),
        rule_names: rules.iter().filter_map(|rule| rule.name.clone()).collect(),
        layer4: None,
        plans: plans.into(),
        policies: policies.into(),
        over_tls: over_tls.into(),
        findings,
    }
}

/// HTTP filters that listeners need for a rule of a route of this kind.
pub fn filters(rule: &Rule, kind: Kind) -> impl Iterator<Item = HttpFilter> {
    let forward = match &rule.action {
        Action::Forward(forward) => Some(forward),
        _ => None,
    };
    [
        (rule.cors.is_some(), HttpFilter::Cors),
        (forward.is_some_and(|forward| forward.session.is_some()), HttpFilter::SessionPersistence),
        (forward.is_some_and(|forward| forward.dynamic_host), HttpFilter::LoopbackGuard),
        (kind == Kind::GrpcRoute, HttpFilter::GrpcWeb),
        (kind == Kind::GrpcRoute, HttpFilter::GrpcStatistics),
    ]
    .into_iter()
    .filter_map(|(needed, filter)| needed.then_some(filter))
}

/// Translation of one route in progress.
struct Work<'a> {
    prefix: String,
    object: &'a ObjectRef,
    meta: &'a Meta,
    parents: &'a [ParentRef],
    gateways: GatewayTable<'a>,
    speaks: Speaks,
    plans: Vec<ClusterPlan>,
    policies: Vec<ObjectId>,
    findings: RouteFindings,
}

impl Work<'_> {
    /// A rule as it refers to backends.
    fn referrer<'r>(&'r self, rule: Option<&'r str>) -> Referrer<'r> {
        let (parents, gateways) = (self.parents, self.gateways);
        Referrer {
            object: self.object,
            namespace: self.meta.namespace,
            speaks: self.speaks,
            reach: Some(Reach { route: self.meta.id, rule, parents, gateways }),
        }
    }

    /// One rule; an error is why it is not served at all.
    fn rule(&mut self, index: u16, rule: &facts::Rule, reader: &mut Reader<'_>) -> Result<Rule, Finding> {
        matches::check(index, rule, self.speaks)?;
        let metadata = Metadata {
            object: self.object.clone(),
            section: rule.name.clone(),
            annotations: self.meta.annotations.clone(),
        };
        let mut filters = route_filters::of_rule(index, &rule.filters);
        let mirrors = self.mirrors((index, &rule.name), &filters, &rule.filters, reader);
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
                Action::Forward(Box::new(Forward {
                    dynamic_host: self.dynamic_host(index),
                    websocket: self.speaks == Speaks::Http,
                    ..forward
                }))
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
        (index, section): (u16, &Option<Arc<str>>),
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
            let resolved = resolve(&self.referrer(section.as_deref()), backend, 1, None, reader);
            let finding =
                |reason, message| Finding::new(field, reason, format!("Mirror of rule {index}: {message}"));
            let (destination, protocol, zones) = match resolved {
                Ok(Resolved { destination, protocol, zones, warning }) => {
                    self.findings.warnings.extend(warning.map(|w| finding(w.reason, w.message)));
                    (destination, protocol, zones)
                }
                Err(problem) => {
                    self.policies.extend(problem.policy);
                    let finding = finding(problem.reason, problem.message);
                    if problem.unavailable {
                        &mut self.findings.unavailable
                    } else {
                        &mut self.findings.unresolved
                    }
                    .push(finding);
                    continue;
                }
            };
            self.policies.extend(destination.policy());
            let name: Arc<str> = format!("{}{index}-mirror-{i}", self.prefix).into();
            self.plans.push(ClusterPlan {
                rule: index,
                section: section.clone(),
                slot: Slot::Mirror(i),
                name: name.clone(),
                metadata: None,
                protocol,
                zones,
                // Copies are counted apart from what is answered.
                destinations: [Destination {
                    region: format!("{name}/backend/-1").into(),
                    sharing: None,
                    ..destination
                }]
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
        let backends = backends::of_rule(
            &self.referrer(rule.name.as_deref()),
            (index, rule.session.is_some()),
            &rule.backends,
            &base,
            reader,
        );
        self.findings.unresolved.extend(backends.unresolved);
        self.findings.unavailable.extend(backends.unavailable);
        self.findings.warnings.extend(backends.warnings);
        self.policies.extend(backends.policies);
        let (target, clusters) = backends.plan?;
        self.plans.extend(clusters.into_iter().map(|cluster| ClusterPlan {
            rule: index,
            section: metadata.section.clone(),
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
        retry: rule
            .retry
            .as_ref()
            .map(|retry| Retry { per_try_timeout: timeouts.backend_request, ..retry.clone() }),
        session: rule.session.as_ref().map(|session| SessionPersistence {
            name: session.name.clone().unwrap_or_else(|| {
                format!(
                    "{}-{}-{}-rule-{index}",
                    object.kind.name().to_lowercase(),
                    object.namespace,
                    object.name
                )
                .into()
            }),
            carrier: session.carrier.clone(),
        }),
        // Set by whoever knows the requests and the destinations.
        websocket: false,
        dynamic_host: false,
    }
}
