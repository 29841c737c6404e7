//! Listeners that connections choose by server name, as those of one port see each other.
//!
//! Whose hostname has to do with a name is found without a look at all of them: a port may have thousands of listeners,
//! and each of their route configurations asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use rustc_hash::FxHashMap;
use store::{ObjectId, Store};
use translate::{AttachListener, GatewayTable, TableKey, gateway::Guard, host::wider};

/// The listeners of all ports of all fleets, looked at when somebody asks.
///
/// Units that ask are roots whenever a listener on the port changes, so this is no recorded read.
pub(crate) struct Ports<'a> {
    gateways: GatewayTable<'a>,
    store: &'a Store,
    fleets: Mutex<FxHashMap<ObjectId, Arc<Tables<'a>>>>,
}

type Tables<'a> = FxHashMap<TableKey, Neighbourhood<'a>>;

/// The listeners of a table, and those around it.
#[derive(Clone)]
pub(crate) struct Neighbourhood<'a> {
    table: TableKey,
    own: Vec<&'a AttachListener>,
    port: Arc<Port<'a>>,
}

/// The listeners of a port that connections choose by server name, those that are ready and those that are closed, by
/// hostname with its labels from the last to the first, so that what lies below a name stands in a row; those without
/// hostname under nothing.
#[derive(Default)]
struct Port<'a>(BTreeMap<String, Vec<&'a AttachListener>>);

impl<'a> Ports<'a> {
    pub(crate) fn new(gateways: GatewayTable<'a>, store: &'a Store) -> Self {
        Ports { gateways, store, fleets: Mutex::default() }
    }

    /// What stands around a table. `None` for one that no ready listener has, or that connections do not come to by
    /// server name.
    pub(crate) fn around(&self, table: TableKey) -> Option<Neighbourhood<'a>> {
        let tables = {
            // A panic ends the process; what is there is complete.
            let mut fleets = self.fleets.lock().unwrap_or_else(PoisonError::into_inner);
            fleets.entry(table.fleet).or_insert_with(|| Arc::new(self.tables(table.fleet))).clone()
        };
        tables.get(&table).cloned()
    }

    fn tables(&self, fleet: ObjectId) -> Tables<'a> {
        let mut ports: BTreeMap<u16, Port<'a>> = BTreeMap::new();
        let mut own: BTreeMap<u16, BTreeMap<TableKey, Vec<&'a AttachListener>>> = BTreeMap::new();
        let named = |listener: &&AttachListener| listener.by_name && (listener.ready || listener.closed);
        for listener in self.gateways.all(fleet).filter(named) {
            let name = listener.hostname.map(|name| &**self.store.name(name));
            ports.entry(listener.port).or_default().0.entry(row(name)).or_default().push(listener);
            if let Some(table) = listener.table {
                own.entry(listener.port).or_default().entry(table).or_default().push(listener);
            }
        }
        let mut tables = Tables::default();
        for (port, of_port) in own {
            let port = Arc::new(ports.remove(&port).unwrap_or_default());
            for (table, own) in of_port {
                tables.insert(table, Neighbourhood { table, own, port: port.clone() });
            }
        }
        tables
    }
}

impl<'a> Neighbourhood<'a> {
    /// The listeners of the table itself.
    pub(crate) fn own(&self) -> &[&'a AttachListener] {
        &self.own
    }

    /// Other listeners whose requests may come over the table's connections and are refused, each with whether all of
    /// them are; some more than once.
    pub(crate) fn refused(&self, store: &Store) -> Vec<(&'a AttachListener, bool)> {
        let judge = |other: &'a AttachListener| Some((other, self.refuses(other)?));
        let crowded = self.own.iter().any(|own| own.reach.is_some());
        if !crowded {
            return self.port.all().filter_map(judge).collect();
        }
        let hostnames = self.own.iter().map(|own| own.hostname.map_or("*", |name| store.name(name)));
        let reach = self.own.iter().flat_map(|own| own.reach.iter().flatten()).map(|name| &**name);
        hostnames.chain(reach).flat_map(|name| self.port.related(name)).filter_map(judge).collect()
    }

    /// True when the table refuses requests of another listener whose hostname is `hostname` or broader.
    pub(crate) fn captures(&self, hostname: &str) -> bool {
        self.port
            .named(hostname)
            .chain(self.port.broader(hostname))
            .any(|other| self.refuses(other).is_some())
    }

    /// Whether requests for another listener are refused, and if so, whether all of them: whoever connected may not
    /// have shown what that listener asks for.
    /// Requests for one that is closed can go nowhere else, so those of clients that have shown what it asks for are the
    /// own listener's.
    fn refuses(&self, other: &AttachListener) -> Option<bool> {
        let own = self.own.iter().find(|own| own.id == self.table.listener)?;
        if own.guard == Guard::Open || other.table == Some(self.table) {
            return None;
        }
        let always = match &other.client {
            None => other.closed,
            asked => *asked != own.client,
        };
        if other.closed && !always {
            return None;
        }
        (always || own.guard == Guard::Shared).then_some(always)
    }
}

impl<'a> Port<'a> {
    fn all(&self) -> impl Iterator<Item = &'a AttachListener> + '_ {
        self.0.values().flatten().copied()
    }

    /// Those with this hostname.
    fn named(&self, hostname: &str) -> impl Iterator<Item = &'a AttachListener> + '_ {
        self.0.get(&row(Some(hostname))).into_iter().flatten().copied()
    }

    /// Those with a broader hostname, and those without any.
    fn broader(&self, hostname: &str) -> impl Iterator<Item = &'a AttachListener> + '_ {
        let names: Vec<String> = wider(hostname).collect();
        let found = names.into_iter().filter_map(|name| self.0.get(&row(Some(&*name))));
        found.flatten().copied()
    }

    /// Those whose hostname has a host in common with a name.
    fn related(&self, name: &str) -> impl Iterator<Item = &'a AttachListener> + '_ {
        // All below `*.example.com` begin with `com.example.`, all below `*` with nothing.
        let below = name.strip_prefix('*').map(|parent| row(Some(parent.trim_start_matches('.'))));
        let row_of = below.clone().into_iter().flat_map(|parent| {
            let end = parent.clone();
            let row = self.0.range(parent.clone()..).take_while(move |(name, _)| name.starts_with(&end));
            row.filter(move |(name, _)| parent.is_empty() || **name != parent)
        });
        let exact = below.is_none().then(|| self.named(name)).into_iter().flatten();
        row_of.flat_map(|(_, listeners)| listeners.iter().copied()).chain(exact).chain(self.broader(name))
    }
}

/// A hostname with its labels from the last to the first and a dot behind each; nothing for none.
fn row(hostname: Option<&str>) -> String {
    let labels = hostname.into_iter().flat_map(|name| name.rsplit('.')).filter(|label| !label.is_empty());
    labels.fold(String::new(), |row, label| row + label + ".")
}
