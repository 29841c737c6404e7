//! Load balancing policies.

use envoy_api::{
    any,
    client_side_weighted_round_robin::ClientSideWeightedRoundRobin,
    cluster::{LoadBalancingPolicy, load_balancing_policy::Policy},
    core::TypedExtensionConfig,
    duration,
    least_request::LeastRequest,
    load_balancing::{
        LocalityLbConfig, OrcaOobReportingConfig, SlowStartConfig,
        locality_lb_config::{
            LocalityConfigSpecifier, LocalityWeightedLbConfig, ZoneAwareLbConfig,
            zone_aware_lb_config::ForceLocalZone,
        },
    },
    maglev::Maglev,
    override_host::{OverrideHost, override_host::OverrideHostSource},
    random::Random,
    round_robin::RoundRobin,
    types::Percent,
    well_known::{Any, boolean, float, uint32, uint64},
    wrr_locality::WrrLocality,
};
use ir::{
    cluster::Zones,
    traffic::{Balancing, LoadBalancer, Utilization, ZonePreference},
};

const LEAST_REQUEST: &str = "envoy.load_balancing_policies.least_request";
const ROUND_ROBIN: &str = "envoy.load_balancing_policies.round_robin";
const RANDOM: &str = "envoy.load_balancing_policies.random";
const MAGLEV: &str = "envoy.load_balancing_policies.maglev";
const UTILIZATION: &str = "envoy.load_balancing_policies.client_side_weighted_round_robin";

/// One load balancing policy.
pub(super) fn policy(name: &str, config: Any) -> LoadBalancingPolicy {
    LoadBalancingPolicy {
        policies: vec![Policy {
            typed_extension_config: Some(TypedExtensionConfig {
                name: name.to_owned(),
                typed_config: Some(config),
            }),
        }],
    }
}

/// The balancer of clusters for which no policy has one: fewest requests in flight.
pub(super) fn least_request(zones: Zones) -> LoadBalancingPolicy {
    let config = LeastRequest { locality_lb_config: Some(localities(zones)), ..Default::default() };
    policy(LEAST_REQUEST, any(&config))
}

/// The balancer that a policy asks for; `zones` is what the backends ask for.
pub(super) fn of_policy(balancer: &LoadBalancer, zones: Zones) -> LoadBalancingPolicy {
    if !balancer.override_headers.is_empty() {
        return overridden(balancer);
    }
    let weighted = matches!(balancer.zones, ZonePreference::Weighted(_));
    let locality_lb_config = Some(match &balancer.zones {
        ZonePreference::Local { min_cluster_size, percentage, force_local_min_size } => {
            local(*min_cluster_size, *percentage, *force_local_min_size)
        }
        ZonePreference::Weighted(_) => weighted_localities(),
        ZonePreference::Unset => localities(zones),
    });
    let slow_start_config = balancer.slow_start.map(slow_start);
    match &balancer.rule {
        Balancing::LeastRequest => policy(
            LEAST_REQUEST,
            any(&LeastRequest { locality_lb_config, slow_start_config, ..Default::default() }),
        ),
        Balancing::RoundRobin => {
            policy(ROUND_ROBIN, any(&RoundRobin { locality_lb_config, slow_start_config }))
        }
        Balancing::Random => policy(RANDOM, any(&Random { locality_lb_config })),
        Balancing::ConsistentHash { table_size, .. } => policy(
            MAGLEV,
            any(&Maglev {
                table_size: uint64(*table_size),
                locality_weighted_lb_config: weighted.then(LocalityWeightedLbConfig::default),
                ..Default::default()
            }),
        ),
        Balancing::Utilization(utilization) => by_utilization(utilization, balancer, weighted),
    }
}

/// Requests name their endpoint; where they do not, the balancer decides, without settings of its own unless it goes by
/// reports.
fn overridden(balancer: &LoadBalancer) -> LoadBalancingPolicy {
    let fallback = match &balancer.rule {
        Balancing::LeastRequest => policy(LEAST_REQUEST, any(&LeastRequest::default())),
        Balancing::RoundRobin => policy(ROUND_ROBIN, any(&RoundRobin::default())),
        Balancing::Random => policy(RANDOM, any(&Random::default())),
        Balancing::ConsistentHash { .. } => policy(MAGLEV, any(&Maglev::default())),
        Balancing::Utilization(utilization) => {
            by_utilization(utilization, balancer, matches!(balancer.zones, ZonePreference::Weighted(_)))
        }
    };
    let sources = balancer.override_headers.iter();
    let config = OverrideHost {
        override_host_sources: sources
            .map(|header| OverrideHostSource { header: header.to_string(), ..Default::default() })
            .collect(),
        fallback_policy: Some(fallback),
        ..Default::default()
    };
    policy("envoy.load_balancing_policies.override_host", any(&config))
}

fn by_utilization(spec: &Utilization, balancer: &LoadBalancer, weighted: bool) -> LoadBalancingPolicy {
    let reports = spec.out_of_band.as_ref();
    let config = ClientSideWeightedRoundRobin {
        enable_oob_load_report: reports.and_then(|_| boolean(true)),
        oob_reporting_period: reports.and_then(|reports| reports.period).map(duration),
        blackout_period: spec.blackout.map(duration),
        weight_expiration_period: spec.expiration.map(duration),
        weight_update_period: spec.update.map(duration),
        error_utilization_penalty: spec.error_penalty.and_then(|percent| float(percent as f32 / 100.0)),
        metric_names_for_computing_utilization: spec.metrics.iter().map(|name| name.to_string()).collect(),
        slow_start_config: balancer.slow_start.filter(|window| !window.is_zero()).map(slow_start),
        oob_reporting_config: reports
            .filter(|reports| reports.port.is_some() || reports.authority.is_some())
            .map(|reports| OrcaOobReportingConfig {
                port_value: reports.port.map(u32::from).unwrap_or_default(),
                authority: reports.authority.as_deref().unwrap_or_default().to_owned(),
                ..Default::default()
            }),
    };
    let picking = policy(UTILIZATION, any(&config));
    if !weighted {
        return picking;
    }
    // The policy itself knows no localities.
    let config = WrrLocality { endpoint_picking_policy: Some(picking) };
    policy("envoy.load_balancing_policies.wrr_locality", any(&config))
}

fn slow_start(window: std::time::Duration) -> SlowStartConfig {
    SlowStartConfig { slow_start_window: Some(duration(window)), ..Default::default() }
}

fn localities(zones: Zones) -> LocalityLbConfig {
    match zones {
        Zones::LocalityWeighted => weighted_localities(),
        Zones::ZoneAware { min_cluster_size, force_local_min_size } => {
            local(u64::from(min_cluster_size), None, force_local_min_size)
        }
    }
}

fn weighted_localities() -> LocalityLbConfig {
    let weighted = LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {});
    LocalityLbConfig { locality_config_specifier: Some(weighted) }
}

fn local(
    min_cluster_size: u64,
    percentage: Option<u32>,
    force_local_min_size: Option<u32>,
) -> LocalityLbConfig {
    let aware = ZoneAwareLbConfig {
        routing_enabled: percentage.map(|percent| Percent { value: f64::from(percent) }),
        min_cluster_size: uint64(min_cluster_size),
        force_local_zone: force_local_min_size.map(|size| ForceLocalZone { min_size: uint32(size) }),
        ..Default::default()
    };
    LocalityLbConfig { locality_config_specifier: Some(LocalityConfigSpecifier::ZoneAwareLbConfig(aware)) }
}
