//! Small clients for the tests.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use echo::grpc::{EchoRequest, EchoResponse, SERVICE};
use echo::{Answer, Options, Running};
use http::{Request, Response, response::Parts};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

pub(crate) struct Fixture {
    pub(crate) running: Running,
    pub(crate) serving: Arc<AtomicBool>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let options = Options {
            plain: vec![any],
            tls: vec![any],
            backend: "tester".to_owned(),
            drain: Duration::from_secs(2),
            ..Options::default()
        };
        let serving = Arc::clone(&options.serving);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let running = echo::serve(options, async { drop(stopped.await) }).await.unwrap();
        Self { running, serving, stop }
    }

    pub(crate) async fn http1(&self) -> Client {
        Client::http1(TcpStream::connect(self.running.plain[0]).await.unwrap()).await
    }

    pub(crate) async fn http2(&self) -> Client {
        Client::http2(TcpStream::connect(self.running.plain[0]).await.unwrap()).await
    }

    pub(crate) async fn tls(&self, alpn: &str) -> Client {
        tls(self.running.tls[0], self.running.certificate_pem.as_ref().unwrap(), "localhost", alpn).await
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), self.running.done()).await.unwrap();
    }
}

pub(crate) enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

pub(crate) async fn unix(path: &Path) -> Client {
    Client::http1(UnixStream::connect(path).await.unwrap()).await
}

pub(crate) async fn tls(address: SocketAddr, trusted_pem: &str, name: &str, alpn: &str) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await.unwrap();
    if alpn == "h2" { Client::http2(stream).await } else { Client::http1(stream).await }
}

impl Client {
    async fn http1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    async fn http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    pub(crate) async fn raw(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<(Parts, Bytes)> {
        let (parts, body) = self.raw(request).await?.into_parts();
        Ok((parts, body.collect().await?.to_bytes()))
    }

    pub(crate) async fn json(&mut self, request: Request<Full<Bytes>>) -> (Parts, Answer) {
        let (parts, body) = self.send(request).await.unwrap();
        (parts, serde_json::from_slice(&body).unwrap())
    }

    /// Calls a method of the echo service; returns the responses and the `grpc-status` of the trailers.
    pub(crate) async fn grpc(
        &mut self,
        method: &str,
        messages: &[EchoRequest],
    ) -> (Vec<EchoResponse>, String) {
        let request = Request::post(format!("http://grpc.example/{SERVICE}/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(messages.iter().flat_map(message).collect()))
            .unwrap();
        let body = self.raw(request).await.unwrap().into_body().collect().await.unwrap();
        let status = body.trailers().unwrap()["grpc-status"].to_str().unwrap().to_owned();
        (frames(&body.to_bytes()), status)
    }
}

pub(crate) fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

pub(crate) fn message(message: &EchoRequest) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_u8(0);
    buffer.put_u32(message.encoded_len().try_into().unwrap());
    message.encode(&mut buffer).unwrap();
    buffer.freeze()
}

pub(crate) fn frames(mut body: &[u8]) -> Vec<EchoResponse> {
    let mut list = Vec::new();
    while body.has_remaining() {
        assert_eq!(body.get_u8(), 0);
        let length = body.get_u32() as usize;
        list.push(EchoResponse::decode(&body[..length]).unwrap());
        body.advance(length);
    }
    list
}
