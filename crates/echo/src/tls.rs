//! The certificate of the TLS addresses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

/// Where the certificate of the TLS addresses comes from.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// Made at start, gone at the end; read it from [`Running::certificate_pem`](crate::Running).
    SelfSigned {
        /// DNS names and IP addresses it is good for.
        names: Vec<String>,
    },
    /// PEM files, as in a Secret of type `kubernetes.io/tls`.
    Files {
        /// Certificate chain, leaf first.
        certificate: PathBuf,
        /// Private key: PKCS#8, PKCS#1 or SEC1.
        key: PathBuf,
    },
}

/// The server side of TLS and the self-signed certificate in PEM, if one was made.
pub(crate) fn server_config(
    certificate: &Certificate,
    client_authorities: Option<&Path>,
) -> Result<(Arc<ServerConfig>, Option<String>), Error> {
    let unreadable = |path: &Path, reason: String| Error::File { path: path.to_owned(), reason };
    let certificates = |path: &Path| {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(path, error.to_string()))
    };
    let (chain, key, pem) = match certificate {
        Certificate::SelfSigned { names } => {
            let made = rcgen::generate_simple_self_signed(names.clone())?;
            let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
            (vec![made.cert.der().clone()], key, Some(made.cert.pem()))
        }
        Certificate::Files { certificate, key } => {
            let chain = certificates(certificate)?;
            let key =
                PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error.to_string()))?;
            (chain, key, None)
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .map_err(|error| unreadable(path, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), pem))
}
