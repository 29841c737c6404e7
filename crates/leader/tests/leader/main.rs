//! The leader against an API server in this process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "functions shared by tests fail by panicking, and tell what they skip"
)]

mod classes;
mod election;
mod events;
mod fleets;
mod statuses;
mod testbed;

use std::{future::Future, sync::Arc, time::Duration};

use ir::infra::DeployMode;
use leader::{Leader, Leadership, Rate, Settings, lease::Timing};
use tokio::{sync::oneshot, task::JoinHandle};

const CONTROLLER: &str = "example.com/ours";
const NAMESPACE: &str = "system";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/system/leases/5b9825d2.gateway.envoyproxy.io";

fn settings(identity: &str) -> Settings {
    Settings {
        namespace: NAMESPACE.to_owned(),
        identity: identity.to_owned(),
        controller: CONTROLLER.into(),
        mode: DeployMode::ControllerNamespace,
        namespaces: Vec::new(),
        election: None,
        rate: Rate { qps: 1000, burst: 1000 },
        keep: |_, _| false,
    }
}

fn elected(identity: &str) -> Settings {
    Settings { election: Some(Timing::default()), ..settings(identity) }
}

/// A leader with its task.
struct Running {
    leader: Leader,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    fn new(client: kube::Client, settings: Settings) -> Running {
        let (leader, task) = Leader::new(client, settings).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(task.run(async move {
            let _ = stopped.await;
        }));
        Running { leader, stop: Some(stop), task }
    }

    fn synced(client: kube::Client, settings: Settings) -> Running {
        let running = Running::new(client, settings);
        running.leader.synced();
        running
    }

    /// Ends as a process that is asked to.
    async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        within(self.task).await.unwrap();
    }

    /// Ends as a process that is killed: nothing more is called.
    fn kill(self) {
        self.task.abort();
    }

    async fn leading(&self) {
        let mut leadership = self.leader.leadership();
        within(leadership.wait_for(|now| matches!(now, Leadership::Leading { .. }))).await.unwrap();
    }

    async fn following(&self) -> Option<Arc<str>> {
        let mut leadership = self.leader.leadership();
        let now =
            within(leadership.wait_for(|now| matches!(now, Leadership::Following { .. }))).await.unwrap();
        match &*now {
            Leadership::Following { holder } => holder.clone(),
            Leadership::Leading { .. } => unreachable!(),
        }
    }

    fn leads(&self) -> bool {
        matches!(*self.leader.leadership().borrow(), Leadership::Leading { .. })
    }
}

/// Waits for something that has to happen within a bounded time.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(300), future).await.expect("it happens in time")
}

/// Lets so much time pass, while everything else goes on.
async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}
