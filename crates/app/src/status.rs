//! `ferrogate status`: what a running gateway says of its objects.

use std::process::ExitCode;

use serde_json::Value;

use crate::{
    admin_client::Admin,
    view::{self, Format, table::table},
};

/// Arguments of `ferrogate status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Objects to show: a kind, `kind/name` or `kind/namespace/name`; without it all
    #[arg(value_name = "KIND[/NAMESPACE][/NAME]")]
    object: Option<String>,
    #[command(flatten)]
    admin: Admin,
    /// Print documents instead of a table
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// Runs the command. Exit code 0; 1 when some condition is not as it should be.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (status, body) = args.admin.get("/status")?;
    anyhow::ensure!(status.is_success(), "the admin port answered {status}");
    let mut documents: Vec<Value> = serde_json::from_slice(&body)?;
    if let Some(wanted) = &args.object {
        documents.retain(|document| is_wanted(document, wanted));
        anyhow::ensure!(!documents.is_empty(), "no object with a status matches {wanted:?}");
    }
    let rows: Vec<Vec<String>> = documents.iter().flat_map(rows).collect();
    let healthy = rows.iter().all(|row| !row[3].starts_with('!'));
    match args.output {
        Some(format) => view::print_documents(&documents, format)?,
        None => view::write_out(table(&["KIND", "NAMESPACE", "NAME", "STATE", "DETAIL"], &rows).as_bytes())?,
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn is_wanted(document: &Value, wanted: &str) -> bool {
    let field = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let mut parts = wanted.splitn(3, '/');
    let kind = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    if !field("/kind").eq_ignore_ascii_case(kind) {
        return false;
    }
    match rest[..] {
        [name] => field("/metadata/name") == name,
        [namespace, name] => field("/metadata/namespace") == namespace && field("/metadata/name") == name,
        _ => true,
    }
}

/// Rows of an object: one for itself, one for each listener or parent. A state that needs attention begins with `!`.
fn rows(document: &Value) -> Vec<Vec<String>> {
    let field = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, namespace, name) = (field("/kind"), field("/metadata/namespace"), field("/metadata/name"));
    let row = |name: String, conditions: &Value, extra: String| {
        let (state, detail) = judge(conditions);
        let detail = if extra.is_empty() || !detail.is_empty() { detail } else { extra };
        vec![kind.clone(), namespace.clone(), name, state, detail]
    };
    let status = &document["status"];
    let mut rows = Vec::new();
    if status["conditions"].is_array() {
        rows.push(row(name.clone(), &status["conditions"], String::new()));
    }
    for listener in status["listeners"].as_array().into_iter().flatten() {
        let routes = format!("{} attached routes", listener["attachedRoutes"]);
        let label = format!("{name}/{}", listener["name"].as_str().unwrap_or_default());
        rows.push(row(label, &listener["conditions"], routes));
    }
    for parent in status["parents"].as_array().into_iter().flatten() {
        let gateway = parent.pointer("/parentRef/name").and_then(Value::as_str).unwrap_or_default();
        rows.push(row(name.clone(), &parent["conditions"], format!("attached to {gateway}")));
    }
    rows
}

/// Conditions that are good when false.
const GOOD_WHEN_FALSE: [&str; 4] =
    ["Conflicted", "PartiallyInvalid", "OverlappingTLSConfig", "RouteRulesOverlap"];

fn judge(conditions: &Value) -> (String, String) {
    let mut bad = Vec::new();
    let mut details = Vec::new();
    for condition in conditions.as_array().into_iter().flatten() {
        let field = |key: &str| condition[key].as_str().unwrap_or_default();
        let (kind, holds) = (field("type"), field("status") == "True");
        if holds == GOOD_WHEN_FALSE.contains(&kind) {
            bad.push(format!("{kind}={}/{}", field("status"), field("reason")));
            details.push(field("message").replace('\n', " "));
        }
    }
    if bad.is_empty() {
        ("ok".to_owned(), String::new())
    } else {
        (format!("!{}", bad.join(" ")), details.join("; "))
    }
}
