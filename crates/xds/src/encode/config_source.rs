//! Where Envoy gets what a resource names: always from the one aggregated stream that the resource came by.

use envoy_api::core::{
    AggregatedConfigSource, ApiVersion, ConfigSource, config_source::ConfigSourceSpecifier,
};

/// ADS without a limit on the wait for the first answer (`initial_fetch_timeout` 0): for RDS and SDS, where the
/// alternative would be a listener that answers before it knows its routes.
pub(super) fn ads_without_timeout() -> ConfigSource {
    ConfigSource { initial_fetch_timeout: Some(Default::default()), ..ads() }
}

/// ADS with Envoy's default limit of 15 s: for EDS, so that a cluster without endpoints does not hold back the others.
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}
