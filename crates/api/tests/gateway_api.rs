//! Our CRDs of Gateway API against those that the project publishes, leaf by leaf, where its Go module is on the machine:
//! the conformance suite needs it. Descriptions and messages are ours; all else must be equal.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test: its panics and its printed counts are its report"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use api::{GATEWAY_API_VERSION, crds};
use serde_json::{Value, json};

/// The published CRDs of the experimental channel. Nothing is downloaded: without the module there are none.
fn published() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let list = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api"])
        .current_dir(root.join("e2e/conformance"))
        .env("GOPROXY", "off")
        .output()
        .ok()?;
    let folder = PathBuf::from(String::from_utf8(list.stdout).ok()?.trim());
    let crds = folder.join("config/crd/experimental");
    if !crds.is_dir() {
        return None;
    }
    assert!(folder.ends_with(format!("gateway-api@{GATEWAY_API_VERSION}")), "another version: {folder:?}");
    Some(crds)
}

/// Everything that a CRD says, by its path: one entry for each scalar, list of scalars, default or rule.
fn leaves(node: &Value, path: &str, out: &mut BTreeMap<String, Value>) {
    match node {
        Value::Object(fields) if fields.is_empty() => drop(out.insert(path.to_owned(), json!({}))),
        Value::Object(fields) => {
            for (name, child) in fields {
                let path = format!("{path}.{name}");
                match name.as_str() {
                    "description" | "deprecationWarning" if child.is_string() => {}
                    // A value, not a schema, unless it is a field of that name.
                    "default" if !path.ends_with(".properties.default") => {
                        drop(out.insert(path, child.clone()));
                    }
                    "required" | "enum" if child.is_array() => drop(out.insert(path, sorted(child))),
                    "x-kubernetes-validations" => rules(child, &path, out),
                    _ => leaves(child, &path, out),
                }
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                let index = item["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                leaves(item, &format!("{path}[{index}]"), out);
            }
        }
        // The types of CRDs have limits as floating-point numbers.
        leaf => drop(out.insert(path.to_owned(), leaf.as_f64().map_or_else(|| leaf.clone(), Value::from))),
    }
}

fn sorted(list: &Value) -> Value {
    list.as_array().unwrap().iter().map(Value::to_string).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Rules are told apart by what they demand, however it is spaced; their messages are words.
fn rules(list: &Value, path: &str, out: &mut BTreeMap<String, Value>) {
    for rule in list.as_array().unwrap() {
        let mut rest = rule.clone();
        let words = rest.as_object_mut().unwrap();
        words.remove("message");
        let rule = words.remove("rule").unwrap();
        let rule: Vec<&str> = rule.as_str().unwrap().split_whitespace().collect();
        out.insert(format!("{path}[{}]", rule.join(" ")), rest);
    }
}

/// What counts of a CRD: annotations by which tools know it, and all of `spec`.
fn counted(crd: &Value) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    leaves(&crd["metadata"]["annotations"], "annotations", &mut out);
    leaves(&crd["spec"], "spec", &mut out);
    out.retain(|path, value| !without_meaning(path, value));
    out
}

/// What means the same as its absence, or means nothing to objects.
fn without_meaning(path: &str, value: &Value) -> bool {
    // A version without a status has no subresources, or an empty set of them.
    (path.ends_with(".subresources") && *value == json!({}))
        // The deprecated version of BackendTLSPolicy shows ages here as the other one does.
        || path.starts_with("spec.versions[v1alpha3].additionalPrinterColumns[Age]")
}

#[test]
fn crds_are_those_of_gateway_api() {
    let Some(folder) = published() else {
        println!(
            "SKIPPED: the Go module of Gateway API is not here; `go mod download` in e2e/conformance gets it"
        );
        return;
    };
    let (mut equal, mut differ) = (0, Vec::new());
    for crd in crds().into_iter().filter(|crd| crd.spec.group == "gateway.networking.k8s.io") {
        let file = folder.join(format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural));
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let theirs = counted(&serde_yaml_ng::from_str(&text).unwrap());
        let ours = counted(&serde_json::to_value(&crd).unwrap());
        let kind = &crd.spec.names.kind;
        let paths: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        let (all, before) = (paths.len(), differ.len());
        for path in paths {
            if theirs.get(path) != ours.get(path) {
                let word = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
                differ.push(format!(
                    "{kind} {path}: {} instead of {}",
                    word(ours.get(path)),
                    word(theirs.get(path))
                ));
            }
        }
        equal += all - (differ.len() - before);
        println!("{kind}: {} of {all} leaves are equal", all - (differ.len() - before));
    }
    assert!(differ.is_empty(), "{} leaves differ:\n{}", differ.len(), differ.join("\n"));
    assert!(equal > 2_000, "{equal} leaves are few");
}
