//! Who a proxy is, and which fleet's resources it may have.

use std::sync::Arc;

use envoy_api::core::Node;

/// What a connection proves about its proxy. The node that a proxy describes in its requests proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The fleet that the listening socket was bound for: file permissions decide who can connect.
    pub feed: Option<Arc<str>>,
}

impl Peer {
    /// A connection over a socket that was bound for one fleet.
    pub fn of_feed(feed: &str) -> Self {
        Peer { feed: Some(feed.into()) }
    }
}

/// The proxy may not have the resources that it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Denied {
    /// Why, in words for the proxy's log.
    pub reason: String,
}

/// Decides which fleet's resources a connection gets.
pub trait Authorizer: Send + Sync + 'static {
    /// The key of the feed.
    ///
    /// # Errors
    /// When this peer may not have any, or not what its node asks for.
    fn feed(&self, peer: &Peer, node: &Node) -> Result<Arc<str>, Denied>;
}

/// Every connection gets the feed that its socket was bound for; the node is not looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct BySocket;

impl Authorizer for BySocket {
    fn feed(&self, peer: &Peer, _node: &Node) -> Result<Arc<str>, Denied> {
        peer.feed.clone().ok_or_else(|| Denied {
            reason: "this listener was not bound for a fleet: connect to the socket of your own".to_owned(),
        })
    }
}

/// Trusts the `cluster` of the node, where the connection does not say more. For tests and for networks in which
/// every proxy may have everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByCluster;

impl Authorizer for ByCluster {
    fn feed(&self, peer: &Peer, node: &Node) -> Result<Arc<str>, Denied> {
        match &peer.feed {
            Some(feed) => Ok(Arc::clone(feed)),
            None if node.cluster.is_empty() => Err(Denied {
                reason: "the node names no cluster: start Envoy with --service-cluster".to_owned(),
            }),
            None => Ok(node.cluster.as_str().into()),
        }
    }
}
