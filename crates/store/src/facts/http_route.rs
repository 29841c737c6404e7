//! Facts of HTTPRoute.

use std::{sync::Arc, time::Duration};

use ir::{
    route::{Cors, RouteMatch, SessionCarrier},
    status::ParentReference,
};

use super::{Meta, Target};
use crate::{NameId, ObjectId};

/// What is kept of an HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// Common part.
    pub meta: Meta,
    /// `spec.parentRefs`, in order.
    pub parents: Box<[ParentRef]>,
    /// `spec.hostnames`, in order; empty for all.
    pub hostnames: Box<[NameId]>,
    /// `spec.rules`, in order.
    pub rules: Box<[Rule]>,
}

/// A parent, as written, with what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentRef {
    /// As written.
    pub reference: ParentReference,
    /// The Gateway or ListenerSet, when group and kind say so.
    pub target: Option<ObjectId>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `matches`, in order; never empty.
    pub matches: Arc<[RouteMatch]>,
    /// `filters`, in order.
    pub filters: Box<[Filter]>,
    /// `backendRefs`, in order.
    pub backends: Box<[BackendRef]>,
    /// `timeouts`.
    pub timeouts: Timeouts,
    /// `retry`; its per-try timeout is filled from `timeouts.backendRequest` by translation.
    pub retry: Option<ir::route::Retry>,
    /// `sessionPersistence`.
    pub session: Option<SessionPersistence>,
}

/// `sessionPersistence` with the name as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPersistence {
    /// `sessionName`; `None` for a generated one.
    pub name: Option<Arc<str>>,
    /// Cookie or header.
    pub carrier: SessionCarrier,
}

/// `timeouts`. A duration that cannot be read was refused by the schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// `request`.
    pub request: Option<Duration>,
    /// `backendRequest`.
    pub backend_request: Option<Duration>,
}

/// A reference to a backend, as written, with what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTarget {
    /// API group; empty for core.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Namespace as written; `None` for the route's own.
    pub namespace: Option<Arc<str>>,
    /// Name.
    pub name: Arc<str>,
    /// Port.
    pub port: Option<u16>,
    /// The object, when group and kind are known.
    pub target: Option<Target>,
}

/// A weighted backend of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendRef {
    /// What it refers to.
    pub backend: BackendTarget,
    /// `weight`.
    pub weight: u32,
    /// `filters`, in order.
    pub filters: Box<[Filter]>,
}

/// A filter of a rule or of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `RequestHeaderModifier`.
    RequestHeaders(HeaderEdit),
    /// `ResponseHeaderModifier`.
    ResponseHeaders(HeaderEdit),
    /// `RequestMirror`.
    Mirror {
        /// Where copies go.
        backend: BackendTarget,
        /// Share as (numerator, denominator); `None` for all.
        fraction: Option<(u32, u32)>,
    },
    /// `RequestRedirect`.
    Redirect(Redirect),
    /// `URLRewrite`.
    UrlRewrite {
        /// Host.
        hostname: Option<Arc<str>>,
        /// Path.
        path: Option<PathModifier>,
    },
    /// `CORS`.
    Cors(Cors),
    /// `ExtensionRef`.
    Extension {
        /// API group.
        group: Arc<str>,
        /// Kind.
        kind: Arc<str>,
        /// Name.
        name: Arc<str>,
    },
    /// `ExternalAuth`.
    ExternalAuth,
}

impl Filter {
    /// The filter's `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Filter::RequestHeaders(_) => "RequestHeaderModifier",
            Filter::ResponseHeaders(_) => "ResponseHeaderModifier",
            Filter::Mirror { .. } => "RequestMirror",
            Filter::Redirect(_) => "RequestRedirect",
            Filter::UrlRewrite { .. } => "URLRewrite",
            Filter::Cors(_) => "CORS",
            Filter::Extension { .. } => "ExtensionRef",
            Filter::ExternalAuth => "ExternalAuth",
        }
    }
}

/// `set`, `add` and `remove` of a header modifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdit {
    /// Headers to overwrite.
    pub set: Box<[(Arc<str>, Arc<str>)]>,
    /// Headers to append.
    pub add: Box<[(Arc<str>, Arc<str>)]>,
    /// Headers to remove.
    pub remove: Box<[Arc<str>]>,
}

/// `path` of a redirect or rewrite; the prefix form may only stand in a rule whose match is one prefix (schema).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathModifier {
    /// `ReplaceFullPath`.
    Full(Arc<str>),
    /// `ReplacePrefixMatch`.
    Prefix(Arc<str>),
}

/// `RequestRedirect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `scheme`.
    pub scheme: Option<Arc<str>>,
    /// `hostname`.
    pub hostname: Option<Arc<str>>,
    /// `path`.
    pub path: Option<PathModifier>,
    /// `port`.
    pub port: Option<u16>,
    /// `statusCode`.
    pub status: u16,
}
