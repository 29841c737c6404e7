//! What a fleet of proxies needs of a cluster: Kubernetes objects and Envoy's bootstrap, from a
//! [`Wish`](ir::infra::Wish).
//!
//! [`render`] gives the objects as they are to be applied, complete; who applies them looks after conflicts, adoption
//! and removal. [`judge`] says of parameters, before any fleet has them, what would make rendering fail.
//!
//! **Invariant:** no IO and no clock; equal input gives equal objects, in every process.

mod access;
mod alias;
pub mod bootstrap;
mod host;
mod kept;
mod merge_keys;
mod metadata;
pub mod names;
mod object;
mod parameters;
mod pod;
mod quantity;
mod scaling;
mod service;
mod user_patch;
mod workload;

pub use bootstrap::Draft;
pub use host::HostSettings;
pub use kept::keep;
pub use object::{ObjectKind, Rendered, RenderedObject};

use std::{collections::BTreeMap, fmt, sync::Arc};

use ir::{
    Kind, ObjectRef,
    infra::{Identity, Installation, Layer4, Owner, ServicePort, Wish},
};
use serde_json::Value;

use metadata::Fleet;
use parameters::Parameters;

/// What rendering depends on beside the wish.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The installation.
    pub installation: &'a Installation,
    /// The authority of the control plane's certificate in PEM (`ca.crt` of the Secret `envoy`), which proxies in
    /// other namespaces cannot mount. Only [`GatewayNamespace`](ir::infra::DeployMode::GatewayNamespace) needs it.
    pub ca: Option<&'a str>,
}

/// Why objects cannot be rendered: the field of the EnvoyProxy at fault, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderError {
    /// Field, such as `spec.provider.kubernetes.envoyService.patch`.
    pub field: String,
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for RenderError {}

impl RenderError {
    fn new(field: &str, message: impl fmt::Display) -> Self {
        RenderError { field: field.to_owned(), message: message.to_string() }
    }
}

/// The objects of a fleet, in the order in which they are to be applied: what Pods mount before the Pods.
///
/// # Errors
///
/// When the parameters are not those of an EnvoyProxy, a patch does not apply, or the bootstrap is not one that Envoy
/// and the control plane can work with.
pub fn render(wish: &Wish, context: &Context<'_>) -> Result<Rendered, RenderError> {
    let parameters = Parameters::read(&wish.parameters)?;
    let fleet = Fleet::new(wish, context, &parameters);
    let bootstrap = bootstrap::build(&fleet)?;
    let mut objects = vec![access::service_account(&fleet), access::config_map(&fleet)];
    let service = service::service(&fleet)?;
    let alias = service.as_ref().and_then(|service| alias::alias(&fleet, service));
    objects.extend(service);
    let workload = workload::workload(&fleet, &bootstrap)?;
    let workload_name = workload.name.clone();
    objects.push(workload);
    objects.extend(scaling::autoscaler(&fleet, &workload_name)?);
    objects.extend(scaling::disruption_budget(&fleet)?);
    Ok(Rendered { fleet: wish.fleet.clone(), namespace: fleet.namespace, objects, alias })
}

/// What a user's change makes of the bootstrap of a fleet, where Envoy itself can be asked about it on this machine. `None`
/// where nobody changes it, and where it can be judged in its Pod alone: with an image of the user's own, whose extensions
/// are not known, with files and variables of the Pod, and with code that Envoy would run as it reads it.
pub fn draft(wish: &Wish, context: &Context<'_>) -> Option<Draft> {
    let parameters = Parameters::read(&wish.parameters).ok()?;
    bootstrap::draft(&Fleet::new(wish, context, &parameters))
}

/// Says whether objects can be rendered with these parameters (the merged `spec` of EnvoyProxies), whatever the
/// Gateway.
///
/// # Errors
///
/// As [`render`].
pub fn judge(parameters: &Arc<Value>, installation: &Installation) -> Result<(), RenderError> {
    let identity =
        |kind, namespace, name| Identity { object: ObjectRef::new(kind, namespace, name), uid: "".into() };
    let wish = Wish {
        fleet: "default/gateway".into(),
        owner: Owner::Gateway(identity(Kind::Gateway, "default", "gateway")),
        class: identity(Kind::GatewayClass, "", "class"),
        // With no port there is no Service, and its patch would not be judged.
        ports: [ServicePort {
            name: "http-80".into(),
            port: 80,
            container_port: 10_080,
            protocol: Layer4::Tcp,
        }]
        .into(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        addresses: [].into(),
        metric_sinks: [].into(),
        parameters: parameters.clone(),
        bootstrap_of: None,
        on_hold: false,
    };
    render(&wish, &Context { installation, ca: None }).map(drop)
}
