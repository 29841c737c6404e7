//! GatewayClass and Gateway.

use std::sync::Arc;

use ir::Kind;

use super::{Lowering, port, text};
use crate::facts::{
    Address, AllowedNamespaces, CertificateRef, FrontendTls, FrontendValidation, Gateway, GatewayBackendTls,
    GatewayClass, GatewayTls, LabelRequirement, LabelSelector, Listener, ListenerSet, ListenerTls,
    MISDIRECTED_REQUESTS, Operator, ParametersRef, RouteKind,
};

/// Namespace of the parameters of a class that names none, as with Envoy Gateway.
const DEFAULT_PARAMETERS_NAMESPACE: &str = "default";

impl Lowering<'_> {
    pub(super) fn gateway_class(&mut self, class: &api::GatewayClass) -> GatewayClass {
        GatewayClass {
            meta: self.meta(Kind::GatewayClass, &class.metadata),
            uid: text(class.metadata.uid.as_deref().unwrap_or_default()),
            controller_name: text(&class.spec.controller_name),
            parameters: class.spec.parameters_ref.as_ref().map(|p| {
                let namespace = p.namespace.as_deref().unwrap_or(DEFAULT_PARAMETERS_NAMESPACE);
                self.parameters((&p.group, &p.kind), namespace, &p.name)
            }),
            misdirected: misdirected(&class.metadata),
        }
    }

    pub(super) fn gateway(&mut self, gateway: &api::Gateway) -> Gateway {
        let spec = &gateway.spec;
        let infrastructure = spec.infrastructure.as_ref();
        Gateway {
            meta: self.meta(Kind::Gateway, &gateway.metadata),
            uid: text(gateway.metadata.uid.as_deref().unwrap_or_default()),
            class: self.object(Kind::GatewayClass, "", &spec.gateway_class_name),
            listeners: spec.listeners.iter().map(|listener| self.listener(listener)).collect(),
            addresses: (spec.addresses.iter())
                .map(|address| Address {
                    kind: text(&address.type_),
                    value: address.value.as_deref().map(text),
                })
                .collect(),
            labels: (infrastructure.into_iter().flat_map(|i| &i.labels))
                .map(|(key, value)| (text(key), text(value)))
                .collect(),
            annotations: (infrastructure.into_iter().flat_map(|i| &i.annotations))
                .map(|(key, value)| (text(key), text(value)))
                .collect(),
            parameters: infrastructure.and_then(|i| i.parameters_ref.as_ref()).map(|p| {
                let namespace = self.namespace.clone();
                self.parameters((&p.group, &p.kind), &namespace, &p.name)
            }),
            tls: spec.tls.as_ref().map(|tls| GatewayTls {
                backend: tls.backend.as_ref().map(|backend| GatewayBackendTls {
                    certificate: backend.client_certificate_ref.as_ref().map(|r| self.certificate_ref(r)),
                }),
                frontend: tls.frontend.as_ref().map(|frontend| self.frontend(frontend)),
            }),
            allowed_listeners: spec.allowed_listeners.as_ref().and_then(|allowed| {
                let selector = allowed.namespaces.selector.as_ref();
                match allowed.namespaces.from {
                    api::ListenerFromNamespaces::All => Some(AllowedNamespaces::All),
                    api::ListenerFromNamespaces::Same => Some(AllowedNamespaces::Same),
                    api::ListenerFromNamespaces::Selector => {
                        Some(AllowedNamespaces::Selector(selector.map(label_selector)))
                    }
                    api::ListenerFromNamespaces::None => None,
                }
            }),
            misdirected: misdirected(&gateway.metadata),
        }
    }

    fn frontend(&mut self, frontend: &api::FrontendTlsConfig) -> FrontendTls {
        let mut check = |tls: &api::TlsConfig| {
            tls.validation.as_ref().map(|validation| FrontendValidation {
                authorities: (validation.ca_certificate_refs.iter())
                    .map(|r| self.authority(&r.group, &r.kind, r.namespace.as_deref(), &r.name))
                    .collect(),
                insecure: validation.mode == api::FrontendValidationModeType::AllowInsecureFallback,
            })
        };
        FrontendTls {
            default: check(&frontend.default),
            ports: (frontend.per_port.iter())
                .filter_map(|entry| Some((port(entry.port)?, check(&entry.tls))))
                .collect(),
        }
    }

    pub(super) fn listener_set(&mut self, set: &api::ListenerSet) -> ListenerSet {
        let parent = &set.spec.parent_ref;
        let is_gateway = parent_kind(&parent.group, &parent.kind) == Some(Kind::Gateway);
        let own = self.namespace.clone();
        ListenerSet {
            meta: self.meta(Kind::ListenerSet, &set.metadata),
            gateway: is_gateway.then(|| {
                self.object(Kind::Gateway, parent.namespace.as_deref().unwrap_or(&own), &parent.name)
            }),
            listeners: set.spec.listeners.iter().map(|listener| self.listener(listener)).collect(),
        }
    }

    fn parameters(&mut self, (group, kind): (&str, &str), namespace: &str, name: &str) -> ParametersRef {
        let known = Kind::EnvoyProxy;
        ParametersRef {
            group: text(group),
            kind: text(kind),
            namespace: text(namespace),
            name: text(name),
            target: (group == known.group() && kind == known.name())
                .then(|| self.object(known, namespace, name)),
        }
    }

    fn listener(&mut self, listener: &api::Listener) -> Listener {
        Listener {
            name: text(&listener.name),
            id: self.name(&listener.name),
            hostname: listener.hostname.as_deref().filter(|h| !h.is_empty()).map(|h| self.name(h)),
            port: port(listener.port).unwrap_or_default(),
            protocol: text(&listener.protocol),
            tls: listener.tls.as_ref().map(|tls| ListenerTls {
                passthrough: tls.mode == api::TlsModeType::Passthrough,
                certificates: tls.certificate_refs.iter().map(|r| self.certificate_ref(r)).collect(),
            }),
            namespaces: match listener.allowed_routes.namespaces.from {
                api::FromNamespaces::All => AllowedNamespaces::All,
                api::FromNamespaces::Same => AllowedNamespaces::Same,
                api::FromNamespaces::Selector => AllowedNamespaces::Selector(
                    listener.allowed_routes.namespaces.selector.as_ref().map(label_selector),
                ),
            },
            kinds: (listener.allowed_routes.kinds.iter())
                .map(|kind| RouteKind { group: text(&kind.group), kind: text(&kind.kind) })
                .collect(),
        }
    }

    pub(super) fn certificate_ref(&mut self, reference: &api::SecretObjectReference) -> CertificateRef {
        let is_secret = reference.group.is_empty() && &*reference.kind == Kind::Secret.name();
        CertificateRef {
            group: text(&reference.group),
            kind: text(&reference.kind),
            namespace: reference.namespace.as_deref().map(text),
            name: text(&reference.name),
            target: is_secret
                .then(|| self.target(Kind::Secret, reference.namespace.as_deref(), &reference.name)),
        }
    }
}

fn misdirected(metadata: &api::ObjectMeta) -> Option<Arc<str>> {
    metadata.annotations.as_ref()?.get(MISDIRECTED_REQUESTS).map(|value| text(value))
}

pub(super) fn label_selector(selector: &api::LabelSelector) -> LabelSelector {
    LabelSelector {
        labels: selector.match_labels.iter().map(|(k, v)| (text(k), text(v))).collect(),
        requirements: (selector.match_expressions.iter())
            .map(|r| LabelRequirement {
                key: text(&r.key),
                operator: match r.operator.as_str() {
                    "In" => Some(Operator::In),
                    "NotIn" => Some(Operator::NotIn),
                    "Exists" => Some(Operator::Exists),
                    "DoesNotExist" => Some(Operator::DoesNotExist),
                    _ => None,
                },
                values: r.values.iter().map(|v| text(v)).collect(),
            })
            .collect(),
    }
}

/// What a parent of a route is, by group and kind; `None` for what is neither Gateway nor ListenerSet.
pub(super) fn parent_kind(group: &str, kind: &str) -> Option<Kind> {
    [Kind::Gateway, Kind::ListenerSet]
        .into_iter()
        .find(|parent| parent.group() == group && parent.name() == kind)
}
