//! Listeners that ask clients for certificates and are not served: without a certificate of their own, without
//! authorities to check by, or in conflict.
//!
//! Their hosts are nobody else's. A listener with a broader hostname on the port takes the connections for them, and
//! would serve them by routes that are for both, to clients that nobody has asked for anything. That would be so from
//! the second in which a certificate ends.

use rustc_hash::FxHashSet;

use super::{
    clients,
    listener::{Judged, Protocol},
    misdirected::by_name,
};
use crate::Reader;

/// Marks them, but for those whose hostname another listener of the port serves: it owns the hosts then.
pub(super) fn mark(judged: &mut [Judged<'_>], reader: &mut Reader<'_>) {
    let served = judged.iter().filter(|listener| listener.ready() && by_name(listener));
    let served: FxHashSet<_> = served.map(|listener| (listener.fact.port, listener.fact.hostname)).collect();
    for listener in judged.iter_mut().filter(|listener| listener.protocol == Protocol::Https) {
        let taken = served.contains(&(listener.fact.port, listener.fact.hostname));
        // Nobody is broader than one without a hostname.
        if listener.ready() || taken || listener.fact.hostname.is_none() {
            continue;
        }
        if let Some(asked) = clients::asked_unserved(listener, reader) {
            listener.client = Some(asked);
        }
        listener.closed = listener.client.is_some() || listener.unchecked.is_some();
    }
}
