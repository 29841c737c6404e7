//! Failures of schemas in words.

use jsonschema::error::{TypeKind, ValidationError, ValidationErrorKind};
use serde_json::Value;

use crate::{
    finding::{Finding, reason},
    path::{follow, join},
};

/// Longest piece of a value that a message shows, in characters.
const SHOWN: usize = 80;

/// Says what a schema found. Values of a secret object are never shown.
pub(crate) fn schema_failure(error: &ValidationError<'_>, document: &Value, secret: bool) -> Finding {
    use ValidationErrorKind as Kind;
    let (path, value) = follow(error.instance_path().as_str(), document);
    let shown = || if secret { "the value".to_owned() } else { show(value.unwrap_or(&Value::Null)) };
    let (reason, message) = match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            return Finding::rejected(join(&path, name), reason::REQUIRED, "must be set");
        }
        Kind::Type { kind } => {
            let got = value.map_or("nothing", kind_of);
            let hint = match (kind, value) {
                (TypeKind::Single(jsonschema::JsonType::String), Some(Value::Number(_) | Value::Bool(_))) => {
                    "; put it in quotes"
                }
                _ => "",
            };
            (reason::TYPE, format!("must be {}, not {got}{hint}", type_words(kind)))
        }
        Kind::Enum { options } => {
            let options: Vec<_> = options.as_array().into_iter().flatten().map(Value::to_string).collect();
            (reason::NOT_SUPPORTED, format!("{} is not one of {}", shown(), options.join(", ")))
        }
        Kind::Pattern { pattern } => {
            let rule = api::text::pattern_in_words(pattern)
                .map_or_else(|| format!("must match {pattern}"), |words| format!("must be {words}"));
            (reason::INVALID, format!("{} {rule}", shown()))
        }
        Kind::MinLength { limit: 1 } => (reason::INVALID, "must not be empty".to_owned()),
        Kind::MinLength { limit } => (reason::INVALID, format!("must have at least {limit} characters")),
        Kind::MaxLength { limit } => (reason::TOO_LONG, format!("must have at most {limit} characters")),
        Kind::MinItems { limit } => (reason::INVALID, format!("must have at least {limit} entries")),
        Kind::MaxItems { limit } => (reason::TOO_MANY, format!("must have at most {limit} entries")),
        Kind::MinProperties { limit } => (reason::INVALID, format!("must have at least {limit} entries")),
        Kind::MaxProperties { limit } => (reason::TOO_MANY, format!("must have at most {limit} entries")),
        Kind::Minimum { limit } => (reason::INVALID, format!("{} must be at least {limit}", shown())),
        Kind::Maximum { limit } => (reason::INVALID, format!("{} must be at most {limit}", shown())),
        Kind::Format { format } => (reason::INVALID, format!("{} must be {}", shown(), format_words(format))),
        Kind::OneOfNotValid { context } | Kind::AnyOf { context } => {
            return no_branch(context, &path, document, secret);
        }
        _ => (reason::INVALID, if secret { "is not valid".to_owned() } else { error.to_string() }),
    };
    Finding::rejected(path, reason, message)
}

/// When no branch fits, formats that were tried say best what is asked for.
fn no_branch(
    context: &[Vec<ValidationError<'static>>],
    path: &str,
    document: &Value,
    secret: bool,
) -> Finding {
    let mut formats = Vec::new();
    let mut field = path.to_owned();
    let mut queue: Vec<&ValidationError<'static>> = context.iter().flatten().collect();
    while let Some(error) = queue.pop() {
        match error.kind() {
            ValidationErrorKind::Format { format } => {
                formats.push(format_words(format));
                field = follow(error.instance_path().as_str(), document).0;
            }
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                queue.extend(context.iter().flatten());
            }
            _ => {}
        }
    }
    formats.sort_unstable();
    formats.dedup();
    let what = if formats.is_empty() { "one of the allowed forms".to_owned() } else { formats.join(" or ") };
    let message = if secret { format!("must be {what}") } else { format!("the value must be {what}") };
    Finding::rejected(field, reason::INVALID, message)
}

/// A value for a message, cut short.
pub(crate) fn show(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    let head: String = text.chars().take(SHOWN).collect();
    format!("{head}…")
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn type_words(kind: &TypeKind) -> &'static str {
    match kind {
        TypeKind::Single(kind) => match kind.as_str() {
            "array" => "a list",
            "boolean" => "true or false",
            "integer" => "a whole number",
            "number" => "a number",
            "object" => "an object",
            "string" => "text",
            _ => "null",
        },
        TypeKind::Multiple(_) => "of another type",
    }
}

fn format_words(format: &str) -> &str {
    match format {
        "ipv4" => "an IPv4 address",
        "ipv6" => "an IPv6 address",
        "date-time" => "a time such as 2026-11-22T19:50:00Z",
        "byte" => "base64",
        other => other,
    }
}
