//! Every CEL rule of Envoy Gateway's kinds has an object that it accepts and one that it rejects: `rules/<kind>.yaml`.
//! Crate `e2e-kubernetes` shows the same objects to an API server.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{collections::BTreeSet, fs, path::Path};

use admission::{Admission, UnknownFields, Verdict, documents};
use api::{KINDS, KindInfo};
use ir::{Problem, Severity};
use serde_json::{Value, json};

const GROUP: &str = "gateway.envoyproxy.io";

/// Places and messages of all rules below a node of a schema.
fn rules(at: &str, node: &Value, out: &mut BTreeSet<(String, String)>) {
    for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
        out.insert((at.to_owned(), rule["message"].as_str().unwrap().to_owned()));
    }
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        rules(&format!("{at}.{name}"), child, out);
    }
    for (key, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
        if node[key].is_object() {
            rules(&format!("{at}{sign}"), &node[key], out);
        }
    }
}

/// The documents of a kind: the base first.
fn pairs(kind: &KindInfo) -> Vec<Value> {
    let file = format!("tests/rules/{}.yaml", kind.name.to_lowercase());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    documents(&text).unwrap().into_iter().map(|document| document.value).collect()
}

/// An object of a kind whose `spec` is the base with these fields, without those that are null.
fn object(kind: &KindInfo, base: &Value, fields: &Value) -> Value {
    let mut spec = base.as_object().unwrap().clone();
    spec.extend(fields.as_object().unwrap().clone());
    spec.retain(|_, value| !value.is_null());
    json!({
        "apiVersion": format!("{GROUP}/{}", kind.versions[0]), "kind": kind.name,
        "metadata": { "name": "tried", "namespace": "default" }, "spec": spec,
    })
}

/// A field without the numbers of entries.
fn place(field: &str) -> String {
    // What stands before the first bracket does not begin with a digit.
    field.split_inclusive('[').map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit())).collect()
}

fn refusals(verdict: &Verdict) -> Vec<&Problem> {
    verdict.problems.iter().filter(|problem| problem.severity == Severity::Rejected).collect()
}

#[test]
fn every_rule_accepts_and_rejects() {
    let admission = Admission::new();
    let mut failures = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.group == GROUP) {
        let mut missing = BTreeSet::new();
        rules("spec", &kind.schema()["properties"]["spec"], &mut missing);
        let documents = pairs(kind);
        let (base, pairs) = documents.split_first().unwrap();
        for pair in pairs {
            let (at, rule) = (pair["at"].as_str().unwrap(), pair["rule"].as_str().unwrap());
            let name = format!("{} {at}: {rule}", kind.name);
            if !missing.remove(&(at.to_owned(), rule.to_owned())) {
                failures.push(format!("{name}: there is no such rule, or it stands there twice"));
            }
            let judge = |fields: &str| {
                admission.admit(object(kind, &base["base"], &pair[fields]), UnknownFields::Refuse)
            };
            let accepted = judge("accepted");
            if !refusals(&accepted).is_empty() {
                failures.push(format!("{name}: is rejected: {:?}", accepted.problems));
            }
            let rejected = judge("rejected");
            if !refusals(&rejected)
                .iter()
                .any(|problem| place(&problem.field) == at && problem.message == rule)
            {
                failures.push(format!("{name}: is not rejected for it: {:?}", rejected.problems));
            }
        }
        failures.extend(missing.iter().map(|(at, rule)| format!("{} {at}: {rule}: has no pair", kind.name)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
