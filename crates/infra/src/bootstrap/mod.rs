//! Envoy's bootstrap configuration for Pods, with the changes that users make to it.

mod base;
mod portable;
pub(crate) mod stats;
pub(crate) mod user;

use envoy_api::bootstrap::Bootstrap;
use serde_json::Value;

use crate::{RenderError, access, metadata::Fleet, quantity};

/// Share of the memory limit, in percent, that Envoy's heap may take; the rest is for stacks and code.
const HEAP_SHARE_OF_LIMIT: u64 = 80;

/// A bootstrap that a user has changed, for Envoy itself to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// As it is without the change.
    pub base: Value,
    /// As proxies would get it.
    pub changed: Value,
    /// Files that it names and every Pod has. What is in them matters when Envoy runs.
    pub mounted: Vec<String>,
}

/// What a user's change makes of the configuration of a fleet. `None` where an Envoy elsewhere cannot judge it, or must
/// not be asked, and where no Envoy need be asked to see that it cannot be used.
pub(crate) fn draft(fleet: &Fleet<'_>) -> Option<Draft> {
    let change = fleet.parameters.spec.bootstrap.as_ref()?;
    let container = fleet.parameters.workload().container;
    if container.is_some_and(|container| container.image.is_some() || container.image_repository.is_some()) {
        return None;
    }
    let base = base::bootstrap(fleet);
    let changed = user::changed(&base, change).ok()?;
    let mounted = [access::TRUSTED_CA_FILE, access::CERTIFICATE_FILE, access::TOKEN_FILE]
        .map(|file| format!("{}/{file}", access::SDS));
    portable::is_portable(&base, &changed).then(|| Draft { base, changed, mounted: mounted.into() })
}

/// The configuration of a fleet, as one line of JSON.
///
/// # Errors
///
/// When a user's change does not apply, or takes away what proxies need to reach the control plane.
pub(crate) fn build(fleet: &Fleet<'_>) -> Result<String, RenderError> {
    let base = base::bootstrap(fleet);
    let value = match &fleet.parameters.spec.bootstrap {
        None => base,
        Some(bootstrap) => {
            user::changed(&base, bootstrap).map_err(|message| RenderError::new("spec.bootstrap", message))?
        }
    };
    Ok(value.to_string())
}

/// Whether two bootstraps mean the same to Envoy, whatever their format: then proxies that run with one need not be
/// replaced by proxies with the other. False when one of them cannot be read.
///
/// The order of clusters means nothing, and how the tags that every bootstrap has are cut out of the names of
/// statistics differs between versions and from Envoy Gateway without any effect on traffic.
pub fn same(a: &str, b: &str) -> bool {
    match (user::parse_text(a), user::parse_text(b)) {
        (Ok(a), Ok(b)) => essence(a) == essence(b),
        _ => false,
    }
}

fn essence(mut bootstrap: Bootstrap) -> Bootstrap {
    if let Some(resources) = &mut bootstrap.static_resources {
        resources.clusters.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let tags = bootstrap.stats_config.iter_mut().flat_map(|config| &mut config.stats_tags);
    for tag in tags.filter(|tag| ::bootstrap::STATS_TAGS.iter().any(|(name, _)| *name == tag.tag_name)) {
        tag.tag_value = None;
    }
    bootstrap
}

/// Bytes of heap that Envoy may use: a share of the container's memory limit; `None` without a limit.
fn heap_limit(fleet: &Fleet<'_>) -> Option<u64> {
    let resources = fleet.parameters.workload().container?.resources.as_ref()?.as_value();
    let limit = quantity::bytes(resources.get("limits").and_then(|limits: &Value| limits.get("memory"))?)?;
    Some(u64::try_from(u128::from(limit) * u128::from(HEAP_SHARE_OF_LIMIT) / 100).unwrap_or(u64::MAX))
}
