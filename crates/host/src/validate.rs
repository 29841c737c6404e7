//! Asking Envoy whether it takes a bootstrap, without running it (`--mode validate`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::rundir::{self, RunDir, RunDirError};
use crate::{guard, log};

/// Envoy answers in a tenth of a second; one that does not in this time is killed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most that is read of what Envoy says: it may repeat the configuration, which is some kilobytes.
const MAX_OUTPUT: u64 = 1 << 20;
/// Most verdicts that are remembered: two for each fleet whose bootstrap is changed, and what they were before.
const MAX_KNOWN: usize = 1024;
/// How Envoy begins to say what it has against a configuration, which the file's name and a quotation mark follow.
const REFUSAL: &str = "error initializing configuration '";
/// Most bytes of Envoy's words that are passed on.
const MAX_WORDS: usize = 600;
/// What a file of SDS holds that says nothing.
const NO_RESOURCES: &[u8] = br#"{"resources": []}"#;

/// What Envoy says of a bootstrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It would run with it.
    Accepted,
    /// It would not; its words, in one line.
    Refused(String),
    /// It did not say; why.
    Unknown(String),
}

/// Asks Envoy, one bootstrap at a time, and each once.
#[derive(Debug)]
pub struct Validator {
    program: PathBuf,
    guard: Vec<OsString>,
    /// Keyed, so that nobody can make two bootstraps that are taken for one.
    hasher: RandomState,
    known: Mutex<BTreeMap<u64, Verdict>>,
    turn: tokio::sync::Mutex<()>,
}

impl Validator {
    /// Asks this program, see [`EnvoyBinary`](crate::EnvoyBinary).
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self::guarded(program, guard::own_command())
    }

    /// The same with another command for the [`guard`].
    #[must_use]
    pub fn guarded(program: PathBuf, guard: Vec<OsString>) -> Self {
        let (hasher, known) = (RandomState::new(), Mutex::default());
        Self { program, guard, hasher, known, turn: tokio::sync::Mutex::default() }
    }

    /// What Envoy has said of a bootstrap; `None` when it was not asked yet.
    #[must_use]
    pub fn known(&self, bootstrap: &Value) -> Option<Verdict> {
        let key = self.hasher.hash_one(bootstrap.to_string());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// What Envoy says of a bootstrap. Of files that it names, those in `files` are there and hold resources of xDS, of
    /// which there are none; all others are looked for where they are named.
    pub async fn verdict(&self, bootstrap: &Value, files: &[String]) -> Verdict {
        let _turn = self.turn.lock().await;
        if let Some(verdict) = self.known(bootstrap) {
            return verdict;
        }
        let verdict = match tokio::time::timeout(PATIENCE, self.ask(bootstrap, files)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => Verdict::Unknown(error.to_string()),
            // The child is killed as it is dropped.
            Err(_) => Verdict::Unknown(format!("Envoy did not answer within {} s", PATIENCE.as_secs())),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(self.hasher.hash_one(bootstrap.to_string()), verdict.clone());
        verdict
    }

    async fn ask(&self, bootstrap: &Value, files: &[String]) -> Result<Verdict, AskError> {
        // Envoy's working directory, too: nothing that it might write is left anywhere else.
        let folder = RunDir::for_process()?;
        let mut bootstrap = bootstrap.clone();
        for (index, file) in files.iter().enumerate() {
            let path = folder.path().join(format!("file-{index}.json"));
            rundir::write_private(&path, NO_RESOURCES)?;
            replace(&mut bootstrap, file, &path.to_string_lossy());
        }
        let path = folder.path().join("bootstrap.json");
        rundir::write_private(&path, bootstrap.to_string().as_bytes())?;
        let mut child = guard::spawn(&self.guard, self.program.as_os_str(), |command| {
            command.args(arguments(&path)).current_dir(folder.path());
            // What this process has in its environment is none of a configuration's business.
            command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        })
        .await?;
        let (mut answer, mut errors) = (Vec::new(), Vec::new());
        let (output, error) = (child.stdout.take(), child.stderr.take());
        let read_output = async {
            if let Some(output) = output {
                output.take(MAX_OUTPUT).read_to_end(&mut answer).await?;
            }
            Ok::<(), std::io::Error>(())
        };
        let read_errors = async {
            if let Some(error) = error {
                error.take(MAX_OUTPUT).read_to_end(&mut errors).await?;
            }
            Ok::<(), std::io::Error>(())
        };
        tokio::try_join!(read_output, read_errors)?;
        let status = child.wait().await?;
        if status.success() {
            return Ok(Verdict::Accepted);
        }
        // Any other end is not Envoy's word on the configuration: the kernel's, or the guard's.
        Ok(match words(&String::from_utf8_lossy(&errors)) {
            Some(words) => Verdict::Refused(words),
            None => Verdict::Unknown(format!("Envoy ended ({status}) without a word on the bootstrap")),
        })
    }
}

/// Envoy could not be asked.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("the folder for the bootstrap cannot be used: {0}")]
    Folder(#[from] RunDirError),
    #[error("Envoy cannot be run: {0}")]
    Run(#[from] std::io::Error),
}

fn arguments(bootstrap: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "--mode",
        "validate",
        "--disable-hot-restart",
        "--log-level",
        "error",
        "--log-format",
        log::FORMAT,
        "--service-cluster",
        "cluster",
        "--service-node",
        "node",
        "--config-path",
    ]
    .map(OsString::from)
    .into();
    arguments.push(bootstrap.into());
    arguments
}

/// Puts a text in the place of another wherever that is all of a text.
fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(list) => list.iter_mut().for_each(|value| replace(value, from, to)),
        Value::Object(fields) => fields.values_mut().for_each(|value| replace(value, from, to)),
        _ => {}
    }
}

/// What Envoy has against a configuration, by its log.
fn words(log: &str) -> Option<String> {
    let (_, after) = log.rsplit_once(REFUSAL)?;
    let (_, said) = after.split_once("': ")?;
    Some(log::without_configuration(said, MAX_WORDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_envoys_log_the_reason_is_told() {
        let said = |text: &str| words(&format!("[critical][main] {REFUSAL}/x/b.json': {text}\n"));
        assert_eq!(said("Duplicate layer name: a").as_deref(), Some("Duplicate layer name: a"));
        assert_eq!(words("[critical][main] no such file"), None);
    }

    #[test]
    fn texts_are_replaced_as_a_whole() {
        let mut value = serde_json::json!({ "a": ["/sds/x", "/sds/xy"], "b": { "path": "/sds/x" } });
        replace(&mut value, "/sds/x", "/tmp/x");
        assert_eq!(value, serde_json::json!({ "a": ["/tmp/x", "/sds/xy"], "b": { "path": "/tmp/x" } }));
    }
}
