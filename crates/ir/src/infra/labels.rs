//! Labels of the objects that run proxies. They are Envoy Gateway's, so that its objects are found and taken over.

/// What runs.
pub const NAME: &str = "app.kubernetes.io/name";
/// [`NAME`] of proxies.
pub const NAME_ENVOY: &str = "envoy";
/// Which part of it.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// [`COMPONENT`] of proxies.
pub const COMPONENT_PROXY: &str = "proxy";
/// [`COMPONENT`] of the Service by which a Gateway is known in its own namespace.
pub const COMPONENT_ALIAS: &str = "gateway-alias";
/// Who looks after the object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// [`MANAGED_BY`] of objects of this control plane and of Envoy Gateway.
pub const MANAGED_BY_ENVOY_GATEWAY: &str = "envoy-gateway";
/// Namespace of the Gateway that the object is for.
pub const OWNING_GATEWAY_NAMESPACE: &str = "gateway.envoyproxy.io/owning-gateway-namespace";
/// Name of the Gateway that the object is for.
pub const OWNING_GATEWAY_NAME: &str = "gateway.envoyproxy.io/owning-gateway-name";
/// Name of the GatewayClass whose merged Gateways the object is for; then there are no labels of a Gateway.
pub const OWNING_GATEWAY_CLASS: &str = "gateway.envoyproxy.io/owning-gatewayclass";
/// Name of the Gateway, for objects beside it (GEP-1762).
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Zone of a Node; proxies have it as an annotation.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Region of a Node; proxies have it as an annotation.
pub const REGION: &str = "topology.kubernetes.io/region";

/// The labels that every object and Pod of a proxy has, whoever owns it.
pub const APP: [(&str, &str); 3] =
    [(NAME, NAME_ENVOY), (COMPONENT, COMPONENT_PROXY), (MANAGED_BY, MANAGED_BY_ENVOY_GATEWAY)];
