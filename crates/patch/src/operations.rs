//! JSON Patch (RFC 6902), with places that may be found by a JSONPath (RFC 9535).

use serde_json::{Value, json};
use serde_json_path::JsonPath;

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// `add`, `remove`, `replace`, `move`, `copy` or `test`.
    pub op: String,
    /// Where, as a JSON pointer; below each place that `json_path` finds, if there is one.
    pub path: Option<String>,
    /// Where, as a JSONPath.
    pub json_path: Option<String>,
    /// From where, for `move` and `copy`.
    pub from: Option<String>,
    /// The value, for `add`, `replace` and `test`.
    pub value: Option<Value>,
}

/// Applies operations in order. The document stays as it was when one of them fails.
///
/// # Errors
///
/// When an operation is not complete, a place is not there, or a test fails; the sentence names the operation by its
/// index.
pub fn json_patch(document: &mut Value, operations: &[Operation]) -> Result<(), String> {
    let mut changed = document.clone();
    for (i, operation) in operations.iter().enumerate() {
        let told = |message: String| format!("operation {i} ({}): {message}", operation.op);
        for path in places(&changed, operation).map_err(told)? {
            let mut one = json!({ "op": operation.op, "path": path });
            if let Some(from) = &operation.from {
                one["from"] = from.as_str().into();
            }
            if let Some(value) = &operation.value {
                one["value"] = value.clone();
            }
            let one: json_patch::PatchOperation =
                serde_json::from_value(one).map_err(|error| told(error.to_string()))?;
            json_patch::patch(&mut changed, &[one])
                .map_err(|error| told(format!("{path}: {}", error.kind)))?;
        }
    }
    *document = changed;
    Ok(())
}

/// JSON pointers of the places that an operation is for. From the last to the first, so that a place that is removed
/// moves none that is still to come.
fn places(document: &Value, operation: &Operation) -> Result<Vec<String>, String> {
    let Some(query) = &operation.json_path else {
        return Ok(vec![operation.path.clone().ok_or("path or jsonPath must be set")?]);
    };
    let query = JsonPath::parse(query).map_err(|error| format!("{query}: {error}"))?;
    let below = operation.path.as_deref().unwrap_or_default();
    let found = query.query_located(document);
    let mut places: Vec<String> =
        found.locations().map(|place| format!("{}{below}", place.to_json_pointer())).collect();
    if places.is_empty() {
        return Err("the jsonPath finds nothing".to_owned());
    }
    places.reverse();
    Ok(places)
}
