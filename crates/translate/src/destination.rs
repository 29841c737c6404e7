//! Stage 5: clusters and their endpoints.

use std::{collections::BTreeMap, sync::Arc};

use ir::{
    Metadata, ObjectRef,
    cluster::{Address, Cluster, Discovery, Endpoint, EndpointHealth, Endpoints, Locality, Zones},
    downstream::Http1,
    listener::Transport,
    tls::UpstreamTls,
    traffic::{ClusterTraffic, HealthChecker, ZonePreference},
};
use store::{
    ObjectId,
    facts::{self, SliceAddress, SlicePort},
};

use crate::{
    AttachTable, ClusterKey, ClusterPlan, DefaultHosts, GatewayTable, Host, Policies, Reader, RouteTable,
    backend_tls,
    policy::backend_traffic::{self, Traffic},
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

/// The outputs of earlier stages that clusters are made from.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    /// Gateways.
    pub gateways: GatewayTable<'a>,
    /// Routes.
    pub routes: RouteTable<'a>,
    /// Where routes are attached.
    pub attached: AttachTable<'a>,
    /// Policies.
    pub policies: Policies<'a>,
    /// Hostnames of routes.
    pub hosts: DefaultHosts<'a>,
}

impl<'a> Outputs<'a> {
    /// What a policy says of a cluster.
    fn traffic(&self, key: ClusterKey, reader: &mut Reader<'_>) -> Option<&'a Traffic> {
        let others = (self.gateways, self.routes, self.attached);
        backend_traffic::of_cluster(key, reader, self.policies, others)
    }

    /// HTTP/1 as the first listener that the cluster's route is attached to speaks it.
    fn http1(&self, key: ClusterKey, reader: &mut Reader<'_>) -> Option<Arc<Http1>> {
        let parents = self.attached.parents(reader, key.plan.route);
        let bindings = parents.iter().filter(|p| p.gateway == key.gateway).flat_map(|p| p.bindings.iter());
        let listeners =
            bindings.filter_map(|binding| self.gateways.listener(reader, key.gateway, binding.listener));
        let listener = listeners.min_by_key(|listener| &listener.place)?;
        let http1 = listener.on_routes.http1.as_ref()?;
        if !listener.on_routes.wants_host {
            return Some(http1.clone());
        }
        let host = self.hosts.of(listener.id, reader).ok();
        Some(Arc::new(http1.with_default_host(host)))
    }

    /// The host of health checks that name none: the first one that the cluster's route answers. Empty where no checks
    /// need it.
    fn health_host(&self, key: ClusterKey, traffic: &ClusterTraffic, reader: &mut Reader<'_>) -> Arc<str> {
        let checker = traffic.active_health.as_ref().map(|check| &check.checker);
        if !matches!(checker, Some(HealthChecker::Http { host: None, .. })) {
            return "".into();
        }
        let parents = self.attached.parents(reader, key.plan.route);
        let bindings = parents.iter().filter(|p| p.gateway == key.gateway).flat_map(|p| p.bindings.iter());
        let first = bindings.min_by_key(|binding| {
            self.gateways
                .listener(reader, key.gateway, binding.listener)
                .map(|listener| listener.place.clone())
        });
        match first.and_then(|binding| binding.hosts.first()) {
            Some(Host::Name(name)) => reader.name(*name).clone(),
            _ => "*".into(),
        }
    }
}

/// The cluster of a plan. `None` when the route no longer needs it.
pub fn cluster(key: ClusterKey, reader: &mut Reader<'_>, outputs: Outputs<'_>) -> Option<Made> {
    let plan = outputs.routes.plan(reader, key.plan)?;
    let of_policy = outputs.traffic(key, reader).map(|traffic| traffic.cluster.clone());
    let traffic = ClusterTraffic { http1: outputs.http1(key, reader), ..of_policy.unwrap_or_default() };
    let discovery = if plan.destinations.iter().any(|d| d.kind == BackendKind::DynamicResolver) {
        Discovery::DynamicForwardProxy
    } else if by_dns(plan) {
        Discovery::Dns { localities: localities(plan, &traffic, reader) }
    } else {
        Discovery::Eds { service_name: plan.name.clone() }
    };
    let (tls, secrets) = tls(key.gateway, plan, reader, outputs.gateways);
    let cluster = Cluster {
        name: plan.name.clone(),
        discovery,
        protocol: plan.protocol,
        metadata: plan.metadata.clone(),
        zones: plan.zones,
        tls,
        health_host: outputs.health_host(key, &traffic, reader),
        traffic,
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
pub fn endpoints(key: ClusterKey, reader: &mut Reader<'_>, outputs: Outputs<'_>) -> Option<Endpoints> {
    let plan = outputs.routes.plan(reader, key.plan)?;
    if by_dns(plan) || plan.destinations.iter().any(|d| d.kind == BackendKind::DynamicResolver) {
        return None;
    }
    let traffic = outputs.traffic(key, reader).map(|traffic| traffic.cluster.clone()).unwrap_or_default();
    Some(Endpoints {
        name: plan.name.clone(),
        localities: localities(plan, &traffic, reader),
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

fn localities(plan: &ClusterPlan, traffic: &ClusterTraffic, reader: &mut Reader<'_>) -> Box<[Locality]> {
    let zones = traffic.load_balancer.as_ref().map_or(&ZonePreference::Unset, |balancer| &balancer.zones);
    let by_zone = zones.by_zone() || plan.zones != Zones::default();
    let health = endpoint_health(traffic);
    let mut all = Vec::with_capacity(plan.destinations.len());
    for (index, destination) in plan.destinations.iter().enumerate() {
        let endpoints = endpoints_of(destination, reader);
        let mut localities = if by_zone {
            zonal_localities(endpoints, destination.priority, destination.metadata.as_ref())
        } else {
            vec![locality(destination, endpoints)]
        };
        if destination.tls.is_some() {
            let name = ir::cluster::transport_socket_name(&plan.name, index);
            localities.iter_mut().for_each(|locality| locality.transport_socket = Some(name.clone()));
        }
        all.append(&mut localities);
    }
    for locality in &mut all {
        locality.health = health;
        if let ZonePreference::Weighted(weights) = zones {
            let weight = weights.iter().find(|(zone, _)| Some(&**zone) == locality.zone.as_deref());
            locality.weight = Some(weight.map_or(1, |(_, weight)| *weight));
        }
    }
    all.into()
}

/// How endpoints are checked: at their own addresses, by a host name of their own unless the policy has one.
fn endpoint_health(traffic: &ClusterTraffic) -> EndpointHealth {
    let Some(check) = &traffic.active_health else { return EndpointHealth::default() };
    let own_host = matches!(&check.checker, HealthChecker::Http { host: Some(host), .. } if &**host != "*");
    EndpointHealth { port: check.port, by_hostname: !own_host }
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
        health: EndpointHealth::default(),
        endpoints: endpoints.into_iter().map(|(_, endpoint)| endpoint).collect(),
    }
}

/// One locality per zone, by the names of the zones; Envoy compares them with the proxy's own zone.
fn zonal_localities(endpoints: Vec<Zoned>, priority: u32, metadata: Option<&Metadata>) -> Vec<Locality> {
    let mut zones: BTreeMap<Option<Arc<str>>, Vec<Endpoint>> = BTreeMap::new();
    for (zone, endpoint) in endpoints {
        zones.entry(zone).or_default().push(endpoint);
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
            health: EndpointHealth::default(),
            endpoints: endpoints.into(),
        })
        .collect()
}

fn endpoints_of(destination: &Destination, reader: &mut Reader<'_>) -> Vec<Zoned> {
    match &destination.kind {
        BackendKind::Service { service, transport, port_name, .. } => {
            service_endpoints(*service, *transport, port_name, reader)
        }
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
fn service_endpoints(
    service: ObjectId,
    transport: Transport,
    port_name: &str,
    reader: &mut Reader<'_>,
) -> Vec<Zoned> {
    let mut endpoints: Vec<Zoned> = Vec::new();
    let mut seen = rustc_hash::FxHashMap::default();
    for slice in reader.slices_of(service) {
        let named = |p: &&SlicePort| &*p.name == port_name && *p.protocol == *transport.name();
        for port in slice.ports.iter().filter(named) {
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
    let endpoints = service_endpoints(service.meta.id, Transport::Tcp, &port.name, reader);
    let owners: Box<[ObjectRef]> = [object, service_object].into();
    let cluster = Cluster {
        name: name.clone(),
        discovery: Discovery::Eds { service_name: name.clone() },
        protocol: Default::default(),
        metadata: Some(metadata.clone()),
        zones: Zones::ZoneAware { min_cluster_size: 1, force_local_min_size: None },
        tls: [].into(),
        traffic: ClusterTraffic::default(),
        health_host: "".into(),
        owners: owners.clone(),
    };
    let localities = zonal_localities(endpoints, 0, Some(&metadata)).into();
    Some((cluster, Endpoints { name, localities, owners }))
}
