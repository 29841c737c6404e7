//! Why a Secret gives no certificate, in words that tell what to do.

use super::CERTIFICATE;

/// Why a Secret gives no certificate. The text says what is wrong and what to do; it holds nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The Secret has no such key in `data`, or it is empty.
    #[error(
        "{0} is missing or empty: a TLS Secret needs tls.crt (PEM chain, leaf first) and tls.key (PEM private key)"
    )]
    MissingKey(&'static str),
    /// No PEM block could be read.
    #[error(
        "{entry} is not PEM: {}",
        if *.damaged { "its BEGIN line has no matching END line, or there is no base64 between them" }
        else { "no line starts with -----BEGIN; store the PEM text itself (not DER, not base64 of base64, not indented)" }
    )]
    NotPem {
        /// `tls.crt` or `tls.key`.
        entry: &'static str,
        /// There is a BEGIN line, but no block came of it.
        damaged: bool,
    },
    /// A PEM block is of a type that has no place there.
    #[error("{entry} holds a PEM block of type {found}: {}", wrong_block_advice(.entry))]
    WrongBlock {
        /// `tls.crt` or `tls.key`.
        entry: &'static str,
        /// Type of the block, `unknown` for one that is not in use.
        found: &'static str,
    },
    /// The PEM is sound, what it holds is not.
    #[error("{entry} is malformed: {problem}")]
    Malformed {
        /// `tls.crt` or `tls.key`.
        entry: &'static str,
        /// What is wrong.
        problem: Box<str>,
    },
    /// The private key belongs to another certificate.
    #[error(
        "tls.key does not match the first certificate in tls.crt: the Secret mixes two pairs; issue it again or restore its partner"
    )]
    KeyMismatch,
    /// The private key belongs to a certificate further down the chain.
    #[error(
        "tls.key matches certificate {position} of tls.crt instead of the first: put the leaf certificate first, then its issuers"
    )]
    LeafNotFirst {
        /// Position in the chain of the certificate that matches, the first being 1.
        position: usize,
    },
    /// The private key is protected by a passphrase.
    #[error(
        "tls.key is encrypted: nobody can enter a passphrase here; store it decrypted (openssl pkey -in KEY -out tls.key)"
    )]
    EncryptedKey,
    /// The certificate or the private key is of a kind that Envoy cannot use.
    #[error("{entry} holds {found}: Envoy serves RSA, ECDSA (P-256, P-384, P-521) and Ed25519 keys only")]
    UnsupportedKey {
        /// `tls.crt` or `tls.key`.
        entry: &'static str,
        /// The kind of key.
        found: &'static str,
    },
}

fn wrong_block_advice(entry: &str) -> &'static str {
    if entry == CERTIFICATE {
        "only CERTIFICATE blocks belong there; the private key belongs in tls.key"
    } else {
        "a PRIVATE KEY (PKCS#8), RSA PRIVATE KEY (PKCS#1) or EC PRIVATE KEY (SEC 1) block belongs there"
    }
}
