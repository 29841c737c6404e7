//! Messages put together from fields, for what the generated types would make slow or out of order.
//!
//! A protobuf message is the concatenation of its fields in any order, so a body can mix what the generated types
//! encode with fields written here and with bytes encoded once and kept. That saves building maps (whose order
//! would change from one process to the next) and copies of parts that never change.

use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

/// The type URL of a message type, from its full name.
macro_rules! type_url {
    ($name:literal) => {
        concat!("type.googleapis.com/", $name)
    };
}
pub(super) use type_url;

/// A message under construction.
#[derive(Debug, Default)]
pub(super) struct Fields {
    bytes: Vec<u8>,
}

impl Fields {
    /// An empty message with room for this many bytes.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Fields { bytes: Vec::with_capacity(capacity) }
    }

    /// Adds all fields of a message. It must not hold maps with more than one entry.
    pub(super) fn message(&mut self, message: &impl Message) {
        message.encode_raw(&mut self.bytes);
    }

    /// Adds fields that are encoded already.
    pub(super) fn raw(&mut self, fields: &[u8]) {
        self.bytes.extend_from_slice(fields);
    }

    /// Adds a field of type `string` or `bytes`, also when it is empty.
    pub(super) fn string(&mut self, tag: u32, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        encode_key(tag, WireType::LengthDelimited, &mut self.bytes);
        encode_varint(value.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(value);
    }

    /// Adds a field of message type whose fields `write` adds.
    pub(super) fn nested(&mut self, tag: u32, write: impl FnOnce(&mut Fields)) {
        encode_key(tag, WireType::LengthDelimited, &mut self.bytes);
        // The length comes before the content: one byte is kept free for it, which is enough below 128 bytes.
        let at = self.bytes.len();
        self.bytes.push(0);
        write(self);
        let length = self.bytes.len() - at - 1;
        let mut varint = Vec::new();
        match self.bytes.get_mut(at) {
            Some(byte) if length < 0x80 => *byte = length as u8,
            _ => {
                encode_varint(length as u64, &mut varint);
                self.bytes.splice(at..=at, varint);
            }
        }
    }

    /// Adds a field of type `google.protobuf.Any` whose value's fields `write` adds.
    pub(super) fn any(&mut self, tag: u32, type_url: &str, write: impl FnOnce(&mut Fields)) {
        const TYPE_URL: u32 = 1;
        const VALUE: u32 = 2;
        self.nested(tag, |any| {
            any.string(TYPE_URL, type_url);
            any.nested(VALUE, write);
        });
    }

    /// Adds an entry of a `map<string, …>` whose value's fields `write` adds. Entries have to come in the order of
    /// their keys.
    pub(super) fn map_entry(&mut self, tag: u32, key: &str, write: impl FnOnce(&mut Fields)) {
        const KEY: u32 = 1;
        const VALUE: u32 = 2;
        self.nested(tag, |entry| {
            entry.string(KEY, key);
            entry.nested(VALUE, write);
        });
    }

    /// The encoded message, without room for more: messages are kept for as long as what they say holds.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.shrink_to_fit();
        self.bytes
    }
}
