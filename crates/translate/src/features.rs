//! What is supported of Gateway API, as GatewayClasses tell it.

use ir::infra::DeployMode;
use store::{Infrastructure, Settings};

/// The features, one a line. The conformance suite is run for the same list, so what is claimed is what is tested.
const LIST: &str = include_str!("../../../e2e/conformance/features.txt");

/// Names of the features that are supported with these settings, ascending (`GatewayClassStatus.supportedFeatures`).
pub(crate) fn supported(settings: &Settings) -> Vec<&'static str> {
    let in_gateway_namespace = settings.infrastructure == Infrastructure::Kubernetes
        && settings.installation.mode == DeployMode::GatewayNamespace;
    let lines = LIST.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut names: Vec<&str> = lines
        .filter_map(|line| match line.split_once('#') {
            // Supported in one mode alone.
            Some((name, mode)) => {
                (mode.trim() == "GatewayNamespace" && in_gateway_namespace).then_some(name.trim())
            }
            None => Some(line.trim()),
        })
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn features_of_one_mode_are_left_out_in_the_other() {
        let mut settings = Settings::default();
        let names = supported(&settings);
        assert!(names.is_sorted() && names.contains(&"HTTPRouteCORS"), "{names:?}");
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_alphanumeric())), "{names:?}");
        // The list of a status holds 64 at most.
        assert!(names.len() <= 64);
        assert!(!names.contains(&"GatewayInfrastructurePropagation"));
        let mut installation = ir::infra::Installation::clone(&settings.installation);
        installation.mode = DeployMode::GatewayNamespace;
        settings.installation = Arc::new(installation);
        assert!(supported(&settings).contains(&"GatewayInfrastructurePropagation"));
    }
}
