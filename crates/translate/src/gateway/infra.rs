//! The wish of a Gateway's fleet.

use std::{collections::BTreeMap, sync::Arc};

use ir::{
    Metadata, ObjectRef,
    cluster::Address,
    infra::{HostProxy, Identity, Layer4, MetricSink, Owner, ServicePort, SinkTls, Wish},
};
use serde_json::{Map, Value};
use store::{Infrastructure, ObjectId, facts::BackendTarget};

use super::{
    Fleet, clients,
    listener::{Judged, Protocol},
    member::Member,
    parameters::{INVALID_PARAMETERS, Parameters},
    socket,
};
use crate::{
    Finding, Reader,
    backend_tls::{self, BackendTls, ClientSide, Unusable},
    route::{BackendKind, resolve_own},
    secret::{self, Served},
    telemetry::{first_host, infer_server_name},
};

/// What infrastructure depends on of an EnvoyProxy's `spec`: a change of anything else wakes nobody there.
const FIELDS: [&str; 7] =
    ["provider", "logging", "bootstrap", "concurrency", "extraArgs", "shutdown", "ipFamily"];
/// Those of them that a proxy on a host reads when it starts.
const HOST_FIELDS: [&str; 5] = ["logging", "bootstrap", "concurrency", "extraArgs", "shutdown"];
/// The same of `telemetry.metrics`.
const METRICS_FIELDS: [&str; 3] = ["prometheus", "sinks", "matches"];

/// The wish of a fleet that is served. Merged Gateways add their labels, annotations and addresses to each other's: of a
/// label or annotation that several give, the first Gateway's value counts.
pub(super) fn wish(
    fleet: &Fleet,
    members: &[Member<'_>],
    judged: &[Judged<'_>],
    parameters: &Parameters,
    metric_sinks: Box<[MetricSink]>,
    reader: &mut Reader<'_>,
) -> Arc<Wish> {
    let served = || members.iter().filter(|member| member.is_served()).map(|member| member.gateway);
    let mut addresses: Vec<Arc<str>> = Vec::new();
    for address in served().flat_map(|gateway| gateway.addresses.iter()) {
        if let Some(value) = address.value.as_ref().filter(|_| &*address.kind == "IPAddress")
            && !addresses.contains(value)
        {
            addresses.push(value.clone());
        }
    }
    Arc::new(Wish {
        ports: ports(judged, parameters),
        labels: united(served().map(|gateway| &gateway.labels)),
        annotations: united(served().map(|gateway| &gateway.annotations)),
        addresses: addresses.into(),
        metric_sinks,
        parameters: cut(&parameters.spec, &FIELDS).into(),
        bootstrap_of: bootstrap_of(parameters, reader),
        on_hold: false,
        ..on_hold(fleet, reader)
    })
}

type Texts = BTreeMap<Arc<str>, Arc<str>>;

fn united<'a>(all: impl Iterator<Item = &'a Texts>) -> Texts {
    let mut united = Texts::new();
    for (key, value) in all.flatten() {
        united.entry(key.clone()).or_insert_with(|| value.clone());
    }
    united
}

/// The wish of a fleet that is not acceptable: whatever runs, stays.
pub(super) fn on_hold(fleet: &Fleet, reader: &mut Reader<'_>) -> Wish {
    let uid = reader.gateway_class(fleet.class).map_or_else(|| "".into(), |class| class.uid.clone());
    let class = Identity { object: reader.object(fleet.class), uid };
    let owner = match reader.gateway(fleet.id) {
        Some(gateway) => {
            Owner::Gateway(Identity { object: reader.object(fleet.id), uid: gateway.uid.clone() })
        }
        None => Owner::GatewayClass(class.clone()),
    };
    Wish {
        fleet: fleet.name.clone(),
        owner,
        class,
        ports: [].into(),
        labels: Texts::new(),
        annotations: Texts::new(),
        addresses: [].into(),
        metric_sinks: [].into(),
        parameters: Arc::default(),
        bootstrap_of: None,
        on_hold: true,
    }
}

/// Ports of the Service. Listeners that share a port and its transport share the Service's port, which has the name of
/// the first; HTTP/3 has one of its own beside it.
fn ports(judged: &[Judged<'_>], parameters: &Parameters) -> Box<[ServicePort]> {
    let mut ports: Vec<ServicePort> = Vec::new();
    let mut by_quic = clients::http3_ports(judged);
    for listener in judged.iter().filter(|listener| listener.ready()) {
        let protocol = if listener.protocol == Protocol::Udp { Layer4::Udp } else { Layer4::Tcp };
        let port = listener.fact.port;
        if ports.iter().any(|there| there.port == port && there.protocol == protocol) {
            continue;
        }
        ports.push(ServicePort {
            name: format!("{}-{port}", listener.fact.protocol.to_ascii_lowercase()).into(),
            port,
            container_port: socket::container_port(port, parameters.keeps_ports()),
            protocol,
        });
        if by_quic.remove(&port) {
            ports.push(ServicePort {
                name: format!("{}-{port}-h3", listener.fact.protocol.to_ascii_lowercase()).into(),
                port,
                container_port: socket::container_port(port, parameters.keeps_ports()),
                protocol: Layer4::Udp,
            });
        }
    }
    ports.into()
}

/// The part of parameters that infrastructure depends on: these fields, and what it needs of `telemetry.metrics`.
fn cut(spec: &Value, fields: &[&str]) -> Value {
    let part = |from: &Value, fields: &[&str]| -> Map<String, Value> {
        let kept = fields.iter().filter_map(|field| Some(((*field).to_owned(), from.get(*field)?.clone())));
        kept.collect()
    };
    let mut cut = part(spec, fields);
    if let Some(metrics) = spec.pointer("/telemetry/metrics").map(|metrics| part(metrics, &METRICS_FIELDS))
        && !metrics.is_empty()
    {
        cut.insert("telemetry".to_owned(), serde_json::json!({ "metrics": metrics }));
    }
    Value::Object(cut)
}

/// Who changes the bootstrap.
fn bootstrap_of(parameters: &Parameters, reader: &mut Reader<'_>) -> Option<ObjectRef> {
    parameters.spec.get("bootstrap")?;
    let mut proxies = parameters.proxies.iter();
    let proxy =
        proxies.find(|id| reader.envoy_proxy(**id).is_some_and(|p| p.spec.get("bootstrap").is_some()));
    proxy.map(|id| reader.object(*id))
}

/// What a proxy on a host is told when it starts.
pub(super) fn host_proxy(parameters: &Parameters, sinks: Box<[MetricSink]>) -> Arc<HostProxy> {
    Arc::new(HostProxy { parameters: cut(&parameters.spec, &HOST_FIELDS).into(), sinks })
}

/// Where metrics are sent. The list of sinks is never merged, so all of it is of the most specific EnvoyProxy that has
/// one. Of several sinks at one address, the first counts. `policies` takes the BackendTLSPolicies that have a say, also
/// those that cannot be used.
pub(super) fn metric_sinks(
    parameters: &Parameters,
    policies: &mut Vec<ObjectId>,
    reader: &mut Reader<'_>,
) -> Result<Box<[MetricSink]>, Finding> {
    const SINKS: &str = "/telemetry/metrics/sinks";
    let Some(Value::Array(sinks)) = parameters.spec.pointer(SINKS) else { return Ok([].into()) };
    let source = parameters.proxies.iter().find_map(|id| {
        let proxy = reader.envoy_proxy(*id)?;
        proxy.spec.pointer(SINKS).is_some().then_some(proxy)
    });
    let mut resolved: Vec<MetricSink> = Vec::with_capacity(sinks.len());
    for (index, sink) in sinks.iter().enumerate() {
        let backend = source.and_then(|proxy| proxy.backends.metrics.get(index)?.first());
        let sink = match backend {
            Some(reference) => of_backend(&reference.backend, index, reader),
            None => of_host(sink, index)
                .map(|sink| (sink, None))
                .map_err(|message| Unusable { message, policy: None }),
        };
        policies.extend(match &sink {
            Ok((_, policy)) => *policy,
            Err(unusable) => unusable.policy,
        });
        let (sink, _) = sink.map_err(|Unusable { message, .. }| {
            let field = format!("spec.telemetry.metrics.sinks[{index}]");
            let message =
                format!("Invalid metrics backendRefs in the referenced EnvoyProxy: {field}: {message}");
            Finding::new("spec.infrastructure.parametersRef", INVALID_PARAMETERS, message)
        })?;
        if resolved.iter().all(|there| (&there.host, there.port) != (&sink.host, sink.port)) {
            resolved.push(sink);
        }
    }
    Ok(resolved.into())
}

/// A Service or Backend, with the BackendTLSPolicy that has a say in how it is reached.
fn of_backend(
    backend: &BackendTarget,
    index: usize,
    reader: &mut Reader<'_>,
) -> Result<(MetricSink, Option<ObjectId>), Unusable> {
    let destination = resolve_own(backend, 1, reader)?;
    let policy = destination.policy();
    let unusable = |message| Unusable { message, policy };
    let tls = destination.tls.map(|tls| infer_server_name(tls, &destination.kind, reader));
    let in_cluster = reader.settings().infrastructure == Infrastructure::Kubernetes;
    let (host, port): (Arc<str>, u16) = match (&destination.kind, &destination.metadata) {
        // Names of Services are known in a cluster alone.
        (BackendKind::Service { port, .. }, Some(Metadata { object, .. })) if in_cluster => {
            let domain = &reader.settings().installation.dns_domain;
            (format!("{}.{}.svc.{domain}", object.name, object.namespace).into(), *port)
        }
        (kind, _) => match first_host(kind, reader) {
            Some(Address::Host(host, port)) => (host, port),
            Some(Address::Ip(ip, port)) => (ip.to_string().into(), port),
            _ => {
                return Err(unusable(format!("{} has no endpoint by host name or address", backend.name)));
            }
        },
    };
    let sni = tls.as_ref().and_then(|tls| tls.sni.clone());
    let authority = sni.unwrap_or_else(|| host.clone());
    let tls = tls.map(|tls| sink_tls(&tls, reader)).transpose().map_err(unusable)?;
    Ok((MetricSink { host, port, authority, tls, index }, policy))
}

/// TLS as a bootstrap can have it: authorities stand in it themselves, and no certificate is shown.
fn sink_tls(tls: &BackendTls, reader: &mut Reader<'_>) -> Result<SinkTls, String> {
    let (upstream, _) = backend_tls::upstream(tls, &ClientSide::default(), reader);
    let verification = match tls.authorities {
        None => None,
        Some(key) => match secret::unit(key, reader) {
            Some(Served::Authorities(authorities)) => {
                let names = upstream.verification.map(|verification| verification.names);
                Some((authorities.source, names.unwrap_or_default()))
            }
            _ => return Err(format!("the authorities {} cannot be had", secret::name(key, reader))),
        },
    };
    Ok(SinkTls { sni: upstream.sni, verification })
}

/// By `host` and `port`, or by the name of a Service where no object tells (the configuration file).
fn of_host(sink: &Value, index: usize) -> Result<MetricSink, String> {
    let collector = &sink["openTelemetry"];
    let port = collector["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    match (collector["host"].as_str(), port) {
        (Some(host), Some(port)) => {
            Ok(MetricSink { host: host.into(), port, authority: host.into(), tls: None, index })
        }
        _ => Err("host and port, or a Service or Backend in backendRefs, must be set".to_owned()),
    }
}
