//! What is supported of Gateway API, as GatewayClasses tell it.

/// The features, one a line, among other lines that have a space in them. The conformance suite is run for the same
/// list, so what is claimed is what is tested.
const LIST: &str = include_str!("../../../e2e/conformance/features.txt");

/// Names of the features that are supported, ascending (`GatewayClassStatus.supportedFeatures`).
pub(crate) fn supported() -> Vec<&'static str> {
    let mut names: Vec<&str> =
        LIST.lines().filter(|line| !line.is_empty() && !line.contains([' ', '#'])).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_features_are_claimed() {
        let names = supported();
        assert!(names.is_sorted() && names.contains(&"HTTPRouteCORS"), "{names:?}");
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_alphanumeric())), "{names:?}");
        // The list of a status holds 64 at most.
        assert!(names.len() <= 64);
    }
}
