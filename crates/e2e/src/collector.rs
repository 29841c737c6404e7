//! A collector of telemetry: it takes traces, logs and metrics by OTLP over gRPC, and access logs as Envoy's own service does.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, Bytes, BytesMut};
use futures::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};

/// Bytes before each message: a flag and the length.
const PREFIX: usize = 5;

/// A span, as far as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// Its attributes that are text, and those of its resource.
    pub attributes: BTreeMap<String, String>,
    /// `:authority` and `x-` headers of the request that brought it.
    pub headers: BTreeMap<String, String>,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its body; the path of the request for Envoy's own service.
    pub body: String,
    /// Its attributes that are text, and those of its resource; the name of the log for Envoy's own service.
    pub attributes: BTreeMap<String, String>,
}

/// What came.
#[derive(Debug, Default)]
struct Taken {
    spans: Vec<Span>,
    entries: Vec<Entry>,
    metrics: BTreeSet<String>,
}

/// A running collector on 127.0.0.1.
#[derive(Debug)]
pub struct Collector {
    /// Its port.
    pub port: u16,
    taken: Arc<Mutex<Taken>>,
    task: JoinHandle<()>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Collector {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken: Arc<Mutex<Taken>> = Arc::default();
        let task = tokio::spawn(serve(listener, taken.clone()));
        Collector { port, taken, task }
    }

    /// The spans that came until now.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).spans.clone()
    }

    /// The entries of logs that came until now.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).entries.clone()
    }

    /// Names of the metrics that came until now.
    #[must_use]
    pub fn metrics(&self) -> BTreeSet<String> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).metrics.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, taken: Arc<Mutex<Taken>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let taken = taken.clone();
        let service = service_fn(move |request| call(request, taken.clone()));
        tokio::spawn(async move {
            let server = http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Takes the messages of a call while they come, and answers when there are no more.
async fn call(
    request: Request<Incoming>,
    taken: Arc<Mutex<Taken>>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut headers: BTreeMap<String, String> = (head.headers.iter())
        .filter(|(name, _)| name.as_str().starts_with("x-"))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.extend(head.uri.authority().map(|authority| (":authority".to_owned(), authority.to_string())));
    let mut buffer = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        buffer.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
        while buffer.len() >= PREFIX {
            let length = (&buffer[1..PREFIX]).get_u32() as usize;
            if buffer.len() < PREFIX + length {
                break;
            }
            buffer.advance(PREFIX);
            let message = buffer.split_to(length);
            taken.lock().unwrap_or_else(PoisonError::into_inner).take(head.uri.path(), &message, &headers);
        }
    }
    let ended = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), "0".parse().unwrap())]);
    let frames = [Frame::data(Bytes::from_static(&[0; PREFIX])), Frame::trailers(ended)];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>))).boxed_unsync();
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

impl Taken {
    fn take(&mut self, path: &str, message: &[u8], headers: &BTreeMap<String, String>) {
        match path.rsplit('/').nth(1) {
            Some("opentelemetry.proto.collector.trace.v1.TraceService") => {
                for of in Traces::decode(message).unwrap().resources {
                    let resource = texts(&of.resource.unwrap_or_default().attributes);
                    self.spans.extend(of.scopes.into_iter().flat_map(|scope| scope.spans).map(|span| Span {
                        name: span.name,
                        attributes: resource.clone().into_iter().chain(texts(&span.attributes)).collect(),
                        headers: headers.clone(),
                    }));
                }
            }
            Some("opentelemetry.proto.collector.logs.v1.LogsService") => {
                for of in Logs::decode(message).unwrap().resources {
                    let resource = texts(&of.resource.unwrap_or_default().attributes);
                    self.entries.extend(of.scopes.into_iter().flat_map(|scope| scope.records).map(
                        |record| Entry {
                            body: record.body.and_then(|body| body.text).unwrap_or_default(),
                            attributes:
                                (resource.clone().into_iter()).chain(texts(&record.attributes)).collect(),
                        },
                    ));
                }
            }
            Some("opentelemetry.proto.collector.metrics.v1.MetricsService") => {
                let resources = Metrics::decode(message).unwrap().resources.into_iter();
                let metrics = resources.flat_map(|of| of.scopes).flat_map(|scope| scope.metrics);
                self.metrics.extend(metrics.map(|metric| metric.name));
            }
            Some("envoy.service.accesslog.v3.AccessLogService") => {
                let logs = Streamed::decode(message).unwrap();
                let name = logs.identifier.map(|identifier| identifier.log_name).unwrap_or_default();
                self.entries.extend(logs.requests.unwrap_or_default().entries.into_iter().map(|entry| {
                    Entry {
                        body: entry.request.unwrap_or_default().path,
                        attributes: [("log_name".to_owned(), name.clone())].into(),
                    }
                }));
            }
            _ => panic!("no such service: {path}"),
        }
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| Some((pair.key.clone(), pair.value.as_ref()?.text.clone()?));
    attributes.iter().filter_map(text).collect()
}

// The parts of the messages of OTLP (opentelemetry/proto) and of Envoy's access log service that tests look at.

#[derive(Clone, PartialEq, Message)]
struct Metrics {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Traces {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<SpanMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SpanMessage {
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Logs {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeLogs {
    #[prost(message, repeated, tag = "2")]
    records: Vec<LogRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct LogRecord {
    #[prost(message, optional, tag = "5")]
    body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Streamed {
    #[prost(message, optional, tag = "1")]
    identifier: Option<Identifier>,
    #[prost(message, optional, tag = "2")]
    requests: Option<HttpEntries>,
}

#[derive(Clone, PartialEq, Message)]
struct Identifier {
    #[prost(string, tag = "2")]
    log_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct HttpEntries {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<HttpEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpEntry {
    #[prost(message, optional, tag = "3")]
    request: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(string, tag = "5")]
    path: String,
}
