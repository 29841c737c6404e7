//! What of a route a Gateway does not serve: what goes over TLS to backends that ask for a certificate which the Gateway
//! cannot show.

use std::sync::Arc;

use crate::{
    ClusterPlan, Finding, Slot,
    backend_tls::{Broken, INVALID_BACKEND_TLS},
};

/// A part of a route that reaches a backend over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsPart {
    /// A rule, by index.
    Rule(u16),
    /// Copies of a rule's requests.
    Mirror {
        /// Index of the rule.
        rule: u16,
        /// Index in the rule's `filters`.
        filter: u16,
        /// The cluster that they go to.
        cluster: Arc<str>,
    },
}

impl TlsPart {
    /// The part that a cluster serves.
    pub(crate) fn of(plan: &ClusterPlan) -> TlsPart {
        match plan.slot {
            Slot::Mirror(filter) => TlsPart::Mirror { rule: plan.rule, filter, cluster: plan.name.clone() },
            Slot::Rule | Slot::Backend(_) | Slot::PassedThrough => TlsPart::Rule(plan.rule),
        }
    }
}

/// What of one route a Gateway does not serve, and why.
#[derive(Clone, Copy, Debug)]
pub struct Unserved<'a> {
    pub(crate) parts: &'a [TlsPart],
    pub(crate) broken: &'a Broken,
}

impl<'a> Unserved<'a> {
    /// True for a rule whose requests or connections go nowhere.
    pub fn has_rule(&self, index: u16) -> bool {
        self.broken.refuses && self.parts.contains(&TlsPart::Rule(index))
    }

    /// True for copies of requests that are not made; `name` is that of their cluster.
    pub fn has_mirror(&self, name: &str) -> bool {
        let same = |part: &TlsPart| matches!(part, TlsPart::Mirror { cluster, .. } if **cluster == *name);
        self.parts.iter().any(same)
    }

    /// What to tell the author of the route.
    pub(crate) fn findings(&self) -> impl Iterator<Item = Finding> + use<'a> {
        let Broken { message, refuses } = self.broken;
        self.parts.iter().filter_map(move |part| {
            let (field, what) = match part {
                TlsPart::Rule(_) if !refuses => return None,
                TlsPart::Rule(rule) => (format!("spec.rules[{rule}].backendRefs"), format!("Rule {rule}")),
                TlsPart::Mirror { rule, filter, .. } => (
                    format!("spec.rules[{rule}].filters[{filter}].requestMirror.backendRef"),
                    format!("Mirror of rule {rule}"),
                ),
            };
            Some(Finding::new(field, INVALID_BACKEND_TLS, format!("{what}: {message}")))
        })
    }
}
