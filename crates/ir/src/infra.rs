//! What a fleet of proxies needs of a cluster: the *wish* that the infrastructure crate turns into objects.
//!
//! A wish holds nothing that depends on routes, so equal wishes cut off: while nobody touches a Gateway, its class or
//! its EnvoyProxy, no Deployment is rendered.

pub mod labels;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::{ObjectRef, secret::AuthoritiesSource, tls::SubjectAltName};

/// In which namespace proxies run (`provider.kubernetes.deploy.type` of the EnvoyGateway configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeployMode {
    /// All in the namespace of the control plane. They prove who they are by a client certificate.
    #[default]
    ControllerNamespace,
    /// Each beside its Gateway. They prove who they are by the token of their service account.
    GatewayNamespace,
}

/// What one installation of the control plane gives to all its fleets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Namespace of the control plane; `envoy-gateway-system` by default.
    pub controller_namespace: Arc<str>,
    /// DNS domain of the cluster; `cluster.local` by default.
    pub dns_domain: Arc<str>,
    /// Where proxies run.
    pub mode: DeployMode,
    /// Whether Pods learn their zone from the topology webhook: only then is there a local cluster, which routing by
    /// zone needs. True by default.
    pub topology_injector: bool,
    /// Image of Envoy, where no EnvoyProxy names another.
    pub envoy_image: Arc<str>,
    /// Image of the container that drains Envoy: the control plane's own.
    pub shutdown_manager_image: Arc<str>,
    /// The `spec` of an EnvoyProxy that is the base of all others (`envoyProxy` of the EnvoyGateway configuration).
    pub base: Option<Arc<Value>>,
}

/// Namespace of the control plane in Envoy Gateway's chart.
pub const DEFAULT_CONTROLLER_NAMESPACE: &str = "envoy-gateway-system";
/// Kubernetes' default DNS domain.
pub const DEFAULT_DNS_DOMAIN: &str = "cluster.local";
/// Image of Envoy by default. The tag is the version that this control plane is tested with.
pub const DEFAULT_ENVOY_IMAGE: &str = "envoyproxy/envoy:distroless-v1.40.0";
/// Image of the shutdown manager by default; installations name their own control plane's image.
pub const DEFAULT_SHUTDOWN_MANAGER_IMAGE: &str = concat!("ferrogate/ferrogate:v", env!("CARGO_PKG_VERSION"));

impl Default for Installation {
    fn default() -> Self {
        Installation {
            controller_namespace: DEFAULT_CONTROLLER_NAMESPACE.into(),
            dns_domain: DEFAULT_DNS_DOMAIN.into(),
            mode: DeployMode::default(),
            topology_injector: true,
            envoy_image: DEFAULT_ENVOY_IMAGE.into(),
            shutdown_manager_image: DEFAULT_SHUTDOWN_MANAGER_IMAGE.into(),
            base: None,
        }
    }
}

/// What one fleet of proxies shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Name of the fleet: `namespace/name` of the Gateway, or the name of the class when its Gateways are merged.
    /// It is Envoy's service cluster.
    pub fleet: Arc<str>,
    /// Who owns the objects by label.
    pub owner: Owner,
    /// The class, which owns the objects in [`DeployMode::ControllerNamespace`].
    pub class: Identity,
    /// Ports of the Service, in the order of the listeners; each pair of port and transport is there once.
    pub ports: Box<[ServicePort]>,
    /// `infrastructure.labels`, for every object and Pod.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `infrastructure.annotations`, likewise.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// IP addresses that the Gateway asks for, in order.
    pub addresses: Box<[Arc<str>]>,
    /// Where Envoy sends its metrics, resolved from `telemetry.metrics.sinks`.
    pub metric_sinks: Box<[MetricSink]>,
    /// The merged `spec` of the EnvoyProxies that apply, cut down to what infrastructure depends on.
    pub parameters: Arc<Value>,
    /// The EnvoyProxy that changes Envoy's bootstrap, the most specific one of several; `None` where none does.
    pub bootstrap_of: Option<ObjectRef>,
    /// True while the parameters cannot be used: what is there stays as it is, and nothing new is made.
    pub on_hold: bool,
}

/// The Gateway, or the class of merged Gateways, that a fleet serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// One Gateway.
    Gateway(Identity),
    /// All Gateways of a class.
    GatewayClass(Identity),
}

impl Owner {
    /// The object.
    pub fn identity(&self) -> &Identity {
        match self {
            Owner::Gateway(identity) | Owner::GatewayClass(identity) => identity,
        }
    }
}

/// One object as it exists, for owner references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Kind, namespace, name.
    pub object: ObjectRef,
    /// `metadata.uid`; empty where there is no API server (files).
    pub uid: Arc<str>,
}

/// Layer 4 of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer4 {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One port of a fleet's Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Protocol of the listener in lower case, and the port: `https-443`.
    pub name: Arc<str>,
    /// Port of the listener.
    pub port: u16,
    /// Port that Envoy binds in the Pod.
    pub container_port: u16,
    /// Layer 4.
    pub protocol: Layer4,
}

/// What the proxies of a fleet on a host are told when they start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostProxy {
    /// The merged `spec` of the EnvoyProxies that apply, cut down to what a proxy reads when it starts.
    pub parameters: Arc<Value>,
    /// Where Envoy sends its metrics, resolved from `telemetry.metrics.sinks`.
    pub sinks: Box<[MetricSink]>,
}

/// Where Envoy sends its metrics by OTLP over gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricSink {
    /// Host name or address.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// `:authority` of requests to it.
    pub authority: Arc<str>,
    /// TLS to it; `None` for plain text.
    pub tls: Option<SinkTls>,
    /// Index in `telemetry.metrics.sinks`, where its other settings stand.
    pub index: usize,
}

/// TLS to a collector of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkTls {
    /// Server name to ask for.
    pub sni: Option<Arc<str>>,
    /// The authorities that are trusted, with names of which the certificate must have one, if any; `None` when the
    /// certificate is not looked at.
    pub verification: Option<(AuthoritiesSource, Box<[SubjectAltName]>)>,
}
