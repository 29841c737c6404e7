//! Bootstraps of proxies that Envoy itself was asked about.

use ir::{Problem, Severity, infra::Wish};

/// The field of an EnvoyProxy that changes bootstraps.
const FIELD: &str = "spec.bootstrap";
/// Reason of the problem of who changes a bootstrap so that Envoy refuses it.
pub(crate) const REASON: &str = "BootstrapRefused";

/// Envoy's words about the bootstrap of a fleet as a problem of the EnvoyProxy that changes it; of the Gateway or
/// GatewayClass where the configuration file does.
pub fn refused_bootstrap(wish: &Wish, words: &str) -> Problem {
    let (object, field) = match &wish.bootstrap_of {
        Some(proxy) => (proxy, FIELD),
        None => (&wish.owner.identity().object, ""),
    };
    Problem {
        object: object.into(),
        field: field.to_owned(),
        severity: Severity::Error,
        condition: "Accepted".to_owned(),
        reason: REASON.to_owned(),
        message: sentence(words),
    }
}

/// What stands against parameters whose bootstrap Envoy refuses: a sentence with Envoy's words.
pub fn against_bootstrap(words: &str) -> String {
    format!("{FIELD}: {}", sentence(words))
}

fn sentence(words: &str) -> String {
    format!("Envoy refuses the bootstrap with this change: {words}")
}
