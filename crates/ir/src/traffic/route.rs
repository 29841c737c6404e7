//! What a policy says of routes.

use std::{sync::Arc, time::Duration};

use super::{Bandwidth, Compressor, Fault, LocalRateLimit, ResponseOverrides};
use crate::ObjectRef;

/// What a policy says of the routes that it applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTraffic {
    /// The policy; `None` without one.
    pub policy: Option<ObjectRef>,
    /// The listener says when streams without traffic end, where the route does not.
    pub idle_of_listener: bool,
    /// Time until the whole answer is there; the route's own timeout goes first.
    pub request_timeout: Option<Duration>,
    /// Time after which a stream is reset.
    pub max_stream_duration: Option<Duration>,
    /// Time without traffic after which a stream is reset.
    pub stream_idle_timeout: Option<Duration>,
    /// When requests are tried again; the route's own retries go first.
    pub retry: Option<RetryPolicy>,
    /// What is hashed to choose an endpoint; `None` when endpoints are not chosen by hash.
    pub hash: Option<HashKey>,
    /// Clients do not see the headers in which endpoints report their load.
    pub hides_reports: bool,
    /// Delays and errors made on purpose.
    pub fault: Option<Fault>,
    /// Limits of requests in a time.
    pub local_limit: Option<Box<LocalRateLimit>>,
    /// Limits of bytes in a time.
    pub bandwidth: Bandwidth,
    /// Ways to compress responses, in the order of preference; each once.
    pub compressors: Box<[Compressor]>,
    /// Responses that take the place of others.
    pub responses: Option<Arc<ResponseOverrides>>,
    /// Protocols that connections may be upgraded to; `None` for the route's own.
    pub upgrades: Option<Box<[Upgrade]>>,
    /// Bytes of a request at most, which is sent on when it is there as a whole; `None` when it is sent on at once.
    pub buffer: Option<u32>,
    /// Traces.
    pub tracing: Option<Box<Tracing>>,
    /// Name of the route in statistics, with tokens such as `%ROUTE_NAME%`.
    pub stat_name: Option<Arc<str>>,
}

impl RouteTraffic {
    /// True when the route takes CONNECT requests.
    pub fn connects(&self) -> bool {
        self.upgrades.iter().flatten().any(|upgrade| upgrade.protocol.eq_ignore_ascii_case(CONNECT))
    }

    /// The name of a route in statistics; a rule without a name is `-`.
    pub fn stat_name(&self, route: &ObjectRef, rule: Option<&str>) -> Option<Arc<str>> {
        let values = [&*route.name, &*route.namespace, route.kind.name(), rule.unwrap_or("-")];
        let tokens = STAT_NAME_TOKENS.iter().zip(values);
        let name = tokens
            .fold(self.stat_name.as_deref()?.to_owned(), |name, (token, value)| name.replace(token, value));
        Some(name.into())
    }
}

/// What the name of a route in statistics may be made of, beside text: its name, namespace, kind, and its rule's name.
pub const STAT_NAME_TOKENS: [&str; 4] =
    ["%ROUTE_NAME%", "%ROUTE_NAMESPACE%", "%ROUTE_KIND%", "%ROUTE_RULE_NAME%"];

/// The protocol that stands for CONNECT requests.
pub const CONNECT: &str = "CONNECT";

/// A protocol that connections may be upgraded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// As in the `Upgrade` header, or [`CONNECT`].
    pub protocol: Arc<str>,
    /// The proxy ends the tunnel of a CONNECT request and sends what is in it to the backend as TCP.
    pub terminates: bool,
}

/// Traces of a route. Shares are numerator and denominator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracing {
    /// Share of requests that are traced; `None` for the Gateway's.
    pub sampling: Option<(u32, u32)>,
    /// Share of requests that are traced because the client asks for it; `None` for none.
    pub client_sampling: Option<(u32, u32)>,
    /// Share of requests that are traced at most; `None` for the Gateway's.
    pub overall_sampling: Option<(u32, u32)>,
    /// Tags, by name, ascending.
    pub tags: Box<[(Arc<str>, Tag)]>,
    /// Name of the span towards the client; empty for Envoy's. It may hold command operators.
    pub operation: Arc<str>,
    /// Name of the span towards the backend; empty for Envoy's. It may hold command operators.
    pub upstream_operation: Arc<str>,
}

/// The value of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Text.
    Literal(Arc<str>),
    /// An environment variable of the proxy.
    Environment {
        /// Its name.
        name: Arc<str>,
        /// The value where it is not set.
        default: Arc<str>,
    },
    /// A header of the request.
    Header {
        /// Its name.
        name: Arc<str>,
        /// The value where it is absent.
        default: Arc<str>,
    },
    /// Text with command operators.
    Format(Arc<str>),
}

/// When and how requests are tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first; `None` for the default of 2.
    pub attempts: Option<u32>,
    /// Attempts at one priority before the next is tried.
    pub attempts_per_priority: Option<i32>,
    /// Events in Envoy's words, ascending; `None` for the default.
    pub triggers: Option<Box<[&'static str]>>,
    /// Status codes, ascending; `None` for the default of 503, empty for none.
    pub codes: Option<Box<[u16]>>,
    /// Time for each attempt.
    pub per_try_timeout: Option<Duration>,
    /// Time before the first further attempt.
    pub base_interval: Option<Duration>,
    /// Time between attempts at most.
    pub max_interval: Option<Duration>,
}

/// What is hashed to choose an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    SourceIp,
    /// Headers.
    Headers(Box<[Arc<str>]>),
    /// A cookie.
    Cookie {
        /// Its name.
        name: Arc<str>,
        /// How long clients keep one that the proxy gives; `None` when it gives none.
        ttl: Option<Duration>,
        /// Further attributes of one that the proxy gives, ascending.
        attributes: Box<[(Arc<str>, Arc<str>)]>,
    },
    /// Parameters of the query.
    QueryParams(Box<[Arc<str>]>),
}
