//! The state of a session for the admin port.

use ir::resource::ResourceType;

use super::Session;
use crate::debug::{ResourceDebug, TypeDebug};

impl Session {
    /// Each type with its names and versions.
    pub fn inspect(&self) -> Vec<TypeDebug> {
        ResourceType::ALL.into_iter().map(|kind| self.inspect_type(kind)).collect()
    }

    /// New clusters that are not warm yet, ascending.
    pub fn cold_clusters(&self) -> Vec<String> {
        let mut cold: Vec<String> = self.gates.cold().map(|c| c.to_string()).collect();
        cold.sort_unstable();
        cold
    }

    /// What the stream does now, in words.
    pub fn phase(&self) -> String {
        let mut parts = Vec::new();
        for kind in ResourceType::ALL {
            let state = self.state(kind);
            let send = state.dirty.len() + state.isolate.len();
            let counts = [
                (send, "to send"),
                (state.outstanding.len(), "unanswered"),
                (state.parked.len(), "waiting"),
                (state.removals.len(), "to remove"),
            ];
            for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
                parts.push(format!("{} {count} {what}", kind.short()));
            }
        }
        if parts.is_empty() { "idle".to_owned() } else { parts.join(", ") }
    }

    fn inspect_type(&self, kind: ResourceType) -> TypeDebug {
        let state = self.state(kind);
        let sorted = |names: &mut dyn Iterator<Item = String>| {
            let mut names: Vec<String> = names.collect();
            names.sort_unstable();
            names
        };
        let mut resources: Vec<ResourceDebug> = state
            .served
            .iter()
            .map(|(name, served)| ResourceDebug {
                name: name.to_string(),
                served: served.sent.map(|v| v.to_string()),
                acked: served.acked.map(|v| v.to_string()),
            })
            .collect();
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        TypeDebug {
            r#type: kind.short(),
            wildcard: state.wildcard,
            subscribed: sorted(&mut state.names.iter().map(|n| n.to_string())),
            resources,
            waiting: sorted(&mut state.dirty.keys().chain(state.parked.keys()).map(|n| n.to_string())),
            removing: sorted(&mut state.removals.keys().map(|n| n.to_string())),
            unanswered: state.outstanding.len(),
        }
    }
}
