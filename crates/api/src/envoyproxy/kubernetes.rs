//! The Kubernetes objects that run proxies.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{DaemonSetUpdateStrategy, DeploymentStrategy},
    autoscaling::v2::{HorizontalPodAutoscalerBehavior, MetricSpec},
    core::v1::{
        Affinity, Container, EnvVar, LocalObjectReference, PodSecurityContext, ResourceRequirements,
        SecurityContext, Toleration, TopologySpreadConstraint, Volume, VolumeMount,
    },
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CorePart;
use crate::config::{
    Opaque,
    declare::{choices, settings},
};

choices! {
    /// How a patch goes into an object.
    MergeType {
        /// Kubernetes' strategic merge: members of lists are found by their keys.
        StrategicMerge,
        /// JSON merge patch (RFC 7396): lists are replaced.
        JSONMerge,
    }
    /// How a Service is reached.
    ServiceType {
        /// Inside the cluster.
        ClusterIP,
        /// By a load balancer.
        LoadBalancer,
        /// By a port of each node.
        NodePort,
    }
    /// Which endpoints traffic from outside goes to.
    ServiceExternalTrafficPolicy {
        /// Those of the node, so that the client's address is kept.
        Local,
        /// Those of the whole cluster.
        Cluster,
    }
}

/// The Kubernetes objects that run proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!(has(self.envoyDeployment) && has(self.envoyDaemonSet))",
    "envoyDeployment and envoyDaemonSet must not both be set"
))]
#[x_kube(validation = (
    "!(has(self.envoyHpa) && has(self.envoyDaemonSet))",
    "envoyHpa and envoyDaemonSet must not both be set"
))]
#[serde(rename_all = "camelCase")]
pub struct EnvoyProxyKubernetesProvider {
    /// The Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy_deployment: Option<KubernetesDeploymentSpec>,
    /// A DaemonSet instead of the Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy_daemon_set: Option<KubernetesDaemonSetSpec>,
    /// The Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy_service: Option<KubernetesServiceSpec>,
    /// An autoscaler of the Deployment, which then decides on its replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy_hpa: Option<KubernetesHorizontalPodAutoscalerSpec>,
    /// Whether Envoy binds ports below 1024 as they are, which needs a privilege; they are moved up by 10000 when
    /// unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_listener_port_as_container_port: Option<bool>,
    /// How many proxies may be down on purpose.
    #[serde(default, rename = "envoyPDB", skip_serializing_if = "Option::is_none")]
    pub envoy_pdb: Option<KubernetesPodDisruptionBudgetSpec>,
    /// The ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy_service_account: Option<KubernetesServiceAccountSpec>,
}

/// A change to an object, made after all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesPatchSpec {
    /// How it goes into the object; `StrategicMerge` when unset.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<MergeType>,
    /// The change, shaped as the object.
    pub value: Opaque,
}

settings! {
    /// A Deployment of proxies.
    KubernetesDeploymentSpec {
        /// A change to the Deployment, made after all others.
        #[serde(skip_serializing_if = "Option::is_none")]
        patch: Option<KubernetesPatchSpec>,
        /// Number of Pods; 1 when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        replicas: Option<i32>,
        /// How Pods are replaced; `RollingUpdate` when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        strategy: Option<CorePart<DeploymentStrategy>>,
        /// The Pods.
        #[serde(skip_serializing_if = "Option::is_none")]
        pod: Option<KubernetesPodSpec>,
        /// The container that runs Envoy.
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<KubernetesContainerSpec>,
        /// Containers that run before Envoy.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        init_containers: Vec<CorePart<Container>>,
        /// Its name; made from the Gateway's when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }
    /// A DaemonSet of proxies.
    KubernetesDaemonSetSpec {
        /// A change to the DaemonSet, made after all others.
        #[serde(skip_serializing_if = "Option::is_none")]
        patch: Option<KubernetesPatchSpec>,
        /// How Pods are replaced; `RollingUpdate` when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        strategy: Option<CorePart<DaemonSetUpdateStrategy>>,
        /// The Pods.
        #[serde(skip_serializing_if = "Option::is_none")]
        pod: Option<KubernetesPodSpec>,
        /// The container that runs Envoy.
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<KubernetesContainerSpec>,
        /// Its name; made from the Gateway's when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }
    /// Pods of proxies.
    KubernetesPodSpec {
        /// Further annotations.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
        /// Further labels.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        /// Security settings of all containers.
        #[serde(skip_serializing_if = "Option::is_none")]
        security_context: Option<CorePart<PodSecurityContext>>,
        /// On or near what they run.
        #[serde(skip_serializing_if = "Option::is_none")]
        affinity: Option<CorePart<Affinity>>,
        /// Taints of nodes that they bear.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tolerations: Vec<CorePart<Toleration>>,
        /// Further volumes; one with the name of ours stands in for it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        volumes: Vec<CorePart<Volume>>,
        /// Secrets for fetching images.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        image_pull_secrets: Vec<CorePart<LocalObjectReference>>,
        /// Labels of nodes that they run on.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        node_selector: BTreeMap<String, String>,
        /// How they are spread over nodes and zones.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        topology_spread_constraints: Vec<CorePart<TopologySpreadConstraint>>,
        /// How important they are, as the name of a PriorityClass.
        #[serde(skip_serializing_if = "Option::is_none")]
        priority_class_name: Option<String>,
    }
    /// A ServiceAccount of proxies.
    KubernetesServiceAccountSpec {
        /// Its name; made from the Gateway's when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }
}

/// The container that runs Envoy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!(has(self.image) && has(self.imageRepository))",
    "image and imageRepository must not both be set"
))]
#[serde(rename_all = "camelCase")]
pub struct KubernetesContainerSpec {
    /// Further environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<CorePart<EnvVar>>,
    /// What it may use; requests of 100m CPU and 512Mi memory when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<CorePart<ResourceRequirements>>,
    /// Its security settings, instead of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<CorePart<SecurityContext>>,
    /// Image of Envoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Image of Envoy without its tag, which stays the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_repository: Option<String>,
    /// Further mounts of volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<CorePart<VolumeMount>>,
}

/// The Service in front of proxies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.allocateLoadBalancerNodePorts) || self.type == 'LoadBalancer'",
    "allocateLoadBalancerNodePorts may only be set for type LoadBalancer"
))]
#[x_kube(validation = (
    "!has(self.loadBalancerSourceRanges) || self.type == 'LoadBalancer'",
    "loadBalancerSourceRanges may only be set for type LoadBalancer"
))]
#[x_kube(validation = (
    "!has(self.loadBalancerIP) || self.type == 'LoadBalancer'",
    "loadBalancerIP may only be set for type LoadBalancer"
))]
#[serde(rename_all = "camelCase")]
pub struct KubernetesServiceSpec {
    /// Further annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Further labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How it is reached.
    #[serde(default = "load_balancer", rename = "type")]
    pub type_: ServiceType,
    /// Who provides its load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Whether a load balancer gets ports of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocate_load_balancer_node_ports: Option<bool>,
    /// Clients that a load balancer takes, by address ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_source_ranges: Vec<String>,
    /// IPv4 address that a load balancer shall have.
    #[serde(default, rename = "loadBalancerIP", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(
        pattern = r"^((25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}(25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)$"
    ))]
    pub load_balancer_ip: Option<String>,
    /// Which endpoints traffic from outside goes to.
    #[serde(default = "local")]
    pub external_traffic_policy: ServiceExternalTrafficPolicy,
    /// A change to the Service, made after all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<KubernetesPatchSpec>,
    /// Its name; made from the Gateway's when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

fn load_balancer() -> ServiceType {
    ServiceType::LoadBalancer
}

fn local() -> ServiceExternalTrafficPolicy {
    ServiceExternalTrafficPolicy::Local
}

impl Default for KubernetesServiceSpec {
    fn default() -> Self {
        KubernetesServiceSpec {
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            type_: load_balancer(),
            load_balancer_class: None,
            allocate_load_balancer_node_ports: None,
            load_balancer_source_ranges: Vec::new(),
            load_balancer_ip: None,
            external_traffic_policy: local(),
            patch: None,
            name: None,
        }
    }
}

/// An autoscaler of a Deployment of proxies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.minReplicas) || self.maxReplicas >= self.minReplicas",
    "maxReplicas must not be below minReplicas"
))]
#[serde(rename_all = "camelCase")]
pub struct KubernetesHorizontalPodAutoscalerSpec {
    /// Number of Pods at least; 1 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_replicas: Option<i32>,
    /// Number of Pods at most.
    #[schemars(range(min = 1))]
    pub max_replicas: i32,
    /// What is measured; 80 % of the CPU that was asked for when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<CorePart<MetricSpec>>,
    /// How fast it scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<CorePart<HorizontalPodAutoscalerBehavior>>,
    /// A change to the autoscaler, made after all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<KubernetesPatchSpec>,
    /// Its name; that of the Deployment when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How many proxies may be down on purpose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "has(self.minAvailable) != has(self.maxUnavailable)",
    "exactly one of minAvailable and maxUnavailable must be set"
))]
#[serde(rename_all = "camelCase")]
pub struct KubernetesPodDisruptionBudgetSpec {
    /// Number or share of Pods that must be up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<CorePart<IntOrString>>,
    /// Number or share of Pods that may be down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<CorePart<IntOrString>>,
    /// A change to the budget, made after all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<KubernetesPatchSpec>,
    /// Its name; made from the Gateway's when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
