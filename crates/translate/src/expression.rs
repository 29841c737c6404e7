//! Regular expressions of users.

/// Limit of a compiled regular expression in bytes of our own check. Envoy compiles with RE2, whose program for the
/// same expression is smaller; 1 MiB lets through every expression that fits the schema's 4096 characters and no bomb.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// Whether Envoy can compile an expression.
///
/// # Errors
/// A sentence that names the expression and says what is wrong with it.
pub(crate) fn check(regex: &str) -> Result<(), String> {
    let compiled = regex::RegexBuilder::new(regex).size_limit(REGEX_SIZE_LIMIT).build();
    compiled.map(|_| ()).map_err(|error| {
        // The library prints the expression with a caret below it over several lines; its last line says what is wrong.
        let text = error.to_string();
        let cause = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("the regular expression {regex:?} is not valid: {cause}")
    })
}

/// An expression that matches a text alone.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}
