//! The host of requests that name none (HTTP/1.0), where a listener leaves it to its routes.

use std::sync::Arc;

use engine::Buckets;
use store::NameId;

use crate::{Dep, ListenerId, Reader};

/// Hostnames without a wildcard of the routes on each listener.
#[derive(Clone, Copy, Debug)]
pub struct DefaultHosts<'a>(pub &'a Buckets<ListenerId, NameId>);

impl DefaultHosts<'_> {
    /// The only such hostname of a listener's routes, or why there is no answer, as the rest of a sentence about the listener.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn of(&self, listener: ListenerId, reader: &mut Reader<'_>) -> Result<Arc<str>, &'static str> {
        reader.record(Dep::DefaultHost(listener));
        let mut hosts = self.0.members(listener);
        match (hosts.next(), hosts.next()) {
            (Some(only), None) => Ok(reader.name(only).clone()),
            (None, _) => Err("has no hostname without wildcard, and no route of it has one"),
            (Some(_), Some(_)) => Err("has no hostname without wildcard, and its routes have more than one"),
        }
    }
}
