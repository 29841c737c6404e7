//! What proxies tell of their traffic: access logs, traces, statistics.

use std::{fmt, sync::Arc};

use crate::{
    secret::{REDACTED, is_credential_header},
    traffic::Tracing,
};

/// What the listeners of a fleet have of telemetry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// Access logs.
    pub logs: AccessLogs,
    /// Traces of requests; `None` for none.
    pub tracing: Option<ProxyTracing>,
    /// What ids of requests have to do with traces; `None` for Envoy's way, which is both.
    pub request_id: Option<RequestIdTracing>,
    /// Whether calls are counted by service and method; `None` where GRPCRoutes decide.
    pub grpc_statistics: Option<bool>,
}

impl Telemetry {
    /// Names of the clusters that a listener sends to, ascending, each once. `http` tells that it takes requests, which
    /// alone are traced.
    pub fn clusters(&self, http: bool) -> Vec<Arc<str>> {
        let logs = self.logs.0.iter().filter_map(|log| log.sink.cluster().cloned());
        let traces = self.tracing.iter().filter(|_| http).map(|tracing| tracing.cluster.clone());
        let mut names: Vec<Arc<str>> = logs.chain(traces).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Access logs, in the order in which Envoy writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogs(pub Box<[AccessLog]>);

impl Default for AccessLogs {
    /// One to standard output, of routes, and of what listeners refuse.
    fn default() -> Self {
        let sink = LogSink::File { path: "/dev/stdout".into(), format: LogFormat::Json([].into()) };
        AccessLogs([AccessLog { of: None, matches: [].into(), sink }].into())
    }
}

/// One access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// What it is of; `None` for what routes take and what listeners refuse because no route takes it.
    pub of: Option<LogType>,
    /// Expressions in CEL that must all hold.
    pub matches: Box<[Arc<str>]>,
    /// Where it goes.
    pub sink: LogSink,
}

/// What an access log is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogType {
    /// Connections and requests as listeners see them.
    Listener,
    /// What routes take.
    Route,
    /// Attempts at backends.
    Upstream,
}

/// Names with values that have command operators, ascending by name; none for the default ones.
pub type Fields = Box<[(Arc<str>, Arc<str>)]>;

/// How a line is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text with command operators.
    Text(Arc<str>),
    /// A JSON object.
    Json(Fields),
}

/// Where an access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSink {
    /// To a file.
    File {
        /// Its path.
        path: Arc<str>,
        /// How lines are written.
        format: LogFormat,
    },
    /// To Envoy's access log service.
    Service {
        /// Cluster of the server.
        cluster: Arc<str>,
        /// Name of the log.
        name: Arc<str>,
        /// What it is told of.
        entries: LogEntries,
    },
    /// To an OpenTelemetry collector.
    OpenTelemetry {
        /// The collector.
        collector: Collector,
        /// The body of an entry; empty for none.
        body: Arc<str>,
        /// Attributes of an entry.
        attributes: Fields,
        /// Attributes of the resource.
        resource: Fields,
    },
}

impl LogSink {
    /// The cluster that it sends to.
    pub fn cluster(&self) -> Option<&Arc<str>> {
        match self {
            LogSink::File { .. } => None,
            LogSink::Service { cluster, .. } => Some(cluster),
            LogSink::OpenTelemetry { collector, .. } => Some(&collector.cluster),
        }
    }
}

/// What an access log service is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntries {
    /// Connections.
    Tcp,
    /// Requests, with headers of them beside the common ones.
    Http {
        /// Of the request.
        request_headers: Box<[Arc<str>]>,
        /// Of the response.
        response_headers: Box<[Arc<str>]>,
        /// Trailers of the response.
        response_trailers: Box<[Arc<str>]>,
    },
}

/// An OpenTelemetry collector. Its `Debug` output hides the values of headers that carry credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Collector {
    /// Its cluster.
    pub cluster: Arc<str>,
    /// `:authority` of requests to it; empty for the cluster's name.
    pub authority: Arc<str>,
    /// Headers of requests to it, in order.
    pub headers: Box<[(Arc<str>, Arc<str>)]>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): &(Arc<str>, Arc<str>)| {
            (name.clone(), if is_credential_header(name) { REDACTED.into() } else { value.clone() })
        };
        f.debug_struct("Collector")
            .field("cluster", &self.cluster)
            .field("authority", &self.authority)
            .field("headers", &self.headers.iter().map(shown).collect::<Vec<_>>())
            .finish()
    }
}

/// Traces of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyTracing {
    /// Cluster of the collector.
    pub cluster: Arc<str>,
    /// Name of the service in traces.
    pub service: Arc<str>,
    /// Shares, tags and names of spans; a share that is not said is all, that of clients none.
    pub settings: Tracing,
    /// The collector.
    pub provider: TracingProvider,
}

/// What takes traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TracingProvider {
    /// An OpenTelemetry collector.
    OpenTelemetry {
        /// The collector.
        collector: Collector,
        /// Attributes of the resource.
        resource: Fields,
        /// Which traces are sent; `None` for all.
        sampler: Option<Sampler>,
    },
    /// Zipkin.
    Zipkin {
        /// Ids of traces have 128 bits.
        long_ids: bool,
        /// The spans of client and server share an id.
        shared_context: bool,
    },
    /// The agent of Datadog.
    Datadog,
}

/// Which traces are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// Share of traces as numerator and denominator; `None` for all.
    pub ratio: Option<(u32, u32)>,
    /// Whoever began the trace decides before that.
    pub parent_based: bool,
}

/// What ids of requests have to do with traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestIdTracing {
    /// They tell why a request is traced.
    pub packs: bool,
    /// They decide whether a request is traced.
    pub samples: bool,
}

/// What is counted of clusters beside what always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterStatistics {
    /// By endpoint.
    pub per_endpoint: bool,
    /// Sizes of requests and responses.
    pub sizes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_hide_credentials_of_collectors() {
        let headers = [("Authorization".into(), "Bearer abc".into()), ("x-team".into(), "shop".into())];
        let collector = Collector { cluster: "c".into(), authority: "".into(), headers: headers.into() };
        let dump = format!("{collector:?}");
        assert!(dump.contains("Authorization") && dump.contains("shop") && !dump.contains("abc"), "{dump}");
    }
}
