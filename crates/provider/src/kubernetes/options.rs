//! What to watch, and how patiently.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use api::Object;
use ir::{ObjectRef, infra::DeployMode};

use super::{Scope, Witness};

/// What to watch.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of the control plane.
    pub controller_namespace: Arc<str>,
    /// The namespaces whose objects count.
    pub scope: Scope,
    /// Where our own infrastructure is.
    pub mode: DeployMode,
    /// Secrets and ConfigMaps that are kept though no object refers to them.
    pub keep: BTreeSet<ObjectRef>,
    /// The Secrets and ConfigMaps that an object refers to.
    pub references: fn(&Object) -> Vec<ObjectRef>,
    /// Who is told of statuses and infrastructure, if anybody.
    pub witness: Option<Arc<dyn Witness>>,
    /// How patiently.
    pub timing: Timing,
}

impl Options {
    /// Watches all namespaces, with our infrastructure in `controller_namespace`. `references` tells the Secrets and
    /// ConfigMaps that an object refers to: `store::references`.
    pub fn new(controller_namespace: &str, references: fn(&Object) -> Vec<ObjectRef>) -> Options {
        Options {
            controller_namespace: controller_namespace.into(),
            scope: Scope::All,
            mode: DeployMode::ControllerNamespace,
            keep: BTreeSet::new(),
            references,
            witness: None,
            timing: Timing::default(),
        }
    }
}

/// How patiently the API server is asked. The defaults suit all clusters; tests shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Whether lists are asked for as streams first, which spares the API server's memory. One that does not know
    /// them is asked for pages.
    pub streaming_lists: bool,
    /// Objects in a page of a list. 500 is what `kubectl` asks for.
    pub page: usize,
    /// Wait after the first failure; it doubles with each further one.
    pub first_delay: Duration,
    /// Longest wait after a failure. An API server that comes back is noticed within this time.
    pub longest_delay: Duration,
    /// Wait after a refusal for want of permission: somebody has to grant it first.
    pub forbidden_delay: Duration,
    /// Longest wait that the API server may ask for by `Retry-After`.
    pub longest_retry_after: Duration,
    /// Time for an answer to begin, and for a page to come.
    pub answer: Duration,
    /// A watch ends after this time at the latest and goes on where it was, so that load spreads over API servers.
    pub watch: Duration,
    /// A watch without a byte for this time is taken for dead. API servers send a bookmark about every minute.
    pub silence: Duration,
    /// A watch that lived this long has not failed when it ends.
    pub healthy: Duration,
    /// How often it is asked which kinds there are.
    pub discovery: Duration,
    /// A kind with objects in force has to be missing for this time before they go.
    pub absence: Duration,
    /// How long an object waits for Secrets and ConfigMaps that it newly refers to.
    pub hold: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            streaming_lists: true,
            page: 500,
            first_delay: Duration::from_millis(200),
            longest_delay: Duration::from_secs(10),
            forbidden_delay: Duration::from_secs(30),
            longest_retry_after: Duration::from_secs(60),
            answer: Duration::from_secs(60),
            watch: Duration::from_secs(290),
            // Two bookmarks may be lost.
            silence: Duration::from_secs(3 * 60),
            healthy: Duration::from_secs(1),
            discovery: Duration::from_secs(30),
            absence: Duration::from_secs(10),
            hold: Duration::from_secs(5),
        }
    }
}
