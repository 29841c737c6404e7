//! "Why is this here?": outputs with the reads behind them.

use std::sync::Arc;

use engine::{Key, Table};
use ir::route::PathMatch;
use store::{FactKey, Store};
use translate::{ClusterOf, Dep, Host, ListenerId, SocketKey, gateway::Chain, secret::SecretKey};

use super::Stages;

/// One output with what it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The stage.
    pub stage: &'static str,
    /// The unit, in words.
    pub unit: String,
    /// The output, briefly: its debug form, cut after 2,000 characters.
    pub output: String,
    /// What it read in its last run, in words.
    pub reads: Vec<String>,
}

/// A host that is served, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostView {
    /// The Gateway, as `namespace/name`.
    pub gateway: Arc<str>,
    /// Address that is bound.
    pub address: Arc<str>,
    /// Port that is bound.
    pub port: u16,
    /// True for HTTPS.
    pub tls: bool,
    /// The host; `*` for any.
    pub host: Arc<str>,
    /// A path that its first route takes.
    pub path: Arc<str>,
}

impl Stages {
    /// The hosts that are served.
    pub(crate) fn host_views(&self, store: &Store) -> Vec<HostView> {
        let mut views = Vec::new();
        for (key, _) in self.hosts.iter() {
            let Some(fleet) = self.gateways.fleets.get(key.table.fleet) else { continue };
            let listener = fleet.listeners_of(key.listener.owner).iter().find(|l| l.id == key.listener);
            let Some(gateway) = listener.and_then(|l| fleet.gateway(l.gateway)) else { continue };
            let gateway: Arc<str> = format!("{}/{}", gateway.object.namespace, gateway.object.name).into();
            // One without routes has nothing to try.
            let Some(entries) = self.host_index.get(key) else { continue };
            let route = entries.owners.first().and_then(|route| self.routes.get(*route));
            let rules = route.map_or(&[][..], |r| &r.rules);
            let path = rules.iter().flat_map(|rule| rule.matches.iter()).find_map(|m| match &m.path {
                PathMatch::Exact(path) | PathMatch::Prefix(path) => Some(path.clone()),
                PathMatch::Regex(_) | PathMatch::Suffix(_) => None,
            });
            for socket in &fleet.sockets {
                for chain in &socket.chains {
                    if let Chain::Http { table, tls, .. } = chain
                        && *table == key.table.listener
                    {
                        views.push(HostView {
                            gateway: gateway.clone(),
                            address: socket.address.clone(),
                            port: socket.key.port,
                            tls: tls.is_some(),
                            host: key.host.text(store),
                            path: path.clone().unwrap_or_else(|| "/".into()),
                        });
                    }
                }
            }
        }
        views.sort_unstable();
        views
    }

    /// Outputs of a stage (of all stages when `stage` is empty) whose unit mentions `text`.
    pub(crate) fn explain(&self, store: &Store, stage: &str, text: &str) -> Vec<Explanation> {
        let mut out = Vec::new();
        let object = |id| store.object(id).map_or_else(|| "(gone)".to_owned(), ToString::to_string);
        let host = |host: Host| host.text(store);
        collect(&self.gateways.fleets, store, stage, text, object, &mut out);
        collect(&self.routes, store, stage, text, object, &mut out);
        collect(&self.attached, store, stage, text, object, &mut out);
        collect(&self.policies, store, stage, text, object, &mut out);
        let cluster = |key: translate::ClusterKey| {
            let of = match key.of {
                ClusterOf::Rule(plan) => {
                    format!("{} rule {} {:?}", object(plan.route), plan.rule, plan.slot)
                }
                ClusterOf::Shared(shared) => {
                    format!("{} port {} {:?}", object(shared.backend), shared.port, shared.protocol)
                }
            };
            format!("{of} at {}", object(key.fleet))
        };
        collect(&self.clusters, store, stage, text, cluster, &mut out);
        collect(&self.endpoints, store, stage, text, cluster, &mut out);
        let virtual_host = |key: translate::VirtualHostKey| {
            format!("{} host {}", listener_in_words(key.listener, store), host(key.host))
        };
        let entry = |key: translate::EntryKey| {
            format!("{} for {}", virtual_host(key.virtual_host), object(key.route))
        };
        collect(&self.entries, store, stage, text, entry, &mut out);
        collect(&self.hosts, store, stage, text, virtual_host, &mut out);
        let table = |key: translate::TableKey| listener_in_words(key.listener, store);
        collect(&self.misdirected, store, stage, text, table, &mut out);
        collect(&self.tables, store, stage, text, table, &mut out);
        let socket = |key| socket_in_words(key, store);
        collect(&self.listeners, store, stage, text, socket, &mut out);
        let secret = |key: SecretKey| match key {
            SecretKey::Certificate(id) => object(id),
            SecretKey::Authorities(id, lists) => {
                let lists =
                    lists.map_or_else(String::new, |id| format!(" with revocations of {}", object(id)));
                format!("authorities of {}{lists}", object(id))
            }
            SecretKey::Clients(id, port) => {
                let port = port.map_or_else(String::new, |port| format!(" on port {port}"));
                format!("authorities of clients of {}{port}", object(id))
            }
            SecretKey::System => "authorities of the system".to_owned(),
        };
        collect(&self.secrets, store, stage, text, secret, &mut out);
        collect(&self.own, store, stage, text, object, &mut out);
        collect(&self.statuses, store, stage, text, object, &mut out);
        out
    }
}

/// Outputs of busy virtual hosts run to megabytes; a person reads the beginning.
const OUTPUT_LIMIT: usize = 2_000;

fn collect<K: Key, V: Eq + Send + Sync + std::fmt::Debug>(
    table: &Table<K, V, Dep>,
    store: &Store,
    stage: &str,
    text: &str,
    name: impl Fn(K) -> String,
    out: &mut Vec<Explanation>,
) {
    if !stage.is_empty() && stage != table.name() {
        return;
    }
    for (key, value) in table.iter_sorted() {
        let unit = name(key);
        if unit.contains(text) {
            let reads =
                table.reads(key).unwrap_or_default().iter().map(|dep| dep_in_words(*dep, store)).collect();
            let output: String = format!("{value:?}").chars().take(OUTPUT_LIMIT).collect();
            out.push(Explanation { stage: table.name(), unit, output, reads });
        }
    }
}

fn listener_in_words(id: ListenerId, store: &Store) -> String {
    let owner = store.object(id.owner).map_or_else(|| "(gone)".to_owned(), ToString::to_string);
    format!("{owner} listener {}", store.name(id.name))
}

fn socket_in_words(key: SocketKey, store: &Store) -> String {
    let fleet = store.object(key.fleet).map_or_else(|| "(gone)".to_owned(), ToString::to_string);
    format!("{fleet} {:?} port {} of address {}", key.transport, key.port, key.address)
}

fn dep_in_words(dep: Dep, store: &Store) -> String {
    let object = |id| store.object(id).map_or_else(|| "(gone)".to_owned(), ToString::to_string);
    match dep {
        Dep::Fact(FactKey::Object(id)) => object(id),
        Dep::Fact(FactKey::SlicesOf(id)) => format!("EndpointSlices of {}", object(id)),
        Dep::Fact(FactKey::Availability(id)) => format!("availability of {}", object(id)),
        Dep::Fact(FactKey::GrantsInto(name)) => format!("ReferenceGrants in {}", store.name(name)),
        Dep::Fact(FactKey::ProxyServiceOf(id)) => format!("proxy Service of {}", object(id)),
        Dep::Fact(FactKey::GatewaysOf(id)) => format!("Gateways of {}", object(id)),
        Dep::Fact(FactKey::ReferrersOf(id)) => format!("referrers of {}", object(id)),
        Dep::Fact(FactKey::BackendTlsPoliciesOf(id)) => format!("BackendTLSPolicies of {}", object(id)),
        Dep::Fact(FactKey::ListenerSetsOf(id)) => format!("ListenerSets of {}", object(id)),
        Dep::Fact(FactKey::PoliciesOn(kind, id)) => format!("{kind}s on {}", object(id)),
        Dep::Fact(FactKey::TargetsOf(id)) => format!("targets of {}", object(id)),
        Dep::Fact(FactKey::Settings) => "settings".to_owned(),
        Dep::Listeners(id) => format!("listeners of {}", object(id)),
        Dep::Listener(id) => listener_in_words(id, store),
        Dep::Socket(key) => socket_in_words(key, store),
        Dep::GatewayStatus(id) => format!("conditions of {}", object(id)),
        Dep::ClientSide(id) => format!("way to backends of {}", object(id)),
        Dep::DefaultHost(listener) => format!("hosts of {}", listener_in_words(listener, store)),
        Dep::ClientVerdicts(id) => format!("ClientTrafficPolicies applied by {}", object(id)),
        Dep::Attached(id) => format!("attachment of {}", object(id)),
        Dep::Rules(id) => format!("rules of {}", object(id)),
        Dep::Plans(id) => format!("clusters of {}", object(id)),
        Dep::RouteFindings(id) => format!("findings of {}", object(id)),
        Dep::Overlaps(id) => format!("overlaps of {}", object(id)),
        Dep::AttachedRoutes(id) => format!("attachedRoutes of {}", object(id)),
        Dep::PolicyRoutes(id) => format!("routes of {}", object(id)),
        Dep::Policy(id) => format!("settings of {}", object(id)),
        Dep::PolicyStatus(id) => format!("places of {}", object(id)),
        Dep::Relations(kind, id) => format!("{kind}s in {}", object(id)),
        Dep::Layer4(id) => format!("target of {}", object(id)),
        Dep::Layer4Routes(listener) => format!("routes of {}", listener_in_words(listener, store)),
        Dep::Features(table) => {
            format!("HTTP filters of {}", listener_in_words(table.listener, store))
        }
    }
}
