//! Responses that take the place of others.

use std::sync::Arc;

use crate::route::{HeaderValue, ValueMatch};

/// Responses that take the place of others; the first that matches is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResponseOverrides {
    /// Name of the policy that says so: `backendtrafficpolicy/<namespace>/<name>`. Merged over several others it may say
    /// different things; then the name of the other follows: `…/<namespace>/<name>`.
    pub policy: Arc<str>,
    /// The responses.
    pub rules: Box<[ResponseOverride]>,
}

/// A response that takes the place of others: all that is set must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResponseOverride {
    /// Status codes, one of which the response has; empty for any.
    pub codes: Box<[StatusCodes]>,
    /// Headers, all of which it has.
    pub headers: Box<[ValueMatch]>,
    /// Whose response it is: the proxy's own (`true`), a backend's (`false`), either (`None`).
    pub local: Option<bool>,
    /// What clients get.
    pub replacement: Replacement,
}

/// Status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusCodes {
    /// One.
    One(i32),
    /// From one to another, both included.
    Range(i32, i32),
}

/// What clients get in the place of a response.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Replacement {
    /// A response.
    Response {
        /// Status code; `None` for the original's.
        status: Option<u32>,
        /// `Content-Type`; `None` for the original's.
        content_type: Option<Arc<str>>,
        /// The body, with command operators; empty for none.
        body: Arc<str>,
        /// Headers to add or set.
        headers: Box<[HeaderValue]>,
    },
    /// The answer to another request, which the proxy sends along the routes itself: clients are not sent anywhere. What
    /// is `None` is as in the original request.
    Redirect {
        /// Scheme.
        scheme: Option<Arc<str>>,
        /// Host.
        hostname: Option<Arc<str>>,
        /// Path.
        path: Option<Arc<str>>,
        /// Port.
        port: Option<u16>,
        /// Status code of what clients get: 301 or 302.
        status: u32,
    },
}
