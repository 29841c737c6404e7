//! A running test bed, from inside.

use std::{env, path::PathBuf, process::Output};

use futures::FutureExt;
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{Controller, Space, eventually};

/// The test bed that this process runs in.
#[derive(Clone)]
pub struct Bed {
    /// A client that may do everything, and that no fault of [`Bed::fault`] reaches.
    pub client: Client,
    binary: PathBuf,
    state: PathBuf,
}

impl std::fmt::Debug for Bed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bed").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Bed {
    /// The bed that `FERROGATE_TESTBED` (the program) and `TESTBED_STATE` (the folder) name.
    async fn find() -> Option<Bed> {
        let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let (binary, state) = (path("FERROGATE_TESTBED")?, path("TESTBED_STATE")?);
        let kubeconfig = Kubeconfig::read_from(state.join("kubeconfig")).expect("the bed's kubeconfig");
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        config.default_retry = false;
        Some(Bed { client: Client::try_from(config).unwrap(), binary, state })
    }

    /// Runs a test in a space of its own. When it fails, what there was in the space is printed, and what the
    /// controller logged; when it passes the space goes.
    ///
    /// # Panics
    /// When the test fails.
    pub async fn run(test: &str, body: impl AsyncFnOnce(&Space)) {
        let Some(bed) = Bed::find().await else {
            eprintln!("SKIPPED {test}: no test bed; run: make test-kubernetes");
            return;
        };
        let controller = bed.controller();
        controller.ready(1).await;
        let space = Space::create(bed.clone(), test).await;
        let outcome = std::panic::AssertUnwindSafe(body(&space)).catch_unwind().await;
        // Whatever a test broke, the next one finds it whole.
        bed.fault("none").await;
        bed.testbed(&["process", "start", "kube-apiserver"]).await;
        if outcome.is_err() {
            eprintln!("{}\n{}", space.dump().await, controller.logs(120).await);
        }
        eventually("the API server answers", async || space.get("Namespace", &space.name).await).await;
        controller.scale(1).await;
        match outcome {
            Ok(()) => space.delete().await,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// The controller.
    #[must_use]
    pub fn controller(&self) -> Controller {
        Controller::new(self.clone())
    }

    /// The folder of the bed, where its logs are.
    #[must_use]
    pub fn state(&self) -> &PathBuf {
        &self.state
    }

    /// Calls a command of the bed.
    pub async fn testbed(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(&self.binary);
        command.env("TESTBED_STATE", &self.state).args(arguments).output().await.expect("the testbed program")
    }

    /// Disturbs the way from Pods to the API server: `delay=5s`, `status=429`, `cut=2s`, `none`.
    ///
    /// # Panics
    /// When the bed does not take it.
    pub async fn fault(&self, words: &str) {
        let arguments: Vec<&str> = ["fault"].into_iter().chain(words.split(' ')).collect();
        self.order(&arguments).await;
    }

    /// An order to the bed, such as `process down kube-apiserver`.
    ///
    /// # Panics
    /// When the bed refuses it.
    pub async fn order(&self, arguments: &[&str]) {
        let output = self.testbed(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Asks a port of a Pod's own loopback, from inside of it.
    pub async fn ask(&self, pod: &str, container: &str, url: &str) -> Option<String> {
        let output = self.testbed(&["enter", pod, container, "/usr/bin/curl", "-sf", "-m", "20", url]).await;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
