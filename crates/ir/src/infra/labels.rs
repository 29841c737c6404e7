//! Labels of the objects that run proxies. They are Envoy Gateway's, so that its objects are found and taken over.

/// What runs.
pub const NAME: &str = "app.kubernetes.io/name";
/// [`NAME`] of proxies.
pub const NAME_ENVOY: &str = "envoy";
/// Which part of it.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// [`COMPONENT`] of proxies.
pub const COMPONENT_PROXY: &str = "proxy";
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
/// Name of the Gateway, for objects beside it (GEP-1762). Only in `DeployMode::GatewayNamespace`.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// The labels that every object and Pod of a proxy has, whoever owns it.
pub const APP: [(&str, &str); 3] =
    [(NAME, NAME_ENVOY), (COMPONENT, COMPONENT_PROXY), (MANAGED_BY, MANAGED_BY_ENVOY_GATEWAY)];
