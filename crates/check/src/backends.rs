//! Backends without endpoints.

use ir::Kind;

use crate::{Finding, code, world::World};

/// Backends and mirrors of which translation says that they have no endpoints. Manifests without any EndpointSlice say
/// nothing of endpoints, since only a cluster makes them.
pub(crate) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    if world.store.of_kind(Kind::EndpointSlice).next().is_none() {
        return;
    }
    for problem in world.pipeline.problems() {
        if problem.reason != "EndpointsNotFound" {
            continue;
        }
        let code =
            if problem.field.contains("requestMirror") { code::MIRROR_EMPTY } else { code::BACKEND_EMPTY };
        findings.push(Finding::new(code, problem.object, problem.field, problem.message));
    }
}
