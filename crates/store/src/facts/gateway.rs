//! Facts of GatewayClass and Gateway.

use std::{collections::BTreeMap, sync::Arc};

use super::{Meta, Target};
use crate::{NameId, ObjectId};

/// Annotation of a Gateway, or of a class for all Gateways of it: what becomes of requests that come over a connection
/// made for another listener of the port.
pub const MISDIRECTED_REQUESTS: &str = "ferrogate.dev/misdirected-requests";

/// What is kept of a GatewayClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayClass {
    /// Common part.
    pub meta: Meta,
    /// `metadata.uid`; empty for objects from files.
    pub uid: Arc<str>,
    /// `spec.controllerName`.
    pub controller_name: Arc<str>,
    /// `spec.parametersRef`.
    pub parameters: Option<ParametersRef>,
    /// The annotation [`MISDIRECTED_REQUESTS`], as written.
    pub misdirected: Option<Arc<str>>,
}

/// A reference to parameters, by name only: which kinds are known is translation's matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParametersRef {
    /// API group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Namespace: a Gateway's own; for a class the one that it names.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// The EnvoyProxy, when group and kind say so.
    pub target: Option<ObjectId>,
}

/// What is kept of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Common part.
    pub meta: Meta,
    /// `metadata.uid`; empty for objects from files.
    pub uid: Arc<str>,
    /// The class.
    pub class: ObjectId,
    /// `spec.listeners`, in order.
    pub listeners: Box<[Listener]>,
    /// `spec.addresses`, in order.
    pub addresses: Box<[Address]>,
    /// `spec.infrastructure.labels`.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `spec.infrastructure.annotations`.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// `spec.infrastructure.parametersRef`.
    pub parameters: Option<ParametersRef>,
    /// `spec.tls`.
    pub tls: Option<GatewayTls>,
    /// `spec.allowedListeners`: namespaces whose ListenerSets may attach; `None` for no namespace.
    pub allowed_listeners: Option<AllowedNamespaces>,
    /// The annotation [`MISDIRECTED_REQUESTS`], as written.
    pub misdirected: Option<Arc<str>>,
}

/// TLS of a whole Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayTls {
    /// `backend`.
    pub backend: Option<GatewayBackendTls>,
    /// `frontend`.
    pub frontend: Option<FrontendTls>,
}

/// How certificates of clients are checked, by port (GEP-91).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendTls {
    /// `default.validation`: for every port that `ports` does not name.
    pub default: Option<FrontendValidation>,
    /// `perPort`, in order: the port with its `tls.validation`. An entry without one means that nothing is checked on
    /// the port.
    pub ports: Box<[(u16, Option<FrontendValidation>)]>,
}

/// A check of certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendValidation {
    /// `caCertificateRefs`, in order.
    pub authorities: Box<[CertificateRef]>,
    /// True for `mode: AllowInsecureFallback`.
    pub insecure: bool,
}

impl FrontendTls {
    /// The check for one port (`Some`), or for all that have none of their own.
    pub fn of(&self, port: Option<u16>) -> Option<&FrontendValidation> {
        match port {
            None => self.default.as_ref(),
            Some(port) => self.ports.iter().find(|(of, _)| *of == port).and_then(|(_, check)| check.as_ref()),
        }
    }
}

/// TLS from a Gateway to backends. That it is there means something even when it is empty: what an EnvoyProxy says
/// about it then has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayBackendTls {
    /// `clientCertificateRef`.
    pub certificate: Option<CertificateRef>,
}

/// What is kept of a ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSet {
    /// Common part.
    pub meta: Meta,
    /// The Gateway that it is for; `None` when `spec.parentRef` means something else.
    pub gateway: Option<ObjectId>,
    /// `spec.listeners`, in order.
    pub listeners: Box<[Listener]>,
}

/// One address that a Gateway asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `type`.
    pub kind: Arc<str>,
    /// `value`; `None` for any of the type.
    pub value: Option<Arc<str>>,
}

/// One listener of a Gateway or ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `name`.
    pub name: Arc<str>,
    /// `name` as an id, by which later stages tell listeners apart.
    pub id: NameId,
    /// `hostname`; `None` for any (also when it is the empty string).
    pub hostname: Option<NameId>,
    /// `port`.
    pub port: u16,
    /// `protocol`, as written.
    pub protocol: Arc<str>,
    /// `tls`.
    pub tls: Option<ListenerTls>,
    /// `allowedRoutes.namespaces`.
    pub namespaces: AllowedNamespaces,
    /// `allowedRoutes.kinds`; empty for all that the protocol allows.
    pub kinds: Box<[RouteKind]>,
}

/// A kind of route by group and kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKind {
    /// API group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
}

/// TLS settings of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// True for `Passthrough`, false for `Terminate`.
    pub passthrough: bool,
    /// `certificateRefs`, in order.
    pub certificates: Box<[CertificateRef]>,
}

/// A reference to a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRef {
    /// API group; empty for core.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Namespace as written; `None` for that of the Gateway or ListenerSet.
    pub namespace: Option<Arc<str>>,
    /// Name.
    pub name: Arc<str>,
    /// The Secret, when group and kind say so.
    pub target: Option<Target>,
}

/// Namespaces whose routes, or ListenerSets, may attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedNamespaces {
    /// That of what they attach to: of the Gateway or ListenerSet.
    Same,
    /// All.
    All,
    /// Those whose labels match; `None` when no selector was given, which matches nothing.
    Selector(Option<LabelSelector>),
}

/// A label selector (`metav1.LabelSelector`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// Labels that must be there with this value.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Further requirements.
    pub requirements: Box<[LabelRequirement]>,
}

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRequirement {
    /// Label key.
    pub key: Arc<str>,
    /// What must hold; `None` for an operator that Kubernetes does not know, which makes the selector invalid.
    pub operator: Option<Operator>,
    /// Values of `In` and `NotIn`.
    pub values: Box<[Arc<str>]>,
}

/// Operator of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The value is one of the values.
    In,
    /// The label is absent or its value is none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl LabelSelector {
    /// A selector that chooses nothing.
    pub fn nothing() -> Self {
        let impossible = LabelRequirement { key: "".into(), operator: None, values: [].into() };
        LabelSelector { requirements: [impossible].into(), ..LabelSelector::default() }
    }

    /// True when labels satisfy all requirements (an empty selector matches everything). A requirement with an
    /// unknown operator matches nothing.
    pub fn matches(&self, labels: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
        self.labels.iter().all(|(k, v)| labels.get(k) == Some(v))
            && self.requirements.iter().all(|r| {
                let value = labels.get(&r.key);
                match r.operator {
                    Some(Operator::In) => value.is_some_and(|v| r.values.contains(v)),
                    Some(Operator::NotIn) => value.is_none_or(|v| !r.values.contains(v)),
                    Some(Operator::Exists) => value.is_some(),
                    Some(Operator::DoesNotExist) => value.is_none(),
                    None => false,
                }
            })
    }

    /// Why Kubernetes would refuse the selector, in words; `None` when it is valid.
    pub fn invalid(&self) -> Option<String> {
        self.requirements.iter().find_map(|r| match r.operator {
            None => {
                Some(format!("the operator for key {:?} must be In, NotIn, Exists or DoesNotExist", r.key))
            }
            Some(Operator::In | Operator::NotIn) if r.values.is_empty() => {
                Some(format!("the operator for key {:?} needs at least one value", r.key))
            }
            Some(Operator::Exists | Operator::DoesNotExist) if !r.values.is_empty() => {
                Some(format!("the operator for key {:?} takes no values", r.key))
            }
            Some(_) => None,
        })
    }
}
