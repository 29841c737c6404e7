//! What listeners say of connections and requests of clients (ClientTrafficPolicy).

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{
    route::HeaderValue,
    traffic::{Http2, TcpKeepalive},
};

/// What a socket says of all connections. Gateway listeners that share it share this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketSettings {
    /// TCP keepalive.
    pub keepalive: Option<TcpKeepalive>,
    /// Bytes that are buffered for a connection; `None` for 32 KiB.
    pub buffer_limit: Option<u32>,
    /// Bytes that the kernel buffers for a connection, each way.
    pub socket_buffer: Option<u32>,
    /// Connections that are taken each time that the socket is looked at, 0 for all; `None` for 1.
    pub accepts: Option<u32>,
    /// Connections begin with the PROXY protocol.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Time until what chooses a filter chain is known.
    pub inspection_timeout: Option<Duration>,
    /// Records fingerprints of TLS handshakes of these kinds.
    pub fingerprints: Fingerprints,
}

/// Connections begin with the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Connections without it are taken as well.
    pub optional: bool,
}

/// Kinds of fingerprints of TLS handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints {
    /// JA3.
    pub ja3: bool,
    /// JA4.
    pub ja4: bool,
}

impl Fingerprints {
    /// True when some are recorded.
    pub fn any(self) -> bool {
        self.ja3 || self.ja4
    }
}

/// What a filter chain says of its connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Time for the TLS handshake.
    pub handshake_timeout: Option<Duration>,
    /// Connections at once.
    pub limit: Option<ConnectionLimit>,
    /// Time without traffic after which a connection without HTTP is closed.
    pub idle_timeout: Option<Duration>,
}

/// How many connections there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimit {
    /// How many.
    pub connections: u64,
    /// Time before those above the limit are closed.
    pub delay: Option<Duration>,
}

/// What a connection manager says of requests. What is not said is as in all connection managers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// How the address of a client is found; `None` for the connection's, with trust in nobody.
    pub client_address: Option<ClientAddress>,
    /// What becomes of escaped slashes in paths.
    pub escaped_slashes: Option<EscapedSlashes>,
    /// Several slashes in a row stay.
    pub keeps_slashes: bool,
    /// Headers with underscores in their names.
    pub underscores: Option<Underscores>,
    /// `X-Request-ID`.
    pub request_id: Option<RequestId>,
    /// `X-Forwarded-Client-Cert`.
    pub client_certificate: Option<ForwardedCertificate>,
    /// Changes to requests before a route is chosen.
    pub early: HeaderEdits,
    /// Changes to all responses.
    pub late: HeaderEdits,
    /// Adds headers that begin with `X-Envoy-`.
    pub envoy_headers: bool,
    /// Takes the dot at the end of hosts away.
    pub strips_dot: bool,
    /// KiB of all headers of a request together.
    pub max_headers: Option<u32>,
    /// Time until the whole request is there.
    pub request_timeout: Option<Duration>,
    /// Time until the headers of a request are there.
    pub headers_timeout: Option<Duration>,
    /// Time without requests after which a connection is closed.
    pub idle_timeout: Option<Duration>,
    /// Time without traffic after which a stream is reset.
    pub stream_idle_timeout: Option<Duration>,
    /// Life of a connection.
    pub max_connection_duration: Option<Duration>,
    /// HTTP/1 connections may end without a response that tells the client.
    pub ends_unsafely: bool,
    /// Requests of a connection.
    pub max_requests: Option<u32>,
    /// Life of a stream.
    pub max_stream_duration: Option<Duration>,
    /// HTTP/1.
    pub http1: Option<Arc<Http1>>,
    /// HTTP/2.
    pub http2: Option<Http2>,
    /// gRPC-Web, whatever routes need.
    pub grpc_web: Option<bool>,
    /// Path at which the proxy answers.
    pub health_check: Option<Arc<str>>,
    /// Backends are told the scheme of the connection to them.
    pub scheme_of_backend: bool,
}

/// How the address of a client is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// By `X-Forwarded-For`.
    ForwardedFor {
        /// Who is trusted.
        trusted: Trusted,
        /// The header goes on without the connection's address.
        keeps: bool,
    },
    /// By a header with the address alone.
    Header {
        /// Its name.
        name: Arc<str>,
        /// Requests without an address there are refused.
        required: bool,
    },
}

/// Proxies whose words in `X-Forwarded-For` are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// So many, the connection's peer among them.
    Hops(u32),
    /// Those with these addresses: address and length of the prefix.
    Ranges(Box<[(IpAddr, u8)]>),
}

/// What becomes of escaped slashes in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// They stay.
    Keep,
    /// The request is refused.
    Reject,
    /// They become slashes.
    Unescape,
    /// The client is sent to the path with slashes.
    Redirect,
}

/// What becomes of headers with underscores in their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underscores {
    /// They are headers like others.
    Allow,
    /// Their requests are refused.
    Reject,
    /// They are taken away.
    Drop,
}

/// What becomes of `X-Request-ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// One is made where there is none.
    pub generates: bool,
    /// A client's is kept.
    pub preserves: bool,
}

/// What becomes of `X-Forwarded-Client-Cert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedCertificate {
    /// It is taken away.
    Sanitize,
    /// It is kept when the client has shown a certificate.
    Forward,
    /// The client's certificate is added.
    Append(CertificateDetails),
    /// It tells the client's certificate alone.
    Set(CertificateDetails),
    /// It is kept.
    AlwaysForward,
}

/// What is told of a client's certificate beside its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertificateDetails {
    /// The subject.
    pub subject: bool,
    /// All of it.
    pub certificate: bool,
    /// It with its chain.
    pub chain: bool,
    /// DNS names.
    pub dns: bool,
    /// URIs.
    pub uri: bool,
}

/// Changes to headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Headers to set or add, in the order in which they apply.
    pub add: Box<[HeaderValue]>,
    /// Headers to add when absent, after those.
    pub add_absent: Box<[HeaderValue]>,
    /// Names of headers to remove.
    pub remove: Box<[Arc<str>]>,
    /// Headers to remove by what their names are like.
    pub remove_like: Box<[TextMatch]>,
}

impl HeaderEdits {
    /// True when nothing changes.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty()
            && self.add_absent.is_empty()
            && self.remove.is_empty()
            && self.remove_like.is_empty()
    }
}

/// Match of a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TextMatch {
    /// The whole text.
    Exact(Arc<str>),
    /// Its beginning.
    Prefix(Arc<str>),
    /// Its end.
    Suffix(Arc<str>),
    /// A regular expression (RE2) over the whole text.
    Regex(Arc<str>),
}

/// HTTP/1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http1 {
    /// Trailers are read and sent on.
    pub trailers: bool,
    /// Names of headers keep their case.
    pub keeps_case: bool,
    /// HTTP/1.0 is taken.
    pub http10: Option<Http10>,
    /// Values of `Upgrade` that are passed over.
    pub ignored_upgrades: Box<[TextMatch]>,
}

impl Http1 {
    /// The same with the host of HTTP/1.0 requests that name none. Without one, HTTP/1.0 is not taken.
    pub fn with_default_host(&self, host: Option<Arc<str>>) -> Http1 {
        let http10 = host.map(|host| Http10 { default_host: Some(host) });
        Http1 { http10, ..self.clone() }
    }
}

/// HTTP/1.0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http10 {
    /// Host of requests that name none; such requests are refused without one.
    pub default_host: Option<Arc<str>>,
}
