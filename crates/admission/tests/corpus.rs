//! Admission against what Envoy Gateway's API server refuses, over the shared corpus when it is there.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: its panics and its printed counts are its report"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use admission::{Admission, UnknownFields, documents};
use ir::Severity;

/// The corpus lies beside the workspace; it is not part of the project.
fn corpus() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3)?.join("shared/corpus");
    folder.is_dir().then_some(folder)
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|case| case.join("input.yaml").is_file())
        .collect();
    found.sort();
    found
}

struct Judged {
    /// Kinds that are not read yet.
    others: BTreeSet<String>,
    /// `Kind namespace/name` of refused objects, with the reasons.
    refused: Vec<(String, String)>,
}

fn judge(admission: &Admission, case: &Path) -> Judged {
    let text = fs::read_to_string(case.join("input.yaml")).unwrap();
    let mut judged = Judged { others: BTreeSet::new(), refused: Vec::new() };
    for document in documents(&text).unwrap_or_else(|error| panic!("{}: {error}", case.display())) {
        let verdict = admission.admit(document.value, UnknownFields::Drop);
        let subject = &verdict.subject;
        let name =
            format!("{} {}/{}", subject.kind, subject.namespace.as_deref().unwrap_or(""), subject.name);
        for problem in &verdict.problems {
            match problem.severity {
                Severity::Rejected => judged.refused.push((name.clone(), problem.to_string())),
                _ if problem.reason == "UnknownKind" => {
                    judged.others.insert(subject.kind.clone());
                }
                _ => println!("{}: {problem}", case.display()),
            }
        }
    }
    judged
}

/// Objects that an API server refuses although the corpus has a status for them: it was made without one. Here a TLS
/// listener has no `tls`, which a CEL rule of Gateway API 1.6.1 asks for, and an access log has no `sinks`.
const REFUSED_ALL_THE_SAME: [(&str, &str); 2] = [
    ("operations__egctl--2", "Gateway default/eg"),
    ("observability__proxy-accesslog--4", "EnvoyProxy envoy-gateway-system/otel-access-logging"),
];

/// Kinds without part in translation; cases may hold them.
const BYSTANDERS: [&str; 3] = ["Deployment", "ServiceAccount", "ClusterTrustBundle"];

#[test]
fn the_same_objects_are_refused() {
    let Some(corpus) = corpus() else {
        println!("no corpus beside the workspace: skipped");
        return;
    };
    let admission = Admission::new();
    let (mut agreed, mut total) = (0, 0);
    let mut differences = Vec::new();
    for case in cases(&corpus.join("rejected")) {
        let judged = judge(&admission, &case);
        if judged.others.iter().any(|kind| !BYSTANDERS.contains(&kind.as_str())) {
            continue;
        }
        total += 1;
        let errors: Vec<String> =
            serde_json::from_str(&fs::read_to_string(case.join("errors.json")).unwrap()).unwrap();
        let expected: BTreeSet<&str> = errors.iter().filter_map(|line| line.split(':').next()).collect();
        let got: BTreeSet<&str> = judged.refused.iter().map(|(name, _)| name.as_str()).collect();
        if expected == got {
            agreed += 1;
        } else {
            differences.push(format!("{}: {expected:?}, not {:?}", case.display(), judged.refused));
        }
    }
    println!("{agreed} of {total} cases refuse the same objects");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn nothing_else_is_refused() {
    let Some(corpus) = corpus() else {
        println!("no corpus beside the workspace: skipped");
        return;
    };
    let admission = Admission::new();
    let mut refused = Vec::new();
    for case in cases(&corpus.join("cases")).into_iter().chain(cases(&corpus.join("docs"))) {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (object, why) in judge(&admission, &case).refused {
            if !REFUSED_ALL_THE_SAME.contains(&(name.as_str(), object.as_str())) {
                refused.push(format!("{name}: {why}"));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn every_configuration_is_read() {
    let Some(corpus) = corpus() else {
        println!("no corpus beside the workspace: skipped");
        return;
    };
    let admission = Admission::new();
    for folder in ["cases", "docs", "rejected"] {
        for case in cases(&corpus.join(folder)) {
            if let Ok(text) = fs::read_to_string(case.join("config.yaml")) {
                let config = admission.config(&text);
                assert!(config.is_ok(), "{}: {config:?}", case.display());
            }
        }
    }
}
