//! HTTP routes, free of the hostnames and listeners that they are attached to.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    Metadata,
    secret::{REDACTED, is_credential_header},
};

/// One rule of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Position in `spec.rules`; part of xDS names.
    pub index: u16,
    /// The route, with the rule's name as section.
    pub metadata: Metadata,
    /// Requests that the rule is for; never empty (no match in the route means the prefix `/`).
    pub matches: Arc<[RouteMatch]>,
    /// What happens to them.
    pub action: Action,
    /// Changes of request headers on the way to the backend.
    pub request_headers: HeaderMutations,
    /// Changes of response headers on the way back.
    pub response_headers: HeaderMutations,
    /// Cross-origin resource sharing; `None` when the rule has no CORS filter.
    pub cors: Option<Cors>,
}

/// One match of a rule: all of its parts must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// Position in `matches`; -1 when the rule has none. Part of xDS names.
    pub index: i32,
    /// Path.
    pub path: PathMatch,
    /// Request method.
    pub method: Option<Arc<str>>,
    /// Headers, in the order of the route.
    pub headers: Box<[ValueMatch]>,
    /// Query parameters, in the order of the route.
    pub query: Box<[ValueMatch]>,
    /// Cookies, in the order of the filter that asks for them.
    pub cookies: Box<[ValueMatch]>,
}

/// Match of the path, query excluded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathMatch {
    /// The whole path.
    Exact(Arc<str>),
    /// A prefix by segments: `/foo` takes `/foo` and `/foo/bar`, not `/foobar`. A trailing slash is ignored.
    Prefix(Arc<str>),
    /// A regular expression (RE2) over the whole path.
    Regex(Arc<str>),
    /// The end of the path, of which gRPC calls of a method in any service have one: `/Method`.
    Suffix(Arc<str>),
}

/// Match of one named value. Its `Debug` output hides the value of a header that carries credentials.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueMatch {
    /// Name; header names are lower case in comparison only, they stay as written.
    pub name: Arc<str>,
    /// Value.
    pub value: StringMatch,
}

impl fmt::Debug for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("ValueMatch");
        text.field("name", &self.name);
        if is_credential_header(&self.name) {
            text.field("value", &REDACTED).finish()
        } else {
            text.field("value", &self.value).finish()
        }
    }
}

/// Match of a string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StringMatch {
    /// The whole value.
    Exact(Arc<str>),
    /// Its beginning.
    Prefix(Arc<str>),
    /// Its end.
    Suffix(Arc<str>),
    /// A regular expression (RE2) over the whole value.
    Regex(Arc<str>),
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answered by the proxy with this status and no body.
    Direct {
        /// HTTP status code.
        status: u16,
    },
    /// Answered with a redirect.
    Redirect(Redirect),
    /// Sent to a backend.
    Forward(Box<Forward>),
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Scheme; `None` keeps it.
    pub scheme: Option<Arc<str>>,
    /// Host; `None` keeps it.
    pub hostname: Option<Arc<str>>,
    /// Path; `None` keeps it.
    pub path: Option<PathRewrite>,
    /// Port; see [`RedirectPort`].
    pub port: RedirectPort,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Port of the `Location` (Gateway API, `HTTPRequestRedirectFilter.port`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectPort {
    /// This port; left out of the URL when it is the scheme's own.
    Given(u16),
    /// The well-known port of the scheme that was given; left out of the URL where the request names no other.
    OfScheme,
    /// The port of the listener; left out of the URL when it is the scheme's own.
    OfListener,
}

/// Rewrite of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The whole path is replaced.
    Full(Arc<str>),
    /// The matched prefix is replaced.
    Prefix(Arc<str>),
}

/// Forwarding to backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where to.
    pub target: Target,
    /// Host header towards the backend; `None` keeps the client's.
    pub host_rewrite: Option<Arc<str>>,
    /// Path towards the backend; `None` keeps the client's.
    pub path_rewrite: Option<PathRewrite>,
    /// Copies of requests, answers ignored.
    pub mirrors: Box<[Mirror]>,
    /// Time for the whole answer, retries included (`timeouts.request`); zero for none, `None` for Envoy's 15 s.
    pub timeout: Option<Duration>,
    /// Retries; `None` for none.
    pub retry: Option<Retry>,
    /// Keeps a client on one backend endpoint.
    pub session: Option<SessionPersistence>,
    /// Allows upgrades to WebSocket.
    pub websocket: bool,
    /// The request's own host chooses the backend, so hosts that mean the proxy itself are refused.
    pub dynamic_host: bool,
}

/// The clusters of a forwarding rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All requests to one cluster.
    Cluster(Arc<str>),
    /// Requests by weight. Names that no cluster has stand for invalid backends: Envoy answers
    /// `missing_status` for their share.
    Weighted {
        /// The clusters, in the order of `backendRefs`; none has weight 0.
        clusters: Box<[WeightedCluster]>,
        /// Status for a name without cluster: 500, or 503 when backends merely lack endpoints; `None` when all exist.
        missing_status: Option<u16>,
    },
}

/// One cluster with its share of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// Name.
    pub name: Arc<str>,
    /// Weight, at least 1.
    pub weight: u32,
    /// Changes of request headers for this backend only.
    pub request_headers: HeaderMutations,
    /// Changes of response headers for this backend only.
    pub response_headers: HeaderMutations,
    /// Host header towards this backend only.
    pub host_rewrite: Option<Arc<str>>,
}

/// A copy of requests to another backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Cluster name.
    pub cluster: Arc<str>,
    /// Share of requests as numerator of [`Mirror::denominator`]; `None` for all.
    pub numerator: Option<u32>,
    /// Denominator: any positive number; 100 for a percentage.
    pub denominator: u32,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMutations {
    /// Headers to set or add, in the order in which they apply.
    pub add: Box<[HeaderValue]>,
    /// Headers to remove.
    pub remove: Box<[Arc<str>]>,
}

impl HeaderMutations {
    /// True when nothing changes.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

/// One header to set or add. Its `Debug` output hides the value of a header that carries credentials.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderValue {
    /// Name as the route has it.
    pub name: Arc<str>,
    /// Value, with Envoy's command operators such as `%REQ(X-NAME)%`; any other `%` is literal.
    pub value: Arc<str>,
    /// True to keep values that are there, false to replace them.
    pub append: bool,
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value: &str = if is_credential_header(&self.name) { REDACTED } else { &self.value };
        f.debug_struct("HeaderValue")
            .field("name", &self.name)
            .field("value", &value)
            .field("append", &self.append)
            .finish()
    }
}

/// Retries (`HTTPRouteRetry`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts after the first; `None` for Envoy Gateway's default of 2.
    pub attempts: Option<u32>,
    /// Status codes that are tried again, as the route lists them; `None` for the default `[503]`.
    pub codes: Option<Box<[u16]>>,
    /// Time between attempts, the base of an exponential back-off.
    pub backoff: Option<Duration>,
    /// Time for each attempt.
    pub per_try_timeout: Option<Duration>,
}

/// Session persistence (`SessionPersistence`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPersistence {
    /// Name of the cookie or header.
    pub name: Arc<str>,
    /// Cookie with its path and lifetime, or header.
    pub carrier: SessionCarrier,
}

/// What carries the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionCarrier {
    /// A cookie; `ttl` is `None` for one that ends with the browser session. Its path follows from the match.
    Cookie {
        /// Lifetime.
        ttl: Option<Duration>,
    },
    /// A header.
    Header,
}

/// CORS (`HTTPCORSFilter`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Origins: a full origin, `*`, or one with a wildcard label such as `https://*.example.com`.
    pub allow_origins: Box<[Arc<str>]>,
    /// Methods; `*` for any.
    pub allow_methods: Box<[Arc<str>]>,
    /// Request headers; `*` for any.
    pub allow_headers: Box<[Arc<str>]>,
    /// Response headers that scripts may read.
    pub expose_headers: Box<[Arc<str>]>,
    /// How long an answer to a preflight may be kept, in seconds.
    pub max_age: Option<u32>,
    /// Whether credentials may be sent.
    pub allow_credentials: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_hide_credentials_in_headers() {
        let set = |name: &str| HeaderValue { name: name.into(), value: "Basic YTpi".into(), append: false };
        let matched =
            |name: &str| ValueMatch { name: name.into(), value: StringMatch::Exact("Basic YTpi".into()) };
        for name in ["Authorization", "X-API-Key"] {
            for shown in [format!("{:?}", set(name)), format!("{:?}", matched(name))] {
                assert!(shown.contains("[redacted]") && !shown.contains("YTpi"), "{shown}");
            }
        }
        assert!(format!("{:?} {:?}", set("x-note"), matched("x-note")).matches("YTpi").count() == 2);
    }
}
