//! The configuration file, followed while the process runs. A bad one is refused, and the old stays in force.

use std::{path::PathBuf, time::Duration};

use admission::Admission;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::plan::Plan;
use crate::config;

/// Time between two looks. The kubelet writes a changed ConfigMap up to a minute late, by swapping a link; a look
/// costs one read of a small file, and needs no knowledge of links.
const LOOK: Duration = Duration::from_secs(1);

/// What became of configuration files. Clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    applied: Counter,
    refused: Counter,
    in_force: Gauge,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "config_applied",
            "Changed configuration files that were put in force",
            self.applied.clone(),
        );
        registry.register(
            "config_refused",
            "Changed configuration files that were refused; the one before stays in force",
            self.refused.clone(),
        );
        registry.register(
            "config_in_force",
            "1 when the configuration file as it is now is in force, 0 when it is refused",
            self.in_force.clone(),
        );
    }

    /// A configuration is in force from the start.
    pub(crate) fn started(&self) {
        self.in_force.set(1);
    }

    /// A changed one is in force.
    pub(crate) fn applied(&self) {
        self.applied.inc();
        self.in_force.set(1);
    }

    /// A changed one is not.
    pub(crate) fn refused(&self) {
        self.refused.inc();
        self.in_force.set(0);
    }
}

/// Follows one file.
pub(crate) struct Follower {
    admission: Admission,
    path: Option<PathBuf>,
    merge_backends: bool,
    last: Option<String>,
    metrics: Metrics,
}

impl Follower {
    /// Follows `path`; without one there is never anything new. `admission` judges the content; `merge_backends` is
    /// [`Plan::of`]'s.
    pub(crate) fn new(
        admission: Admission,
        path: Option<PathBuf>,
        merge_backends: bool,
        metrics: Metrics,
    ) -> Follower {
        let last = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        metrics.started();
        Follower { admission, path, merge_backends, last, metrics }
    }

    /// The next change that is valid. Whoever cannot put it in force says so by [`Metrics::refused`]. Cancel safe.
    pub(crate) async fn next(&mut self) -> Plan {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(path) = &self.path else { return std::future::pending().await };
            // While the link is swapped, or the file is written by hand, there may be nothing for a moment.
            let Ok(text) = std::fs::read_to_string(path) else { continue };
            if self.last.as_ref() == Some(&text) {
                continue;
            }
            let plan = config::parse(&self.admission, &text)
                .and_then(|config| Plan::of(&config, self.merge_backends));
            self.last = Some(text);
            match plan {
                Ok(plan) => return plan,
                Err(error) => {
                    tracing::error!(
                        path = %path.display(),
                        "the changed configuration is refused, the one before stays in force: {error:#}"
                    );
                    self.metrics.refused();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyGateway\nprovider: { type: Kubernetes }\n";

    #[tokio::test(start_paused = true)]
    async fn a_bad_file_is_refused_and_a_good_one_comes_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("envoy-gateway.yaml");
        std::fs::write(&path, HEAD).unwrap();
        let metrics = Metrics::default();
        let mut follower = Follower::new(Admission::new(), Some(path.clone()), false, metrics.clone());

        std::fs::write(&path, format!("{HEAD}gatway: {{}}\n")).unwrap();
        let waited = tokio::time::timeout(3 * LOOK, follower.next()).await;
        assert!(waited.is_err(), "a file with an unknown field is not a plan");
        assert_eq!((metrics.refused.get(), metrics.in_force.get()), (1, 0), "it is refused once");

        std::fs::write(&path, format!("{HEAD}gateway: {{ controllerName: example.com/other }}\n")).unwrap();
        let plan = tokio::time::timeout(3 * LOOK, follower.next()).await.unwrap();
        assert_eq!(&*plan.cluster.controller, "example.com/other");
    }
}
