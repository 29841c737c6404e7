//! From Kubernetes types to facts.

mod backend;
mod backend_tls;
mod envoy_proxy;
mod gateway;
mod grpc_route;
mod http_route;
mod layer4;
mod policy;
mod service;

use std::{collections::BTreeMap, sync::Arc};

use engine::Interner;
use ir::{Kind, ObjectRef, SecretBytes};

use crate::{
    BundleError, NameId, ObjectId, RevocationsError, bundle, certificate, crl,
    facts::{ConfigMap, Fact, GrantFrom, GrantTo, Labels, Meta, Namespace, ReferenceGrant, Secret, Target},
    store::Hold,
};

pub use policy::applied_selector;

/// Annotations under this prefix reach xDS metadata; all others are dropped.
const ANNOTATION_PREFIX: &str = "gateway.envoyproxy.io/";
/// Type of Secrets that hold a certificate with its key.
const TLS_SECRET_TYPE: &str = "kubernetes.io/tls";
/// Label that every Namespace carries with its own name (set by the API server).
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Lowers one object; collects the ids that its fact holds.
pub(crate) struct Lowering<'a> {
    objects: &'a mut Interner<ObjectRef>,
    names: &'a mut Interner<Arc<str>>,
    holds: Vec<Hold>,
    namespace: Arc<str>,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(objects: &'a mut Interner<ObjectRef>, names: &'a mut Interner<Arc<str>>) -> Self {
        Lowering { objects, names, holds: Vec::new(), namespace: "".into() }
    }

    /// The fact, and what it holds. The caller releases the holds when the fact goes.
    pub(crate) fn lower(mut self, object: &api::Object) -> (Fact, Box<[Hold]>) {
        self.namespace = object.namespace().into();
        let fact = match object {
            api::Object::GatewayClass(class) => Fact::GatewayClass(self.gateway_class(class)),
            api::Object::Gateway(gateway) => Fact::Gateway(Arc::new(self.gateway(gateway))),
            api::Object::ListenerSet(set) => Fact::ListenerSet(Arc::new(self.listener_set(set))),
            api::Object::HttpRoute(route) => Fact::HttpRoute(Arc::new(self.http_route(route))),
            api::Object::GrpcRoute(route) => Fact::GrpcRoute(Arc::new(self.grpc_route(route))),
            api::Object::TlsRoute(route) => Fact::TlsRoute(Arc::new(self.tls_route(route))),
            api::Object::TcpRoute(route) => Fact::TcpRoute(Arc::new(self.tcp_route(route))),
            api::Object::UdpRoute(route) => Fact::UdpRoute(Arc::new(self.udp_route(route))),
            api::Object::ReferenceGrant(grant) => Fact::ReferenceGrant(self.reference_grant(grant)),
            api::Object::Namespace(namespace) => Fact::Namespace(self.namespace_fact(namespace)),
            api::Object::Service(service) => Fact::Service(self.service(service)),
            api::Object::EndpointSlice(slice) => Fact::EndpointSlice(self.endpoint_slice(slice)),
            api::Object::ServiceImport(import) => Fact::ServiceImport(self.service_import(import)),
            api::Object::Secret(secret) => Fact::Secret(self.secret(secret)),
            api::Object::ConfigMap(map) => Fact::ConfigMap(self.config_map(map)),
            api::Object::Backend(backend) => Fact::Backend(self.backend(backend)),
            api::Object::EnvoyProxy(proxy) => Fact::EnvoyProxy(self.envoy_proxy(proxy)),
            api::Object::BackendTlsPolicy(policy) => Fact::BackendTlsPolicy(self.backend_tls_policy(policy)),
            api::Object::ClusterTrustBundle(bundle) => {
                Fact::ClusterTrustBundle(self.cluster_trust_bundle(bundle))
            }
            api::Object::BackendTrafficPolicy(policy) => {
                Fact::Policy(Arc::new(self.backend_traffic_policy(policy)))
            }
            api::Object::ClientTrafficPolicy(policy) => {
                Fact::Policy(Arc::new(self.client_traffic_policy(policy)))
            }
        };
        (fact, self.holds.into())
    }

    fn object(&mut self, kind: Kind, namespace: &str, name: &str) -> ObjectId {
        let namespace = if kind.namespaced() { namespace } else { "" };
        let id = self.objects.hold(&ObjectRef::new(kind, namespace, name));
        self.holds.push(Hold::Object(id));
        id
    }

    fn name(&mut self, name: &str) -> NameId {
        let id = self.names.hold(&name.into());
        self.holds.push(Hold::Name(id));
        id
    }

    /// A target in `namespace`, or in the object's own.
    fn target(&mut self, kind: Kind, namespace: Option<&str>, name: &str) -> Target {
        let own = self.namespace.clone();
        let namespace = namespace.unwrap_or(&own);
        Target { id: self.object(kind, namespace, name), namespace: self.name(namespace) }
    }

    fn meta(&mut self, kind: Kind, metadata: &api::ObjectMeta) -> Meta {
        let namespace = self.namespace.clone();
        let annotations = metadata
            .annotations
            .iter()
            .flatten()
            .filter_map(|(key, value)| {
                Some((key.strip_prefix(ANNOTATION_PREFIX)?.into(), value.as_str().into()))
            })
            .collect();
        Meta {
            id: self.object(kind, &namespace, metadata.name.as_deref().unwrap_or_default()),
            namespace: self.name(&namespace),
            namespace_object: self.object(Kind::Namespace, "", &namespace),
            created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            generation: metadata.generation.unwrap_or_default(),
            annotations,
        }
    }

    fn reference_grant(&mut self, grant: &api::ReferenceGrant) -> ReferenceGrant {
        ReferenceGrant {
            meta: self.meta(Kind::ReferenceGrant, &grant.metadata),
            from: (grant.spec.from.iter())
                .map(|from| GrantFrom {
                    group: text(&from.group),
                    kind: text(&from.kind),
                    namespace: text(&from.namespace),
                })
                .collect(),
            to: (grant.spec.to.iter())
                .map(|to| GrantTo {
                    group: text(&to.group),
                    kind: text(&to.kind),
                    name: to.name.as_deref().filter(|name| !name.is_empty()).map(text),
                })
                .collect(),
        }
    }

    fn namespace_fact(&mut self, namespace: &api::CoreNamespace) -> Namespace {
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let mut labels: BTreeMap<Arc<str>, Arc<str>> =
            namespace.metadata.labels.iter().flatten().map(|(k, v)| (text(k), text(v))).collect();
        labels.insert(NAMESPACE_NAME_LABEL.into(), name.into());
        Namespace { meta: self.meta(Kind::Namespace, &namespace.metadata), labels }
    }

    fn secret(&mut self, secret: &api::Secret) -> Secret {
        let data: BTreeMap<Arc<str>, SecretBytes> =
            secret.data.iter().map(|(k, v)| (text(k), SecretBytes::new(v.expose().to_vec()))).collect();
        let is_certificate = secret.type_ == TLS_SECRET_TYPE;
        Secret {
            meta: self.meta(Kind::Secret, &secret.metadata),
            bundle: (!is_certificate || data.contains_key(bundle::AUTHORITIES))
                .then(|| bundle::of_secret(&data)),
            certificate: is_certificate.then(|| certificate::parse(&data).map(Arc::new)),
            revocations: (!is_certificate).then(|| crl::of_secret(&data)),
            kind: text(&secret.type_),
            data,
        }
    }

    fn config_map(&mut self, map: &api::ConfigMap) -> ConfigMap {
        let data: BTreeMap<Arc<str>, Arc<str>> =
            map.data.iter().flatten().map(|(k, v)| (text(k), text(v))).collect();
        ConfigMap {
            meta: self.meta(Kind::ConfigMap, &map.metadata),
            bundle: bundle::entry(&data)
                .ok_or(BundleError::Missing)
                .and_then(|text| bundle::read(text.as_bytes())),
            binary: (map.binary_data.iter().flatten())
                .filter_map(|(key, bytes)| Some((text(key), text(std::str::from_utf8(&bytes.0).ok()?))))
                .collect(),
            revocations: crl::entry(&data)
                .ok_or(RevocationsError::Missing)
                .and_then(|text| crl::read(text.as_bytes())),
            data,
        }
    }
}

/// Secrets and ConfigMaps that an object refers to: what a provider has to have before the object can be judged. It is
/// what the object's fact holds, so it cannot miss what translation reads. In order, each once; without the object
/// itself.
pub fn references(object: &api::Object) -> Vec<ObjectRef> {
    use api::Object::{ConfigMap, EndpointSlice, Namespace, Secret, Service};
    if matches!(object, ConfigMap(_) | EndpointSlice(_) | Namespace(_) | Secret(_) | Service(_)) {
        return Vec::new();
    }
    let (mut objects, mut names) = (Interner::default(), Interner::default());
    let (_, holds) = Lowering::new(&mut objects, &mut names).lower(object);
    let mut references: Vec<ObjectRef> = holds
        .iter()
        .filter_map(|hold| match hold {
            Hold::Object(id) => objects.get(*id),
            Hold::Name(_) => None,
        })
        .filter(|object| matches!(object.kind, Kind::Secret | Kind::ConfigMap))
        .cloned()
        .collect();
    references.sort_unstable();
    references.dedup();
    references
}

/// Labels of an object that may be chosen by them.
fn labels(metadata: &api::ObjectMeta) -> Labels {
    let labels = metadata.labels.iter().flatten();
    Labels::new(labels.map(|(key, value)| (key.as_str(), value.as_str())))
}

/// A shared copy of a string.
fn text(s: &str) -> Arc<str> {
    s.into()
}

/// A port that the schema has bounded to 0–65535; anything else cannot come here and counts as no port.
fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok()
}
