//! Secrets (SDS).

use envoy_api::{
    core::{DataSource, data_source::Specifier},
    encode,
    tls::{CertificateValidationContext, Secret, TlsCertificate as Certificate, secret},
};
use ir::secret::{Authorities, AuthoritiesSource, TlsCertificate};

/// An encoded `envoy.extensions.transport_sockets.tls.v3.Secret` with certificate chain and private key.
pub fn secret(certificate: &TlsCertificate) -> Vec<u8> {
    encode(&Secret {
        name: certificate.name.to_string(),
        r#type: Some(secret::Type::TlsCertificate(Certificate {
            certificate_chain: inline(&certificate.chain),
            private_key: inline(certificate.key.expose_secret()),
            ocsp_staple: certificate.ocsp_staple.as_deref().and_then(inline),
            ..Default::default()
        })),
    })
}

/// An encoded `envoy.extensions.transport_sockets.tls.v3.Secret` with authorities that are trusted.
pub fn authorities(authorities: &Authorities) -> Vec<u8> {
    let trusted_ca = match &authorities.source {
        AuthoritiesSource::Inline(pem) => inline(pem),
        // Envoy watches the file and takes its content anew when another is moved into its place.
        AuthoritiesSource::File(path) => {
            Some(DataSource { specifier: Some(Specifier::Filename(path.to_string())), ..Default::default() })
        }
    };
    encode(&Secret {
        name: authorities.name.to_string(),
        r#type: Some(secret::Type::ValidationContext(CertificateValidationContext {
            trusted_ca,
            crl: authorities.revocations.as_ref().and_then(|revocations| inline(&revocations.pem)),
            only_verify_leaf_cert_crl: authorities.revocations.as_ref().is_some_and(|r| r.leaf_only),
            ..Default::default()
        })),
    })
}

fn inline(bytes: &[u8]) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineBytes(bytes.to_vec())), ..Default::default() })
}
