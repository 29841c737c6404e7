//! The gateway that runs in this process, as the admin port and the metrics port look at it.

use std::sync::Arc;

use ::ir::{Problem, status::Status};
use prometheus_client::registry::Registry;
use server::Feeds;

use crate::{control::Control, run, serve, view, watchdog::Watchdog};

/// Everything that can be looked at.
#[derive(Clone)]
pub(crate) struct Gateway {
    /// The pipeline.
    pub control: Control,
    /// The xDS server's resources.
    pub feeds: Feeds,
    /// What runs the proxies.
    pub plane: Plane,
    /// What it finds wrong.
    pub watchdog: Watchdog,
}

/// What runs the proxies.
#[derive(Clone)]
pub(crate) enum Plane {
    /// This process.
    Host(run::Fleets),
    /// A Kubernetes cluster.
    Cluster(serve::Cluster),
}

impl Gateway {
    /// Every status, completed by what the data plane says, and our controller's name.
    pub(crate) async fn statuses(&self) -> (Vec<Status>, Arc<str>) {
        let statuses = match &self.plane {
            Plane::Host(fleets) => run::statuses(self, fleets).await,
            Plane::Cluster(cluster) => cluster.statuses(&self.control).await,
        };
        let name = self.control.query(|pipeline| pipeline.store().settings().controller_name.clone()).await;
        (statuses, name.unwrap_or_default())
    }

    /// What is wrong that the pipeline does not know of: with files, with rejected objects, and with what Envoy refuses
    /// before it runs.
    pub(crate) async fn outside(&self) -> Vec<Problem> {
        let mut problems = self.control.view().borrow().loading.to_vec();
        if let Plane::Cluster(cluster) = &self.plane {
            let cluster = cluster.clone();
            let refused = self.control.query(move |pipeline| cluster.refused_bootstraps(pipeline)).await;
            problems.extend(refused.unwrap_or_default());
        }
        problems
    }

    /// `Err` with a sentence as long as something is waited for.
    pub(crate) fn ready(&self) -> Result<(), String> {
        match &self.plane {
            Plane::Host(_) => run::ready(self),
            Plane::Cluster(cluster) => cluster.ready(),
        }
    }

    /// All metrics of this moment.
    pub(crate) async fn metrics(&self) -> Registry {
        let mut registry = Registry::with_prefix("ferrogate");
        self.feeds.metrics().register(&mut registry);
        if let Plane::Cluster(cluster) = &self.plane {
            cluster.register(&mut registry);
        }
        let sizes = self
            .control
            .query(|pipeline| (pipeline.store().sizes(), pipeline.counters(), pipeline.revision()))
            .await;
        if let Some(((facts, objects, names), counters, revision)) = sizes {
            view::metrics::register(&mut registry, facts, objects + names, revision, &counters);
        }
        view::metrics::register_found(&mut registry, &self.watchdog.found());
        registry
    }
}
