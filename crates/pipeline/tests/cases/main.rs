//! `cases/<name>/in.yaml` in, `status.yaml` and `xds.yaml` out: one folder for each rule; with the word `objects` among its
//! settings also `objects.yaml`, what its parameters change in the objects of a fleet.
//!
//! `UPDATE=1 cargo test -p pipeline --test cases` writes the outputs anew. Read the difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod fields;
mod translated;
mod validate;
mod view;
mod without_effect;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use translated::{Translated, shows_objects};

/// The folder of all cases.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases")
}

/// Names of all cases, ascending.
fn names() -> Vec<String> {
    let folders = fs::read_dir(root()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 60, "only {} cases in {}", names.len(), root().display());
    names
}

#[test]
fn every_case_gives_its_status_and_its_resources() {
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let mut report = String::new();
    for name in names() {
        let translated = Translated::of(&name);
        let objects = translated.shows_objects.then(|| ("objects.yaml", view::objects(&translated)));
        for (file, found) in
            [("status.yaml", view::status(&translated)), ("xds.yaml", view::resources(&translated))]
                .into_iter()
                .chain(objects)
        {
            let path = root().join(&name).join(file);
            let expected = fs::read_to_string(&path).unwrap_or_default();
            if found == expected {
                continue;
            }
            if update {
                fs::write(&path, &found).unwrap();
            } else {
                let _ = writeln!(
                    report,
                    "{name}/{file} (- expected, + found)\n{}",
                    difference(&expected, &found)
                );
            }
        }
    }
    assert!(report.is_empty(), "{report}\nUPDATE=1 writes what was found");
}

/// Ids of objects tell in which order a process came to know them; nothing that users see may.
#[test]
fn what_a_case_gives_does_not_depend_on_the_order_in_which_its_objects_come() {
    let mut report = String::new();
    for name in names() {
        let (at_once, one_by_one) = (Translated::of(&name), Translated::backwards(&name));
        for view in [every_word, view::resources] {
            let (expected, found) = (view(&at_once), view(&one_by_one));
            if found != expected {
                let _ =
                    writeln!(report, "{name} (- at once, + one by one)\n{}", difference(&expected, &found));
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn a_case_is_small_says_its_rule_and_has_no_stray_file() {
    for name in names() {
        let folder = root().join(&name);
        let text = fs::read_to_string(folder.join("in.yaml")).unwrap();
        assert!(text.starts_with("# "), "{name}: the first line says which rule the case proves");
        assert!(text.lines().count() <= 60, "{name}: more than 60 lines");
        for entry in fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let known = ["in.yaml", "status.yaml", "xds.yaml"].contains(&&*file)
                || file == "objects.yaml" && shows_objects(&text);
            assert!(known, "{name}/{file} is not read");
        }
    }
}

/// All that statuses say, messages of what is well included.
fn every_word(translated: &Translated) -> String {
    let mut statuses: Vec<String> =
        translated.pipeline.statuses().map(|status| format!("{status:#?}")).collect();
    statuses.sort();
    statuses.join("\n")
}

/// Lines that are on one side only, after the common beginning and before the common end.
fn difference(expected: &str, found: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a[head..].iter().rev().zip(b[head..].iter().rev()).take_while(|(x, y)| x == y).count();
    let mut out = String::new();
    for (sign, lines) in [("-", &a[head..a.len() - tail]), ("+", &b[head..b.len() - tail])] {
        for line in lines {
            let _ = writeln!(out, "{sign} {line}");
        }
    }
    out
}
