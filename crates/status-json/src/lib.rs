//! Status as Kubernetes documents hold it: its JSON, and its place beside what others have written.
//!
//! [`document`] is what people see at a terminal; [`merge`] is what is written to an API server: the live status with
//! our part replaced, and everything of other controllers as it was.
//!
//! **Invariant:** no IO, no clock; the time of a transition is given by the caller.

mod conditions;
mod entries;
mod merge;
#[cfg(test)]
mod tests;

use ir::{
    Condition,
    object::GATEWAY_GROUP,
    status::{ListenerStatus, ParametersStatus, ParentReference, ParentStatus, Status, StatusBody},
};
use serde_json::{Map, Value, json};

pub use conditions::MAX_MESSAGE;
pub use merge::{Merge, Shape, has_others, merge};

/// The field of a Gateway's status that is left out when it is zero.
const ATTACHED_LISTENER_SETS: &str = "attachedListenerSets";

/// One object with its status: apiVersion, kind, name, namespace, status. It has no times.
pub fn document(status: &Status, controller: &str) -> Value {
    let object = &status.object;
    let mut metadata = Map::new();
    metadata.insert("name".into(), object.name.as_ref().into());
    if !object.namespace.is_empty() {
        metadata.insert("namespace".into(), object.namespace.as_ref().into());
    }
    json!({
        "apiVersion": object.kind.api_version(),
        "kind": object.kind.name(),
        "metadata": metadata,
        "status": body(&status.body, controller),
    })
}

/// `status` alone, without times.
pub fn body(body: &StatusBody, controller: &str) -> Value {
    match body {
        StatusBody::Conditions(conditions) => json!({ "conditions": all(conditions) }),
        StatusBody::Class { conditions, features } => json!({
            "conditions": all(conditions),
            "supportedFeatures": features.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        }),
        StatusBody::Gateway { addresses, conditions, listeners, attached_listener_sets, .. } => {
            let mut body = json!({
                "addresses": addresses.iter().map(|a| address(a)).collect::<Vec<_>>(),
                "conditions": all(conditions),
                "listeners": listeners.iter().map(listener).collect::<Vec<_>>(),
            });
            // Older CRDs do not have the field, and none is what its absence means.
            if *attached_listener_sets > 0 {
                body[ATTACHED_LISTENER_SETS] = (*attached_listener_sets).into();
            }
            body
        }
        StatusBody::ListenerSet { conditions, listeners, .. } => json!({
            "conditions": all(conditions),
            "listeners": listeners.iter().map(listener).collect::<Vec<_>>(),
        }),
        StatusBody::Route { parents } => {
            let parents = parents.iter().map(|parent| shared("parentRef", parent, controller));
            json!({ "parents": parents.collect::<Vec<_>>() })
        }
        StatusBody::Policy { ancestors } => {
            let ancestors = ancestors.iter().map(|ancestor| shared("ancestorRef", ancestor, controller));
            json!({ "ancestors": ancestors.collect::<Vec<_>>() })
        }
        StatusBody::Parameters { ancestors } => {
            json!({ "ancestors": ancestors.iter().map(user).collect::<Vec<_>>() })
        }
    }
}

fn all(conditions: &[Condition]) -> Vec<Value> {
    conditions.iter().map(condition).collect()
}

fn condition(condition: &Condition) -> Value {
    json!({
        "type": condition.kind,
        "status": condition.status.to_string(),
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
    })
}

/// Load balancers of some clouds have a name instead of an address.
fn address(text: &str) -> Value {
    let is_ip = text.parse::<std::net::IpAddr>().is_ok();
    json!({ "type": if is_ip { "IPAddress" } else { "Hostname" }, "value": text })
}

fn listener(listener: &ListenerStatus) -> Value {
    let kinds: Vec<Value> =
        listener.supported_kinds.iter().map(|kind| json!({ "group": GATEWAY_GROUP, "kind": kind })).collect();
    json!({
        "name": listener.name,
        "supportedKinds": kinds,
        "attachedRoutes": listener.attached_routes,
        "conditions": all(&listener.conditions),
    })
}

/// An entry of a list that controllers share; `reference` is the name of the field for the object that it is about.
fn shared(reference: &str, parent: &ParentStatus, controller: &str) -> Value {
    json!({
        reference: parent_ref(&parent.parent),
        "controllerName": controller,
        "conditions": all(&parent.conditions),
    })
}

/// An object that uses an EnvoyProxy, without the name of the controller, for which its status has no field.
fn user(ancestor: &ParametersStatus) -> Value {
    let object = &ancestor.ancestor;
    let mut reference = Map::new();
    reference.insert("group".into(), object.kind.group().into());
    reference.insert("kind".into(), object.kind.name().into());
    if !object.namespace.is_empty() {
        reference.insert("namespace".into(), object.namespace.as_ref().into());
    }
    reference.insert("name".into(), object.name.as_ref().into());
    json!({ "ancestorRef": reference, "conditions": all(&ancestor.conditions) })
}

fn parent_ref(reference: &ParentReference) -> Value {
    let mut parent_ref = Map::new();
    parent_ref.insert("group".into(), reference.group.as_ref().into());
    parent_ref.insert("kind".into(), reference.kind.as_ref().into());
    if let Some(namespace) = &reference.namespace {
        parent_ref.insert("namespace".into(), namespace.as_ref().into());
    }
    parent_ref.insert("name".into(), reference.name.as_ref().into());
    if let Some(section) = &reference.section_name {
        parent_ref.insert("sectionName".into(), section.as_ref().into());
    }
    if let Some(port) = reference.port {
        parent_ref.insert("port".into(), port.into());
    }
    Value::Object(parent_ref)
}
