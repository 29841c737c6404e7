//! EnvoyProxy: how the proxies of a Gateway, or of all Gateways of a class, run and behave (Envoy Gateway's kind).

mod bootstrap;
mod core_part;
mod kubernetes;
mod telemetry;

pub use bootstrap::*;
pub use core_part::CorePart;
pub use kubernetes::*;
pub use telemetry::*;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    common::{Condition, LabelSelector, ParentReference, SecretObjectReference, is_false},
    config::{
        LogLevel,
        declare::{choices, settings},
    },
    text::Duration,
    tls::{TlsFingerprintType, TlsVersion},
};

/// How proxies run and behave.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gateway.envoyproxy.io",
    version = "v1alpha1",
    kind = "EnvoyProxy",
    plural = "envoyproxies",
    namespaced
)]
#[kube(
    status = "EnvoyProxyStatus",
    shortname = "eproxy",
    category = "envoy-gateway",
    derive = "PartialEq",
    schema = "disabled"
)]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[x_kube(validation = (
    "!(has(self.mergeGateways) && self.mergeGateways && has(self.mergeBackends))",
    "mergeBackends must not be set when mergeGateways is true"
))]
#[x_kube(validation = (
    "!(has(self.lua) && has(self.luaValidation))",
    "lua and luaValidation must not both be set"
))]
#[serde(rename_all = "camelCase")]
pub struct EnvoyProxySpec {
    /// How this object goes together with a less specific one: the class's over that of the configuration file, the
    /// Gateway's over both. `Replace` when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_type: Option<EnvoyProxyMergeType>,
    /// Where proxies run, and the objects that run them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<EnvoyProxyProvider>,
    /// What proxies write to their log.
    #[serde(default)]
    pub logging: ProxyLogging,
    /// Access logs, traces and metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<ProxyTelemetry>,
    /// Changes to Envoy's bootstrap configuration.
    /// Envoy: `Bootstrap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<ProxyBootstrap>,
    /// Number of worker threads; the number of CPUs that the proxy may use when unset.
    /// Envoy: argument `--concurrency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<i32>,
    /// Whether requests go to the endpoints of a Service or to its cluster IP; `Endpoint` when unset.
    /// Envoy: endpoints of the `ClusterLoadAssignment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_type: Option<RoutingType>,
    /// Further arguments of Envoy's command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_args: Vec<String>,
    /// Whether all Gateways of the class share one set of proxies. Without effect on a Gateway's own EnvoyProxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_gateways: Option<bool>,
    /// Whether routes with the same backend share one cluster; off when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_backends: Option<MergeBackends>,
    /// How proxies stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<ShutdownConfig>,
    /// Changes to the order of HTTP filters, made one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter_order: Vec<FilterPosition>,
    /// TLS towards backends, where no policy says otherwise.
    #[serde(default, rename = "backendTLS", skip_serializing_if = "Option::is_none")]
    pub backend_tls: Option<BackendTlsConfig>,
    /// Which IP addresses proxies listen on; `IPv4` when unset.
    /// Envoy: `Listener.address`, `SocketAddress.ipv4_compat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family: Option<IpFamily>,
    /// Whether routes keep the order in which they are written, instead of the most specific match going first.
    /// Envoy: the order of `VirtualHost.routes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve_route_order: Option<bool>,
    /// How Lua of EnvoyExtensionPolicies is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lua: Option<LuaSettings>,
    /// Older form of `lua.validationType`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lua_validation: Option<LuaValidation>,
    /// Modules that EnvoyExtensionPolicies may load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub dynamic_modules: Vec<DynamicModuleEntry>,
    /// Databases that tell where an address is.
    #[serde(default, rename = "geoIP", skip_serializing_if = "Option::is_none")]
    pub geo_ip: Option<GeoIp>,
}

choices! {
    /// How an EnvoyProxy goes together with a less specific one.
    EnvoyProxyMergeType {
        /// The less specific one has no effect.
        Replace,
        /// Kubernetes' strategic merge.
        StrategicMerge,
        /// JSON merge patch (RFC 7396).
        JSONMerge,
    }
    /// Where proxies run.
    EnvoyProxyProviderType {
        /// In a Kubernetes cluster.
        Kubernetes,
        /// As processes of a host.
        Host,
    }
    /// A part of Envoy whose log level can be set apart.
    ProxyLogComponent {
        /// Every part that is not named.
        #[serde(rename = "default")]
        Default,
        /// Connections to backends.
        #[serde(rename = "upstream")]
        Upstream,
        /// HTTP.
        #[serde(rename = "http")]
        Http,
        /// Connections.
        #[serde(rename = "connection")]
        Connection,
        /// The admin interface.
        #[serde(rename = "admin")]
        Admin,
        /// Envoy as an HTTP client.
        #[serde(rename = "client")]
        Client,
        /// Filters.
        #[serde(rename = "filter")]
        Filter,
        /// Start and stop.
        #[serde(rename = "main")]
        Main,
        /// The router.
        #[serde(rename = "router")]
        Router,
        /// Runtime settings.
        #[serde(rename = "runtime")]
        Runtime,
    }
    /// Where requests to a Service go.
    RoutingType {
        /// To its endpoints.
        Endpoint,
        /// To its cluster IP.
        Service,
    }
    /// IP addresses to listen on.
    IpFamily {
        /// IPv4 alone.
        IPv4,
        /// IPv6 alone.
        IPv6,
        /// Both.
        DualStack,
    }
    /// How Lua is checked.
    LuaValidation {
        /// It is run in a sandbox.
        Strict,
        /// Its syntax alone.
        InsecureSyntax,
        /// Not at all.
        Disabled,
    }
    /// An HTTP filter that can be moved.
    EnvoyFilter {
        /// Custom responses.
        #[serde(rename = "envoy.filters.http.custom_response")]
        CustomResponse,
        /// Health checks.
        #[serde(rename = "envoy.filters.http.health_check")]
        HealthCheck,
        /// Faults.
        #[serde(rename = "envoy.filters.http.fault")]
        Fault,
        /// Cross-origin requests.
        #[serde(rename = "envoy.filters.http.cors")]
        Cors,
        /// Forged cross-site requests.
        #[serde(rename = "envoy.filters.http.csrf")]
        Csrf,
        /// Changes to headers.
        #[serde(rename = "envoy.filters.http.header_mutation")]
        HeaderMutation,
        /// External authorization.
        #[serde(rename = "envoy.filters.http.ext_authz")]
        ExtAuthz,
        /// API keys.
        #[serde(rename = "envoy.filters.http.api_key_auth")]
        ApiKeyAuth,
        /// Basic authentication.
        #[serde(rename = "envoy.filters.http.basic_auth")]
        BasicAuth,
        /// OpenID Connect.
        #[serde(rename = "envoy.filters.http.oauth2")]
        Oauth2,
        /// JSON web tokens.
        #[serde(rename = "envoy.filters.http.jwt_authn")]
        JwtAuthn,
        /// Session persistence.
        #[serde(rename = "envoy.filters.http.stateful_session")]
        StatefulSession,
        /// Request buffers.
        #[serde(rename = "envoy.filters.http.buffer")]
        Buffer,
        /// Lua.
        #[serde(rename = "envoy.filters.http.lua")]
        Lua,
        /// External processing.
        #[serde(rename = "envoy.filters.http.ext_proc")]
        ExtProc,
        /// Wasm.
        #[serde(rename = "envoy.filters.http.wasm")]
        Wasm,
        /// Dynamic modules.
        #[serde(rename = "envoy.filters.http.dynamic_modules")]
        DynamicModules,
        /// Where addresses are.
        #[serde(rename = "envoy.filters.http.geoip")]
        GeoIp,
        /// Authorization.
        #[serde(rename = "envoy.filters.http.rbac")]
        Rbac,
        /// Local rate limits.
        #[serde(rename = "envoy.filters.http.local_ratelimit")]
        LocalRateLimit,
        /// Global rate limits.
        #[serde(rename = "envoy.filters.http.ratelimit")]
        RateLimit,
        /// Bandwidth limits.
        #[serde(rename = "envoy.filters.http.bandwidth_limit")]
        BandwidthLimit,
        /// gRPC-Web.
        #[serde(rename = "envoy.filters.http.grpc_web")]
        GrpcWeb,
        /// Statistics of gRPC.
        #[serde(rename = "envoy.filters.http.grpc_stats")]
        GrpcStats,
        /// Credentials for backends.
        #[serde(rename = "envoy.filters.http.credential_injector")]
        CredentialInjector,
        /// Compression.
        #[serde(rename = "envoy.filters.http.compressor")]
        Compressor,
        /// Backends by the Host header.
        #[serde(rename = "envoy.filters.http.dynamic_forward_proxy")]
        DynamicForwardProxy,
    }
    /// Where the file of a module comes from.
    DynamicModuleSourceType {
        /// It is in the proxy's file system.
        Local,
        /// It is fetched.
        Remote,
    }
    /// Whose database tells where addresses are.
    GeoIpProviderType {
        /// MaxMind's.
        MaxMind,
    }
}

/// Where proxies run, and the objects that run them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyProxyProvider {
    /// Which of the two fields below counts.
    #[serde(rename = "type")]
    pub type_: EnvoyProxyProviderType,
    /// Objects in a Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<EnvoyProxyKubernetesProvider>,
    /// Processes of a host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<EnvoyProxyHostProvider>,
}

settings! {
    /// Processes of a host.
    EnvoyProxyHostProvider {
        /// Version of Envoy; the one that the control plane was built for when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        envoy_version: Option<String>,
    }
    /// How proxies stop.
    ShutdownConfig {
        /// How long the proxy goes on after it began to drain, before it says that it is not ready; 0s when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        health_check_failure_delay: Option<Duration>,
        /// How long connections may take to end; 60s when unset.
        /// Envoy: argument `--drain-time-s`.
        #[serde(skip_serializing_if = "Option::is_none")]
        drain_timeout: Option<Duration>,
        /// How long the proxy drains at least; 10s when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        min_drain_duration: Option<Duration>,
    }
    /// Routes with the same backend share one cluster.
    MergeBackends {
        /// Routes that this is for, by their labels; all when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        selector: Option<LabelSelector>,
    }
    /// How Lua is checked.
    LuaSettings {
        /// How thoroughly; `Strict` when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        validation_type: Option<LuaValidation>,
        /// What a script may reach while it is checked.
        #[serde(skip_serializing_if = "Option::is_none")]
        strict_validation: Option<LuaStrictValidation>,
    }
    /// What a script may reach while it is checked.
    LuaStrictValidation {
        /// Files.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 64))]
        allowed_paths: Vec<String>,
        /// Environment variables.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 64))]
        allowed_env_vars: Vec<String>,
    }
    /// TLS towards backends.
    BackendTlsConfig {
        /// Certificate that is shown to backends, in the namespace of this object.
        /// Envoy: `CommonTlsContext.tls_certificate_sds_secret_configs`.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_certificate_ref: Option<SecretObjectReference>,
        /// Oldest TLS version; 1.2 when unset.
        /// Envoy: `TlsParameters.tls_minimum_protocol_version`.
        #[serde(skip_serializing_if = "Option::is_none")]
        min_version: Option<TlsVersion>,
        /// Newest TLS version; 1.3 when unset.
        /// Envoy: `TlsParameters.tls_maximum_protocol_version`.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_version: Option<TlsVersion>,
        /// Cipher suites for TLS up to 1.2, in BoringSSL's names.
        /// Envoy: `TlsParameters.cipher_suites`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        ciphers: Vec<String>,
        /// Elliptic curves.
        /// Envoy: `TlsParameters.ecdh_curves`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        ecdh_curves: Vec<String>,
        /// Signature algorithms.
        /// Envoy: `TlsParameters.signature_algorithms`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        signature_algorithms: Vec<String>,
        /// Protocols that are offered (ALPN); unset and empty differ: empty offers none.
        /// Envoy: `CommonTlsContext.alpn_protocols`.
        #[serde(skip_serializing_if = "Option::is_none")]
        alpn_protocols: Option<Vec<String>>,
        /// Fingerprints of the handshake to record. They are of clients of listeners alone, so this has no effect.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        fingerprints: Vec<TlsFingerprintType>,
    }
    /// State of an EnvoyProxy.
    EnvoyProxyStatus {
        /// What the control plane thinks of it, by the object that refers to it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
        ancestors: Vec<EnvoyProxyAncestorStatus>,
    }
}

/// What the control plane thinks of an EnvoyProxy in the place of one reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyProxyAncestorStatus {
    /// The GatewayClass or Gateway that refers to it.
    pub ancestor_ref: ParentReference,
    /// `Accepted`, `Warning`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What proxies write to their log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyLogging {
    /// How much each part of Envoy logs; `default` is for all others.
    /// Envoy: arguments `--log-level` and `--component-log-level`.
    #[serde(default = "warn")]
    #[schemars(schema_with = "levels")]
    pub level: BTreeMap<ProxyLogComponent, LogLevel>,
}

fn warn() -> BTreeMap<ProxyLogComponent, LogLevel> {
    BTreeMap::from([(ProxyLogComponent::Default, LogLevel::Warn)])
}

/// A property for each part, so that a misspelt one is told with the name that is meant.
fn levels(generator: &mut SchemaGenerator) -> Schema {
    let level = LogLevel::json_schema(generator);
    json_schema!({
        "type": "object",
        "properties": {
            "default": level, "upstream": level, "http": level, "connection": level, "admin": level,
            "client": level, "filter": level, "main": level, "router": level, "runtime": level
        }
    })
}

impl Default for ProxyLogging {
    fn default() -> Self {
        ProxyLogging { level: warn() }
    }
}

/// One change to the order of HTTP filters. The router cannot be moved, nor anything past it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "has(self.before) != has(self.after)",
    "exactly one of before and after must be set"
))]
#[serde(rename_all = "camelCase")]
pub struct FilterPosition {
    /// The filter that is moved.
    pub name: EnvoyFilter,
    /// It goes before the first of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<EnvoyFilter>,
    /// It goes after the last of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<EnvoyFilter>,
}

/// A module that EnvoyExtensionPolicies may load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DynamicModuleEntry {
    /// Name by which policies refer to it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Where its file comes from.
    pub source: DynamicModuleSource,
    /// Whether it stays loaded once it was.
    #[serde(default, skip_serializing_if = "is_false")]
    pub do_not_close: bool,
    /// Whether other modules see its symbols.
    #[serde(default, skip_serializing_if = "is_false")]
    pub load_globally: bool,
}

/// Where the file of a module comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.type == 'Remote' ? has(self.remote) && !has(self.local) : has(self.local) && !has(self.remote)",
    "local must be set for type Local and remote for type Remote, and not the other"
))]
#[serde(rename_all = "camelCase")]
pub struct DynamicModuleSource {
    /// Which of the two fields below counts.
    #[serde(default = "local", rename = "type")]
    pub type_: DynamicModuleSourceType,
    /// A file in the proxy's file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalFile>,
    /// A file that is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteFile>,
}

fn local() -> DynamicModuleSourceType {
    DynamicModuleSourceType::Local
}

/// A file in the proxy's file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalFile {
    /// Its path.
    #[schemars(length(min = 1))]
    pub path: String,
}

/// A file that is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteFile {
    /// Where it is.
    #[schemars(length(min = 1))]
    pub url: String,
    /// SHA-256 of its content, in hexadecimal digits.
    #[schemars(regex(pattern = "^[a-f0-9]{64}$"))]
    pub sha256: String,
}

/// Databases that tell where an address is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeoIp {
    /// Whose they are.
    pub provider: GeoIpProvider,
}

/// Whose database tells where an address is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.type != 'MaxMind' || has(self.maxMind)", "maxMind must be set for type MaxMind"))]
#[serde(rename_all = "camelCase")]
pub struct GeoIpProvider {
    /// Which of the fields below counts.
    #[serde(rename = "type")]
    pub type_: GeoIpProviderType,
    /// MaxMind's databases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_mind: Option<MaxMind>,
}

/// MaxMind's databases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "has(self.cityDbSource) || has(self.countryDbSource) || has(self.asnDbSource) || has(self.ispDbSource) || has(self.anonymousIpDbSource)",
    "at least one database must be set"
))]
#[serde(rename_all = "camelCase")]
pub struct MaxMind {
    /// Cities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city_db_source: Option<GeoIpDbSource>,
    /// Countries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country_db_source: Option<GeoIpDbSource>,
    /// Autonomous systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn_db_source: Option<GeoIpDbSource>,
    /// Internet providers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isp_db_source: Option<GeoIpDbSource>,
    /// Anonymizing services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous_ip_db_source: Option<GeoIpDbSource>,
}

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeoIpDbSource {
    /// A file in the proxy's file system.
    pub local: GeoIpDbFile,
}

/// A database in the proxy's file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeoIpDbFile {
    /// Its path, which ends with `.mmdb`.
    #[schemars(length(min = 1), regex(pattern = r"^.*\.mmdb$"))]
    pub path: String,
}
