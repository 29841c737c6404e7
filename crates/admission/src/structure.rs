//! The structural part of admission: nulls, unknown fields, defaults, and lists without duplicates.

use std::collections::{BTreeMap, BTreeSet};

use ir::Severity;
use serde_json::{Map, Value};

use crate::{
    UnknownFields,
    finding::{Finding, reason},
    path::Path,
};

/// A node of a schema, with what the walk needs of it.
#[derive(Debug, Default)]
pub(crate) struct Node {
    properties: BTreeMap<String, Node>,
    /// Values of a map.
    values: Option<Box<Node>>,
    items: Option<Box<Node>>,
    default: Option<Value>,
    unique: Unique,
    /// Anything may stand here.
    open: bool,
}

#[derive(Debug, Default)]
enum Unique {
    #[default]
    No,
    Values,
    Keys(Vec<String>),
}

impl Node {
    /// Reads a schema. `open_objects` says what an object without any properties means: anything (as in Kubernetes'
    /// own kinds) or nothing (as in CRDs).
    pub(crate) fn new(schema: &Value, open_objects: bool) -> Node {
        let properties: BTreeMap<_, _> = schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, child)| (name.clone(), Node::new(child, open_objects)))
            .collect();
        let child = |key: &str| {
            schema
                .get(key)
                .filter(|child| child.is_object())
                .map(|child| Box::new(Node::new(child, open_objects)))
        };
        let values = child("additionalProperties");
        let keys = || {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool) == Some(true);
        let bare = properties.is_empty() && values.is_none();
        Node {
            open: flag("x-kubernetes-preserve-unknown-fields")
                || flag("additionalProperties")
                || (bare && (open_objects || text("type").is_none())),
            unique: match text("x-kubernetes-list-type") {
                Some("set") => Unique::Values,
                Some("map") => Unique::Keys(keys()),
                _ => Unique::No,
            },
            default: schema.get("default").cloned(),
            items: child("items"),
            values,
            properties,
        }
    }

    /// Makes a value what an API server would keep: drops nulls and unknown fields and fills in defaults; then looks
    /// for duplicates in lists that must not have any.
    pub(crate) fn normalize(
        &self,
        value: &mut Value,
        path: &Path<'_>,
        unknown: UnknownFields,
        findings: &mut Vec<Finding>,
    ) {
        match value {
            Value::Object(map) if !self.open => self.normalize_map(map, path, unknown, findings),
            Value::Array(list) => {
                if let Some(items) = &self.items {
                    for (index, item) in list.iter_mut().enumerate() {
                        items.normalize(item, &Path::Item(path, index), unknown, findings);
                    }
                }
                self.find_duplicates(list, path, findings);
            }
            _ => {}
        }
    }

    fn normalize_map(
        &self,
        map: &mut Map<String, Value>,
        path: &Path<'_>,
        unknown: UnknownFields,
        findings: &mut Vec<Finding>,
    ) {
        map.retain(|name, value| {
            if !self.properties.contains_key(name) && self.values.is_none() {
                findings.push(self.unknown_field(name, path, unknown));
                return false;
            }
            !value.is_null()
        });
        for (name, child) in &self.properties {
            if let (Some(default), false) = (&child.default, map.contains_key(name)) {
                map.insert(name.clone(), default.clone());
            }
        }
        for (name, value) in map.iter_mut() {
            if let Some(child) = self.properties.get(name).or(self.values.as_deref()) {
                child.normalize(value, &Path::Field(path, name), unknown, findings);
            }
        }
    }

    /// An API server drops unknown fields, `kubectl` refuses them. A field that differs from a known one in case
    /// alone is refused always: some readers would take it for the known one, so nobody can say what is meant.
    fn unknown_field(&self, name: &str, path: &Path<'_>, unknown: UnknownFields) -> Finding {
        let nearest = nearest(name, self.properties.keys());
        let same_letters = nearest.is_some_and(|near| near.eq_ignore_ascii_case(name));
        let mut message = format!("unknown field {name:?}");
        match nearest {
            Some(near) => message.push_str(&format!("; did you mean {near:?}?")),
            None if !self.properties.is_empty() => {
                let names: Vec<_> = self.properties.keys().map(String::as_str).take(NAMES_SHOWN).collect();
                let more = if self.properties.len() > NAMES_SHOWN { ", …" } else { "" };
                message.push_str(&format!("; fields here are {}{more}", names.join(", ")));
            }
            None => {}
        }
        let severity = match unknown {
            UnknownFields::Drop if !same_letters => {
                message.push_str(" (dropped)");
                Severity::Warning
            }
            _ => Severity::Rejected,
        };
        Finding {
            field: Path::Field(path, name).to_string(),
            severity,
            reason: reason::UNKNOWN_FIELD,
            message,
        }
    }

    fn find_duplicates(&self, list: &[Value], path: &Path<'_>, findings: &mut Vec<Finding>) {
        let mut seen = BTreeSet::new();
        for (index, value) in list.iter().enumerate() {
            let what = match &self.unique {
                Unique::No => return,
                Unique::Values => value.to_string(),
                Unique::Keys(_) if !value.is_object() => continue,
                Unique::Keys(keys) => {
                    let shown = |key: &String| format!("{key} {}", value.get(key).unwrap_or(&Value::Null));
                    format!("an entry with {}", keys.iter().map(shown).collect::<Vec<_>>().join(", "))
                }
            };
            if seen.contains(&what) {
                let message = format!("{what} stands in the list twice");
                findings.push(Finding::rejected(
                    Path::Item(path, index).to_string(),
                    reason::DUPLICATE,
                    message,
                ));
            }
            seen.insert(what);
        }
    }
}

/// How many names of fields a message lists at most.
const NAMES_SHOWN: usize = 12;

/// The known name that is probably meant: nearest by insertions, deletions, changes and swaps of letters, case
/// ignored; at most one in three letters may differ.
fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n String>) -> Option<&'n str> {
    // The distance costs time by the product of both lengths; no name of a field is longer than this.
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    known
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_ascii_lowercase()), known.as_str()))
        .filter(|(distance, known)| *distance <= known.len().max(name.len()).div_ceil(3).min(4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
