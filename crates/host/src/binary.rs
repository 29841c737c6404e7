//! Finding Envoy.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::ENVOY_VERSION;

/// Environment variable that names the binary.
const VARIABLE: &str = "FERROGATE_ENVOY";
/// Where `tools/install-envoy` puts it, below the project folder.
const INSTALLED: &str = ".tools/envoy/1.40.0/envoy";
/// `--version` answers in milliseconds; a program that does not is not Envoy.
const PATIENCE: Duration = Duration::from_secs(10);

/// An Envoy program of the right version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvoyBinary {
    /// Where it is.
    pub path: PathBuf,
    /// Its version, such as `1.40.0`.
    pub version: String,
}

/// No usable Envoy; the message lists every place that was tried and says how to get it.
#[derive(Debug, thiserror::Error)]
#[error(
    "no usable Envoy {ENVOY_VERSION}: {}. Install it with `make tools` in the project folder, or name the program in \
     {VARIABLE}",
    tried.join("; ")
)]
pub struct LocateError {
    /// Each place and what was wrong with it.
    pub tried: Vec<String>,
}

/// Where to look; read from the process once, so that the search itself is a function of it.
struct Surroundings {
    named: Option<PathBuf>,
    folders: Vec<PathBuf>,
    path: Option<OsString>,
}

impl EnvoyBinary {
    /// Finds Envoy and checks its version.
    ///
    /// A program named by `explicit`, or else by `FERROGATE_ENVOY`, is the only one tried. Otherwise the first of
    /// these that has the right version wins: the project's tools folder below the working directory, the same
    /// below a folder above our own executable, `envoy` on `PATH`.
    ///
    /// # Errors
    /// When none is there or none has the right version.
    pub async fn locate(explicit: Option<&Path>) -> Result<Self, LocateError> {
        let environment = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut folders: Vec<PathBuf> = std::env::current_dir().into_iter().collect();
        if let Ok(executable) = std::env::current_exe() {
            // From target/release/deps the project folder is four levels up.
            folders.extend(executable.ancestors().skip(1).take(4).map(Path::to_owned));
        }
        let surroundings = Surroundings {
            named: explicit.map(Path::to_owned).or(environment),
            folders,
            path: std::env::var_os("PATH"),
        };
        search(surroundings).await
    }
}

async fn search(surroundings: Surroundings) -> Result<EnvoyBinary, LocateError> {
    let mut tried = Vec::new();
    for path in candidates(surroundings) {
        match version(&path).await {
            Ok(version) if accepted(&version) => return Ok(EnvoyBinary { path, version }),
            Ok(version) => tried.push(format!("{} is version {version}", path.display())),
            Err(problem) => tried.push(format!("{} {problem}", path.display())),
        }
    }
    Err(LocateError { tried })
}

fn candidates(surroundings: Surroundings) -> Vec<PathBuf> {
    if let Some(named) = surroundings.named {
        return vec![named];
    }
    let installed = surroundings.folders.iter().map(|folder| folder.join(INSTALLED));
    let on_path = surroundings.path.iter().flat_map(std::env::split_paths).map(|folder| folder.join("envoy"));
    let mut there: Vec<PathBuf> = installed.chain(on_path).filter(|path| path.exists()).collect();
    there.dedup();
    if there.is_empty() {
        // Name one place at least, so that the message is not empty.
        there.push(PathBuf::from(INSTALLED));
    }
    there
}

fn accepted(version: &str) -> bool {
    version.strip_prefix(ENVOY_VERSION).is_some_and(|patch| patch.starts_with('.'))
}

/// Asks the program for its version; the error completes a sentence that begins with its path.
async fn version(path: &Path) -> Result<String, String> {
    let run = Command::new(path).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(PATIENCE, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("does not exist".to_owned());
        }
        Ok(Err(error)) => return Err(format!("cannot be run ({error})")),
        Err(_) => return Err("does not answer --version".to_owned()),
    };
    // envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_once("version: ").and_then(|(_, rest)| rest.split('/').nth(1));
    version.map(|version| version.trim().to_owned()).ok_or_else(|| "does not say an Envoy version".to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(folder: &Path, name: &str, prints: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\necho '{prints}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn the_first_of_the_right_version_wins() {
        let folder = tempfile::tempdir().unwrap();
        program(
            folder.path(),
            "project/.tools/envoy/1.40.0/envoy",
            "envoy  version: abc/1.4.0/Clean/RELEASE/x",
        );
        let right = program(folder.path(), "bin/envoy", "envoy  version: abc/1.40.2/Clean/RELEASE/x");
        let surroundings = Surroundings {
            named: None,
            folders: vec![folder.path().join("project")],
            path: Some(folder.path().join("bin").into_os_string()),
        };
        let found = search(surroundings).await.unwrap();
        assert_eq!(found, EnvoyBinary { path: right, version: "1.40.2".to_owned() });
    }

    #[tokio::test]
    async fn a_named_program_is_the_only_one_tried() {
        let folder = tempfile::tempdir().unwrap();
        program(folder.path(), "bin/envoy", "envoy  version: abc/1.40.2/Clean/RELEASE/x");
        let old = program(folder.path(), "old", "envoy  version: abc/1.31.0/Clean/RELEASE/x");
        for (named, problem) in [
            (old, "is version 1.31.0"),
            (program(folder.path(), "other", "hello"), "does not say an Envoy version"),
            (folder.path().join("nowhere"), "does not exist"),
            (folder.path().to_owned(), "cannot be run"),
        ] {
            let path = Some(folder.path().join("bin").into_os_string());
            let error = search(Surroundings { named: Some(named), folders: vec![], path }).await.unwrap_err();
            assert_eq!(error.tried.len(), 1);
            let message = error.to_string();
            assert!(message.contains(problem) && message.contains("make tools"), "{message}");
            assert!(!message.contains('\n'));
        }
    }

    #[tokio::test]
    async fn nothing_at_all_still_says_how_to_get_it() {
        let error = search(Surroundings { named: None, folders: vec![], path: None }).await.unwrap_err();
        assert!(error.to_string().contains(".tools/envoy/1.40.0/envoy does not exist"), "{error}");
    }
}
