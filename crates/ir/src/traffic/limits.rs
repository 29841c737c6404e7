//! Faults, limits and compression: what HTTP filters do with the requests of a route.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::route::{StringMatch, ValueMatch};

/// Delays and errors made on purpose. Shares are in millionths of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// A delay, and the share of requests that it is for.
    pub delay: Option<(Duration, u32)>,
    /// An error, and the share of requests that get it.
    pub abort: Option<(Abort, u32)>,
}

/// An error made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// A status code.
    Http(u32),
    /// A status of gRPC.
    Grpc(u32),
}

/// Limits of requests that each proxy keeps by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRateLimit {
    /// The limit of requests that no rule takes.
    pub default: Quota,
    /// Responses tell of limits by headers, where a rule does not say otherwise.
    pub tells: bool,
    /// Limits of the requests that they take.
    pub rules: Box<[RateLimitRule]>,
}

/// Requests in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The requests, or what they count for.
    pub requests: u32,
    /// The time, in seconds.
    pub seconds: u64,
}

/// A limit of some requests: those that all parts take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitRule {
    /// The limit.
    pub quota: Quota,
    /// Headers.
    pub headers: Box<[ValueSelector]>,
    /// Methods, one of which must match; empty for any. True for those that a method is not.
    pub methods: Box<[(Arc<str>, bool)]>,
    /// The path with the query; true for paths that do not match.
    pub path: Option<(StringMatch, bool)>,
    /// The client's address.
    pub source: Option<SourceSelector>,
    /// Parameters of the query.
    pub query: Box<[ValueSelector]>,
    /// What a request counts for; `None` for 1.
    pub cost: Option<Cost>,
    /// Requests beyond the limit are counted only.
    pub shadow: bool,
    /// Responses tell of the limit by headers; `None` for what holds for all.
    pub tells: Option<bool>,
}

/// Values of a header or of a parameter of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSelector {
    /// Any value of this name, each with a limit of its own.
    Each(Arc<str>),
    /// Some values, which share the limit.
    Matching {
        /// Name and value.
        wanted: ValueMatch,
        /// Other values are meant.
        inverted: bool,
    },
}

/// Addresses of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSelector {
    /// The first address of the range.
    pub network: IpAddr,
    /// Bits that all addresses of the range share.
    pub length: u8,
    /// Addresses outside of the range are meant.
    pub inverted: bool,
    /// Each address has a limit of its own.
    pub each: bool,
}

/// What a request counts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    /// This much.
    Number(u64),
    /// What metadata say that an earlier filter has set.
    Metadata {
        /// Their namespace.
        namespace: Arc<str>,
        /// Their key.
        key: Arc<str>,
    },
}

/// Limits of bytes, in KiB a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// Of requests.
    pub request: Option<u64>,
    /// Of responses.
    pub response: Option<ResponseBandwidth>,
}

/// A limit of responses' bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseBandwidth {
    /// KiB a second.
    pub limit: u64,
    /// What the names of trailers begin with that tell clients of the delay; `None` for no trailers.
    pub trailers: Option<Arc<str>>,
}

/// A way to compress responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Compressor {
    /// The format.
    pub format: Compression,
    /// Used before others that the client likes as much.
    pub first: bool,
    /// Bytes of a response below which it is not compressed; `None` for Envoy's 30.
    pub min_length: Option<u32>,
}

/// Formats of compressed responses, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    /// `br`.
    Brotli,
    /// `gzip`.
    Gzip,
    /// `zstd`.
    Zstd,
}

impl Compression {
    /// The name in names of filters.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::Brotli => "brotli",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }
}
