//! Lists of conditions: order and times are kept where nothing else changed.

use serde_json::Value;

/// Longest message of a condition, in characters: the limit of `metav1.Condition`.
pub const MAX_MESSAGE: usize = 32768;

/// Most conditions in one list: the limit of every list of conditions in Gateway API.
const MAX_CONDITIONS: usize = 8;

/// Types that a Gateway API controller decides on objects that have one owner: a live condition of such a type that
/// is not wished any more is removed, and any other is somebody else's and stays.
/// They are those of Gateway API 1.6 for Gateways, listeners and classes, and those that Envoy Gateway adds.
const DECIDED: [&str; 12] = [
    "Accepted",
    "Programmed",
    "ResolvedRefs",
    "Conflicted",
    "Detached",
    "Ready",
    "Scheduled",
    "SupportedVersion",
    "OverlappingTLSConfig",
    "InsecureFrontendValidationMode",
    "Aggregated",
    "Invalid",
];

/// Whose conditions a list may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Ours alone: the list belongs to an entry with our `controllerName`.
    Us,
    /// Also others', by type.
    UsAndOthers,
}

/// The wished conditions in place of the live ones: known types keep their place, new ones come last; a time changes
/// only with status or reason.
pub(crate) fn merge(live: Option<&Value>, wished: Vec<Value>, owners: Owners, now: &str) -> Vec<Value> {
    let live: &[Value] = live.and_then(Value::as_array).map_or(&[], Vec::as_slice);
    let mut wished: Vec<Option<Value>> = unique(wished).into_iter().map(Some).collect();
    let mut merged: Vec<(Value, bool)> = Vec::with_capacity(wished.len());
    for old in live {
        let place = wished.iter_mut().find(|new| new.as_ref().is_some_and(|new| new["type"] == old["type"]));
        if let Some(new) = place.and_then(Option::take) {
            merged.push((timed(new, Some(old), now), true));
        } else if owners == Owners::UsAndOthers
            && old["type"].as_str().is_some_and(|kind| !DECIDED.contains(&kind))
        {
            merged.push((old.clone(), false));
        }
    }
    merged.extend(wished.into_iter().flatten().map(|new| (timed(new, None, now), true)));
    while merged.len() > MAX_CONDITIONS {
        let Some(place) = merged.iter().rposition(|(_, ours)| !ours) else { break };
        merged.remove(place);
    }
    merged.truncate(MAX_CONDITIONS);
    merged.into_iter().map(|(condition, _)| condition).collect()
}

/// A list of type `map` holds each key once; the first counts.
fn unique(wished: Vec<Value>) -> Vec<Value> {
    let mut unique: Vec<Value> = Vec::with_capacity(wished.len());
    for condition in wished {
        if unique.iter().all(|known| known["type"] != condition["type"]) {
            unique.push(condition);
        }
    }
    unique
}

fn timed(mut new: Value, old: Option<&Value>, now: &str) -> Value {
    let kept = old
        .filter(|old| old["status"] == new["status"] && old["reason"] == new["reason"])
        .and_then(|old| old["lastTransitionTime"].as_str());
    new["lastTransitionTime"] = kept.unwrap_or(now).into();
    new
}

/// Cuts the message of a condition to so many characters, the last of which tells that it was cut.
pub(crate) fn cut(condition: &mut Value, limit: usize) {
    let Some(message) = condition["message"].as_str() else { return };
    // A character has a byte at least, so most messages are not walked through.
    if message.len() <= limit || message.chars().count() <= limit {
        return;
    }
    let mut short: String = message.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    condition["message"] = short.into();
}
