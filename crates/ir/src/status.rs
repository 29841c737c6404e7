//! Conditions, as every Gateway API status carries them.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::Serialize;

use crate::{ObjectRef, Problem};

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known yet.
    Unknown,
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        })
    }
}

/// One condition. Its transition time is added by whoever publishes it, so that equal conditions are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Type, such as `Accepted`.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Reason in CamelCase; several reasons of one condition are joined with commas, as Envoy Gateway does.
    pub reason: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
    /// `metadata.generation` of the object that was judged.
    pub observed_generation: i64,
}

/// The status of one object, free of times and of who publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The object.
    pub object: ObjectRef,
    /// What is published.
    pub body: StatusBody,
    /// The same by field, for people at a terminal.
    pub problems: Vec<Problem>,
}

/// `status` by the shape that the kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusBody {
    /// `conditions` alone: Backend.
    Conditions(Vec<Condition>),
    /// GatewayClass.
    Class {
        /// Of the class.
        conditions: Vec<Condition>,
        /// Features of Gateway API that it supports, ascending.
        features: Vec<&'static str>,
    },
    /// Gateway.
    Gateway {
        /// Name of the fleet of proxies that serves it.
        fleet: Arc<str>,
        /// IP addresses that proxies listen on; known only where the proxies are.
        addresses: Vec<Arc<str>>,
        /// Of the Gateway as a whole.
        conditions: Vec<Condition>,
        /// Of each listener.
        listeners: Vec<ListenerStatus>,
        /// ListenerSets that are attached with at least one valid listener.
        attached_listener_sets: u32,
    },
    /// ListenerSet.
    ListenerSet {
        /// The Gateway that it is part of.
        gateway: ObjectRef,
        /// Name of the fleet of proxies that serves it.
        fleet: Arc<str>,
        /// Of the ListenerSet as a whole.
        conditions: Vec<Condition>,
        /// Of each listener.
        listeners: Vec<ListenerStatus>,
    },
    /// Routes: one entry per parent.
    Route {
        /// The parents.
        parents: Vec<ParentStatus>,
    },
    /// Policies: one entry per object that they act on.
    Policy {
        /// The objects, or the parts of them, at most 16.
        ancestors: Vec<ParentStatus>,
    },
    /// EnvoyProxy: one entry per object that refers to it.
    Parameters {
        /// The objects that refer to it.
        ancestors: Vec<ParametersStatus>,
    },
}

/// Status of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Kinds of routes that may attach, all of Gateway API's group.
    pub supported_kinds: Vec<&'static str>,
    /// Routes that are attached.
    pub attached_routes: u32,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// Status of a route at one parent, or of a policy at one object that it acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentStatus {
    /// The parent, as the route has it; the object that the policy acts on.
    pub parent: ParentReference,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// Status of an EnvoyProxy in the place of one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParametersStatus {
    /// The GatewayClass or Gateway that refers to it.
    pub ancestor: ObjectRef,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// `parentRef`, as written. The order is by namespace first, as statuses that have no room for all are cut.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParentReference {
    /// Namespace.
    pub namespace: Option<Arc<str>>,
    /// Name.
    pub name: Arc<str>,
    /// API group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Listener name.
    pub section_name: Option<Arc<str>>,
    /// Listener port.
    pub port: Option<u16>,
}
