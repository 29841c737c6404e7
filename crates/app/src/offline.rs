//! Translation of files, without Envoy and without a cluster: what `translate`, `explain` and `check` begin with.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::ir::{Problem, Severity, problem::Subject};
use admission::{Admission, UnknownFields};
use pipeline::{ChangeSet, Infrastructure, Pipeline, Settings};
use provider::{
    Update,
    file::{Loaded, Place},
    kubernetes,
};
use serde_json::Value;

use crate::config;

/// How long an API server may take to tell everything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where manifests are.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Files {
    /// Files or folders of manifests; `-` reads standard input
    #[arg(short = 'f', long = "file", visible_alias = "from", value_name = "FILE|DIR|-")]
    pub files: Vec<PathBuf>,
    /// EnvoyGateway configuration file; without it, Envoy Gateway's defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Drop unknown fields with a warning, as an API server does, instead of refusing the object
    #[arg(long)]
    pub lenient: bool,
}

/// Where objects are that are looked at: files, a cluster, or a cluster as it would be with the files applied.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Sources {
    #[command(flatten)]
    pub files: Files,
    /// Read the cluster of this kubeconfig file; what is in files (-f) goes before what is there
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Manifests, translated.
pub(crate) struct Offline {
    /// Translation of everything.
    pub pipeline: Pipeline,
    /// What is wrong with files and with objects that an API server would refuse.
    pub problems: Vec<Problem>,
    /// Whether some object is rejected.
    pub rejected: bool,
    /// Where objects are declared.
    pub places: BTreeMap<Subject, Place>,
    /// Documents of kinds that belong to others.
    pub foreign: Vec<Value>,
}

impl Files {
    /// Reads, and translates as for a cluster that has these objects and others.
    ///
    /// # Errors
    /// When a path does not exist, or the configuration file cannot be used.
    pub(crate) fn translate(&self) -> anyhow::Result<Offline> {
        let (loaded, config) = self.load()?;
        let settings = Settings { partial_input: true, ..config.settings(Infrastructure::Kubernetes) };
        Ok(Offline::of(Vec::new(), loaded, settings))
    }

    /// Reads, and translates as wherever the objects are for: one machine when no GatewayClass is among them, else a
    /// cluster, whose namespaces are there unless some are declared.
    ///
    /// # Errors
    /// When a path does not exist, or the configuration file cannot be used.
    pub(crate) fn judge(&self) -> anyhow::Result<Offline> {
        let (loaded, config) = self.load()?;
        let declares = |kind: &str| loaded.objects.iter().any(|object| object.kind().name == kind);
        let settings = if declares("GatewayClass") {
            let settings = config.settings(Infrastructure::Kubernetes);
            Settings { partial_input: true, implicit_namespaces: !declares("Namespace"), ..settings }
        } else {
            config.settings(Infrastructure::Host { listen: "0.0.0.0".into() })
        };
        Ok(Offline::of(Vec::new(), loaded, settings))
    }

    fn load(&self) -> anyhow::Result<(Loaded, config::Config)> {
        for path in self.files.iter().filter(|path| path.as_os_str() != "-") {
            anyhow::ensure!(path.exists(), "{} does not exist", path.display());
        }
        let admission = Arc::new(Admission::new());
        let config = config::load(&admission, self.config.as_deref())?;
        let unknown_fields = if self.lenient { UnknownFields::Drop } else { UnknownFields::Refuse };
        Ok((provider::file::load(admission, &self.files, unknown_fields), config))
    }
}

impl Sources {
    /// Reads and translates; `None` when neither files nor a cluster are named.
    ///
    /// # Errors
    /// When a file cannot be found or used, or the API server does not answer.
    pub(crate) fn judge(&self) -> anyhow::Result<Option<Offline>> {
        let Some(kubeconfig) = &self.kubeconfig else {
            return if self.files.files.is_empty() { Ok(None) } else { self.files.judge().map(Some) };
        };
        let (mut loaded, config) = self.files.load()?;
        let settings = config.settings(Infrastructure::Kubernetes);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let namespace = settings.installation.controller_namespace.clone();
        let cluster = runtime.block_on(everything(kubeconfig, &namespace))?;
        loaded.problems.extend(cluster.problems);
        Ok(Some(Offline::of(cluster.apply, loaded, settings)))
    }
}

/// All objects of a cluster, as the control plane would see them.
async fn everything(kubeconfig: &Path, namespace: &str) -> anyhow::Result<Update> {
    let client = kubernetes::connect(Some(kubeconfig)).await?;
    let mut watch = kubernetes::watch(client, kubernetes::Options::new(namespace, store::references));
    match tokio::time::timeout(PATIENCE, watch.updates.next()).await {
        Ok(Some(update)) => Ok(update),
        Ok(None) => anyhow::bail!("the watch of the cluster has ended"),
        Err(_) => {
            let waiting = watch.progress.borrow().waiting.join("; ");
            anyhow::bail!("the cluster's objects cannot be read; waiting for {waiting}")
        }
    }
}

impl Offline {
    /// Objects that are there, with those of files applied to them.
    fn of(there: Vec<api::Object>, loaded: Loaded, settings: Settings) -> Offline {
        let mut pipeline = Pipeline::new(settings);
        for apply in [there, loaded.objects] {
            pipeline.commit(ChangeSet { apply, now: now(), ..ChangeSet::default() });
        }
        Offline {
            pipeline,
            problems: loaded.problems,
            rejected: loaded.rejected,
            places: loaded.places,
            foreign: loaded.foreign.into_iter().map(|(_, document)| document).collect(),
        }
    }
}

/// Seconds since 1970.
fn now() -> Option<i64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    i64::try_from(now).ok()
}

/// Tells a person at the terminal; standard output holds the result alone.
#[expect(
    clippy::print_stderr,
    reason = "problems go to standard error, so that standard output can be piped"
)]
pub(crate) fn report(problem: &Problem) {
    let word = match problem.severity {
        Severity::Rejected => "rejected",
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    eprintln!("{word}: {problem}");
}
