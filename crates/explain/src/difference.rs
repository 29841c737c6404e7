//! What two translations do differently, by host and route: not how manifests or resources are written.

use std::collections::{BTreeMap, BTreeSet};

use envoy_api::{
    listener::{FilterChain, Listener},
    route::{Route, RouteConfiguration, VirtualHost, route, route_action::ClusterSpecifier},
};
use pipeline::Pipeline;
use serde::Serialize;

use crate::{backends, chain, config::Config, connection, matching, origin::Origins, rewrite, settings};

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The Gateway, as `namespace/name`.
    pub gateway: String,
    /// Where on it: port, and server name or listener.
    pub listener: String,
    /// The host; empty for what concerns the listener as a whole.
    pub host: String,
    /// What requests have to be; empty for what concerns the host as a whole.
    pub requests: String,
    /// What became of them before, and who said so; `None` for what is new.
    pub old: Option<String>,
    /// What becomes of them now, and who says so; `None` for what is gone.
    pub new: Option<String>,
}

/// Where something happens: Gateway, listener, host, requests.
type Place = (String, String, String, String);

/// What two pipelines do differently, in the order of places.
pub fn difference(old: &Pipeline, new: &Pipeline) -> Vec<Change> {
    let (old, new) = (behaviour(old), behaviour(new));
    let places: BTreeSet<&Place> = old.keys().chain(new.keys()).collect();
    let changed = places.into_iter().filter(|place| old.get(*place) != new.get(*place));
    let change = |place: &Place| {
        let (gateway, listener, host, requests) = place.clone();
        Change {
            gateway,
            listener,
            host,
            requests,
            old: old.get(place).cloned(),
            new: new.get(place).cloned(),
        }
    };
    changed.map(change).collect()
}

/// Everything that the proxies of a pipeline do.
fn behaviour(pipeline: &Pipeline) -> BTreeMap<Place, String> {
    let mut all = BTreeMap::new();
    for (gateway, fleet) in pipeline.fleets() {
        let config = Config::new(fleet);
        for socket in &fleet.spec.sockets {
            let Some(listener) = config.listener(&socket.name) else { continue };
            of_listener(pipeline, (gateway, &config), (socket.port, &listener), &mut all);
        }
    }
    all
}

fn of_listener(
    pipeline: &Pipeline,
    (gateway, config): (&str, &Config<'_>),
    (port, listener): (u16, &Listener),
    all: &mut BTreeMap<Place, String>,
) {
    for filter_chain in listener.filter_chains.iter().chain(&listener.default_filter_chain) {
        let names = server_names(filter_chain);
        let place = match names {
            [] => format!("port {port}"),
            names => format!("port {port} server name {}", names.join(", ")),
        };
        let tls = match chain::tls_context(filter_chain) {
            None => "no TLS".to_owned(),
            Some(tls) => {
                let common = tls.common_tls_context.unwrap_or_default();
                let certificates: Vec<&str> =
                    common.tls_certificate_sds_secret_configs.iter().map(|secret| &*secret.name).collect();
                format!("TLS with {}, ALPN {}", certificates.join(", "), common.alpn_protocols.join(", "))
            }
        };
        let manager = chain::network_filter::<envoy_api::hcm::HttpConnectionManager>(filter_chain);
        let whole = |text: String| ((gateway.to_owned(), place.clone(), String::new(), String::new()), text);
        let Some(table) = manager.and_then(|manager| config.table(&manager)) else {
            let proxy = chain::network_filter::<envoy_api::tcp_proxy::TcpProxy>(filter_chain);
            let targets = proxy.map(|proxy| connection::targets(&proxy)).unwrap_or_default();
            let targets: Vec<String> = (targets.into_iter())
                .map(|(name, percent)| format!("{} {}", share(percent), cluster(config, &name)))
                .collect();
            all.extend([whole(format!("{tls}; connections go to {}", targets.join(", ")))]);
            continue;
        };
        all.extend([whole(format!("{tls}; HTTP"))]);
        for virtual_host in &table.virtual_hosts {
            let origins = Origins::of(pipeline, &virtual_host.name);
            for domain in &virtual_host.domains {
                of_host(config, (&table, virtual_host), &origins, &mut |requests, does| {
                    let place = (gateway.to_owned(), place.clone(), domain.clone(), requests);
                    // Of two routes for the same requests the first has them.
                    all.entry(place).or_insert(does);
                });
            }
        }
    }
}

fn server_names(chain: &FilterChain) -> &[String] {
    chain.filter_chain_match.as_ref().map_or(&[], |matched| &matched.server_names)
}

fn of_host(
    config: &Config<'_>,
    (table, host): (&RouteConfiguration, &VirtualHost),
    origins: &Origins<'_>,
    tell: &mut dyn FnMut(String, String),
) {
    for route in &host.routes {
        let requests = route.r#match.as_ref().map(matching::words).unwrap_or_default();
        let mut does = vec![action(config, (table, host, route))];
        let settings = origins.sources(route).map(|sources| settings::of_route(config, route, &sources));
        let settings = settings.into_iter().flatten();
        does.extend(settings.map(|setting| format!("{} {}", setting.name, setting.value)));
        does.extend(route.typed_per_filter_config.keys().map(|filter| format!("filter {filter}")));
        does[1..].sort();
        let told = origins.route(route);
        tell(requests, format!("{} [{} {}]", does.join("; "), told.object, told.field));
    }
}

/// What a route does with requests.
fn action(config: &Config<'_>, (_, _, message): (&RouteConfiguration, &VirtualHost, &Route)) -> String {
    match &message.action {
        Some(route::Action::DirectResponse(answer)) => format!("answered with {}", answer.status),
        Some(route::Action::Redirect(redirect)) => rewrite::redirect_in_words(redirect),
        Some(route::Action::Route(action)) => match &action.cluster_specifier {
            Some(ClusterSpecifier::Cluster(name)) => format!("to {}", cluster(config, name)),
            Some(ClusterSpecifier::WeightedClusters(targets)) => {
                let weight = |weight: Option<envoy_api::well_known::UInt32Value>| {
                    f64::from(weight.map_or(0, |weight| weight.value))
                };
                let total: f64 = targets.clusters.iter().map(|target| weight(target.weight)).sum();
                let parts = targets.clusters.iter().map(|target| {
                    format!(
                        "{} {}",
                        share(weight(target.weight) / total * 100.0),
                        cluster(config, &target.name)
                    )
                });
                format!("to {}", parts.collect::<Vec<_>>().join(", "))
            }
            _ => "to a cluster that an extension chooses".to_owned(),
        },
        Some(_) | None => "nothing that is known here".to_owned(),
    }
}

/// Backends of a cluster with their shares: its name does not count.
fn cluster(config: &Config<'_>, name: &str) -> String {
    let Ok(upstream) = backends::upstream(config, name, 100.0) else {
        return "no backend that can be reached".to_owned();
    };
    if upstream.backends.is_empty() {
        return format!("the {}", upstream.discovery);
    }
    let parts = upstream.backends.iter().filter(|backend| backend.percent > 0.0).map(|backend| {
        if backend.percent == 100.0 {
            backend.object.clone()
        } else {
            format!("{} {}", share(backend.percent), backend.object)
        }
    });
    parts.collect::<Vec<_>>().join(" + ")
}

fn share(percent: f64) -> String {
    format!("{}%", (percent * 100.0).round() / 100.0)
}
