//! One kind, made ready for judging: structure, schema and CEL rules compiled once.

use base64::{Engine, engine::general_purpose::STANDARD};
use jsonschema::PatternOptions;
use serde_json::{Value, json};

use crate::{
    UnknownFields,
    finding::{Finding, reason},
    path::Path,
    rules::{Functions, Rules},
    structure::Node,
    words,
};

/// A schema, compiled.
pub(crate) struct Compiled {
    structure: Node,
    schema: jsonschema::Validator,
    rules: Rules,
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
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft7)
            .with_pattern_options(PatternOptions::regex())
            .should_validate_formats(true)
            .with_format("byte", |text: &str| STANDARD.decode(text).is_ok())
            .build(&schema)
            .map_err(|error| error.to_string())?;
        Ok(Compiled { structure: Node::new(&schema, core), schema: validator, rules: Rules::new(&schema)? })
    }

    /// Normalizes a document and tells what an API server would object to.
    pub(crate) fn judge(
        &self,
        document: &mut Value,
        unknown: UnknownFields,
        functions: &Functions,
        secret: bool,
        findings: &mut Vec<Finding>,
    ) {
        self.structure.normalize(document, &Path::Root, unknown, findings);
        let before = findings.len();
        // Whether there is an error is found several times faster than where: most documents have none.
        if !self.schema.is_valid(document) {
            let errors = self.schema.iter_errors(document);
            findings.extend(errors.map(|error| words::schema_failure(&error, document, secret)));
        }
        // What has the wrong type breaks an enumeration too; the type says it all.
        let mistyped: Vec<String> = findings
            .iter()
            .skip(before)
            .filter(|finding| finding.reason == reason::TYPE)
            .map(|finding| finding.field.clone())
            .collect();
        findings
            .retain(|finding| finding.reason != reason::NOT_SUPPORTED || !mistyped.contains(&finding.field));
        let blocked = findings.iter().skip(before).any(|finding| reason::BLOCKING.contains(&finding.reason));
        if !blocked {
            self.rules.check(document, &Path::Root, functions, findings);
        }
    }
}

/// Schema of `metadata`, which all kinds share.
fn metadata_schema() -> Value {
    let namespace = api::KindInfo::named("", "Namespace").map(api::KindInfo::schema).unwrap_or_default();
    namespace.pointer("/properties/metadata").cloned().unwrap_or_else(|| json!({ "type": "object" }))
}
