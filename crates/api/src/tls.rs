//! TLS settings that Envoy Gateway's kinds share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// Envoy chooses.
    Auto,
    /// TLS 1.0.
    #[serde(rename = "1.0")]
    V1_0,
    /// TLS 1.1.
    #[serde(rename = "1.1")]
    V1_1,
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// What becomes of requests over a connection that was made for another listener of the port (GEP-3567).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum MisdirectedRequests {
    /// They get 421 over HTTP/2 and HTTP/3, so that clients repeat them over a connection of their own.
    Misdirect421,
    /// Listeners with the same certificates that ask clients for the same serve each other's hosts; all else gets 421.
    Serve,
    /// Listeners whose certificates cover the same names offer HTTP/1.1 alone, so that clients make a connection for
    /// each host: what Envoy Gateway does.
    #[serde(rename = "DowngradeALPN")]
    DowngradeAlpn,
}

/// A way to recognise clients by their TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum TlsFingerprintType {
    /// JA3.
    #[serde(rename = "JA3")]
    Ja3,
    /// JA4.
    #[serde(rename = "JA4")]
    Ja4,
}
