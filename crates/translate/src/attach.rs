//! Stage 3: which listeners a route attaches to, and with which hosts. The one place that decides it.

use ir::Kind;
use store::{NameId, ObjectId, facts::ParentRef};

use crate::{
    AttachListener, Finding, ListenerId, Reader, TableKey,
    host::{Host, covers, intersect},
    namespaces,
    reader::GatewayTable,
    route::{self, Head},
};

/// Where a route is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachOutput {
    /// Its parents that are Gateways of ours or ListenerSets of them, in the order of the spec.
    pub parents: Box<[ParentOutput]>,
}

/// A route at one of its parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentOutput {
    /// The parent as written.
    pub parent: ParentRef,
    /// The Gateway that it is, or that it is a ListenerSet of.
    pub gateway: ObjectId,
    /// The fleet that serves that Gateway, by its key in the gateway stage.
    pub fleet: ObjectId,
    /// Why the route is not attached; `None` when it is.
    pub refused: Option<Finding>,
    /// Listeners that count the route in `attachedRoutes`, also while they are not ready.
    pub counted: Box<[ListenerId]>,
    /// Ready listeners with the hosts that the route answers there.
    pub bindings: Box<[Binding]>,
}

/// A route on one ready listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The route configuration; `None` for listeners of connections and datagrams.
    pub table: Option<TableKey>,
    /// The listener.
    pub listener: ListenerId,
    /// Hosts, in the order of the route's hostnames.
    pub hosts: Box<[Host]>,
    /// True when TLS ends at the listener.
    pub terminates: bool,
}

/// Attaches one route. `None` when it does not exist or has no parent of ours.
pub fn unit(id: ObjectId, reader: &mut Reader<'_>, gateways: GatewayTable<'_>) -> Option<AttachOutput> {
    let kind = route::of(reader.kind(id)?)?;
    let head = kind.head(id, reader)?;
    let unattachable = kind.unattachable(id, reader);
    let parents: Box<[ParentOutput]> = (head.parents.iter().enumerate())
        .filter_map(|(i, parent)| {
            let owner = parent.target?;
            let gateway = match reader.kind(owner)? {
                Kind::ListenerSet => reader.listener_set(owner)?.gateway?,
                _ => owner,
            };
            let (fleet, listeners) = gateways.listeners(reader, gateway, owner)?;
            let request = Request { head, kind: kind.kind().name(), index: i };
            let output = attach(&request, parent, (fleet, gateway, owner), listeners, reader);
            Some(match &unattachable {
                Some(finding) if output.refused.is_none() => ParentOutput {
                    refused: Some(finding.clone()),
                    counted: [].into(),
                    bindings: [].into(),
                    ..output
                },
                _ => output,
            })
        })
        .collect();
    Some(AttachOutput { parents })
}

/// A route that asks to be attached.
struct Request<'a> {
    head: Head<'a>,
    kind: &'static str,
    index: usize,
}

fn attach(
    request: &Request<'_>,
    parent: &ParentRef,
    (fleet, gateway, owner): (ObjectId, ObjectId, ObjectId),
    listeners: &[AttachListener],
    reader: &mut Reader<'_>,
) -> ParentOutput {
    let field = |suffix: &str| format!("spec.parentRefs[{}]{suffix}", request.index);
    let mut output = ParentOutput {
        parent: parent.clone(),
        gateway,
        fleet,
        refused: None,
        counted: [].into(),
        bindings: [].into(),
    };
    let selected: Vec<&AttachListener> = (listeners.iter())
        .filter(|l| parent.reference.section_name.as_ref().is_none_or(|name| *name == l.name))
        .filter(|l| parent.reference.port.is_none_or(|port| port == l.port))
        .collect();
    if selected.is_empty() {
        let suffix = match (&parent.reference.section_name, parent.reference.port) {
            _ if listeners.is_empty() => "",
            (Some(_), _) => ".sectionName",
            (None, _) => ".port",
        };
        output.refused = Some(Finding::new(field(suffix), "NoMatchingParent", not_there(parent, listeners)));
        return output;
    }
    let home = reader.object(owner).namespace;
    let allowed: Vec<&AttachListener> = selected
        .into_iter()
        .filter(|listener| {
            listener.kinds.contains(&request.kind)
                && namespaces::admits(&listener.namespaces, &home, request.head.meta, reader)
        })
        .collect();
    if allowed.is_empty() {
        output.refused = Some(Finding::new(field(""), "NotAllowedByListeners", not_allowed(request, reader)));
        return output;
    }
    let mut counted = Vec::new();
    let mut bindings = Vec::new();
    for listener in allowed {
        let hosts = hosts(request.head.hostnames, listener, reader);
        if hosts.is_empty() {
            continue;
        }
        counted.push(listener.id);
        if listener.ready {
            let (table, terminates) = (listener.table, listener.terminates);
            bindings.push(Binding { table, listener: listener.id, hosts: hosts.into(), terminates });
        }
    }
    if counted.is_empty() {
        output.refused = Some(Finding::new(
            "spec.hostnames",
            "NoMatchingListenerHostname",
            "No hostname of the route intersects with the hostname of a listener of this parent",
        ));
    }
    output.counted = counted.into();
    output.bindings = bindings.into();
    output
}

/// Why a parent reference selects no listener, with what there is to choose from.
fn not_there(parent: &ParentRef, listeners: &[AttachListener]) -> String {
    let kind = &parent.reference.kind;
    if listeners.is_empty() {
        return format!(
            "The {kind} has no listener that routes could attach to, because it is not accepted as a whole; see its conditions"
        );
    }
    let name = parent.reference.section_name.as_ref().map(|name| format!(" named {name}"));
    let port = parent.reference.port.map(|port| format!(" on port {port}"));
    let there: Vec<String> = listeners.iter().map(|l| format!("{} on port {}", l.name, l.port)).collect();
    format!(
        "The {kind} has no listener{}{}; it has {}",
        name.unwrap_or_default(),
        port.unwrap_or_default(),
        there.join(", ")
    )
}

/// Why no listener admits a route, with what to do.
fn not_allowed(request: &Request<'_>, reader: &mut Reader<'_>) -> String {
    let namespace = reader.name(request.head.meta.namespace).clone();
    if reader.namespace(request.head.meta.namespace_object).is_none()
        && !reader.settings().implicit_namespaces
    {
        return format!(
            "No listener of this parent admits the route: its Namespace {namespace} is not declared"
        );
    }
    format!(
        "No listener of this parent admits {}s of namespace {namespace}: see allowedRoutes of the listeners",
        request.kind
    )
}

/// Hosts that a route answers on a listener: the intersection with the listener's hostname, less those that another
/// listener on the port owns more specifically (Gateway API, listener isolation).
fn hosts(route: &[NameId], listener: &AttachListener, reader: &Reader<'_>) -> Vec<Host> {
    if route.is_empty() {
        return vec![listener.hostname.map_or(Host::Any, Host::Name)];
    }
    let mut hosts = Vec::new();
    for &name in route {
        let host = match listener.hostname {
            None => name,
            Some(own) if own == name => name,
            Some(own) => match intersect(reader.name(own), reader.name(name)) {
                Some(text) if *text == **reader.name(name) => name,
                Some(_) => own,
                None => continue,
            },
        };
        let owned_by_sibling = listener.narrower.iter().any(|h| covers(reader.name(*h), reader.name(host)));
        let host = Host::Name(host);
        if !owned_by_sibling && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}
