//! Stage 5: clusters and their endpoints.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use ir::{
    Kind, Metadata, ObjectRef,
    cluster::{Address, Cluster, Discovery, Endpoint, EndpointHealth, Endpoints, Locality, Zones},
    downstream::Http1,
    listener::Transport,
    telemetry::ClusterStatistics,
    tls::UpstreamTls,
    traffic::{ClusterTraffic, HealthChecker, Routing, ZonePreference},
};
use store::{
    ObjectId,
    facts::{self, SliceAddress, SlicePort},
};

use crate::{
    AttachListener, Binding, ClusterKey, ClusterOf, ClusterPlan, FleetOutput, Host, OwnCluster, Reader,
    SharedBackend, Slot,
    backend_tls::{self, ClientSide},
    policy::backend_traffic::{self, Tables},
    route::{self, BackendKind, Destination},
    secret::SecretKey,
    shared::AppProtocol,
    telemetry::Statistics,
};

/// A cluster, and what SDS has to serve for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The cluster.
    pub cluster: Cluster,
    /// Certificates and authorities that it names, ascending.
    pub secrets: Box<[SecretKey]>,
}

/// A cluster on the proxies of a fleet.
struct Share<'a> {
    /// What it is for: a plan, or one backend of it.
    plan: Cow<'a, ClusterPlan>,
    /// The route that it is for; `None` for one that routes share.
    route: Option<ObjectId>,
    traffic: Cow<'a, ClusterTraffic>,
    /// HTTP/1 as clients speak it.
    http1: Option<Arc<Http1>>,
    /// The first listener that uses it, with the hosts that the route answers there.
    on: Option<(&'a AttachListener, &'a Binding)>,
}

impl Share<'_> {
    fn by_eds(&self, ips: bool) -> bool {
        ips || !by_dns(&self.plan)
    }

    /// Whether Services are reached by their cluster IP.
    fn by_cluster_ip(&self, fleet: ObjectId, reader: &mut Reader<'_>, tables: Tables<'_>) -> bool {
        let routing = self.traffic.routing.unwrap_or_else(|| tables.gateways.routing(reader, fleet));
        routing == Routing::Service
    }

    /// The proxies' own side of TLS. Of merged Gateways that of the one that has the route's first listener.
    fn client_side<'a>(
        &self,
        fleet: ObjectId,
        reader: &mut Reader<'_>,
        tables: Tables<'a>,
    ) -> &'a ClientSide {
        tables.gateways.client_side(reader, self.on.map_or(fleet, |(listener, _)| listener.gateway))
    }

    /// The policies that have a say in the cluster of a route of connections. Those of requests stand with their routes.
    fn policies(&self, reader: &mut Reader<'_>, tables: Tables<'_>) -> Box<[ObjectRef]> {
        let Some((route, (listener, _))) = self.route.zip(self.on) else { return [].into() };
        if !matches!(reader.kind(route), Some(Kind::TcpRoute | Kind::TlsRoute)) {
            return [].into();
        }
        let rule = (route, self.plan.section.as_deref());
        let layers = tables.policies.all_of_rule(backend_traffic::KIND, rule, listener, reader);
        layers.into_iter().map(|layer| reader.object(layer.policy)).collect()
    }

    /// The host of health checks that name none: the first one that the route answers. Where routes share the cluster it
    /// is the backend's own name: that of the cluster, which Envoy would take, is no name of a host. Empty where no checks
    /// need it, and for routes that answer no hosts.
    fn health_host(&self, reader: &Reader<'_>) -> Arc<str> {
        let checker = self.traffic.active_health.as_ref().map(|check| &check.checker);
        if !matches!(checker, Some(HealthChecker::Http { host: None, .. })) {
            return "".into();
        }
        let Some(route) = self.route else {
            let backend = self.plan.metadata.as_ref().map(|metadata| &metadata.object);
            return backend.map_or_else(|| "".into(), |b| format!("{}.{}", b.name, b.namespace).into());
        };
        if reader.kind(route).and_then(route::of).is_none_or(|kind| kind.is_layer4()) {
            return "".into();
        }
        match self.on.and_then(|(_, binding)| binding.hosts.first()) {
            Some(Host::Name(name)) => reader.name(*name).clone(),
            _ => "*".into(),
        }
    }
}

/// The clusters that are made for a key, and backends whose shared clusters take the place of some.
fn shares<'a>(
    key: ClusterKey,
    reader: &mut Reader<'_>,
    tables: Tables<'a>,
) -> (Vec<Share<'a>>, Vec<SharedBackend>) {
    let plan_key = match key.of {
        ClusterOf::Rule(plan) => plan,
        ClusterOf::Shared(backend) => {
            let share = of_backend(key.fleet, backend, reader, tables);
            return (share.into_iter().collect(), Vec::new());
        }
    };
    let Some(plan) = tables.routes.plan(reader, plan_key) else { return Default::default() };
    let uses = backend_traffic::uses(key.fleet, plan_key, reader, tables);
    let shares = (uses.own.into_iter())
        .map(|own| Share {
            plan: match own.backend.and_then(|index| plan.destinations.get(index)) {
                None => Cow::Borrowed(plan),
                Some(destination) => Cow::Owned(ClusterPlan {
                    name: destination.region.clone(),
                    destinations: [destination.clone()].into(),
                    ..plan.clone()
                }),
            },
            route: Some(plan_key.route),
            traffic: own.traffic,
            http1: own.on.and_then(|(listener, _)| http1(listener, reader, tables)),
            on: own.on,
        })
        .collect();
    (shares, uses.shared)
}

/// The cluster that rules share for a backend: the Gateway alone has a word on it.
fn of_backend<'a>(
    fleet: ObjectId,
    backend: SharedBackend,
    reader: &mut Reader<'_>,
    tables: Tables<'a>,
) -> Option<Share<'a>> {
    let plan = backend.plan(reader)?;
    let merging = tables.gateways.merging(reader, fleet)?;
    let datagrams = backend.protocol == AppProtocol::Udp;
    let traffic = backend_traffic::merging::traffic_of_shared(fleet, datagrams, reader, tables.policies);
    let requests = !datagrams && backend.protocol != AppProtocol::Tcp;
    Some(Share {
        plan: Cow::Owned(plan),
        route: None,
        traffic: Cow::Owned(traffic),
        http1: merging.http1.clone().filter(|_| requests),
        on: None,
    })
}

/// HTTP/1 as a listener speaks it.
fn http1(listener: &AttachListener, reader: &mut Reader<'_>, tables: Tables<'_>) -> Option<Arc<Http1>> {
    let http1 = listener.on_routes.http1.as_ref()?;
    if !listener.on_routes.wants_host {
        return Some(http1.clone());
    }
    let host = tables.hosts.of(listener.id, reader).ok();
    Some(Arc::new(http1.with_default_host(host)))
}

/// The clusters for a key, and backends whose shared clusters take the place of some, ascending, each once. None when the
/// route no longer needs the plan.
pub fn clusters(
    key: ClusterKey,
    reader: &mut Reader<'_>,
    tables: Tables<'_>,
) -> (Vec<Made>, Box<[SharedBackend]>) {
    let (shares, mut shared) = shares(key, reader, tables);
    shared.sort_unstable();
    shared.dedup();
    (shares.iter().map(|share| cluster(key, share, reader, tables)).collect(), shared.into())
}

fn cluster(key: ClusterKey, share: &Share<'_>, reader: &mut Reader<'_>, tables: Tables<'_>) -> Made {
    let plan = &*share.plan;
    let discovery = if is_dynamic(plan) {
        Discovery::DynamicForwardProxy
    } else if share.by_eds(share.by_cluster_ip(key.fleet, reader, tables)) {
        Discovery::Eds { service_name: plan.name.clone() }
    } else {
        Discovery::Dns { localities: localities(share, false, reader) }
    };
    let over_tls = plan.destinations.iter().any(|destination| destination.tls.is_some());
    let client = if over_tls { Some(share.client_side(key.fleet, reader, tables)) } else { None };
    let (tls, secrets) = tls(&plan.destinations, client, reader);
    let statistics = tables.gateways.statistics(reader, key.fleet);
    let cluster = Cluster {
        name: plan.name.clone(),
        discovery,
        protocol: plan.protocol,
        metadata: plan.metadata.clone(),
        policies: share.policies(reader, tables),
        zones: plan.zones,
        tls,
        health_host: share.health_host(reader),
        traffic: with_health_log(
            ClusterTraffic {
                http1: share.http1.clone(),
                active_health: (share.traffic.active_health.clone())
                    .filter(|_| !lacks_http2_for_checks(plan, &share.traffic)),
                ..ClusterTraffic::clone(&share.traffic)
            },
            statistics,
        ),
        statistics: statistics.clusters,
        stat_name: stat_name(key, statistics, reader),
        owners: owners(key.fleet, share, reader),
    };
    Made { cluster, secrets }
}

/// Whether a cluster would be checked by gRPC although its backends do not speak HTTP/2. Envoy refuses such a cluster, so
/// it has no checks.
pub(crate) fn lacks_http2_for_checks(plan: &ClusterPlan, traffic: &ClusterTraffic) -> bool {
    let checker = traffic.active_health.as_ref().map(|check| &check.checker);
    let over_tls = !plan.destinations.is_empty() && plan.destinations.iter().all(|d| d.tls.is_some());
    matches!(checker, Some(HealthChecker::Grpc { .. })) && !plan.protocol.may_be_http2(traffic, over_tls)
}

/// Health checks are logged as the EnvoyProxy says, where no policy says otherwise.
fn with_health_log(mut traffic: ClusterTraffic, statistics: &Statistics) -> ClusterTraffic {
    if let Some(check) = traffic.active_health.as_mut().filter(|check| check.log.is_none()) {
        check.log.clone_from(&statistics.health_log);
    }
    traffic
}

/// The name in statistics of a cluster that requests of clients go to; copies of them have none, and what rules share
/// is not named after one of them.
fn stat_name(key: ClusterKey, statistics: &Statistics, reader: &mut Reader<'_>) -> Option<Arc<str>> {
    let ClusterOf::Rule(plan) = key.of else { return None };
    if statistics.stat_name.is_none() || matches!(plan.slot, Slot::Mirror(_)) {
        return None;
    }
    let rules = match reader.kind(plan.route)? {
        Kind::HttpRoute => &reader.http_route(plan.route)?.rules,
        Kind::GrpcRoute => &reader.grpc_route(plan.route)?.rules,
        _ => return None,
    };
    statistics.stat_name(&reader.object(plan.route), plan.rule, rules.get(usize::from(plan.rule))?)
}

fn is_dynamic(plan: &ClusterPlan) -> bool {
    plan.destinations.iter().any(|d| d.kind == BackendKind::DynamicResolver)
}

/// TLS towards each backend as proxies with this side of it speak it, and what SDS has to serve for it.
fn tls(
    destinations: &[Destination],
    client: Option<&ClientSide>,
    reader: &mut Reader<'_>,
) -> (Box<[Option<UpstreamTls>]>, Box<[SecretKey]>) {
    let Some(client) = client else { return Default::default() };
    let mut secrets = Vec::new();
    let tls = destinations
        .iter()
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

/// The endpoints of the clusters for a key, of those that take them by EDS. `None` when there are no clusters.
pub fn endpoints(key: ClusterKey, reader: &mut Reader<'_>, tables: Tables<'_>) -> Option<Vec<Endpoints>> {
    let (shares, _) = shares(key, reader, tables);
    if shares.is_empty() {
        return None;
    }
    let mut all = Vec::with_capacity(1);
    for share in shares {
        let ips = share.by_cluster_ip(key.fleet, reader, tables);
        if !is_dynamic(&share.plan) && share.by_eds(ips) {
            all.push(Endpoints {
                name: share.plan.name.clone(),
                localities: localities(&share, ips, reader),
                owners: owners(key.fleet, &share, reader),
            });
        }
    }
    Some(all)
}

fn by_dns(plan: &ClusterPlan) -> bool {
    plan.destinations.iter().any(|d| d.kind.by_dns())
}

/// Whose authors can mend a cluster: those of the route, or of the Gateway when routes share it, and of the backends.
fn owners(fleet: ObjectId, share: &Share<'_>, reader: &Reader<'_>) -> Box<[ObjectRef]> {
    let destinations = &share.plan.destinations;
    let user = reader.object(share.route.unwrap_or(fleet));
    let backends = destinations.iter().filter_map(|d| d.metadata.as_ref().map(|m| m.object.clone()));
    let policies = destinations.iter().filter_map(Destination::policy).map(|id| reader.object(id));
    let mut owners: Vec<ObjectRef> = std::iter::once(user).chain(backends).chain(policies).collect();
    owners.sort_unstable();
    owners.dedup();
    owners.into()
}

/// The localities of a cluster; `ips` tells whether Services are reached by their cluster IP.
fn localities(share: &Share<'_>, ips: bool, reader: &mut Reader<'_>) -> Box<[Locality]> {
    let plan = &*share.plan;
    localities_of((&plan.name, &plan.destinations), plan.zones, &share.traffic, ips, reader)
}

fn localities_of(
    (name, destinations): (&str, &[Destination]),
    zones_of_backends: Zones,
    traffic: &ClusterTraffic,
    ips: bool,
    reader: &mut Reader<'_>,
) -> Box<[Locality]> {
    let zones = traffic.load_balancer.as_ref().map_or(&ZonePreference::Unset, |balancer| &balancer.zones);
    let by_zone = zones.by_zone() || zones_of_backends != Zones::default();
    let health = endpoint_health(traffic);
    let mut all = Vec::with_capacity(destinations.len());
    for (index, destination) in destinations.iter().enumerate() {
        let endpoints = (ips.then(|| cluster_ip(destination, reader)).flatten())
            .map_or_else(|| endpoints_of(&destination.kind, reader), |endpoint| vec![(None, endpoint)]);
        let mut localities = if by_zone {
            zonal_localities(endpoints, destination.priority, destination.metadata.as_ref())
        } else {
            vec![locality(destination, endpoints)]
        };
        if destination.tls.is_some() {
            let name = ir::cluster::transport_socket_name(name, index);
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

/// The addresses of a backend.
pub(crate) fn addresses(
    kind: &BackendKind,
    reader: &mut Reader<'_>,
) -> impl Iterator<Item = Address> + use<> {
    endpoints_of(kind, reader).into_iter().map(|(_, endpoint)| endpoint.address)
}

fn endpoints_of(kind: &BackendKind, reader: &mut Reader<'_>) -> Vec<Zoned> {
    match kind {
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
        BackendKind::Address(address) => {
            vec![(None, Endpoint { address: address.clone(), hostname: None, draining: false })]
        }
        BackendKind::DynamicResolver | BackendKind::Nothing => Vec::new(),
    }
}

/// The cluster IP of a Service as its only endpoint; `None` for what has none.
fn cluster_ip(destination: &Destination, reader: &mut Reader<'_>) -> Option<Endpoint> {
    let BackendKind::Service { service, port, .. } = &destination.kind else { return None };
    let address = match reader.kind(*service)? {
        Kind::Service => match reader.service(*service)?.kind {
            facts::ServiceKind::ClusterIp(address) => address,
            facts::ServiceKind::Headless | facts::ServiceKind::ExternalName(_) => None,
        },
        _ => reader.service_import(*service)?.address,
    }?;
    Some(Endpoint { address: Address::Ip(address, *port), hostname: None, draining: false })
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

/// The cluster of a fleet's own proxies, by which Envoy knows the zones of its siblings, with its endpoints. `None` when
/// no Service for the proxies is known.
pub fn local_cluster(
    fleet: ObjectId,
    name: &Arc<str>,
    reader: &mut Reader<'_>,
) -> Option<(Cluster, Endpoints)> {
    let object = reader.object(fleet);
    // Should two claim it, every replica takes the same one: ids say nothing, names do.
    let services = reader.proxy_services_of(fleet);
    let service = services.into_iter().min_by_key(|service| reader.object(service.meta.id))?;
    let port = service.ports.first()?;
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
        policies: [].into(),
        zones: Zones::ZoneAware { min_cluster_size: 1, force_local_min_size: None },
        tls: [].into(),
        traffic: ClusterTraffic::default(),
        health_host: "".into(),
        statistics: ClusterStatistics::default(),
        stat_name: None,
        owners: owners.clone(),
    };
    let localities = zonal_localities(endpoints, 0, Some(&metadata)).into();
    Some((cluster, Endpoints { name: name.clone(), localities, owners }))
}

/// A cluster for requests of the proxies' own, with its endpoints where they come by EDS.
pub fn own_cluster(
    own: &OwnCluster,
    fleet: &FleetOutput,
    reader: &mut Reader<'_>,
) -> (Made, Option<Endpoints>) {
    let (name, owners) = (&own.name, own.owners(reader));
    let ips = fleet.routing == Routing::Service;
    let localities = localities_of((name, &own.destinations), Zones::default(), &own.traffic, ips, reader);
    let over_tls = own.destinations.iter().any(|destination| destination.tls.is_some());
    let client = over_tls.then_some(&fleet.telemetry.client_side);
    let (tls, secrets) = tls(&own.destinations, client, reader);
    let (discovery, endpoints) = if own.dns {
        (Discovery::Dns { localities }, None)
    } else {
        let endpoints = Endpoints { name: name.clone(), localities, owners: owners.clone() };
        (Discovery::Eds { service_name: name.clone() }, Some(endpoints))
    };
    let statistics = &fleet.telemetry.statistics;
    let cluster = Cluster {
        name: name.clone(),
        discovery,
        protocol: own.protocol,
        metadata: own.metadata.clone(),
        policies: [].into(),
        zones: Zones::default(),
        tls,
        traffic: with_health_log(own.traffic.clone(), statistics),
        health_host: "".into(),
        statistics: if own.counted { statistics.clusters } else { ClusterStatistics::default() },
        stat_name: None,
        owners,
    };
    (Made { cluster, secrets }, endpoints)
}
