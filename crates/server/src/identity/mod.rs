//! Who a proxy is, and which fleet's resources it may have.

mod by_pod;
mod by_token;
mod pods;
#[cfg(test)]
mod tests;

use std::{fmt, future::Future, net::IpAddr, pin::Pin, sync::Arc};

use envoy_api::core::Node;
use tonic::Status;

pub use by_pod::ByPod;
pub use by_token::{ByToken, ReviewError, TokenIdentity, TokenReviewer};
pub use pods::{Pods, ProxyPod};

/// What a connection and the head of its request prove about the proxy. The node that a proxy describes in its
/// requests proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The fleet that the listening socket was bound for: file permissions decide who can connect.
    pub feed: Option<Arc<str>>,
    /// Where the connection comes from, when it comes over a network; an IPv4 address is never written as IPv6.
    pub address: Option<IpAddr>,
    /// The client has shown a certificate that [`Clients::Certified`](crate::Clients::Certified) accepts.
    pub certified: bool,
    /// What the request carries in `authorization: Bearer`.
    pub token: Option<BearerToken>,
}

impl Peer {
    /// A connection over a socket that was bound for one fleet.
    pub fn of_feed(feed: &str) -> Self {
        Peer { feed: Some(feed.into()), ..Peer::default() }
    }

    /// A connection over TCP.
    pub fn at(address: IpAddr, certified: bool) -> Self {
        Peer { address: Some(address.to_canonical()), certified, ..Peer::default() }
    }
}

/// A token that proves who carries it: its debug form tells nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(Arc<str>);

impl BearerToken {
    /// A token as it stands after `Bearer`.
    pub fn new(token: &str) -> Self {
        BearerToken(token.into())
    }

    /// The token itself. Take care where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<bearer token>")
    }
}

/// Why a proxy gets nothing. Each holds a sentence for the proxy's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It has not proved who it is.
    #[error("{0}")]
    Unauthenticated(String),
    /// It has, and may not have what it asks for.
    #[error("{0}")]
    Forbidden(String),
    /// Whoever could tell does not answer; the proxy shall come again.
    #[error("{0}")]
    Unavailable(String),
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Status {
        match denied {
            Denied::Unauthenticated(reason) => Status::unauthenticated(reason),
            Denied::Forbidden(reason) => Status::permission_denied(reason),
            Denied::Unavailable(reason) => Status::unavailable(reason),
        }
    }
}

/// What a stream may have, and for how long.
pub struct Grant {
    /// The key of the feed.
    pub feed: Arc<str>,
    /// Completes when the proxy may not have it any more; the stream then ends.
    pub revoked: Pin<Box<dyn Future<Output = Denied> + Send>>,
}

impl Grant {
    /// Holds for as long as the stream.
    pub fn lasting(feed: Arc<str>) -> Self {
        Grant { feed, revoked: Box::pin(std::future::pending()) }
    }
}

/// Decides which fleet's resources a stream gets.
#[tonic::async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Asked once for every stream, with the node of its first request. It may take its time: nothing is sent before.
    ///
    /// # Errors
    /// When this peer may not have any, or not what its node asks for.
    async fn authorize(&self, peer: &Peer, node: &Node) -> Result<Grant, Denied>;
}

#[tonic::async_trait]
impl<A: Authorizer + ?Sized> Authorizer for Box<A> {
    async fn authorize(&self, peer: &Peer, node: &Node) -> Result<Grant, Denied> {
        (**self).authorize(peer, node).await
    }
}

/// Every connection gets the feed that its socket was bound for; the node is not looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct BySocket;

#[tonic::async_trait]
impl Authorizer for BySocket {
    async fn authorize(&self, peer: &Peer, _node: &Node) -> Result<Grant, Denied> {
        let reason = "this listener was not bound for a fleet: connect to the socket of your own";
        let feed = peer.feed.clone().ok_or_else(|| Denied::Forbidden(reason.to_owned()))?;
        Ok(Grant::lasting(feed))
    }
}

/// Trusts the `cluster` of the node, where the connection does not say more. For tests and for networks in which
/// every proxy may have everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByCluster;

#[tonic::async_trait]
impl Authorizer for ByCluster {
    async fn authorize(&self, peer: &Peer, node: &Node) -> Result<Grant, Denied> {
        match &peer.feed {
            Some(feed) => Ok(Grant::lasting(Arc::clone(feed))),
            None if node.cluster.is_empty() => Err(Denied::Forbidden(
                "the node names no cluster: start Envoy with --service-cluster".to_owned(),
            )),
            None => Ok(Grant::lasting(node.cluster.as_str().into())),
        }
    }
}
