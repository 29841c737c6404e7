//! Listener isolation (Gateway API, `Gateway.spec.listeners`): a request belongs to the listener with the most specific
//! hostname that matches it, and to no other, even when that listener has no route for it.
//!
//! Envoy knows virtual hosts of one table only, so a listener without a virtual host for its own hostname would leave
//! its requests to a broader virtual host of the table: that of a sibling, or one that refuses the requests of siblings.
//! It then gets an empty one, which answers 404. No broader virtual host, no empty one: tables stay as small as the
//! routes make them.

use std::collections::{BTreeMap, BTreeSet};

use store::Store;
use translate::{AttachListener, Host, ListenerId, TableKey, VirtualHostKey, host::covers};

/// Virtual hosts with routes that take more than one name (wildcards and `*`), by table, with their listeners.
#[derive(Debug, Default)]
pub(crate) struct BroadHosts {
    of_table: BTreeMap<TableKey, BTreeSet<(ListenerId, Host)>>,
}

impl BroadHosts {
    /// Notes that a virtual host has routes, or has none any more. Returns true when that can matter to siblings.
    pub(crate) fn note(&mut self, key: VirtualHostKey, served: bool, store: &Store) -> bool {
        if !is_broad(key.host, store) {
            return false;
        }
        let place = (key.listener, key.host);
        if served {
            return self.of_table.entry(key.table).or_default().insert(place);
        }
        let Some(hosts) = self.of_table.get_mut(&key.table) else { return false };
        let removed = hosts.remove(&place);
        if hosts.is_empty() {
            self.of_table.remove(&key.table);
        }
        removed
    }

    /// Those of one table.
    pub(crate) fn of(&self, table: TableKey) -> impl Iterator<Item = (ListenerId, Host)> + '_ {
        self.of_table.get(&table).into_iter().flatten().copied()
    }

    /// True when a sibling's virtual host would take the requests of `hostname`, which is that of `key`'s listener.
    pub(crate) fn capture(&self, key: VirtualHostKey, hostname: &str, store: &Store) -> bool {
        let hosts = self.of_table.get(&key.table).into_iter().flatten();
        hosts.filter(|(listener, _)| *listener != key.listener).any(|(_, host)| match host {
            Host::Any => true,
            Host::Name(name) => covers(store.name(*name), hostname),
        })
    }
}

/// True when a virtual host for this host takes more than one name.
pub(crate) fn is_broad(host: Host, store: &Store) -> bool {
    match host {
        Host::Any => true,
        Host::Name(name) => store.name(name).starts_with('*'),
    }
}

/// The virtual host of a listener for its own hostname.
pub(crate) fn own_host(listener: &AttachListener) -> Option<VirtualHostKey> {
    let host = Host::Name(listener.hostname?);
    Some(VirtualHostKey { table: listener.table?, listener: listener.id, host })
}
