//! The JSON answer to a plain HTTP request.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use crate::BadKnob;
use crate::connection::{Body, Context, Dropped};

/// Bytes of a request body that are echoed; the rest is read and counted only.
const BODY_ECHOED: usize = 64 * 1024;

/// What arrived, as the JSON body of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Name of the backend that answered ([`Options::backend`](crate::Options::backend)).
    pub backend: String,
    /// Request method.
    pub method: String,
    /// `:authority` or `Host`; absent when the request had neither.
    pub host: Option<String>,
    /// Path without the query, as received.
    pub path: String,
    /// Query without the question mark; absent when there was none.
    pub query: Option<String>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: String,
    /// Request headers by lower-case name, values in the order received.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Request trailers, likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trailers: BTreeMap<String, Vec<String>>,
    /// The TLS connection, `null` on a plain-text address.
    pub tls: Option<TlsAnswer>,
    /// The request body as text, at most 64 KiB of it, bytes that are not UTF-8 replaced.
    pub body: String,
    /// Length of the whole request body in bytes.
    pub body_length: u64,
    /// Address of the peer, `unix` for a Unix socket.
    pub remote: String,
}

/// What is known of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsAnswer {
    /// Server name the client asked for.
    pub sni: Option<String>,
    /// Protocol agreed by ALPN: `h2` or `http/1.1`.
    pub alpn: Option<String>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// Whether the client showed a certificate; only one that is trusted comes this far.
    #[serde(default)]
    pub client_certificate: bool,
}

impl TlsAnswer {
    pub(crate) fn of(connection: &rustls::ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        };
        Self {
            sni: connection.server_name().map(str::to_owned),
            alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            version: version.to_owned(),
            client_certificate: connection.peer_certificates().is_some(),
        }
    }
}

/// Reads the whole request and answers with what was read. A body that breaks off drops the connection.
pub(crate) async fn answer(
    context: &Context,
    request: Request<Incoming>,
    status: Option<u16>,
) -> Result<Response<Body>, Dropped> {
    let (parts, mut incoming) = request.into_parts();
    let (mut body, mut body_length, mut trailers) = (Vec::new(), 0_u64, BTreeMap::new());
    while let Some(frame) = incoming.frame().await {
        match frame.map_err(|_| Dropped)?.into_data() {
            Ok(data) => {
                body_length += data.len() as u64;
                body.extend_from_slice(&data[..data.len().min(BODY_ECHOED - body.len())]);
            }
            Err(frame) => {
                trailers = frame.trailers_ref().map(by_name).unwrap_or_default();
            }
        }
    }
    let answer = Answer {
        backend: context.server.backend.clone(),
        method: parts.method.to_string(),
        host: host(&parts.headers, &parts.uri),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        protocol: protocol(parts.version).to_owned(),
        headers: by_name(&parts.headers),
        trailers,
        tls: context.peer.tls.clone(),
        body: String::from_utf8_lossy(&body).into_owned(),
        body_length,
        remote: context.peer.remote.clone(),
    };
    let status =
        status.map_or(StatusCode::OK, |code| StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST));
    Ok(json(status, &answer))
}

/// The answer to a knob that makes no sense.
pub(crate) fn refusal(problem: &BadKnob) -> Response<Body> {
    json(StatusCode::BAD_REQUEST, &BTreeMap::from([("error", problem.to_string())]))
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Strings and maps of strings always serialize; an empty answer would show in any test.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Where the request wanted to go: HTTP/2 has it in `:authority`, HTTP/1.1 in `Host`.
pub(crate) fn host(headers: &HeaderMap, uri: &http::Uri) -> Option<String> {
    let authority = uri.authority().map(|authority| authority.as_str().to_owned());
    authority.or_else(|| headers.get(header::HOST).map(text))
}

/// Name of an HTTP version as access logs write it.
pub(crate) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn by_name(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut map = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers {
        map.entry(name.as_str().to_owned()).or_default().push(text(value));
    }
    map
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
