//! Where this machine keeps the authorities that it trusts.

use std::{path::Path, sync::Arc};

/// What OpenSSL's users name a file of their own by.
const VARIABLE: &str = "SSL_CERT_FILE";

/// Where distributions keep them as one file: Debian and Alpine, Red Hat, SUSE, BSD and macOS.
const PLACES: [&str; 5] = [
    store::SYSTEM_AUTHORITIES_FILE,
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file; the most usual place when there is none, so that what Envoy says about it names a place to put one.
pub(crate) fn authorities_file() -> Arc<str> {
    let of_user = std::env::var(VARIABLE).ok().filter(|path| !path.is_empty());
    of_user.map_or_else(
        || PLACES.into_iter().find(|path| Path::new(path).exists()).unwrap_or(PLACES[0]).into(),
        Into::into,
    )
}
