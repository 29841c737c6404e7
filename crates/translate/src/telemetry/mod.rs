//! Telemetry of a fleet: access logs, traces and statistics as `telemetry` of its EnvoyProxies says, and the clusters
//! that they go to.

mod access_log;
mod backends;
mod cel;
mod statistics;
mod tracing;

use std::sync::Arc;

use api::envoyproxy::ProxyTelemetry;
use ir::{
    Metadata, ObjectRef,
    cluster::Protocol,
    telemetry::{AccessLogs, Telemetry},
    traffic::ClusterTraffic,
};
use store::{
    ObjectId,
    facts::{self, TelemetryBackends},
};

pub(crate) use self::backends::{first_host, infer_server_name};
pub use self::statistics::Statistics;
use crate::{
    Finding, Reader,
    backend_tls::ClientSide,
    gateway::parameters::{INVALID_PARAMETERS, Parameters},
    route::Destination,
};

/// What the proxies of a fleet tell of their traffic, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetTelemetry {
    /// What listeners have of it.
    pub listeners: Arc<Telemetry>,
    /// Where access logs and traces go, each under a name of its own.
    pub clusters: Box<[OwnCluster]>,
    /// The proxies' own side of TLS to these; the default where none is reached over TLS.
    pub client_side: ClientSide,
    /// BackendTLSPolicies that have a say in these and in where metrics go, ascending, with the EnvoyProxy that they have it
    /// by.
    pub policies: Box<[(ObjectId, ObjectRef)]>,
    /// What is counted.
    pub statistics: Statistics,
}

/// A cluster for requests of the proxies' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCluster {
    /// Name in xDS.
    pub name: Arc<str>,
    /// Protocol towards the backends.
    pub protocol: Protocol,
    /// The backends.
    pub destinations: Box<[Destination]>,
    /// Envoy finds the endpoints by DNS.
    pub dns: bool,
    /// The EnvoyProxy; `None` for the configuration file's.
    pub metadata: Option<Metadata>,
    /// How the backends are talked to.
    pub traffic: ClusterTraffic,
    /// The statistics that a fleet adds to clusters are added to this one, too.
    pub counted: bool,
}

impl OwnCluster {
    /// Objects that it is made from: the EnvoyProxy, the backends, the policies for them.
    pub(crate) fn owners(&self, reader: &Reader<'_>) -> Box<[ObjectRef]> {
        let named = self.destinations.iter().filter_map(|d| d.metadata.as_ref()).chain(&self.metadata);
        let policies = self.destinations.iter().filter_map(Destination::policy).map(|id| reader.object(id));
        let mut owners: Vec<ObjectRef> = named.map(|m| m.object.clone()).chain(policies).collect();
        owners.sort_unstable();
        owners.dedup();
        owners.into()
    }
}

/// Who says it: the most specific EnvoyProxy with a part of telemetry. Lists are never merged, so all references below
/// one are those of one object.
struct Source<'a> {
    /// The most specific EnvoyProxy of all, which gives clusters their metadata and logs their name.
    named: Option<(ObjectRef, &'a facts::EnvoyProxy)>,
    backends: Option<&'a TelemetryBackends>,
}

impl<'a> Source<'a> {
    fn of(pointer: &str, parameters: &Parameters, reader: &mut Reader<'a>) -> Self {
        let proxies = parameters.proxies.iter();
        let mut proxies = proxies.filter_map(|id| Some((reader.object(*id), reader.envoy_proxy(*id)?)));
        let first = proxies.next();
        let of_first = first.as_ref().map(|(_, proxy)| *proxy);
        let source = of_first.into_iter().chain(proxies.map(|(_, proxy)| proxy));
        let backends =
            source.filter(|proxy| proxy.spec.pointer(pointer).is_some()).map(|p| &p.backends).next();
        Source { named: first, backends }
    }

    fn metadata(&self) -> Option<Metadata> {
        let (object, proxy) = self.named.as_ref()?;
        let annotations = proxy.meta.annotations.clone();
        Some(Metadata { object: object.clone(), section: None, annotations })
    }
}

/// The facts, and what was found on the way.
struct Lookup<'l, 'a> {
    reader: &'l mut Reader<'a>,
    /// BackendTLSPolicies that have a say, also those that cannot be used.
    policies: Vec<ObjectId>,
}

/// What merged parameters say of telemetry. `service` is the name of the proxies in traces, where nothing gives another.
///
/// A part that cannot be used is left out, and is told of; the others hold.
pub(crate) fn of_fleet(
    service: impl FnOnce() -> Arc<str>,
    parameters: &Parameters,
    reader: &mut Reader<'_>,
) -> (FleetTelemetry, Option<Finding>) {
    let Some(document) = parameters.spec.get("telemetry") else { return Default::default() };
    let spec = match serde_json::from_value::<ProxyTelemetry>(document.clone()) {
        Ok(spec) => spec,
        Err(error) => return (FleetTelemetry::default(), Some(invalid("telemetry settings", error))),
    };
    let lookup = &mut Lookup { reader, policies: Vec::new() };
    let mut clusters = Vec::new();
    let mut finding = None;
    let mut note = |what: &str, message: String| {
        finding.get_or_insert_with(|| invalid(what, message));
    };
    let logs = match &spec.access_log {
        Some(logs) => {
            let source = Source::of("/telemetry/accessLog/settings", parameters, lookup.reader);
            access_log::read(logs, &source, lookup).unwrap_or_else(|message| {
                note("access log settings", message);
                (AccessLogs([].into()), Vec::new())
            })
        }
        None => Default::default(),
    };
    clusters.extend(logs.1);
    let source = Source::of("/telemetry/tracing/provider/backendRefs", parameters, lookup.reader);
    let traced = (spec.tracing.as_ref()).map(|spec| tracing::read(spec, service, &source, lookup));
    let tracing = match traced.transpose() {
        Ok(traced) => traced.map(|(tracing, cluster)| {
            clusters.push(cluster);
            tracing
        }),
        Err(message) => {
            note("tracing settings", message);
            None
        }
    };
    let statistics = statistics::read(&spec).unwrap_or_else(|message| {
        note("metrics settings", message);
        Statistics::default()
    });
    let listeners = Telemetry {
        logs: logs.0,
        tracing,
        request_id: spec.request_id.as_ref().and_then(|id| id.tracing).and_then(tracing::request_id),
        grpc_statistics: spec.metrics.as_ref().and_then(|metrics| metrics.enable_grpc_stats),
    };
    let telemetry = FleetTelemetry {
        listeners: listeners.into(),
        clusters: clusters.into(),
        client_side: ClientSide::default(),
        policies: policies(lookup, &source),
        statistics,
    };
    (telemetry, finding)
}

/// The policies that have a say, each once, with the most specific EnvoyProxy.
fn policies(lookup: &mut Lookup<'_, '_>, source: &Source<'_>) -> Box<[(ObjectId, ObjectRef)]> {
    let Some((proxy, _)) = &source.named else { return [].into() };
    lookup.policies.sort_unstable();
    lookup.policies.dedup();
    lookup.policies.drain(..).map(|policy| (policy, proxy.clone())).collect()
}

impl FleetTelemetry {
    /// Adds BackendTLSPolicies that have a say in where metrics are sent, which are none of the clusters here: they stand in
    /// the bootstrap.
    pub(crate) fn add_policies(&mut self, policies: &[ObjectId], proxy: &ObjectRef) {
        let mut all = std::mem::take(&mut self.policies).into_vec();
        all.extend(policies.iter().map(|policy| (*policy, proxy.clone())));
        all.sort_unstable();
        all.dedup();
        self.policies = all.into();
    }

    /// True when something of it is sent over TLS.
    pub(crate) fn uses_tls(&self) -> bool {
        self.clusters.iter().flat_map(|cluster| &cluster.destinations).any(|d| d.tls.is_some())
    }
}

/// What is wrong, as a Gateway says it whose parameters it stands in.
fn invalid(what: &str, message: impl std::fmt::Display) -> Finding {
    let message = format!("Invalid {what} in the referenced EnvoyProxy: {message}");
    Finding::new("spec.infrastructure.parametersRef", INVALID_PARAMETERS, message)
}
