//! Envoy Gateway's configuration file (`--config`), so that a file written for it works unchanged.
//!
//! Fields without effect yet are typed all the same: a file is refused for what is wrong in it, never for what is
//! right. Parts that hold other APIs whole (pod templates, an EnvoyProxy) are kept as they are, in [`Opaque`].

mod declare;
mod extension;
mod rate_limit;

pub use extension::*;
pub use rate_limit::*;

use std::{borrow::Cow, collections::BTreeMap};

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::declare::{choices, settings};
use crate::{
    common::{Fraction, LabelSelector},
    schema,
    text::Duration,
};

/// JSON that is kept as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Opaque(pub Value);

impl JsonSchema for Opaque {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Opaque".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
    }
}

/// The OpenAPI schema of the configuration file.
pub fn schema() -> Value {
    schema::core::<EnvoyGateway>()
}

/// The configuration of a control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!(has(self.extensionManager) && has(self.extensionManagers))",
    "extensionManager and extensionManagers must not both be set"
))]
#[serde(rename_all = "camelCase")]
pub struct EnvoyGateway {
    /// `gateway.envoyproxy.io/v1alpha1`.
    #[schemars(schema_with = "api_version")]
    pub api_version: String,
    /// `EnvoyGateway`.
    #[schemars(schema_with = "kind")]
    pub kind: String,
    /// Which GatewayClasses are ours.
    #[serde(default)]
    pub gateway: GatewaySettings,
    /// Where objects come from and where proxies run.
    #[serde(default)]
    pub provider: Provider,
    /// What is logged, and how.
    #[serde(default)]
    pub logging: Logging,
    /// The admin port.
    #[serde(default)]
    pub admin: Admin,
    /// Metrics and traces of the control plane itself.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// The xDS server.
    #[serde(default)]
    pub xds_server: XdsServer,
    /// Global rate limits; off when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// One extension server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_manager: Option<ExtensionManager>,
    /// Several extension servers, called in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub extension_managers: Vec<ExtensionManager>,
    /// APIs that are off unless asked for.
    #[serde(default)]
    pub extension_apis: ExtensionApis,
    /// Experimental kinds of Gateway API.
    #[serde(default, rename = "gatewayAPI")]
    pub gateway_api: GatewayApiSettings,
    /// Switches between old and new behaviour.
    #[serde(default)]
    pub runtime_flags: RuntimeFlags,
    /// The `spec` of an EnvoyProxy, as the base for every proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envoy_proxy: Option<Opaque>,
}

fn api_version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["gateway.envoyproxy.io/v1alpha1"] })
}

fn kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["EnvoyGateway"] })
}

impl Default for EnvoyGateway {
    /// What a file with nothing but `apiVersion` and `kind` means.
    fn default() -> Self {
        EnvoyGateway {
            api_version: "gateway.envoyproxy.io/v1alpha1".to_owned(),
            kind: "EnvoyGateway".to_owned(),
            gateway: GatewaySettings::default(),
            provider: Provider::default(),
            logging: Logging::default(),
            admin: Admin::default(),
            telemetry: Telemetry::default(),
            xds_server: XdsServer::default(),
            rate_limit: None,
            extension_manager: None,
            extension_managers: Vec::new(),
            extension_apis: ExtensionApis::default(),
            gateway_api: GatewayApiSettings::default(),
            runtime_flags: RuntimeFlags::default(),
            envoy_proxy: None,
        }
    }
}

/// Which GatewayClasses are ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySettings {
    /// Classes with this `controllerName` are.
    #[serde(default = "controller_name")]
    pub controller_name: String,
}

fn controller_name() -> String {
    "gateway.envoyproxy.io/gatewayclass-controller".to_owned()
}

impl Default for GatewaySettings {
    fn default() -> Self {
        GatewaySettings { controller_name: controller_name() }
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
    /// How a log line is written.
    LogEncoder {
        /// As text.
        Text,
        /// As a JSON object.
        #[serde(rename = "JSON")]
        Json,
    }
    /// A part of the control plane whose log level can be set apart.
    LogComponent {
        /// Every part that is not named.
        #[serde(rename = "default")]
        Default,
        /// Watches and status.
        #[serde(rename = "provider")]
        Provider,
        /// Translation of Gateway API.
        #[serde(rename = "gateway-api")]
        GatewayApi,
        /// Translation to xDS.
        #[serde(rename = "xds-translator")]
        XdsTranslator,
        /// The xDS server.
        #[serde(rename = "xds-server")]
        XdsServer,
        /// Both of the above.
        #[serde(rename = "xds")]
        Xds,
        /// Proxies and what runs them.
        #[serde(rename = "infrastructure")]
        Infrastructure,
        /// Global rate limits.
        #[serde(rename = "global-ratelimit")]
        GlobalRatelimit,
    }
    /// How much is logged.
    LogLevel {
        /// Everything.
        #[serde(rename = "trace")]
        Trace,
        /// What helps to find mistakes in the control plane.
        #[serde(rename = "debug")]
        Debug,
        /// What is worth knowing.
        #[serde(rename = "info")]
        Info,
        /// What may be a mistake.
        #[serde(rename = "warn")]
        Warn,
        /// What went wrong.
        #[serde(rename = "error")]
        Error,
        /// What stops the control plane.
        #[serde(rename = "critical")]
        Critical,
        /// Nothing.
        #[serde(rename = "off")]
        Off,
    }
    /// A switch between old and new behaviour.
    RuntimeFlag {
        /// New names of xDS resources. Off unless enabled.
        #[serde(rename = "XDSNameSchemeV2")]
        XdsNameSchemeV2,
        /// An index over EndpointSlices. On unless disabled.
        EndpointSliceIndex,
        /// A secret of its own for each use of the system's authorities. Off unless enabled.
        #[serde(rename = "PerResourceSystemCASecret")]
        PerResourceSystemCaSecret,
    }
    /// An experimental kind of Gateway API.
    GatewayApi {
        /// Gateway API's own XBackendTrafficPolicy.
        XBackendTrafficPolicy,
    }
    /// Where metrics or traces are sent.
    SinkType {
        /// An OpenTelemetry collector.
        OpenTelemetry,
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
    /// Metrics and traces of the control plane itself.
    Telemetry {
        /// Metrics.
        metrics: Metrics,
        /// Traces; none when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        traces: Option<Traces>,
    }
    /// Metrics of the control plane.
    Metrics {
        /// Where they are sent.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        sinks: Vec<Sink>,
        /// The port where Prometheus reads them.
        prometheus: Prometheus,
    }
    /// A port where Prometheus reads metrics.
    Prometheus {
        /// Whether it is off.
        disable: bool,
    }
    /// The xDS server.
    XdsServer {
        /// How long a stream lasts; a random time from 10 to 12 hours when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_connection_age: Option<Duration>,
        /// How long a stream may go on after that; 2 minutes when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_connection_age_grace: Option<Duration>,
        /// Longest request, as a quantity of bytes; 32Mi when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_receive_message_size: Option<Opaque>,
    }
    /// APIs that are off unless asked for.
    ExtensionApis {
        /// EnvoyPatchPolicy.
        enable_envoy_patch_policy: bool,
        /// Backend.
        enable_backend: bool,
        /// Older form of `enableLua: false`.
        #[serde(skip_serializing_if = "Option::is_none")]
        disable_lua: Option<bool>,
        /// Lua in EnvoyExtensionPolicy.
        enable_lua: bool,
        /// Secrets that proxies fetch from a server of the user's.
        #[serde(rename = "enableSDSSecretRef")]
        enable_sds_secret_ref: bool,
    }
    /// Experimental kinds of Gateway API.
    GatewayApiSettings {
        /// Kinds that are on.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        enabled: Vec<GatewayApi>,
    }
    /// Switches between old and new behaviour.
    RuntimeFlags {
        /// Flags that are on.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        enabled: Vec<RuntimeFlag>,
        /// Flags that are off; goes before `enabled`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        disabled: Vec<RuntimeFlag>,
    }
}

impl RuntimeFlags {
    /// Whether a flag is on: `disabled` goes before `enabled`, and that before the flag's own default.
    pub fn is_on(&self, flag: RuntimeFlag) -> bool {
        !self.disabled.contains(&flag)
            && (self.enabled.contains(&flag) || flag == RuntimeFlag::EndpointSliceIndex)
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

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// How much each part logs; `default` is for all others.
    #[serde(default = "info")]
    #[schemars(schema_with = "levels")]
    pub level: BTreeMap<LogComponent, LogLevel>,
    /// How a log line is written.
    #[serde(default = "text")]
    pub encoder: LogEncoder,
}

fn info() -> BTreeMap<LogComponent, LogLevel> {
    BTreeMap::from([(LogComponent::Default, LogLevel::Info)])
}

fn text() -> LogEncoder {
    LogEncoder::Text
}

/// A property for each part, so that a misspelt one is told with the name that is meant.
fn levels(generator: &mut SchemaGenerator) -> Schema {
    let level = LogLevel::json_schema(generator);
    json_schema!({
        "type": "object",
        "properties": {
            "default": level, "provider": level, "gateway-api": level, "xds-translator": level,
            "xds-server": level, "xds": level, "infrastructure": level, "global-ratelimit": level
        }
    })
}

impl Default for Logging {
    fn default() -> Self {
        Logging { level: info(), encoder: text() }
    }
}

/// The admin port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// Where it listens.
    #[serde(default)]
    pub address: AdminAddress,
    /// Whether everything is written to the log as it comes in.
    #[serde(default)]
    pub enable_dump_config: bool,
    /// Whether profiles can be taken.
    #[serde(default)]
    pub enable_pprof: bool,
}

/// An address of the admin port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminAddress {
    /// Port.
    #[serde(default = "admin_port")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: i32,
    /// Host.
    #[serde(default = "admin_host")]
    pub host: String,
}

fn admin_port() -> i32 {
    19000
}

fn admin_host() -> String {
    "127.0.0.1".to_owned()
}

impl Default for AdminAddress {
    fn default() -> Self {
        AdminAddress { port: admin_port(), host: admin_host() }
    }
}

/// Where metrics or traces are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sink {
    /// What is there.
    #[serde(rename = "type")]
    pub type_: SinkType,
    /// An OpenTelemetry collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OpenTelemetrySink>,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenTelemetrySink {
    /// Host.
    pub host: String,
    /// `grpc` or `http`.
    #[schemars(schema_with = "otlp_protocol")]
    pub protocol: String,
    /// Port.
    #[serde(default = "otlp_port")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: i32,
    /// How often metrics are sent; 60s when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_interval: Option<Duration>,
    /// How long sending may take; 30s when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_timeout: Option<Duration>,
}

fn otlp_port() -> i32 {
    4317
}

fn otlp_protocol(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["grpc", "http"] })
}

/// Traces of the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traces {
    /// Where they are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Sink>,
    /// Share that is traced; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate: Option<Fraction>,
}
