//! What the admin port shows of a stream.

use serde::Serialize;

/// The state of one stream: names and versions only, never content, so no secret can leak.
#[derive(Clone, Debug, Serialize)]
pub struct StreamDebug {
    /// The fleet's key.
    pub feed: String,
    /// Number of the stream since the server started.
    pub stream: u64,
    /// The node id that the proxy claims.
    pub node: String,
    /// The revision that the stream works towards.
    pub revision: u64,
    /// All revisions up to this one are in force at the proxy.
    pub acked_revision: Option<u64>,
    /// Bytes of resources sent on the stream.
    pub bytes: u64,
    /// What the stream does now, in words; `idle` when the proxy has everything.
    pub phase: String,
    /// New clusters that are not warm yet.
    pub cold_clusters: Vec<String>,
    /// Each type.
    pub types: Vec<TypeDebug>,
}

/// One type on one stream.
#[derive(Clone, Debug, Serialize)]
pub struct TypeDebug {
    /// `lds`, `rds`, `cds`, `eds` or `sds`.
    pub r#type: &'static str,
    /// True when the proxy wants all resources of the type.
    pub wildcard: bool,
    /// Names that the proxy asked for, ascending.
    pub subscribed: Vec<String>,
    /// What was sent and what was accepted, ascending by name.
    pub resources: Vec<ResourceDebug>,
    /// Names with something left to send.
    pub waiting: Vec<String>,
    /// Names to be taken away once nothing needs them.
    pub removing: Vec<String>,
    /// Responses without an answer yet.
    pub unanswered: usize,
}

/// One resource on one stream.
#[derive(Clone, Debug, Serialize)]
pub struct ResourceDebug {
    /// Its name.
    pub name: String,
    /// Version last sent.
    pub served: Option<String>,
    /// Version last accepted.
    pub acked: Option<String>,
}
