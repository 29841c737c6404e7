//! One encoding for equal messages.
//!
//! The generated types keep protobuf maps in hash maps, whose order differs from one map to the next, and encode them
//! in that order. Versions of resources are hashes of their bytes, so the entries are put in the order of their keys
//! after encoding. That moves bytes within a map and changes no length, so it is done in place.

use std::ops::Range;

include!(concat!(env!("OUT_DIR"), "/maps.rs"));

/// What a field leads to, as far as maps go. Messages are named by their place in `MESSAGES`.
#[derive(Clone, Copy)]
enum Nested {
    Message(usize),
    Any,
    Map,
    MapOfMessages(usize),
    MapOfAny,
}

/// Messages deeper than prost decodes (100) are left as they are.
const MAX_DEPTH: u32 = 100;

/// Sorts the entries of every map inside a message's bytes, also of messages packed in `Any`.
///
/// Bytes that are not a valid message of this type are left as they are from the first fault on.
pub(crate) fn sort_maps(full_name: &str, bytes: &mut [u8]) {
    if let Some(message) = find(full_name) {
        // A fault ends the walk; whoever decodes these bytes will report it.
        let _ = sort_message(bytes, message, 0);
    }
}

fn find(full_name: &str) -> Option<usize> {
    MESSAGES.binary_search_by_key(&full_name, |(name, _)| name).ok()
}

/// Walks the fields of a message; `None` at the first fault.
fn sort_message(bytes: &mut [u8], message: usize, depth: u32) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    let (_, nested) = MESSAGES.get(message)?;
    let mut run = Run::default();
    let mut reader = Reader::default();
    while let Some(field) = reader.next(bytes)? {
        let found = nested.iter().find(|(number, _)| *number == field.number).map(|(_, nested)| *nested);
        let payload = bytes.get_mut(field.payload.clone())?;
        match found {
            None => {}
            Some(Nested::Message(inner)) => sort_message(payload, inner, depth + 1)?,
            Some(Nested::Any) => sort_any(payload, depth + 1)?,
            Some(Nested::Map) => {}
            Some(Nested::MapOfMessages(inner)) => {
                if let Some(value) = entry_value(payload)? {
                    sort_message(payload.get_mut(value)?, inner, depth + 1)?;
                }
            }
            Some(Nested::MapOfAny) => {
                if let Some(value) = entry_value(payload)? {
                    sort_any(payload.get_mut(value)?, depth + 1)?;
                }
            }
        }
        if matches!(found, Some(Nested::Map | Nested::MapOfMessages(_) | Nested::MapOfAny)) {
            run.push(bytes, field)?;
        }
    }
    run.finish(bytes)
}

/// Walks what is packed in an `Any`; a type that holds no map or is not known is passed by.
fn sort_any(bytes: &mut [u8], depth: u32) -> Option<()> {
    const TYPE_URL: u32 = 1;
    const VALUE: u32 = 2;
    let (mut message, mut value) = (None, 0..0);
    let mut reader = Reader::default();
    while let Some(field) = reader.next(bytes)? {
        if field.number == TYPE_URL {
            let url = std::str::from_utf8(bytes.get(field.payload)?).ok()?;
            message = find(url.rsplit('/').next().unwrap_or(url));
        } else if field.number == VALUE {
            value = field.payload;
        }
    }
    match message {
        Some(message) => sort_message(bytes.get_mut(value)?, message, depth + 1),
        None => Some(()),
    }
}

/// Where the value of a map's entry is; the inner `None` when it is the default and so left out.
fn entry_value(entry: &[u8]) -> Option<Option<Range<usize>>> {
    const VALUE: u32 = 2;
    let mut value = None;
    let mut reader = Reader::default();
    while let Some(field) = reader.next(entry)? {
        if field.number == VALUE {
            value = Some(field.payload);
        }
    }
    Some(value)
}

/// The key of a map's entry: a number or a string, the other left at its default, which also stands for a missing key.
fn entry_key(entry: &[u8]) -> Option<(u64, &[u8])> {
    const KEY: u32 = 1;
    let mut key: (u64, &[u8]) = (0, &[]);
    let mut reader = Reader::default();
    while let Some(field) = reader.next(entry)? {
        if field.number == KEY {
            key = (field.number_payload, entry.get(field.payload)?);
        }
    }
    Some(key)
}

/// Consecutive entries of one map.
#[derive(Default)]
struct Run {
    number: u32,
    entries: Vec<Field>,
}

impl Run {
    fn push(&mut self, bytes: &mut [u8], entry: Field) -> Option<()> {
        if self.number != entry.number
            || self.entries.last().is_some_and(|last| last.whole.end != entry.whole.start)
        {
            self.finish(bytes)?;
            self.number = entry.number;
        }
        self.entries.push(entry);
        Some(())
    }

    /// Puts the entries in order and forgets them.
    fn finish(&mut self, bytes: &mut [u8]) -> Option<()> {
        let entries = std::mem::take(&mut self.entries);
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Some(()) };
        let all = first.whole.start..last.whole.end;
        if entries.len() == 1 {
            return Some(());
        }
        let sorted = {
            let mut keyed = Vec::with_capacity(entries.len());
            for entry in &entries {
                keyed.push((entry_key(bytes.get(entry.payload.clone())?)?, bytes.get(entry.whole.clone())?));
            }
            if keyed.is_sorted_by_key(|(key, _)| *key) {
                return Some(());
            }
            keyed.sort_by_key(|(key, _)| *key);
            keyed.into_iter().flat_map(|(_, whole)| whole).copied().collect::<Vec<u8>>()
        };
        bytes.get_mut(all)?.copy_from_slice(&sorted);
        Some(())
    }
}

/// A field within a message's bytes.
struct Field {
    number: u32,
    /// Tag, length and payload.
    whole: Range<usize>,
    /// The bytes of a length-delimited or fixed-width field; empty for a varint.
    payload: Range<usize>,
    /// The value of a varint.
    number_payload: u64,
}

/// Reads fields one after the other.
#[derive(Default)]
struct Reader {
    at: usize,
}

impl Reader {
    /// The next field; the inner `None` at the end, the outer at a fault.
    fn next(&mut self, bytes: &[u8]) -> Option<Option<Field>> {
        let start = self.at;
        if start == bytes.len() {
            return Some(None);
        }
        let tag = self.varint(bytes)?;
        let mut number_payload = 0;
        let length = match tag & 7 {
            0 => {
                number_payload = self.varint(bytes)?;
                0
            }
            1 => 8,
            2 => usize::try_from(self.varint(bytes)?).ok()?,
            5 => 4,
            // Groups are not part of proto3.
            _ => return None,
        };
        let end = self.at.checked_add(length).filter(|end| *end <= bytes.len())?;
        let payload = self.at..end;
        self.at = end;
        Some(Some(Field {
            number: u32::try_from(tag >> 3).ok()?,
            whole: start..end,
            payload,
            number_payload,
        }))
    }

    fn varint(&mut self, bytes: &[u8]) -> Option<u64> {
        let mut value = 0;
        // Ten bytes of seven bits hold 64 bits.
        for shift in (0..70).step_by(7) {
            let byte = *bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
