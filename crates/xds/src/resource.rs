//! Encoded messages with name, content hash and owners.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ir::{
    ObjectRef,
    cluster::{Cluster, Discovery, EMPTY_CLUSTER, Endpoints},
    listener::{Listener, Network, VirtualHost},
    resource::{Fragment, Resource, ResourceType, Version, Warming},
    secret::{Authorities, TlsCertificate},
};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::encode;

fn plain(kind: ResourceType, name: Arc<str>, body: Vec<u8>, owners: Box<[ObjectRef]>) -> Resource {
    let head = Bytes::from(body);
    Resource {
        kind,
        name,
        version: Version(xxh3_64(&head)),
        head,
        fragments: [].into(),
        warming: Warming::Endpoints,
        first_check: Duration::ZERO,
        endpoints: None,
        secrets: [].into(),
        clusters: [].into(),
        owners,
    }
}

/// A cluster.
pub fn cluster(cluster: &Cluster) -> Resource {
    let (warming, endpoints) = match &cluster.discovery {
        Discovery::Eds { service_name } => (Warming::Endpoints, Some(service_name.clone())),
        Discovery::Dns { .. } | Discovery::DynamicForwardProxy => (Warming::Cluster, None),
    };
    let body = encode::cluster(cluster);
    let first_check = (cluster.traffic.active_health.as_ref())
        .map_or(Duration::ZERO, |check| check.timeout + check.initial_jitter.unwrap_or_default());
    Resource {
        warming,
        first_check,
        endpoints,
        secrets: secrets_of(cluster),
        ..plain(ResourceType::Cluster, cluster.name.clone(), body, cluster.owners.clone())
    }
}

/// Names of the secrets that a cluster subscribes to, ascending, each once.
fn secrets_of(cluster: &Cluster) -> Box<[Arc<str>]> {
    let mut names: Vec<Arc<str>> = (cluster.tls.iter().flatten())
        .flat_map(|tls| tls.verification.as_ref().map(|v| &v.authorities).into_iter().chain(&tls.certificate))
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// The cluster that listeners without routes name.
pub fn empty_cluster() -> Resource {
    let body = encode::empty_cluster();
    Resource {
        warming: Warming::Cluster,
        ..plain(ResourceType::Cluster, EMPTY_CLUSTER.into(), body, [].into())
    }
}

/// The endpoints of a cluster.
pub fn endpoints(endpoints: &Endpoints) -> Resource {
    plain(
        ResourceType::Endpoints,
        endpoints.name.clone(),
        encode::endpoints(endpoints),
        endpoints.owners.clone(),
    )
}

/// A listener.
pub fn listener(listener: &Listener) -> Resource {
    let chains = listener.chains.iter().chain(&listener.default_chain);
    let http = chains.clone().any(|chain| matches!(chain.network, Network::Http(_)));
    let mut clusters: Vec<Arc<str>> = chains.filter_map(|chain| chain.network.cluster().cloned()).collect();
    clusters.extend(listener.telemetry.clusters(http));
    clusters.sort_unstable();
    clusters.dedup();
    let body = encode::listener(listener);
    Resource {
        clusters: clusters.into(),
        ..plain(ResourceType::Listener, listener.name.clone(), body, listener.owners.clone())
    }
}

/// The listener by which an orchestrator knows that a proxy has its configuration.
pub fn ready_listener(address: &str) -> Resource {
    let name = encode::ready_listener_name(address).into();
    plain(ResourceType::Listener, name, encode::ready_listener(address), [].into())
}

/// A certificate.
pub fn secret(certificate: &TlsCertificate) -> Resource {
    plain(
        ResourceType::Secret,
        certificate.name.clone(),
        encode::secret(certificate),
        [certificate.owner.clone()].into(),
    )
}

/// Authorities that are trusted.
pub fn authorities(authorities: &Authorities) -> Resource {
    plain(
        ResourceType::Secret,
        authorities.name.clone(),
        encode::authorities(authorities),
        authorities.owners.clone(),
    )
}

/// A virtual host from its routes, each already encoded, in the order in which Envoy shall try them.
pub fn virtual_host(
    host: &VirtualHost,
    routes: &[&Bytes],
    clusters: Box<[Arc<str>]>,
    owners: Box<[ObjectRef]>,
) -> Fragment {
    let routes: Vec<&[u8]> = routes.iter().map(|route| &route[..]).collect();
    let bytes = Bytes::from(encode::virtual_host_field(host, &routes));
    Fragment { name: host.name.clone(), hash: xxh3_64(&bytes), bytes, clusters, owners }
}

/// A route configuration from its virtual hosts. Costs a hash over their hashes, not over their bytes. `notes` when the
/// connection manager notes in a header where requests come from.
pub fn route_configuration(
    name: Arc<str>,
    fragments: Arc<[Arc<Fragment>]>,
    owners: Box<[ObjectRef]>,
    notes: bool,
) -> Resource {
    let mut head = encode::route_configuration_head(&name);
    if notes {
        head.extend_from_slice(encode::note_removal());
    }
    let head = Bytes::from(head);
    let mut hasher = Xxh3::new();
    hasher.update(&head);
    for fragment in fragments.iter() {
        hasher.update(&fragment.hash.to_le_bytes());
    }
    Resource {
        version: Version(hasher.digest()),
        fragments,
        head,
        ..plain(ResourceType::Route, name, Vec::new(), owners)
    }
}
