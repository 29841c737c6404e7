//! Where objects come from and where proxies run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Opaque,
    declare::{choices, settings},
    extension::ExtensionService,
};
use crate::{common::LabelSelector, text::Duration};

choices! {
    /// Where objects come from and where proxies run.
    ProviderType {
        /// A Kubernetes cluster.
        Kubernetes,
        /// Files, or another infrastructure.
        Custom,
    }
    /// Where proxies of Gateways run in a cluster.
    KubernetesDeployModeType {
        /// In the namespace of the control plane.
        ControllerNamespace,
        /// In the namespace of the Gateway.
        GatewayNamespace,
    }
    /// How watched namespaces are chosen.
    KubernetesWatchModeType {
        /// By name.
        Namespaces,
        /// By label.
        NamespaceSelector,
    }
    /// Where objects come from.
    ResourceProviderType {
        /// Files.
        File,
        /// A Kubernetes cluster.
        Kubernetes,
    }
    /// Where proxies run.
    InfrastructureProviderType {
        /// As processes of this host.
        Host,
        /// Wherever a server of the user's runs them.
        Remote,
    }
}

settings! {
    /// A Kubernetes cluster.
    KubernetesProvider {
        /// Deployment of the rate limit service.
        #[serde(skip_serializing_if = "Option::is_none")]
        rate_limit_deployment: Option<Opaque>,
        /// Autoscaler of the rate limit service.
        #[serde(skip_serializing_if = "Option::is_none")]
        rate_limit_hpa: Option<Opaque>,
        /// Disruption budget of the rate limit service.
        #[serde(rename = "rateLimitPDB", skip_serializing_if = "Option::is_none")]
        rate_limit_pdb: Option<Opaque>,
        /// Where proxies run.
        deploy: KubernetesDeployMode,
        /// The container that drains proxies.
        #[serde(skip_serializing_if = "Option::is_none")]
        shutdown_manager: Option<ShutdownManager>,
        /// Tells proxies which zone they are in.
        #[serde(skip_serializing_if = "Option::is_none")]
        proxy_topology_injector: Option<TopologyInjector>,
        /// Which namespaces are watched; all when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        watch: Option<KubernetesWatchMode>,
        /// Which of several control planes leads.
        #[serde(skip_serializing_if = "Option::is_none")]
        leader_election: Option<LeaderElection>,
        /// The client of the API server.
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<KubernetesClient>,
        /// How often everything is listed anew; 10 hours when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_sync_period: Option<Duration>,
    }
    /// The container that drains proxies.
    ShutdownManager {
        /// Its image.
        #[serde(skip_serializing_if = "Option::is_none")]
        image: Option<String>,
    }
    /// Tells proxies which zone they are in.
    TopologyInjector {
        /// Whether it is off.
        #[serde(skip_serializing_if = "Option::is_none")]
        disabled: Option<bool>,
    }
    /// Which of several control planes leads.
    LeaderElection {
        /// How long a leader leads without word of it; 15s when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        lease_duration: Option<Duration>,
        /// How long a leader tries to go on leading; 10s when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        renew_deadline: Option<Duration>,
        /// How long others wait between tries; 2s when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_period: Option<Duration>,
        /// Whether all of them lead.
        #[serde(skip_serializing_if = "Option::is_none")]
        disable: Option<bool>,
    }
    /// The client of the API server.
    KubernetesClient {
        /// How many requests it may send.
        #[serde(skip_serializing_if = "Option::is_none")]
        rate_limit: Option<KubernetesClientRateLimit>,
    }
    /// Directories of proxies that run as processes of this host.
    HostInfrastructure {
        /// Configuration.
        #[serde(skip_serializing_if = "Option::is_none")]
        config_home: Option<String>,
        /// Data, such as binaries.
        #[serde(skip_serializing_if = "Option::is_none")]
        data_home: Option<String>,
        /// Logs.
        #[serde(skip_serializing_if = "Option::is_none")]
        state_home: Option<String>,
        /// Sockets.
        #[serde(skip_serializing_if = "Option::is_none")]
        runtime_dir: Option<String>,
    }
    /// A server of the user's that runs proxies.
    RemoteInfrastructure {
        /// Where it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        service: Option<ExtensionService>,
    }
}

/// Where objects come from and where proxies run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Which of the two fields below counts.
    #[serde(rename = "type")]
    pub type_: ProviderType,
    /// A Kubernetes cluster.
    #[serde(default)]
    pub kubernetes: KubernetesProvider,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomProvider>,
}

impl Default for Provider {
    fn default() -> Self {
        Provider { type_: ProviderType::Kubernetes, kubernetes: KubernetesProvider::default(), custom: None }
    }
}

/// Where proxies run in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesDeployMode {
    /// In which namespace.
    #[serde(default = "controller_namespace", rename = "type")]
    pub type_: KubernetesDeployModeType,
}

fn controller_namespace() -> KubernetesDeployModeType {
    KubernetesDeployModeType::ControllerNamespace
}

impl Default for KubernetesDeployMode {
    fn default() -> Self {
        KubernetesDeployMode { type_: controller_namespace() }
    }
}

/// Which namespaces are watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesWatchMode {
    /// How they are chosen.
    #[serde(rename = "type")]
    pub type_: KubernetesWatchModeType,
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// By label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// How many requests a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesClientRateLimit {
    /// In a second, on average.
    #[serde(default = "default_qps")]
    #[schemars(range(min = 1))]
    pub qps: i32,
    /// At once.
    #[serde(default = "default_burst")]
    #[schemars(range(min = 1))]
    pub burst: i32,
}

fn default_qps() -> i32 {
    50
}

fn default_burst() -> i32 {
    100
}

/// Objects and proxies outside of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomProvider {
    /// Where objects come from.
    pub resource: ResourceProvider,
    /// Where proxies run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<InfrastructureProvider>,
}

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceProvider {
    /// Which of the two fields below counts.
    #[serde(rename = "type")]
    pub type_: ResourceProviderType,
    /// Files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileResources>,
    /// A Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesProvider>,
}

/// Objects from files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileResources {
    /// Files and folders.
    pub paths: Vec<String>,
}

/// Where proxies run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InfrastructureProvider {
    /// Which of the two fields below counts.
    #[serde(rename = "type")]
    pub type_: InfrastructureProviderType,
    /// This host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostInfrastructure>,
    /// A server of the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteInfrastructure>,
}
