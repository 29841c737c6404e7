//! `docs/reference`: one page for each kind of Envoy Gateway's group, made from the schemas.
//!
//! `UPDATE=1 cargo test -p api --test reference` writes the pages anew. Read the difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod page;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use api::{KINDS, crds};
use page::Page;

/// The group whose kinds have a page.
const GROUP: &str = "gateway.envoyproxy.io";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference")
}

/// The pages by file name, the index among them.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut index = String::from(
        "# Reference\n\nEvery field of Envoy Gateway's kinds: its type, what it may be, what it is when it is left out, what it does, and \
         what it sets in Envoy.\nThe pages are made from the types that objects are read with, so they say what this version does; \
         `kubectl explain` shows the same.\n\n| kind | what for |\n|---|---|\n",
    );
    let crds = crds();
    for kind in KINDS.iter().filter(|kind| kind.group == GROUP) {
        let crd = crds.iter().find(|crd| crd.spec.names.kind == kind.name).unwrap();
        let short: Vec<String> =
            crd.spec.names.short_names.iter().flatten().map(|name| format!("`{name}`")).collect();
        let short = if short.is_empty() { String::new() } else { format!(", short {}", short.join(", ")) };
        let schema = kind.schema();
        let page = Page {
            name: kind.name,
            head: format!(
                "`apiVersion: {GROUP}/{}`, plural `{}`{short}, {}.",
                kind.versions[0],
                kind.plural(),
                if kind.namespaced { "in a namespace" } else { "of the whole cluster" }
            ),
            schema: &schema["properties"]["spec"],
            root: "spec",
        };
        index.push_str(&page.line());
        pages.insert(page.file(), page.text());
    }
    let schema = api::config::schema();
    let page = Page {
        name: "EnvoyGateway",
        head: format!(
            "`apiVersion: {GROUP}/v1alpha1`: no object, but the configuration file of `ferrogate server --config-path FILE`."
        ),
        schema: &schema,
        root: "",
    };
    index.push_str(&page.line());
    pages.insert(page.file(), page.text());
    pages.insert("README.md".to_owned(), index);
    pages
}

#[test]
fn pages_say_what_the_types_say() {
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let pages = pages();
    fs::create_dir_all(folder()).unwrap();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(pages.contains_key(&name), "docs/reference/{name} is of no kind");
    }
    let mut stale = Vec::new();
    for (name, text) in &pages {
        let path = folder().join(name);
        if fs::read_to_string(&path).unwrap_or_default() == *text {
            continue;
        }
        if update {
            fs::write(&path, text).unwrap();
        } else {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "docs/reference is stale: {stale:?}; UPDATE=1 writes it");
}

#[test]
fn every_link_of_a_page_leads_to_a_heading() {
    for (name, text) in pages() {
        let anchors: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("## ")).map(page::anchor).collect();
        for link in text.split("](#").skip(1) {
            let target = link.split(')').next().unwrap();
            assert_eq!(anchors.iter().filter(|anchor| *anchor == target).count(), 1, "{name}: #{target}");
        }
    }
}
