//! From text to documents: YAML and JSON, several in one text.

mod json;
mod scalar;
#[cfg(test)]
mod tests;
mod yaml;

use serde_json::Value;
use thiserror::Error;

/// Longest text, in bytes. An API server takes objects of about 1.5 MiB; this leaves room for files with
/// 10,000 routes of 4 KiB each.
pub const MAX_TEXT: usize = 64 << 20;
/// Deepest nesting of a document. Deeper text is an error, so that no later step can run out of stack.
pub const MAX_DEPTH: usize = 120;
/// How many values aliases may add to a document. Without a limit, nine lines of aliases to aliases make
/// 10⁹ values.
pub const MAX_ALIASED: usize = 100_000;

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What the document holds.
    pub value: Value,
    /// Line, counted from 1, on which it begins.
    pub line: usize,
}

/// The text is neither YAML nor JSON, or breaks a limit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Splits a text into its documents. Empty ones are left out, and lists (`kind: List`, `HTTPRouteList`, …) are
/// replaced by their items.
///
/// YAML is read as Kubernetes' tools do: by the rules of YAML 1.1 where the versions differ, so a plain `yes`, `on`
/// or `0777` is a boolean or an octal number, and a plain date stays text. Keys that are numbers or booleans become
/// text. Keys must not stand twice. `<<` merges. Text that begins with `{` is read as JSON first.
///
/// # Errors
///
/// The first mistake of the text. Nothing of the text is of use then, because what follows a mistake may mean
/// something else than its author thinks.
pub fn documents(text: &str) -> Result<Vec<Document>, SyntaxError> {
    if text.len() > MAX_TEXT {
        let message = format!("the text has {} bytes; at most {MAX_TEXT} are read", text.len());
        return Err(SyntaxError { line: 1, column: 1, message });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found = if text.trim_start().starts_with('{') {
        // A flow mapping of YAML begins like JSON; what fails as both is told in terms of JSON.
        json::read(text).or_else(|error| yaml::read(text).map_err(|_| error))
    } else {
        yaml::read(text)
    };
    let mut documents = Vec::new();
    for document in found? {
        expand(document, &mut documents);
    }
    Ok(documents)
}

fn expand(mut document: Document, out: &mut Vec<Document>) {
    if document.value.is_null() {
        return;
    }
    let is_list =
        document.value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match document.value.get_mut("items") {
        // Lists of lists are rare, but `kubectl` takes them apart too; depth is limited by the text's.
        Some(Value::Array(items)) if is_list => {
            let line = document.line;
            for value in std::mem::take(items) {
                expand(Document { value, line }, out);
            }
        }
        _ => out.push(document),
    }
}
