//! One page, from a schema: a section for each object, a row for each field.

use std::fmt::Write as _;

use serde_json::Value;

/// How the sentence begins that names what a field sets in Envoy. Descriptions end with it.
const ENVOY: &str = "Envoy: ";
/// Description of what Kubernetes describes.
const OF_KUBERNETES: &str = "As in Kubernetes' own API.";

/// What a page is made from.
pub(crate) struct Page<'a> {
    pub name: &'a str,
    /// What is said of the kind before its fields.
    pub head: String,
    pub schema: &'a Value,
    /// Path of the schema in an object.
    pub root: &'a str,
}

impl Page<'_> {
    pub(crate) fn file(&self) -> String {
        format!("{}.md", self.name.to_lowercase())
    }

    /// Its row in the index.
    pub(crate) fn line(&self) -> String {
        let text = words(self.schema).meaning;
        let first = text.split(". ").next().unwrap_or_default().trim_end_matches('.');
        format!("| [{}]({}) | {first} |\n", self.name, self.file())
    }

    pub(crate) fn text(&self) -> String {
        let mut out = format!("# {}\n\n{}\n{}\n", self.name, words(self.schema).meaning, self.head);
        let mut sections = Sections { known: Vec::new(), queue: vec![(self.root.to_owned(), self.schema)] };
        sections.name(self.root, self.schema);
        while let Some((path, node)) = sections.queue.pop() {
            let mut below = Vec::new();
            section(&mut out, &path, node, &mut sections, &mut below);
            // Depth first, in the order of the fields.
            sections.queue.extend(below.into_iter().rev());
        }
        out
    }
}

/// Objects that have a section: each type has one, at the place where it comes first.
struct Sections<'a> {
    known: Vec<(&'a Value, String)>,
    queue: Vec<(String, &'a Value)>,
}

impl<'a> Sections<'a> {
    /// The path of the section of an object, and whether it is new.
    fn name(&mut self, path: &str, node: &'a Value) -> (String, bool) {
        let same = |other: &Value| {
            ["properties", "x-kubernetes-validations"].iter().all(|key| node[key] == other[key])
        };
        if let Some((_, first)) = self.known.iter().find(|(other, _)| same(other)) {
            return (first.clone(), false);
        }
        self.known.push((node, path.to_owned()));
        (path.to_owned(), true)
    }
}

/// Title of a section.
fn title(path: &str) -> &str {
    if path.is_empty() { "The file" } else { path }
}

/// How a heading is linked to.
pub(crate) fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

fn section<'a>(
    out: &mut String,
    path: &str,
    node: &'a Value,
    sections: &mut Sections<'a>,
    below: &mut Vec<(String, &'a Value)>,
) {
    let _ = writeln!(out, "\n## {}\n", title(path));
    // What is said of the root stands above.
    if path != "spec" && !path.is_empty() {
        let _ = writeln!(out, "{}\n", words(node).meaning);
    }
    let fields: Vec<(&String, &Value)> = node["properties"].as_object().into_iter().flatten().collect();
    let required: Vec<&str> =
        node["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut rows = Vec::new();
    for (name, field) in fields {
        let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let kind = kind(&at, field, sections, below);
        let default = match field.get("default") {
            _ if required.contains(&&**name) => "required".to_owned(),
            // Objects are there by default for what their own fields are.
            Some(Value::Object(_)) | None => String::new(),
            Some(value) => code(value),
        };
        let mut words = words(field);
        for rule in rules(field).filter(|_| field["properties"].is_null()) {
            words.meaning.push_str(&format!(" Rule: {rule}."));
        }
        for choice in &words.choices {
            words.meaning.push_str(&format!("<br>{choice}"));
        }
        rows.push([format!("`{name}`"), kind, default, words.meaning, words.envoy]);
    }
    table(out, &rows);
    let rules: Vec<&str> = rules(node).collect();
    if !rules.is_empty() {
        out.push_str("\nRules:\n\n");
        for rule in rules {
            let _ = writeln!(out, "- {rule}");
        }
    }
}

/// The rows as a table; the last column only where it says anything.
fn table(out: &mut String, rows: &[[String; 5]]) {
    if rows.is_empty() {
        out.push_str("It has no fields.\n");
        return;
    }
    let columns = if rows.iter().all(|row| row[4].is_empty()) { 4 } else { 5 };
    let head = ["field", "type", "default", "meaning", "Envoy"];
    let _ = writeln!(out, "| {} |\n|{}", head[..columns].join(" | "), "---|".repeat(columns));
    for row in rows {
        let cells: Vec<String> = row[..columns].iter().map(|text| cell(text)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

fn rules(node: &Value) -> impl Iterator<Item = &str> {
    node["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|rule| rule["message"].as_str())
}

/// Type and limits of a field; an object's is a link to its section.
fn kind<'a>(
    path: &str,
    node: &'a Value,
    sections: &mut Sections<'a>,
    below: &mut Vec<(String, &'a Value)>,
) -> String {
    if node["x-kubernetes-preserve-unknown-fields"] == true {
        return "any".to_owned();
    }
    if node["x-kubernetes-int-or-string"] == true {
        let pattern = node["pattern"].as_str().and_then(api::pattern_in_words);
        return format!("integer or text{}", pattern.map(|words| format!(": {words}")).unwrap_or_default());
    }
    if let Some(items) = node.get("items") {
        let of = kind(&format!("{path}[]"), items, sections, below);
        return format!("list{} of: {of}", range(node, "minItems", "maxItems", " of "));
    }
    if let Some(values) = node.get("additionalProperties") {
        let of = kind(&format!("{path}.*"), values, sections, below);
        return format!("map{} of: {of}", range(node, "minProperties", "maxProperties", " of "));
    }
    if let Some(fields) = node["properties"].as_object() {
        if fields.values().any(|field| field["description"] == OF_KUBERNETES) {
            return "as in Kubernetes".to_owned();
        }
        let (name, new) = sections.name(path, node);
        if new {
            below.push((path.to_owned(), node));
        }
        return format!("[object](#{})", anchor(title(&name)));
    }
    scalar(node)
}

fn scalar(node: &Value) -> String {
    let name = match node["type"].as_str() {
        Some("string") => "text",
        Some(other) => other,
        None => "any",
    };
    if let Some(values) = node["enum"].as_array() {
        let all: Vec<String> = values.iter().map(code).collect();
        return all.join(", ");
    }
    if let Some(pattern) = node["pattern"].as_str() {
        return match api::pattern_in_words(pattern) {
            Some(words) => words.to_owned(),
            None => format!("text like `{pattern}`{}", range(node, "minLength", "maxLength", ", length ")),
        };
    }
    match name {
        "text" => format!("text{}", range(node, "minLength", "maxLength", ", length ")),
        _ => format!("{name}{}", range(node, "minimum", "maximum", ", ")),
    }
}

/// A range in words, after `before`; empty when there is none.
fn range(node: &Value, least: &str, most: &str, before: &str) -> String {
    let number = |key: &str| node.get(key).and_then(Value::as_f64);
    match (number(least), number(most)) {
        (Some(least), Some(most)) => format!("{before}{least} to {most}"),
        (Some(least), None) if least != 0.0 || before == ", " => format!("{before}{least} or more"),
        (None, Some(most)) => format!("{before}at most {most}"),
        _ => String::new(),
    }
}

/// A description in its parts.
#[derive(Default)]
struct Words {
    meaning: String,
    /// What each value means.
    choices: Vec<String>,
    envoy: String,
}

fn words(node: &Value) -> Words {
    let mut words = Words::default();
    let mut text = Vec::new();
    for line in node["description"].as_str().unwrap_or_default().lines() {
        // The words of values of a closed enumeration.
        if line.starts_with('`') && line.contains("`: ") && !text.is_empty() {
            words.choices.push(line.to_owned());
        } else if let Some(last) = words.choices.last_mut() {
            last.push(' ');
            last.push_str(line);
        } else {
            text.push(line);
        }
    }
    let text = text.join(" ");
    match text.split_once(ENVOY) {
        Some((meaning, envoy)) => {
            words.meaning = meaning.trim().to_owned();
            words.envoy = envoy.trim().trim_end_matches('.').to_owned();
        }
        None => words.meaning = text.trim().to_owned(),
    }
    words
}

fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
