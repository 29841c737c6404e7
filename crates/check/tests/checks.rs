//! `checks/<code>-<name>/in.yaml`: a small set-up with one thing wrong, which is found, and nothing else.
//!
//! `UPDATE=1 cargo test -p check --test checks` writes `expected.yaml` and the table in `docs/checks.md` anew. Read the
//! difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use admission::{Admission, UnknownFields};
use check::{Finding, Input, Severity, code};
use pipeline::{ChangeSet, Infrastructure, Pipeline, Settings};

/// 2027-01-01: certificates are judged by it.
const NOW: i64 = 1_798_761_600;
/// 30 days.
const MARGIN: i64 = 30 * 24 * 60 * 60;

/// Codes without a folder, because a folder cannot show them: a path without files, and what no other code is for.
const WITHOUT_FOLDER: [&str; 2] = ["FG006", "FG900"];

/// Schemas and rules are compiled once for all set-ups.
static ADMISSION: LazyLock<Arc<Admission>> = LazyLock::new(|| Arc::new(Admission::new()));

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// The findings of files. A line `# settings: cluster` asks for a cluster, in which classes and Namespaces must be
/// declared; a line `# lenient` for fields to be dropped that a kind does not have.
fn findings(path: &Path, standalone: bool) -> Vec<Finding> {
    findings_of(&[path.to_owned()], standalone)
}

fn findings_of(paths: &[PathBuf], standalone: bool) -> Vec<Finding> {
    findings_at(paths, standalone, (NOW, MARGIN))
}

/// The findings of files at a moment, with how long certificates must be valid after it; both in seconds.
fn findings_at(paths: &[PathBuf], standalone: bool, (now, margin): (i64, i64)) -> Vec<Finding> {
    let path = &paths[0];
    let text = if path.is_file() { fs::read_to_string(path).unwrap() } else { String::new() };
    let cluster = text.lines().any(|line| line == "# settings: cluster");
    let lenient = text.lines().any(|line| line == "# lenient");
    let unknown_fields = if lenient { UnknownFields::Drop } else { UnknownFields::Refuse };
    let loaded = provider::file::load(ADMISSION.clone(), paths, unknown_fields);
    let infrastructure = match standalone {
        true => Infrastructure::Host { listen: "127.0.0.1".into() },
        false => Infrastructure::Kubernetes,
    };
    let mut pipeline = Pipeline::new(Settings {
        infrastructure,
        enable_backend: true,
        allow_local_backends: standalone,
        implicit_gateway_class: !cluster,
        implicit_namespaces: true,
        ..Settings::default()
    });
    pipeline.commit(ChangeSet { apply: loaded.objects, now: Some(now), ..ChangeSet::default() });
    let foreign: Vec<_> = loaded.foreign.into_iter().map(|(_, document)| document).collect();
    let loading = [loaded.problems, refused_bootstraps(&pipeline)].concat();
    let input = Input { pipeline: &pipeline, loading: &loading, foreign: &foreign, margin };
    check::check(&input)
}

/// What real Envoy has against bootstraps that a set-up changes.
fn refused_bootstraps(pipeline: &Pipeline) -> Vec<ir::Problem> {
    let context = infra::Context { installation: &pipeline.store().settings().installation, ca: None };
    let mut problems = Vec::new();
    for wish in pipeline.wishes() {
        let Some(draft) = infra::draft(wish, &context) else { continue };
        // This program cannot be Envoy's guard.
        let guard = ["/bin/sh", "-c", "shift; exec \"$@\"", "guard"].map(Into::into);
        let validator = host::Validator::guarded(root(".tools/envoy/1.40.0/envoy"), guard.into());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        match runtime.block_on(validator.verdict(&draft.changed, &draft.mounted)) {
            host::Verdict::Accepted => {}
            host::Verdict::Refused(words) => problems.push(check::refused_bootstrap(wish, &words)),
            host::Verdict::Unknown(why) => panic!("`make tools` installs Envoy: {why}"),
        }
    }
    problems
}

fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let _ = writeln!(out, "- code: {}", finding.code.id);
        out.push_str("  objects:\n");
        for place in &finding.places {
            // Files are named by where they are on this machine.
            let object =
                if place.object.kind == "File" { "File".to_owned() } else { place.object.to_string() };
            let _ = writeln!(out, "  - {} {}", object, place.field);
        }
        let folder = root("checks").display().to_string();
        let message = finding.message.replace(&folder, "checks").replace('\'', "''");
        let _ = writeln!(out, "  message: '{message}'");
        if let Some(patch) = &finding.patch {
            let _ = writeln!(out, "  patch: {}", serde_json::to_string(patch).unwrap());
        }
    }
    out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root("checks")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

#[test]
fn each_set_up_has_what_its_name_says_and_nothing_else() {
    let folders = folders();
    assert!(folders.len() >= 40, "only {} set-ups", folders.len());
    let mut report = String::new();
    let mut shown = BTreeSet::new();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let code = name.split('-').next().unwrap().to_uppercase();
        let findings = findings(&folder.join("in.yaml"), false);
        if findings.len() != 1 || findings[0].code.id != code {
            let _ = writeln!(report, "{name}: expected one finding, {code}\n{}", text(&findings));
        }
        shown.insert(code);
        let (found, path) = (text(&findings), folder.join("expected.yaml"));
        if found == fs::read_to_string(&path).unwrap_or_default() {
            continue;
        }
        if update() {
            fs::write(&path, &found).unwrap();
        } else {
            let _ = writeln!(report, "{name}/expected.yaml differs; found\n{found}");
        }
    }
    for code in code::ALL.iter().map(|code| code.id) {
        if shown.contains(code) == WITHOUT_FOLDER.contains(&code) {
            let _ = writeln!(report, "{code} has {} set-up", if shown.contains(code) { "a" } else { "no" });
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// A certificate is told of when it ends within the margin, that second included; it is valid in its last second.
#[test]
fn the_margin_of_a_certificate_ends_with_a_second() {
    let path = [root("checks/fg205-certificate-expiring/in.yaml")];
    let codes = |now: i64, margin: i64| {
        let findings = findings_at(&path, false, (now, margin));
        findings.iter().map(|finding| finding.code.id).collect::<Vec<_>>()
    };
    let (mut untold, mut told) = (0, MARGIN);
    while told - untold > 1 {
        let middle = untold + (told - untold) / 2;
        *(if codes(NOW, middle).is_empty() { &mut untold } else { &mut told }) = middle;
    }
    assert_eq!((codes(NOW, told - 1), codes(NOW, told)), (vec![], vec!["FG205"]));
    assert_eq!((codes(NOW - 1, told), codes(NOW + 1, told - 1)), (vec![], vec!["FG205"]));
    assert_eq!(codes(NOW + told, 0), ["FG205"], "the last second");
    assert_eq!(codes(NOW + told + 1, 0), ["FG204"]);
}

#[test]
fn a_path_that_holds_nothing_is_told() {
    let findings = findings(&root("checks/nothing-of-this-name"), false);
    assert_eq!(findings.iter().map(|finding| finding.code.id).collect::<Vec<_>>(), ["FG006"]);
}

#[test]
fn examples_are_clean() {
    // The certificate of the quickstart is made by `ferrogate certificate`; here a set-up lends its own.
    let lender = fs::read_to_string(root("checks/fg202-tls-overlap/in.yaml")).unwrap();
    let secret = lender.split("---\n").find(|document| document.contains("kind: Secret")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tls.yaml");
    fs::write(&file, secret.replace("name: wild", "name: quickstart-tls")).unwrap();
    for (paths, standalone) in
        [(vec![root("examples/quickstart"), file], true), (vec![root("examples/kubernetes")], false)]
    {
        assert_eq!(text(&findings_of(&paths, standalone)), "", "{paths:?}");
    }
}

#[test]
fn codes_ascend_and_say_everything() {
    assert!(code::ALL.is_sorted_by(|a, b| a.id < b.id), "codes are in order, each once");
    let names: BTreeSet<&str> = code::ALL.iter().map(|code| code.name).collect();
    assert_eq!(names.len(), code::ALL.len(), "names are told apart");
    for code in code::ALL {
        assert!(!code.why.ends_with('.') && !code.fix.ends_with('.'), "{}: a dot is added", code.id);
        assert_eq!(code::find(code.id), Some(*code));
    }
}

#[test]
fn the_documentation_lists_every_code() {
    let path = root("docs/checks.md");
    let known = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- codes -->\n", "<!-- end of codes -->\n");
    let (before, rest) = known.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let mut table =
        String::from("\n| code | name | severity | why it matters | what to do |\n|---|---|---|---|---|\n");
    for code in code::ALL {
        let severity = match code.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        let _ = writeln!(table, "| {} | {} | {severity} | {} | {} |", code.id, code.name, code.why, code.fix);
    }
    let found = format!("{before}{begin}{table}\n{end}{after}");
    if update() {
        fs::write(&path, &found).unwrap();
    }
    assert!(found == known || update(), "UPDATE=1 writes the table of docs/checks.md");
}
