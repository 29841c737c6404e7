//! Fingerprints of documents: equal for equal content, whatever the order of keys, the layout or the comments.

use serde_json::{Map, Value};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// 128 bits of content hash: among 10^6 documents, two different ones are equal with probability 10^-27.
pub(super) type Fingerprint = u128;

/// The fingerprint of a text, byte for byte.
pub(super) fn of_text(text: &str) -> Fingerprint {
    xxh3_128(text.as_bytes())
}

/// The fingerprint of a document.
pub(super) fn of_document(document: &Value) -> Fingerprint {
    let mut hasher = Xxh3::new();
    value(&mut hasher, document);
    hasher.digest128()
}

/// Every value begins with a tag of its type, and everything of variable length with that length, so that no two
/// values give the same bytes.
fn value(hasher: &mut Xxh3, document: &Value) {
    match document {
        Value::Null => hasher.update(b"n"),
        Value::Bool(true) => hasher.update(b"t"),
        Value::Bool(false) => hasher.update(b"f"),
        Value::Number(number) => tagged(hasher, b'd', &number.to_string()),
        Value::String(text) => tagged(hasher, b's', text),
        Value::Array(items) => {
            hasher.update(b"a");
            hasher.update(&(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| value(hasher, item));
        }
        Value::Object(fields) => object(hasher, fields),
    }
}

fn object(hasher: &mut Xxh3, fields: &Map<String, Value>) {
    hasher.update(b"o");
    hasher.update(&(fields.len() as u64).to_le_bytes());
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    for (key, field) in sorted {
        tagged(hasher, b'k', key);
        value(hasher, field);
    }
}

fn tagged(hasher: &mut Xxh3, tag: u8, text: &str) {
    hasher.update(&[tag]);
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_of_keys_does_not_count_but_order_of_items_does() {
        let a: Value = serde_json::from_str(r#"{"x": [1, 2], "y": "z"}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"y": "z", "x": [1, 2]}"#).unwrap();
        assert_eq!(of_document(&a), of_document(&b));
        assert_ne!(of_document(&a), of_document(&json!({"y": "z", "x": [2, 1]})));
        assert_ne!(of_document(&json!(["ab", ""])), of_document(&json!(["a", "b"])));
        assert_ne!(of_document(&json!("1")), of_document(&json!(1)));
    }
}
