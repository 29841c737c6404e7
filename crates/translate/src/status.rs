//! Stage 8: status of each object, from the outputs that xDS is made from.

use std::{borrow::Cow, collections::BTreeSet};

use engine::Counts;
use ir::{
    Condition, ConditionStatus, ObjectRef,
    listener::TcpTarget,
    status::{ListenerStatus, ParametersStatus, ParentReference, ParentStatus, Status, StatusBody},
};
use store::{ObjectId, facts::BackendTlsPolicy};

use crate::{
    AttachOutput, AttachTable, Dep, Finding, GatewayTable, ListenerId, ParentOutput, Reader, RouteOutput,
    RouteTable, Unserved,
    backend_tls::{self, INVALID_BACKEND_TLS},
    gateway::{GatewayConditions, Judge, parameters},
    policy,
    route::RouteFindings,
    trust::Untrusted,
};

/// Status of a GatewayClass. `None` when it does not exist or another controller's. `judge` says whether parameters can
/// be used.
pub fn gateway_class(id: ObjectId, reader: &mut Reader<'_>, judge: Judge) -> Option<Status> {
    let class = reader.gateway_class(id)?;
    if class.controller_name != reader.settings().controller_name {
        return None;
    }
    let object = reader.object(id);
    let invalid = parameters::of_class(class, reader, judge).err();
    let absent = reader.settings().partial_input && parameters::are_absent(class, reader);
    let against = invalid.as_ref().filter(|_| !absent);
    let accepted = accepted(against, "The GatewayClass is valid", class.meta.generation);
    let severity = if absent { ir::Severity::Warning } else { ir::Severity::Error };
    let problems = (invalid.into_iter())
        .map(|finding| ir::Problem { severity, ..problem(&object, "Accepted", finding) })
        .collect();
    let features = crate::features::supported();
    Some(Status { object, body: StatusBody::Class { conditions: vec![accepted], features }, problems })
}

/// `Accepted`, with what stands against it.
fn accepted(finding: Option<&Finding>, message: &str, generation: i64) -> Condition {
    Condition {
        kind: "Accepted",
        status: if finding.is_none() { ConditionStatus::True } else { ConditionStatus::False },
        reason: finding.map_or("Accepted", |finding| finding.reason).into(),
        message: finding.map_or_else(|| message.to_owned(), |finding| finding.message.to_string()),
        observed_generation: generation,
    }
}

/// An error of an object.
pub(crate) fn problem(object: &ObjectRef, condition: &str, finding: Finding) -> ir::Problem {
    ir::Problem {
        object: object.into(),
        field: finding.field,
        severity: ir::Severity::Error,
        condition: condition.to_owned(),
        reason: finding.reason.to_owned(),
        message: finding.message.into_owned(),
    }
}

/// Status of an EnvoyProxy: one entry for each object of ours that refers to it, and thereby says whether it can be
/// used there. `None` when there is none.
pub fn envoy_proxy(
    id: ObjectId,
    reader: &mut Reader<'_>,
    judge: Judge,
    gateways: GatewayTable<'_>,
) -> Option<Status> {
    let proxy = reader.envoy_proxy(id)?;
    let generation = proxy.meta.generation;
    let mut ancestors: Vec<ParametersStatus> = (reader.referrers_of(id).into_iter())
        .filter_map(|referrer| {
            let ancestor = reader.object(referrer);
            let invalid = match reader.gateway_class(referrer) {
                Some(class) if class.controller_name == reader.settings().controller_name => {
                    parameters::of_class(class, reader, judge).err()
                }
                Some(_) => return None,
                None => gateways.invalid_parameters(reader, referrer)?,
            };
            let accepted = accepted(invalid.as_ref(), "The EnvoyProxy is accepted", generation);
            let mut conditions = vec![accepted];
            if proxy.spec.get("luaValidation").is_some() {
                conditions.push(Condition {
                    kind: "Warning",
                    status: ConditionStatus::True,
                    reason: "DeprecatedField".into(),
                    message: "spec.luaValidation is deprecated, use spec.lua.validationType instead"
                        .to_owned(),
                    observed_generation: generation,
                });
            }
            Some(ParametersStatus { ancestor, conditions })
        })
        .collect();
    if ancestors.is_empty() {
        return None;
    }
    ancestors.sort_by(|a, b| a.ancestor.cmp(&b.ancestor));
    Some(Status {
        object: reader.object(id),
        body: StatusBody::Parameters { ancestors },
        problems: Vec::new(),
    })
}

/// Status of a Gateway, from its output and the number of routes on each listener. `None` when it is not ours.
pub fn gateway(
    id: ObjectId,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    attached: &Counts<ListenerId>,
) -> Option<Status> {
    reader.record(Dep::GatewayStatus(id));
    reader.record(Dep::AttachedRoutes(id));
    let output = gateways.gateway(id).filter(|g| g.managed)?;
    let listeners = listener_statuses(&output.status, attached);
    Some(Status {
        object: output.object.clone(),
        body: StatusBody::Gateway {
            fleet: gateways.fleet_name(id),
            addresses: Vec::new(),
            conditions: output.status.conditions.clone(),
            listeners,
            attached_listener_sets: output.status.attached_sets,
        },
        problems: output.status.problems.clone(),
    })
}

/// Status of a ListenerSet, from the output of its Gateway and the number of routes on each listener. `None` when there
/// is no such Gateway of ours.
pub fn listener_set(
    id: ObjectId,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    attached: &Counts<ListenerId>,
) -> Option<Status> {
    let gateway = reader.listener_set(id)?.gateway?;
    reader.record(Dep::GatewayStatus(id));
    reader.record(Dep::AttachedRoutes(id));
    let output = gateways.set(gateway, id)?;
    Some(Status {
        object: output.object.clone(),
        body: StatusBody::ListenerSet {
            gateway: reader.object(gateway),
            fleet: gateways.fleet_name(gateway),
            conditions: output.status.conditions.clone(),
            listeners: listener_statuses(&output.status, attached),
        },
        problems: output.status.problems.clone(),
    })
}

fn listener_statuses(status: &GatewayConditions, attached: &Counts<ListenerId>) -> Vec<ListenerStatus> {
    let listeners = status.listeners.iter().map(|listener| ListenerStatus {
        name: listener.name.clone(),
        supported_kinds: listener.supported_kinds.clone(),
        attached_routes: attached.get(listener.id),
        conditions: listener.conditions.clone(),
    });
    listeners.collect()
}

/// Another route that takes the same requests on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overlap {
    /// The listener.
    pub listener: ListenerId,
    /// The other route.
    pub route: ObjectId,
}

/// Status of a route: one entry per parent that is ours. `None` when it has none.
pub fn route(
    id: ObjectId,
    reader: &mut Reader<'_>,
    attached: Option<&AttachOutput>,
    (gateways, routes): (GatewayTable<'_>, RouteTable<'_>),
    overlaps: &dyn Fn(ObjectId) -> BTreeSet<Overlap>,
) -> Option<Status> {
    for dep in [Dep::Attached(id), Dep::RouteFindings(id), Dep::Layer4(id), Dep::Overlaps(id)] {
        reader.record(dep);
    }
    let (attached, output) = (attached?, routes.0.get(id)?);
    if attached.parents.is_empty() {
        return None;
    }
    let overlaps = overlaps(id);
    let mut problems = route_problems(attached, output);
    let parents = (attached.parents.iter())
        .map(|parent| {
            let unserved = routes.unserved(reader, gateways, id, parent.gateway);
            let unserved: Vec<Finding> = unserved
                .iter()
                .flat_map(Unserved::findings)
                .filter(|finding| concerns(finding, parent, output))
                .collect();
            for finding in &unserved {
                let problem = problem(&output.object, "ResolvedRefs", finding.clone());
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
            parent_status(parent, output, &unserved, &overlaps, reader)
        })
        .collect();
    Some(Status { object: output.object.clone(), body: StatusBody::Route { parents }, problems })
}

fn parent_status(
    parent: &ParentOutput,
    output: &RouteOutput,
    unserved: &[Finding],
    overlaps: &BTreeSet<Overlap>,
    reader: &Reader<'_>,
) -> ParentStatus {
    let condition = |kind, status, reason: Cow<'static, str>, message: String| Condition {
        kind,
        status,
        reason,
        message,
        observed_generation: output.origin.generation,
    };
    let findings = &output.findings;
    let mut conditions = vec![match (&parent.refused, all_dropped(findings)) {
        (Some(refused), _) => {
            condition("Accepted", ConditionStatus::False, refused.reason.into(), refused.message.to_string())
        }
        (None, Some((reason, message))) => condition("Accepted", ConditionStatus::False, reason, message),
        (None, None) => condition(
            "Accepted",
            ConditionStatus::True,
            "Accepted".into(),
            "The route is accepted".to_owned(),
        ),
    }];
    if !findings.dropped.is_empty() && !findings.all_dropped {
        let (reason, message) = joined(findings.dropped.iter().map(|(_, finding)| finding));
        let indexes: Vec<String> = findings.dropped.iter().map(|(index, _)| index.to_string()).collect();
        let message = format!("Dropped Rule(s) [{}]: {message}", indexes.join(" "));
        conditions.push(condition("PartiallyInvalid", ConditionStatus::True, reason, message));
    }
    let in_plain = decrypted(parent, output);
    let unresolved = findings.unresolved.iter().filter(|finding| concerns(finding, parent, output));
    let unresolved = unresolved.chain(unserved).chain(&in_plain);
    conditions.push(if unresolved.clone().next().is_none() {
        condition(
            "ResolvedRefs",
            ConditionStatus::True,
            "ResolvedRefs".into(),
            "All references of the route resolve".to_owned(),
        )
    } else {
        let (reason, message) = joined(unresolved);
        condition("ResolvedRefs", ConditionStatus::False, reason, message)
    });
    if !findings.unavailable.is_empty() {
        let (reason, message) = joined(findings.unavailable.iter());
        conditions.push(condition("BackendsAvailable", ConditionStatus::False, reason, message));
    }
    let others: Vec<String> = overlaps
        .iter()
        .filter(|overlap| parent.bindings.iter().any(|b| b.listener == overlap.listener))
        .map(|overlap| reader.object(overlap.route).to_string())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    if !others.is_empty() && parent.refused.is_none() {
        let message = format!(
            "Another route has the same matches and the older one takes the requests: {}",
            others.join(", ")
        );
        conditions.push(condition(
            "RouteRulesOverlap",
            ConditionStatus::True,
            "RouteRulesOverlap".into(),
            message,
        ));
    }
    conditions.shrink_to_fit();
    ParentStatus { parent: parent.parent.reference.clone(), conditions }
}

/// Whether a finding about a route's backends matters at a parent. TLS of ours does not where all connections go on as
/// the client has encrypted them.
fn concerns(finding: &Finding, parent: &ParentOutput, output: &RouteOutput) -> bool {
    let differs = output.layer4.as_ref().is_some_and(|layer4| layer4.passed_through.is_some());
    let passes = !parent.bindings.is_empty() && parent.bindings.iter().all(|binding| !binding.terminates);
    finding.reason != INVALID_BACKEND_TLS || !differs || !passes
}

/// Why a route to whatever host the client names has no effect on a listener: the host would get in plain text what the
/// client sent encrypted.
fn decrypted(parent: &ParentOutput, output: &RouteOutput) -> Option<Finding> {
    let target = output.layer4.as_ref().map(|layer4| &layer4.target);
    let by_name = matches!(target, Some(TcpTarget::ServerName(_)));
    (by_name && parent.bindings.iter().any(|binding| binding.terminates)).then(|| {
        Finding::new(
            "spec.rules[0].backendRefs",
            "UnsupportedValue",
            "a DynamicResolver Backend needs listeners that pass TLS through",
        )
    })
}

fn all_dropped(findings: &RouteFindings) -> Option<(Cow<'static, str>, String)> {
    findings.all_dropped.then(|| joined(findings.dropped.iter().map(|(_, finding)| finding)))
}

/// Distinct reasons sorted and joined with commas, messages one to a line, as Envoy Gateway writes them.
fn joined<'a>(findings: impl Iterator<Item = &'a Finding> + Clone) -> (Cow<'static, str>, String) {
    let reasons: BTreeSet<&'static str> = findings.clone().map(|f| f.reason).collect();
    let messages: Vec<&str> = findings.map(|f| &*f.message).collect();
    let reason = match reasons.iter().next() {
        Some(only) if reasons.len() == 1 => Cow::Borrowed(*only),
        _ => Cow::Owned(reasons.into_iter().collect::<Vec<_>>().join(",")),
    };
    (reason, messages.join("\n"))
}

fn route_problems(attached: &AttachOutput, output: &RouteOutput) -> Vec<ir::Problem> {
    let problem = |condition: &str, severity, finding: &Finding| ir::Problem {
        object: (&output.object).into(),
        field: finding.field.clone(),
        severity,
        condition: condition.to_owned(),
        reason: finding.reason.to_owned(),
        message: finding.message.to_string(),
    };
    let findings = &output.findings;
    let refused = attached.parents.iter().filter_map(|p| p.refused.as_ref());
    let in_plain = attached.parents.iter().find_map(|parent| decrypted(parent, output));
    let somewhere =
        |finding: &&Finding| attached.parents.iter().any(|parent| concerns(finding, parent, output));
    let accepted = if findings.all_dropped { "Accepted" } else { "PartiallyInvalid" };
    refused
        .map(|f| problem("Accepted", ir::Severity::Error, f))
        .chain(findings.dropped.iter().map(|(_, f)| problem(accepted, ir::Severity::Error, f)))
        .chain(
            (findings.unresolved.iter().filter(somewhere).chain(&in_plain))
                .map(|f| problem("ResolvedRefs", ir::Severity::Error, f)),
        )
        .chain(findings.unavailable.iter().map(|f| problem("BackendsAvailable", ir::Severity::Warning, f)))
        .chain(findings.warnings.iter().map(|f| problem("", ir::Severity::Warning, f)))
        .collect()
}

/// Status of a BackendTLSPolicy: one entry for each parent of the routes in which it has a say, and one for each
/// EnvoyProxy whose telemetry it has a say in. One that an older policy
/// leaves nothing to do for one of its targets has the entries of that one too, and is `Conflicted` there. `None` when
/// it has no say anywhere.
pub fn backend_tls_policy(
    id: ObjectId,
    reader: &mut Reader<'_>,
    users: &dyn Fn(ObjectId) -> PolicyUsers,
    attached: AttachTable<'_>,
) -> Option<Status> {
    let policy = reader.backend_tls_policy(id)?;
    let generation = policy.meta.generation;
    let unusable = backend_tls::usable_policy(policy, reader).err();
    let mut ancestors: Vec<ParentStatus> = parents_of(id, reader, users, attached)
        .into_iter()
        .map(|ancestor| ParentStatus {
            parent: ancestor,
            conditions: of_trust(unusable.as_ref(), generation),
        })
        .collect();
    if let Some(older) = conflict(policy, reader) {
        let message = format!("The policy conflicts with the older {}", reader.object(older));
        let conflicted = Condition {
            kind: "Accepted",
            status: ConditionStatus::False,
            reason: "Conflicted".into(),
            message,
            observed_generation: generation,
        };
        for ancestor in parents_of(older, reader, users, attached) {
            match ancestors.iter_mut().find(|there| there.parent == ancestor) {
                Some(there) => {
                    there.conditions.retain(|condition| condition.kind != "Accepted");
                    there.conditions.push(conflicted.clone());
                }
                None => {
                    ancestors.push(ParentStatus { parent: ancestor, conditions: vec![conflicted.clone()] });
                }
            }
        }
    }
    if ancestors.is_empty() {
        return None;
    }
    let object = reader.object(id);
    let problems = unusable.map(|untrusted| policy_problem(&object, &untrusted)).into_iter().collect();
    Some(Status {
        object,
        body: StatusBody::Policy { ancestors: policy::truncated(ancestors, generation) },
        problems,
    })
}

/// Where a BackendTLSPolicy has a say.
#[derive(Clone, Debug, Default)]
pub struct PolicyUsers {
    /// Routes.
    pub routes: Vec<ObjectId>,
    /// EnvoyProxies, for telemetry.
    pub proxies: Vec<ObjectRef>,
}

/// Parents of the routes in which a policy has a say, and EnvoyProxies, each once.
fn parents_of(
    policy: ObjectId,
    reader: &mut Reader<'_>,
    users: &dyn Fn(ObjectId) -> PolicyUsers,
    attached: AttachTable<'_>,
) -> BTreeSet<ParentReference> {
    reader.record(Dep::PolicyRoutes(policy));
    let PolicyUsers { routes, proxies } = users(policy);
    let parents = routes.into_iter().flat_map(|route| attached.parents(reader, route).iter());
    let parents: BTreeSet<ParentReference> = parents.map(|parent| parent.parent.reference.clone()).collect();
    let proxies = proxies.into_iter().map(|proxy| ParentReference {
        group: proxy.kind.group().into(),
        kind: proxy.kind.name().into(),
        namespace: Some(proxy.namespace),
        name: proxy.name,
        section_name: None,
        port: None,
    });
    parents.into_iter().chain(proxies).collect()
}

/// `Accepted` and `ResolvedRefs` of a policy, by whether its authorities can be used.
fn of_trust(untrusted: Option<&Untrusted>, generation: i64) -> Vec<Condition> {
    let condition = |kind, reason: &'static str, holds: bool, message: &str| Condition {
        kind,
        status: if holds { ConditionStatus::True } else { ConditionStatus::False },
        reason: reason.into(),
        message: message.to_owned(),
        observed_generation: generation,
    };
    match untrusted {
        None => vec![
            condition("ResolvedRefs", "ResolvedRefs", true, "All references of the policy resolve"),
            condition("Accepted", "Accepted", true, "The policy is accepted"),
        ],
        Some(untrusted) => vec![
            condition("Accepted", "NoValidCACertificate", false, untrusted.message()),
            condition("ResolvedRefs", reason_of(untrusted), false, untrusted.message()),
        ],
    }
}

fn reason_of(untrusted: &Untrusted) -> &'static str {
    match untrusted {
        Untrusted::Kind(_) => "InvalidKind",
        Untrusted::Reference(_) | Untrusted::NotPermitted(_) => "InvalidCACertificateRef",
    }
}

fn policy_problem(object: &ObjectRef, untrusted: &Untrusted) -> ir::Problem {
    let message = untrusted.message().to_owned();
    problem(object, "ResolvedRefs", Finding::new("spec.validation", reason_of(untrusted), message))
}

/// The oldest of the policies that go before this one for one of its targets; the first such target counts.
fn conflict(policy: &BackendTlsPolicy, reader: &mut Reader<'_>) -> Option<ObjectId> {
    policy.targets.iter().find_map(|target| {
        let older = reader
            .backend_tls_policies_of(target.object)
            .into_iter()
            .find(|other| other.targets.contains(target))?;
        (older.meta.id != policy.meta.id).then_some(older.meta.id)
    })
}

/// Status of a Backend. A Backend that cannot be used carries Envoy Gateway's condition for it, which is of type
/// `Invalid` with reason `Accepted`: dashboards and scripts of its users look for exactly that.
pub fn backend(id: ObjectId, reader: &mut Reader<'_>) -> Option<Status> {
    let backend = reader.backend(id)?;
    let object = reader.object(id);
    let invalid = crate::backend::invalid(backend, reader);
    let (kind, status, message) = match &invalid {
        None => ("Accepted", ConditionStatus::True, "The Backend is accepted".to_owned()),
        Some(finding) => {
            ("Invalid", ConditionStatus::False, format!("The Backend is not accepted: {}", finding.message))
        }
    };
    let condition = Condition {
        kind,
        status,
        reason: "Accepted".into(),
        message,
        observed_generation: backend.meta.generation,
    };
    let problems = invalid
        .map(|finding| ir::Problem {
            object: (&object).into(),
            field: finding.field,
            severity: ir::Severity::Error,
            condition: "Invalid".to_owned(),
            reason: finding.reason.to_owned(),
            message: finding.message.into_owned(),
        })
        .into_iter()
        .collect();
    Some(Status { object, body: StatusBody::Conditions(vec![condition]), problems })
}
