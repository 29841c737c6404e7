//! Paths of fields.

/// The numbers in brackets of a path: 1 and 2 for `spec.rules[1].backendRefs[2]`.
pub(crate) fn indexes(path: &str) -> Vec<usize> {
    let parts = path.split('[').skip(1);
    parts.filter_map(|part| part.split_once(']')?.0.parse().ok()).collect()
}
