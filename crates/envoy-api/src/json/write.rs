//! From messages to JSON.

use std::borrow::Cow;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value as Proto};
use prost_types::{Duration, Timestamp};
use serde_json::{Map, Value};

use super::{
    Error, REDACTED, decode, descriptor, redact,
    scalar::{self, WellKnown},
};

/// Writes messages; with `redact`, without what is secret.
#[derive(Clone, Copy)]
pub(super) struct Writer {
    pub(super) redact: bool,
}

impl Writer {
    pub(super) fn message(self, message: &DynamicMessage) -> Result<Value, Error> {
        Fields { redact: self.redact, blank: false }.message(message)
    }
}

/// Writes the fields of one message; with `blank`, every string and byte below is secret.
#[derive(Clone, Copy)]
struct Fields {
    redact: bool,
    blank: bool,
}

impl Fields {
    fn message(self, message: &DynamicMessage) -> Result<Value, Error> {
        let field = |name: &str| message.get_field_by_name(name).unwrap_or(Cow::Owned(Proto::Bool(false)));
        match WellKnown::of(message.descriptor().full_name()) {
            None => self.object(message).map(Value::Object),
            Some(WellKnown::Any) => self.any(message),
            Some(WellKnown::Duration) => {
                let (seconds, nanos) = (field("seconds").as_i64(), field("nanos").as_i32());
                let duration =
                    Duration { seconds: seconds.unwrap_or_default(), nanos: nanos.unwrap_or_default() };
                Ok(scalar::duration(&duration).into())
            }
            Some(WellKnown::Timestamp) => {
                let (seconds, nanos) = (field("seconds").as_i64(), field("nanos").as_i32());
                let timestamp =
                    Timestamp { seconds: seconds.unwrap_or_default(), nanos: nanos.unwrap_or_default() };
                Ok(scalar::timestamp(timestamp).into())
            }
            Some(WellKnown::Empty) => Ok(Value::Object(Map::new())),
            Some(WellKnown::Struct) => self.inner(message, "fields"),
            Some(WellKnown::ListValue) => self.inner(message, "values"),
            Some(WellKnown::Wrapper) => self.inner(message, "value"),
            Some(WellKnown::Value) => match message.fields().next() {
                Some((kind, value)) => self.value(&kind.kind(), &value.clone()),
                None => Ok(Value::Null),
            },
        }
    }

    /// The JSON of the one field that stands for the message; its default when it is unset.
    fn inner(self, message: &DynamicMessage, name: &str) -> Result<Value, Error> {
        match message.descriptor().get_field_by_name(name) {
            Some(field) => self.field(&field, &message.get_field(&field)),
            None => Ok(Value::Null),
        }
    }

    fn object(self, message: &DynamicMessage) -> Result<Map<String, Value>, Error> {
        let header = self.redact && redact::is_credential_header(message);
        message
            .fields()
            .map(|(field, value)| {
                let secret =
                    self.redact && (redact::is_sensitive(&field) || (header && field.name() != "key"));
                let fields = Self { blank: self.blank || secret, ..self };
                Ok((field.json_name().to_owned(), fields.field(&field, value)?))
            })
            .collect()
    }

    fn any(self, message: &DynamicMessage) -> Result<Value, Error> {
        let type_url = message.get_field_by_name("type_url");
        let type_url = type_url.as_deref().and_then(Proto::as_str).unwrap_or_default();
        let bytes = message.get_field_by_name("value");
        let bytes =
            bytes.as_deref().and_then(|bytes| bytes.as_bytes()).map(AsRef::as_ref).unwrap_or_default();
        let mut object = Map::new();
        if type_url.is_empty() && bytes.is_empty() {
            return Ok(object.into());
        }
        let inner = decode(descriptor(type_url)?, bytes)?;
        object.insert("@type".to_owned(), type_url.into());
        match WellKnown::of(inner.descriptor().full_name()) {
            None => object.extend(self.object(&inner)?),
            Some(_) => {
                object.insert("value".to_owned(), self.message(&inner)?);
            }
        }
        Ok(object.into())
    }

    fn field(self, field: &FieldDescriptor, value: &Proto) -> Result<Value, Error> {
        let kind = field.kind();
        match value {
            Proto::List(items) => items.iter().map(|item| self.value(&kind, item)).collect(),
            Proto::Map(entries) => {
                let value_kind = match &kind {
                    Kind::Message(entry) => entry.map_entry_value_field().kind(),
                    other => other.clone(),
                };
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                entries
                    .into_iter()
                    .map(|(key, value)| Ok((map_key(key), self.value(&value_kind, value)?)))
                    .collect::<Result<Map<_, _>, Error>>()
                    .map(Value::Object)
            }
            _ => self.value(&kind, value),
        }
    }

    fn value(self, kind: &Kind, value: &Proto) -> Result<Value, Error> {
        Ok(match value {
            Proto::Bool(value) => (*value).into(),
            Proto::I32(value) => (*value).into(),
            Proto::U32(value) => (*value).into(),
            Proto::I64(value) => value.to_string().into(),
            Proto::U64(value) => value.to_string().into(),
            Proto::F32(value) => scalar::float32(*value),
            Proto::F64(value) => scalar::float(*value),
            Proto::String(_) if self.blank => REDACTED.into(),
            Proto::String(value) => value.as_str().into(),
            Proto::Bytes(_) if self.blank => scalar::encode_bytes(REDACTED.as_bytes()).into(),
            Proto::Bytes(value) => scalar::encode_bytes(value).into(),
            Proto::EnumNumber(number) => enum_value(kind, *number),
            Proto::Message(message) => self.message(message)?,
            // A list or map within a list does not exist in protobuf.
            Proto::List(_) | Proto::Map(_) => Value::Null,
        })
    }
}

/// The name of an enum's value; its number when it has no name; `null` for the only value of `NullValue`.
fn enum_value(kind: &Kind, number: i32) -> Value {
    let Kind::Enum(values) = kind else { return number.into() };
    if values.full_name() == "google.protobuf.NullValue" {
        return Value::Null;
    }
    values.get_value(number).map_or_else(|| number.into(), |value| value.name().into())
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}
