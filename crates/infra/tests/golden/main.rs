//! `cases/<name>/in.yaml` in, `infra.yaml` out: one folder for each rule.
//!
//! `UPDATE=1 cargo test -p infra --test golden` writes the outputs anew. Read the difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod types;
mod validate;
mod wishes;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use admission::{Admission, UnknownFields};
use infra::{Context, Rendered};
use ir::infra::{DeployMode, Installation};
use pipeline::{ChangeSet, Pipeline, Settings};

static ADMISSION: LazyLock<Arc<Admission>> = LazyLock::new(|| Arc::new(Admission::new()));

/// The folder of all cases.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// Names of all cases, ascending.
fn names() -> Vec<String> {
    let folders = fs::read_dir(root()).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 15, "only {} cases", names.len());
    names
}

/// In a cluster, with every class and Namespace there, unless the case says otherwise in a line such as
/// `# installation: gateway-namespace no-injector base={"concurrency":2}`.
fn installation(text: &str) -> Installation {
    let line = text.lines().find_map(|line| line.strip_prefix("# installation:")).unwrap_or_default();
    let mut installation = Installation {
        // Fixed, so that a new version changes no case.
        envoy_image: "envoy:1".into(),
        shutdown_manager_image: "gateway:1".into(),
        ..Installation::default()
    };
    for word in line.split_whitespace() {
        match word {
            "gateway-namespace" => installation.mode = DeployMode::GatewayNamespace,
            "no-injector" => installation.topology_injector = false,
            other => {
                let base = other.strip_prefix("base=").unwrap_or_else(|| panic!("unknown word {other:?}"));
                installation.base = Some(Arc::new(serde_json::from_str(base).unwrap()));
            }
        }
    }
    installation
}

/// The fleets of a case, rendered, with the problems of its objects.
fn rendered(name: &str) -> (Vec<Rendered>, Vec<String>) {
    let file = root().join(name).join("in.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let installation = Arc::new(installation(&text));
    let loaded = provider::file::load(ADMISSION.clone(), &[file], UnknownFields::Refuse);
    assert!(loaded.problems.is_empty(), "{name}: {:?}", loaded.problems);
    let mut pipeline = Pipeline::new(Settings {
        implicit_gateway_class: true,
        implicit_namespaces: true,
        enable_backend: true,
        installation: installation.clone(),
        ..Settings::default()
    });
    let commit = pipeline.commit(ChangeSet { apply: loaded.objects, ..ChangeSet::default() });
    assert_eq!(pipeline.audit(), [], "{name}");
    let context = Context { installation: &installation, ca: Some("PEM") };
    let wishes: Vec<_> = pipeline.wishes().filter(|wish| !wish.on_hold).collect();
    assert!(wishes.iter().all(|wish| commit.wishes.iter().any(|(fleet, _)| *fleet == wish.fleet)), "{name}");
    let rendered = wishes.into_iter().map(|wish| infra::render(wish, &context).unwrap()).collect();
    (rendered, pipeline.problems().iter().map(ToString::to_string).collect())
}

fn view(name: &str) -> String {
    let (fleets, problems) = rendered(name);
    let mut out = String::new();
    for problem in problems {
        let _ = writeln!(out, "# {problem}");
    }
    for fleet in fleets {
        for object in fleet.objects.into_iter().chain(fleet.alias) {
            let mut body = object.body;
            // One line of 4 kB for each Pod says nothing to a reader; bootstraps have cases of their own.
            let args = body
                .pointer_mut("/spec/template/spec/containers/0/args")
                .and_then(|args| args.as_array_mut());
            let bootstrap = args.map(|args| {
                let at = args.iter().position(|arg| arg == "--config-yaml").unwrap() + 1;
                std::mem::replace(&mut args[at], "(bootstrap)".into())
            });
            if name.starts_with("bootstrap") {
                let Some(bootstrap) = bootstrap else { continue };
                body = serde_json::from_str(bootstrap.as_str().unwrap()).unwrap();
            }
            let _ = write!(out, "---\n{}", serde_yaml_ng::to_string(&body).unwrap());
        }
    }
    out
}

#[test]
fn every_case_gives_its_objects() {
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let mut report = String::new();
    for name in names() {
        let found = view(&name);
        let path = root().join(&name).join("infra.yaml");
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if found == expected {
            continue;
        }
        if update {
            fs::write(&path, &found).unwrap();
        } else {
            let line = found.lines().zip(expected.lines()).position(|(a, b)| a != b);
            let _ =
                writeln!(report, "{name}/infra.yaml differs from line {:?} on", line.map(|line| line + 1));
        }
    }
    assert!(report.is_empty(), "{report}UPDATE=1 writes what was found");
}

#[test]
fn a_case_says_its_rule() {
    for name in names() {
        let text = fs::read_to_string(root().join(&name).join("in.yaml")).unwrap();
        assert!(text.starts_with("# "), "{name}: the first line says which rule the case proves");
        assert!(text.lines().count() <= 60, "{name}: more than 60 lines");
    }
}
