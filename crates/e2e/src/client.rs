//! HTTP clients that make one connection and say everything about an answer.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{
    Certificate, SOON,
    http3::Http3,
    tls::{any_certificate, handshake},
};

/// Why there is no answer.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// A request before it is fitted to the protocol of a connection; its URI is absolute.
pub type Question = Request<Full<Bytes>>;

/// A GET.
#[must_use]
pub fn get(host: &str, path: &str) -> Question {
    request("GET", host, path, &[], "")
}

/// A request.
///
/// # Panics
/// When a part of it is malformed.
#[must_use]
pub fn request(method: &str, host: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Question {
    let mut builder = Request::builder().method(method).uri(format!("http://{host}{path}"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request")
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Version of the connection.
    pub version: Version,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Trailers; empty when there are none.
    pub trailers: HeaderMap,
}

impl Reply {
    /// What the backend says arrived.
    ///
    /// # Panics
    /// When no backend answered.
    #[must_use]
    pub fn answer(&self) -> echo::Answer {
        let text = || format!("{} {}", self.status, self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not an echo: {}", text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header of the answer; empty when absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A header that the backend received; empty when absent, several values joined by commas.
    #[must_use]
    pub fn received(&self, name: &str) -> String {
        self.answer().headers.get(name).map(|values| values.join(",")).unwrap_or_default()
    }

    /// Name of the backend that answered; empty when none did.
    #[must_use]
    pub fn backend(&self) -> &str {
        self.header(echo::BACKEND_HEADER)
    }
}

/// Where to connect to: a port of 127.0.0.1, or any address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub(crate) SocketAddr);

impl From<u16> for At {
    fn from(port: u16) -> At {
        At((Ipv4Addr::LOCALHOST, port).into())
    }
}

impl From<SocketAddr> for At {
    fn from(address: SocketAddr) -> At {
        At(address)
    }
}

/// One connection.
#[derive(Debug)]
pub enum Client {
    /// HTTP/1.1.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// HTTP/2.
    Http2(http2::SendRequest<Full<Bytes>>),
    /// HTTP/3.
    Http3(Http3),
}

impl Client {
    /// HTTP/1.1 without TLS.
    ///
    /// # Panics
    /// When nothing listens.
    pub async fn http1(at: impl Into<At>) -> Client {
        let at = at.into();
        Client::try_http1(at).await.unwrap_or_else(|| panic!("{} takes no connection", at.0))
    }

    /// HTTP/1.1 without TLS, if anything listens.
    pub async fn try_http1(at: impl Into<At>) -> Option<Client> {
        let connecting = TcpStream::connect(at.into().0);
        let stream = tokio::time::timeout(SOON, connecting).await.ok()?.ok()?;
        Client::over_http1(stream).await
    }

    /// HTTP/1.1 without TLS, from this address of the machine.
    ///
    /// # Panics
    /// When nothing listens.
    pub async fn http1_from(own: Ipv4Addr, at: impl Into<At>) -> Client {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind((own, 0).into()).expect("an address of this machine");
        let stream = socket.connect(at.into().0).await.expect("a connection");
        Client::over_http1(stream).await.expect("HTTP/1.1")
    }

    /// HTTP/3 with this server name, and the certificate that the server showed; none when there is no connection
    /// within [`SOON`].
    pub async fn http3(at: impl Into<At>, name: &str) -> Option<(Client, Vec<u8>)> {
        let config = any_certificate(&["h3"], None);
        let (client, shown) = Http3::connect(at.into().0, name, config).await?;
        Some((Client::Http3(client), shown))
    }

    /// HTTP/2 without TLS, with prior knowledge.
    ///
    /// # Panics
    /// When nothing listens.
    pub async fn h2c(at: impl Into<At>) -> Client {
        let stream = TcpStream::connect(at.into().0).await.expect("a connection");
        Client::over_http2(stream).await.expect("HTTP/2")
    }

    /// The protocol that a server agrees on when `h2` and `http/1.1` are offered; empty for none.
    pub async fn agreed(at: impl Into<At>, name: &str) -> Option<String> {
        let stream = handshake(at.into(), name, &["h2", "http/1.1"], None).await?;
        Some(String::from_utf8_lossy(stream.get_ref().1.alpn_protocol().unwrap_or_default()).into_owned())
    }

    /// TLS with server name (none for an IP address) and protocol (`h2` or `http/1.1`); also the certificate that the
    /// server showed.
    pub async fn tls(at: impl Into<At>, name: &str, alpn: &str) -> Option<(Client, Vec<u8>)> {
        Client::tls_as(at, name, alpn, None).await
    }

    /// The same with a certificate that the client shows when it is asked for one. A server that does not want it says
    /// so only after the handshake: the first request then gets no answer.
    pub async fn tls_as(
        at: impl Into<At>,
        name: &str,
        alpn: &str,
        own: Option<&Certificate>,
    ) -> Option<(Client, Vec<u8>)> {
        let stream = handshake(at.into(), name, &[alpn], own).await?;
        let session = stream.get_ref().1;
        // A listener that ends TLS for connections of any protocol agrees on none, which is HTTP/1.1 to both sides.
        let agreed = session.alpn_protocol().unwrap_or(b"http/1.1");
        assert_eq!(agreed, alpn.as_bytes(), "the protocol agreed on");
        let shown = session.peer_certificates()?.first()?.to_vec();
        let client =
            if alpn == "h2" { Client::over_http2(stream).await } else { Client::over_http1(stream).await };
        Some((client?, shown))
    }

    /// TLS as with [`Client::tls`], but none when another protocol is agreed on, or none where it is needed.
    pub async fn tls_if_agreed(at: impl Into<At>, name: &str, alpn: &str) -> Option<Client> {
        let stream = handshake(at.into(), name, &[alpn], None).await?;
        let agreed = stream.get_ref().1.alpn_protocol() == Some(alpn.as_bytes());
        match alpn {
            _ if !agreed => None,
            "h2" => Client::over_http2(stream).await,
            _ => Client::over_http1(stream).await,
        }
    }

    pub(crate) async fn over_http1(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Option<Client> {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.ok()?;
        tokio::spawn(connection);
        Some(Client::Http1(sender))
    }

    pub(crate) async fn over_http2(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Option<Client> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.ok()?;
        tokio::spawn(connection);
        Some(Client::Http2(sender))
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When there is no answer within [`SOON`].
    pub async fn send(&mut self, request: Question) -> Reply {
        let what = format!("{} {}", request.method(), request.uri());
        self.try_send(request).await.unwrap_or_else(|| panic!("no answer to {what}"))
    }

    /// Sends a request; none when the connection breaks or there is no answer within [`SOON`].
    pub async fn try_send(&mut self, request: Question) -> Option<Reply> {
        tokio::time::timeout(SOON, self.exchange(request)).await.ok()?.ok()
    }

    /// Sends a request, with the error in words when the connection breaks.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn exchange(&mut self, mut request: Question) -> Result<Reply, Broken> {
        let response = match self {
            Client::Http1(sender) => {
                let host = request.uri().authority().expect("an absolute URI").as_str().to_owned();
                let target = request.uri().path_and_query().map_or("/", |p| p.as_str()).to_owned();
                *request.uri_mut() = target.parse().expect("a path");
                request.headers_mut().insert("host", host.parse().expect("a host"));
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Client::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Client::Http3(client) => return client.exchange(request).await,
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let (status, body) = (parts.status.as_u16(), body.to_bytes());
        Ok(Reply { status, version: parts.version, headers: parts.headers, body, trailers })
    }

    /// Whether the connection can take another request.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Client::Http1(sender) => !sender.is_closed(),
            Client::Http2(sender) => !sender.is_closed(),
            Client::Http3(client) => client.is_open(),
        }
    }
}
