//! Resources as small as Envoy takes them.

use std::{sync::Arc, time};

use bytes::Bytes;
use envoy_api::{
    cluster::{Cluster, cluster},
    core::{
        Address, AggregatedConfigSource, ConfigSource, DataSource, SocketAddress, address, config_source,
        data_source, socket_address,
    },
    endpoint::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint},
    hcm::{HttpConnectionManager, HttpFilter, Rds, http_connection_manager, http_filter},
    listener::{Filter, FilterChain, Listener, filter},
    route::{
        Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action, route_match,
    },
    router::Router,
    tls::{GenericSecret, Secret, secret},
    well_known::Duration,
};
use ir::{
    Kind, ObjectRef,
    resource::{Fragment, Resource, ResourceType, ResourceUpdate, Version, Warming},
};
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

/// A word that [`super::Model`] refuses wherever it finds it, unless told otherwise.
pub const POISON: &str = "poison";

fn resource(kind: ResourceType, name: &str, head: Vec<u8>, fragments: Vec<Arc<Fragment>>) -> Resource {
    let mut hashes: Vec<u8> = xxh3_64(&head).to_le_bytes().to_vec();
    hashes.extend(fragments.iter().flat_map(|f| f.hash.to_le_bytes()));
    Resource {
        kind,
        name: name.into(),
        version: Version(xxh3_64(&hashes).max(1)),
        head: Bytes::from(head),
        fragments: fragments.into(),
        warming: Warming::Endpoints,
        first_check: time::Duration::ZERO,
        endpoints: None,
        secrets: Box::default(),
        clusters: Box::default(),
        owners: Box::new([ObjectRef::new(Kind::HttpRoute, "default", name)]),
    }
}

fn ads() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(
            AggregatedConfigSource::default(),
        )),
        resource_api_version: envoy_api::core::ApiVersion::V3 as i32,
        ..ConfigSource::default()
    }
}

fn socket(port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: "127.0.0.1".to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(u32::from(port))),
            ..SocketAddress::default()
        })),
    }
}

/// An EDS cluster whose endpoints have its own name; `edition` makes versions differ.
pub fn cluster(name: &str, edition: u32) -> Arc<Resource> {
    eds_cluster(name, edition, "")
}

/// The same, such that [`super::Model`] refuses it.
pub fn bad_cluster(name: &str, edition: u32) -> Arc<Resource> {
    eds_cluster(name, edition, POISON)
}

fn eds_cluster(name: &str, edition: u32, alt_stat_name: &str) -> Arc<Resource> {
    let message = Cluster {
        name: name.to_owned(),
        alt_stat_name: alt_stat_name.to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(cluster::EdsClusterConfig {
            eds_config: Some(ads()),
            service_name: name.to_owned(),
        }),
        connect_timeout: Some(Duration { seconds: 1 + i64::from(edition), nanos: 0 }),
        ..Cluster::default()
    };
    let mut cluster = resource(ResourceType::Cluster, name, message.encode_to_vec(), Vec::new());
    cluster.endpoints = Some(name.into());
    Arc::new(cluster)
}

/// The endpoint 127.0.0.1:`port` of a cluster.
pub fn endpoints(cluster: &str, port: u16) -> Arc<Resource> {
    let message = ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: vec![LbEndpoint {
                host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
                    address: Some(socket(port)),
                    ..Endpoint::default()
                })),
                ..LbEndpoint::default()
            }],
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    };
    Arc::new(resource(ResourceType::Endpoints, cluster, message.encode_to_vec(), Vec::new()))
}

/// A secret that holds its own name.
pub fn secret(name: &str) -> Arc<Resource> {
    let generic = GenericSecret {
        secret: Some(DataSource {
            specifier: Some(data_source::Specifier::InlineString(name.to_owned())),
            ..DataSource::default()
        }),
        ..GenericSecret::default()
    };
    let message = Secret { name: name.to_owned(), r#type: Some(secret::Type::GenericSecret(generic)) };
    Arc::new(resource(ResourceType::Secret, name, message.encode_to_vec(), vec![]))
}

/// An HTTP listener on 127.0.0.1:`port` whose routes come by RDS under `route`.
pub fn listener(name: &str, port: u16, route: &str) -> Arc<Resource> {
    let manager = HttpConnectionManager {
        stat_prefix: name.to_owned(),
        route_specifier: Some(http_connection_manager::RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: route.to_owned(),
        })),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(envoy_api::any(&Router::default()))),
            ..HttpFilter::default()
        }],
        ..HttpConnectionManager::default()
    };
    let message = Listener {
        name: name.to_owned(),
        address: Some(socket(port)),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(envoy_api::any(&manager))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    };
    Arc::new(resource(ResourceType::Listener, name, message.encode_to_vec(), Vec::new()))
}

/// A virtual host for the domain `name` that sends everything to one cluster; `note` is part of its content.
pub fn host(name: &str, cluster: &str, note: &str) -> Arc<Fragment> {
    host_of(name, &[(note, cluster)])
}

/// A virtual host with a route to each of the clusters.
pub fn split_host(name: &str, clusters: &[&str]) -> Arc<Fragment> {
    let routes: Vec<_> = clusters.iter().map(|cluster| (*cluster, *cluster)).collect();
    host_of(name, &routes)
}

/// `routes`: name and cluster of each.
fn host_of(name: &str, routes: &[(&str, &str)]) -> Arc<Fragment> {
    let route = |(name, cluster): &(&str, &str)| Route {
        name: (*name).to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::Route(RouteAction {
            cluster_specifier: Some(route_action::ClusterSpecifier::Cluster((*cluster).to_owned())),
            ..RouteAction::default()
        })),
        ..Route::default()
    };
    let message = VirtualHost {
        name: name.to_owned(),
        domains: vec![name.to_owned()],
        routes: routes.iter().map(route).collect(),
        ..VirtualHost::default()
    };
    let only = RouteConfiguration { virtual_hosts: vec![message], ..RouteConfiguration::default() };
    let bytes = Bytes::from(only.encode_to_vec());
    Arc::new(Fragment {
        name: name.into(),
        hash: xxh3_64(&bytes),
        bytes,
        clusters: routes.iter().map(|(_, cluster)| (*cluster).into()).collect(),
        owners: Box::new([ObjectRef::new(Kind::HttpRoute, "default", name)]),
    })
}

/// A route configuration of these virtual hosts; they are put in order.
pub fn route(name: &str, mut hosts: Vec<Arc<Fragment>>) -> Arc<Resource> {
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    let head = RouteConfiguration { name: name.to_owned(), ..RouteConfiguration::default() };
    Arc::new(resource(ResourceType::Route, name, head.encode_to_vec(), hosts))
}

/// The same resource with the proof of warming that a cluster with DNS needs.
pub fn slow(cluster: &Arc<Resource>) -> Arc<Resource> {
    let plain = cluster.as_ref();
    Arc::new(Resource {
        kind: plain.kind,
        name: Arc::clone(&plain.name),
        version: plain.version,
        head: plain.head.clone(),
        fragments: Arc::clone(&plain.fragments),
        warming: Warming::Cluster,
        first_check: plain.first_check,
        endpoints: plain.endpoints.clone(),
        secrets: plain.secrets.clone(),
        clusters: plain.clusters.clone(),
        owners: plain.owners.clone(),
    })
}

/// The same cluster with subscriptions to secrets.
pub fn secured(cluster: &Arc<Resource>, secrets: &[&str]) -> Arc<Resource> {
    let plain = cluster.as_ref();
    Arc::new(Resource {
        kind: plain.kind,
        name: Arc::clone(&plain.name),
        version: plain.version,
        head: plain.head.clone(),
        fragments: Arc::clone(&plain.fragments),
        warming: plain.warming,
        first_check: plain.first_check,
        endpoints: plain.endpoints.clone(),
        secrets: secrets.iter().map(|name| Arc::from(*name)).collect(),
        clusters: plain.clusters.clone(),
        owners: plain.owners.clone(),
    })
}

/// The same cluster with health checks, of which the first takes this long at most.
pub fn checked(cluster: &Arc<Resource>, first_check: time::Duration) -> Arc<Resource> {
    let plain = cluster.as_ref();
    Arc::new(Resource {
        kind: plain.kind,
        name: Arc::clone(&plain.name),
        version: plain.version,
        head: plain.head.clone(),
        fragments: Arc::clone(&plain.fragments),
        warming: plain.warming,
        first_check,
        endpoints: plain.endpoints.clone(),
        secrets: plain.secrets.clone(),
        clusters: plain.clusters.clone(),
        owners: plain.owners.clone(),
    })
}

/// A commit of these resources.
pub fn update(changed: impl IntoIterator<Item = Arc<Resource>>) -> ResourceUpdate {
    ResourceUpdate { changed: changed.into_iter().collect(), removed: Vec::new() }
}

/// A commit that takes these resources away.
pub fn removal<'a>(removed: impl IntoIterator<Item = (ResourceType, &'a str)>) -> ResourceUpdate {
    ResourceUpdate {
        changed: Vec::new(),
        removed: removed.into_iter().map(|(kind, name)| (kind, Arc::from(name))).collect(),
    }
}

/// One cluster with its endpoints, one listener and one route configuration `web` with the host `a.test`.
pub fn small() -> ResourceUpdate {
    update([
        cluster("one", 0),
        endpoints("one", 9),
        listener("web", 10080, "web"),
        route("web", vec![host("a.test", "one", "first")]),
    ])
}
