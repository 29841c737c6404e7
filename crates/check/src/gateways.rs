//! Gateways and their listeners.

use ir::{
    Kind, ObjectRef,
    problem::Subject,
    status::{Status, StatusBody},
};
use rustc_hash::FxHashSet;
use store::Fact;

use crate::{Finding, Severity, code, world::World};

pub(crate) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    let implicit = world.store.settings().implicit_gateway_class;
    for (object, fact) in world.of_kind(Kind::Gateway) {
        let Fact::Gateway(gateway) = fact else { continue };
        if !implicit && !world.exists(gateway.class) {
            let class = world.store.object(gateway.class).map_or("", |class| &class.name);
            let message = format!("GatewayClass {class} does not exist");
            findings.push(Finding::new(code::CLASS_MISSING, object, "spec.gatewayClassName", message));
        }
    }
    for (object, fact) in world.of_kind(Kind::ListenerSet) {
        let Fact::ListenerSet(set) = fact else { continue };
        let parent = set.gateway.and_then(|id| world.store.object(id));
        let missing = set.gateway.is_some_and(|id| !world.exists(id));
        if let Some(parent) = parent.filter(|_| missing) {
            let message = format!("{parent} does not exist");
            findings.push(Finding::new(code::LISTENER_SET_DANGLING, object, "spec.parentRef", message));
        }
    }
    for (route, listener) in world.pipeline.without_http2(Kind::GrpcRoute) {
        let message = format!(
            "clients of {route} reach it by listener {} of {}, which does not offer HTTP/2 (ALPN)",
            listener.name, listener.owner
        );
        findings.push(
            Finding::new(code::GRPC_DOWNGRADED, &route, "spec.parentRefs", message).and(&listener.owner, ""),
        );
    }
}

/// Listeners that no route is attached to. Where something is wrong with a route of the Gateway, that is why.
pub(crate) fn unused(world: &World<'_>, findings: &mut Vec<Finding>) {
    let errors = findings.iter().filter(|finding| finding.severity() == Severity::Error);
    let wrong: FxHashSet<&Subject> =
        errors.filter_map(|finding| finding.places.first()).map(|place| &place.object).collect();
    let troubled: FxHashSet<&ObjectRef> = world
        .routes
        .iter()
        .filter(|route| wrong.contains(&Subject::from(route.object)))
        .flat_map(|route| route.parents.iter().filter_map(|parent| world.store.object(parent.target?)))
        .collect();
    let mut unused = Vec::new();
    for status in world.pipeline.statuses() {
        let (listeners, gateway) = match &status.body {
            StatusBody::Gateway { listeners, .. } => (listeners, &status.object),
            StatusBody::ListenerSet { listeners, gateway, .. } => (listeners, gateway),
            _ => continue,
        };
        if troubled.contains(&status.object) || troubled.contains(gateway) || is_troubled(status) {
            continue;
        }
        for (index, listener) in
            listeners.iter().enumerate().filter(|(_, listener)| listener.attached_routes == 0)
        {
            let message = format!("no route is attached to listener {}", listener.name);
            let field = format!("spec.listeners[{index}]");
            unused.push(Finding::new(code::LISTENER_UNUSED, &status.object, field, message));
        }
    }
    findings.extend(unused);
}

/// Where overlapping certificates cost a GRPCRoute HTTP/2, that is what there is to say of the overlap.
pub(crate) fn only_the_worst_of_overlaps(findings: &mut Vec<Finding>) {
    let downgraded: Vec<Subject> = findings
        .iter()
        .filter(|finding| finding.code == code::GRPC_DOWNGRADED)
        .flat_map(|finding| finding.places.iter().map(|place| place.object.clone()))
        .collect();
    findings.retain(|finding| {
        let of_it = finding.places.first().is_some_and(|place| downgraded.contains(&place.object));
        finding.code != code::TLS_OVERLAP || !of_it
    });
}

fn is_troubled(status: &Status) -> bool {
    status.problems.iter().any(|problem| problem.severity != ir::Severity::Warning)
}
