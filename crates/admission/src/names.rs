//! Names that Kubernetes takes: DNS labels and subdomains, label keys and values.

/// Longest DNS label (RFC 1123 §2.1).
const LABEL: usize = 63;
/// Longest DNS name (RFC 1035 §2.3.4, less the dots of the wire form).
const SUBDOMAIN: usize = 253;

/// A DNS label: lower-case letters, digits and hyphens, with a letter or digit at both ends.
pub(crate) fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= LABEL
        && text.bytes().all(inner)
        && !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A DNS label that begins with a letter (RFC 1035), as names of Services must.
pub(crate) fn is_service_label(text: &str) -> bool {
    is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

/// DNS labels joined by dots. The labels may be longer than 63 characters, as Kubernetes lets them.
pub(crate) fn is_subdomain(text: &str) -> bool {
    let label = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    text.len() <= SUBDOMAIN && text.split('.').all(label)
}

/// Up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_simple_name(text: &str) -> bool {
    let outer = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LABEL
        && outer(bytes.first())
        && outer(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A key of a label or annotation: a simple name, perhaps behind a DNS name and `/`.
pub(crate) fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_simple_name(name),
        None => is_simple_name(text),
    }
}

/// The value of a label.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_simple_name(text)
}

/// A key of a ConfigMap or Secret: letters, digits, `-`, `_` and `.`.
pub(crate) fn is_data_key(text: &str) -> bool {
    (1..=SUBDOMAIN).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && text != "."
        && !text.starts_with("..")
}
