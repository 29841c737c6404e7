//! Rules for all files: no traces of one machine, short overviews, a purpose for every dependency.

use std::path::Path;

use super::Finding;

/// Longest overview: what a newcomer reads at one go.
const MAX_OVERVIEW_LINES: usize = 300;

/// Home folders and the like, without the slashes around them, so that this file passes its own rule.
const FOLDERS_OF_A_MACHINE: [&str; 3] = ["root", "home", "work"];

/// Hosts of package registries, cut in two for the same reason: which registry serves a build is up to who builds.
const REGISTRIES: [(&str, &str); 10] = [
    ("crates", "io"),
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("proxy.golang", "org"),
    ("sum.golang", "org"),
    ("registry.npmjs", "org"),
    ("registry.yarnpkg", "com"),
    ("deb.debian", "org"),
    ("archive.ubuntu", "com"),
    ("rubygems", "org"),
];

/// Stages and encoding, which know what all kinds of routes have in common and name none: a new kind does not touch them.
const KINDLESS: [&str; 3] = ["crates/pipeline/src", "crates/xds/src", "crates/server/src/session"];

/// All findings in one file of text.
pub(super) fn check(file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_lock = file.ends_with("Cargo.lock");
    for (index, line) in text.lines().enumerate() {
        if let Some(folder) = FOLDERS_OF_A_MACHINE.iter().find(|folder| names_folder(line, folder)) {
            let message = format!("the path below /{folder} exists on one machine only");
            findings.push(Finding::new(file, index + 1, "absolute-path", message));
        }
        if !is_lock
            && let Some((name, top)) = REGISTRIES.iter().find(|(name, top)| names_host(line, name, top))
        {
            let message = format!("{name}.{top} is named; a build may use another registry");
            findings.push(Finding::new(file, index + 1, "registry", message));
        }
    }
    if KINDLESS.iter().any(|folder| file.starts_with(folder)) {
        findings.extend(kinds_of_routes(file, text));
    }
    if file == Path::new("ARCHITECTURE.md") {
        let lines = text.lines().count();
        if lines > MAX_OVERVIEW_LINES {
            let message = format!("{lines} lines; at most {MAX_OVERVIEW_LINES} are allowed");
            findings.push(Finding::new(file, MAX_OVERVIEW_LINES + 1, "overview-length", message));
        }
    }
    if file == Path::new("Cargo.toml") {
        findings.extend(manifest(file, text));
    }
    findings
}

/// Lines that name a kind of routes. Tests may.
fn kinds_of_routes(file: &Path, text: &str) -> Vec<Finding> {
    let is_test = file.iter().any(|part| part == "tests" || part == "tests.rs");
    let lines = text.lines().enumerate().filter(|_| !is_test);
    let named = lines.filter(|(_, line)| {
        let mut after = line.match_indices("Kind::").map(|(at, kind)| &line[at + kind.len()..]);
        after.any(|rest| {
            let end = rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len());
            rest[..end].ends_with("Route")
        })
    });
    let finding = |(index, _)| {
        let message = "a kind of routes is named; what differs between them is translate::route::RouteKind's";
        Finding::new(file, index + 1, "kind-of-route", message)
    };
    named.map(finding).collect()
}

/// Whether a line holds an absolute path that begins with this folder: not part of a longer path, not a URL's path.
fn names_folder(line: &str, folder: &str) -> bool {
    let pattern = format!("/{folder}/");
    line.match_indices(&pattern).any(|(index, _)| {
        let before = line[..index].chars().next_back();
        let after = line[index + pattern.len()..].chars().next();
        before.is_none_or(|letter| !letter.is_alphanumeric() && !"./_-~}*$%".contains(letter))
            && after.is_some_and(|letter| letter.is_alphanumeric() || "._".contains(letter))
    })
}

/// Whether a line holds this host name or one below it.
fn names_host(line: &str, name: &str, top: &str) -> bool {
    let pattern = format!("{name}.{top}");
    line.match_indices(&pattern).any(|(index, _)| {
        let before = line[..index].chars().next_back();
        let after = line[index + pattern.len()..].chars().next();
        before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '-')
            && after.is_none_or(|letter| !letter.is_alphanumeric() && letter != '-')
    })
}

/// Every dependency of the workspace stands in a group that begins with a comment; so does every lint that is allowed.
fn manifest(file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut section, mut explained) = ("", false);
    let mut above = "";
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            (section, explained) = (line, false);
        } else if line.is_empty() {
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else if section == "[workspace.dependencies]"
            && line.contains('=')
            && !explained
            && !line.contains(" # ")
        {
            let message =
                format!("no comment tells what {} is for", line.split([' ', '=']).next().unwrap_or(line));
            findings.push(Finding::new(file, index + 1, "dependency", message));
        } else if section.starts_with("[workspace.lints")
            && line.ends_with("\"allow\"")
            && !above.starts_with('#')
        {
            findings.push(Finding::new(
                file,
                index + 1,
                "allow",
                "no comment tells why this lint is allowed",
            ));
        }
        above = line;
    }
    findings
}
