//! What one reading finds.

use std::{io::Write, os::unix::fs::PermissionsExt, process::Command};

use super::*;
use crate::file::{Place, is_about_file};

#[test]
fn reads_files_and_folders_in_order_with_places_of_what_is_wrong() {
    let (_guard, at) = folder();
    write(&at, "b.yaml", &format!("{}---\n# empty\n---\n{}", config_map("one", "1"), refused("two")));
    write(
        &at,
        "a.json",
        r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "three"}, "data": {"key": "3"}}"#,
    );
    write(&at, "ignored.txt", "{{{");
    let loaded = once(std::slice::from_ref(&at));
    assert_eq!(
        contents(&loaded.objects),
        BTreeMap::from([("one".into(), "1".into()), ("three".into(), "3".into())])
    );
    assert!(loaded.rejected);
    let place = loaded.places.get(&loaded.problems[0].object).unwrap();
    assert_eq!(*place, Place { path: at.join("b.yaml"), line: 10 });
    let sources: Vec<_> = loaded.sources.iter().map(|s| (s.documents, s.objects, s.good)).collect();
    assert_eq!(sources, [(1, 1, true), (2, 1, true)]);
}

#[test]
fn a_broken_document_does_not_hide_the_others() {
    let (_guard, at) = folder();
    let text = format!("{}---\nkind: [\n---\n{}", config_map("one", "1"), config_map("two", "2"));
    write(&at, "a.yaml", &text);
    let loaded = once(&[at.join("a.yaml")]);
    assert_eq!(loaded.objects.len(), 2);
    assert!(loaded.rejected);
    assert!(is_about_file(&loaded.problems[0], &at.join("a.yaml")));
    let message = &loaded.problems[0].message;
    assert!(message.contains("a.yaml:8:") || message.contains("a.yaml:9:"), "{message}");
    assert!(!message.contains("last good"), "{message}");
}

#[test]
fn files_that_are_no_text_or_too_large_are_problems() {
    let (_guard, at) = folder();
    fs::write(at.join("bytes.yaml"), b"a: 1\nb: \xff\n").unwrap();
    let large = fs::File::create(at.join("large.yaml")).unwrap();
    large.set_len(crate::file::MAX_FILE_BYTES + 1).unwrap();
    write(&at, "many.yaml", &"a\n---\n".repeat(crate::file::MAX_DOCUMENTS + 1));
    let loaded = once(&[at]);
    let told = messages(&loaded.problems).join("\n");
    for words in ["bytes.yaml:2: not UTF-8", "large.yaml is larger than 64 MiB", "holds 100001 documents"] {
        assert!(told.contains(words), "{told}");
    }
    assert!(loaded.rejected && loaded.objects.is_empty());
}

#[test]
fn unreadable_files_are_problems() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &config_map("one", "1"));
    fs::set_permissions(at.join("a.yaml"), fs::Permissions::from_mode(0o0)).unwrap();
    if fs::File::open(at.join("a.yaml")).is_ok() {
        return; // The superuser reads everything.
    }
    assert!(messages(&once(&[at]).problems)[0].contains("cannot be read"));
}

#[test]
fn missing_paths_and_empty_folders_are_warnings() {
    let (_guard, at) = folder();
    fs::create_dir(at.join("empty")).unwrap();
    let loaded = once(&[at.join("nowhere"), at.join("empty")]);
    assert_eq!(loaded.missing, [at.join("nowhere")]);
    assert!(!loaded.rejected);
    let told = messages(&loaded.problems).join("\n");
    assert!(told.contains("nowhere does not exist.") && told.contains("empty holds no *.yaml"), "{told}");
}

#[test]
fn the_first_declaration_by_path_wins_and_both_are_named() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &config_map("one", "first"));
    write(&at, "b.yaml", &format!("{}---\n{}", config_map("two", "2"), config_map("one", "second")));
    let loaded = once(&[at.join("b.yaml"), at.join("a.yaml")]);
    assert_eq!(contents(&loaded.objects)["one"], "first");
    assert!(!loaded.rejected);
    assert_eq!(loaded.problems.len(), 1);
    let message = &loaded.problems[0].message;
    assert!(
        message.contains("a.yaml:1 is in force") && message.contains("b.yaml:8 has no effect"),
        "{message}"
    );
    assert!(is_about_file(&loaded.problems[0], &at.join("b.yaml")));
}

#[test]
fn a_rejected_declaration_gives_way_to_an_accepted_one() {
    let (_guard, at) = folder();
    write(&at, "a.yaml", &refused("one"));
    write(&at, "b.yaml", &config_map("one", "second"));
    assert_eq!(contents(&once(&[at]).objects)["one"], "second");
}

#[test]
fn unknown_kinds_are_one_warning_each_and_those_of_others_none() {
    let (_guard, at) = folder();
    let document = |version: &str, kind: &str, name: &str| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\n---\n")
    };
    let text = document("gateway.networking.k8s.io/v1", "SomethingNew", "x")
        + &document("gateway.networking.k8s.io/v1", "SomethingNew", "y")
        + &document("apps/v1", "Deployment", "z");
    write(&at, "a.yaml", &text);
    let loaded = once(&[at]);
    assert_eq!(loaded.problems.len(), 1, "{:?}", loaded.problems);
    assert!(loaded.problems[0].message.contains("2 objects have no effect"), "{:?}", loaded.problems);
    assert!(!loaded.rejected);
}

#[test]
fn pipes_are_read_to_their_end() {
    let (_guard, at) = folder();
    let pipe = at.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = pipe.clone();
    let thread = std::thread::spawn(move || {
        let mut file = fs::OpenOptions::new().write(true).open(writer).unwrap();
        file.write_all(config_map("one", "1").as_bytes()).unwrap();
    });
    assert_eq!(once(&[pipe]).objects.len(), 1);
    thread.join().unwrap();
}
