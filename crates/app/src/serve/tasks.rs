//! Tasks with names: one that ends by itself, or panics, is a failure of the process and never goes unnoticed.

use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// Longest that tasks may take to end when they are told to. The kubelet gives a Pod 10 s in Envoy Gateway's chart.
const FAREWELL: Duration = Duration::from_secs(6);

/// Tasks that live and end together.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: JoinSet<()>,
    /// A handful.
    names: Vec<(Id, &'static str)>,
    stop: CancellationToken,
}

impl Tasks {
    /// Told to all of them when they shall end.
    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts one. It must not end before [`Tasks::stop`].
    pub(crate) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.push((id, name));
    }

    /// Completes when one of them has ended, with what happened. Cancel safe.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match self.running.join_next_with_id().await {
            Some(Ok((id, ()))) => anyhow::anyhow!("task `{}` has ended by itself", self.name(id)),
            Some(Err(error)) => anyhow::anyhow!("task `{}` has failed: {error}", self.name(error.id())),
            // Nothing runs, so nothing fails.
            None => std::future::pending().await,
        }
    }

    fn name(&self, id: Id) -> &'static str {
        self.names.iter().find(|(known, _)| *known == id).map_or("unknown", |(_, name)| name)
    }

    /// Ends all of them; those that take too long are cut off.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.running.join_next_with_id().await {
                if let Err(error) = ended {
                    tracing::error!(task = self.name(error.id()), %error, "failed while stopping");
                }
            }
        };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::warn!("tasks are cut off: they take too long to end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_names_its_task() {
        let mut tasks = Tasks::default();
        tasks.spawn("steady", std::future::pending());
        tasks.spawn("shaky", async { panic!("oops") });
        let error = tasks.failed().await.to_string();
        assert!(error.contains("`shaky`") && error.contains("panic"), "{error}");
    }

    #[tokio::test]
    async fn a_task_that_returns_is_a_failure() {
        let mut tasks = Tasks::default();
        tasks.spawn("short", async {});
        assert!(tasks.failed().await.to_string().contains("`short` has ended by itself"));
    }

    #[tokio::test]
    async fn stopping_waits_for_all() {
        let mut tasks = Tasks::default();
        let (stop, (done, ended)) = (tasks.stop_token(), tokio::sync::oneshot::channel());
        tasks.spawn("polite", async move {
            stop.cancelled().await;
            done.send(()).unwrap();
        });
        tasks.stop().await;
        ended.await.unwrap();
    }
}
