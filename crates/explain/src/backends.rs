//! Clusters, their backends and endpoints, with the shares of requests that each gets.

use envoy_api::{
    cluster::{Cluster, cluster::ClusterDiscoveryType},
    core::HealthStatus,
    endpoint::{LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier},
    least_request::LeastRequest,
    load_balancing::{LocalityLbConfig, locality_lb_config::LocalityConfigSpecifier},
    maglev::Maglev,
    random::Random,
    round_robin::RoundRobin,
    unpack,
    well_known::Any,
    wrr_locality::WrrLocality,
};

use crate::{
    Backend, Endpoint, Upstream,
    config::{self, Config},
};

/// Share of healthy endpoints in percent below which Envoy uses all, unless a cluster says otherwise.
const PANIC_THRESHOLD: f64 = 50.0;
/// A locality keeps its whole weight as long as this many times its healthy share reaches one (Envoy's overprovisioning
/// factor, 140 %).
const OVERPROVISIONING: f64 = 1.4;
/// A dynamic forward proxy, whose endpoints are the hosts of requests.
const BY_HOST: &str = "envoy.clusters.dynamic_forward_proxy";

/// A cluster as the target of requests. `Err` when no endpoint can take any, with the reason.
pub(crate) fn upstream(config: &Config<'_>, name: &str, percent: f64) -> Result<Upstream, String> {
    let Some(cluster) = config.cluster(name) else {
        return Err(format!("the proxy has no cluster {name}"));
    };
    let discovery = match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::ClusterType(custom)) if custom.name == BY_HOST => "host of the request",
        Some(ClusterDiscoveryType::ClusterType(_)) => "DNS",
        Some(ClusterDiscoveryType::Type(kind))
            if *kind == envoy_api::cluster::cluster::DiscoveryType::Eds as i32 =>
        {
            "EDS"
        }
        _ => "as written",
    };
    let mut upstream = Upstream {
        cluster: name.to_owned(),
        percent,
        discovery: discovery.to_owned(),
        ..Upstream::default()
    };
    if discovery == "host of the request" {
        return Ok(upstream);
    }
    let localities = config.endpoints(&cluster).map(|endpoints| endpoints.endpoints).unwrap_or_default();
    upstream.backends = backends(&cluster, &localities);
    if upstream.backends.iter().all(|backend| backend.endpoints.is_empty()) {
        let names: Vec<&str> = upstream.backends.iter().map(|backend| &*backend.object).collect();
        return Err(match &names[..] {
            [] => format!("cluster {name} has no endpoints"),
            names => format!("cluster {name} has no endpoints: {}", names.join(", ")),
        });
    }
    Ok(upstream)
}

/// Endpoints of a locality: all, and those that get new requests.
struct Counted<'a> {
    locality: &'a LocalityLbEndpoints,
    all: usize,
    live: usize,
}

fn backends(cluster: &Cluster, localities: &[LocalityLbEndpoints]) -> Vec<Backend> {
    let counted: Vec<Counted<'_>> = localities
        .iter()
        .map(|locality| Counted {
            locality,
            all: locality.lb_endpoints.len(),
            live: locality.lb_endpoints.iter().filter(|endpoint| !is_draining(endpoint)).count(),
        })
        .collect();
    let priorities = |wanted: fn(&Counted<'_>) -> bool| {
        counted.iter().filter(|c| wanted(c)).map(|c| c.locality.priority).min()
    };
    // Without a live endpoint anywhere, those that drain are used all the same.
    let priority = priorities(|c| c.live > 0).or_else(|| priorities(|c| c.all > 0)).unwrap_or(0);
    let mut used = counted.iter().filter(|c| c.locality.priority == priority);
    let (all, live) = used.by_ref().fold((0, 0), |(all, live), c| (all + c.all, live + c.live));
    let panics = all > 0 && (live as f64 / all as f64 * 100.0) < panic_threshold(cluster);
    let weighted = is_weighted(cluster) && !panics;
    let share = |c: &Counted<'_>| -> f64 {
        if c.locality.priority != priority || c.all == 0 {
            return 0.0;
        }
        match (weighted, panics) {
            (true, _) => {
                let weight = c.locality.load_balancing_weight.map_or(0, |weight| weight.value);
                f64::from(weight) * (OVERPROVISIONING * c.live as f64 / c.all as f64).min(1.0)
            }
            (false, true) => c.all as f64,
            (false, false) => c.live as f64,
        }
    };
    let total: f64 = counted.iter().map(share).sum();
    let backends = counted.iter().map(|c| Backend {
        object: object(c.locality),
        percent: if total > 0.0 { share(c) / total * 100.0 } else { 0.0 },
        priority: c.locality.priority,
        endpoints: c.locality.lb_endpoints.iter().map(endpoint).collect(),
        tls: Vec::new(),
    });
    backends.collect()
}

/// The backend that a locality stands for.
fn object(locality: &LocalityLbEndpoints) -> String {
    let place = locality.locality.as_ref();
    let zone = place.map(|place| &*place.zone).filter(|zone| !zone.is_empty());
    let named = match config::metadata(locality.metadata.as_ref()) {
        Some(named) => match &named.section {
            Some(port) => format!("{} port {port}", named.object()),
            None => named.object(),
        },
        None => place.map(|place| place.region.clone()).unwrap_or_default(),
    };
    zone.map_or_else(|| named.clone(), |zone| format!("{named} zone {zone}"))
}

fn endpoint(endpoint: &LbEndpoint) -> Endpoint {
    let address = match &endpoint.host_identifier {
        Some(HostIdentifier::Endpoint(own)) => config::address(own.address.as_ref()),
        Some(HostIdentifier::EndpointName(name)) => name.clone(),
        None => String::new(),
    };
    Endpoint { address, draining: is_draining(endpoint) }
}

fn is_draining(endpoint: &LbEndpoint) -> bool {
    let bad = [HealthStatus::Draining, HealthStatus::Unhealthy, HealthStatus::Timeout];
    bad.iter().any(|status| endpoint.health_status == *status as i32)
}

fn panic_threshold(cluster: &Cluster) -> f64 {
    let common = cluster.common_lb_config.as_ref();
    common.and_then(|common| common.healthy_panic_threshold.as_ref()).map_or(PANIC_THRESHOLD, |p| p.value)
}

/// Whether requests are spread over localities by their weights; else over endpoints.
fn is_weighted(cluster: &Cluster) -> bool {
    let policies = cluster.load_balancing_policy.iter().flat_map(|policy| policy.policies.iter());
    let mut configs =
        policies.filter_map(|policy| policy.typed_extension_config.as_ref()?.typed_config.as_ref());
    configs.any(|any| {
        let by_locality = |config: Option<LocalityLbConfig>| {
            config.is_some_and(|config| {
                matches!(
                    config.locality_config_specifier,
                    Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))
                )
            })
        };
        by_locality(of::<LeastRequest>(any).and_then(|policy| policy.locality_lb_config))
            || by_locality(of::<RoundRobin>(any).and_then(|policy| policy.locality_lb_config))
            || by_locality(of::<Random>(any).and_then(|policy| policy.locality_lb_config))
            || of::<Maglev>(any).is_some_and(|policy| policy.locality_weighted_lb_config.is_some())
            || of::<WrrLocality>(any).is_some()
    })
}

fn of<M: prost::Name + Default>(any: &Any) -> Option<M> {
    unpack::<M>(any).ok().flatten()
}
