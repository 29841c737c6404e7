//! Parameters: the EnvoyProxies that apply to a class or a Gateway, merged.

use std::sync::Arc;

use ir::{
    infra::{DeployMode, Installation},
    listener::FilterMove,
    traffic::Routing,
};
use serde_json::{Map, Value};
use store::{Infrastructure, ObjectId, facts};

use crate::{Finding, Reader, shared::Merging};

/// Says whether objects can be made with merged parameters; an error is a sentence. It is asked of whoever makes them.
pub type Judge = fn(&Arc<Value>, &Installation) -> Result<(), String>;

/// Reason of `Accepted` when parameters cannot be used.
pub(crate) const INVALID_PARAMETERS: &str = "InvalidParameters";

/// The field that has rules share clusters.
const MERGE_BACKENDS: &str = "mergeBackends";

/// Merged parameters.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    /// The merged `spec`.
    pub spec: Arc<Value>,
    /// The EnvoyProxies that went into it, the most specific one first.
    pub proxies: Vec<ObjectId>,
}

impl Parameters {
    /// What holds where nothing is said.
    pub(super) fn defaults() -> Parameters {
        Parameters { spec: Arc::new(Value::Object(serde_json::Map::new())), proxies: Vec::new() }
    }

    fn flag(&self, pointer: &str) -> bool {
        self.spec.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Whether all Gateways of the class share one fleet.
    fn merges_gateways(&self) -> bool {
        self.flag("/mergeGateways")
    }

    /// Whether ports below 1024 are bound as they are.
    pub(crate) fn keeps_ports(&self) -> bool {
        self.flag("/provider/kubernetes/useListenerPortAsContainerPort")
    }

    /// Whether routes are tried in the order in which they are written.
    pub(super) fn keeps_route_order(&self) -> bool {
        self.flag("/preserveRouteOrder")
    }

    /// How Services are reached.
    pub(super) fn routing(&self) -> Routing {
        match self.spec.get("routingType").and_then(Value::as_str) {
            Some("Service") => Routing::Service,
            _ => Routing::Endpoint,
        }
    }

    /// Changes of the order of HTTP filters. What the schema would have refused changes nothing.
    pub(super) fn filter_order(&self) -> Arc<[FilterMove]> {
        let moves = self.spec.get("filterOrder").and_then(Value::as_array).into_iter().flatten();
        let text = |value: Option<&Value>| -> Option<Arc<str>> { Some(value?.as_str()?.into()) };
        let read = |position: &Value| {
            let filter = text(position.get("name"))?;
            Some(match (text(position.get("before")), text(position.get("after"))) {
                (Some(anchor), _) => FilterMove { filter, anchor, before: true },
                (None, anchor) => FilterMove { filter, anchor: anchor?, before: false },
            })
        };
        moves.filter_map(read).collect()
    }

    /// What is said of clusters that rules share; `None` where they share none. No `mergeType` keeps a broader level from
    /// saying it where narrower ones do not (as with Envoy Gateway).
    pub(super) fn merging(&self, class: ObjectId, reader: &mut Reader<'_>) -> Option<Merging> {
        let settings = reader.settings();
        let reference = reader.gateway_class(class).and_then(|class| class.parameters.as_ref());
        let of_class = reference.and_then(|reference| reader.envoy_proxy(reference.target?));
        let base = settings.installation.base.as_deref();
        let levels = [Some(&*self.spec), of_class.map(|proxy| &*proxy.spec), base];
        let said = levels.into_iter().flatten().find_map(|spec| spec.get(MERGE_BACKENDS));
        said.map(Merging::of).or_else(|| settings.merge_backends.then(Merging::default))
    }

    /// The address that listeners bind in a Pod, and whether IPv4 comes in there too when it is IPv6.
    pub(crate) fn bind_address(&self) -> (&'static str, bool) {
        match self.spec.get("ipFamily").and_then(Value::as_str) {
            Some("IPv6") => ("::", false),
            Some("DualStack") => ("::", true),
            _ => ("0.0.0.0", false),
        }
    }
}

/// One EnvoyProxy on the way to the merged parameters.
struct Level {
    id: Option<ObjectId>,
    spec: Arc<Value>,
}

/// The parameters of a class.
pub(crate) fn of_class(
    class: &facts::GatewayClass,
    reader: &mut Reader<'_>,
    judge: Judge,
) -> Result<Parameters, Finding> {
    let level = level(class.parameters.as_ref(), "spec.parametersRef", reader)?;
    let parameters = merged(None, level, reader).map_err(|message| invalid("spec.parametersRef", message))?;
    check_merging(&parameters, "spec.parametersRef", reader)?;
    check(&parameters, "spec.parametersRef", reader, judge)?;
    Ok(parameters)
}

/// Whether the class names an EnvoyProxy that is not there.
pub(crate) fn are_absent(class: &facts::GatewayClass, reader: &mut Reader<'_>) -> bool {
    let target = class.parameters.as_ref().and_then(|reference| reference.target);
    target.is_some_and(|id| reader.envoy_proxy(id).is_none())
}

/// The parameters of a fleet: those that its Gateway names itself over those of the class over those of the configuration
/// file.
pub(super) fn of_fleet(
    class: ObjectId,
    own: Option<&facts::ParametersRef>,
    reader: &mut Reader<'_>,
    judge: Judge,
) -> Result<Parameters, Finding> {
    const FIELD: &str = "spec.infrastructure.parametersRef";
    let fact = reader.gateway_class(class);
    if let Some(fact) = fact {
        of_class(fact, reader, judge).map_err(|finding| {
            let class = reader.object(class);
            invalid(
                "spec.gatewayClassName",
                format!("The parameters of {class} cannot be used: {}", finding.message),
            )
        })?;
    }
    let of_class = level(fact.and_then(|class| class.parameters.as_ref()), FIELD, reader)?;
    let own = level(own, FIELD, reader)?;
    let unchecked = own.is_some() || fact.is_none();
    let parameters = merged(own, of_class, reader).map_err(|message| invalid(FIELD, message))?;
    if unchecked {
        check(&parameters, FIELD, reader, judge)?;
    }
    Ok(parameters)
}

/// What the parameters of a Gateway's proxies say, and who says it: for people who ask. `None` where nobody says it.
///
/// `field` is a path below `spec`, such as `backendTLS.minVersion`. The second part is the EnvoyProxy, `None` for the
/// configuration file.
pub fn said(gateway: ObjectId, field: &str, reader: &mut Reader<'_>) -> Option<(Value, Option<ObjectId>)> {
    let fact = reader.gateway(gateway)?;
    let class = fact.class;
    let own = fact.parameters.as_ref().filter(|_| !merge_gateways(class, reader));
    let of_class = reader.gateway_class(class).and_then(|class| class.parameters.as_ref());
    let pointer = format!("/{}", field.replace('.', "/"));
    let (own, of_class) = (level(own, "", reader).ok()?, level(of_class, "", reader).ok()?);
    let mut parameters = merged(own, of_class, reader).ok()?;
    let says = |spec: &Value| spec.pointer(&pointer).cloned();
    let mut value = says(&parameters.spec);
    if field == MERGE_BACKENDS && value.is_none() {
        // No `mergeType` keeps a broader level from saying it.
        let reference = reader.gateway_class(class).and_then(|class| class.parameters.as_ref());
        parameters.proxies.extend(reference.and_then(|reference| reference.target));
        let base = reader.settings().installation.base.as_deref();
        value = parameters.proxies.iter().find_map(|id| says(&reader.envoy_proxy(*id)?.spec));
        value = value.or_else(|| base.and_then(says));
    }
    let by = parameters
        .proxies
        .into_iter()
        .find(|id| reader.envoy_proxy(*id).is_some_and(|proxy| proxy.spec.pointer(&pointer).is_some()));
    Some((value?, by))
}

/// Whether all Gateways of a class share one fleet of proxies: what the EnvoyProxy of the class says of it, else what the
/// configuration file does. No `mergeType` has a say in it (as with Envoy Gateway), nor has the EnvoyProxy of a Gateway.
///
/// An EnvoyProxy that the class names and that is not there says nothing any more. In a cluster proxies then stay as they
/// are, as whatever runs does while parameters cannot be used: the Service before merged ones, in the namespace of the
/// control plane, tells that they run.
pub(super) fn merge_gateways(class: ObjectId, reader: &mut Reader<'_>) -> bool {
    let settings = reader.settings();
    let installation = &settings.installation;
    if installation.mode == DeployMode::GatewayNamespace {
        return false;
    }
    let flag = |spec: &Value| spec.get("mergeGateways").and_then(Value::as_bool);
    let of_base = installation.base.as_deref().and_then(flag).unwrap_or(false);
    let Some(reference) = reader.gateway_class(class).and_then(|class| class.parameters.as_ref()) else {
        return of_base;
    };
    match reference.target.and_then(|id| reader.envoy_proxy(id)) {
        Some(proxy) => flag(&proxy.spec).unwrap_or(of_base),
        None if settings.infrastructure == Infrastructure::Kubernetes && !settings.partial_input => {
            let services = reader.proxy_services_of(class);
            let namespace = |service: &facts::Service| reader.object(service.meta.id).namespace;
            services.into_iter().any(|service| namespace(service) == installation.controller_namespace)
        }
        None => of_base,
    }
}

/// Why merged Gateways of a class are not served: backends cannot be merged beside them.
pub(super) fn merged_backends(class: ObjectId, reader: &mut Reader<'_>) -> Option<Finding> {
    let base = reader.settings().installation.base.as_deref();
    let reference = reader.gateway_class(class).and_then(|class| class.parameters.as_ref());
    let proxy = reference.and_then(|reference| reference.target).and_then(|id| reader.envoy_proxy(id));
    let (level, _) = [
        ("the EnvoyProxy of the GatewayClass", proxy.map(|proxy| &*proxy.spec)),
        ("envoyProxy of the configuration file", base),
    ]
    .into_iter()
    .find(|(_, spec)| spec.is_some_and(|spec| spec.get("mergeBackends").is_some()))?;
    let message = format!(
        "mergeGateways and mergeBackends cannot both be enabled; remove mergeBackends from {level}, or mergeGateways"
    );
    Some(invalid("spec.gatewayClassName", message))
}

/// Merged Gateways have no namespace in common.
fn check_merging(parameters: &Parameters, field: &str, reader: &mut Reader<'_>) -> Result<(), Finding> {
    let mode = reader.settings().installation.mode;
    if mode == DeployMode::GatewayNamespace && parameters.merges_gateways() {
        let message = "mergeGateways needs proxies in the namespace of the control plane, but the configuration puts them beside their Gateways (provider.kubernetes.deploy.type: GatewayNamespace)";
        return Err(invalid(field, message));
    }
    Ok(())
}

fn invalid(field: &str, message: impl Into<String>) -> Finding {
    Finding::new(field, INVALID_PARAMETERS, message.into())
}

fn level(
    reference: Option<&facts::ParametersRef>,
    field: &str,
    reader: &mut Reader<'_>,
) -> Result<Option<Level>, Finding> {
    let Some(reference) = reference else { return Ok(None) };
    let Some(id) = reference.target else {
        let message = format!(
            "Parameters must be an EnvoyProxy of group gateway.envoyproxy.io, not {} of group {}",
            reference.kind, reference.group
        );
        return Err(invalid(field, message));
    };
    match reader.envoy_proxy(id) {
        Some(proxy) => Ok(Some(Level { id: Some(id), spec: proxy.spec.clone() })),
        None => Err(invalid(
            field,
            format!("EnvoyProxy {}/{} does not exist", reference.namespace, reference.name),
        )),
    }
}

/// Merges a Gateway's level over its class's, and the result over that of the configuration file. The first step goes
/// by the Gateway's `mergeType`, the second by the class's, or the Gateway's where the class has none.
fn merged(
    gateway: Option<Level>,
    class: Option<Level>,
    reader: &mut Reader<'_>,
) -> Result<Parameters, String> {
    let installation = &reader.settings().installation;
    let base = installation.base.clone().map(|spec| Level { id: None, spec });
    let merge_type = |level: Option<&Level>| {
        let text = level?.spec.get("mergeType")?.as_str()?;
        Some(text.to_owned())
    };
    let (of_gateway, of_class) = (merge_type(gateway.as_ref()), merge_type(class.as_ref()));
    let mut proxies = Vec::new();
    let upper = over(gateway, class, of_gateway.as_deref(), &mut proxies)?;
    let merge_type = of_class.or(of_gateway);
    let spec = over(upper, base, merge_type.as_deref(), &mut proxies)?;
    let empty = || Value::Object(Map::new()).into();
    Ok(Parameters { spec: spec.map_or_else(empty, |level| level.spec), proxies })
}

/// One level over another.
fn over(
    upper: Option<Level>,
    lower: Option<Level>,
    merge_type: Option<&str>,
    proxies: &mut Vec<ObjectId>,
) -> Result<Option<Level>, String> {
    let mut note = |level: &Level| proxies.extend(level.id);
    let (upper, lower) = match (upper, lower) {
        (Some(upper), Some(lower)) => (upper, lower),
        (one, other) => {
            let only = one.or(other);
            only.iter().for_each(note);
            return Ok(only.map(|level| Level { id: None, ..level }));
        }
    };
    note(&upper);
    let mut spec = Value::clone(&lower.spec);
    match merge_type {
        Some("StrategicMerge") => patch::strategic_merge(&mut spec, &upper.spec, &patch::ReplaceLists)
            .map_err(|error| format!("The EnvoyProxies cannot be merged: {error}"))?,
        Some("JSONMerge") => patch::json_merge(&mut spec, &upper.spec),
        _ => return Ok(Some(Level { id: None, spec: upper.spec })),
    }
    note(&lower);
    Ok(Some(Level { id: None, spec: spec.into() }))
}

/// What no schema can see, because it depends on the installation or on several objects.
fn check(parameters: &Parameters, field: &str, reader: &mut Reader<'_>, judge: Judge) -> Result<(), Finding> {
    if parameters.spec.as_object().is_none_or(Map::is_empty) {
        return Ok(());
    }
    let installation = &reader.settings().installation;
    judge(&parameters.spec, installation)
        .map_err(|message| invalid(field, format!("The EnvoyProxy is not valid: {message}")))
}
