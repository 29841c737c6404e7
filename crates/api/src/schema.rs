//! OpenAPI schemas of kinds, as an API server wants them ("structural"), made from the types.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Schema of a kind of ours: `spec`, and `status` unless that is `()`.
pub(crate) fn custom<Spec: JsonSchema, Status: JsonSchema>() -> Value {
    let mut properties = Map::new();
    properties.insert(
        "apiVersion".to_owned(),
        json!({ "type": "string", "description": "API group and version of this document." }),
    );
    properties
        .insert("kind".to_owned(), json!({ "type": "string", "description": "Kind of this document." }));
    properties.insert("metadata".to_owned(), json!({ "type": "object" }));
    let spec = structural::<Spec>();
    let description = spec.get("description").cloned().unwrap_or_default();
    properties.insert("spec".to_owned(), spec);
    let mut status = structural::<Status>();
    // The type `()` has a schema of type `null`, which `structural` drops.
    if status.get("type").is_some() {
        if let Some(conditions) = status.pointer("/properties/conditions/default").cloned() {
            status["default"] = json!({ "conditions": conditions });
        }
        properties.insert("status".to_owned(), status);
    }
    json!({ "type": "object", "description": description, "required": ["spec"], "properties": properties })
}

/// Schema of one of Kubernetes' own kinds.
pub(crate) fn core<Kind: JsonSchema>() -> Value {
    structural::<Kind>()
}

/// The schema of a type without references, titles, `null` types and formats that API servers do not know.
fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
        settings.transforms.clear();
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema);
    schema
}

/// Formats of numbers that schemars writes and API servers do not know.
const RUST_FORMATS: [&str; 6] = ["uint", "uint8", "uint16", "uint32", "uint64", "int"];

fn simplify(schema: &mut Value) {
    let Value::Object(node) = schema else { return };
    unwrap_option(node);
    collect_constants(node);
    node.remove("title");
    if node.get("format").and_then(Value::as_str).is_some_and(|format| RUST_FORMATS.contains(&format)) {
        node.remove("format");
    }
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        properties.values_mut().for_each(simplify);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(key) {
            simplify(child);
        }
    }
}

/// `Option<T>` comes as `anyOf` of T and null, or as a list of types with null; unset fields are absent, never null.
fn unwrap_option(node: &mut Map<String, Value>) {
    if let Some(Value::Array(branches)) = node.get("anyOf") {
        let mut some = branches.iter().filter(|branch| branch.get("type") != Some(&json!("null")));
        if let (Some(Value::Object(only)), None) = (some.next(), some.next()) {
            let only = only.clone();
            node.remove("anyOf");
            for (key, value) in only {
                // The field's own words go before those of its type.
                node.entry(key).or_insert(value);
            }
        }
    }
    match node.get("type") {
        Some(Value::Array(types)) => {
            let some = types.iter().find(|kind| *kind != "null").cloned().unwrap_or_default();
            node.insert("type".to_owned(), some);
        }
        Some(Value::String(kind)) if kind == "null" => {
            node.remove("type");
        }
        _ => {}
    }
    if let Some(Value::Array(values)) = node.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

/// An enum whose variants have words of their own comes as `oneOf` with a `const` each; API servers want `enum`.
fn collect_constants(node: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = node.get("oneOf") else { return };
    let mut values = Vec::new();
    let mut words = String::new();
    for branch in branches {
        if let Some(value) = branch.get("const") {
            if let (Some(name), Some(text)) =
                (value.as_str(), branch.get("description").and_then(Value::as_str))
            {
                words.push_str(&format!("\n`{name}`: {text}"));
            }
            values.push(value.clone());
        } else if let Some(Value::Array(several)) = branch.get("enum") {
            values.extend(several.iter().cloned());
        } else {
            return;
        }
    }
    node.remove("oneOf");
    node.insert("type".to_owned(), json!("string"));
    node.insert("enum".to_owned(), Value::Array(values));
    if let Some(Value::String(description)) = node.get_mut("description") {
        description.push_str(&words);
    }
}
