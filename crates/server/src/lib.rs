//! Delta ADS: streams, make-before-break phases, ACK and NACK, quarantine.
//!
//! [`Feeds`] holds the resources of each fleet of proxies; commits go in by [`Feeds::apply`]. [`Server`] serves them
//! to proxies. [`Session`] is the protocol of one stream without IO. [`Deliveries`] tells what proxies said.

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

pub use debug::{ResourceDebug, StreamDebug, TypeDebug};
pub use delivery::{Deliveries, DeliveryReport};
pub use feed::{Changes, FeedStatus, Feeds, HeldFragment, HeldResource, Key, Quarantine, Snapshot};
pub use identity::{Authorizer, ByCluster, BySocket, Denied, Peer};
pub use metrics::{Metrics, TypeLabel};
pub use serve::{Connection, ServeError, Server};
pub use session::{Event, Outgoing, Refusal, Session, Violation};
pub use settings::Settings;
