//! One kind, made ready for judging: structure, schema and CEL rules compiled once.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonschema::PatternOptions;
use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Value, json};

use crate::{
    UnknownFields,
    finding::{Finding, reason},
    path::Path,
    structure::Node,
    words,
};

/// A schema, compiled.
pub(crate) struct Compiled {
    structure: Node,
    schema: jsonschema::Validator,
    /// Absent when there are no rules.
    rules: Option<CompiledSchema>,
    /// What each rule says when it is broken.
    messages: BTreeMap<String, String>,
}

impl Compiled {
    /// Compiles a schema. `core` says that it is one of Kubernetes' own.
    ///
    /// # Errors
    ///
    /// When the schema is not one; a test compiles every schema that there is.
    pub(crate) fn new(mut schema: Value, core: bool) -> Result<Compiled, String> {
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            // Schemas of CRDs leave metadata to the API server.
            if properties.contains_key("metadata") {
                properties.insert("metadata".to_owned(), metadata_schema());
            }
            // New objects have no status; what controllers find there is not ours to invent.
            if let Some(status) = properties.get_mut("status").and_then(Value::as_object_mut) {
                status.remove("default");
            }
        }
        let mut messages = BTreeMap::new();
        collect_messages(&schema, &mut messages);
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft7)
            .with_pattern_options(PatternOptions::regex())
            .should_validate_formats(true)
            .with_format("byte", |text: &str| STANDARD.decode(text).is_ok())
            .build(&schema)
            .map_err(|error| error.to_string())?;
        let rules = if messages.is_empty() { None } else { Some(compile_schema(&schema)) };
        Ok(Compiled { structure: Node::new(&schema, core), schema: validator, rules, messages })
    }

    /// Normalizes a document and tells what an API server would object to.
    pub(crate) fn judge(
        &self,
        document: &mut Value,
        unknown: UnknownFields,
        cel: &Validator,
        secret: bool,
        findings: &mut Vec<Finding>,
    ) {
        self.structure.normalize(document, &Path::Root, unknown, findings);
        let before = findings.len();
        findings.extend(
            self.schema.iter_errors(document).map(|error| words::schema_failure(&error, document, secret)),
        );
        let blocked = findings[before..].iter().any(|finding| reason::BLOCKING.contains(&finding.reason));
        if let (Some(rules), false) = (&self.rules, blocked) {
            let Err(broken) = cel.validate_compiled(rules, document, None) else { return };
            findings.extend(broken.into_iter().map(|error| {
                let message = self.messages.get(&error.rule).cloned().unwrap_or(error.message);
                Finding::rejected(error.field_path, reason::INVALID, message)
            }));
        }
    }
}

/// Schema of `metadata`, which all kinds share.
fn metadata_schema() -> Value {
    let namespace = api::KindInfo::named("", "Namespace").map(api::KindInfo::schema).unwrap_or_default();
    namespace.pointer("/properties/metadata").cloned().unwrap_or_else(|| json!({ "type": "object" }))
}

fn collect_messages(schema: &Value, messages: &mut BTreeMap<String, String>) {
    match schema {
        Value::Object(node) => {
            for rule in node.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                if let (Some(Value::String(rule)), Some(Value::String(message))) =
                    (rule.get("rule"), rule.get("message"))
                {
                    messages.insert(rule.clone(), message.clone());
                }
            }
            node.values().for_each(|child| collect_messages(child, messages));
        }
        Value::Array(items) => items.iter().for_each(|child| collect_messages(child, messages)),
        _ => {}
    }
}
