//! What is set of a cluster and its backends, with who set it.

use envoy_api::{
    cluster::{Cluster, circuit_breakers::Thresholds},
    core::{HealthCheck, Metadata, health_check::HealthChecker, transport_socket::ConfigType},
    endpoint::LocalityLbEndpoints,
    http_protocol_options::{
        HttpProtocolOptions,
        http_protocol_options::{UpstreamProtocolOptions, explicit_http_config::ProtocolConfig},
    },
    tls::UpstreamTlsContext,
    upstream_proxy_protocol::ProxyProtocolUpstreamTransport,
    well_known::Any,
};
use ir::{Kind, ObjectRef};
use store::Fact;

use crate::{
    Upstream,
    config::{self, Config, Named},
    origin,
    settings::read,
    sources::{Settings, Source, Sources, default, first, is_said},
    tls::{self, Sayers},
};

/// Key of the protocol options of a cluster.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Key under which an endpoint asks for a transport socket.
const TRANSPORT_SOCKET: &str = "envoy.transport_socket_match";

/// What goes to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    Requests,
    /// Copies of requests, which are nobody's traffic: no policy has a say in them.
    Copies,
    /// Bytes, of which no protocol is known.
    Connections,
}

/// Tells what is set of a cluster and its backends.
pub(crate) fn complete(
    config: &Config<'_>,
    sources: &Sources<'_>,
    carries: Carries,
    upstream: &mut Upstream,
) {
    let Some(cluster) = config.cluster(&upstream.cluster) else { return };
    let mut settings = Settings::default();
    shared(&cluster, sources, &mut settings);
    let options = cluster.typed_extension_protocol_options.get(HTTP_OPTIONS);
    let options: HttpProtocolOptions = options.and_then(read).unwrap_or_default();
    let localities = config.endpoints(&cluster).map(|endpoints| endpoints.endpoints).unwrap_or_default();
    let named: Vec<Option<Named>> =
        localities.iter().map(|locality| config::metadata(locality.metadata.as_ref())).collect();
    if carries != Carries::Connections {
        let (value, source) = protocol(&options, &named, sources);
        settings.push("protocol", value, source);
    }
    if carries != Carries::Copies {
        of_cluster(&cluster, &options, sources, &mut settings);
    }
    upstream.settings = settings.0;
    let by_request = options.upstream_http_protocol_options.as_ref().is_some_and(|options| options.auto_sni);
    for ((backend, locality), named) in upstream.backends.iter_mut().zip(&localities).zip(&named) {
        let Some(context) = transport(&cluster, Some(locality)) else { continue };
        let Some((object, named)) = named.as_ref().and_then(|named| Some((origin::object(named)?, named)))
        else {
            continue;
        };
        let section = tls::section(sources, &object, named.section.as_deref());
        let sayers = Sayers::of(sources, object, section.as_deref());
        backend.tls = tls::of_backend(&context, by_request, &sayers);
    }
    // The endpoints of a dynamic resolver are the hosts of requests.
    if upstream.backends.is_empty()
        && let (Some(context), Some(named)) =
            (transport(&cluster, None), config::metadata(cluster.metadata.as_ref()))
        && let Some(object) = resolver(sources, &named)
    {
        let sayers = Sayers::of(sources, object, None);
        upstream.settings.extend(tls::of_backend(&context, true, &sayers));
    }
}

/// The Backend of the rule whose endpoints requests name.
fn resolver(sources: &Sources<'_>, named: &Named) -> Option<ObjectRef> {
    if named.kind == Kind::Backend.name() {
        return origin::object(named);
    }
    let store = sources.pipeline.store();
    let mut targets =
        sources.fact()?.backends.iter().filter_map(|reference| reference.backend.target.as_ref());
    let dynamic = |id: &store::ObjectId| match store.fact(*id) {
        Some(Fact::Backend(backend)) => matches!(backend.kind, store::facts::BackendKind::DynamicResolver),
        _ => false,
    };
    targets.find(|target| dynamic(&target.id)).and_then(|target| store.object(target.id)).cloned()
}

/// The transport socket of a locality's endpoints, if it is one of TLS.
fn transport(cluster: &Cluster, locality: Option<&LocalityLbEndpoints>) -> Option<UpstreamTlsContext> {
    let of_locality = |locality: &LocalityLbEndpoints| {
        let wanted = wanted(locality.lb_endpoints.first()?.metadata.as_ref()?)?;
        let matching =
            cluster.transport_socket_matches.iter().find(|own| own.r#match.as_ref() == Some(&wanted));
        matching?.transport_socket.clone()
    };
    let socket = match locality {
        Some(locality) => of_locality(locality)?,
        None => cluster.transport_socket.clone()?,
    };
    let ConfigType::TypedConfig(any) = socket.config_type?;
    context(&any)
}

fn wanted(metadata: &Metadata) -> Option<envoy_api::well_known::Struct> {
    metadata.filter_metadata.get(TRANSPORT_SOCKET).cloned()
}

fn context(any: &Any) -> Option<UpstreamTlsContext> {
    if let Some(outer) = read::<ProxyProtocolUpstreamTransport>(any) {
        let ConfigType::TypedConfig(inner) = outer.transport_socket?.config_type?;
        return read(&inner);
    }
    read(any)
}

/// A cluster that rules share is named after its backend, not after a rule.
fn shared(cluster: &Cluster, sources: &Sources<'_>, settings: &mut Settings) {
    let kinds = [Kind::Service, Kind::ServiceImport, Kind::Backend];
    let first = cluster.name.split('/').next().unwrap_or_default();
    if kinds.iter().any(|kind| kind.name().eq_ignore_ascii_case(first)) {
        let value = "with other rules that use the backend";
        settings.push("shared", value, sources.parameter("mergeBackends"));
    }
}

/// What is spoken to endpoints.
fn protocol(
    options: &HttpProtocolOptions,
    backends: &[Option<Named>],
    sources: &Sources<'_>,
) -> (&'static str, Source) {
    let asked = || {
        let backends = backends.iter().flatten();
        first(backends.filter_map(|named| app_protocol(sources, named)))
    };
    let of_route = || match &sources.rule {
        Some((origin, _)) if origin.named.kind == Kind::GrpcRoute.name() => {
            (origin.named.object(), "kind".to_owned())
        }
        _ => default(),
    };
    match &options.upstream_protocol_options {
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_)) => {
            ("that of the client", sources.policy("useClientProtocol"))
        }
        Some(UpstreamProtocolOptions::AutoConfig(_)) => ("HTTP/2 or HTTP/1.1, as agreed (ALPN)", default()),
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)) => match &config.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => {
                let asked = asked();
                ("HTTP/2", if is_said(&asked) { asked } else { of_route() })
            }
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => ("HTTP/3", default()),
            Some(ProtocolConfig::HttpProtocolOptions(_)) | None => ("HTTP/1.1", asked()),
        },
        None => ("HTTP/1.1", default()),
    }
}

/// Where a backend says what it speaks.
fn app_protocol(sources: &Sources<'_>, named: &Named) -> Option<Source> {
    let store = sources.pipeline.store();
    let object = origin::object(named)?;
    let ports = match store.fact(store.find(&object)?)? {
        Fact::Backend(backend) => {
            return backend.protocol.map(|_| (object.to_string(), "spec.appProtocols".to_owned()));
        }
        Fact::Service(service) => &service.ports,
        Fact::ServiceImport(import) => &import.ports,
        _ => return None,
    };
    let number: u16 = named.section.as_ref()?.parse().ok()?;
    let index = ports.iter().position(|port| port.port == number)?;
    ports.get(index)?.app_protocol.as_ref()?;
    Some((object.to_string(), format!("spec.ports[{index}].appProtocol")))
}

/// What a policy says of a cluster.
fn of_cluster(
    cluster: &Cluster,
    options: &HttpProtocolOptions,
    sources: &Sources<'_>,
    settings: &mut Settings,
) {
    let policy = |path: &str| sources.policy(path);
    let balancer = cluster.load_balancing_policy.iter().flat_map(|policy| &policy.policies);
    let balancer = balancer.filter_map(|policy| policy.typed_extension_config.as_ref());
    let balancer: Vec<&str> =
        balancer.map(|config| config.name.rsplit('.').next().unwrap_or_default()).collect();
    settings.said("load balancer", balancer.join(", "), policy("loadBalancer"));
    let connect = cluster.connect_timeout.as_ref().map(config::duration).unwrap_or_default();
    settings.said("time to connect", connect, policy("timeout.tcp.connectTimeout"));
    if let Some(common) = &options.common_http_protocol_options {
        let span = |time: &Option<_>| time.as_ref().map(config::duration).unwrap_or_default();
        let idle = span(&common.idle_timeout);
        settings.said("idle timeout of connections", idle, policy("timeout.http.connectionIdleTimeout"));
        let life = span(&common.max_connection_duration);
        settings.said("life of connections", life, policy("timeout.http.maxConnectionDuration"));
    }
    let breakers = cluster.circuit_breakers.iter().flat_map(|breakers| &breakers.thresholds);
    let breakers: Vec<String> = breakers.map(thresholds).collect();
    settings.said("circuit breaker", breakers.join("; "), policy("circuitBreaker"));
    let checks: Vec<String> = cluster.health_checks.iter().map(check).collect();
    settings.said("health check", checks.join("; "), policy("healthCheck.active"));
    if cluster.outlier_detection.is_some() {
        settings.said("outlier detection", "on", policy("healthCheck.passive"));
    }
    let panic = cluster.common_lb_config.as_ref().and_then(|common| common.healthy_panic_threshold.as_ref());
    let panic = panic.map(|share| format!("{}%", share.value)).unwrap_or_default();
    settings.said("panic threshold", panic, policy("healthCheck.panicThreshold"));
    if cluster.upstream_connection_options.is_some() {
        settings.said("TCP keepalive", "on", policy("tcpKeepalive"));
    }
    settings.said("PROXY protocol", "connections begin with it", policy("proxyProtocol"));
    if !options.http_filters.is_empty() {
        settings.said("admission control", "on", policy("admissionControl"));
    }
    let routing = sources
        .says("routingType")
        .or_else(|| crate::sources::parameter(sources.pipeline, &sources.gateway, "routingType"));
    if let Some((value, source)) = routing {
        settings.push("routing", value.as_str().unwrap_or_default(), source);
    }
}

fn thresholds(thresholds: &Thresholds) -> String {
    let limits = [
        ("connections", thresholds.max_connections),
        ("waiting", thresholds.max_pending_requests),
        ("requests", thresholds.max_requests),
        ("retries", thresholds.max_retries),
    ];
    let limits = limits.into_iter().filter_map(|(name, limit)| Some(format!("{} {name}", limit?.value)));
    limits.collect::<Vec<_>>().join(", ")
}

fn check(check: &HealthCheck) -> String {
    let how = match &check.health_checker {
        Some(HealthChecker::HttpHealthCheck(http)) => format!("HTTP at {}", http.path),
        Some(HealthChecker::GrpcHealthCheck(_)) => "gRPC".to_owned(),
        Some(HealthChecker::TcpHealthCheck(_)) => "TCP".to_owned(),
        _ => "of a kind of its own".to_owned(),
    };
    let every = check.interval.as_ref().map(config::duration).unwrap_or_default();
    format!("{how} every {every}")
}
