//! What a session tells its surroundings: answers of the proxy and what they mean.

use std::{sync::Arc, time::Duration};

use envoy_api::discovery::DeltaDiscoveryResponse;
use ir::{
    ObjectRef,
    resource::{Fragment, ResourceType, Version},
};

/// Something that happened on a stream.
#[derive(Clone, Debug)]
pub enum Event {
    /// The proxy accepted a response.
    Acked {
        /// Type of the response.
        kind: ResourceType,
        /// The resources in it that were sent, removals left out.
        entries: Vec<(Arc<str>, Version)>,
        /// Time from sending to the answer.
        latency: Duration,
    },
    /// The proxy refused a response. What was at fault follows, now or after more attempts, as [`Event::Refused`].
    Nacked {
        /// Type of the response.
        kind: ResourceType,
        /// Envoy's words.
        message: Arc<str>,
    },
    /// One version of one resource, or of one virtual host, is at fault.
    Refused(Refusal),
    /// A route or listener waited for a cluster that is now there.
    GateOpened {
        /// How long the cluster took from sending to warm.
        after: Duration,
    },
    /// A route or listener goes out though the cluster that it needs is not warm.
    GateTimedOut {
        /// The cluster.
        cluster: Arc<str>,
    },
    /// The proxy asked for a type that is not served.
    UnknownType {
        /// Its URL.
        url: Arc<str>,
    },
}

/// What Envoy refuses, as narrowly as it could be found out.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Type of the resource.
    pub kind: ResourceType,
    /// Name of the resource.
    pub name: Arc<str>,
    /// The refused version; of the virtual host when `fragment` is there.
    pub version: Version,
    /// The refused virtual host; `None` when the whole resource is at fault.
    pub fragment: Option<Arc<str>>,
    /// The virtual host of this name that the proxy has in force.
    pub good: Option<Arc<Fragment>>,
    /// Envoy's words, trimmed.
    pub message: Arc<str>,
    /// The objects whose authors can mend it.
    pub owners: Box<[ObjectRef]>,
    /// The cause is the proxy's machine (a port in use), so the same version is tried again.
    pub transient: bool,
}

/// A response to send, with what metrics want to know of it.
#[derive(Debug)]
pub struct Outgoing {
    /// The message.
    pub response: DeltaDiscoveryResponse,
    /// Its type; `None` for the empty answer to a type that is not served.
    pub kind: Option<ResourceType>,
    /// Bytes of the resources in it.
    pub bytes: usize,
}

/// Why a stream must end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// More names than [`crate::Settings::max_names`].
    #[error("the proxy subscribes to more than {limit} names")]
    TooManyNames {
        /// The limit.
        limit: usize,
    },
}
