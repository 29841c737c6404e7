//! How documents change documents: JSON Patch (RFC 6902), JSON merge patch (RFC 7396) and Kubernetes' strategic merge.
//!
//! **Invariant:** pure functions over JSON; nothing here knows a kind of object. What only a type can tell (by which
//! key members of a list are found) is asked of the caller.

mod operations;
mod strategic;

pub use operations::{Operation, json_patch};
pub use strategic::{Error, ListMerge, MergeKeys, ReplaceLists, strategic_merge};

use serde_json::{Map, Value};

/// Applies a JSON merge patch (RFC 7396 §2): objects are merged, `null` removes, everything else replaces.
pub fn json_merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            json_merge(fields.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests;
