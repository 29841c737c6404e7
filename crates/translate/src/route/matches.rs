//! Matches: what the schema cannot exclude.

use ir::route::{PathMatch, StringMatch};
use store::facts;

use super::backends::Speaks;
use crate::Finding;

/// Limit of a compiled regular expression in bytes of our own check. Envoy compiles with RE2, whose program for the
/// same expression is smaller; 1 MiB lets through every expression that fits the schema's 4096 characters and no bomb.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// Finds the first expression of a rule that Envoy could not compile. The whole rule is then not served, since a rule
/// without one of its matches would take fewer requests than its author wrote.
pub(super) fn check(index: u16, rule: &facts::Rule, speaks: Speaks) -> Result<(), Finding> {
    let path_field = match speaks {
        Speaks::Http | Speaks::Bytes(_) => "path.value",
        // The expressions of service and method, put together.
        Speaks::Grpc => "method",
    };
    for (j, matched) in rule.matches.iter().enumerate() {
        let field = format!("spec.rules[{index}].matches[{j}]");
        if let PathMatch::Regex(regex) = &matched.path {
            check_regex(index, &field, path_field, regex)?;
        }
        for (list, values) in [("headers", &matched.headers), ("queryParams", &matched.query)] {
            for (k, value) in values.iter().enumerate() {
                if let StringMatch::Regex(regex) = &value.value {
                    check_regex(index, &field, &format!("{list}[{k}].value"), regex)?;
                }
            }
        }
    }
    Ok(())
}

fn check_regex(rule: u16, matched: &str, part: &str, regex: &str) -> Result<(), Finding> {
    regex_error(regex).map_or(Ok(()), |error| {
        Err(Finding::new(format!("{matched}.{part}"), "UnsupportedValue", format!("Rule {rule}: {error}")))
    })
}

/// Why Envoy could not compile a regular expression; `None` when it can.
pub(crate) fn regex_error(regex: &str) -> Option<String> {
    let compiled = regex::RegexBuilder::new(regex).size_limit(REGEX_SIZE_LIMIT).build();
    compiled.err().map(|error| {
        // The library prints the expression with a caret below it over several lines; its last line says what is wrong.
        let text = error.to_string();
        let cause = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("the regular expression {regex:?} is not valid: {cause}")
    })
}
