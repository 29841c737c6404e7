//! Secret material, typed so that it cannot be printed.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::ObjectRef;

/// Bytes that must never reach a log, a dump or an error message.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecretBytes(Bytes);

impl SecretBytes {
    /// Wraps secret bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        SecretBytes(bytes.into())
    }

    /// The bytes, for whoever sends them to the proxy. The name is long so that a review sees it.
    pub fn expose_secret(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[redacted, {} bytes]", self.0.len())
    }
}

/// What a dump shows in the place of a credential.
pub const REDACTED: &str = "[redacted]";

/// True for headers whose values are credentials by custom. What a route sets or matches there is no Secret object,
/// but a dump that people paste into tickets must not show it. Case does not matter.
pub fn is_credential_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(&*name, "authorization" | "proxy-authorization" | "cookie" | "set-cookie")
        || ["api-key", "apikey", "-token", "-secret", "-signature"].iter().any(|end| name.ends_with(end))
}

/// A certificate chain with its private key, served by SDS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsCertificate {
    /// xDS name: `namespace/name` of the Secret.
    pub name: Arc<str>,
    /// PEM, leaf first.
    pub chain: Bytes,
    /// PEM.
    pub key: SecretBytes,
    /// OCSP staple (DER), if the Secret has one.
    pub ocsp_staple: Option<Bytes>,
    /// The Secret.
    pub owner: ObjectRef,
}

/// Authorities that are trusted, served by SDS. They are no secret; SDS is how Envoy takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// xDS name.
    pub name: Arc<str>,
    /// Where Envoy finds them.
    pub source: AuthoritiesSource,
    /// What they have revoked, where somebody looks.
    pub revocations: Option<Revocations>,
    /// Objects that they were made from.
    pub owners: Box<[ObjectRef]>,
}

/// Certificates that authorities have revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations {
    /// Lists (PEM).
    pub pem: Bytes,
    /// Only the certificate that is shown is looked for, not those that signed it.
    pub leaf_only: bool,
}

/// Where Envoy finds authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthoritiesSource {
    /// In the message: PEM.
    Inline(Bytes),
    /// In a file of the proxy's machine, which Envoy reads again when it is replaced.
    File(Arc<str>),
}

/// Name of the authorities that the proxy's system trusts. All that refer to them share it.
pub const SYSTEM_AUTHORITIES: &str = "system_ca_certificates";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_their_headers() {
        for name in ["Authorization", "cookie", "X-Api-Key", "apikey", "x-auth-token", "X-Amz-Security-Token"]
        {
            assert!(is_credential_header(name), "{name}");
        }
        for name in ["x-request-id", "accept", "token-bucket", "x-cookie-law"] {
            assert!(!is_credential_header(name), "{name}");
        }
    }
}
