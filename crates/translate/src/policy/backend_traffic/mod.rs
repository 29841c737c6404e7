//! BackendTrafficPolicy: how proxies talk to the backends of routes.

mod balancing;
mod cluster;
mod health;
mod route;

use std::{sync::Arc, time::Duration};

use api::{Duration as Text, backendtrafficpolicy::BackendTrafficPolicySpec};
use ir::{
    Kind,
    traffic::{ClusterTraffic, RouteTraffic},
};
use patch::{ListMerge, MergeKeys};
use serde_json::Value;

use super::{Policies, PolicyKind, Settings, Source};
use crate::{
    ClusterKey, Finding, Reader,
    reader::{AttachTable, GatewayTable, RouteTable},
};
pub(super) use cluster::{http2, keepalive};

/// The kind.
pub const KIND: Kind = Kind::BackendTrafficPolicy;

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

    fn read(&self, source: &Source<'_>, reader: &mut Reader<'_>) -> (Arc<dyn Settings>, Vec<Finding>) {
        let mut findings = Findings::default();
        let traffic = match serde_json::from_value::<BackendTrafficPolicySpec>(source.document.clone()) {
            Ok(spec) => Traffic {
                cluster: cluster::read(&spec, source.policy, reader, &mut findings),
                route: route::read(&spec, &mut findings),
            },
            Err(error) => {
                findings.add("spec", format!("the merged policy cannot be read: {error}"));
                Traffic::default()
            }
        };
        (Arc::new(traffic), findings.0)
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

/// A share as numerator and denominator; what the schema would have refused counts as none.
fn fraction(fraction: &api::Fraction) -> (u32, u32) {
    let part = u32::try_from(fraction.numerator).unwrap_or_default();
    (part, u32::try_from(fraction.denominator).unwrap_or(1).max(1))
}

/// A span of time; one that the schema would have refused counts as not set.
fn span(text: Option<&Text>) -> Option<Duration> {
    text.and_then(Text::to_std)
}

/// What applies to a cluster of a route at a Gateway. A cluster serves all listeners that its route is attached to; the
/// first of them decides, as with Envoy Gateway. `None` without a policy, and for one that cannot be applied, whose
/// routes are answered with an error.
pub fn of_cluster<'a>(
    key: ClusterKey,
    reader: &mut Reader<'_>,
    policies: Policies<'a>,
    (gateways, routes, attached): (GatewayTable<'_>, RouteTable<'_>, AttachTable<'_>),
) -> Option<&'a Traffic> {
    let rule = routes.plan(reader, key.plan)?.section.clone();
    let parents = attached.parents(reader, key.plan.route).iter().filter(|p| p.gateway == key.gateway);
    let listener = parents
        .flat_map(|p| p.bindings.iter())
        .filter_map(|binding| gateways.listener(reader, key.gateway, binding.listener))
        .min_by_key(|listener| &listener.place)?;
    let rule = (key.plan.route, rule.as_deref());
    let applied = policies.of_rule(KIND, rule, (key.gateway, listener), reader)?;
    applied.version.get::<Traffic>().filter(|_| applied.version.findings.is_empty())
}
