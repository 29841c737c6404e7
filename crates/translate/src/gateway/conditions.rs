//! Conditions of Gateways, ListenerSets and their listeners.

use std::sync::Arc;

use ir::{Condition, ConditionStatus, ObjectRef};
use store::facts;

use super::{
    Owner,
    listener::{Judged, OVERLAPPING_TLS},
};
use crate::{Finding, ListenerId};

/// Conditions of a Gateway or ListenerSet and its listeners, except those that need to know the proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayConditions {
    /// `metadata.generation` they were made from.
    pub generation: i64,
    /// Conditions of the Gateway as a whole.
    pub conditions: Vec<Condition>,
    /// Each listener's, in the order of the spec; empty when the object was not looked into.
    pub listeners: Vec<ListenerConditions>,
    /// ListenerSets that are attached with at least one valid listener; none for a ListenerSet.
    pub attached_sets: u32,
    /// Paths of fields behind conditions that do not hold, for `--to problems`.
    pub problems: Vec<ir::Problem>,
}

/// Conditions of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConditions {
    /// The listener.
    pub id: ListenerId,
    /// Its name.
    pub name: Arc<str>,
    /// Kinds of routes that may attach.
    pub supported_kinds: Vec<&'static str>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// Says why a Gateway or ListenerSet is not accepted, in place of what its listeners gave.
pub(super) fn not_accepted(
    object: &ObjectRef,
    generation: i64,
    finding: Finding,
    status: &mut GatewayConditions,
) {
    status.conditions.retain(|condition| condition.kind != "Accepted");
    let accepted = Condition {
        kind: "Accepted",
        status: ConditionStatus::False,
        reason: finding.reason.into(),
        message: finding.message.to_string(),
        observed_generation: generation,
    };
    status.conditions.insert(0, accepted);
    status.problems.push(crate::status::problem(object, "Accepted", finding));
}

/// Says whether the references of `spec.tls` resolve, when it is there.
pub(super) fn resolved_refs(
    gateway: &facts::Gateway,
    owner: &Owner<'_>,
    findings: Vec<Finding>,
    status: &mut GatewayConditions,
) {
    const KIND: &str = "ResolvedRefs";
    if gateway.tls.is_none() {
        return;
    }
    status.conditions.push(match findings.last() {
        None => owner.condition(KIND, ConditionStatus::True, KIND, "All references of spec.tls resolve"),
        Some(last) => {
            let messages: Vec<&str> = findings.iter().map(|finding| &*finding.message).collect();
            owner.condition(KIND, ConditionStatus::False, last.reason, messages.join("; "))
        }
    });
    let problem = |finding| crate::status::problem(owner.object, KIND, finding);
    status.problems.extend(findings.into_iter().map(problem));
}

/// Says that clients get in whatever certificate they show (GEP-91).
pub(super) fn insecure(owner: &Owner<'_>, status: &mut GatewayConditions) {
    const KIND: &str = "InsecureFrontendValidationMode";
    let message = "spec.tls.frontend has mode AllowInsecureFallback: clients without a valid certificate are let in, \
                   and only backends can turn them away";
    status.conditions.push(owner.condition(KIND, ConditionStatus::True, "ConfigurationChanged", message));
    status.problems.push(ir::Problem {
        severity: ir::Severity::Warning,
        ..crate::status::problem(
            owner.object,
            KIND,
            Finding::new("spec.tls.frontend", "ConfigurationChanged", message),
        )
    });
}

/// Conditions of a Gateway, from its own listeners.
pub(super) fn conditions(owner: &Owner<'_>, judged: Vec<Judged<'_>>) -> GatewayConditions {
    let rejected: Vec<String> =
        judged.iter().filter(|j| !j.accepted()).map(|j| j.fact.name.to_string()).collect();
    let accepted = match (rejected.len(), judged.len()) {
        (0, _) => owner.condition("Accepted", ConditionStatus::True, "Accepted", "The Gateway is accepted"),
        (bad, all) if bad == all => owner.condition(
            "Accepted",
            ConditionStatus::False,
            "ListenersNotValid",
            "No listener is valid; see the conditions of the listeners",
        ),
        _ => owner.condition(
            "Accepted",
            ConditionStatus::True,
            "ListenersNotValid",
            format!("Some listeners are not valid: {}", rejected.join(", ")),
        ),
    };
    let mut status = of_listeners(owner, judged);
    status.conditions.push(accepted);
    status
}

/// Conditions of listeners, with the problems behind those that do not hold.
pub(super) fn of_listeners(owner: &Owner<'_>, judged: Vec<Judged<'_>>) -> GatewayConditions {
    let object = owner.object;
    let mut problems = Vec::new();
    let listeners = (judged.into_iter().enumerate())
        .map(|(i, j)| {
            let (conditions, found) = j.conditions(owner.meta.generation);
            problems.extend(found.into_iter().map(|(condition, finding)| ir::Problem {
                object: object.into(),
                field: format!("spec.listeners[{i}]{}", finding.field),
                // Listeners that overlap work.
                severity: match condition {
                    OVERLAPPING_TLS => ir::Severity::Warning,
                    _ => ir::Severity::Error,
                },
                condition: condition.to_owned(),
                reason: finding.reason.to_owned(),
                message: finding.message.into_owned(),
            }));
            problems.extend(weaknesses(i, &j, object));
            ListenerConditions {
                id: j.id,
                name: j.fact.name.clone(),
                supported_kinds: j.supported_kinds,
                conditions,
            }
        })
        .collect();
    GatewayConditions {
        generation: owner.meta.generation,
        listeners,
        problems,
        ..GatewayConditions::default()
    }
}

/// Warnings about certificates that a listener serves although clients may refuse them. No condition tells of them:
/// the listener works.
fn weaknesses<'a>(
    index: usize,
    judged: &'a Judged<'_>,
    object: &'a ObjectRef,
) -> impl Iterator<Item = ir::Problem> + 'a {
    judged.certificates.iter().filter_map(move |certificate| {
        Some(ir::Problem {
            object: object.into(),
            field: format!("spec.listeners[{index}].tls.certificateRefs[{}]", certificate.reference),
            severity: ir::Severity::Warning,
            condition: String::new(),
            reason: "WeakCertificate".to_owned(),
            message: certificate.weakness.clone()?,
        })
    })
}
