//! ListenerSets of a Gateway: which of them attach, in which order, and what is said of them.

use std::sync::Arc;

use ir::{ConditionStatus, ObjectRef};
use store::{ObjectId, facts};

use super::{
    AttachListener, GatewayConditions, Judged, Owner,
    conditions::{not_accepted, of_listeners},
    member::Part,
};
use crate::{Finding, Reader, namespaces};

/// What the gateway stage says of a ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSetOutput {
    /// Its id.
    pub id: ObjectId,
    /// The ListenerSet.
    pub object: ObjectRef,
    /// True when its Gateway takes its listeners.
    pub attached: bool,
    /// Its listeners as routes see them, in the order of the spec; empty when it is not attached.
    pub listeners: Arc<[AttachListener]>,
    /// Its conditions.
    pub status: GatewayConditions,
}

/// A ListenerSet that names the Gateway as its parent.
#[derive(Debug)]
pub(super) struct Set<'a> {
    fact: &'a facts::ListenerSet,
    object: ObjectRef,
    prefix: String,
    part: Part,
    /// Why it is not attached.
    refused: Option<Finding>,
}

/// The ListenerSets of a Gateway in the order of precedence: by age, then by namespace and name (Gateway API,
/// `ListenerSetSpec.listeners`).
pub(super) fn of<'a>(
    gateway: &facts::Gateway,
    object: &ObjectRef,
    part: &Part,
    reader: &mut Reader<'a>,
) -> Vec<Set<'a>> {
    let mut sets: Vec<Set<'a>> = (reader.listener_sets_of(gateway.meta.id).into_iter())
        .map(|fact| {
            let set = reader.object(fact.meta.id);
            let allowed = gateway
                .allowed_listeners
                .as_ref()
                .is_some_and(|allowed| namespaces::admits(allowed, &object.namespace, &fact.meta, reader));
            let refused = (!allowed).then(|| {
                Finding::new(
                    "spec.parentRef",
                    "NotAllowed",
                    format!(
                        "{object} admits no ListenerSet of namespace {}: see its allowedListeners",
                        set.namespace
                    ),
                )
            });
            let prefix = format!("{}/{}/{}/{}", object.namespace, object.name, set.namespace, set.name);
            Set { fact, object: set, prefix, part: part.clone(), refused }
        })
        .collect();
    sets.sort_by(|a, b| (a.fact.meta.created, &a.object).cmp(&(b.fact.meta.created, &b.object)));
    sets
}

/// How many are attached with at least one valid listener.
pub(super) fn count(sets: &[ListenerSetOutput]) -> u32 {
    let accepted = |set: &&ListenerSetOutput| {
        let mut conditions = set.status.conditions.iter();
        conditions.any(|c| c.kind == "Accepted" && c.status == ConditionStatus::True)
    };
    u32::try_from(sets.iter().filter(accepted).count()).unwrap_or(u32::MAX)
}

impl<'a> Set<'a> {
    pub(super) fn owner(&self) -> Owner<'_> {
        Owner { object: &self.object, meta: &self.fact.meta, prefix: &self.prefix, part: &self.part }
    }

    /// The listeners that it adds to the Gateway.
    pub(super) fn listeners(&self) -> &'a [facts::Listener] {
        if self.refused.is_some() { &[] } else { &self.fact.listeners }
    }

    /// The output, from what was found about its listeners.
    pub(super) fn output(
        mut self,
        judged: Vec<Judged<'_>>,
        listeners: Arc<[AttachListener]>,
    ) -> ListenerSetOutput {
        let refused = self.refused.take();
        let attached = refused.is_none();
        let owner = self.owner();
        let status = match refused {
            Some(finding) => refused_as(&owner, finding, "NotAllowed"),
            None => conditions(&owner, judged),
        };
        ListenerSetOutput { id: self.fact.meta.id, object: self.object, attached, listeners, status }
    }

    /// The output while the Gateway takes no listeners at all.
    pub(super) fn without_parent(self, gateway: &ObjectRef) -> ListenerSetOutput {
        let status = refused_as(&self.owner(), not_accepted_parent(gateway), "ParentNotProgrammed");
        let (id, object) = (self.fact.meta.id, self.object);
        ListenerSetOutput { id, object, attached: false, listeners: [].into(), status }
    }
}

impl ListenerSetOutput {
    /// Says that the Gateway is not accepted although it goes on to serve.
    pub(super) fn parent_is_not_accepted(&mut self, gateway: &ObjectRef) {
        if self.attached {
            let finding = not_accepted_parent(gateway);
            let generation = self.status.generation;
            not_accepted(&self.object, generation, finding, &mut self.status);
        }
    }
}

fn not_accepted_parent(gateway: &ObjectRef) -> Finding {
    let message = format!("{gateway} is not accepted; see its conditions");
    Finding::new("spec.parentRef", "ParentNotAccepted", message)
}

/// Conditions of a ListenerSet that is not attached. `reason` is that of `Programmed`.
fn refused_as(owner: &Owner<'_>, finding: Finding, reason: &'static str) -> GatewayConditions {
    let mut status = GatewayConditions { generation: owner.meta.generation, ..GatewayConditions::default() };
    let message = "Its listeners are not part of a Gateway; see the condition Accepted";
    status.conditions.push(owner.condition("Programmed", ConditionStatus::False, reason, message));
    not_accepted(owner.object, owner.meta.generation, finding, &mut status);
    status
}

/// Conditions of a ListenerSet from those of its listeners, as Envoy Gateway sets them: it is accepted, and programmed,
/// as soon as one listener is.
fn conditions(owner: &Owner<'_>, judged: Vec<Judged<'_>>) -> GatewayConditions {
    let mut status = of_listeners(owner, judged);
    let without = |kind: &str| -> Vec<&str> {
        let lacks = status.listeners.iter().filter(|listener| {
            !listener.conditions.iter().any(|c| c.kind == kind && c.status == ConditionStatus::True)
        });
        lacks.map(|listener| &*listener.name).collect()
    };
    let all = status.listeners.len();
    let mut conditions = Vec::with_capacity(2);
    for (kind, participle, partly) in
        [("Accepted", "accepted", "ListenersNotValid"), ("Programmed", "programmed", "Programmed")]
    {
        let bad = without(kind);
        let (status, reason, message) = if bad.is_empty() {
            (ConditionStatus::True, kind, format!("All listeners are {participle}"))
        } else if bad.len() < all {
            let message = format!("Some listeners are not {participle}: {}", bad.join(", "));
            (ConditionStatus::True, partly, message)
        } else {
            let message = format!("No listener is {participle}; see the conditions of the listeners");
            (ConditionStatus::False, "ListenersNotValid", message)
        };
        conditions.push(owner.condition(kind, status, reason, message));
    }
    status.conditions = conditions;
    status
}
