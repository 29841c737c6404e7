//! Load balancers.

use std::sync::Arc;

use api::clustersettings::{
    ConsistentHash, ConsistentHashType, HashedName, LoadBalancer as Spec, LoadBalancerType,
};
use ir::traffic::{Balancing, HashKey, LoadBalancer, OutOfBand, Utilization, ZonePreference};

use super::{Findings, span};

/// Endpoints in all zones below which zones do not count.
const MIN_ENDPOINTS: u64 = 6;
/// Endpoints in the own zone below which it does not take all requests.
const MIN_ENDPOINTS_IN_ZONE: u32 = 1;

/// Reads a load balancer; `None` for one that proxies do not have.
pub(super) fn read(spec: &Spec, findings: &mut Findings) -> Option<LoadBalancer> {
    let rule = match spec.type_ {
        LoadBalancerType::LeastRequest => Balancing::LeastRequest,
        LoadBalancerType::RoundRobin => Balancing::RoundRobin,
        LoadBalancerType::Random => Balancing::Random,
        LoadBalancerType::ConsistentHash => table(spec.consistent_hash.as_ref()?, findings)?,
        LoadBalancerType::BackendUtilization => Balancing::Utilization(Box::new(utilization(spec))),
        LoadBalancerType::DynamicModule => return None,
    };
    let zones = spec.zone_aware.as_ref();
    let local = zones.and_then(|zones| zones.prefer_local.as_ref());
    let weighted = zones.and_then(|zones| zones.weighted_zones.as_ref()).filter(|zones| !zones.is_empty());
    Some(LoadBalancer {
        rule,
        slow_start: span(spec.slow_start.as_ref().map(|start| &start.window)),
        override_headers: (spec.endpoint_override.iter().flat_map(|over| &over.extract_from))
            .map(|from| from.header.as_deref().unwrap_or_default().into())
            .collect(),
        zones: match (weighted, local) {
            (Some(zones), _) => ZonePreference::Weighted(
                zones.iter().map(|zone| (zone.zone.as_str().into(), zone.weight)).collect(),
            ),
            (None, Some(local)) => ZonePreference::Local {
                min_cluster_size: local.min_endpoints_threshold.unwrap_or(MIN_ENDPOINTS),
                percentage: local.percentage_enabled,
                force_local_min_size: (local.force.as_ref())
                    .map(|force| force.min_endpoints_in_zone_threshold.unwrap_or(MIN_ENDPOINTS_IN_ZONE)),
            },
            (None, None) => ZonePreference::Unset,
        },
    })
}

fn table(spec: &ConsistentHash, findings: &mut Findings) -> Option<Balancing> {
    if !is_prime(spec.table_size) {
        let message = format!("{} must be a prime number", spec.table_size);
        findings.add("spec.loadBalancer.consistentHash.tableSize", message);
        return None;
    }
    Some(Balancing::ConsistentHash { table_size: spec.table_size })
}

/// What a load balancer hashes; `None` for one that does not.
pub(super) fn hash(spec: &Spec) -> Option<HashKey> {
    let spec = spec.consistent_hash.as_ref().filter(|_| spec.type_ == LoadBalancerType::ConsistentHash)?;
    let names = |names: &[HashedName]| -> Box<[Arc<str>]> {
        names.iter().map(|named| named.name.as_str().into()).collect()
    };
    Some(match spec.type_ {
        ConsistentHashType::SourceIP => HashKey::SourceIp,
        ConsistentHashType::Header => HashKey::Headers(names(spec.header.as_slice())),
        ConsistentHashType::Headers => HashKey::Headers(names(&spec.headers)),
        ConsistentHashType::QueryParams => HashKey::QueryParams(names(&spec.query_params)),
        ConsistentHashType::Cookie => {
            let cookie = spec.cookie.as_ref()?;
            HashKey::Cookie {
                name: cookie.name.as_str().into(),
                ttl: span(cookie.ttl.as_ref()),
                attributes: (cookie.attributes.iter())
                    .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                    .collect(),
            }
        }
    })
}

/// Whether clients must not see in which headers endpoints report their load.
pub(super) fn hides_reports(spec: &Spec) -> bool {
    spec.type_ == LoadBalancerType::BackendUtilization
        && spec.backend_utilization.as_ref().is_none_or(|reports| !reports.keep_response_headers)
}

/// Whether a number is prime. The largest that is asked for is about five million, so at most 1,118 divisions follow.
fn is_prime(number: u64) -> bool {
    number >= 2 && (2..).take_while(|divisor| divisor * divisor <= number).all(|d| !number.is_multiple_of(d))
}

fn utilization(spec: &Spec) -> Utilization {
    let Some(spec) = &spec.backend_utilization else { return Utilization::default() };
    let positive = |text| span(text).filter(|span| !span.is_zero());
    Utilization {
        blackout: positive(spec.blackout_period.as_ref()),
        expiration: positive(spec.weight_expiration_period.as_ref()),
        update: positive(spec.weight_update_period.as_ref()),
        error_penalty: spec.error_utilization_penalty_percent,
        metrics: spec
            .metric_names_for_computing_utilization
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        out_of_band: spec.out_of_band.as_ref().map(|reports| OutOfBand {
            period: span(reports.reporting_period.as_ref()),
            port: reports.port.and_then(|port| u16::try_from(port).ok()),
            authority: reports.authority.as_deref().map(Into::into),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::is_prime;

    #[test]
    fn table_sizes_are_prime() {
        assert!([2, 3, 65_537, 5_000_011].into_iter().all(is_prime));
        assert!(![0, 1, 4, 9, 65_536, 5_000_010].into_iter().any(is_prime));
    }
}
