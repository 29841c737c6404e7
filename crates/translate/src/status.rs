//! Stage 8: status of each object, from the outputs that xDS is made from.

use std::{borrow::Cow, collections::BTreeSet};

use engine::Counts;
use ir::{
    Condition, ConditionStatus,
    listener::TcpTarget,
    status::{AncestorStatus, ListenerStatus, ParentStatus, Status, StatusBody},
};
use store::ObjectId;

use crate::{
    AttachOutput, Dep, Finding, GatewayOutput, GatewayTable, ParentOutput, Reader, RouteOutput,
    gateway::{Judge, parameters},
    route::RouteFindings,
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
    Some(Status { object, body: StatusBody::Conditions(vec![accepted]), problems })
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
pub(crate) fn problem(object: &ir::ObjectRef, condition: &str, finding: Finding) -> ir::Problem {
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
    let mut ancestors: Vec<AncestorStatus> = (reader.referrers_of(id).into_iter())
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
            Some(AncestorStatus { ancestor, conditions })
        })
        .collect();
    if ancestors.is_empty() {
        return None;
    }
    ancestors.sort_by(|a, b| a.ancestor.cmp(&b.ancestor));
    Some(Status {
        object: reader.object(id),
        body: StatusBody::Ancestors { ancestors },
        problems: Vec::new(),
    })
}

/// Status of a Gateway, from its output and the number of routes on each listener. `None` when it is not ours.
pub fn gateway(
    id: ObjectId,
    reader: &mut Reader<'_>,
    output: Option<&GatewayOutput>,
    attached: &Counts<(ObjectId, u16)>,
) -> Option<Status> {
    reader.record(Dep::GatewayStatus(id));
    reader.record(Dep::AttachedRoutes(id));
    let output = output.filter(|g| g.managed)?;
    let listeners = (0u16..)
        .zip(&output.status.listeners)
        .map(|(i, listener)| ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: listener.supported_kinds.clone(),
            attached_routes: attached.get((id, i)),
            conditions: listener.conditions.clone(),
        })
        .collect();
    Some(Status {
        object: output.object.clone(),
        body: StatusBody::Gateway {
            addresses: Vec::new(),
            conditions: output.status.conditions.clone(),
            listeners,
        },
        problems: output.status.problems.clone(),
    })
}

/// Another route that takes the same requests on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overlap {
    /// The Gateway.
    pub gateway: ObjectId,
    /// Index of the listener.
    pub listener: u16,
    /// The other route.
    pub route: ObjectId,
}

/// Status of a route: one entry per parent that is ours. `None` when it has none.
pub fn route(
    id: ObjectId,
    reader: &mut Reader<'_>,
    attached: Option<&AttachOutput>,
    output: Option<&RouteOutput>,
    overlaps: &dyn Fn(ObjectId) -> BTreeSet<Overlap>,
) -> Option<Status> {
    for dep in [Dep::Attached(id), Dep::RouteFindings(id), Dep::Layer4(id), Dep::Overlaps(id)] {
        reader.record(dep);
    }
    let (attached, output) = (attached?, output?);
    if attached.parents.is_empty() {
        return None;
    }
    let overlaps = overlaps(id);
    let parents =
        attached.parents.iter().map(|parent| parent_status(parent, output, &overlaps, reader)).collect();
    Some(Status {
        object: output.object.clone(),
        body: StatusBody::Route { parents },
        problems: route_problems(attached, output),
    })
}

fn parent_status(
    parent: &ParentOutput,
    output: &RouteOutput,
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
    let unresolved = findings.unresolved.iter().chain(&in_plain);
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
        .filter(|overlap| {
            parent.gateway == overlap.gateway
                && parent.bindings.iter().any(|b| b.listener == overlap.listener)
        })
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
    ParentStatus { parent: parent.parent.reference.clone(), conditions }
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
    let accepted = if findings.all_dropped { "Accepted" } else { "PartiallyInvalid" };
    refused
        .map(|f| problem("Accepted", ir::Severity::Error, f))
        .chain(findings.dropped.iter().map(|(_, f)| problem(accepted, ir::Severity::Error, f)))
        .chain(
            (findings.unresolved.iter().chain(&in_plain))
                .map(|f| problem("ResolvedRefs", ir::Severity::Error, f)),
        )
        .chain(findings.unavailable.iter().map(|f| problem("BackendsAvailable", ir::Severity::Warning, f)))
        .chain(findings.warnings.iter().map(|f| problem("", ir::Severity::Warning, f)))
        .collect()
}

/// Status of a Backend. A Backend that cannot be used carries Envoy Gateway's condition for it, which is of type
/// `Invalid` with reason `Accepted`: dashboards and scripts of its users look for exactly that.
pub fn backend(id: ObjectId, reader: &mut Reader<'_>) -> Option<Status> {
    let backend = reader.backend(id)?;
    let settings = reader.settings();
    let object = reader.object(id);
    let invalid = crate::backend::invalid(backend, settings);
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
