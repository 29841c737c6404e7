//! Delta ADS: streams, make-before-break phases, ACK and NACK, quarantine.
//!
//! [`Feeds`] holds the resources of each fleet of proxies; commits go in by [`Feeds::apply`]. [`Server`] serves them
//! to proxies, over Unix sockets or over TCP with TLS; an [`Authorizer`] tells whose a stream is. [`Session`] is the protocol of one stream without IO. [`Deliveries`] tells what proxies said.

mod connection;
mod debug;
mod delivery;
#[cfg(feature = "testing")]
pub mod fake;
mod feed;
mod identity;
mod metrics;
mod serve;
mod session;
mod settings;
mod stream;
mod tcp;
mod tls;

pub use connection::{Connection, ConnectionAge, Connections};
pub use debug::{ResourceDebug, StreamDebug, TypeDebug};
pub use delivery::{Deliveries, DeliveryReport};
pub use feed::{Changes, FeedStatus, Feeds, HeldFragment, HeldResource, Key, Quarantine, Snapshot};
pub use identity::{
    Authorizer, BearerToken, ByCluster, ByPod, BySocket, ByToken, Denied, Grant, Peer, Pods, ProxyPod,
    ReviewError, TokenIdentity, TokenReviewer,
};
pub use metrics::{Metrics, TypeLabel};
pub use serve::{ServeError, Server};
pub use session::{Event, Outgoing, Refusal, Session, Violation};
pub use settings::Settings;
pub use tcp::Door;
pub use tls::{Clients, Protocols, Tls, TlsError};
