//! Findings as text, JSON, SARIF and JUnit.

use std::{collections::BTreeMap, fmt::Write};

use check::{Finding, Severity, code};
use provider::file::Place;
use serde_json::{Map, Value, json};

use ir::problem::Subject;

/// Findings in their JSON form, which is also what the admin port gives, with the places of objects in files.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    all: Vec<Value>,
    places: BTreeMap<Subject, Place>,
}

impl Findings {
    /// Findings about objects in files.
    ///
    /// # Errors
    /// Never with findings that are values.
    pub(crate) fn of(findings: &[Finding], places: BTreeMap<Subject, Place>) -> anyhow::Result<Findings> {
        let all = findings.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        Ok(Findings { all, places })
    }

    /// What the admin port gave.
    ///
    /// # Errors
    /// When it is no list.
    pub(crate) fn read(body: &[u8]) -> anyhow::Result<Findings> {
        Ok(Findings { all: serde_json::from_slice(body)?, places: BTreeMap::new() })
    }

    /// The worst severity; `None` without findings.
    pub(crate) fn worst(&self) -> Option<Severity> {
        self.all.iter().map(severity).max()
    }

    /// A paragraph for each finding, and a last line with their number.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        for finding in &self.all {
            let mut places = objects(finding);
            let first = places.next().unwrap_or_default();
            let (level, code) = (severity(finding).name(), text(finding, "code"));
            let at = self.line(finding).map(|line| format!(" ({line})")).unwrap_or_default();
            let _ = writeln!(out, "{level:8}{code}  {first}{at}: {}", text(finding, "message"));
            for other in places {
                let _ = writeln!(out, "{:15}with {other}", "");
            }
            let _ = writeln!(out, "{:15}{}.", "", text(finding, "why"));
            let _ = writeln!(out, "{:15}Fix: {}.", "", text(finding, "fix"));
            if finding["patch"].is_object() {
                let _ = writeln!(out, "{:15}Patch: {}", "", finding["patch"]);
            }
        }
        let count = |wanted| self.all.iter().filter(|finding| severity(finding) == wanted).count();
        let _ = writeln!(
            out,
            "{} errors, {} warnings, {} infos",
            count(Severity::Error),
            count(Severity::Warning),
            count(Severity::Info)
        );
        out
    }

    /// The list, indented.
    ///
    /// # Errors
    /// Never with values.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(&self.all)? + "\n")
    }

    /// SARIF 2.1.0: one run, a rule for each code, a result for each finding.
    ///
    /// # Errors
    /// Never with values.
    pub(crate) fn sarif(&self) -> anyhow::Result<String> {
        let rules: Vec<Value> = (code::ALL.iter())
            .map(|code| {
                json!({
                    "id": code.id,
                    "name": code.name,
                    "shortDescription": { "text": code.why },
                    "help": { "text": code.fix },
                    "defaultConfiguration": { "level": level(code.severity) },
                })
            })
            .collect();
        let results: Vec<Value> = (self.all.iter())
            .map(|finding| {
                json!({
                    "ruleId": finding["code"],
                    "level": level(severity(finding)),
                    "message": { "text": format!("{}. {}.", text(finding, "message"), text(finding, "fix")) },
                    "locations": self.locations(finding),
                })
            })
            .collect();
        let log = json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": { "name": "ferrogate", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
                "results": results,
            }],
        });
        Ok(serde_json::to_string_pretty(&log)? + "\n")
    }

    /// The places of a finding: files with lines where they are known, and the names of objects.
    fn locations(&self, finding: &Value) -> Vec<Value> {
        let objects = finding["objects"].as_array().into_iter().flatten();
        let locations = objects.map(|object| {
            let name = match text(object, "field") {
                "" => subject(object).to_string(),
                field => format!("{} {field}", subject(object)),
            };
            let mut location = Map::new();
            location.insert(
                "logicalLocations".to_owned(),
                json!([{ "fullyQualifiedName": name, "kind": "object" }]),
            );
            if let Some(place) = self.place(object) {
                location.insert(
                    "physicalLocation".to_owned(),
                    json!({
                        "artifactLocation": { "uri": place.path.display().to_string() },
                        "region": { "startLine": place.line },
                    }),
                );
            }
            Value::Object(location)
        });
        locations.collect()
    }

    /// JUnit: a failed test for each finding, or one that passes.
    pub(crate) fn junit(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let count = self.all.len();
        let _ = writeln!(
            out,
            "<testsuite name=\"ferrogate check\" tests=\"{}\" failures=\"{count}\">",
            count.max(1)
        );
        for finding in &self.all {
            let (code, name) = (text(finding, "code"), text(finding, "name"));
            let places: Vec<String> = objects(finding).collect();
            let _ = writeln!(
                out,
                "  <testcase classname=\"{code}.{name}\" name=\"{}\">\n    <failure type=\"{}\" message=\"{}\">{}</failure>\n  \
                 </testcase>",
                escaped(&places.join(", ")),
                severity(finding).name(),
                escaped(text(finding, "message")),
                escaped(&format!("{}. {}.", text(finding, "why"), text(finding, "fix")))
            );
        }
        if count == 0 {
            out.push_str("  <testcase classname=\"ferrogate\" name=\"check\"/>\n");
        }
        out.push_str("</testsuite>\n");
        out
    }

    /// `routes.yaml:12` for the first object of a finding.
    fn line(&self, finding: &Value) -> Option<String> {
        self.place(finding["objects"].get(0)?).map(ToString::to_string)
    }

    fn place(&self, object: &Value) -> Option<&Place> {
        let mut subject = subject(object);
        let exact = self.places.get(&subject);
        // A document that names no namespace is in `default`.
        exact.or_else(|| {
            subject.namespace.take().filter(|namespace| namespace == "default")?;
            self.places.get(&subject)
        })
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn severity(finding: &Value) -> Severity {
    match text(finding, "severity") {
        "error" => Severity::Error,
        "warning" => Severity::Warning,
        _ => Severity::Info,
    }
}

/// SARIF's word.
fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn subject(object: &Value) -> Subject {
    Subject {
        api_version: text(object, "apiVersion").to_owned(),
        kind: text(object, "kind").to_owned(),
        namespace: object["namespace"].as_str().map(str::to_owned),
        name: text(object, "name").to_owned(),
    }
}

/// Objects of a finding with their fields.
fn objects(finding: &Value) -> impl Iterator<Item = String> + '_ {
    let objects = finding["objects"].as_array().into_iter().flatten();
    objects.map(|object| match text(object, "field") {
        "" => subject(object).to_string(),
        field => format!("{} {field}", subject(object)),
    })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
