//! Every field of Envoy Gateway's kinds has an effect in some case: without it the statuses, the resources or the
//! objects of a fleet are different.
//!
//! For each field a case is looked for whose outputs change when the field is taken away. Where the object may not be
//! without it, another value must change them, or else the closest object around it that may be missing.
//!
//! Fields in [`SAME_CODE`] are proven once for all places of a row.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
};

use admission::{UnknownFields, documents};
use api::{KindInfo, Object};
use pipeline::{ChangeSet, Pipeline};
use serde_json::{Value, json};

use crate::{
    names, root,
    translated::{ADMISSION, NOW, settings},
    without_effect::WITHOUT_EFFECT,
};

/// Kinds whose fields are walked.
const KINDS: [&str; 4] = ["Backend", "BackendTrafficPolicy", "ClientTrafficPolicy", "EnvoyProxy"];

/// Description of what is Kubernetes' own API: one field to us, which is passed on.
const OF_KUBERNETES: &str = "As in Kubernetes' own API.";

/// Kind, and places whose fields one and the same function reads, whatever the place: it is given what stands there, and
/// its result goes the same way for all. So a field that has an effect in one place has it in all that are read by the
/// function at all, and for this each place needs a field of its own with an effect. The schemas of the places must be
/// equal. What has no effect is said of the first place, for all.
const SAME_CODE: &[(&str, &[&str])] = &[
    // `translate::telemetry::backends::cluster`, its `settings`.
    (
        "EnvoyProxy",
        &[
            "spec.telemetry.accessLog.settings[].sinks[].als.backendSettings",
            "spec.telemetry.accessLog.settings[].sinks[].openTelemetry.backendSettings",
            "spec.telemetry.tracing.provider.backendSettings",
        ],
    ),
    // The same, its `backends`.
    (
        "EnvoyProxy",
        &[
            "spec.telemetry.accessLog.settings[].sinks[].als.backendRefs",
            "spec.telemetry.accessLog.settings[].sinks[].openTelemetry.backendRefs",
            "spec.telemetry.tracing.provider.backendRefs",
        ],
    ),
];

#[test]
fn every_field_has_an_effect_in_some_case() {
    let cases: Vec<Case> = names().iter().map(|name| Case::read(name)).collect();
    let mut report = String::new();
    let mut needed = BTreeSet::new();
    for kind in KINDS {
        let schema = KindInfo::named("gateway.envoyproxy.io", kind).unwrap().schema();
        let schema = &schema["properties"]["spec"];
        let mut all = BTreeSet::new();
        fields(schema, "spec", &mut all);
        let places = places(&cases, kind, schema);
        let found = |field: &str| places.get(field).map_or(&[][..], Vec::as_slice);
        let has_effect =
            |field: &str| found(field).iter().any(|(case, place)| cases[*case].depends_on(place, schema));
        for (_, row) in SAME_CODE.iter().filter(|(of, _)| *of == kind) {
            for place in *row {
                assert_eq!(at(schema, place), at(schema, row[0]), "{kind} {place} and {}", row[0]);
                if !all.iter().any(|field| is_below(field, place) && has_effect(field)) {
                    _ = writeln!(report, "{kind} {place}: nothing in it has an effect in any case");
                }
            }
        }
        for field in &all {
            let same = same_code(kind, field);
            if same.first() != Some(field) {
                continue;
            }
            if same.iter().any(|field| has_effect(field)) {
                continue;
            }
            let found: Vec<_> = same.iter().flat_map(|field| found(field)).collect();
            let excuse =
                WITHOUT_EFFECT.iter().position(|(of, prefix, _)| *of == kind && is_below(field, prefix));
            match excuse {
                Some(line) => _ = needed.insert(line),
                None if found.is_empty() => _ = writeln!(report, "{kind} {field}: no case sets it"),
                None => {
                    let tried: BTreeSet<&str> = found.iter().map(|(case, _)| &*cases[*case].name).collect();
                    _ = writeln!(report, "{kind} {field}: changes nothing in {tried:?}");
                }
            }
        }
    }
    for (line, (kind, prefix, reason)) in WITHOUT_EFFECT.iter().enumerate() {
        assert!(!reason.is_empty(), "{kind} {prefix}: say why");
        if !needed.contains(&line) {
            _ = writeln!(report, "{kind} {prefix}: has an effect in some case; take it from the list");
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// Whether a field is this one or stands below it.
fn is_below(field: &str, prefix: &str) -> bool {
    field.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '{']))
}

/// The field in each place that the same code reads, in the order of [`SAME_CODE`]; else the field alone.
fn same_code(kind: &str, field: &str) -> Vec<String> {
    let rows = SAME_CODE.iter().filter(|(of, _)| *of == kind).map(|(_, row)| *row);
    let mut found = rows.filter_map(|row| {
        let place = row.iter().find(|place| is_below(field, place))?;
        Some(row.iter().map(|other| format!("{other}{}", &field[place.len()..])).collect())
    });
    found.next().unwrap_or_else(|| vec![field.to_owned()])
}

/// The schema of what a path names.
fn at<'a>(schema: &'a Value, path: &str) -> &'a Value {
    path.split('.').skip(1).fold(schema, |node, name| {
        let entries = name.strip_suffix("[]");
        let child = &node["properties"][entries.unwrap_or(name)];
        if entries.is_some() { &child["items"] } else { child }
    })
}

/// What may be set at a node of a schema.
enum Shape<'a> {
    Fields(&'a serde_json::Map<String, Value>),
    /// Entries with fields, and how they are written in a path.
    Entries(&'a Value, &'static str),
    /// One field.
    Leaf,
}

fn shape(schema: &Value) -> Shape<'_> {
    if let Some(fields) = schema["properties"].as_object() {
        let of_kubernetes = fields.values().any(|field| field["description"] == OF_KUBERNETES);
        return if fields.is_empty() || of_kubernetes { Shape::Leaf } else { Shape::Fields(fields) };
    }
    for (key, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() && matches!(shape(&schema[key]), Shape::Fields(_)) {
            return Shape::Entries(&schema[key], sign);
        }
    }
    Shape::Leaf
}

/// All fields of a schema by their paths, but for those that only hold others.
fn fields(schema: &Value, path: &str, out: &mut BTreeSet<String>) {
    match shape(schema) {
        Shape::Fields(children) => {
            children.iter().for_each(|(name, child)| fields(child, &format!("{path}.{name}"), out));
        }
        Shape::Entries(child, sign) => fields(child, &format!("{path}{sign}"), out),
        Shape::Leaf => _ = out.insert(path.to_owned()),
    }
}

/// Where a field is set: the document, and the pointer to it.
type Place = (usize, String);

/// Where each field is set, by case.
fn places(cases: &[Case], kind: &str, schema: &Value) -> BTreeMap<String, Vec<(usize, Place)>> {
    let mut out: BTreeMap<String, Vec<(usize, Place)>> = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        for (index, document) in case.documents.iter().enumerate() {
            if document["kind"] != kind || case.objects[index].is_none() {
                continue;
            }
            let mut set = Vec::new();
            set_fields(schema, &document["spec"], "spec", "/spec", &mut set);
            for (field, pointer) in set {
                out.entry(field).or_default().push((number, (index, pointer)));
            }
        }
    }
    out
}

fn set_fields(schema: &Value, value: &Value, path: &str, at: &str, out: &mut Vec<(String, String)>) {
    match (shape(schema), value) {
        (Shape::Fields(children), Value::Object(set)) => {
            for (name, value) in set {
                if let Some(child) = children.get(name) {
                    set_fields(child, value, &format!("{path}.{name}"), &format!("{at}/{name}"), out);
                }
            }
        }
        (Shape::Entries(child, sign), Value::Array(entries)) => {
            for (index, entry) in entries.iter().enumerate() {
                set_fields(child, entry, &format!("{path}{sign}"), &format!("{at}/{index}"), out);
            }
        }
        (Shape::Entries(child, sign), Value::Object(entries)) => {
            for (key, entry) in entries {
                let key = key.replace('~', "~0").replace('/', "~1");
                set_fields(child, entry, &format!("{path}{sign}"), &format!("{at}/{key}"), out);
            }
        }
        _ => out.push((path.to_owned(), at.to_owned())),
    }
}

/// The documents of a case with what becomes of them.
struct Case {
    name: String,
    text: String,
    documents: Vec<Value>,
    /// The document's object, where admission takes it.
    objects: Vec<Option<Object>>,
    outputs: String,
}

impl Case {
    fn read(name: &str) -> Case {
        let text = fs::read_to_string(root().join(name).join("in.yaml")).unwrap();
        let documents: Vec<Value> = documents(&text).map_or_else(
            |_| Vec::new(),
            |documents| documents.into_iter().map(|document| document.value).collect(),
        );
        let objects: Vec<Option<Object>> = documents.iter().map(admit).collect();
        let mut case = Case { name: name.to_owned(), text, documents, objects, outputs: String::new() };
        case.outputs = case.translate(case.objects.iter().flatten().cloned().collect());
        case
    }

    fn translate(&self, objects: Vec<Object>) -> String {
        let settings = settings(&self.text);
        let installation = settings.installation.clone();
        let mut pipeline = Pipeline::new(settings);
        pipeline.commit(ChangeSet { apply: objects, now: Some(NOW), ..ChangeSet::default() });
        let mut out = String::new();
        for status in pipeline.statuses() {
            _ = writeln!(out, "{status:?}");
        }
        for (fleet, state) in pipeline.fleets() {
            _ = writeln!(out, "{fleet} {:?}", state.spec.sockets);
            for ((kind, name), resource) in &state.resources {
                _ = writeln!(out, "{kind:?} {name} {:?}", resource.body());
            }
        }
        let context = infra::Context { installation: &installation, ca: None };
        for wish in pipeline.wishes() {
            _ = writeln!(out, "{:?}", infra::render(wish, &context));
        }
        out
    }

    /// What becomes of the case when one document is another one; `None` when admission refuses that.
    fn with(&self, index: usize, document: &Value) -> Option<String> {
        let mut objects = self.objects.clone();
        objects[index] = Some(admit(document)?);
        Some(self.translate(objects.into_iter().flatten().collect()))
    }

    /// Whether the field at this place has an effect.
    fn depends_on(&self, (index, pointer): &Place, schema: &Value) -> bool {
        let document = &self.documents[*index];
        let mut at = pointer.clone();
        if let Some(outputs) = self.with(*index, &without(document, &at)) {
            return outputs != self.outputs;
        }
        let node = schema_of(schema, pointer);
        for value in others(node, document.pointer(pointer).unwrap()) {
            let mut changed = document.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            if self.with(*index, &changed).is_some_and(|outputs| outputs != self.outputs) {
                return true;
            }
        }
        while let Some((around, _)) = at.rsplit_once('/').filter(|(around, _)| *around != "/spec") {
            at = around.to_owned();
            if let Some(outputs) = self.with(*index, &without(document, &at)) {
                return outputs != self.outputs;
            }
        }
        false
    }
}

fn admit(document: &Value) -> Option<Object> {
    ADMISSION.admit(document.clone(), UnknownFields::Refuse).object
}

/// The document without what stands there.
fn without(document: &Value, pointer: &str) -> Value {
    let mut document = document.clone();
    let (around, last) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(around).unwrap() {
        Value::Object(fields) => _ = fields.remove(&last.replace("~1", "/").replace("~0", "~")),
        Value::Array(entries) => _ = entries.remove(last.parse().unwrap()),
        _ => unreachable!("a pointer into a document"),
    }
    document
}

/// The schema of what stands at a place below `spec`.
fn schema_of<'a>(schema: &'a Value, pointer: &str) -> &'a Value {
    pointer.split('/').skip(2).fold(schema, |node, part| match &node["properties"][part] {
        Value::Null => node.get("items").or(node.get("additionalProperties")).unwrap_or(&Value::Null),
        child => child,
    })
}

/// Other values in the place of one.
fn others(schema: &Value, value: &Value) -> Vec<Value> {
    let choices = schema["enum"].as_array().into_iter().flatten().filter(|choice| *choice != value).cloned();
    let near = match value {
        Value::Bool(yes) => vec![json!(!yes)],
        Value::Number(number) => {
            number.as_i64().map_or(vec![], |number| vec![json!(number + 1), json!(number - 1)])
        }
        Value::String(text) => vec![json!(format!("{text}x")), json!(format!("1{text}"))],
        _ => vec![],
    };
    choices.chain(near).collect()
}
