//! Policies.

use std::sync::Arc;

use ir::Kind;
use serde_json::Value;

use super::{Lowering, gateway::label_selector, text};
use crate::facts::{LabelSelector, MergeType, Policy, PolicyTarget, SelectedNamespaces, TargetSelector};

/// Fields of `spec` that say what a policy is for; they are no part of what it says.
const TARGETS: [&str; 3] = ["targetRef", "targetRefs", "targetSelectors"];

impl Lowering<'_> {
    pub(super) fn backend_traffic_policy(&mut self, policy: &api::BackendTrafficPolicy) -> Policy {
        let spec = &policy.spec;
        let bodies = (spec.response_override.iter())
            .filter_map(|response| response.response.as_ref()?.body.as_ref()?.value_ref.as_ref());
        let references = bodies.map(|body| self.target(Kind::ConfigMap, None, &body.name)).collect();
        // Maps with string keys alone always become JSON.
        let document = serde_json::to_value(spec).unwrap_or_default();
        let merge = spec.merge_type;
        let kind = Kind::BackendTrafficPolicy;
        Policy { references, ..self.policy(kind, &policy.metadata, &spec.targets, merge, document) }
    }

    pub(super) fn client_traffic_policy(&mut self, policy: &api::ClientTrafficPolicy) -> Policy {
        let spec = &policy.spec;
        let validation = spec.tls.as_ref().and_then(|tls| tls.client_validation.as_ref());
        let authorities = validation.map_or(&[][..], |validation| &validation.ca_certificate_refs);
        let crl = validation.and_then(|validation| validation.crl.as_ref());
        let authorities = (authorities.iter())
            .map(|r| self.authority(&r.group, &r.kind, r.namespace.as_deref(), &r.name))
            .collect();
        let revocations = (crl.map_or(&[][..], |crl| &crl.refs).iter())
            .map(|r| self.authority(&r.group, &r.kind, r.namespace.as_deref(), &r.name))
            .collect();
        let document = serde_json::to_value(spec).unwrap_or_default();
        let merge = spec.merge_type;
        let kind = Kind::ClientTrafficPolicy;
        Policy {
            authorities,
            revocations,
            ..self.policy(kind, &policy.metadata, &spec.targets, merge, document)
        }
    }

    /// What policies of all kinds have in common.
    fn policy(
        &mut self,
        kind: Kind,
        metadata: &api::ObjectMeta,
        targets: &api::PolicyTargetReferences,
        merge: Option<api::envoyproxy::MergeType>,
        mut document: Value,
    ) -> Policy {
        if let Value::Object(fields) = &mut document {
            fields.retain(|field, _| !TARGETS.contains(&field.as_str()));
        }
        Policy {
            meta: self.meta(kind, metadata),
            targets: (targets.references().iter()).filter_map(|target| self.policy_target(target)).collect(),
            selectors: targets.target_selectors.iter().filter_map(target_selector).collect(),
            by_target_ref: targets.target_ref.is_some(),
            merge: merge.map(|merge| match merge {
                api::envoyproxy::MergeType::StrategicMerge => MergeType::Strategic,
                api::envoyproxy::MergeType::JSONMerge => MergeType::Json,
            }),
            document: Arc::new(document),
            references: [].into(),
            authorities: [].into(),
            revocations: [].into(),
        }
    }

    /// What a policy names. `None` for a kind that Ferrogate does not read.
    pub(super) fn policy_target(&mut self, target: &api::PolicyTargetReference) -> Option<PolicyTarget> {
        let kind = Kind::find(&target.group, &target.kind)?;
        let namespace = self.namespace.clone();
        Some(PolicyTarget {
            object: self.object(kind, &namespace, &target.name),
            section: target.section_name.as_deref().map(text),
        })
    }
}

fn target_selector(selector: &api::TargetSelector) -> Option<TargetSelector> {
    use api::TargetNamespaceFrom::{All, Same, Selector};
    let labels = api::LabelSelector {
        match_labels: selector.match_labels.clone(),
        match_expressions: selector.match_expressions.clone(),
    };
    Some(TargetSelector {
        kind: Kind::find(&selector.group, &selector.kind)?,
        namespaces: match selector.namespaces.as_ref().map_or(Same, |namespaces| namespaces.from) {
            Same => SelectedNamespaces::Same,
            All => SelectedNamespaces::All,
            Selector => SelectedNamespaces::Selector(
                (selector.namespaces.as_ref().and_then(|namespaces| namespaces.selector.as_ref()))
                    .map(applied_selector),
            ),
        },
        labels: applied_selector(&labels),
    })
}

/// A selector as it is applied: one that Kubernetes would refuse chooses nothing, which a requirement without a known
/// operator sees to.
pub fn applied_selector(selector: &api::LabelSelector) -> LabelSelector {
    let mut selector = label_selector(selector);
    if selector.invalid().is_some() {
        selector.requirements.iter_mut().for_each(|requirement| requirement.operator = None);
    }
    selector
}
