//! Conditions that only the data plane can decide: `Programmed` of Gateways, listeners and routes, from what Envoy
//! accepted and refused, and from what runs it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ::ir::{
    Condition, ConditionStatus, Kind, ObjectRef,
    resource::{Delivery, ResourceType},
    status::{ListenerStatus, Status, StatusBody},
};
use pipeline::SocketSpec;
use server::DeliveryReport;

/// What becomes of a Gateway: its addresses, and whether it is programmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Where clients reach it.
    pub addresses: Vec<Arc<str>>,
    /// `Programmed` of the Gateway.
    pub programmed: Word,
    /// Listeners that are not programmed though translation found nothing wrong, with what is to be said of them.
    pub listeners: Vec<(Arc<str>, Word)>,
}

/// A condition without its type and generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Reason.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Word {
    /// It does not hold.
    pub(crate) fn no(reason: &'static str, message: impl Into<String>) -> Word {
        Word { status: ConditionStatus::False, reason, message: message.into() }
    }

    /// `Programmed`.
    pub(crate) fn programmed(message: &str) -> Word {
        Word { status: ConditionStatus::True, reason: "Programmed", message: message.to_owned() }
    }
}

/// What proxies said, by whom it concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    /// By fleet and name of the listener in xDS: Envoy's words.
    listeners: BTreeMap<Arc<str>, BTreeMap<Arc<str>, String>>,
    /// By object that can mend it: what Envoy refuses, with its words.
    objects: BTreeMap<ObjectRef, String>,
    /// Listeners in force, by fleet and name in xDS.
    accepted: BTreeSet<(Arc<str>, Arc<str>)>,
}

impl Refusals {
    /// Sorts reports.
    pub(crate) fn of(reports: Vec<DeliveryReport>) -> Refusals {
        let mut refusals = Refusals::default();
        for report in reports {
            match (report.kind, &report.delivery) {
                (ResourceType::Listener, Delivery::Accepted) => {
                    refusals.accepted.insert((report.feed, report.name));
                }
                (ResourceType::Listener, Delivery::Rejected { message }) => {
                    refusals
                        .listeners
                        .entry(report.feed)
                        .or_default()
                        .insert(report.name, message.to_string());
                }
                // A virtual host has the routes as owners; the Gateway owns the table, which others' mistakes can
                // spoil.
                (
                    ResourceType::Route | ResourceType::Cluster | ResourceType::Endpoints,
                    Delivery::Rejected { message },
                ) => {
                    let part = report.fragment.as_ref().unwrap_or(&report.name);
                    let words = format!("Envoy refuses {} {part}: {message}", report.kind.short());
                    for owner in report.owners.iter().filter(|owner| owner.kind != Kind::Backend) {
                        refusals.objects.entry(owner.clone()).or_insert_with(|| words.clone());
                    }
                }
                _ => {}
            }
        }
        refusals
    }

    /// Whether a listener is in force at some proxy, and refused by none.
    pub(crate) fn accepts(&self, fleet: &Arc<str>, listener: &Arc<str>) -> bool {
        self.accepted.contains(&(fleet.clone(), listener.clone()))
    }

    /// What to say of a Gateway when Envoy refuses one of its listeners.
    pub(crate) fn gateway(&self, fleet: &str) -> Option<Word> {
        let (name, message) = self.listeners.get(fleet)?.first_key_value()?;
        Some(Word::no("Invalid", format!("Envoy refuses listener {name}: {message}")))
    }

    /// Gateway API listeners whose socket Envoy refuses, with its words. Listeners on other sockets go on.
    pub(crate) fn sockets(&self, fleet: &str, sockets: &[SocketSpec]) -> Vec<(Arc<str>, Word)> {
        let Some(refused) = self.listeners.get(fleet) else { return Vec::new() };
        let mut words = Vec::new();
        for socket in sockets {
            let Some(message) = refused.get(&socket.name) else { continue };
            let message =
                format!("Envoy refuses the listener on {}:{}: {message}", socket.address, socket.port);
            let word = Word::no("Invalid", message);
            words.extend(socket.listeners.iter().map(|listener| (listener.clone(), word.clone())));
        }
        words
    }

    /// Objects that are told something else by the two.
    pub(crate) fn differences(&self, other: &Refusals) -> BTreeSet<ObjectRef> {
        let all = self.objects.keys().chain(other.objects.keys());
        all.filter(|object| self.objects.get(*object) != other.objects.get(*object)).cloned().collect()
    }
}

/// The fleet that serves a Gateway, by name.
pub(crate) fn fleet_of(gateway: &ObjectRef) -> Arc<str> {
    format!("{}/{}", gateway.namespace, gateway.name).into()
}

/// Adds to a status what the data plane says of its object. `verdict` is asked for Gateways only, by fleet.
pub(crate) fn complete(status: &mut Status, refusals: &Refusals, verdict: impl FnOnce(&Arc<str>) -> Verdict) {
    match &mut status.body {
        StatusBody::Gateway { addresses, conditions, listeners } => {
            let verdict = verdict(&fleet_of(&status.object));
            *addresses = verdict.addresses;
            for (name, word) in verdict.listeners {
                for listener in listeners.iter_mut().filter(|listener| listener.name == name) {
                    correct(listener, &word);
                }
            }
            let generation = conditions.first().map_or(0, |condition| condition.observed_generation);
            conditions.push(condition(verdict.programmed, generation));
        }
        StatusBody::Route { parents } => {
            let Some(message) = refusals.objects.get(&status.object) else { return };
            for parent in parents {
                let generation = parent.conditions.first().map_or(0, |c| c.observed_generation);
                parent.conditions.push(condition(Word::no("Invalid", message.clone()), generation));
            }
        }
        StatusBody::Conditions(_) | StatusBody::Ancestors { .. } | StatusBody::Policy { .. } => {}
    }
}

/// Listeners that translation refused keep its words.
fn correct(listener: &mut ListenerStatus, word: &Word) {
    let own = listener.conditions.iter_mut().filter(|condition| condition.kind == "Programmed");
    for condition in own.filter(|condition| condition.status == ConditionStatus::True) {
        condition.status = word.status;
        condition.reason = Cow::Borrowed(word.reason);
        condition.message.clone_from(&word.message);
    }
}

fn condition(word: Word, generation: i64) -> Condition {
    Condition {
        kind: "Programmed",
        status: word.status,
        reason: Cow::Borrowed(word.reason),
        message: word.message,
        observed_generation: generation,
    }
}
