#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use serde_json::{Value, json};

use super::*;

/// Containers and volumes by name, ports of containers by number, finalizers as a set.
struct Pods;

impl MergeKeys for Pods {
    fn of(&self, parent: &str, field: &str) -> ListMerge {
        match (parent, field) {
            (_, "containers") => ListMerge::ByKey("name"),
            ("containers", "ports") => ListMerge::ByKey("containerPort"),
            (_, "finalizers") => ListMerge::Union,
            _ => ListMerge::Replace,
        }
    }
}

fn merged(mut target: Value, patch: &Value) -> Value {
    strategic_merge(&mut target, patch, &Pods).unwrap();
    target
}

#[test]
fn a_json_merge_replaces_lists_and_removes_by_null() {
    // The example of RFC 7396 §3.
    let mut target = json!({
        "title": "Goodbye!", "author": {"givenName": "John", "familyName": "Doe"},
        "tags": ["example", "sample"], "content": "This will be unchanged"
    });
    json_merge(
        &mut target,
        &json!({"title": "Hello!", "phoneNumber": "+01-123-456-7890", "author": {"familyName": null}, "tags": ["example"]}),
    );
    assert_eq!(
        target,
        json!({
            "title": "Hello!", "author": {"givenName": "John"}, "tags": ["example"],
            "content": "This will be unchanged", "phoneNumber": "+01-123-456-7890"
        })
    );
}

#[test]
fn a_json_merge_of_nested_nulls_leaves_none() {
    let mut target = json!({});
    json_merge(&mut target, &json!({"a": {"b": {"c": null, "d": 1}}}));
    assert_eq!(target, json!({"a": {"b": {"d": 1}}}));
}

#[test]
fn members_are_found_by_key_and_stand_in_the_order_of_the_patch() {
    let pod = json!({"containers": [{"name": "a", "image": "x", "args": ["1"]}, {"name": "b"}]});
    let patch = json!({"containers": [{"name": "c"}, {"name": "a", "args": ["2"], "env": null}]});
    assert_eq!(
        merged(pod, &patch),
        json!({"containers": [{"name": "c"}, {"name": "a", "image": "x", "args": ["2"]}, {"name": "b"}]})
    );
}

#[test]
fn what_a_patch_does_not_name_stays_before_what_it_stood_before() {
    let pod = || json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
    let names = |patch: &[&str]| {
        let members: Vec<Value> = patch.iter().map(|name| json!({"name": name})).collect();
        let merged = merged(pod(), &json!({"containers": members}));
        let containers = merged["containers"].as_array().unwrap().clone();
        containers.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(names(&["b"]), "abc");
    assert_eq!(names(&["x"]), "xabc");
    assert_eq!(names(&["c", "x"]), "abcx");
    assert_eq!(names(&["x", "c", "a"]), "xbca");
}

#[test]
fn lists_of_members_merge_too() {
    let pod = json!({"containers": [{"name": "a", "ports": [{"containerPort": 1, "name": "x"}]}]});
    let patch = json!({"containers": [{"name": "a", "ports": [{"containerPort": 1, "protocol": "UDP"}]}]});
    assert_eq!(
        merged(pod, &patch),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 1, "name": "x", "protocol": "UDP"}]}]})
    );
}

#[test]
fn directives_delete_and_replace() {
    let pod = || json!({"m": {"a": 1, "b": 2}, "containers": [{"name": "a", "x": 1}, {"name": "b"}]});
    let cases = [
        (
            json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            json!({"m": {"a": 1, "b": 2}, "containers": [{"name": "b"}]}),
        ),
        (
            json!({"containers": [{"$patch": "replace"}, {"name": "c"}]}),
            json!({"m": {"a": 1, "b": 2}, "containers": [{"name": "c"}]}),
        ),
        (
            json!({"containers": [{"name": "a", "y": 2, "$patch": "replace"}]}),
            json!({"m": {"a": 1, "b": 2}, "containers": [{"name": "a", "y": 2}, {"name": "b"}]}),
        ),
        (
            json!({"m": {"$patch": "replace", "c": 3}}),
            json!({"m": {"c": 3}, "containers": [{"name": "a", "x": 1}, {"name": "b"}]}),
        ),
        (json!({"m": {"$patch": "delete"}}), json!({"containers": [{"name": "a", "x": 1}, {"name": "b"}]})),
        (
            json!({"m": {"$retainKeys": ["a", "c"], "c": 3}}),
            json!({"m": {"a": 1, "c": 3}, "containers": [{"name": "a", "x": 1}, {"name": "b"}]}),
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(merged(pod(), &patch), expected, "{patch}");
    }
}

#[test]
fn plain_values_are_added_once_and_taken_out() {
    let object = json!({"finalizers": ["a", "b"]});
    let patch = json!({"finalizers": ["b", "c"], "$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b", "c"]});
    assert_eq!(merged(object, &patch), json!({"finalizers": ["b", "c"]}));
}

#[test]
fn what_cannot_be_merged_is_told_with_its_place() {
    let refused = |patch: Value| strategic_merge(&mut json!({}), &patch, &Pods).unwrap_err().to_string();
    assert_eq!(
        refused(json!({"spec": {"containers": [{"image": "x"}]}})),
        "spec.containers: a member without the field \"name\", by which members are found"
    );
    assert_eq!(refused(json!({"m": {"$patch": "burn"}})), "m: $patch must be merge, replace or delete");
    assert_eq!(refused(json!([])), "the patch must be an object");
}

fn operation(op: &str, path: Option<&str>, json_path: Option<&str>, value: Option<Value>) -> Operation {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Operation { op: op.to_owned(), path: owned(path), json_path: owned(json_path), from: None, value }
}

#[test]
fn operations_apply_in_order_or_not_at_all() {
    let mut document = json!({"a": {"b": 1}, "l": [1, 2]});
    let add = operation("add", Some("/l/-"), None, Some(json!(3)));
    json_patch(&mut document, &[add.clone(), operation("replace", Some("/a/b"), None, Some(json!(2)))])
        .unwrap();
    assert_eq!(document, json!({"a": {"b": 2}, "l": [1, 2, 3]}));
    let refused = json_patch(&mut document, &[add, operation("remove", Some("/x"), None, None)]).unwrap_err();
    assert!(refused.starts_with("operation 1 (remove): /x: "), "{refused}");
    assert_eq!(document, json!({"a": {"b": 2}, "l": [1, 2, 3]}));
}

#[test]
fn a_json_path_finds_several_places() {
    let mut document = json!({"l": [{"n": "a", "x": 1}, {"n": "b"}, {"n": "a", "x": 1}]});
    json_patch(&mut document, &[operation("add", Some("/y"), Some("$.l[?@.n == 'a']"), Some(json!(1)))])
        .unwrap();
    assert_eq!(document, json!({"l": [{"n": "a", "x": 1, "y": 1}, {"n": "b"}, {"n": "a", "x": 1, "y": 1}]}));
    json_patch(&mut document, &[operation("remove", None, Some("$.l[?@.n == 'a']"), None)]).unwrap();
    assert_eq!(document, json!({"l": [{"n": "b"}]}));
    let nothing = json_patch(&mut document, &[operation("remove", None, Some("$.l[?@.n == 'z']"), None)]);
    assert_eq!(nothing.unwrap_err(), "operation 0 (remove): the jsonPath finds nothing");
}
