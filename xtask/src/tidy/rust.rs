//! Rules for Rust source: sizes, names, reasons for allowed lints, a purpose for every crate.

use std::path::Path;

use proc_macro2::Span;
use syn::{
    Attribute, Block, Ident, ImplItemFn, Item, ItemFn, Meta, TraitItemFn,
    spanned::Spanned,
    visit::{self, Visit},
};

use super::Finding;

/// Longest file, without its tests: a reader's evening. The smaller number warns.
const MAX_FILE_LINES: usize = 800;
const MANY_FILE_LINES: usize = 500;

/// Longest body of a function: what two screens show.
const MAX_FUNCTION_LINES: usize = 80;

/// Words that say nothing about what a type or module is for.
const EMPTY_WORDS: [&str; 7] = ["manager", "managers", "helper", "helpers", "util", "utils", "utilities"];

/// Names that contain such a word because an API of others is spelled so: Envoy's HTTP filter, Envoy Gateway's
/// configuration of extension servers.
const NAMES_OF_OTHERS: [&str; 2] = ["http_connection_manager", "extension_manager"];

/// All findings in one source file.
pub(super) fn check(file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if file.ends_with("src/lib.rs") && !text.starts_with("//!") {
        findings.push(Finding::new(
            file,
            1,
            "purpose",
            "the crate does not begin with a `//!` line that tells its purpose",
        ));
    }
    let syntax = match syn::parse_file(text) {
        Ok(syntax) => syntax,
        Err(error) => {
            findings.push(Finding::new(file, error.span().start().line, "syntax", error.to_string()));
            return findings;
        }
    };
    let lines: Vec<&str> = text.lines().collect();
    findings.extend(file_length(file, lines.len(), &syntax.items));
    if let Some(stem) = file.file_stem().and_then(|stem| stem.to_str())
        && let Some(word) = empty_word(stem)
    {
        findings.push(Finding::new(
            file,
            1,
            "name",
            format!("file name {stem} says {word:?}, not what is in it"),
        ));
    }
    let mut visitor = Visitor { file, lines: &lines, findings };
    visitor.visit_file(&syntax);
    visitor.findings
}

/// The length of a file without its tests, when it is too long.
fn file_length(file: &Path, lines: usize, items: &[Item]) -> Option<Finding> {
    let is_tests = file.file_stem().is_some_and(|stem| stem == "tests")
        || file.components().any(|part| part.as_os_str() == "tests");
    if is_tests {
        return None;
    }
    let tests: usize =
        items.iter().filter(|item| is_test(attributes(item))).map(|item| length(item.span())).sum();
    let length = lines.saturating_sub(tests);
    let message = |limit| format!("{length} lines without tests; {limit}");
    if length > MAX_FILE_LINES {
        let message = message(format!("at most {MAX_FILE_LINES} are allowed"));
        Some(Finding::new(file, 1, "file-length", message))
    } else if length > MANY_FILE_LINES {
        let message = message(format!("think of splitting it above {MANY_FILE_LINES}"));
        Some(Finding { warning: true, ..Finding::new(file, 1, "file-length", message) })
    } else {
        None
    }
}

fn length(span: Span) -> usize {
    span.end().line - span.start().line + 1
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether attributes leave an item out of everything but tests.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

/// The empty word in a name, be it `CamelCase` or `snake_case`.
fn empty_word(name: &str) -> Option<&'static str> {
    let mut words = String::new();
    let mut before = '_';
    for letter in name.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
        before = letter;
    }
    let words = NAMES_OF_OTHERS.iter().fold(words, |words, other| words.replace(other, ""));
    words.split('_').find_map(|word| EMPTY_WORDS.iter().find(|empty| **empty == word).copied())
}

/// Walks over all items of a file.
struct Visitor<'a> {
    file: &'a Path,
    lines: &'a [&'a str],
    findings: Vec<Finding>,
}

impl Visitor<'_> {
    fn find(&mut self, span: Span, rule: &'static str, message: String) {
        self.findings.push(Finding::new(self.file, span.start().line, rule, message));
    }

    /// The lines between the braces of a function.
    fn function(&mut self, name: &Ident, body: &Block) {
        let length = body
            .brace_token
            .span
            .close()
            .start()
            .line
            .saturating_sub(body.brace_token.span.open().start().line + 1);
        if length > MAX_FUNCTION_LINES {
            let message =
                format!("function {name} has {length} lines; at most {MAX_FUNCTION_LINES} are allowed");
            self.find(name.span(), "function-length", message);
        }
    }

    fn name(&mut self, name: &Ident) {
        if let Some(word) = empty_word(&name.to_string()) {
            self.find(name.span(), "name", format!("{name} says {word:?}, not what it is for"));
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.function(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.function(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.function(&function.sig.ident, body);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Enum(item) => self.name(&item.ident),
            Item::Mod(item) => self.name(&item.ident),
            Item::Struct(item) => self.name(&item.ident),
            Item::Trait(item) => self.name(&item.ident),
            Item::Type(item) => self.name(&item.ident),
            Item::Union(item) => self.name(&item.ident),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let Meta::List(list) = &attribute.meta else { return };
        if !(list.path.is_ident("allow") || list.path.is_ident("expect")) {
            return;
        }
        let reason = list.tokens.clone().into_iter().any(|token| token.to_string() == "reason");
        let above = attribute.span().start().line.checked_sub(2).and_then(|index| self.lines.get(index));
        let comment = above.is_some_and(|line| {
            let line = line.trim_start();
            line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!")
        });
        if !reason && !comment {
            let message = format!(
                "`{}({})` gives no reason",
                list.path.get_ident().map_or("allow".into(), Ident::to_string),
                list.tokens
            );
            self.find(attribute.span(), "allow", message);
        }
    }
}
