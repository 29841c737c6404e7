//! Stage 1: a Gateway's listeners, judged and grouped into sockets.

mod certificates;
mod conflict;
mod infra;
mod listener;
mod overlap;
pub(crate) mod parameters;
mod socket;

use std::sync::Arc;

use ir::{Condition, ConditionStatus, Metadata, ObjectRef, infra::Wish};
use store::{
    Infrastructure, NameId, ObjectId,
    facts::{self, AllowedNamespaces},
};

use crate::Reader;
pub use listener::Judged;
pub use parameters::Judge;
pub use socket::{Chain, Socket};

/// What the gateway stage says of one Gateway. Parts that different readers look at are kept apart, so that a rotated
/// certificate wakes no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayOutput {
    /// The Gateway.
    pub object: ObjectRef,
    /// True when its class is ours. Everything else is empty when it is not.
    pub managed: bool,
    /// True when proxies serve it: it is ours and acceptable as a whole.
    pub served: bool,
    /// Name of the proxy fleet that serves it: `namespace/name`.
    pub fleet: Arc<str>,
    /// Listeners as routes see them, in the order of the spec.
    pub listeners: Arc<[AttachListener]>,
    /// What proxies listen on.
    pub sockets: Box<[Socket]>,
    /// Secrets that proxies need, ascending.
    pub certificates: Box<[ObjectId]>,
    /// Address of the readiness listener; `None` where nobody asks for readiness over the network.
    pub ready_listener: Option<Arc<str>>,
    /// What its proxies need of a cluster; `None` where they are not in one.
    pub wish: Option<Arc<Wish>>,
    /// Conditions.
    pub status: GatewayConditions,
}

/// Conditions of a Gateway and its listeners, except those that need to know the proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayConditions {
    /// `metadata.generation` they were made from.
    pub generation: i64,
    /// Conditions of the Gateway as a whole.
    pub conditions: Vec<Condition>,
    /// Each listener's, in the order of the spec; empty when the Gateway was not looked into.
    pub listeners: Vec<ListenerConditions>,
    /// Paths of fields behind conditions that do not hold, for `--to problems`.
    pub problems: Vec<ir::Problem>,
}

/// Conditions of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConditions {
    /// Its name.
    pub name: Arc<str>,
    /// Kinds of routes that may attach.
    pub supported_kinds: Vec<&'static str>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// A listener as routes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachListener {
    /// The object whose listener it is: the Gateway.
    pub owner: ObjectId,
    /// Name.
    pub name: Arc<str>,
    /// Port of the Gateway.
    pub port: u16,
    /// Hostname; `None` for any.
    pub hostname: Option<NameId>,
    /// True when routes on it are served.
    pub ready: bool,
    /// True when requests come in over TLS.
    pub tls: bool,
    /// True when TLS ends at the listener.
    pub terminates: bool,
    /// Kinds of routes that may attach.
    pub kinds: Vec<&'static str>,
    /// Namespaces whose routes may attach.
    pub namespaces: AllowedNamespaces,
    /// Index of the listener whose route configuration takes its routes.
    pub table: u16,
    /// Name in xDS: `<namespace>/<gateway>/<listener>`.
    pub xds_name: Arc<str>,
    /// What xDS resources made for it say about their origin.
    pub metadata: Metadata,
}

/// Judges one Gateway. `None` when it does not exist. `judge` says whether parameters can be used.
pub fn unit(id: ObjectId, reader: &mut Reader<'_>, judge: Judge) -> Option<GatewayOutput> {
    let gateway = reader.gateway(id)?;
    let object = reader.object(id);
    let fleet: Arc<str> = format!("{}/{}", object.namespace, object.name).into();
    if !is_ours(gateway, reader) {
        return Some(GatewayOutput::empty(object, fleet, false));
    }
    let in_cluster = reader.settings().infrastructure == Infrastructure::Kubernetes;
    if let Some(finding) = unsupported_address(gateway) {
        return Some(refused(gateway, object, fleet, finding, in_cluster, reader));
    }
    let usable = parameters::of_gateway(gateway, reader, judge).and_then(|parameters| {
        let sinks = if in_cluster { infra::metric_sinks(&parameters, reader)? } else { [].into() };
        Ok((parameters, sinks))
    });
    // Without usable parameters nothing of the infrastructure changes, but what runs goes on serving, and goes on
    // following its listeners and routes: a typing error in one place must not stop traffic.
    let (parameters, sinks, unusable) = match usable {
        Ok((parameters, sinks)) => (parameters, sinks, None),
        Err(finding) => (parameters::Parameters::defaults(), [].into(), Some(finding)),
    };
    let mut judged: Vec<Judged<'_>> = gateway
        .listeners
        .iter()
        .map(|listener| listener::judge(gateway, &object, listener, reader))
        .collect();
    conflict::mark(&mut judged, reader);
    overlap::mark(&mut judged, reader);
    let listeners =
        judged.iter().enumerate().map(|(i, j)| attach_listener(gateway, &object, i, j, &judged)).collect();
    let sockets = socket::group(gateway, &fleet, &judged, &parameters, reader);
    let wish = in_cluster.then(|| match unusable {
        Some(_) => infra::on_hold(gateway, &object, reader).into(),
        None => infra::wish(gateway, &object, &judged, &parameters, sinks, reader),
    });
    let mut certificates: Vec<ObjectId> =
        judged.iter().filter(|j| j.ready()).flat_map(|j| j.certificates.iter().map(|c| c.id)).collect();
    certificates.sort_unstable();
    certificates.dedup();
    let mut status = conditions(gateway, &object, judged);
    if let Some(finding) = unusable {
        not_accepted(gateway, &object, finding, &mut status);
    }
    Some(GatewayOutput {
        status,
        object,
        managed: true,
        served: true,
        fleet,
        listeners,
        sockets,
        certificates: certificates.into(),
        ready_listener: in_cluster.then(|| parameters.bind_address().0.into()),
        wish,
    })
}

impl GatewayOutput {
    fn empty(object: ObjectRef, fleet: Arc<str>, managed: bool) -> Self {
        GatewayOutput {
            object,
            managed,
            served: false,
            fleet,
            listeners: [].into(),
            sockets: [].into(),
            certificates: [].into(),
            ready_listener: None,
            wish: None,
            status: GatewayConditions::default(),
        }
    }
}

/// The output of a Gateway that is ours and cannot be accepted.
fn refused(
    gateway: &facts::Gateway,
    object: ObjectRef,
    fleet: Arc<str>,
    finding: crate::Finding,
    in_cluster: bool,
    reader: &mut Reader<'_>,
) -> GatewayOutput {
    let wish = in_cluster.then(|| infra::on_hold(gateway, &object, reader).into());
    let mut output = GatewayOutput::empty(object, fleet, true);
    output.wish = wish;
    output.status.generation = gateway.meta.generation;
    not_accepted(gateway, &output.object, finding, &mut output.status);
    output
}

/// Says why a Gateway is not accepted, in place of what its listeners gave.
fn not_accepted(
    gateway: &facts::Gateway,
    object: &ObjectRef,
    finding: crate::Finding,
    status: &mut GatewayConditions,
) {
    let message = finding.message.to_string();
    status.conditions.retain(|condition| condition.kind != "Accepted");
    let accepted = condition(gateway, "Accepted", ConditionStatus::False, finding.reason, message);
    status.conditions.insert(0, accepted);
    status.problems.push(crate::status::problem(object, "Accepted", finding));
}

/// True when the Gateway's class names our controller. In standalone mode a class that does not exist counts as ours.
fn is_ours(gateway: &facts::Gateway, reader: &mut Reader<'_>) -> bool {
    let settings = reader.settings();
    match reader.gateway_class(gateway.class) {
        Some(class) => class.controller_name == settings.controller_name,
        None => settings.implicit_gateway_class,
    }
}

fn unsupported_address(gateway: &facts::Gateway) -> Option<crate::Finding> {
    let (i, facts::Address { kind, .. }) = gateway
        .addresses
        .iter()
        .enumerate()
        .find(|(_, address)| !matches!(&*address.kind, "IPAddress" | "Hostname"))?;
    Some(crate::Finding::new(
        format!("spec.addresses[{i}].type"),
        "UnsupportedAddress",
        format!("addresses of type {kind} are not supported; use IPAddress or Hostname"),
    ))
}

/// A condition of this Gateway's generation.
fn condition(
    gateway: &facts::Gateway,
    kind: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    message: String,
) -> Condition {
    Condition { kind, status, reason: reason.into(), message, observed_generation: gateway.meta.generation }
}

fn attach_listener(
    gateway: &facts::Gateway,
    object: &ObjectRef,
    index: usize,
    judged: &Judged<'_>,
    all: &[Judged<'_>],
) -> AttachListener {
    // Plain HTTP listeners of a port are told apart by host only, so they share the first one's table.
    let table = all
        .iter()
        .position(|other| {
            other.ready()
                && judged.protocol == listener::Protocol::Http
                && other.protocol == judged.protocol
                && other.fact.port == judged.fact.port
        })
        .filter(|_| judged.ready())
        .unwrap_or(index);
    let listener = judged.fact;
    AttachListener {
        owner: gateway.meta.id,
        name: listener.name.clone(),
        port: listener.port,
        hostname: listener.hostname,
        ready: judged.ready(),
        tls: judged.protocol == listener::Protocol::Https,
        terminates: !judged.certificates.is_empty(),
        kinds: judged.supported_kinds.clone(),
        namespaces: listener.namespaces.clone(),
        // At most 64 listeners by the schema.
        table: table as u16,
        xds_name: xds_name(object, listener),
        metadata: Metadata {
            object: object.clone(),
            section: Some(listener.name.clone()),
            annotations: gateway.meta.annotations.clone(),
        },
    }
}

fn xds_name(object: &ObjectRef, listener: &facts::Listener) -> Arc<str> {
    format!("{}/{}/{}", object.namespace, object.name, listener.name).into()
}

fn conditions(gateway: &facts::Gateway, object: &ObjectRef, judged: Vec<Judged<'_>>) -> GatewayConditions {
    let mut problems = Vec::new();
    let names_of = |judged: &[Judged<'_>], bad: bool| -> Vec<String> {
        (judged.iter().filter(|j| j.accepted() != bad).map(|j| j.fact.name.to_string())).collect()
    };
    let rejected = names_of(&judged, true);
    let accepted = match (rejected.len(), judged.len()) {
        (0, _) => condition(
            gateway,
            "Accepted",
            ConditionStatus::True,
            "Accepted",
            "The Gateway is accepted".to_owned(),
        ),
        (bad, all) if bad == all => condition(
            gateway,
            "Accepted",
            ConditionStatus::False,
            "ListenersNotValid",
            "No listener is valid; see the conditions of the listeners".to_owned(),
        ),
        _ => condition(
            gateway,
            "Accepted",
            ConditionStatus::True,
            "ListenersNotValid",
            format!("Some listeners are not valid: {}", rejected.join(", ")),
        ),
    };
    let listeners = (judged.into_iter().enumerate())
        .map(|(i, j)| {
            let (conditions, found) = j.conditions(gateway.meta.generation);
            problems.extend(found.into_iter().map(|(condition, finding)| ir::Problem {
                object: object.into(),
                field: format!("spec.listeners[{i}]{}", finding.field),
                severity: ir::Severity::Error,
                condition: condition.to_owned(),
                reason: finding.reason.to_owned(),
                message: finding.message.into_owned(),
            }));
            problems.extend(weaknesses(i, &j, object));
            ListenerConditions { name: j.fact.name.clone(), supported_kinds: j.supported_kinds, conditions }
        })
        .collect();
    GatewayConditions { generation: gateway.meta.generation, conditions: vec![accepted], listeners, problems }
}

/// Warnings about certificates that a listener serves although clients may refuse them. No condition tells of them:
/// the listener works.
fn weaknesses<'a>(
    index: usize,
    judged: &'a Judged<'_>,
    object: &'a ObjectRef,
) -> impl Iterator<Item = ir::Problem> + 'a {
    judged.certificates.iter().filter_map(move |certificate| {
        Some(ir::Problem {
            object: object.into(),
            field: format!("spec.listeners[{index}].tls.certificateRefs[{}]", certificate.reference),
            severity: ir::Severity::Warning,
            condition: String::new(),
            reason: "WeakCertificate".to_owned(),
            message: certificate.weakness.clone()?,
        })
    })
}
