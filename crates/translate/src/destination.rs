//! Stage 5: clusters and their endpoints.

use std::sync::Arc;

use ir::{
    Metadata, ObjectRef,
    cluster::{Address, Cluster, Discovery, Endpoint, Endpoints, Locality, Zones},
    tls::UpstreamTls,
};
use store::{
    ObjectId,
    facts::{self, SliceAddress},
};

use crate::{
    ClusterKey, ClusterPlan, GatewayTable, Reader, backend_tls,
    reader::RouteTable,
    route::{BackendKind, Destination},
    secret::SecretKey,
};

/// A cluster, and what SDS has to serve for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The cluster.
    pub cluster: Cluster,
    /// Certificates and authorities that it names, ascending.
    pub secrets: Box<[SecretKey]>,
}

/// The cluster of a plan. `None` when the route no longer needs it.
pub fn cluster(
    key: ClusterKey,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    routes: RouteTable<'_>,
) -> Option<Made> {
    let plan = routes.plan(reader, key.plan)?;
    let discovery = if plan.destinations.iter().any(|d| d.kind == BackendKind::DynamicResolver) {
        Discovery::DynamicForwardProxy
    } else if by_dns(plan) {
        Discovery::Dns { localities: localities(plan, reader) }
    } else {
        Discovery::Eds { service_name: plan.name.clone() }
    };
    let (tls, secrets) = tls(key.gateway, plan, reader, gateways);
    let cluster = Cluster {
        name: plan.name.clone(),
        discovery,
        protocol: plan.protocol,
        metadata: plan.metadata.clone(),
        zones: plan.zones,
        tls,
        owners: owners(key, plan, reader),
    };
    Some(Made { cluster, secrets })
}

/// TLS towards each backend of a plan as a Gateway's proxies speak it, and what SDS has to serve for it.
fn tls(
    gateway: ObjectId,
    plan: &ClusterPlan,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
) -> (Box<[Option<UpstreamTls>]>, Box<[SecretKey]>) {
    if plan.destinations.iter().all(|destination| destination.tls.is_none()) {
        return ([].into(), [].into());
    }
    let client = gateways.client_side(reader, gateway);
    let mut secrets = Vec::new();
    let tls = (plan.destinations.iter())
        .map(|destination| {
            let (tls, needed) = backend_tls::upstream(destination.tls.as_ref()?, client, reader);
            secrets.extend(needed);
            Some(tls)
        })
        .collect();
    secrets.sort_unstable();
    secrets.dedup();
    (tls, secrets.into())
}

/// The endpoints of a plan. `None` when the cluster does not take them by EDS.
pub fn endpoints(key: ClusterKey, reader: &mut Reader<'_>, routes: RouteTable<'_>) -> Option<Endpoints> {
    let plan = routes.plan(reader, key.plan)?;
    if by_dns(plan) || plan.destinations.iter().any(|d| d.kind == BackendKind::DynamicResolver) {
        return None;
    }
    Some(Endpoints {
        name: plan.name.clone(),
        localities: localities(plan, reader),
        owners: owners(key, plan, reader),
    })
}

fn by_dns(plan: &ClusterPlan) -> bool {
    plan.destinations.iter().any(|d| d.kind.by_dns())
}

fn owners(key: ClusterKey, plan: &ClusterPlan, reader: &Reader<'_>) -> Box<[ObjectRef]> {
    let backends = plan.destinations.iter().filter_map(|d| d.metadata.as_ref().map(|m| m.object.clone()));
    let policies = plan.destinations.iter().filter_map(Destination::policy).map(|id| reader.object(id));
    let mut owners: Vec<ObjectRef> =
        std::iter::once(reader.object(key.plan.route)).chain(backends).chain(policies).collect();
    owners.sort_unstable();
    owners.dedup();
    owners.into()
}

fn localities(plan: &ClusterPlan, reader: &mut Reader<'_>) -> Box<[Locality]> {
    let zonal = plan.zones != Zones::default();
    (plan.destinations.iter().enumerate())
        .flat_map(|(index, destination)| {
            let endpoints = endpoints_of(destination, reader);
            let mut localities = if zonal {
                zonal_localities(endpoints, destination.priority, destination.metadata.as_ref())
            } else {
                vec![locality(destination, endpoints)]
            };
            if destination.tls.is_some() {
                let name = ir::cluster::transport_socket_name(&plan.name, index);
                localities.iter_mut().for_each(|locality| locality.transport_socket = Some(name.clone()));
            }
            localities
        })
        .collect()
}

type Zoned = (Option<Arc<str>>, Endpoint);

fn locality(destination: &Destination, endpoints: Vec<Zoned>) -> Locality {
    Locality {
        region: Some(destination.region.clone()),
        zone: None,
        weight: Some(destination.weight),
        priority: destination.priority,
        metadata: destination.metadata.clone().filter(|_| destination.kind != BackendKind::Nothing),
        transport_socket: None,
        endpoints: endpoints.into_iter().map(|(_, endpoint)| endpoint).collect(),
    }
}

/// One locality per zone, in the order in which zones appear; Envoy compares them with the proxy's own zone.
fn zonal_localities(endpoints: Vec<Zoned>, priority: u32, metadata: Option<&Metadata>) -> Vec<Locality> {
    let mut zones: Vec<(Option<Arc<str>>, Vec<Endpoint>)> = Vec::new();
    for (zone, endpoint) in endpoints {
        match zones.iter_mut().find(|(z, _)| *z == zone) {
            Some((_, list)) => list.push(endpoint),
            None => zones.push((zone, vec![endpoint])),
        }
    }
    zones
        .into_iter()
        .map(|(zone, endpoints)| Locality {
            region: None,
            zone,
            weight: None,
            priority,
            metadata: metadata.cloned(),
            transport_socket: None,
            endpoints: endpoints.into(),
        })
        .collect()
}

fn endpoints_of(destination: &Destination, reader: &mut Reader<'_>) -> Vec<Zoned> {
    match &destination.kind {
        BackendKind::Service { service, port_name, .. } => service_endpoints(*service, port_name, reader),
        BackendKind::Backend { backend, .. } => match reader.backend(*backend).map(|b| &b.kind) {
            Some(facts::BackendKind::Endpoints(endpoints)) => (endpoints.iter())
                .map(|e| {
                    let endpoint = Endpoint {
                        address: e.address.clone(),
                        hostname: e.hostname.clone(),
                        draining: false,
                    };
                    (e.zone.clone(), endpoint)
                })
                .collect(),
            _ => Vec::new(),
        },
        BackendKind::DynamicResolver | BackendKind::Nothing => Vec::new(),
    }
}

/// Endpoints of a port of a Service or ServiceImport over all of its slices (both address families of a dual-stack Service), each address
/// once: while a slice is split or joined, an address may stand in two.
fn service_endpoints(service: ObjectId, port_name: &str, reader: &mut Reader<'_>) -> Vec<Zoned> {
    let mut endpoints: Vec<Zoned> = Vec::new();
    let mut seen = rustc_hash::FxHashMap::default();
    for slice in reader.slices_of(service) {
        for port in slice.ports.iter().filter(|p| &*p.name == port_name && &*p.protocol == "TCP") {
            for e in slice.endpoints.iter() {
                let address = match &e.address {
                    SliceAddress::Ip(ip) => Address::Ip(*ip, port.port),
                    SliceAddress::Host(host) => Address::Host(host.clone(), port.port),
                };
                match seen.get(&address) {
                    None => {
                        seen.insert(address.clone(), endpoints.len());
                        let endpoint = Endpoint { address, hostname: None, draining: e.draining };
                        endpoints.push((e.zone.clone(), endpoint));
                    }
                    // A copy that serves wins over one that drains.
                    Some(&i) => endpoints[i].1.draining &= e.draining,
                }
            }
        }
    }
    endpoints
}

/// The cluster of a Gateway's own proxies, by which Envoy knows the zones of its siblings, with its endpoints. `None`
/// when no Service for the proxies is known.
pub fn local_cluster(gateway: ObjectId, reader: &mut Reader<'_>) -> Option<(Cluster, Endpoints)> {
    let object = reader.object(gateway);
    // Should two claim it, every replica takes the same one: ids say nothing, names do.
    let services = reader.proxy_services_of(gateway);
    let service = services.into_iter().min_by_key(|service| reader.object(service.meta.id))?;
    let port = service.ports.first()?;
    let name: Arc<str> = format!("{}/{}", object.namespace, object.name).into();
    let service_object = reader.object(service.meta.id);
    let metadata = Metadata {
        object: service_object.clone(),
        section: Some(port.port.to_string().into()),
        annotations: [].into(),
    };
    let endpoints = service_endpoints(service.meta.id, &port.name, reader);
    let owners: Box<[ObjectRef]> = [object, service_object].into();
    let cluster = Cluster {
        name: name.clone(),
        discovery: Discovery::Eds { service_name: name.clone() },
        protocol: Default::default(),
        metadata: Some(metadata.clone()),
        zones: Zones::ZoneAware { min_cluster_size: 1, force_local_min_size: None },
        tls: [].into(),
        owners: owners.clone(),
    };
    let localities = zonal_localities(endpoints, 0, Some(&metadata)).into();
    Some((cluster, Endpoints { name, localities, owners }))
}
