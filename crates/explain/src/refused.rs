//! Why nothing takes a request.

use std::collections::BTreeSet;

use envoy_api::route::RouteConfiguration;
use ir::ObjectRef;
use store::{Fact, NameId, ObjectId, Store, facts};

use crate::{
    Entrance, Explanation, Outcome, config,
    host::{self, Found},
    request::Request,
};

/// Routes that are told when none takes the request.
const MOST_MISSED: usize = 10;
/// Hosts that are told when none is the request's.
const MOST_HOSTS: usize = 20;

/// No virtual host takes the request.
pub(crate) fn without_host(
    entrance: Entrance<'_>,
    table: &RouteConfiguration,
    request: &Request,
    told: &mut Explanation,
) {
    let mut hosts: Vec<&str> =
        table.virtual_hosts.iter().flat_map(|host| host.domains.iter().map(|domain| &**domain)).collect();
    let more = hosts.len().saturating_sub(MOST_HOSTS);
    hosts.truncate(MOST_HOSTS);
    let mut known = if hosts.is_empty() {
        "it has no routes at all".to_owned()
    } else {
        format!("it has {}", hosts.join(", "))
    };
    if more > 0 {
        known = format!("{known} and {more} more");
    }
    let why = format!("no route of the listener is for host {:?}: {known}", request.authority);
    told.conclude(Outcome::answer(404, why));
    absent(entrance, table, request, told);
}

/// The virtual host has no route that takes the request.
pub(crate) fn without_route(
    entrance: Entrance<'_>,
    found: &Found<'_>,
    request: &Request,
    told: &mut Explanation,
) {
    let routes = found.host.routes.len();
    let why = match routes {
        0 => format!("the listener's hostname {} has no routes", found.domain),
        _ => format!("none of the {routes} routes for {} takes the request", found.domain),
    };
    told.conclude(Outcome::answer(404, why));
    // Those first that take the path.
    told.missed.sort_by_key(|missed| missed.why.starts_with("path"));
    let more = told.missed.len().saturating_sub(MOST_MISSED);
    told.missed.truncate(MOST_MISSED);
    if more > 0 {
        told.notes.push(format!("{more} more routes do not take the request"));
    }
    let table = RouteConfiguration { virtual_hosts: vec![found.host.clone()], ..Default::default() };
    absent(entrance, &table, request, told);
}

/// Tells routes of the Gateway that name the host but are not in the table, and what is wrong with them.
fn absent(entrance: Entrance<'_>, table: &RouteConfiguration, request: &Request, told: &mut Explanation) {
    let (pipeline, store) = (entrance.pipeline, entrance.pipeline.store());
    let gateways: Vec<ObjectId> = entrance.fleet.spec.gateways.iter().filter_map(|g| store.find(g)).collect();
    let present: BTreeSet<String> = (table.virtual_hosts.iter())
        .flat_map(|host| host.routes.iter())
        .filter_map(|route| Some(config::metadata(route.metadata.as_ref())?.object()))
        .collect();
    let mut absent: Vec<(&ObjectRef, ObjectId)> = store
        .facts()
        .filter_map(|fact| {
            let (meta, parents, hostnames) = route(fact)?;
            let ours = parents.iter().any(|parent| is_of(store, parent.target, &gateways));
            let object = store.object(meta.id)?;
            let named = names(store, hostnames, &request.authority);
            (ours && named && !present.contains(&object.to_string())).then_some((object, meta.id))
        })
        .collect();
    absent.sort();
    for (object, _) in absent {
        let problems = pipeline.status(object).map(|status| status.problems.clone()).unwrap_or_default();
        if problems.is_empty() {
            told.notes.push(format!("{object} is for this host, but not attached to this listener"));
        }
        problems.iter().for_each(|problem| told.trouble(problem));
    }
}

type Parts<'a> = (&'a facts::Meta, &'a [facts::ParentRef], &'a [NameId]);

fn route(fact: &Fact) -> Option<Parts<'_>> {
    match fact {
        Fact::HttpRoute(route) => Some((&route.meta, &route.parents, &route.hostnames)),
        Fact::GrpcRoute(route) => Some((&route.meta, &route.parents, &route.hostnames)),
        _ => None,
    }
}

/// Whether a parent is one of the Gateways or a ListenerSet of one.
fn is_of(store: &Store, parent: Option<ObjectId>, gateways: &[ObjectId]) -> bool {
    let Some(parent) = parent else { return false };
    gateways.contains(&parent)
        || store.fact(parent).and_then(Fact::listener_set_of).is_some_and(|of| gateways.contains(&of))
}

fn names(store: &Store, hostnames: &[NameId], authority: &str) -> bool {
    hostnames.is_empty() || hostnames.iter().any(|name| host::takes(store.name(*name), authority))
}
