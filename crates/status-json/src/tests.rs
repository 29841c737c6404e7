use std::{borrow::Cow, sync::Arc};

use ir::{
    Condition, ConditionStatus,
    status::{ListenerStatus, ParentReference, ParentStatus, StatusBody},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{MAX_MESSAGE, Merge, Shape, merge, merge::merge_json};

const OURS: &str = "example.com/ours";
const OTHERS: &str = "example.com/others";
const THEN: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-02-02T00:00:00Z";

fn at(now: &str) -> Merge<'_> {
    Merge { controller: OURS, now, message_limit: MAX_MESSAGE }
}

fn condition(kind: &'static str, status: ConditionStatus, generation: i64) -> Condition {
    Condition {
        kind,
        status,
        reason: Cow::Borrowed(kind),
        message: "A sentence".into(),
        observed_generation: generation,
    }
}

fn route(parents: &[(&str, ConditionStatus)]) -> StatusBody {
    let parents = parents.iter().map(|(name, status)| ParentStatus {
        parent: ParentReference {
            group: "gateway.networking.k8s.io".into(),
            kind: "Gateway".into(),
            namespace: None,
            name: (*name).into(),
            section_name: None,
            port: None,
        },
        conditions: vec![condition("Accepted", *status, 3)],
    });
    StatusBody::Route { parents: parents.collect() }
}

fn entry(controller: &str, name: &str) -> Value {
    json!({
        "parentRef": { "name": name },
        "controllerName": controller,
        "conditions": [{ "type": "Whatever", "status": "True", "lastTransitionTime": THEN, "extra": [1.5, null] }],
    })
}

fn gateway(conditions: Vec<Condition>) -> StatusBody {
    let listener = ListenerStatus {
        name: "web".into(),
        supported_kinds: vec!["HTTPRoute"],
        attached_routes: 2,
        conditions: vec![condition("Accepted", ConditionStatus::True, 1)],
    };
    StatusBody::Gateway {
        fleet: "shop/edge".into(),
        addresses: vec!["192.0.2.1".into(), "lb.example.com".into()],
        conditions,
        listeners: vec![listener],
        attached_listener_sets: 1,
    }
}

#[test]
fn entries_of_other_controllers_stay_as_they_are_and_where_they_are() {
    let live = json!({ "parents": [entry(OTHERS, "a"), entry(OURS, "gone"), entry(OTHERS, "b")] });
    let wish = route(&[("edge", ConditionStatus::True)]);
    let merged = merge(Some(&live), Some(&wish), Shape::ROUTE, at(NOW)).unwrap();
    let parents = merged["parents"].as_array().unwrap();
    let names: Vec<_> = parents.iter().map(|p| p["parentRef"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "edge"]);
    assert_eq!(
        serde_json::to_string(&parents[0]).unwrap(),
        serde_json::to_string(&entry(OTHERS, "a")).unwrap()
    );
    assert_eq!(parents[2]["controllerName"], OURS);
    assert_eq!(parents[2]["conditions"][0]["lastTransitionTime"], NOW);
}

#[test]
fn what_is_said_already_is_not_said_again() {
    for (wish, shape) in [
        (route(&[("edge", ConditionStatus::True)]), Shape::ROUTE),
        (gateway(vec![condition("Accepted", ConditionStatus::True, 1)]), Shape::Owned),
        (StatusBody::Conditions(vec![condition("Accepted", ConditionStatus::True, 1)]), Shape::Owned),
    ] {
        let first = merge(None, Some(&wish), shape, at(THEN)).unwrap();
        assert_eq!(merge(Some(&first), Some(&wish), shape, at(NOW)), None);
    }
}

#[test]
fn times_change_with_status_and_reason_alone() {
    let first =
        merge(None, Some(&route(&[("edge", ConditionStatus::True)])), Shape::ROUTE, at(THEN)).unwrap();
    let StatusBody::Route { mut parents } = route(&[("edge", ConditionStatus::True)]) else { panic!() };
    parents[0].conditions[0].observed_generation = 4;
    parents[0].conditions[0].message = "Other words".into();
    let second =
        merge(Some(&first), Some(&StatusBody::Route { parents: parents.clone() }), Shape::ROUTE, at(NOW))
            .unwrap();
    assert_eq!(second["parents"][0]["conditions"][0]["lastTransitionTime"], THEN);
    assert_eq!(second["parents"][0]["conditions"][0]["observedGeneration"], 4);
    parents[0].conditions[0].reason = Cow::Borrowed("Other");
    let third = merge(Some(&second), Some(&StatusBody::Route { parents }), Shape::ROUTE, at(NOW)).unwrap();
    assert_eq!(third["parents"][0]["conditions"][0]["lastTransitionTime"], NOW);
}

#[test]
fn a_reference_that_the_api_server_completed_is_the_same() {
    let first =
        merge(None, Some(&route(&[("edge", ConditionStatus::True)])), Shape::ROUTE, at(THEN)).unwrap();
    let mut bare = first.clone();
    bare["parents"][0]["parentRef"] = json!({ "name": "edge" });
    let again =
        merge(Some(&bare), Some(&route(&[("edge", ConditionStatus::True)])), Shape::ROUTE, at(NOW)).unwrap();
    assert_eq!(again, first);
}

#[test]
fn without_a_wish_our_entries_go_and_nothing_else() {
    let live = json!({ "parents": [entry(OURS, "edge"), entry(OTHERS, "edge")] });
    let merged = merge(Some(&live), None, Shape::ROUTE, at(NOW)).unwrap();
    assert_eq!(merged, json!({ "parents": [entry(OTHERS, "edge")] }));
    assert_eq!(merge(Some(&merged), None, Shape::ROUTE, at(NOW)), None);
    assert_eq!(merge(None, None, Shape::ROUTE, at(NOW)), None);
    let live = json!({ "conditions": [{ "type": "Accepted", "status": "True" }] });
    assert_eq!(merge(Some(&live), None, Shape::Owned, at(NOW)), None);
}

#[test]
fn gateways_keep_fields_and_conditions_of_others_and_lose_stale_ones_of_ours() {
    let live = json!({
        "conditions": [
            { "type": "example.com/Checked", "status": "True", "lastTransitionTime": THEN },
            { "type": "ResolvedRefs", "status": "False", "reason": "Old", "lastTransitionTime": THEN },
            { "type": "Accepted", "status": "True", "reason": "Accepted", "lastTransitionTime": THEN },
        ],
        "listeners": [{ "name": "old", "conditions": [] }],
        "other": 1,
    });
    let wish = gateway(vec![
        condition("Accepted", ConditionStatus::True, 1),
        condition("Programmed", ConditionStatus::True, 1),
    ]);
    let merged = merge(Some(&live), Some(&wish), Shape::Owned, at(NOW)).unwrap();
    let kinds: Vec<_> =
        merged["conditions"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["example.com/Checked", "Accepted", "Programmed"]);
    assert_eq!(merged["conditions"][1]["lastTransitionTime"], THEN);
    assert_eq!(merged["conditions"][2]["lastTransitionTime"], NOW);
    assert_eq!(merged["other"], 1);
    assert_eq!(merged["listeners"].as_array().unwrap().len(), 1);
    assert_eq!(merged["addresses"][0], json!({ "type": "IPAddress", "value": "192.0.2.1" }));
    assert_eq!(merged["addresses"][1], json!({ "type": "Hostname", "value": "lb.example.com" }));
}

#[test]
fn too_many_parents_are_cut_and_the_last_says_so() {
    let names: Vec<String> = (0..40).map(|n| format!("g{n}")).collect();
    let wish = route(&names.iter().map(|n| (n.as_str(), ConditionStatus::True)).collect::<Vec<_>>());
    let live = json!({ "parents": [entry(OTHERS, "x"), entry(OTHERS, "y")] });
    let merged = merge(Some(&live), Some(&wish), Shape::ROUTE, at(NOW)).unwrap();
    let parents = merged["parents"].as_array().unwrap();
    assert_eq!(parents.len(), 32);
    let last = parents[31]["conditions"].as_array().unwrap();
    assert_eq!(last[1]["type"], "Aggregated");
    assert_eq!(last[1]["observedGeneration"], 3);
    assert!(last[1]["message"].as_str().unwrap().contains("10 more"));
    assert_eq!(parents[30]["conditions"].as_array().unwrap().len(), 1);
    assert_eq!(merge(Some(&merged), Some(&wish), Shape::ROUTE, at(NOW)), None);
}

#[test]
fn what_tells_of_trouble_is_cut_last() {
    let mut parents: Vec<(String, ConditionStatus)> =
        (0..40).map(|n| (format!("g{n:02}"), ConditionStatus::True)).collect();
    for trouble in [20, 39] {
        parents[trouble].1 = ConditionStatus::False;
    }
    let expected: Vec<String> =
        [20, 39].into_iter().chain((0..31).filter(|n| *n != 20)).map(|n| format!("g{n:02}")).collect();
    // Whatever the order of the route's parents.
    for _ in 0..2 {
        let wish = route(&parents.iter().map(|(name, status)| (name.as_str(), *status)).collect::<Vec<_>>());
        let merged = merge(None, Some(&wish), Shape::ROUTE, at(NOW)).unwrap();
        let kept = merged["parents"].as_array().unwrap().iter();
        let names: Vec<&str> = kept.map(|parent| parent["parentRef"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected);
        parents.reverse();
    }
}

#[test]
fn a_list_full_of_others_is_left_alone() {
    let live = json!({ "parents": (0..32).map(|n| entry(OTHERS, &format!("g{n}"))).collect::<Vec<_>>() });
    assert_eq!(
        merge(Some(&live), Some(&route(&[("edge", ConditionStatus::True)])), Shape::ROUTE, at(NOW)),
        None
    );
}

#[test]
fn ancestors_of_policies_are_entries_too() {
    let wish = json!({ "ancestors": (0..20).map(|n| json!({
        "ancestorRef": { "name": format!("g{n}") }, "controllerName": OURS,
        "conditions": [{ "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1 }],
    })).collect::<Vec<_>>() });
    let merged = merge_json(None, Some(wish.clone()), Shape::POLICY, at(THEN)).unwrap();
    assert_eq!(merged["ancestors"].as_array().unwrap().len(), 16);
    assert_eq!(merged["ancestors"][15]["conditions"][1]["type"], "Aggregated");
    assert_eq!(merge_json(Some(&merged), Some(wish), Shape::POLICY, at(NOW)), None);
}

#[test]
fn long_messages_are_cut_by_characters() {
    let mut long = condition("Accepted", ConditionStatus::True, 1);
    long.message = "ü".repeat(50);
    let context = Merge { message_limit: 10, ..at(NOW) };
    let merged = merge(None, Some(&StatusBody::Conditions(vec![long])), Shape::Owned, context).unwrap();
    assert_eq!(merged["conditions"][0]["message"], format!("{}…", "ü".repeat(9)));
}

#[test]
fn an_object_without_status_gets_none_that_says_nothing() {
    assert_eq!(merge(None, Some(&route(&[])), Shape::ROUTE, at(NOW)), None);
    assert_eq!(merge(None, Some(&StatusBody::Conditions(Vec::new())), Shape::Owned, at(NOW)), None);
}

fn any_live() -> impl Strategy<Value = Vec<Value>> {
    let entry = (any::<bool>(), 0..6_u8, any::<bool>()).prop_map(|(ours, name, completed)| {
        let mut entry = entry(if ours { OURS } else { OTHERS }, &format!("g{name}"));
        if completed {
            entry["parentRef"]["kind"] = "Gateway".into();
        }
        entry
    });
    prop::collection::vec(entry, 0..40)
}

proptest! {
    /// Whatever stands there: others' entries are untouched, ours are those that are wished (as far as there is room),
    /// and a second merge finds nothing to do.
    #[test]
    fn merging_is_exact_and_settles(live in any_live(), wished in prop::collection::btree_set(0..40_u8, 0..40)) {
        let names: Vec<String> = wished.iter().map(|n| format!("g{n}")).collect();
        let wish = route(&names.iter().map(|n| (n.as_str(), ConditionStatus::True)).collect::<Vec<_>>());
        let before = json!({ "parents": live });
        let after = merge(Some(&before), Some(&wish), Shape::ROUTE, at(NOW)).unwrap_or_else(|| before.clone());
        let of = |status: &Value, ours: bool| -> Vec<Value> {
            let all = status["parents"].as_array().unwrap().iter();
            all.filter(|p| (p["controllerName"] == OURS) == ours).cloned().collect()
        };
        prop_assert_eq!(of(&before, false), of(&after, false));
        let room = 32_usize.saturating_sub(of(&after, false).len());
        let mut ours: Vec<Arc<str>> =
            of(&after, true).iter().map(|p| p["parentRef"]["name"].as_str().unwrap().into()).collect();
        ours.sort();
        let mut expected: Vec<Arc<str>> = names.iter().map(|n| n.as_str().into()).collect();
        expected.sort();
        expected.truncate(room);
        prop_assert_eq!(ours, expected);
        prop_assert_eq!(merge(Some(&after), Some(&wish), Shape::ROUTE, at("later")), None);
    }
}
