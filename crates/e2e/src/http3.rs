//! HTTP/3 over QUIC, as a browser speaks it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::{Buf, Bytes, BytesMut};
use http::Version;
use http_body_util::BodyExt;
use quinn::crypto::rustls::QuicClientConfig;
use rustls_pki_types::CertificateDer;

use crate::{Question, Reply, SOON, client::Broken};

/// One connection.
pub struct Http3 {
    requests: h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>,
    connection: quinn::Connection,
    /// The socket; the connection does not hold it.
    _endpoint: quinn::Endpoint,
}

impl std::fmt::Debug for Http3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http3").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Http3 {
    /// Connects, if there is a server within [`SOON`]; also the certificate that it showed.
    pub(crate) async fn connect(
        at: SocketAddr,
        name: &str,
        config: rustls::ClientConfig,
    ) -> Option<(Http3, Vec<u8>)> {
        let config = QuicClientConfig::try_from(config).expect("TLS 1.3");
        let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
        let mut config = quinn::ClientConfig::new(Arc::new(config));
        let mut transport = quinn::TransportConfig::default();
        // Over loopback several packets would arrive as one, which is longer than Envoy reads.
        transport.enable_segmentation_offload(false);
        config.transport_config(Arc::new(transport));
        let connecting = endpoint.connect_with(config, at, name).expect("a server name");
        let connection = tokio::time::timeout(SOON, connecting).await.ok()?.ok()?;
        let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        let streams = h3_quinn::Connection::new(connection.clone());
        let (mut driver, requests) = h3::client::new(streams).await.ok()?;
        tokio::spawn(async move { futures::future::poll_fn(|context| driver.poll_close(context)).await });
        Some((Http3 { requests, connection, _endpoint: endpoint }, shown.first()?.to_vec()))
    }

    /// Sends a request and waits for the whole answer.
    pub(crate) async fn exchange(&mut self, request: Question) -> Result<Reply, Broken> {
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("https{}", parts.uri.to_string().trim_start_matches("http")).parse()?;
        parts.version = Version::HTTP_3;
        let mut stream = self.requests.send_request(http::Request::from_parts(parts, ())).await?;
        let body = body.collect().await?.to_bytes();
        // A server may answer before it has read all, and wants no more of the request then (RFC 9114 §4.1).
        let _ = async {
            if !body.is_empty() {
                stream.send_data(body).await?;
            }
            stream.finish().await
        }
        .await;
        let (parts, ()) = stream.recv_response().await?.into_parts();
        let mut body = BytesMut::new();
        while let Some(mut data) = stream.recv_data().await? {
            body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        let trailers = stream.recv_trailers().await?.unwrap_or_default();
        let status = parts.status.as_u16();
        Ok(Reply { status, version: Version::HTTP_3, headers: parts.headers, body: body.freeze(), trailers })
    }

    /// Whether the connection can take another request.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }
}
