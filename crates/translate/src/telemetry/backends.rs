//! Where telemetry goes.

use std::{net::IpAddr, sync::Arc};

use api::ClusterSettings;
use ir::{
    Kind,
    cluster::{Address, Protocol},
    traffic::HealthChecker,
};
use store::facts::{self, CollectorRef};

use super::{Lookup, OwnCluster, Source};
use crate::{
    Reader,
    backend_tls::{BackendTls, Unusable},
    destination,
    policy::backend_traffic,
    route::{BackendKind, Destination, resolve_own},
};

/// A collector as settings name it.
pub(super) struct Wanted<'a> {
    /// Name of its cluster.
    pub name: Arc<str>,
    /// Path of the settings below `spec.telemetry`, for messages.
    pub field: String,
    /// `backendRefs`, as far as the settings are an object's.
    pub backends: Option<&'a [CollectorRef]>,
    /// True when the settings have `backendRefs`.
    pub by_reference: bool,
    /// `host` and `port`, which count where there are no `backendRefs`.
    pub host: Option<(&'a str, i32)>,
    /// `backendSettings`.
    pub settings: Option<&'a ClusterSettings>,
    /// Protocol towards it.
    pub protocol: Protocol,
    /// Statistics that a fleet adds to clusters are added to its cluster.
    pub counted: bool,
}

/// The cluster of a collector, with the `:authority` of requests to it; empty for Envoy's choice.
///
/// # Errors
/// A sentence that says why there is none.
pub(super) fn cluster(
    wanted: &Wanted<'_>,
    source: &Source<'_>,
    lookup: &mut Lookup<'_, '_>,
) -> Result<(OwnCluster, Arc<str>), String> {
    let Wanted { name, field, .. } = wanted;
    let region: Arc<str> = format!("{name}/backend/-1").into();
    let (destinations, authority) = match wanted.host {
        _ if wanted.by_reference => {
            let Some(references) = wanted.backends else {
                return Err(format!(
                    "{field}.backendRefs: they must stand in an EnvoyProxy, not in the configuration file; use host and port there"
                ));
            };
            let destinations = resolve(references, &region, field, lookup)?;
            let authority = destinations.first().map(|first| authority(first, lookup.reader));
            (destinations, authority.unwrap_or_default())
        }
        Some((host, port)) => (vec![given(host, port, region, field)?], host.into()),
        None => return Err(format!("{field}: host or backendRefs must be set")),
    };
    let traffic = match wanted.settings {
        Some(settings) => backend_traffic::of_own_cluster(settings, &format!("{field}.backendSettings"))?,
        None => Default::default(),
    };
    let checker = traffic.active_health.as_ref().map(|check| &check.checker);
    let over_tls = destinations.iter().all(|destination| destination.tls.is_some());
    if matches!(checker, Some(HealthChecker::Grpc { .. }))
        && !wanted.protocol.may_be_http2(&traffic, over_tls)
    {
        return Err(format!(
            "{field}.backendSettings.healthCheck.active.type: checks by gRPC need HTTP/2, which this collector is not spoken to in; use type HTTP or TCP"
        ));
    }
    let cluster = OwnCluster {
        name: name.clone(),
        protocol: wanted.protocol,
        dns: by_dns(&destinations, lookup.reader),
        destinations: destinations.into(),
        metadata: source.metadata(),
        traffic,
        counted: wanted.counted,
    };
    Ok((cluster, authority))
}

fn resolve(
    references: &[CollectorRef],
    region: &Arc<str>,
    field: &str,
    lookup: &mut Lookup<'_, '_>,
) -> Result<Vec<Destination>, String> {
    let mut destinations = Vec::with_capacity(references.len());
    for (index, reference) in references.iter().enumerate().filter(|(_, reference)| reference.weight > 0) {
        let resolved = match resolve_own(&reference.backend, reference.weight, lookup.reader) {
            Ok(resolved) => resolved,
            Err(Unusable { message, policy }) => {
                lookup.policies.extend(policy);
                return Err(format!("{field}.backendRefs[{index}]: {message}"));
            }
        };
        lookup.policies.extend(resolved.policy());
        let priority = resolved.priority.max(reference.fallback.into());
        let mut destination = Destination { region: region.clone(), priority, ..resolved };
        destination.tls = destination.tls.map(|tls| infer_server_name(tls, &destination.kind, lookup.reader));
        destinations.push(destination);
    }
    if destinations.is_empty() {
        return Err(format!("{field}.backendRefs: no backend has a weight above 0"));
    }
    Ok(destinations)
}

/// A collector by host name or address and port.
fn given(host: &str, port: i32, region: Arc<str>, field: &str) -> Result<Destination, String> {
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| format!("{field}.port: must be between 1 and 65535"))?;
    let address = match host.parse::<IpAddr>() {
        Ok(ip) => Address::Ip(ip, port),
        Err(_) => Address::Host(host.into(), port),
    };
    let kind = BackendKind::Address(address);
    Ok(Destination { region, weight: 1, priority: 0, metadata: None, kind, tls: None, sharing: None })
}

/// Envoy resolves host names in clusters of a type of its own, which cannot hold Unix sockets.
fn by_dns(destinations: &[Destination], reader: &mut Reader<'_>) -> bool {
    let mut unix = |kind: &BackendKind| match kind {
        BackendKind::Backend { backend, .. } => reader.backend(*backend).is_some_and(|backend| {
            let facts::BackendKind::Endpoints(endpoints) = &backend.kind else { return false };
            endpoints.iter().any(|endpoint| matches!(endpoint.address, Address::Unix(_)))
        }),
        _ => false,
    };
    destinations.iter().any(|d| d.kind.by_dns()) && !destinations.iter().any(|d| unix(&d.kind))
}

/// No request of a client tells which name to ask for, so a Backend's only host name is asked for where nothing else is.
pub(crate) fn infer_server_name(
    tls: Arc<BackendTls>,
    kind: &BackendKind,
    reader: &mut Reader<'_>,
) -> Arc<BackendTls> {
    let BackendKind::Backend { backend, .. } = kind else { return tls };
    if tls.sni.is_some() {
        return tls;
    }
    match reader.backend(*backend).map(|backend| &backend.kind) {
        Some(facts::BackendKind::Endpoints(endpoints)) => match &**endpoints {
            [facts::BackendEndpoint { address: Address::Host(host, _), .. }] => Arc::new(BackendTls {
                sni: Some(host.clone()),
                sni_of_endpoint: false,
                ..BackendTls::clone(&tls)
            }),
            _ => tls,
        },
        _ => tls,
    }
}

/// `:authority` of requests to a collector: the name that is asked for over TLS, else its host name, else the object's.
/// That of a Service does not depend on its endpoints, as Envoy Gateway's does: listeners would change with them.
fn authority(first: &Destination, reader: &mut Reader<'_>) -> Arc<str> {
    if let Some(sni) = first.tls.as_ref().and_then(|tls| tls.sni.as_ref()) {
        return sni.clone();
    }
    let Some(object) = first.metadata.as_ref().map(|metadata| &metadata.object) else { return "".into() };
    match &first.kind {
        BackendKind::Service { dns: false, .. } if object.kind == Kind::Service => {
            format!("{}.{}.svc", object.name, object.namespace).into()
        }
        kind => match first_host(kind, reader) {
            Some(Address::Host(host, _)) => host,
            Some(Address::Unix(_)) => "".into(),
            Some(Address::Ip(..)) | None => format!("{}.{}", object.name, object.namespace).into(),
        },
    }
}

/// The first address of a backend.
pub(crate) fn first_host(kind: &BackendKind, reader: &mut Reader<'_>) -> Option<Address> {
    destination::addresses(kind, reader).next()
}
