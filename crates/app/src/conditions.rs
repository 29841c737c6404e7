//! Conditions that only the data plane can decide: `Programmed` of Gateways, listeners and routes, from what Envoy
//! accepted and refused, and from what runs it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ::ir::{
    Condition, ConditionStatus, Kind, ObjectRef,
    listener::ListenerRef,
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
    pub listeners: Vec<(ListenerRef, Word)>,
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

    /// What to say of a Gateway when Envoy refuses one of its listeners. One that serves others of the fleet alone is
    /// their matter.
    pub(crate) fn gateway(&self, fleet: &str, sockets: &[SocketSpec], gateway: &ObjectRef) -> Option<Word> {
        let concerns = |name: &Arc<str>| {
            sockets.iter().find(|socket| socket.name == *name).is_none_or(|socket| socket.serves(gateway))
        };
        let (name, message) = self.listeners.get(fleet)?.iter().find(|(name, _)| concerns(name))?;
        let reason = if is_without_address(message) { "AddressNotUsable" } else { "Invalid" };
        Some(Word::no(reason, format!("Envoy refuses listener {name}: {message}")))
    }

    /// Whether Envoy's machine does not have the address of a listener.
    pub(crate) fn lacks_address(&self, fleet: &str, listener: &str) -> bool {
        let refused = self.listeners.get(fleet).and_then(|refused| refused.get(listener));
        refused.is_some_and(|message| is_without_address(message))
    }

    /// Listeners of a Gateway whose socket Envoy refuses, with its words. Listeners on other sockets go on.
    pub(crate) fn sockets(
        &self,
        fleet: &str,
        sockets: &[SocketSpec],
        gateway: &ObjectRef,
    ) -> Vec<(ListenerRef, Word)> {
        let Some(refused) = self.listeners.get(fleet) else { return Vec::new() };
        let mut words = Vec::new();
        for socket in sockets {
            let Some(message) = refused.get(&socket.name) else { continue };
            let message =
                format!("Envoy refuses the listener on {}:{}: {message}", socket.address, socket.port);
            let word = Word::no("Invalid", message);
            let own = socket.listeners.iter().filter(|listener| listener.gateway == *gateway);
            words.extend(own.map(|listener| (listener.clone(), word.clone())));
        }
        words
    }

    /// Objects that are told something else by the two.
    pub(crate) fn differences(&self, other: &Refusals) -> BTreeSet<ObjectRef> {
        let all = self.objects.keys().chain(other.objects.keys());
        all.filter(|object| self.objects.get(*object) != other.objects.get(*object)).cloned().collect()
    }
}

/// True when a listener asks for an address that the proxy's machine does not have.
fn is_without_address(message: &str) -> bool {
    // The words of the C library for EADDRNOTAVAIL, which Envoy repeats.
    message.contains("cannot bind") && message.contains("Cannot assign requested address")
}

/// Adds to a status what the data plane says of its object. `verdict` is asked for Gateways and ListenerSets only, by
/// fleet and Gateway; `against` for what stands against the parameters of a Gateway or GatewayClass.
pub(crate) fn complete(
    status: &mut Status,
    refusals: &Refusals,
    verdict: impl FnOnce(&Arc<str>, &ObjectRef) -> Verdict,
    against: impl Fn(&ObjectRef) -> Option<Word>,
) {
    match &mut status.body {
        StatusBody::Gateway { fleet, addresses, conditions, listeners, .. } => {
            let verdict = verdict(fleet, &status.object);
            correct_accepted(conditions, against(&status.object).as_ref());
            *addresses = verdict.addresses;
            correct_all(&status.object, listeners, &verdict.listeners);
            let generation = conditions.first().map_or(0, |condition| condition.observed_generation);
            conditions.push(condition(verdict.programmed, generation));
        }
        StatusBody::ListenerSet { gateway, fleet, conditions, listeners } => {
            let verdict = verdict(fleet, gateway);
            correct_all(&status.object, listeners, &verdict.listeners);
            for programmed in conditions.iter_mut().filter(|condition| condition.kind == "Programmed") {
                correct_set(programmed, listeners, &verdict.programmed);
            }
        }
        StatusBody::Route { parents } => {
            let Some(message) = refusals.objects.get(&status.object) else { return };
            for parent in parents {
                let generation = parent.conditions.first().map_or(0, |c| c.observed_generation);
                parent.conditions.push(condition(Word::no("Invalid", message.clone()), generation));
            }
        }
        StatusBody::Class { conditions, .. } => {
            correct_accepted(conditions, against(&status.object).as_ref());
        }
        StatusBody::Parameters { ancestors } => {
            for entry in ancestors {
                correct_accepted(&mut entry.conditions, against(&entry.ancestor).as_ref());
            }
        }
        StatusBody::Conditions(_) | StatusBody::Policy { .. } => {}
    }
}

/// Corrects `Accepted`, if there is something to be said.
fn correct_accepted(conditions: &mut [Condition], word: Option<&Word>) {
    let Some(word) = word else { return };
    for accepted in conditions.iter_mut().filter(|condition| condition.kind == "Accepted") {
        correct(accepted, word);
    }
}

/// Corrects `Programmed` of those listeners of an object that something is to be said of.
fn correct_all(object: &ObjectRef, listeners: &mut [ListenerStatus], words: &[(ListenerRef, Word)]) {
    for (reference, word) in words.iter().filter(|(reference, _)| reference.owner == *object) {
        for listener in listeners.iter_mut().filter(|listener| listener.name == reference.name) {
            let own = listener.conditions.iter_mut().filter(|condition| condition.kind == "Programmed");
            own.for_each(|condition| correct(condition, word));
        }
    }
}

/// What translation refused keeps its words.
fn correct(condition: &mut Condition, word: &Word) {
    if condition.status == ConditionStatus::True {
        condition.status = word.status;
        condition.reason = Cow::Borrowed(word.reason);
        condition.message.clone_from(&word.message);
    }
}

/// A ListenerSet is programmed while some listener is, and its Gateway.
fn correct_set(condition: &mut Condition, listeners: &[ListenerStatus], gateway: &Word) {
    let mut all = listeners.iter().flat_map(|listener| &listener.conditions);
    if gateway.status != ConditionStatus::True {
        let message = format!("The Gateway is not programmed: {}", gateway.message);
        correct(condition, &Word::no("ParentNotProgrammed", message));
    } else if !all.any(|c| c.kind == "Programmed" && c.status == ConditionStatus::True) {
        let message = "No listener is programmed; see the conditions of the listeners";
        correct(condition, &Word::no("ListenersNotValid", message));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> ObjectRef {
        ObjectRef::new(Kind::Gateway, "default", "edge")
    }

    fn set() -> ObjectRef {
        ObjectRef::new(Kind::ListenerSet, "team", "more")
    }

    /// `Programmed` of a ListenerSet and of its two listeners, when the data plane says `gateway` of the Gateway and
    /// `words` of listeners.
    fn completed(programmed: Word, words: &[(ObjectRef, &str)]) -> (Condition, Vec<Condition>) {
        let listener = |name: &str| ListenerStatus {
            name: name.into(),
            supported_kinds: Vec::new(),
            attached_routes: 0,
            conditions: vec![condition(Word::programmed("translated"), 1)],
        };
        let body = StatusBody::ListenerSet {
            gateway: gateway(),
            fleet: "class".into(),
            conditions: vec![condition(Word::programmed("translated"), 1)],
            listeners: vec![listener("a"), listener("b")],
        };
        let mut status = Status { object: set(), body, problems: Vec::new() };
        let refused = |(owner, name): &(ObjectRef, &str)| {
            let reference = ListenerRef { owner: owner.clone(), name: (*name).into(), gateway: gateway() };
            (reference, Word::no("Invalid", "refused"))
        };
        let listeners = words.iter().map(refused).collect();
        let verdict = |fleet: &Arc<str>, parent: &ObjectRef| {
            assert_eq!((&**fleet, parent), ("class", &gateway()));
            Verdict { addresses: Vec::new(), programmed, listeners }
        };
        complete(&mut status, &Refusals::default(), verdict, |_| None);
        let StatusBody::ListenerSet { mut conditions, mut listeners, .. } = status.body else { panic!() };
        (conditions.remove(0), listeners.iter_mut().map(|l| l.conditions.remove(0)).collect())
    }

    #[test]
    fn a_listener_set_is_programmed_while_a_listener_is_and_its_gateway() {
        let fine = || Word::programmed("fine");
        let reasons = |found: &(Condition, Vec<Condition>)| -> Vec<String> {
            found.1.iter().chain([&found.0]).map(|condition| condition.reason.to_string()).collect()
        };
        // What is said of the Gateway's listener of that name is not said of the ListenerSet's.
        let found = completed(fine(), &[(gateway(), "a"), (set(), "b")]);
        assert_eq!(reasons(&found), ["Programmed", "Invalid", "Programmed"]);
        let found = completed(fine(), &[(set(), "a"), (set(), "b")]);
        assert_eq!(reasons(&found), ["Invalid", "Invalid", "ListenersNotValid"]);
        let found = completed(Word::no("NoResources", "no proxy runs"), &[]);
        assert_eq!(reasons(&found), ["Programmed", "Programmed", "ParentNotProgrammed"]);
        assert!(found.0.message.contains("no proxy runs"), "{}", found.0.message);
    }

    #[test]
    fn a_refused_socket_concerns_the_gateways_on_it_alone() {
        let other = ObjectRef::new(Kind::Gateway, "default", "other");
        let socket = |name: &str, gateways: &[&ObjectRef]| SocketSpec {
            name: name.into(),
            address: "0.0.0.0".into(),
            port: 80,
            listeners: (gateways.iter())
                .map(|gateway| ListenerRef {
                    owner: (*gateway).clone(),
                    name: "web".into(),
                    gateway: (*gateway).clone(),
                })
                .collect(),
        };
        let sockets = [socket("shared", &[&gateway(), &other]), socket("own", &[&other])];
        let refused = |name: &str| {
            let listeners = BTreeMap::from([(name.into(), "no".to_owned())]);
            let refusals =
                Refusals { listeners: BTreeMap::from([("class".into(), listeners)]), ..Refusals::default() };
            [gateway(), other.clone()].map(|gateway| {
                let listeners = refusals.sockets("class", &sockets, &gateway);
                assert!(listeners.iter().all(|(listener, _)| listener.gateway == gateway));
                (refusals.gateway("class", &sockets, &gateway).is_some(), listeners.len())
            })
        };
        assert_eq!(refused("shared"), [(true, 1), (true, 1)]);
        assert_eq!(refused("own"), [(false, 0), (true, 1)]);
        assert_eq!(refused("readiness"), [(true, 0), (true, 0)]);
    }

    #[test]
    fn an_address_that_a_machine_does_not_have_is_the_gateways_matter() {
        let refused = |message: &str| {
            let listeners = BTreeMap::from([("edge/web".into(), message.to_owned())]);
            let refusals = Refusals {
                listeners: BTreeMap::from([("default/edge".into(), listeners)]),
                ..Refusals::default()
            };
            let reason = refusals.gateway("default/edge", &[], &gateway()).map(|word| word.reason);
            (reason, refusals.lacks_address("default/edge", "edge/web"))
        };
        let missing = "cannot bind '192.0.2.77:80': Cannot assign requested address";
        assert_eq!(refused(missing), (Some("AddressNotUsable"), true));
        assert_eq!(refused("cannot bind '127.0.0.1:80': Address already in use"), (Some("Invalid"), false));
    }
}
