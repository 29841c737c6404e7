//! What becomes of a Gateway whose proxy is a process of this host.

use std::sync::Arc;

use ::ir::ObjectRef;
use host::State;
use pipeline::SocketSpec;
use server::FeedStatus;

use crate::conditions::{Refusals, Verdict, Word};

/// Judges a Gateway of one fleet.
pub(crate) fn of(
    (fleet, gateway): (&str, &ObjectRef),
    sockets: &[SocketSpec],
    refusals: &Refusals,
    proxy: Option<&Result<State, String>>,
    feed: Option<&FeedStatus>,
) -> Verdict {
    let usable = sockets
        .iter()
        .filter(|socket| socket.serves(gateway) && !refusals.lacks_address(fleet, &socket.name));
    let mut addresses: Vec<Arc<str>> = usable.map(|socket| socket.address.clone()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let refused = refusals.gateway(fleet, sockets, gateway);
    let programmed = refused.unwrap_or_else(|| programmed(proxy, feed));
    Verdict { addresses, programmed, listeners: refusals.sockets(fleet, sockets, gateway) }
}

fn programmed(proxy: Option<&Result<State, String>>, feed: Option<&FeedStatus>) -> Word {
    match (proxy, feed) {
        (Some(Err(why)), _) => Word::no("NoResources", format!("The proxy cannot be started: {why}")),
        (Some(Ok(State::BackOff { message, .. })), _) => {
            Word::no("NoResources", format!("Envoy does not run: {message}"))
        }
        (Some(Ok(State::Ready { .. })), Some(feed))
            if feed.acked.is_some_and(|acked| acked >= feed.revision) =>
        {
            Word::programmed("The proxy runs with this configuration")
        }
        (Some(Ok(_)), _) => Word::no("Pending", "The proxy does not have everything yet"),
        (None, _) => Word::no("NoResources", "No proxy runs for the Gateway"),
    }
}
