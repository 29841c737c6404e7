//! Changes of headers.

use std::sync::Arc;

use api::{HttpHeader, clienttrafficpolicy::HeaderEdits as Spec};
use ir::{downstream::HeaderEdits, route::HeaderValue};

use super::{Findings, text_match};

/// Reads changes. A header that is named twice is changed as it is said first, in the order add, set, add when absent;
/// names do not differ by case.
pub(super) fn edits(field: &str, spec: Option<&Spec>, findings: &mut Findings) -> HeaderEdits {
    let Some(spec) = spec else { return HeaderEdits::default() };
    let mut taken: Vec<String> = Vec::new();
    let mut values = |list: &str, headers: &[HttpHeader], append: bool, findings: &mut Findings| {
        let mut values: Vec<HeaderValue> = Vec::new();
        for (i, header) in headers.iter().enumerate() {
            let field = format!("{field}.{list}[{i}]");
            if let Some(message) = refused(&header.name, &header.value) {
                findings.add(&field, message);
                continue;
            }
            let name = header.name.to_ascii_lowercase();
            if !taken.contains(&name) {
                taken.push(name);
                values.push(HeaderValue {
                    name: (*header.name).into(),
                    value: (*header.value).into(),
                    append,
                });
            }
        }
        values
    };
    let mut add = values("add", &spec.add, true, findings);
    add.extend(values("set", &spec.set, false, findings));
    let add_absent = values("addIfAbsent", &spec.add_if_absent, false, findings);
    let mut remove: Vec<Arc<str>> = Vec::new();
    for (i, name) in spec.remove.iter().enumerate() {
        if name.is_empty() {
            findings.add(&format!("{field}.remove[{i}]"), "a header has a name");
        } else if !remove.iter().any(|there| there.eq_ignore_ascii_case(name)) {
            remove.push(name.as_str().into());
        }
    }
    let like = spec.remove_on_match.iter().enumerate().filter_map(|(i, matched)| {
        text_match(&format!("{field}.removeOnMatch[{i}]"), (matched.type_, &matched.value), findings)
    });
    let edits = HeaderEdits {
        remove_like: like.collect(),
        add: add.into(),
        add_absent: add_absent.into(),
        remove: remove.into(),
    };
    if edits.is_empty() {
        findings.add(field, "it changes nothing; name headers to set, add or remove");
    }
    edits
}

/// Why Envoy cannot take a header.
fn refused(name: &str, value: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a header has a name".to_owned());
    }
    if name.contains(['/', ':']) {
        return Some(format!("a header cannot be called {name:?}: '/' and ':' are not allowed"));
    }
    (!is_value(value))
        .then(|| format!("the value of header {name} has characters or blanks that headers cannot have"))
}

/// True for visible characters of ASCII with single blanks between (RFC 7230 §3.2).
fn is_value(value: &str) -> bool {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let bytes = value.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_graphic)
        && bytes.last().is_some_and(u8::is_ascii_graphic)
        && bytes.iter().all(|byte| byte.is_ascii_graphic() || blank(byte))
        && !bytes.windows(2).any(|pair| pair.iter().all(blank))
}

#[cfg(test)]
mod tests {
    use super::is_value;

    #[test]
    fn values_are_visible_characters_with_single_blanks() {
        for value in ["a", "a b", "a\tb c", "%REQ(X)%", "\"q\""] {
            assert!(is_value(value), "{value:?}");
        }
        for value in ["", " a", "a ", "a  b", "a\n", "a\u{7f}", "ä"] {
            assert!(!is_value(value), "{value:?}");
        }
    }
}
