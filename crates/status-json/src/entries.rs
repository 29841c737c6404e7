//! `parents` of routes and `ancestors` of policies: atomic lists that several controllers share by `controllerName`.

use serde_json::{Value, json};

use crate::conditions::{self, Owners};

/// A list of entries by controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryList {
    /// The list's field in `status`.
    pub(crate) field: &'static str,
    /// The reference's field in an entry.
    pub(crate) reference: &'static str,
    /// Most entries of all controllers together: `maxItems` of the list.
    pub(crate) limit: usize,
}

/// `RouteStatus.parents`.
pub(crate) const PARENTS: EntryList = EntryList { field: "parents", reference: "parentRef", limit: 32 };
/// `PolicyStatus.ancestors`.
pub(crate) const ANCESTORS: EntryList = EntryList { field: "ancestors", reference: "ancestorRef", limit: 16 };

/// The list with our entries replaced by the wished ones; others' are as they were, at their places.
/// When they do not all fit, those that tell of trouble stay, then the first by their references, as with Envoy Gateway,
/// and the last of ours says how many were left out.
pub(crate) fn merge(
    list: EntryList,
    live: Option<&Value>,
    mut wished: Vec<Value>,
    controller: &str,
    now: &str,
) -> Vec<Value> {
    let live: &[Value] = live.and_then(Value::as_array).map_or(&[], Vec::as_slice);
    let ours = |entry: &Value| entry["controllerName"] == controller;
    let room = list.limit.saturating_sub(live.iter().filter(|entry| !ours(entry)).count());
    if wished.len() > room {
        let left_out = wished.len() - room;
        wished.sort_by_cached_key(|entry| rank(list, entry));
        wished.truncate(room);
        if let Some(last) = wished.last_mut() {
            aggregated(last, list, left_out);
        }
    }
    let mut wished: Vec<Option<Value>> = wished.into_iter().map(Some).collect();
    let mut merged = Vec::with_capacity(live.len());
    for old in live {
        if !ours(old) {
            merged.push(old.clone());
            continue;
        }
        let same = |new: &Option<Value>| {
            new.as_ref().is_some_and(|new| same_reference(&new[list.reference], &old[list.reference]))
        };
        if let Some(new) = wished.iter_mut().find(|new| same(new)).and_then(Option::take) {
            merged.push(timed(new, Some(old), now));
        }
    }
    merged.extend(wished.into_iter().flatten().map(|new| timed(new, None, now)));
    merged
}

fn timed(mut entry: Value, old: Option<&Value>, now: &str) -> Value {
    let wished = match entry["conditions"].take() {
        Value::Array(conditions) => conditions,
        _ => Vec::new(),
    };
    let old = old.map(|old| &old["conditions"]);
    entry["conditions"] = conditions::merge(old, wished, Owners::Us, now).into();
    entry
}

/// Equal but for defaults: a reference without group and kind is one to a Gateway.
fn same_reference(one: &Value, other: &Value) -> bool {
    let part = |reference: &Value, field: &str, default: &str| {
        reference[field].as_str().unwrap_or(default).to_owned()
    };
    part(one, "group", ir::object::GATEWAY_GROUP) == part(other, "group", ir::object::GATEWAY_GROUP)
        && part(one, "kind", "Gateway") == part(other, "kind", "Gateway")
        && ["namespace", "name", "sectionName", "port"].iter().all(|field| one[*field] == other[*field])
}

/// Where an entry stands when there is no room for all.
fn rank(list: EntryList, entry: &Value) -> (u8, [String; 3], i64) {
    let has = |kind: &str, status: &str| {
        let conditions = entry["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == status)
    };
    let trouble = match () {
        () if has("Accepted", "False") => 0,
        () if has("ResolvedRefs", "False") || has("Overridden", "True") => 1,
        () => 2,
    };
    let reference = &entry[list.reference];
    let texts = ["namespace", "name", "sectionName"]
        .map(|field| reference[field].as_str().unwrap_or_default().to_owned());
    (trouble, texts, reference["port"].as_i64().unwrap_or_default())
}

fn aggregated(entry: &mut Value, list: EntryList, left_out: usize) {
    let generation = entry["conditions"][0]["observedGeneration"].clone();
    let condition = json!({
        "type": "Aggregated",
        "status": "True",
        "reason": "Aggregated",
        "message": format!(
            "{left_out} more of {} had no place: {} entries of all controllers are the most",
            list.field, list.limit
        ),
        "observedGeneration": generation,
    });
    if let Some(conditions) = entry["conditions"].as_array_mut() {
        conditions.push(condition);
    }
}
