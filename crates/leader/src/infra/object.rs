//! Documents of infrastructure: which object they are, whether they have changed, and their selectors.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};
use xxhash_rust::xxh3::Xxh3Default;

use crate::call::Path;

/// Kinds that a fleet may have, with their API versions, in the order in which they are looked through.
pub(super) const KINDS: [(&str, &str); 7] = [
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"),
];

/// Which object a document is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(super) api_version: Box<str>,
    pub(super) kind: Box<str>,
    pub(super) namespace: Box<str>,
    pub(super) name: Box<str>,
}

impl Id {
    /// Of a document; `None` when it does not say. Items of a list say only their name: see [`Id::of_item`].
    pub(super) fn of(document: &Value) -> Option<Id> {
        Id::of_item(document["apiVersion"].as_str()?, document["kind"].as_str()?, document)
    }

    /// Of an item in a list of objects of one kind.
    pub(super) fn of_item(api_version: &str, kind: &str, item: &Value) -> Option<Id> {
        Some(Id {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: item["metadata"]["namespace"].as_str().unwrap_or_default().into(),
            name: item["metadata"]["name"].as_str()?.into(),
        })
    }

    /// The object by names alone.
    pub(super) fn is(&self, kind: &str, namespace: &str, name: &str) -> bool {
        &*self.kind == kind && &*self.namespace == namespace && &*self.name == name
    }

    /// A kind whose Pods are chosen by a selector that never changes.
    pub(super) fn is_workload(&self) -> bool {
        &*self.api_version == "apps/v1"
    }

    pub(super) fn path(&self) -> Path {
        Path::object(&self.api_version, &self.kind, &self.namespace, &self.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A hash of a document that does not depend on the order of fields.
pub(super) fn hash(document: &Value) -> u64 {
    let mut hasher = Xxh3Default::new();
    feed(&mut hasher, document);
    hasher.digest()
}

/// A hash of what others may change of a live object to our loss: everything but its status, what API servers count
/// in, and what controllers note there for themselves.
pub(super) fn live_hash(object: &Value, with_replicas: bool) -> u64 {
    let mut hasher = Xxh3Default::new();
    let none = Map::new();
    for (field, value) in sorted(object.as_object().unwrap_or(&none)) {
        match field.as_str() {
            "status" | "metadata" | "apiVersion" | "kind" => {}
            "spec" => {
                for (field, value) in sorted(value.as_object().unwrap_or(&none)) {
                    if with_replicas || field != "replicas" {
                        text(&mut hasher, b'k', field);
                        feed(&mut hasher, value);
                    }
                }
            }
            _ => {
                text(&mut hasher, b'k', field);
                feed(&mut hasher, value);
            }
        }
    }
    let metadata = &object["metadata"];
    feed(&mut hasher, &metadata["labels"]);
    feed(&mut hasher, &metadata["ownerReferences"]);
    let annotations = metadata["annotations"].as_object().unwrap_or(&none);
    for (name, value) in sorted(annotations) {
        if !NOTES.contains(&name.as_str()) {
            text(&mut hasher, b'k', name);
            feed(&mut hasher, value);
        }
    }
    hasher.digest()
}

/// Annotations in which controllers of workloads count.
const NOTES: [&str; 2] = ["deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"];

fn sorted(map: &Map<String, Value>) -> BTreeMap<&String, &Value> {
    map.iter().collect()
}

/// Each value begins with a sign of its type and each list and object with its length, so that no two documents give
/// the same bytes.
fn feed(hasher: &mut Xxh3Default, value: &Value) {
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(value) => hasher.update(if *value { b"t" } else { b"f" }),
        Value::Number(number) => text(hasher, b'd', &number.to_string()),
        Value::String(value) => text(hasher, b's', value),
        Value::Array(items) => {
            length(hasher, b'a', items.len());
            items.iter().for_each(|item| feed(hasher, item));
        }
        Value::Object(map) => {
            length(hasher, b'o', map.len());
            for (field, value) in sorted(map) {
                text(hasher, b'k', field);
                feed(hasher, value);
            }
        }
    }
}

fn text(hasher: &mut Xxh3Default, sign: u8, text: &str) {
    length(hasher, sign, text.len());
    hasher.update(text.as_bytes());
}

fn length(hasher: &mut Xxh3Default, sign: u8, length: usize) {
    hasher.update(&[sign]);
    hasher.update(&length.to_le_bytes());
}

/// Whether labels fit a label selector (`matchLabels` and `matchExpressions`).
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let none = Map::new();
    let wanted = selector["matchLabels"].as_object().unwrap_or(&none);
    let expressions = selector["matchExpressions"].as_array().map_or(&[][..], Vec::as_slice);
    wanted.iter().all(|(name, value)| labels[name] == *value)
        && expressions.iter().all(|expression| {
            let label = expression["key"].as_str().and_then(|key| labels.get(key));
            let listed = || {
                let values = expression["values"].as_array();
                label.is_some_and(|label| values.is_some_and(|values| values.contains(label)))
            };
            match expression["operator"].as_str() {
                Some("In") => listed(),
                Some("NotIn") => !listed(),
                Some("Exists") => label.is_some(),
                Some("DoesNotExist") => label.is_none(),
                _ => false,
            }
        })
}

/// A label selector in the form of queries.
pub(super) fn query(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_fields_is_no_difference_and_everything_else_is() {
        assert_eq!(hash(&json!({ "a": 1, "b": [1, 2] })), hash(&json!({ "b": [1, 2], "a": 1 })));
        let different = [
            json!(null),
            json!([]),
            json!({}),
            json!(""),
            json!("n"),
            json!(1),
            json!("1"),
            json!([1, 2]),
            json!([[1], 2]),
            json!({ "a": "b" }),
            json!({ "a": ["b"] }),
            json!(["a", "b"]),
            json!(["ab"]),
            json!({ "ab": null }),
        ];
        for (number, one) in different.iter().enumerate() {
            for other in &different[number + 1..] {
                assert_ne!(hash(one), hash(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn what_controllers_note_is_no_edit() {
        let live = json!({
            "metadata": { "name": "a", "labels": { "a": "b" }, "annotations": { "c": "d" } },
            "spec": { "replicas": 1, "template": {} },
        });
        let mut noted = live.clone();
        noted["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3".into();
        noted["metadata"]["resourceVersion"] = "9".into();
        noted["metadata"]["finalizers"] = json!(["x"]);
        noted["status"] = json!({ "replicas": 1 });
        assert_eq!(live_hash(&live, true), live_hash(&noted, true));
        for (edit, value) in [
            ("/metadata/labels/a", "x"),
            ("/metadata/annotations/c", "x"),
            ("/spec/template", "x"),
            ("/spec/replicas", "x"),
        ] {
            let mut edited = live.clone();
            *edited.pointer_mut(edit).unwrap() = value.into();
            assert_ne!(live_hash(&live, true), live_hash(&edited, true), "{edit}");
            assert_eq!(live_hash(&live, false) == live_hash(&edited, false), edit == "/spec/replicas");
        }
    }

    #[test]
    fn selectors_select() {
        let labels = json!({ "a": "1", "b": "2" });
        let expression = |operator: &str, key: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
        for (selector, fits) in [
            (json!({}), true),
            (json!({ "matchLabels": { "a": "1" } }), true),
            (json!({ "matchLabels": { "a": "1", "c": "3" } }), false),
            (expression("In", "a", &["1", "2"]), true),
            (expression("In", "a", &["2"]), false),
            (expression("NotIn", "a", &["1"]), false),
            (expression("NotIn", "c", &["1"]), true),
            (expression("Exists", "b", &[]), true),
            (expression("DoesNotExist", "b", &[]), false),
            (expression("Fits", "b", &[]), false),
        ] {
            assert_eq!(selects(&selector, &labels), fits, "{selector}");
        }
    }
}
