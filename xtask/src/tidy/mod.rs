//! The house rules that a compiler does not check. Every finding names file, line and rule; findings fail, warnings
//! do not.

mod edges;
mod rust;
#[cfg(test)]
mod tests;
mod text;

use std::{
    env, fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};

/// A broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Path below the root of the repository.
    file: PathBuf,
    /// Line, counted from 1.
    line: usize,
    /// Name of the rule.
    rule: &'static str,
    /// What breaks it.
    message: String,
    /// Does not fail.
    warning: bool,
}

impl Finding {
    fn new(file: &Path, line: usize, rule: &'static str, message: impl Into<String>) -> Finding {
        Finding { file: file.to_owned(), line, rule, message: message.into(), warning: false }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.warning { "warning" } else { "error" };
        write!(f, "{}:{}: {severity}: {} [{}]", self.file.display(), self.line, self.message, self.rule)
    }
}

/// Checks the whole tree.
pub(crate) fn run() -> Result<ExitCode> {
    let root = root()?;
    let files = files(&root)?;
    let mut findings = edges::check(&root)?;
    for file in &files {
        // Binary files have no lines to point at; files that are listed but deleted have none at all.
        if let Ok(text) = fs::read_to_string(root.join(file)) {
            findings.extend(check(file, &text));
        }
    }
    findings.sort();
    let mut out = io::stdout().lock();
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    let warnings = findings.iter().filter(|finding| finding.warning).count();
    let errors = findings.len() - warnings;
    writeln!(out, "tidy: {} files, {errors} errors, {warnings} warnings", files.len())?;
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All rules that look at one file.
fn check(file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = text::check(file, text);
    if file.extension().is_some_and(|extension| extension == "rs") {
        findings.extend(rust::check(file, text));
    }
    findings
}

/// The root of the repository: the parent of this crate's folder.
fn root() -> Result<PathBuf> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").context("run it as `cargo xtask tidy`")?;
    let root = Path::new(&manifest).parent().context("xtask lies below the root")?;
    Ok(root.to_owned())
}

/// All files that are tracked or could be: what is ignored is not ours.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git lists the files; it did not start")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).context("file names are UTF-8")?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
}
