//! Access logs.

use std::{collections::BTreeMap, sync::Arc};

use api::envoyproxy::{
    AlsEnvoyProxyAccessLog, AlsEnvoyProxyAccessLogType, OpenTelemetryEnvoyProxyAccessLog, ProxyAccessLog,
    ProxyAccessLogFormat, ProxyAccessLogFormatType, ProxyAccessLogSetting, ProxyAccessLogSink,
    ProxyAccessLogSinkType, ProxyAccessLogType,
};
use ir::{
    cluster::Protocol,
    telemetry::{AccessLog, AccessLogs, Collector, Fields, LogEntries, LogFormat, LogSink, LogType},
};
use store::facts::CollectorRef;

use super::{
    Lookup, OwnCluster, Source,
    backends::{self, Wanted},
    cel,
};

/// Where a file log goes that names no file.
const STDOUT: &str = "/dev/stdout";

/// The logs of a fleet with the clusters that they go to.
///
/// # Errors
/// A sentence that names the first field that cannot be used. There are no logs then, as with Envoy Gateway: a part of
/// them could pass for all.
pub(super) fn read(
    spec: &ProxyAccessLog,
    source: &Source<'_>,
    lookup: &mut Lookup<'_, '_>,
) -> Result<(AccessLogs, Vec<OwnCluster>), String> {
    if spec.disable {
        return Ok((AccessLogs([].into()), Vec::new()));
    }
    if spec.settings.is_empty() {
        return Ok(Default::default());
    }
    let mut logs: Vec<AccessLog> = Vec::new();
    let mut clusters = Vec::new();
    for (i, setting) in spec.settings.iter().enumerate() {
        let field = format!("spec.telemetry.accessLog.settings[{i}]");
        for (at, expression) in setting.matches.iter().enumerate() {
            cel::check(expression).map_err(|message| {
                format!("{field}.matches[{at}]: {expression:?} is no expression in CEL: {message}")
            })?;
        }
        for (j, sink) in setting.sinks.iter().enumerate() {
            let place = Place { setting: i, sink: j, field: format!("{field}.sinks[{j}]") };
            let (sink, cluster) = place.read(setting, sink, source, lookup)?;
            clusters.extend(cluster);
            logs.push(AccessLog {
                of: setting.type_.map(|type_| match type_ {
                    ProxyAccessLogType::Listener => LogType::Listener,
                    ProxyAccessLogType::Route => LogType::Route,
                    ProxyAccessLogType::Upstream => LogType::Upstream,
                }),
                matches: texts(&setting.matches),
                sink,
            });
        }
    }
    logs.sort_by_key(|log| rank(&log.sink));
    Ok((AccessLogs(logs.into()), clusters))
}

/// Envoy Gateway's order, which patches of users count by.
fn rank(sink: &LogSink) -> u8 {
    match sink {
        LogSink::File { format: LogFormat::Text(_), .. } => 0,
        LogSink::File { .. } => 1,
        LogSink::Service { .. } => 2,
        LogSink::OpenTelemetry { .. } => 3,
    }
}

/// Where a sink stands.
struct Place {
    setting: usize,
    sink: usize,
    field: String,
}

impl Place {
    fn read(
        &self,
        setting: &ProxyAccessLogSetting,
        sink: &ProxyAccessLogSink,
        source: &Source<'_>,
        lookup: &mut Lookup<'_, '_>,
    ) -> Result<(LogSink, Option<OwnCluster>), String> {
        let format = setting.format.as_ref();
        // The schema sees to it that the member of the type is there.
        let lacks = |member| format!("{}.{member}: must be set", self.field);
        match sink.type_ {
            ProxyAccessLogSinkType::File => {
                let file = sink.file.as_ref().ok_or_else(|| lacks("file"))?;
                let path = file.path.as_deref().unwrap_or(STDOUT).into();
                Ok((LogSink::File { path, format: of_file(format) }, None))
            }
            ProxyAccessLogSinkType::ALS => {
                let als = sink.als.as_ref().ok_or_else(|| lacks("als"))?;
                self.service(als, source, lookup).map(|(sink, cluster)| (sink, Some(cluster)))
            }
            ProxyAccessLogSinkType::OpenTelemetry => {
                let collector = sink.open_telemetry.as_ref().ok_or_else(|| lacks("openTelemetry"))?;
                self.collector(collector, format, source, lookup).map(|(sink, cluster)| (sink, Some(cluster)))
            }
        }
    }

    fn service(
        &self,
        als: &AlsEnvoyProxyAccessLog,
        source: &Source<'_>,
        lookup: &mut Lookup<'_, '_>,
    ) -> Result<(LogSink, OwnCluster), String> {
        let (cluster, _) = backends::cluster(
            &Wanted {
                name: self.cluster("als"),
                field: format!("{}.als", self.field),
                backends: self.backends(source),
                by_reference: !als.backend_refs.is_empty(),
                host: None,
                settings: als.backend_settings.as_ref(),
                protocol: Protocol::Http2,
                counted: false,
            },
            source,
            lookup,
        )?;
        let own_name = || {
            let object = source.named.as_ref().map(|(object, _)| object);
            object.map_or_else(|| "/".to_owned(), |object| format!("{}/{}", object.namespace, object.name))
        };
        let headers = als.http.as_ref();
        let list = |of: fn(&api::envoyproxy::AlsHttpAccessLog) -> &Vec<String>| {
            headers.map_or_else(Box::default, |headers| texts(of(headers)))
        };
        let sink = LogSink::Service {
            cluster: cluster.name.clone(),
            name: als.log_name.clone().unwrap_or_else(own_name).into(),
            entries: match als.type_ {
                AlsEnvoyProxyAccessLogType::TCP => LogEntries::Tcp,
                AlsEnvoyProxyAccessLogType::HTTP => LogEntries::Http {
                    request_headers: list(|headers| &headers.request_headers),
                    response_headers: list(|headers| &headers.response_headers),
                    response_trailers: list(|headers| &headers.response_trailers),
                },
            },
        };
        Ok((sink, cluster))
    }

    fn collector(
        &self,
        spec: &OpenTelemetryEnvoyProxyAccessLog,
        format: Option<&ProxyAccessLogFormat>,
        source: &Source<'_>,
        lookup: &mut Lookup<'_, '_>,
    ) -> Result<(LogSink, OwnCluster), String> {
        let (cluster, authority) = backends::cluster(
            &Wanted {
                name: self.cluster("otel"),
                field: format!("{}.openTelemetry", self.field),
                backends: self.backends(source),
                by_reference: !spec.backend_refs.is_empty(),
                host: spec.host.as_deref().map(|host| (host, spec.port)),
                settings: spec.backend_settings.as_ref(),
                protocol: Protocol::Http2,
                counted: true,
            },
            source,
            lookup,
        )?;
        // Body and attributes go together where no type says which of them counts.
        let counts =
            |wanted| move |format: &&ProxyAccessLogFormat| format.type_.is_none_or(|type_| type_ == wanted);
        let body = format.filter(counts(ProxyAccessLogFormatType::Text)).and_then(|f| f.text.as_deref());
        let attributes = format.filter(counts(ProxyAccessLogFormatType::JSON)).map(|f| fields(&f.json));
        let resource = match &spec.resource_attributes {
            newer if !newer.is_empty() => newer,
            _ => &spec.resources,
        };
        let sink = LogSink::OpenTelemetry {
            collector: Collector {
                cluster: cluster.name.clone(),
                authority,
                headers: super::tracing::headers(&spec.headers),
            },
            body: body.unwrap_or_default().into(),
            attributes: attributes.unwrap_or_default(),
            resource: fields(resource),
        };
        Ok((sink, cluster))
    }

    /// Name of the cluster of the sink.
    fn cluster(&self, kind: &str) -> Arc<str> {
        format!("accesslog_{kind}_{}_{}", self.setting, self.sink).into()
    }

    fn backends<'a>(&self, source: &Source<'a>) -> Option<&'a [CollectorRef]> {
        source.backends?.logs.get(self.setting)?.get(self.sink).map(|collector| &**collector)
    }
}

fn of_file(format: Option<&ProxyAccessLogFormat>) -> LogFormat {
    let text = format.filter(|format| format.type_ == Some(ProxyAccessLogFormatType::Text));
    match text.and_then(|format| format.text.as_deref()) {
        Some(text) => LogFormat::Text(text.into()),
        None => LogFormat::Json(format.map(|format| fields(&format.json)).unwrap_or_default()),
    }
}

/// A map as fields, in the order of names.
pub(super) fn fields(map: &BTreeMap<String, String>) -> Fields {
    map.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
}

fn texts(list: &[String]) -> Box<[Arc<str>]> {
    list.iter().map(|text| text.as_str().into()).collect()
}
