//! Kubernetes objects from an API server, as it has them now and as they change.
//!
//! [`connect`] makes a client, [`watch`] follows every kind that Ferrogate reads and its own infrastructure.
//!
//! ```text
//!   source (one per kind, or per kind and namespace): list, then watch; decodes; knows no other source
//!      │ items, changes, failures
//!      ▼
//!   hub (one task): what is in force, scope, references, what waits for a Secret
//!      │ updates               │ observed Services, workloads, Pods, Nodes
//!      ▼                       ▼
//!   `Updates`               `Watch::observed`, and `Witness` for who writes
//! ```
//!
//! What is in force, given what the API server holds:
//! - Nothing, until every kind was listed once; then everything at once. A kind whose CRD is not installed counts as
//!   listed and empty, and is followed as soon as the CRD is there. So does a kind that may not be read, with a problem
//!   that names the missing RBAC rule.
//! - After that the newest version seen. Whatever keeps an API server from answering changes nothing that is in force.
//! - A list that follows a break is compared with what is in force: only what differs is sent.
//! - An object that does not fit its type is not in force, and a problem names it with the field.
//! - Of Secrets and ConfigMaps, those that another object refers to. The object waits until they have been fetched, so
//!   that it comes in one update with them.
//!
//! **Invariant:** no object, however odd, stops a watch, and no failure of the API server takes anything out of force.

mod backoff;
mod client;
mod decode;
mod discovery;
mod hub;
mod metrics;
mod observed;
mod options;
mod problems;
mod references;
mod resource;
mod run;
mod scope;
mod server;
mod source;
#[cfg(test)]
mod tests;
mod witness;

use std::{fmt, sync::Arc};

use kube::Client;
use tokio::sync::watch::Receiver;

pub use client::{ConnectError, connect};
pub use metrics::{KindLabel, Metrics};
pub use observed::{
    FleetState, LoadBalancerAddress, Node, Observed, Pod, PodName, ProxyPort, ProxyService, Workload,
    WorkloadKind,
};
pub use options::{Options, Timing};
pub use scope::Scope;
pub use witness::{Sight, Witness};

use crate::{Update, mailbox};

/// A watch under way.
#[derive(Debug)]
pub struct Watch {
    /// Objects, problems. Dropping it ends the watch.
    pub updates: Updates,
    /// What became of our own infrastructure. Empty until everything was listed once.
    pub observed: Receiver<Observed>,
    /// How far the first lists are.
    pub progress: Receiver<Progress>,
    /// What the watch has done so far.
    pub metrics: Metrics,
}

/// How far the first lists are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// True once the first update is there. It never becomes false again.
    pub synced: bool,
    /// What is waited for, in words: `HTTPRoute in default`, with the latest failure if there is one.
    pub waiting: Arc<[String]>,
}

/// What an update says beside its objects.
#[derive(Debug)]
struct Head {
    revision: u64,
    problems: Vec<ir::Problem>,
}

/// Updates of a watch, in order. Dropping it ends the watch.
pub struct Updates(mailbox::Reader<Head>);

impl Updates {
    /// The next update. The first comes when everything was listed once, though that may be nothing; later ones hold
    /// changes only. A slow reader finds several of them merged into one. None when the watch has ended, which does
    /// not happen while it is awaited. Cancel safe.
    pub async fn next(&mut self) -> Option<Update> {
        let taken = self.0.next().await?;
        let Head { revision, problems } = taken.head;
        Some(Update { revision, problems, apply: taken.apply, delete: taken.delete })
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates").finish_non_exhaustive()
    }
}

/// Follows the API server in tasks of the current runtime, until [`Watch::updates`] is dropped. It never gives up: an
/// API server that does not answer is asked again, ever less often, up to every [`Timing::longest_delay`].
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn watch(client: Client, options: Options) -> Watch {
    run::start(client, options)
}
