//! What loading and translation found wrong, with codes.

use std::collections::BTreeMap;

use ir::{Kind, ObjectRef, Problem, problem::Subject};
use rustc_hash::FxHashSet;
use store::{Fact, facts::Filter};

use crate::{Code, Finding, Place, bootstrap, code, field::indexes, finding::grant, world::World};

/// Everything that is a problem of one object.
pub(crate) fn coded(world: &World<'_>, loading: &[Problem]) -> Vec<Finding> {
    let translated = world.pipeline.problems();
    let causes: FxHashSet<&str> =
        translated.iter().filter(|problem| is_cause(problem)).map(|problem| &*problem.message).collect();
    let all = loading.iter().chain(&translated).filter(|problem| !is_effect(problem, &causes));
    // Where several listeners of an object have the same trouble with each other, that is one thing to mend.
    let mut findings: BTreeMap<(&str, &Subject, &str), Finding> = BTreeMap::new();
    for problem in all {
        let Some(code) = code_of(problem) else { continue };
        let message = if code == code::TLS_OVERLAP { "" } else { &*problem.message };
        let place = Place { object: problem.object.clone(), field: problem.field.clone() };
        findings
            .entry((code.id, &problem.object, message))
            .and_modify(|finding| finding.places.push(place))
            .or_insert_with(|| {
                let finding = Finding::new(code, problem.object.clone(), &*problem.field, &*problem.message);
                match permitted(world, problem) {
                    Some((from, to)) => finding.and(&to, "").with(grant(&from, &to)),
                    None => finding,
                }
            });
    }
    findings.into_values().collect()
}

/// Objects that others refer to: what is wrong with them is said once, not by each that refers to them.
fn is_cause(problem: &Problem) -> bool {
    matches!(&*problem.object.kind, "Backend" | "BackendTLSPolicy" | "EnvoyProxy" | "GatewayClass")
}

/// A problem that another object's problem has led to: it ends with the words of that one.
fn is_effect(problem: &Problem, causes: &FxHashSet<&str>) -> bool {
    let mut rest = &*problem.message;
    while let Some((_, words)) = rest.split_once(": ") {
        if causes.contains(words) {
            return !is_cause(problem);
        }
        rest = words;
    }
    false
}

/// The code of a problem; `None` for what is looked at elsewhere.
fn code_of(problem: &Problem) -> Option<&'static Code> {
    if problem.severity == ir::Severity::Rejected {
        return Some(code::OBJECT_REFUSED);
    }
    let kind = &*problem.object.kind;
    let is_parent = matches!(kind, "Gateway" | "ListenerSet");
    let is_policy = kind.ends_with("Policy");
    Some(match &*problem.reason {
        "Unreadable" | "TooLarge" | "TooManyDocuments" | "NotText" | "Syntax" => code::FILE_UNREADABLE,
        "UnknownKind" => code::KIND_UNKNOWN,
        "Duplicate" => code::DECLARED_TWICE,
        "Missing" | "Empty" => code::NOTHING_TO_READ,
        "UnknownField" => code::FIELD_DROPPED,
        "OverlappingHostnames" | "OverlappingCertificates" => code::TLS_OVERLAP,
        "HostnameConflict" | "ProtocolConflict" => code::LISTENER_CONFLICT,
        "NotAllowed" | "ParentNotAccepted" | "ParentNotProgrammed" if kind == "ListenerSet" => {
            code::LISTENER_SET_REFUSED
        }
        bootstrap::REASON => code::BOOTSTRAP_REFUSED,
        "InvalidAnnotation" => code::MODE_UNKNOWN,
        "InvalidCertificateRef" => code::CERTIFICATE_UNUSABLE,
        "PartiallyInvalidCertificateRef" => code::CERTIFICATE_PARTLY,
        "WeakCertificate" => code::CERTIFICATE_WEAK,
        "InvalidClientCertificateRef" => code::CLIENT_SIDE_INVALID,
        "RefNotPermitted" if is_parent && problem.field.contains("clientCertificateRef") => {
            code::CLIENT_SIDE_INVALID
        }
        "RefNotPermitted" if is_parent => code::CERTIFICATE_UNGRANTED,
        "RefNotPermitted" => code::BACKEND_UNGRANTED,
        "InvalidBackendTLS" | "InvalidCACertificateRef" | "NoValidCACertificate" => code::BACKEND_TLS_INVALID,
        "Conflicted" if is_policy => code::POLICY_CONFLICT,
        "TargetNotFound" => code::POLICY_SECTION,
        _ if kind == "BackendTLSPolicy" => code::BACKEND_TLS_INVALID,
        _ if is_policy => code::POLICY_INVALID,
        "NoMatchingParent" => code::PARENT_WITHOUT_LISTENER,
        "NotAllowedByListeners" => code::ROUTE_NOT_ALLOWED,
        "NoMatchingListenerHostname" => code::HOSTNAME_WITHOUT_LISTENER,
        "BackendNotFound" | "PortNotFound" | "PortNotSpecified" => code::BACKEND_MISSING,
        "EndpointsNotFound" => return None,
        "AppProtocolMismatch" => code::PROTOCOL_DISAGREES,
        "DeprecatedValue" => return None,
        "UnsupportedProtocol" if kind == "GRPCRoute" => code::PROTOCOL_UNSUPPORTED,
        _ if is_parent && problem.field.starts_with("spec.listeners[") => code::LISTENER_INVALID,
        _ if is_parent || matches!(kind, "GatewayClass" | "EnvoyProxy") => code::GATEWAY_INVALID,
        _ if problem.field.contains("backendRef") => code::BACKEND_UNUSABLE,
        _ if kind == "Backend" => code::BACKEND_UNUSABLE,
        _ if kind.ends_with("Route") => code::RULE_INVALID,
        _ => code::OTHER,
    })
}

/// Who refers to what without a grant.
fn permitted(world: &World<'_>, problem: &Problem) -> Option<(ObjectRef, ObjectRef)> {
    if problem.reason != "RefNotPermitted" {
        return None;
    }
    let subject = &problem.object;
    let kind = Kind::ALL.iter().find(|kind| kind.name() == subject.kind)?;
    let from = ObjectRef::new(*kind, subject.namespace.as_deref().unwrap_or_default(), &subject.name);
    let numbers = indexes(&problem.field);
    let listener = |listeners: &[store::facts::Listener]| {
        let tls = listeners.get(*numbers.first()?)?.tls.as_ref()?;
        // The field names the whole list; the first that lacks its grant is meant.
        let foreign = |target: &store::facts::Target| {
            world.store.object(target.id).is_some_and(|to| to.namespace != from.namespace)
        };
        tls.certificates.iter().filter_map(|reference| reference.target).find(foreign)
    };
    let rule = |rules: &[store::facts::Rule]| {
        let (rule, index) = (rules.get(*numbers.first()?)?, *numbers.get(1)?);
        if problem.field.contains("requestMirror") {
            return match rule.filters.get(index)? {
                Filter::Mirror { backend, .. } => backend.target,
                _ => None,
            };
        }
        rule.backends.get(index)?.backend.target
    };
    let target = match world.store.fact(world.store.find(&from)?)? {
        Fact::Gateway(gateway) => listener(&gateway.listeners),
        Fact::ListenerSet(set) => listener(&set.listeners),
        Fact::HttpRoute(route) => rule(&route.rules),
        Fact::GrpcRoute(route) => rule(&route.rules),
        _ => None,
    }?;
    let to = world.store.object(target.id)?.clone();
    (to.namespace != from.namespace).then_some((from, to))
}
