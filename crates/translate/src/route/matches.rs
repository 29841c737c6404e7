//! Matches: what the schema cannot exclude.

use ir::route::{PathMatch, StringMatch};
use store::facts;

use super::resolve::Speaks;
use crate::{Finding, expression};

/// Finds the first expression of a rule that Envoy could not compile. The whole rule is then not served, since a rule
/// without one of its matches would take fewer requests than its author wrote.
pub(super) fn check(index: u16, rule: &facts::Rule, speaks: Speaks) -> Result<(), Finding> {
    let path_field = match speaks {
        Speaks::Http | Speaks::Bytes(_) | Speaks::Encrypted | Speaks::Itself => "path.value",
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
    expression::check(regex).map_err(|message| {
        Finding::new(format!("{matched}.{part}"), "UnsupportedValue", format!("Rule {rule}: {message}"))
    })
}
