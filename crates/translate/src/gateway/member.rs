//! A Gateway on the way to its output, alone or among those that share proxies with it.

use api::tls::MisdirectedRequests;
use ir::{ConditionStatus, ObjectRef};
use store::{ObjectId, facts};

use super::{
    Age, AttachListener, ClientVerdict, Fleet, GatewayOutput, Judged, ListenerSetOutput, Owner, client_side,
    conditions::{conditions, insecure, not_accepted, resolved_refs},
    frontend::{self, Frontend},
    listener::OVERLAPPING_TLS,
    misdirected,
    parameters::{self, INVALID_PARAMETERS, Parameters},
    sets::{self, Set},
};
use crate::{Finding, Reader};

/// A Gateway of a fleet.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub gateway: &'a facts::Gateway,
    pub object: ObjectRef,
    pub part: Part,
    prefix: String,
    sets: Vec<Set<'a>>,
    /// What it asks of clients.
    frontend: Frontend,
    /// What is wrong with its annotation.
    unknown_mode: Option<Finding>,
    /// Why nothing of it is served.
    refused: Option<Finding>,
    /// Why it is not accepted although it is served.
    unaccepted: Option<Finding>,
}

/// What listeners have from the Gateway that they are part of, by themselves or through a ListenerSet.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The Gateway.
    pub id: ObjectId,
    /// Where it stands among Gateways that share its proxies; `None` where it has proxies of its own.
    pub age: Option<Age>,
    /// What becomes of misdirected requests.
    pub mode: MisdirectedRequests,
}

impl<'a> Member<'a> {
    pub(super) fn new(fleet: &Fleet, gateway: &'a facts::Gateway, reader: &mut Reader<'a>) -> Self {
        let object = reader.object(gateway.meta.id);
        let (mode, unknown_mode) = misdirected::mode(gateway, reader);
        let age = || (gateway.meta.created, object.namespace.clone(), object.name.clone());
        let part = Part { id: gateway.meta.id, age: fleet.merged.then(age), mode };
        let refused = unsupported_address(gateway)
            .or_else(|| fleet.merged.then(|| parameters::merged_backends(fleet.class, reader)).flatten());
        Member {
            prefix: format!("{}/{}", object.namespace, object.name),
            sets: sets::of(gateway, &object, &part, reader),
            frontend: frontend::of_gateway(gateway, reader),
            unaccepted: own_parameters(fleet, gateway),
            gateway,
            object,
            part,
            unknown_mode,
            refused,
        }
    }

    /// True when its listeners are served, as far as they are sound.
    pub(super) fn is_served(&self) -> bool {
        self.refused.is_none()
    }

    /// How many listeners it brings, its own and those of its ListenerSets.
    pub(super) fn listeners(&self) -> usize {
        let of_sets: usize = self.sets.iter().map(|set| set.listeners().len()).sum();
        if self.is_served() { self.gateway.listeners.len() + of_sets } else { 0 }
    }

    /// Judges its listeners one by one.
    pub(super) fn judge(&self, reader: &mut Reader<'_>) -> Vec<Judged<'a>> {
        if !self.is_served() {
            return Vec::new();
        }
        let mut judged = self.owner().judge(&self.gateway.listeners, reader);
        for set in &self.sets {
            judged.extend(set.owner().judge(set.listeners(), reader));
        }
        self.frontend.mark(&mut judged);
        judged
    }

    fn owner(&self) -> Owner<'_> {
        Owner { object: &self.object, meta: &self.gateway.meta, prefix: &self.prefix, part: &self.part }
    }

    /// The output, from what was found about its listeners and about its fleet: why the parameters cannot be used, and
    /// which of the Gateway's TLS configurations overlap. Its ListenerSets' go to `outputs`.
    pub(super) fn output(
        mut self,
        (mut judged, mut listeners): (impl Iterator<Item = Judged<'a>>, impl Iterator<Item = AttachListener>),
        (unusable, overlapping, client_verdicts): (Option<Finding>, Option<Finding>, Box<[ClientVerdict]>),
        parameters: &Parameters,
        outputs: &mut Vec<ListenerSetOutput>,
        reader: &mut Reader<'_>,
    ) -> GatewayOutput {
        let generation = self.gateway.meta.generation;
        if let Some(finding) = self.refused.take() {
            let mut output = GatewayOutput::empty(self.part.id, self.object, true);
            output.status.generation = generation;
            outputs.extend(self.sets.into_iter().map(|set| set.without_parent(&output.object)));
            not_accepted(&output.object, generation, finding, &mut output.status);
            return output;
        }
        let own = self.gateway.listeners.len();
        let mut status = conditions(&self.owner(), judged.by_ref().take(own).collect());
        let own = listeners.by_ref().take(own).collect();
        let mut sets: Vec<ListenerSetOutput> = (std::mem::take(&mut self.sets).into_iter())
            .map(|set| {
                let count = set.listeners().len();
                set.output(judged.by_ref().take(count).collect(), listeners.by_ref().take(count).collect())
            })
            .collect();
        let (client_side, unresolved) =
            client_side::of_gateway(self.gateway, &self.object, parameters, reader);
        let asked = std::mem::take(&mut self.frontend.unresolved);
        let owner = self.owner();
        resolved_refs(self.gateway, &owner, asked.into_iter().chain(unresolved).collect(), &mut status);
        if self.frontend.insecure {
            insecure(&owner, &mut status);
        }
        status.conditions.extend(overlapping.map(|finding| {
            let message = finding.message.to_string();
            owner.condition(OVERLAPPING_TLS, ConditionStatus::True, finding.reason, message)
        }));
        status.problems.extend(self.unknown_mode.take().map(|finding| ir::Problem {
            severity: ir::Severity::Warning,
            ..crate::status::problem(&self.object, "", finding)
        }));
        if let Some(finding) = unusable.or(self.unaccepted) {
            for set in &mut sets {
                set.parent_is_not_accepted(&self.object);
            }
            not_accepted(&self.object, generation, finding, &mut status);
        }
        status.attached_sets = sets::count(&sets);
        outputs.append(&mut sets);
        let (id, object) = (self.part.id, self.object);
        GatewayOutput { id, object, managed: true, listeners: own, client_side, client_verdicts, status }
    }
}

/// The proxies of merged Gateways are the class's matter: a Gateway among them can have no parameters of its own, as
/// with Envoy Gateway. It goes on to serve with those of the class.
fn own_parameters(fleet: &Fleet, gateway: &facts::Gateway) -> Option<Finding> {
    let own = gateway.parameters.as_ref().filter(|_| fleet.merged)?;
    let message = format!(
        "{} {} cannot be used: the GatewayClass merges its Gateways (mergeGateways), so that only its own parametersRef says how their proxies run; remove the reference",
        own.kind, own.name
    );
    Some(Finding::new("spec.infrastructure.parametersRef", INVALID_PARAMETERS, message))
}

fn unsupported_address(gateway: &facts::Gateway) -> Option<Finding> {
    let (i, facts::Address { kind, .. }) = gateway
        .addresses
        .iter()
        .enumerate()
        .find(|(_, address)| !matches!(&*address.kind, "IPAddress" | "Hostname"))?;
    Some(Finding::new(
        format!("spec.addresses[{i}].type"),
        "UnsupportedAddress",
        format!("addresses of type {kind} are not supported; use IPAddress or Hostname"),
    ))
}
