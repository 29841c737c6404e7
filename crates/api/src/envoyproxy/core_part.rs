//! Parts of Kubernetes' own API inside of our kinds.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Stands for the many descriptions of Kubernetes' own fields, which would make the CRD ten times as large.
const DESCRIPTION: &str = "As in Kubernetes' own API.";

/// A part of Kubernetes' own API, such as a container: checked as a `T` by the schema, kept as it was written. So it
/// reaches the API server with all that a newer version of it may know, and with quantities in the form they had.
pub struct CorePart<T> {
    value: Value,
    part: PhantomData<fn() -> T>,
}

impl<T> CorePart<T> {
    /// The part as JSON.
    pub fn as_value(&self) -> &Value {
        &self.value
    }
}

impl<T> From<Value> for CorePart<T> {
    fn from(value: Value) -> Self {
        CorePart { value, part: PhantomData }
    }
}

impl<T> Clone for CorePart<T> {
    fn clone(&self) -> Self {
        self.value.clone().into()
    }
}

impl<T> fmt::Debug for CorePart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> PartialEq for CorePart<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> Serialize for CorePart<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for CorePart<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Into::into)
    }
}

impl<T: JsonSchema> JsonSchema for CorePart<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator).to_value();
        shorten(&mut schema);
        schema.try_into().unwrap_or_default()
    }
}

/// Replaces every description below this node, and drops its own, which the field that holds the part has.
fn shorten(schema: &mut Value) {
    let Value::Object(node) = schema else { return };
    node.remove("description");
    for child in
        node.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(|p| p.values_mut())
    {
        shorten(child);
        if let Value::Object(child) = child {
            child.insert("description".to_owned(), DESCRIPTION.into());
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(key) {
            shorten(child);
        }
    }
}
