//! Which crate may depend on which: data flows one way, and the outer world stays in the outer crates.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Finding;

/// What a crate may depend on.
enum Edges {
    /// These crates of ours.
    Only(&'static [&'static str]),
    /// All crates of ours.
    All,
}

/// The edges between our crates, in the direction of data. A new crate gets a line here.
const EDGES: &[(&str, Edges)] = &[
    ("api", Edges::Only(&[])),
    ("envoy-api", Edges::Only(&[])),
    ("ir", Edges::Only(&[])),
    ("engine", Edges::Only(&[])),
    ("patch", Edges::Only(&[])),
    ("bootstrap", Edges::Only(&[])),
    ("admission", Edges::Only(&["api", "ir"])),
    ("store", Edges::Only(&["api", "engine", "ir"])),
    // Policies are merged as documents, and read as their types after that.
    ("translate", Edges::Only(&["api", "engine", "ir", "patch", "store"])),
    ("xds", Edges::Only(&["engine", "envoy-api", "ir", "store", "translate"])),
    ("pipeline", Edges::Only(&["api", "engine", "infra", "ir", "store", "translate", "xds"])),
    ("check", Edges::Only(&["ir", "pipeline", "store"])),
    ("explain", Edges::Only(&["envoy-api", "ir", "pipeline", "store"])),
    ("server", Edges::Only(&["engine", "envoy-api", "ir"])),
    ("provider", Edges::Only(&["admission", "api", "ir"])),
    ("host", Edges::Only(&["bootstrap"])),
    ("status-json", Edges::Only(&["ir"])),
    ("leader", Edges::Only(&["ir", "status-json"])),
    ("infra", Edges::Only(&["admission", "api", "bootstrap", "envoy-api", "ir", "patch"])),
    ("echo", Edges::Only(&[])),
    ("ferrogate", Edges::All),
    ("e2e", Edges::All),
    ("e2e-kubernetes", Edges::All),
    ("fuzz", Edges::All),
    ("benches", Edges::All),
    ("xtask", Edges::All),
];

/// Crates of others that only some of ours may use: the pure crates have no tasks and no connections.
const KEPT_OUT: &[(&str, &[&str])] = &[
    ("tokio", &["server", "provider", "leader", "host", "echo", "ferrogate", "e2e", "e2e-kubernetes"]),
    ("kube", &["api", "admission", "provider", "leader", "ferrogate", "e2e-kubernetes"]),
];

/// The part of `cargo metadata` that tells the edges.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// A crate of ours.
#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

/// A line in its dependencies.
#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `build`, `dev`, or none for what the crate itself uses.
    kind: Option<String>,
}

/// Reads all `Cargo.toml` files and finds forbidden edges. Tests may depend on anything.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo metadata did not start")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata is JSON")?;
    let names: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let text = fs::read_to_string(&package.manifest_path)?;
        let file = package.manifest_path.strip_prefix(root).unwrap_or(&package.manifest_path);
        for (dependency, message) in forbidden(package, &names) {
            findings.push(Finding::new(file, line_of(&text, dependency), "edge", message));
        }
    }
    Ok(findings)
}

/// The dependencies that a crate must not have, with the reason.
fn forbidden<'a>(package: &'a Package, ours: &[&str]) -> Vec<(&'a str, String)> {
    let name = package.name.as_str();
    let Some((_, edges)) = EDGES.iter().find(|(known, _)| *known == name) else {
        return vec![(
            "name",
            format!("crate {name} is not in the table of edges (xtask/src/tidy/edges.rs)"),
        )];
    };
    let used = package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
    used.filter_map(|dependency| {
        let used = dependency.name.as_str();
        let message = match edges {
            Edges::Only(allowed) if ours.contains(&used) && !allowed.contains(&used) => {
                format!("crate {name} must not depend on {used}")
            }
            _ => {
                let (_, users) = KEPT_OUT.iter().find(|(kept_out, users)| {
                    (used == *kept_out || used.starts_with(&format!("{kept_out}-"))) && !users.contains(&name)
                })?;
                format!("crate {name} must not use {used}; only {} may", users.join(", "))
            }
        };
        Some((used, message))
    })
    .collect()
}

/// The line that names a dependency; 1 when it is written in another way.
fn line_of(text: &str, dependency: &str) -> usize {
    let names = |line: &str| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            || line.contains(&format!("dependencies.{dependency}]"))
    };
    text.lines().position(names).map_or(1, |index| index + 1)
}

#[cfg(test)]
pub(super) fn forbidden_for_tests(name: &str, dependencies: &[(&str, Option<&str>)]) -> Vec<String> {
    let dependencies = dependencies
        .iter()
        .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: kind.map(str::to_owned) })
        .collect();
    let package = Package { name: name.to_owned(), manifest_path: PathBuf::new(), dependencies };
    let ours: Vec<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    forbidden(&package, &ours).into_iter().map(|(_, message)| message).collect()
}
