//! Rules for `metadata`, which are the same for every kind, and defaults that an API server gives.

use api::KindInfo;
use serde_json::{Value, json};

use crate::{
    finding::{Finding, reason},
    names,
    path::join,
    words::show,
};

/// Namespace of objects that name none.
const DEFAULT_NAMESPACE: &str = "default";
/// How many bytes all annotations of an object may have.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// Gives a namespaced object a namespace, takes it from others, and sets the first generation.
pub(crate) fn complete(document: &mut Value, kind: &KindInfo) {
    let Value::Object(root) = document else { return };
    let metadata = root.entry("metadata").or_insert_with(|| json!({}));
    let Value::Object(metadata) = metadata else { return };
    // Bulky bookkeeping of API servers, which nothing here reads.
    metadata.remove("managedFields");
    if !kind.namespaced {
        metadata.remove("namespace");
    } else if metadata.get("namespace").is_none_or(|name| name.is_null() || name == "") {
        metadata.insert("namespace".to_owned(), json!(DEFAULT_NAMESPACE));
    }
    if metadata.get("generation").is_none_or(|generation| generation.is_null() || generation == 0) {
        metadata.insert("generation".to_owned(), json!(1));
    }
}

/// Checks names, labels and annotations. Types are the schema's affair; what has another type is passed over.
pub(crate) fn check(document: &Value, kind: &KindInfo, findings: &mut Vec<Finding>) {
    let Some(metadata) = document.get("metadata").and_then(Value::as_object) else { return };
    let text = |key: &str| metadata.get(key).and_then(Value::as_str);
    match metadata.get("name") {
        None if metadata.contains_key("generateName") => findings.push(Finding::rejected(
            "metadata.name",
            reason::REQUIRED,
            "must be set; names are made from generateName by API servers only",
        )),
        None => findings.push(Finding::rejected("metadata.name", reason::REQUIRED, "must be set")),
        Some(Value::String(name)) => check_name(name, kind, findings),
        Some(_) => {}
    }
    if let Some(namespace) = text("namespace").filter(|name| !names::is_label(name)) {
        let message = format!(
            "{namespace:?} must be a DNS label: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
        );
        findings.push(Finding::rejected("metadata.namespace", reason::INVALID, message));
    }
    check_labels(metadata.get("labels"), findings);
    check_annotations(metadata.get("annotations"), findings);
}

fn check_name(name: &str, kind: &KindInfo, findings: &mut Vec<Finding>) {
    let (valid, rule) = match (kind.group, kind.name) {
        ("", "Namespace") => (
            names::is_label(name),
            "a DNS label: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
        ),
        ("", "Service") => (
            names::is_service_label(name),
            "a DNS label that begins with a letter: at most 63 lower-case letters, digits and '-'",
        ),
        ("certificates.k8s.io", "ClusterTrustBundle") => (
            // The signer goes before the name proper, its slash as a colon: `example.com:signer:name`.
            !name.is_empty() && name.split(':').all(names::is_subdomain),
            "DNS names in lower case, joined by colons",
        ),
        _ => (
            names::is_subdomain(name),
            "a DNS name: at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit",
        ),
    };
    if !valid {
        let message = format!("{} must be {rule}", show(&json!(name)));
        findings.push(Finding::rejected("metadata.name", reason::INVALID, message));
    }
}

fn check_labels(labels: Option<&Value>, findings: &mut Vec<Finding>) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        check_key("metadata.labels", key, findings);
        if value.as_str().is_some_and(|value| !names::is_label_value(value)) {
            let message = format!(
                "{} must be empty, or at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
                show(value)
            );
            findings.push(Finding::rejected(join("metadata.labels", key), reason::INVALID, message));
        }
    }
}

fn check_annotations(annotations: Option<&Value>, findings: &mut Vec<Finding>) {
    let mut total = 0;
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        // Keys of annotations may have upper-case letters in their prefix.
        check_key_as("metadata.annotations", key, &key.to_ascii_lowercase(), findings);
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    if total > MAX_ANNOTATIONS {
        let message =
            format!("all annotations together must have at most {MAX_ANNOTATIONS} bytes, not {total}");
        findings.push(Finding::rejected("metadata.annotations", reason::TOO_LONG, message));
    }
}

fn check_key(path: &str, key: &str, findings: &mut Vec<Finding>) {
    check_key_as(path, key, key, findings);
}

fn check_key_as(path: &str, key: &str, compared: &str, findings: &mut Vec<Finding>) {
    if !names::is_qualified(compared) {
        let message = format!(
            "the key {key:?} must be a name of at most 63 letters, digits, '-', '_' and '.', perhaps behind a DNS name and '/'"
        );
        findings.push(Finding::rejected(path, reason::INVALID, message));
    }
}
