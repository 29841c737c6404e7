//! The live status with our part replaced.

use ir::{Kind, status::StatusBody};
use serde_json::{Map, Value};

use crate::{
    ATTACHED_LISTENER_SETS,
    conditions::{self, Owners, cut},
    entries::{self, ANCESTORS, EntryList, PARENTS},
};

/// Most addresses of a Gateway: `maxItems` of `GatewayStatus.addresses`.
const MAX_ADDRESSES: usize = 16;

/// How the status of a kind is shared between controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One controller owns the object: GatewayClass, Gateway, ListenerSet, Backend, EnvoyProxy. Unknown fields and types of conditions stay.
    Owned,
    /// Each controller owns the entries that carry its name.
    Entries(EntryList),
}

impl Shape {
    /// Routes: `parents`.
    pub const ROUTE: Shape = Shape::Entries(PARENTS);
    /// Policies: `ancestors`.
    pub const POLICY: Shape = Shape::Entries(ANCESTORS);

    /// How the status of this kind is shared; `None` for kinds that have none.
    pub fn of(kind: Kind) -> Option<Shape> {
        match kind {
            Kind::GatewayClass | Kind::Gateway | Kind::ListenerSet | Kind::Backend | Kind::EnvoyProxy => {
                Some(Shape::Owned)
            }
            kind if kind.is_route() => Some(Shape::ROUTE),
            kind if kind.is_policy() => Some(Shape::POLICY),
            _ => None,
        }
    }
}

/// Who merges, when, and how much may be said.
#[derive(Clone, Copy, Debug)]
pub struct Merge<'a> {
    /// Our `controllerName`.
    pub controller: &'a str,
    /// The time of transitions that happen now, in RFC 3339 with seconds.
    pub now: &'a str,
    /// Longest message of a condition, in characters; [`MAX_MESSAGE`](crate::MAX_MESSAGE) at most.
    pub message_limit: usize,
}

/// The status to write, or `None` when the live one says all of it already; times alone are no difference.
///
/// Without a wish, what is ours is taken away; of objects with one owner nothing is, because the owner may be another
/// controller by now.
pub fn merge(
    live: Option<&Value>,
    wish: Option<&StatusBody>,
    shape: Shape,
    context: Merge<'_>,
) -> Option<Value> {
    let wish = wish.map(|wish| crate::body(wish, context.controller));
    merge_json(live, wish, shape, context)
}

/// Whether a status has entries of other controllers.
pub fn has_others(live: Option<&Value>, shape: Shape, controller: &str) -> bool {
    let Shape::Entries(list) = shape else { return false };
    let entries = live.and_then(|live| live[list.field].as_array());
    entries.is_some_and(|entries| entries.iter().any(|entry| entry["controllerName"] != controller))
}

/// As [`merge`], of a wish in JSON.
pub(crate) fn merge_json(
    live: Option<&Value>,
    wish: Option<Value>,
    shape: Shape,
    context: Merge<'_>,
) -> Option<Value> {
    let old = live.and_then(Value::as_object);
    let new = match shape {
        Shape::Entries(list) => shared(list, old, wish, context),
        Shape::Owned => owned(old, wish?, context),
    };
    let changed = match old {
        Some(old) => *old != new,
        // An object without a status gets none that says nothing.
        None => new.values().any(|value| value.as_array().is_none_or(|list| !list.is_empty())),
    };
    changed.then_some(Value::Object(new))
}

fn shared(
    list: EntryList,
    old: Option<&Map<String, Value>>,
    wish: Option<Value>,
    context: Merge<'_>,
) -> Map<String, Value> {
    let mut wished = wish.map_or_else(Vec::new, |mut wish| taken(&mut wish[list.field]));
    for entry in &mut wished {
        cut_all(&mut entry["conditions"], context.message_limit);
    }
    let live = old.and_then(|old| old.get(list.field));
    let entries = entries::merge(list, live, wished, context.controller, context.now);
    let mut new = old.cloned().unwrap_or_default();
    new.insert(list.field.to_owned(), entries.into());
    new
}

fn owned(old: Option<&Map<String, Value>>, wish: Value, context: Merge<'_>) -> Map<String, Value> {
    let mut new = old.cloned().unwrap_or_default();
    let Value::Object(wish) = wish else { return new };
    new.remove(ATTACHED_LISTENER_SETS);
    for (field, mut value) in wish {
        let live = old.and_then(|old| old.get(&field));
        match field.as_str() {
            "conditions" => value = judged(live, value, context),
            "listeners" => judge_each(&mut value, live, "name", context),
            "ancestors" => judge_each(&mut value, live, "ancestorRef", context),
            "addresses" => {
                if let Some(addresses) = value.as_array_mut() {
                    addresses.truncate(MAX_ADDRESSES);
                }
            }
            _ => {}
        }
        new.insert(field, value);
    }
    new
}

/// Merges the conditions of each member of a list, whose members are told apart by the field `key`.
fn judge_each(wished: &mut Value, live: Option<&Value>, key: &str, context: Merge<'_>) {
    for member in wished.as_array_mut().into_iter().flatten() {
        let live =
            live.and_then(Value::as_array).and_then(|live| live.iter().find(|live| live[key] == member[key]));
        let conditions = member["conditions"].take();
        member["conditions"] = judged(live.map(|live| &live["conditions"]), conditions, context);
    }
}

fn judged(live: Option<&Value>, mut wished: Value, context: Merge<'_>) -> Value {
    cut_all(&mut wished, context.message_limit);
    conditions::merge(live, taken(&mut wished), Owners::UsAndOthers, context.now).into()
}

fn cut_all(conditions: &mut Value, limit: usize) {
    for condition in conditions.as_array_mut().into_iter().flatten() {
        cut(condition, limit);
    }
}

fn taken(list: &mut Value) -> Vec<Value> {
    match list.take() {
        Value::Array(list) => list,
        _ => Vec::new(),
    }
}
