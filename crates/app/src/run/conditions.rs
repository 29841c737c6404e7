//! Conditions that only the data plane can decide: `Programmed` of Gateways, listeners and routes, from what Envoy
//! accepted and refused.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use ::ir::{
    Condition, ConditionStatus, Kind, ObjectRef,
    resource::{Delivery, ResourceType},
    status::{Status, StatusBody},
};
use host::State;
use server::{DeliveryReport, FeedStatus};

/// What the data plane says at one moment.
#[derive(Debug, Default)]
pub(crate) struct DataPlane {
    /// Reports of what proxies accepted and refused.
    pub reports: Vec<DeliveryReport>,
    /// How far the proxies of each fleet are.
    pub feeds: BTreeMap<Arc<str>, FeedStatus>,
    /// What each fleet listens on.
    pub specs: Arc<BTreeMap<Arc<str>, pipeline::FleetSpec>>,
    /// The processes.
    pub proxies: BTreeMap<Arc<str>, State>,
}

impl DataPlane {
    /// Adds to a status what the data plane says of its object.
    pub(crate) fn complete(&self, status: &mut Status) {
        match &mut status.body {
            StatusBody::Gateway { addresses, conditions, listeners } => {
                let fleet = format!("{}/{}", status.object.namespace, status.object.name);
                if let Some(spec) = self.specs.get(&*fleet) {
                    addresses.extend(spec.sockets.iter().map(|socket| socket.address.clone()));
                    addresses.sort_unstable();
                    addresses.dedup();
                }
                let generation = conditions.first().map_or(0, |c| c.observed_generation);
                let programmed = self.programmed(&fleet, generation);
                for (names, message) in self.refused_sockets(&fleet) {
                    for listener in listeners.iter_mut().filter(|l| names.contains(&l.name)) {
                        let own = listener.conditions.iter_mut().filter(|c| c.kind == "Programmed");
                        for condition in own.filter(|c| c.status == ConditionStatus::True) {
                            condition.status = ConditionStatus::False;
                            condition.reason = Cow::Borrowed("Invalid");
                            condition.message.clone_from(&message);
                        }
                    }
                }
                conditions.push(programmed);
            }
            StatusBody::Route { parents } => {
                let message = self.refused(
                    &status.object,
                    &[ResourceType::Route, ResourceType::Cluster, ResourceType::Endpoints],
                );
                if let Some(message) = message {
                    for parent in parents {
                        let generation = parent.conditions.first().map_or(0, |c| c.observed_generation);
                        parent.conditions.push(Condition {
                            kind: "Programmed",
                            status: ConditionStatus::False,
                            reason: Cow::Borrowed("Invalid"),
                            message: message.clone(),
                            observed_generation: generation,
                        });
                    }
                }
            }
            StatusBody::Conditions(_) => {}
        }
    }

    fn programmed(&self, fleet: &str, generation: i64) -> Condition {
        let (status, reason, message) = self.judge(fleet);
        Condition {
            kind: "Programmed",
            status,
            reason: Cow::Borrowed(reason),
            message,
            observed_generation: generation,
        }
    }

    fn judge(&self, fleet: &str) -> (ConditionStatus, &'static str, String) {
        let refused = self.reports.iter().find(|r| {
            &*r.feed == fleet
                && r.kind == ResourceType::Listener
                && matches!(r.delivery, Delivery::Rejected { .. })
        });
        if let Some(DeliveryReport { delivery: Delivery::Rejected { message }, name, .. }) = refused {
            return (ConditionStatus::False, "Invalid", format!("Envoy refuses listener {name}: {message}"));
        }
        match (self.proxies.get(fleet), self.feeds.get(fleet)) {
            (Some(State::BackOff { message, .. }), _) => {
                (ConditionStatus::False, "NoResources", format!("Envoy does not run: {message}"))
            }
            (Some(State::Ready { .. }), Some(feed))
                if feed.acked.is_some_and(|acked| acked >= feed.revision) =>
            {
                (ConditionStatus::True, "Programmed", "The proxy runs with this configuration".to_owned())
            }
            (Some(_), _) => {
                (ConditionStatus::False, "Pending", "The proxy does not have everything yet".to_owned())
            }
            (None, _) => (ConditionStatus::False, "NoResources", "No proxy runs for the Gateway".to_owned()),
        }
    }

    /// Listeners, by socket, that Envoy refuses, with its words. Listeners on other sockets go on.
    fn refused_sockets(&self, fleet: &str) -> Vec<(Vec<Arc<str>>, String)> {
        let sockets = self.specs.get(fleet).map_or(&[][..], |spec| &spec.sockets);
        let refused = self.reports.iter().filter(|r| &*r.feed == fleet && r.kind == ResourceType::Listener);
        refused
            .filter_map(|report| match &report.delivery {
                Delivery::Rejected { message } => {
                    let socket = sockets.iter().find(|s| s.name == report.name)?;
                    let words = format!(
                        "Envoy refuses the listener on {}:{}: {message}",
                        socket.address, socket.port
                    );
                    Some((socket.listeners.clone(), words))
                }
                Delivery::Accepted => None,
            })
            .collect()
    }

    /// Envoy's words when it refuses a resource that this object is an owner of.
    fn refused(&self, object: &ObjectRef, kinds: &[ResourceType]) -> Option<String> {
        self.reports.iter().find_map(|report| match &report.delivery {
            // A virtual host has the routes as owners; the Gateway owns the table, which others' mistakes can spoil.
            Delivery::Rejected { message }
                if kinds.contains(&report.kind)
                    && report.owners.contains(object)
                    && object.kind != Kind::Backend =>
            {
                let part = report.fragment.as_ref().unwrap_or(&report.name);
                Some(format!("Envoy refuses {} {part}: {message}", report.kind.short()))
            }
            _ => None,
        })
    }
}
