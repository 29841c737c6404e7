//! What became of our own infrastructure: Services, workloads and Pods of proxies, and the Nodes they run on.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use api::Service;
use ir::infra::labels;
use serde::Deserialize;

use super::decode::Name;

/// Our infrastructure as the API server has it. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// By fleet: `namespace/name` of a Gateway, or the name of a GatewayClass whose Gateways are merged.
    pub fleets: Arc<BTreeMap<Arc<str>, FleetState>>,
    /// The proxies; none while Pods may not be read.
    pub pods: Option<Arc<BTreeMap<PodName, Arc<Pod>>>>,
    /// All Nodes by name.
    pub nodes: Arc<BTreeMap<Arc<str>, Node>>,
}

/// Infrastructure of one fleet. Several Services or workloads are there while one replaces the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetState {
    /// By namespace and name.
    pub services: Vec<Arc<ProxyService>>,
    /// By kind, namespace and name.
    pub workloads: Vec<Arc<Workload>>,
}

/// The Service in front of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyService {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// `spec.type`, such as `LoadBalancer`; `ClusterIP` when unset.
    pub kind: Arc<str>,
    /// True with `externalTrafficPolicy: Local`: a Node without a proxy does not answer.
    pub local: bool,
    /// `status.loadBalancer.ingress`: where it can be reached from outside.
    pub load_balancer: Vec<LoadBalancerAddress>,
    /// `spec.externalIPs`, as written.
    pub external_ips: Vec<Arc<str>>,
    /// `spec.clusterIPs` without `None`, as written.
    pub cluster_ips: Vec<Arc<str>>,
    /// `spec.ports`.
    pub ports: Vec<ProxyPort>,
}

/// An address that a load balancer gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancerAddress {
    /// An IP address, as written.
    pub ip: Option<Arc<str>>,
    /// A host name.
    pub hostname: Option<Arc<str>>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyPort {
    /// Its name, such as `http-80`.
    pub name: Arc<str>,
    /// The port of the Service.
    pub port: u16,
    /// The port on every Node; none when there is none.
    pub node_port: Option<u16>,
    /// True for UDP, false for TCP.
    pub udp: bool,
}

/// What runs the proxies of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// A number of proxies.
    Deployment,
    /// One proxy on each Node.
    DaemonSet,
}

/// How many proxies there shall be, and are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Deployment or DaemonSet.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// `metadata.generation`.
    pub generation: i64,
    /// The generation that the numbers below are about.
    pub observed_generation: i64,
    /// Proxies that there shall be.
    pub desired: u32,
    /// Proxies of the newest template.
    pub updated: u32,
    /// Proxies that are available.
    pub available: u32,
}

/// Names a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodName {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name, which Envoy gives as its node id.
    pub name: Arc<str>,
    /// `metadata.uid`: another one when a Pod of the same name is made anew.
    pub uid: Arc<str>,
    /// `status.podIPs`; empty before it has any.
    pub ips: Vec<IpAddr>,
    /// The fleet that its labels name.
    pub fleet: Arc<str>,
    /// The Node it runs on; empty before it has one.
    pub node: Arc<str>,
    /// True when its condition `Ready` is.
    pub ready: bool,
    /// True once it is asked to end.
    pub terminating: bool,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Addresses of type `InternalIP`.
    pub internal: Vec<IpAddr>,
    /// Addresses of type `ExternalIP`.
    pub external: Vec<IpAddr>,
    /// Its label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// Its label `topology.kubernetes.io/region`.
    pub region: Option<Arc<str>>,
}

/// The fleet that labels name.
fn fleet_of(of: &BTreeMap<String, String>) -> Option<Arc<str>> {
    if let Some(class) = of.get(labels::OWNING_GATEWAY_CLASS) {
        return Some(class.as_str().into());
    }
    Some(
        format!("{}/{}", of.get(labels::OWNING_GATEWAY_NAMESPACE)?, of.get(labels::OWNING_GATEWAY_NAME)?)
            .into(),
    )
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    generation: i64,
    deletion_timestamp: Option<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodDocument {
    metadata: Metadata,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct PodIp {
    ip: String,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

/// Reads a Pod; none when its labels name no fleet.
pub(super) fn pod(json: &str) -> Result<Option<Pod>, serde_json::Error> {
    let PodDocument { metadata, spec, status } = serde_json::from_str(json)?;
    let ready = |condition: &Condition| condition.r#type == "Ready" && condition.status == "True";
    Ok(fleet_of(&metadata.labels).map(|fleet| Pod {
        namespace: metadata.namespace.into(),
        name: metadata.name.into(),
        uid: metadata.uid.into(),
        ips: status.pod_ips.iter().filter_map(|ip| ip.ip.parse().ok()).collect(),
        fleet,
        node: spec.node_name.into(),
        ready: status.conditions.iter().any(ready),
        terminating: metadata.deletion_timestamp.is_some(),
    }))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NodeDocument {
    metadata: Metadata,
    status: NodeStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NodeStatus {
    addresses: Vec<NodeAddress>,
}

#[derive(Deserialize)]
struct NodeAddress {
    r#type: String,
    address: String,
}

/// Reads a Node.
pub(super) fn node(json: &str) -> Result<Node, serde_json::Error> {
    let NodeDocument { metadata, status } = serde_json::from_str(json)?;
    let of = |kind: &str| {
        status.addresses.iter().filter(|a| a.r#type == kind).filter_map(|a| a.address.parse().ok()).collect()
    };
    let label = |name: &str| metadata.labels.get(name).map(|value| value.as_str().into());
    Ok(Node {
        internal: of("InternalIP"),
        external: of("ExternalIP"),
        zone: label(labels::ZONE),
        region: label(labels::REGION),
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WorkloadDocument {
    metadata: Metadata,
    spec: WorkloadSpec,
    status: WorkloadStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WorkloadSpec {
    replicas: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WorkloadStatus {
    observed_generation: i64,
    updated_replicas: u32,
    available_replicas: u32,
    desired_number_scheduled: u32,
    updated_number_scheduled: u32,
    number_available: u32,
}

/// Reads a Deployment or DaemonSet with its fleet; none when its labels name none.
pub(super) fn workload(
    kind: WorkloadKind,
    json: &str,
) -> Result<Option<(Workload, Arc<str>)>, serde_json::Error> {
    let WorkloadDocument { metadata, spec, status } = serde_json::from_str(json)?;
    let Some(fleet) = fleet_of(&metadata.labels) else { return Ok(None) };
    let (desired, updated, available) = match kind {
        // The API server fills in one replica where none is said.
        WorkloadKind::Deployment => {
            (spec.replicas.unwrap_or(1), status.updated_replicas, status.available_replicas)
        }
        WorkloadKind::DaemonSet => {
            (status.desired_number_scheduled, status.updated_number_scheduled, status.number_available)
        }
    };
    let workload = Workload {
        kind,
        namespace: metadata.namespace.into(),
        name: metadata.name.into(),
        generation: metadata.generation,
        observed_generation: status.observed_generation,
        desired,
        updated,
        available,
    };
    Ok(Some((workload, fleet)))
}

/// The Service of a fleet; none when its labels do not say that it is one.
pub(super) fn proxy_service(service: &Service) -> Option<(ProxyService, Arc<str>)> {
    let found = service.metadata.labels.as_ref()?;
    let ours = labels::APP.iter().all(|(key, value)| found.get(*key).is_some_and(|found| found == value));
    let fleet = fleet_of(found).filter(|_| ours)?;
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
    let texts = |texts: &Option<Vec<String>>| -> Vec<Arc<str>> {
        texts.iter().flatten().filter(|text| *text != "None").map(|text| text.as_str().into()).collect()
    };
    let spec = service.spec.clone().unwrap_or_default();
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let port = |number: i32| u16::try_from(number).ok().filter(|number| *number > 0);
    let proxy = ProxyService {
        namespace: text(&service.metadata.namespace),
        name: text(&service.metadata.name),
        kind: spec.type_.as_deref().unwrap_or("ClusterIP").into(),
        local: spec.external_traffic_policy.as_deref() == Some("Local"),
        load_balancer: (ingress.into_iter().flatten())
            .map(|address| LoadBalancerAddress {
                ip: address.ip.as_deref().map(Into::into),
                hostname: address.hostname.as_deref().map(Into::into),
            })
            .collect(),
        external_ips: texts(&spec.external_ips),
        cluster_ips: texts(&spec.cluster_ips),
        ports: (spec.ports.iter().flatten())
            .filter_map(|p| {
                Some(ProxyPort {
                    name: text(&p.name),
                    port: port(p.port)?,
                    node_port: p.node_port.and_then(port),
                    udp: p.protocol.as_deref() == Some("UDP"),
                })
            })
            .collect(),
    };
    Some((proxy, fleet))
}

/// Keeps [`Observed`] up to date.
#[derive(Debug, Default)]
pub(super) struct Observer {
    now: Observed,
    /// The fleet that each Service or workload belongs to, which its removal does not tell.
    services: BTreeMap<Name, Arc<str>>,
    workloads: BTreeMap<(WorkloadKind, Name), Arc<str>>,
    changed: bool,
}

impl Observer {
    /// The state now, if it changed since it was last asked for.
    pub(super) fn take_changed(&mut self) -> Option<Observed> {
        std::mem::take(&mut self.changed).then(|| self.now.clone())
    }

    /// Notes that Pods can be read.
    pub(super) fn pods_are_readable(&mut self) {
        if self.now.pods.is_none() {
            self.now.pods = Some(Arc::default());
            self.changed = true;
        }
    }

    /// A Service as it is now; one that is not ours, or gone, is removed.
    pub(super) fn service(&mut self, name: &Name, service: Option<&Service>) {
        let found = service.and_then(proxy_service);
        if found.is_none() && !self.services.contains_key(name) {
            return;
        }
        if let Some(fleet) = self.services.remove(name) {
            self.edit(&fleet, |state| {
                state.services.retain(|s| (&s.namespace, &s.name) != (&name.namespace, &name.name));
            });
        }
        if let Some((proxy, fleet)) = found {
            self.edit(&fleet, |state| {
                state.services.push(Arc::new(proxy));
                state.services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
            });
            self.services.insert(name.clone(), fleet);
        }
    }

    /// A workload as it is now.
    pub(super) fn workload(&mut self, kind: WorkloadKind, name: &Name, found: Option<(Workload, Arc<str>)>) {
        let key = (kind, name.clone());
        if let Some(fleet) = self.workloads.remove(&key) {
            self.edit(&fleet, |state| {
                state
                    .workloads
                    .retain(|w| (w.kind, &w.namespace, &w.name) != (kind, &name.namespace, &name.name));
            });
        }
        if let Some((workload, fleet)) = found {
            self.edit(&fleet, |state| {
                state.workloads.push(Arc::new(workload));
                state
                    .workloads
                    .sort_by(|a, b| (a.kind, &a.namespace, &a.name).cmp(&(b.kind, &b.namespace, &b.name)));
            });
            self.workloads.insert(key, fleet);
        }
    }

    fn edit(&mut self, fleet: &Arc<str>, edit: impl FnOnce(&mut FleetState)) {
        let fleets = Arc::make_mut(&mut self.now.fleets);
        let state = fleets.entry(fleet.clone()).or_default();
        edit(state);
        if state.services.is_empty() && state.workloads.is_empty() {
            fleets.remove(fleet);
        }
        self.changed = true;
    }

    /// A Pod as it is now.
    pub(super) fn pod(&mut self, name: &Name, found: Option<Pod>) {
        let key = PodName { namespace: name.namespace.clone(), name: name.name.clone() };
        let pods = Arc::make_mut(self.now.pods.get_or_insert_default());
        self.changed |= match found {
            Some(pod) if pods.get(&key).is_some_and(|known| **known == pod) => false,
            Some(pod) => {
                pods.insert(key, Arc::new(pod));
                true
            }
            None => pods.remove(&key).is_some(),
        };
    }

    /// A Node as it is now. Nodes tell of their health all the time; only addresses and places matter here.
    pub(super) fn node(&mut self, name: &Name, found: Option<Node>) {
        if self.now.nodes.get(&name.name) == found.as_ref() {
            return;
        }
        let nodes = Arc::make_mut(&mut self.now.nodes);
        match found {
            Some(node) => drop(nodes.insert(name.name.clone(), node)),
            None => drop(nodes.remove(&name.name)),
        }
        self.changed = true;
    }
}
