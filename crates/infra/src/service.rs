//! Service.

use api::envoyproxy::{IpFamily, KubernetesServiceSpec, ServiceExternalTrafficPolicy, ServiceType};
use ir::infra::Layer4;
use serde_json::{Map, Value, json};

use crate::{
    ObjectKind, RenderError, RenderedObject,
    metadata::{Fleet, fields},
    user_patch,
};

/// The Service in front of a fleet; `None` while it would have no port, which an API server refuses.
pub(crate) fn service(fleet: &Fleet<'_>) -> Result<Option<RenderedObject>, RenderError> {
    if fleet.wish.ports.is_empty() {
        return Ok(None);
    }
    let defaults = KubernetesServiceSpec::default();
    let parameters = fleet.parameters.kubernetes.envoy_service.as_ref().unwrap_or(&defaults);
    let mut labels = fleet.labels.clone();
    labels.extend(parameters.labels.clone());
    // Objects are found by these, whatever else a person wants.
    labels.extend(fleet.selector.clone());
    let mut annotations = fleet.annotations.clone();
    annotations.extend(parameters.annotations.clone());
    let name = parameters.name.as_deref().unwrap_or(&fleet.name);
    let spec = json!({ "spec": spec(fleet, parameters) });
    let object = fleet.object_with(ObjectKind::Service, name, (&labels, &annotations), fields(spec));
    user_patch::apply(object, parameters.patch.as_ref(), "spec.provider.kubernetes.envoyService.patch")
        .map(Some)
}

fn spec(fleet: &Fleet<'_>, parameters: &KubernetesServiceSpec) -> Map<String, Value> {
    let mut spec = Map::new();
    let mut set = |key: &str, value: Value| drop(spec.insert(key.to_owned(), value));
    set(
        "type",
        match parameters.type_ {
            ServiceType::ClusterIP => "ClusterIP",
            ServiceType::LoadBalancer => "LoadBalancer",
            ServiceType::NodePort => "NodePort",
        }
        .into(),
    );
    if parameters.type_ == ServiceType::LoadBalancer {
        if let Some(class) = &parameters.load_balancer_class {
            set("loadBalancerClass", class.as_str().into());
        }
        if let Some(allocate) = parameters.allocate_load_balancer_node_ports {
            set("allocateLoadBalancerNodePorts", allocate.into());
        }
        if !parameters.load_balancer_source_ranges.is_empty() {
            set("loadBalancerSourceRanges", json!(parameters.load_balancer_source_ranges));
        }
        if let Some(address) = &parameters.load_balancer_ip {
            set("loadBalancerIP", address.as_str().into());
        }
    }
    if parameters.type_ != ServiceType::ClusterIP {
        set(
            "externalTrafficPolicy",
            match parameters.external_traffic_policy {
                ServiceExternalTrafficPolicy::Local => "Local",
                ServiceExternalTrafficPolicy::Cluster => "Cluster",
            }
            .into(),
        );
    }
    match fleet.parameters.ip_family() {
        // What the cluster's own default is.
        IpFamily::IPv4 => {}
        IpFamily::IPv6 => {
            set("ipFamilyPolicy", "SingleStack".into());
            set("ipFamilies", json!(["IPv6"]));
        }
        IpFamily::DualStack => {
            set("ipFamilyPolicy", "RequireDualStack".into());
            set("ipFamilies", json!(["IPv4", "IPv6"]));
        }
    }
    match (&*fleet.wish.addresses, parameters.type_) {
        ([], _) => {}
        // One address for each family is all that a Service can have.
        ([first, ..], ServiceType::ClusterIP) => {
            set("clusterIP", first.to_string().into());
            set("clusterIPs", json!([first]));
        }
        (addresses, _) => set("externalIPs", json!(addresses)),
    }
    set("ports", fleet.wish.ports.iter().map(port).collect());
    set("selector", json!(fleet.selector));
    spec
}

fn port(port: &ir::infra::ServicePort) -> Value {
    json!({
        "name": port.name,
        "protocol": match port.protocol {
            Layer4::Tcp => "TCP",
            Layer4::Udp => "UDP",
        },
        "port": port.port,
        "targetPort": port.container_port,
    })
}
