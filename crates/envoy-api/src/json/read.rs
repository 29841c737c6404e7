//! From JSON to messages.

use std::fmt;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value as Proto};
use serde_json::{Map, Value};

use super::{
    Error, descriptor,
    scalar::{self, WellKnown},
};

/// Where a value is; written out only when it is at fault.
pub(super) enum Path<'a> {
    Root,
    Name(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Name(Self::Root, name) => formatter.write_str(name),
            Self::Name(parent, name) => write!(formatter, "{parent}.{name}"),
            Self::Index(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

/// How many names and indexes deep a value may be. Envoy decodes 100 messages deep, and each of these is one at most
/// places, so what is deeper could not be used; the limit keeps the stack from running out on it.
const MAX_DEPTH: usize = 100;

impl Path<'_> {
    fn depth(&self) -> usize {
        std::iter::successors(Some(self), |path| match path {
            Self::Root => None,
            Self::Name(parent, _) | Self::Index(parent, _) => Some(parent),
        })
        .count()
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::Field { path: self.to_string(), message: message.into() }
    }

    fn expected(&self, what: &str, found: &Value) -> Error {
        /// Longer values are cut: a certificate in an error message helps nobody.
        const MAX: usize = 60;
        let mut found = found.to_string();
        if let Some((end, _)) = found.char_indices().nth(MAX) {
            found.truncate(end);
            found.push('…');
        }
        self.error(format!("expected {what}, found {found}"))
    }
}

pub(super) fn message(
    descriptor: &MessageDescriptor,
    value: &Value,
    path: &Path<'_>,
) -> Result<DynamicMessage, Error> {
    if path.depth() > MAX_DEPTH {
        return Err(path.error(format!("nested more than {MAX_DEPTH} deep")));
    }
    let mut message = DynamicMessage::new(descriptor.clone());
    match WellKnown::of(descriptor.full_name()) {
        None | Some(WellKnown::Empty) => fields(&mut message, descriptor, object(value, path)?, path)?,
        Some(WellKnown::Any) => any(&mut message, value, path)?,
        Some(WellKnown::Duration) => {
            let parsed = value.as_str().and_then(scalar::parse_duration);
            let parsed = parsed.ok_or_else(|| path.expected("a duration such as \"1.5s\"", value))?;
            set(&mut message, "seconds", Proto::I64(parsed.seconds));
            set(&mut message, "nanos", Proto::I32(parsed.nanos));
        }
        Some(WellKnown::Timestamp) => {
            let parsed = value.as_str().and_then(scalar::parse_timestamp);
            let parsed =
                parsed.ok_or_else(|| path.expected("a time such as \"2026-01-31T00:00:00Z\"", value))?;
            set(&mut message, "seconds", Proto::I64(parsed.seconds));
            set(&mut message, "nanos", Proto::I32(parsed.nanos));
        }
        Some(WellKnown::Struct) => inner(&mut message, descriptor, "fields", value, path)?,
        Some(WellKnown::ListValue) => inner(&mut message, descriptor, "values", value, path)?,
        Some(WellKnown::Wrapper) => inner(&mut message, descriptor, "value", value, path)?,
        Some(WellKnown::Value) => {
            let kind = match value {
                Value::Null => "null_value",
                Value::Bool(_) => "bool_value",
                Value::Number(_) => "number_value",
                Value::String(_) => "string_value",
                Value::Array(_) => "list_value",
                Value::Object(_) => "struct_value",
            };
            inner(&mut message, descriptor, kind, value, path)?;
        }
    }
    Ok(message)
}

fn set(message: &mut DynamicMessage, name: &str, value: Proto) {
    // The well-known types have these fields, of these kinds; were it otherwise the value would stay unset.
    let _ = message.try_set_field_by_name(name, value);
}

/// Sets the one field that stands for the whole message.
fn inner(
    message: &mut DynamicMessage,
    descriptor: &MessageDescriptor,
    name: &str,
    value: &Value,
    path: &Path<'_>,
) -> Result<(), Error> {
    let field =
        descriptor.get_field_by_name(name).ok_or_else(|| path.error(format!("there is no {name}")))?;
    let value = field_value(&field, value, path)?;
    message.set_field(&field, value);
    Ok(())
}

fn object<'v>(value: &'v Value, path: &Path<'_>) -> Result<&'v Map<String, Value>, Error> {
    value.as_object().ok_or_else(|| path.expected("an object", value))
}

fn fields(
    message: &mut DynamicMessage,
    descriptor: &MessageDescriptor,
    members: &Map<String, Value>,
    path: &Path<'_>,
) -> Result<(), Error> {
    for (name, value) in members {
        let path = Path::Name(path, name);
        let field = descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name));
        let field =
            field.ok_or_else(|| path.error(format!("{} has no such field", descriptor.full_name())))?;
        if value.is_null() && !takes_null(&field) {
            continue;
        }
        if message.has_field(&field) {
            return Err(path.error("the same field is set twice, under both of its names"));
        }
        if let Some(oneof) = field.containing_oneof()
            && let Some(other) = oneof.fields().find(|other| message.has_field(other))
        {
            return Err(path.error(format!(
                "only one of {} and {} may be set",
                other.json_name(),
                field.json_name()
            )));
        }
        let value = field_value(&field, value, &path)?;
        message.set_field(&field, value);
    }
    Ok(())
}

/// Whether `null` is a value of the field, instead of leaving it unset.
fn takes_null(field: &FieldDescriptor) -> bool {
    if field.is_list() || field.is_map() {
        return false;
    }
    match field.kind() {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value",
        Kind::Enum(values) => values.full_name() == "google.protobuf.NullValue",
        _ => false,
    }
}

fn any(message: &mut DynamicMessage, value: &Value, path: &Path<'_>) -> Result<(), Error> {
    const TYPE: &str = "@type";
    let members = object(value, path)?;
    if members.is_empty() {
        return Ok(());
    }
    let type_url = members.get(TYPE).and_then(Value::as_str);
    let type_url = type_url.ok_or_else(|| path.error("a typed configuration needs its type in \"@type\""))?;
    let inner_type = descriptor(type_url).map_err(|error| Path::Name(path, TYPE).error(error.to_string()))?;
    let inner = if WellKnown::of(inner_type.full_name()).is_some() {
        let content = members.get("value").ok_or_else(|| path.error("a well-known type needs \"value\""))?;
        if let Some(other) = members.keys().find(|name| *name != TYPE && *name != "value") {
            return Err(Path::Name(path, other).error("no such field beside \"value\" of a well-known type"));
        }
        self::message(&inner_type, content, &Path::Name(path, "value"))?
    } else {
        let mut inner = DynamicMessage::new(inner_type.clone());
        let content = members.iter().filter(|(name, _)| *name != TYPE);
        let content = content.map(|(name, value)| (name.clone(), value.clone())).collect();
        fields(&mut inner, &inner_type, &content, path)?;
        inner
    };
    set(message, "type_url", Proto::String(type_url.to_owned()));
    set(message, "value", Proto::Bytes(prost::Message::encode_to_vec(&inner).into()));
    Ok(())
}

fn field_value(field: &FieldDescriptor, value: &Value, path: &Path<'_>) -> Result<Proto, Error> {
    let kind = field.kind();
    if field.is_list() {
        let items = value.as_array().ok_or_else(|| path.expected("a list", value))?;
        let items =
            items.iter().enumerate().map(|(index, item)| single(&kind, item, &Path::Index(path, index)));
        return Ok(Proto::List(items.collect::<Result<_, _>>()?));
    }
    if field.is_map()
        && let Kind::Message(entry) = &kind
    {
        let (key_kind, value_kind) =
            (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let entries = object(value, path)?.iter().map(|(name, value)| {
            let path = Path::Name(path, name);
            Ok((map_key(&key_kind, name, &path)?, single(&value_kind, value, &path)?))
        });
        return Ok(Proto::Map(entries.collect::<Result<_, Error>>()?));
    }
    single(&kind, value, path)
}

/// One value: a field's that is neither list nor map, or an element of one.
fn single(kind: &Kind, value: &Value, path: &Path<'_>) -> Result<Proto, Error> {
    let parsed = match kind {
        Kind::Message(inner) => return message(inner, value, path).map(Proto::Message),
        Kind::Enum(values) => {
            let number = match value {
                Value::Null if values.full_name() == "google.protobuf.NullValue" => Some(0),
                Value::String(name) => values.get_value_by_name(name).map(|value| value.number()),
                other => scalar::parse_integer::<i32>(other),
            };
            return number.map(Proto::EnumNumber).ok_or_else(|| {
                /// More would hide the fault.
                const SHOWN: usize = 12;
                let names: Vec<_> =
                    values.values().take(SHOWN).map(|value| value.name().to_owned()).collect();
                path.expected(&format!("one of {}", names.join(", ")), value)
            });
        }
        Kind::Bool => value.as_bool().map(Proto::Bool).ok_or("true or false"),
        Kind::String => value.as_str().map(|text| Proto::String(text.to_owned())).ok_or("a string"),
        Kind::Bytes => {
            let bytes = value.as_str().and_then(scalar::parse_bytes);
            bytes.map(|bytes| Proto::Bytes(bytes.into())).ok_or("a string of base64")
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            scalar::parse_integer(value).map(Proto::I32).ok_or("a whole number of 32 bits")
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            scalar::parse_integer(value).map(Proto::I64).ok_or("a whole number of 64 bits")
        }
        Kind::Uint32 | Kind::Fixed32 => {
            scalar::parse_integer(value).map(Proto::U32).ok_or("a whole number from 0 to 4294967295")
        }
        Kind::Uint64 | Kind::Fixed64 => scalar::parse_integer(value)
            .map(Proto::U64)
            .ok_or("a whole number from 0 to 18446744073709551615"),
        Kind::Double => scalar::parse_float(value).map(Proto::F64).ok_or("a number"),
        // The nearest 32-bit number is what the mapping asks for; beyond its range there is none.
        Kind::Float => scalar::parse_float(value)
            .map(|float| (float, float as f32))
            .filter(|(float, narrow)| narrow.is_finite() || !float.is_finite())
            .map(|(_, narrow)| Proto::F32(narrow))
            .ok_or("a number of 32 bits"),
    };
    parsed.map_err(|what| path.expected(what, value))
}

fn map_key(kind: &Kind, name: &str, path: &Path<'_>) -> Result<MapKey, Error> {
    let key = match kind {
        Kind::String => Some(MapKey::String(name.to_owned())),
        Kind::Bool => name.parse().ok().map(MapKey::Bool),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => name.parse().ok().map(MapKey::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => name.parse().ok().map(MapKey::I64),
        Kind::Uint32 | Kind::Fixed32 => name.parse().ok().map(MapKey::U32),
        Kind::Uint64 | Kind::Fixed64 => name.parse().ok().map(MapKey::U64),
        _ => None,
    };
    key.ok_or_else(|| path.error("the name is not a key of this map"))
}
