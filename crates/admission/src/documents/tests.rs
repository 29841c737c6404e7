use proptest::prelude::*;
use serde_json::{Value, json};

use super::{MAX_DEPTH, documents};

fn one(text: &str) -> Value {
    let mut found = documents(text).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).value
}

#[track_caller]
fn wrong(text: &str) -> (usize, usize, String) {
    let error = documents(text).unwrap_err();
    (error.line, error.column, error.message)
}

#[test]
fn documents_are_split_and_know_their_line() {
    let text = "# only words\n---\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n";
    let found = documents(text).unwrap();
    let lines: Vec<_> = found.iter().map(|d| (d.line, d.value.clone())).collect();
    assert_eq!(lines, vec![(3, json!({ "a": 1 })), (8, json!({ "b": 2 }))]);
    let found = documents("\u{feff}{\"a\": 1}\n\n{\"b\":\t2}\n").unwrap();
    let lines: Vec<_> = found.iter().map(|d| (d.line, d.value.clone())).collect();
    assert_eq!(lines, vec![(1, json!({ "a": 1 })), (3, json!({ "b": 2 }))]);
    assert!(documents("").unwrap().is_empty());
    assert!(documents("---\n---\n").unwrap().is_empty());
}

#[test]
fn lists_are_taken_apart() {
    let text = "kind: List\nitems:\n- kind: A\n- kind: HTTPRouteList\n  items: [{kind: B}]\n---\nkind: C\n";
    let kinds: Vec<_> = documents(text).unwrap().into_iter().map(|d| d.value["kind"].clone()).collect();
    assert_eq!(kinds, vec!["A", "B", "C"]);
}

#[test]
fn plain_scalars_mean_what_yaml_1_1_says() {
    for (text, expected) in [
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("'yes'", json!("yes")),
        ("~", json!(null)),
        ("", json!(null)),
        ("0777", json!(511)),
        ("0o17", json!(15)),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("1_000", json!(1000)),
        ("+7", json!(7)),
        ("-7", json!(-7)),
        ("1e3", json!(1000)),
        ("1.5", json!(1.5)),
        ("08", json!(8)),
        ("-", json!(null)),
        ("1.2.3", json!("1.2.3")),
        ("10.0.0.1", json!("10.0.0.1")),
        ("1h30m", json!("1h30m")),
        ("2026-11-22", json!("2026-11-22")),
        ("12:30", json!("12:30")),
        ("!!str 5", json!("5")),
        ("!!int '5'", json!(5)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
    ] {
        let text = if text == "-" { "a:\n- \n".to_owned() } else { format!("a: {text}") };
        let value = one(&text)["a"].clone();
        assert_eq!(value.as_array().map_or(&value, |list| &list[0]), &expected, "{text}");
    }
    assert_eq!(one("1: a\ntrue: b\n1.50: c\n"), json!({ "1": "a", "true": "b", "1.50": "c" }));
}

#[test]
fn anchors_aliases_and_merges_work() {
    let text = "a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\nc: [*x]\n";
    assert_eq!(
        one(text),
        json!({ "a": { "p": 1, "q": 2 }, "b": { "p": 1, "q": 3 }, "c": [{ "p": 1, "q": 2 }] })
    );
}

#[test]
fn mistakes_are_told_with_line_and_column() {
    for (text, line, column, words) in [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "the key \"a\" stands twice"),
        ("{\"a\": 1,\n \"a\": 2}", 2, 4, "the key \"a\" stands twice"),
        ("a: .inf", 1, 4, "no form in JSON"),
        ("a: !!int x", 1, 4, "does not fit its tag"),
        ("? [a]\n: b", 1, 3, "a key must be text"),
        ("a: *b", 1, 4, "anchor"),
        ("<<: 5", 1, 1, "merges a mapping"),
    ] {
        let (l, c, message) = wrong(text);
        assert!(message.contains(words), "{text}: {message}");
        assert_eq!((l, c), (line, column), "{text}: {message}");
    }
    assert_eq!(wrong("a: b\n c: d\n").0, 2);
    assert_eq!(wrong("a:\n\t- b\n").0, 2);
    assert!(documents("{\"a\": \n").is_err());
}

#[test]
fn bombs_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(wrong(&bomb).2.contains("aliases add more than"));
    for open in ["[", "{a: ", "- "] {
        let message = wrong(&open.repeat(100_000)).2;
        assert!(!message.is_empty());
    }
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(documents(&deep(64)).is_ok());
    assert!(documents(&deep(MAX_DEPTH + 2)).is_err());
    let json = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    assert!(documents(&json(64)).is_ok());
    assert!(documents(&json(100_000)).is_err());
    assert!(documents(&"a:\n".repeat(3)).is_err());
    assert!(wrong("a: &a [*a]").2.contains("within the value"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = documents(&text);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "([ab:,\\[\\]{}&*!|>'\"#%@-]|\\n|  |---\\n|<<: |\\t){0,60}") {
        let _ = documents(&text);
    }
}
