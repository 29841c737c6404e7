//! What the operator configured, as far as translation depends on it.

use std::sync::Arc;

use api::tls::MisdirectedRequests;
use ir::infra::Installation;

/// Where proxies run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Infrastructure {
    /// As Deployments in the cluster: ports below 1024 are shifted by 10000, a readiness listener is added.
    Kubernetes,
    /// As child processes on this host: ports are bound as they are.
    Host {
        /// Address to bind for Gateways without `spec.addresses`, such as `127.0.0.1` or `0.0.0.0`.
        listen: Arc<str>,
    },
}

/// Settings of the controller that translation reads (from the `EnvoyGateway` configuration file and flags).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `gateway.controllerName`: GatewayClasses that name it are ours.
    pub controller_name: Arc<str>,
    /// Where proxies run.
    pub infrastructure: Infrastructure,
    /// `extensionApis.enableBackend`: whether routes may refer to `Backend` objects.
    pub enable_backend: bool,
    /// Whether a GatewayClass that does not exist counts as ours (standalone mode).
    pub implicit_gateway_class: bool,
    /// Whether a Namespace that nobody declared counts as there, with no labels of its own (standalone mode). An API
    /// server holds no object in a namespace that is not there, so elsewhere nothing attaches from one.
    pub implicit_namespaces: bool,
    /// Whether the objects may be a part of what the cluster has (documents given to `translate`). Then a GatewayClass
    /// whose EnvoyProxy is not among them is accepted, as Envoy Gateway's own offline translation has it, and a
    /// problem names what is missing.
    pub partial_input: bool,
    /// What the installation gives to all proxies in a cluster.
    pub installation: Arc<Installation>,
    /// Whether Backends may name loopback addresses and single-label hosts (standalone mode).
    pub allow_local_backends: bool,
    /// Whether rules share the clusters of their backends where no EnvoyProxy says so and Gateways are not merged.
    pub merge_backends: bool,
    /// What becomes of misdirected requests where no object says so.
    pub misdirected_requests: MisdirectedRequests,
    /// File on the proxies' machine with the authorities that its system trusts.
    pub system_authorities: Arc<str>,
}

/// Where Envoy's images, as Debian does, keep the authorities that the system trusts.
pub const SYSTEM_AUTHORITIES_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Envoy Gateway's controller name, which existing GatewayClasses carry.
pub const DEFAULT_CONTROLLER_NAME: &str = "gateway.envoyproxy.io/gatewayclass-controller";

impl Default for Settings {
    /// Envoy Gateway's defaults, in a cluster.
    fn default() -> Self {
        Settings {
            controller_name: DEFAULT_CONTROLLER_NAME.into(),
            infrastructure: Infrastructure::Kubernetes,
            enable_backend: false,
            implicit_gateway_class: false,
            implicit_namespaces: false,
            partial_input: false,
            allow_local_backends: false,
            merge_backends: false,
            misdirected_requests: MisdirectedRequests::Misdirect421,
            system_authorities: SYSTEM_AUTHORITIES_FILE.into(),
            installation: Arc::default(),
        }
    }
}
