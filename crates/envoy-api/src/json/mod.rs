//! Protobuf's canonical JSON mapping for every message of Envoy's, by its type URL.
//!
//! The rules are those of "ProtoJSON Format" in the protobuf documentation: lowerCamelCase names, 64-bit integers as
//! strings, defaults left out, durations as `"1.500s"`, messages in `Any` beside their `@type`. Both names of a field
//! are read. An `Any` without a type is `{}` in both directions, as Go and C++ have it.
//! Output is deterministic: fields by number, map entries by key.
//!
//! The descriptors behind it (some megabytes once loaded) load at the first use, so a process that never shows JSON
//! never pays for them.

mod read;
mod redact;
mod scalar;
mod write;

use std::sync::LazyLock;

use prost::Name;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;

use crate::{canonical, encode};

/// What stands in place of a secret string; a secret of bytes is its base64.
pub const REDACTED: &str = "[redacted]";

static DESCRIPTORS: LazyLock<Result<DescriptorPool, String>> = LazyLock::new(|| {
    let set: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    DescriptorPool::decode(set).map_err(|error| error.to_string())
});

/// Why a message has no JSON, or a JSON value is no message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No message has this type URL.
    #[error(
        "unknown message type {type_url:?}; use the form type.googleapis.com/envoy.config.route.v3.Route"
    )]
    UnknownType {
        /// The type URL as it was given.
        type_url: String,
    },
    /// The bytes are not a message of this type.
    #[error("cannot decode {type_name}: {source}")]
    Decode {
        /// Full name of the message's type.
        type_name: String,
        /// Why not.
        source: prost::DecodeError,
    },
    /// A value does not fit its field.
    #[error("{path}: {message}")]
    Field {
        /// Where, from the root, for example `filterChains[0].filters[1].typedConfig`; empty for the root itself.
        path: String,
        /// What is wrong, as a sentence without a full stop.
        message: String,
    },
    /// The descriptors inside this program cannot be read: a fault of the build.
    #[error("the message descriptors of this build cannot be read: {0}")]
    Descriptors(String),
}

/// The JSON of a message, secrets included.
///
/// `type_url` may be a bare full name too.
///
/// # Errors
/// When the type, or that of a message packed inside, is not Envoy's, or the bytes are not such a message.
pub fn to_value(type_url: &str, bytes: &[u8]) -> Result<Value, Error> {
    let message = decode(descriptor(type_url)?, bytes)?;
    write::Writer { redact: false }.message(&message)
}

/// As [`to_value`], with what is secret blanked, so that it may be shown or logged.
///
/// Secret are the fields that Envoy's descriptors mark `udpa.annotations.sensitive` (private keys, passwords, inline
/// bytes of generic secrets, basic-auth users), with everything below them, and the values of headers that carry
/// credentials. Strings become [`REDACTED`], bytes its base64; the structure stays.
///
/// # Errors
/// As [`to_value`].
pub fn to_redacted_value(type_url: &str, bytes: &[u8]) -> Result<Value, Error> {
    let message = decode(descriptor(type_url)?, bytes)?;
    write::Writer { redact: true }.message(&message)
}

/// The JSON of a typed message, secrets included.
///
/// # Errors
/// As [`to_value`].
pub fn message_to_value<M: Name>(message: &M) -> Result<Value, Error> {
    to_value(&M::full_name(), &encode(message))
}

/// The bytes of the message that a JSON value stands for; equal messages give equal bytes.
///
/// `null` leaves a field unset. Integers may be strings and enums numbers, as the mapping allows.
///
/// # Errors
/// When the type is not Envoy's, a field is unknown, or a value does not fit its field; the path says where.
pub fn from_value(type_url: &str, value: &Value) -> Result<Vec<u8>, Error> {
    let descriptor = descriptor(type_url)?;
    let message = read::message(&descriptor, value, &read::Path::Root)?;
    let mut bytes = prost::Message::encode_to_vec(&message);
    canonical::sort_maps(descriptor.full_name(), &mut bytes);
    Ok(bytes)
}

/// The typed message that a JSON value stands for.
///
/// # Errors
/// As [`from_value`].
pub fn message_from_value<M: Name + Default>(value: &Value) -> Result<M, Error> {
    let bytes = from_value(&M::full_name(), value)?;
    M::decode(bytes.as_slice()).map_err(|source| Error::Decode { type_name: M::full_name(), source })
}

fn descriptor(type_url: &str) -> Result<MessageDescriptor, Error> {
    let pool = DESCRIPTORS.as_ref().map_err(|error| Error::Descriptors(error.clone()))?;
    pool.get_message_by_name(type_url.rsplit('/').next().unwrap_or(type_url))
        .ok_or_else(|| Error::UnknownType { type_url: type_url.to_owned() })
}

fn decode(descriptor: MessageDescriptor, bytes: &[u8]) -> Result<DynamicMessage, Error> {
    let type_name = descriptor.full_name().to_owned();
    DynamicMessage::decode(descriptor, bytes).map_err(|source| Error::Decode { type_name, source })
}

#[cfg(test)]
mod tests;
