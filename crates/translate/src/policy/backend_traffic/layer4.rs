//! What policies say of connections and datagrams. Unlike requests, for which one policy applies as a whole, these get
//! from broader policies what narrower ones leave unsaid, as with Envoy Gateway.

use std::sync::Arc;

use ir::traffic::{ClusterTraffic, HashKey};
use store::ObjectId;

use super::{KIND, Traffic};
use crate::{
    AttachListener, Reader,
    policy::{Applied, Policies},
};

/// What policies say of a cluster, the most specific policy first.
pub(super) fn merged(layers: &[Applied<'_>], datagrams: bool) -> ClusterTraffic {
    let mut out = ClusterTraffic::default();
    let (mut timed, mut checked) = (false, false);
    for (layer, traffic) in traffic(layers) {
        let said = &traffic.cluster;
        set(&mut out.load_balancer, &said.load_balancer);
        set(&mut out.dns, &said.dns);
        set(&mut out.routing, &said.routing);
        if datagrams {
            continue;
        }
        set(&mut out.proxy_protocol, &said.proxy_protocol);
        set(&mut out.tcp_keepalive, &said.tcp_keepalive);
        set(&mut out.circuit_breaker, &said.circuit_breaker);
        // Times are one setting, and so are checks.
        let times = [said.connect_timeout, said.idle_timeout, said.max_connection_duration];
        if !timed && times.iter().any(Option::is_some) {
            [out.connect_timeout, out.idle_timeout, out.max_connection_duration] = times;
            timed = true;
        }
        let checks =
            said.active_health.is_some() || said.passive_health.is_some() || said.panic_threshold.is_some();
        if !checked && checks {
            out.active_health.clone_from(&said.active_health);
            out.passive_health.clone_from(&said.passive_health);
            out.panic_threshold = said.panic_threshold;
            checked = true;
        }
        if layer.of_route {
            out.buffer_limit = out.buffer_limit.or(said.buffer_limit);
            out.preconnect_per_endpoint = out.preconnect_per_endpoint.or(said.preconnect_per_endpoint);
            out.preconnect_predictive = out.preconnect_predictive.or(said.preconnect_predictive);
        }
    }
    out
}

fn set<T: Clone>(setting: &mut Option<T>, said: &Option<T>) {
    if setting.is_none() {
        setting.clone_from(said);
    }
}

fn traffic<'a>(layers: &[Applied<'a>]) -> impl Iterator<Item = (Applied<'a>, &'a Traffic)> {
    let usable = layers.iter().filter(|layer| layer.version.findings.is_empty());
    usable.filter_map(|layer| Some((*layer, layer.version.get::<Traffic>()?)))
}

/// What a filter chain of a route has of policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainTraffic {
    /// Name of the route in statistics.
    pub stat_name: Option<Arc<str>>,
    /// Endpoints are chosen by the hash of the client's address.
    pub by_source: bool,
}

/// What a filter chain of a route on a listener has of policies. `rule` is the name of the route's rule.
pub fn of_chain(
    (route, rule): (ObjectId, Option<&str>),
    listener: &AttachListener,
    reader: &mut Reader<'_>,
    policies: Policies<'_>,
) -> ChainTraffic {
    let object = reader.object(route);
    let layers = policies.all_of_rule(KIND, (route, rule), listener, reader);
    let mut balanced = false;
    let mut out = ChainTraffic::default();
    for (_, traffic) in traffic(&layers) {
        if out.stat_name.is_none() {
            out.stat_name = traffic.route.stat_name(&object, rule);
        }
        if !balanced && traffic.cluster.load_balancer.is_some() {
            out.by_source = traffic.route.hash == Some(HashKey::SourceIp);
            balanced = true;
        }
    }
    out
}
