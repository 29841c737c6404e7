//! TLS of clients: handshakes that take any certificate, and tell what was shown.

use std::sync::{Arc, Mutex};

use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme, SupportedProtocolVersion,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
        Tls13ClientSessionValue,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{At, Certificate, Client, SOON};

/// What a server shows in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its certificates in DER, the first being its own.
    pub chain: Vec<Vec<u8>>,
    /// OCSP staple; empty when there is none.
    pub staple: Vec<u8>,
}

impl Shown {
    /// What a server shows to a client that takes these signatures, or whatever is known when there are none; none
    /// without a handshake.
    pub async fn to(at: impl Into<At>, name: &str, schemes: &[SignatureScheme]) -> Option<Shown> {
        let verifier = Arc::new(AnyCertificate::taking(schemes));
        let config = config(&["h2", "http/1.1"], None, verifier.clone(), rustls::DEFAULT_VERSIONS);
        let stream = connect(at.into(), name, Arc::new(config)).await?;
        let chain = stream.get_ref().1.peer_certificates()?.iter().map(|one| one.to_vec()).collect();
        let staple = verifier.staple.lock().expect("no panic in a handshake").clone();
        Some(Shown { chain, staple })
    }
}

/// A client that goes on with its last TLS session, to whatever server it connects. Honest clients do that for one
/// server name only.
#[derive(Debug)]
pub struct Resuming(Arc<ClientConfig>);

impl Resuming {
    /// A client of HTTP/1.1 that speaks this version of TLS.
    #[must_use]
    pub fn new(own: Option<&Certificate>, version: &'static SupportedProtocolVersion) -> Resuming {
        let mut config =
            config(&["http/1.1"], own, Arc::new(AnyCertificate::taking(&[])), Box::leak(Box::new([version])));
        config.resumption = Resumption::store(Arc::new(OneSession(ClientSessionMemoryCache::new(8))));
        Resuming(Arc::new(config))
    }

    /// Connects with this server name; also whether the server went on with the last session.
    pub async fn connect(&self, at: impl Into<At>, name: &str) -> Option<(Client, bool)> {
        let stream = connect(at.into(), name, self.0.clone()).await?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        Some((Client::over_http1(stream).await?, resumed))
    }
}

/// Sessions that are kept under one name, whatever server they are of.
#[derive(Debug)]
struct OneSession(ClientSessionMemoryCache);

fn any() -> ServerName<'static> {
    ServerName::try_from("any").expect("a name")
}

impl ClientSessionStore for OneSession {
    fn set_kx_hint(&self, _server: ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(any(), group);
    }

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(&any())
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(any(), value);
    }

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&any())
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {
        self.0.remove_tls12_session(&any());
    }

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(any(), value);
    }

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&any())
    }
}

/// A handshake that offers these protocols, with a certificate if the client has one. Each shows the server's
/// certificate again.
pub(crate) async fn handshake(
    at: At,
    name: &str,
    alpn: &[&str],
    own: Option<&Certificate>,
) -> Option<TlsStream<TcpStream>> {
    connect(at, name, Arc::new(any_certificate(alpn, own))).await
}

async fn connect(at: At, name: &str, config: Arc<ClientConfig>) -> Option<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(at.0).await.ok()?;
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let connecting = TlsConnector::from(config).connect(name, stream);
    tokio::time::timeout(SOON, connecting).await.ok()?.ok()
}

/// Takes any certificate, and keeps no session.
pub(crate) fn any_certificate(alpn: &[&str], own: Option<&Certificate>) -> ClientConfig {
    config(alpn, own, Arc::new(AnyCertificate::taking(&[])), rustls::DEFAULT_VERSIONS)
}

fn config(
    alpn: &[&str],
    own: Option<&Certificate>,
    verifier: Arc<AnyCertificate>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(verifier.provider.clone())
        .with_protocol_versions(versions)
        .expect("protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
            let chain = vec![CertificateDer::from(own.der.clone())];
            config.with_client_auth_cert(chain, key).expect("a certificate with its key")
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config.resumption = Resumption::disabled();
    config
}

/// Takes any certificate: tests compare it with the one that they made.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
    schemes: Vec<SignatureScheme>,
    staple: Mutex<Vec<u8>>,
}

impl AnyCertificate {
    /// Takes these signatures, or all that are known when there are none.
    fn taking(schemes: &[SignatureScheme]) -> AnyCertificate {
        let provider = rustls::crypto::ring::default_provider();
        let known = provider.signature_verification_algorithms.supported_schemes();
        let schemes = if schemes.is_empty() { known } else { schemes.to_vec() };
        AnyCertificate { provider: Arc::new(provider), schemes, staple: Mutex::default() }
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.staple.lock().expect("no panic in a handshake") = ocsp_response.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
