//! Every CEL rule of Envoy Gateway's kinds, and of its configuration file, has an object that it accepts and one that it rejects: `rules/<kind>.yaml`.
//! Crate `e2e-kubernetes` shows the same objects to an API server.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{collections::BTreeSet, fs, path::Path};

use admission::{Admission, UnknownFields, documents};
use api::KINDS;
use ir::{Problem, Severity};
use serde_json::{Value, json};

const GROUP: &str = "gateway.envoyproxy.io";

/// Places and messages of all rules below a node of a schema.
fn rules(at: &str, node: &Value, out: &mut BTreeSet<(String, String)>) {
    for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
        out.insert((at.to_owned(), rule["message"].as_str().unwrap().to_owned()));
    }
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        rules(format!("{at}.{name}").trim_start_matches('.'), child, out);
    }
    for (key, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
        if node[key].is_object() {
            rules(&format!("{at}{sign}"), &node[key], out);
        }
    }
}

/// The documents for a kind: the base first.
fn pairs(kind: &str) -> Vec<Value> {
    let file = format!("tests/rules/{}.yaml", kind.to_lowercase());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    documents(&text).unwrap().into_iter().map(|document| document.value).collect()
}

/// A field without the numbers of entries.
fn place(field: &str) -> String {
    // What stands before the first bracket does not begin with a digit.
    field.split_inclusive('[').map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit())).collect()
}

/// Tries the pairs of a kind with these rules. `judge` says what is wrong with the base with some fields of its own, and
/// without those that are null.
fn try_pairs(
    kind: &str,
    mut missing: BTreeSet<(String, String)>,
    judge: impl Fn(Value) -> Vec<Problem>,
) -> Vec<String> {
    let documents = pairs(kind);
    let (base, pairs) = documents.split_first().unwrap();
    let mut failures = Vec::new();
    for pair in pairs {
        let (at, rule) = (pair["at"].as_str().unwrap(), pair["rule"].as_str().unwrap());
        if !missing.remove(&(at.to_owned(), rule.to_owned())) {
            failures.push(format!("{kind} {at}: {rule}: there is no such rule, or it stands there twice"));
        }
        let refusals = |which: &str| {
            let mut fields = base["base"].as_object().unwrap().clone();
            fields.extend(pair[which].as_object().unwrap().clone());
            fields.retain(|_, value| !value.is_null());
            let problems = judge(fields.into());
            problems.into_iter().filter(|problem| problem.severity == Severity::Rejected).collect::<Vec<_>>()
        };
        let (accepted, rejected) = (refusals("accepted"), refusals("rejected"));
        if !accepted.is_empty() {
            failures.push(format!("{kind} {at}: {rule}: is rejected: {accepted:?}"));
        }
        if !rejected.iter().any(|problem| place(&problem.field) == at && problem.message == rule) {
            failures.push(format!("{kind} {at}: {rule}: is not what is rejected: {rejected:?}"));
        }
    }
    failures.extend(missing.iter().map(|(at, rule)| format!("{kind} {at}: {rule}: has no pair")));
    failures
}

#[test]
fn every_rule_accepts_and_rejects() {
    let admission = Admission::new();
    let mut failures = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.group == GROUP) {
        let mut all = BTreeSet::new();
        rules("spec", &kind.schema()["properties"]["spec"], &mut all);
        failures.extend(try_pairs(kind.name, all, |spec| {
            let object = json!({
                "apiVersion": format!("{GROUP}/{}", kind.versions[0]), "kind": kind.name,
                "metadata": { "name": "tried", "namespace": "default" }, "spec": spec,
            });
            admission.admit(object, UnknownFields::Refuse).problems
        }));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_rule_of_the_configuration_file_accepts_and_rejects() {
    let admission = Admission::new();
    let mut all = BTreeSet::new();
    rules("", &api::config::schema(), &mut all);
    let failures =
        try_pairs("EnvoyGateway", all, |file| admission.config(&file.to_string()).err().unwrap_or_default());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
