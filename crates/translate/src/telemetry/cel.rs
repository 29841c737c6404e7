//! Expressions in CEL. Envoy refuses a whole listener for one that it cannot use, so each is judged here first.
//!
//! The grammar is that of the `cel` crate, as is the tree; what Envoy's filter of access logs does not do is looked for in
//! the tree: it knows few functions, goes over no lists (`all`, `map` and their like), makes few messages, and nests not
//! deeply. Which attributes there are is not looked at, because one that is not there is no error to Envoy.
//!
//! Texts are measured before they are parsed: the crate's own limit of depth panics on nested conditions, and its parser
//! calls itself for each operator in a row. Within the limits neither happens, which tests try.
//!
//! What is stricter here than in Envoy: messages other than durations and timestamps, doubles that are infinite, and
//! backslashes in raw bytes that begin no escape, which the crate does not take.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, StructExpr},
    parser::{ParseErrors, Parser},
};

/// Most bytes of an expression: far more than people write, and little work for the parser whatever it is.
const MAX_LENGTH: usize = 4096;
/// How deep brackets and conditions may stand in each other, and nodes of the tree (Envoy: 32 of both).
const MAX_DEPTH: usize = 32;
/// Words and signs that may stand in a row, without `&&`, `||`, a condition or a comma, on the way to the innermost
/// expression: four times as many as Envoy's depth allows, of which every other one is an operator, and few enough for any
/// stack.
const MAX_STEPS: usize = 4 * MAX_DEPTH;
/// More than any text within the limits can reach.
const LIMIT_OF_PARSER: u16 = 2 * MAX_DEPTH as u16 + 1;

/// Words that are no identifiers, but for fields.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Functions that Envoy knows, with the number of their arguments.
const FUNCTIONS: [(&str, usize); 14] = [
    ("bool", 1),
    ("bytes", 1),
    ("contains", 2),
    ("double", 1),
    ("duration", 1),
    ("dyn", 1),
    ("endsWith", 2),
    ("int", 1),
    ("matches", 2),
    ("size", 1),
    ("startsWith", 2),
    ("timestamp", 1),
    ("type", 1),
    ("uint", 1),
];
/// Functions that are called on a value, as `request.path.startsWith("/")` is, likewise.
const MEMBERS: [(&str, usize); 5] =
    [("contains", 1), ("endsWith", 1), ("matches", 1), ("size", 0), ("startsWith", 1)];
/// Functions of times and durations, which take a time zone or nothing.
const TIMES: [&str; 10] = [
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
];
/// Functions whose names begin with `re.`.
const REGEX: [(&str, usize); 3] = [("capture", 2), ("captureN", 2), ("extract", 3)];
/// Messages that may be made; both have seconds and nanos.
const MESSAGES: [&str; 2] = ["google.protobuf.Duration", "google.protobuf.Timestamp"];

/// Whether Envoy can use an expression.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn check(expression: &str) -> Result<(), String> {
    if expression.len() > MAX_LENGTH {
        return Err(format!("it is longer than {MAX_LENGTH} bytes"));
    }
    measure(expression)?;
    let parsed = Parser::new().max_recursion_depth(LIMIT_OF_PARSER).parse(expression);
    judge(&parsed.map_err(|errors| told(&errors))?, 1)
}

/// The first thing that the parser has against a text: against its syntax, because all else may follow from that.
fn told(errors: &ParseErrors) -> String {
    let syntax = errors.errors.iter().find(|error| error.msg.starts_with("Syntax error"));
    let Some(error) = syntax.or(errors.errors.first()) else { return "it cannot be read".to_owned() };
    // The list of all that could stand there is no help.
    let what = error.msg.split(" expecting ").next().unwrap_or_default();
    let what = what.replace("'<EOF>'", "the end");
    let (line, column) = error.pos;
    if line > 1 { format!("{what} at {line}:{column}") } else { format!("{what} at {column}") }
}

/// An open bracket, or the whole text.
#[derive(Default)]
struct Open {
    /// Conditions that wait for their colon.
    conditions: usize,
    /// Conditions whose last part is being read.
    nested: usize,
    /// Words and signs since the last that begins an expression anew.
    steps: usize,
}

/// Refuses what nests too deeply for Envoy or for the parser, and raw strings that Envoy cannot read.
fn measure(text: &str) -> Result<(), String> {
    let mut open = vec![Open::default()];
    let (mut deepest, mut longest) = (0, 0);
    let mut in_word = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        if first == '/' && after.starts_with('/') {
            rest = after.find('\n').map_or("", |end| &after[end..]);
            continue;
        }
        if matches!(first, '"' | '\'') {
            let before = &text[..text.len() - rest.len()];
            rest = past_string(rest, is_raw(before)).ok_or("a raw string cannot end with a backslash")?;
            in_word = false;
            continue;
        }
        rest = after;
        let inside = open.len() > 1;
        let Some(here) = open.last_mut() else { return Ok(()) };
        let goes_on = in_word;
        in_word = first.is_ascii_alphanumeric() || first == '_';
        match first {
            '(' | '[' | '{' => {
                here.steps += 1;
                open.push(Open::default());
            }
            // What closes nothing is the parser's to tell.
            ')' | ']' | '}' if inside => drop(open.pop()),
            ',' => *here = Open::default(),
            '?' => (here.conditions, here.steps) = (here.conditions + 1, 0),
            ':' if here.conditions > 0 => {
                *here = Open { conditions: here.conditions - 1, nested: here.nested + 1, steps: 0 };
            }
            '|' | '&' => here.steps = 0,
            _ => here.steps += usize::from(!(first.is_ascii_whitespace() || in_word && goes_on)),
        }
        deepest = deepest.max(open.len() - 1 + open.iter().map(|open| open.nested).sum::<usize>());
        longest = longest.max(open.iter().map(|open| open.steps).sum());
    }
    if deepest > MAX_DEPTH || longest > MAX_STEPS { Err(too_deep()) } else { Ok(()) }
}

fn too_deep() -> String {
    format!("it is nested more than {MAX_DEPTH} levels deep")
}

/// Whether a text ends with what makes a raw string of the string that follows.
fn is_raw(before: &str) -> bool {
    let word = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    matches!(before.get(word..), Some("r" | "R" | "br" | "bR" | "Br" | "BR"))
}

/// What follows the string that a text begins with; the end where the string has none, which the parser tells. `None` for a
/// raw string that ends with a backslash: to Envoy it does not end there.
fn past_string(text: &str, raw: bool) -> Option<&str> {
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| text.starts_with(*quote))?;
    let mut rest = &text[quote.len()..];
    let mut escaped = false;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(quote).filter(|_| raw || !escaped) {
            return (!escaped).then_some(after);
        }
        escaped = first == '\\' && !escaped;
        rest = &rest[first.len_utf8()..];
    }
    Some("")
}

/// Looks for what Envoy does not do; `depth` is that of the expression in its tree.
fn judge(expression: &IdedExpr, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    let below = |expression: &IdedExpr| judge(expression, depth + 1);
    match &expression.expr {
        Expr::Unspecified => Err("it cannot be read".to_owned()),
        Expr::Literal(_) => Ok(()),
        Expr::Ident(name) if RESERVED.contains(&name.as_str()) => Err(format!("{name} is a reserved word")),
        Expr::Ident(_) => Ok(()),
        Expr::Comprehension(_) => Err(
            "Envoy goes over no lists and maps here: all, exists, exists_one, filter and map cannot be used"
                .to_owned(),
        ),
        Expr::Select(select) => below(&select.operand),
        Expr::List(list) => list.elements.iter().try_for_each(below),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| judge_entry(entry, depth + 1)),
        Expr::Struct(message) => {
            known_message(message)?;
            message.entries.iter().try_for_each(|entry| judge_entry(entry, depth + 1))
        }
        Expr::Call(call) => {
            known_function(call)?;
            call.target.iter().map(|target| &**target).chain(&call.args).try_for_each(below)
        }
    }
}

fn judge_entry(entry: &IdedEntryExpr, depth: usize) -> Result<(), String> {
    match &entry.expr {
        EntryExpr::StructField(field) => judge(&field.value, depth),
        EntryExpr::MapEntry(entry) => judge(&entry.key, depth).and_then(|()| judge(&entry.value, depth)),
    }
}

fn known_message(message: &StructExpr) -> Result<(), String> {
    let name = &message.type_name;
    if !MESSAGES.contains(&name.as_str()) {
        return Err(format!("no message {name} can be made here"));
    }
    message.entries.iter().try_for_each(|entry| match &entry.expr {
        EntryExpr::StructField(field) if !["seconds", "nanos"].contains(&field.field.as_str()) => {
            Err(format!("{name} has no field {}", field.field))
        }
        _ => Ok(()),
    })
}

/// Functions by name, by how they are called and by the number of their arguments, as Envoy looks for them.
fn known_function(call: &CallExpr) -> Result<(), String> {
    // A dot in front says that the name is not one of a variable, which it cannot be here.
    let (name, count) = (call.func_name.trim_start_matches('.'), call.args.len());
    // Operators are calls, too, of functions that cannot be named.
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    let known = match &call.target {
        None => FUNCTIONS.contains(&(name, count)),
        Some(target) if matches!(&target.expr, Expr::Ident(namespace) if namespace == "re") => {
            REGEX.contains(&(name, count)) || MEMBERS.contains(&(name, count))
        }
        Some(_) => MEMBERS.contains(&(name, count)) || (TIMES.contains(&name) && count < 2),
    };
    if !known {
        let form = if call.target.is_some() { "called on a value" } else { "called by itself" };
        return Err(format!("Envoy knows no function {name} that is {form} with {count} arguments"));
    }
    match call.args.last().map(|last| &last.expr) {
        Some(Expr::Literal(LiteralValue::String(regex))) if name == "matches" => {
            crate::expression::check(regex)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
