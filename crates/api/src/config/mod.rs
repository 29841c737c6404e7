//! Envoy Gateway's configuration file (`--config`), so that a file written for it works unchanged.
//!
//! Fields without effect yet are typed all the same: a file is refused for what is wrong in it, never for what is
//! right. Parts that hold other APIs whole (pod templates, an EnvoyProxy) are kept as they are, in [`Opaque`].

pub(crate) mod declare;
mod extension;
mod provider;
mod rate_limit;
mod telemetry;

pub use extension::*;
pub use provider::*;
pub use rate_limit::*;
pub use telemetry::*;

use std::{borrow::Cow, collections::BTreeMap};

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::declare::{choices, settings};
use crate::{schema, text::Duration, tls::MisdirectedRequests};

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
    /// What becomes of requests over connections that were made for another listener, where no object says so:
    /// `Misdirect421` when unset. Not a field of Envoy Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misdirected_requests: Option<MisdirectedRequests>,
}

fn controller_name() -> String {
    "gateway.envoyproxy.io/gatewayclass-controller".to_owned()
}

impl Default for GatewaySettings {
    fn default() -> Self {
        GatewaySettings { controller_name: controller_name(), misdirected_requests: None }
    }
}

choices! {
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
}

settings! {
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
