//! TLS of the listeners, from files that change while it serves.

use std::{
    fmt, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

/// Files of a Secret of type `kubernetes.io/tls` as they are mounted: chain, key, authority of the other side.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, or it is no PEM file of what it should hold.
    #[error("{}: {reason}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The files do not go together.
    #[error("{}: {source} (do {CERTIFICATE} and {KEY} belong together?)", folder.display())]
    Certificate {
        /// The folder with the files.
        folder: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// No client certificate could ever be accepted.
    #[error("{}: {source}", path.display())]
    Authority {
        /// Path of the file with the authorities.
        path: PathBuf,
        /// The cause.
        source: rustls::server::VerifierBuilderError,
    },
}

/// What clients have to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// A certificate that an authority in `ca.crt` has signed.
    Certified {
        /// A DNS name that must stand, letter by letter, among the names of the certificate, such as
        /// `*.envoy-gateway-system`; `None` asks for none.
        name: Option<String>,
    },
    /// Nothing: who they are is found out later.
    Anyone,
}

/// What is spoken over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2 alone, which gRPC needs: who does not offer it is no proxy.
    Http2,
    /// HTTP/2 or HTTP/1.1: an API server speaks HTTP/1.1 to webhooks.
    Http,
}

impl Protocols {
    /// Names for the handshake (ALPN), the preferred first.
    fn names(self) -> Vec<Vec<u8>> {
        match self {
            Protocols::Http2 => vec![b"h2".to_vec()],
            Protocols::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }
}

/// Certificate, key and authorities from a folder, in the newest version that is any good.
///
/// Each handshake looks whether the files have changed. When new ones cannot be used, the old ones stay in use and the
/// log says why. Clones share.
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    clients: Clients,
    protocols: Protocols,
    current: Mutex<Loaded>,
}

struct Loaded {
    /// The files as they were when they were last read, well or not.
    seen: Stamps,
    config: Arc<ServerConfig>,
}

/// What tells one version of a file from another; `None` for a file that is not there.
type Stamp = Option<(u64, u64, i64, i64, u64)>;
type Stamps = [Stamp; 3];

impl Tls {
    /// Reads `tls.crt`, `tls.key` and, for [`Clients::Certified`], `ca.crt` from a folder. Speaks TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn load(folder: &Path, clients: Clients, protocols: Protocols) -> Result<Tls, TlsError> {
        // Before reading: a change in between is then seen as a change.
        let seen = stamps(folder);
        let config = Arc::new(config(folder, &clients, protocols)?);
        let current = Mutex::new(Loaded { seen, config });
        Ok(Tls { inner: Arc::new(Inner { folder: folder.to_owned(), clients, protocols, current }) })
    }

    /// What to do the next handshake with. Looks at the files first.
    pub fn current(&self) -> Arc<ServerConfig> {
        let Inner { folder, clients, protocols, current } = &*self.inner;
        let seen = stamps(folder);
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        if seen != current.seen {
            current.seen = seen;
            match config(folder, clients, *protocols) {
                Ok(config) => {
                    current.config = Arc::new(config);
                    tracing::info!(folder = %folder.display(), "new certificates are in use");
                }
                Err(error) => {
                    tracing::error!("new certificates cannot be used, the old ones stay in use: {error}");
                }
            }
        }
        Arc::clone(&current.config)
    }

    /// What clients have to show.
    pub fn clients(&self) -> &Clients {
        &self.inner.clients
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("folder", &self.inner.folder)
            .field("clients", &self.inner.clients)
            .finish()
    }
}

/// Kubernetes swaps a mounted Secret by a symbolic link, so a new version has another inode.
fn stamps(folder: &Path) -> Stamps {
    [CERTIFICATE, KEY, AUTHORITY].map(|name| {
        let found = std::fs::metadata(folder.join(name)).ok()?;
        Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
    })
}

fn config(folder: &Path, clients: &Clients, protocols: Protocols) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unfit = |source| TlsError::Certificate { folder: folder.to_owned(), source };
    let chain = certificates(&folder.join(CERTIFICATE))?;
    let key = folder.join(KEY);
    let key = PrivateKeyDer::from_pem_file(&key)
        .map_err(|error| TlsError::File { path: key, reason: error.to_string() })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
        .map_err(unfit)?;
    let builder = match clients {
        Clients::Anyone => builder.with_no_client_auth(),
        Clients::Certified { name } => {
            let verifier = verifier(&folder.join(AUTHORITY), name.clone(), provider)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unfit)?;
    config.alpn_protocols = protocols.names();
    // A resumed session would skip the look at the client's certificate, which may have run out; proxies connect
    // rarely enough for a whole handshake each time.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(error.to_string()))?;
    if found.is_empty() {
        return Err(unreadable("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

fn verifier(
    path: &Path,
    name: Option<String>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let unfit =
            |error: rustls::Error| TlsError::File { path: path.to_owned(), reason: error.to_string() };
        roots.add(certificate).map_err(unfit)?;
    }
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|source| TlsError::Authority { path: path.to_owned(), source })?;
    Ok(match name {
        None => chain,
        Some(name) => Arc::new(Named { chain, name }),
    })
}

/// Asks for a name in the certificate, beside what `chain` asks for.
#[derive(Debug)]
struct Named {
    chain: Arc<dyn ClientCertVerifier>,
    name: String,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        if has_name(end_entity, &self.name) {
            return Ok(verified);
        }
        let reason =
            format!("the client certificate is not that of a proxy: {} is not in its names", self.name);
        let reason = rustls::OtherError(Arc::new(io::Error::other(reason)));
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(reason)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn has_name(certificate: &CertificateDer<'_>, name: &str) -> bool {
    use x509_parser::{extensions::GeneralName, parse_x509_certificate};
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|found| match found {
        GeneralName::DNSName(found) => found.eq_ignore_ascii_case(name),
        _ => false,
    })
}
