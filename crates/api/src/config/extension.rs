//! Extension servers.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Opaque, declare::settings};
use crate::{
    backend::{FqdnEndpoint, IpEndpoint, UnixSocket},
    common::{Ratio, SecretObjectReference},
    text::{Duration, PreciseHostname},
};

settings! {
    /// An extension server: what it is asked, and where it is.
    ExtensionManager {
        /// Name, for messages.
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        /// Kinds that routes refer to as filters.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        resources: Vec<GroupVersionKind>,
        /// Kinds that are policies.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        policy_resources: Vec<GroupVersionKind>,
        /// Kinds that are backends.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        backend_resources: Vec<GroupVersionKind>,
        /// When it is asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        hooks: Option<ExtensionHooks>,
        /// Where it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        service: Option<ExtensionService>,
        /// Whether translation goes on without it when it fails.
        fail_open: bool,
        /// Longest message, as a quantity of bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_message_size: Option<Opaque>,
    }
    /// When an extension server is asked.
    ExtensionHooks {
        /// During translation to xDS.
        #[serde(skip_serializing_if = "Option::is_none")]
        xds_translator: Option<XdsTranslatorHooks>,
    }
    /// When an extension server is asked during translation to xDS.
    XdsTranslatorHooks {
        /// Before a resource is made.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pre: Vec<String>,
        /// After a resource is made.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        post: Vec<String>,
        /// Which resources it is given at the end.
        #[serde(skip_serializing_if = "Option::is_none")]
        translation: Option<TranslationHooks>,
    }
    /// Which resources an extension server is given at the end of translation.
    TranslationHooks {
        /// Listeners.
        #[serde(skip_serializing_if = "Option::is_none")]
        listener: Option<IncludeAll>,
        /// Routes.
        #[serde(skip_serializing_if = "Option::is_none")]
        route: Option<IncludeAll>,
        /// Clusters.
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster: Option<IncludeAll>,
        /// Secrets.
        #[serde(skip_serializing_if = "Option::is_none")]
        secret: Option<IncludeAll>,
    }
    /// Whether an extension server is given all resources of a type.
    IncludeAll {
        /// Whether it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        include_all: Option<bool>,
    }
    /// How often an extension server is asked again.
    ExtensionServiceRetry {
        /// How many times at most; 4 when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_attempts: Option<i32>,
        /// How long to wait the first time; 100ms when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        initial_backoff: Option<Duration>,
        /// How long to wait at most; 1s when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_backoff: Option<Duration>,
        /// How many times as long as the last each wait is, such as 15 / 10; 2 when unset.
        #[serde(skip_serializing_if = "Option::is_none")]
        backoff_multiplier: Option<Ratio>,
        /// Status codes of gRPC that are tried again.
        #[serde(rename = "RetryableStatusCodes", skip_serializing_if = "Vec::is_empty")]
        retryable_status_codes: Vec<String>,
    }
}

/// A kind in one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupVersionKind {
    /// API group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

/// Where an extension server is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(has(self.host) && self.host != '') || has(self.fqdn) || has(self.ip) || has(self.unix)",
    "one of fqdn, ip and unix must be set, or host"
))]
#[x_kube(validation = (
    "[has(self.fqdn), has(self.ip), has(self.unix)].filter(x, x).size() <= 1",
    "only one of fqdn, ip and unix may be set"
))]
#[serde(rename_all = "camelCase")]
pub struct ExtensionService {
    /// A server by host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<FqdnEndpoint>,
    /// A server by IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpEndpoint>,
    /// A server by Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix: Option<UnixSocket>,
    /// As of an endpoint of a Backend. It has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<PreciseHostname>,
    /// As of an endpoint of a Backend. It has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Older form of `fqdn.hostname`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Older form of `fqdn.port`.
    #[serde(default = "http_port")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: i32,
    /// TLS to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ExtensionTls>,
    /// How often it is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<ExtensionServiceRetry>,
}

fn http_port() -> i32 {
    80
}

/// TLS to an extension server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionTls {
    /// Authorities that are trusted.
    pub certificate_ref: SecretObjectReference,
    /// Certificate that is shown to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
}
