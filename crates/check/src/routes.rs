//! Routes: parents that are not there, hostnames that nobody listens for, matches that never get a request.

use std::collections::BTreeMap;

use ir::{
    ObjectRef,
    route::{PathMatch, RouteMatch, StringMatch},
};
use rustc_hash::FxHashMap;
use store::facts;

use crate::{
    Finding, code,
    world::{Route, World},
};

/// Regular expressions that take every path.
const EVERY_PATH: [&str; 8] = [".*", "/.*", "^.*$", "^/.*$", "^/.*", ".+", "/.*$", "(.*)"];

pub(crate) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    parents(world, findings);
    for route in &world.routes {
        hostnames(world, route, findings);
        repeated(route, findings);
        weights(route, findings);
    }
    shadowed(world, findings);
    unreachable(world, findings);
}

/// Parents that do not exist, of routes of every kind.
fn parents(world: &World<'_>, findings: &mut Vec<Finding>) {
    for fact in world.store.facts() {
        let Some(parents) = fact.parents() else { continue };
        let Some(object) = world.store.object(fact.meta().id) else { continue };
        for (index, parent) in parents.iter().enumerate() {
            if let Some(target) = parent.target.filter(|target| !world.exists(*target)) {
                let name = world.store.object(target).map(ToString::to_string).unwrap_or_default();
                let message = format!("{name} does not exist");
                let field = format!("spec.parentRefs[{index}]");
                findings.push(Finding::new(code::PARENT_MISSING, object, field, message));
            }
        }
    }
}

/// Hostnames that no listener of the parents is for, where others of the route have one.
fn hostnames(world: &World<'_>, route: &Route<'_>, findings: &mut Vec<Finding>) {
    let listeners: Vec<Option<&str>> = route
        .parents
        .iter()
        .flat_map(|parent| world.meant(parent))
        .map(|listener| listener.fact.hostname.map(|name| &**world.name(name)))
        .collect();
    let served = |hostname: &str| listeners.iter().any(|of| of.is_none_or(|of| intersect(of, hostname)));
    let names: Vec<(usize, &str)> =
        route.hostnames.iter().map(|name| &**world.name(*name)).enumerate().collect();
    // Without any, the route is attached to nothing, which has been said.
    if !names.iter().any(|(_, name)| served(name)) {
        return;
    }
    for (index, name) in names.into_iter().filter(|(_, name)| !served(name)) {
        let message = format!("no listener of the route's parents is for {name}");
        let field = format!("spec.hostnames[{index}]");
        findings.push(Finding::new(code::HOSTNAME_UNSERVED, route.object, field, message));
    }
}

/// Whether two hostnames, each plain or with a wildcard in front for one label or more, have a host in common.
fn intersect(a: &str, b: &str) -> bool {
    let covers = |wide: &str, narrow: &str| {
        wide.strip_prefix('*').is_some_and(|suffix| narrow.len() > suffix.len() && narrow.ends_with(suffix))
    };
    a == b || covers(a, b) || covers(b, a)
}

/// What a match asks for, in an order of its own, so that equal requests give equal values.
fn asked(matched: &RouteMatch) -> impl Ord + std::hash::Hash + use<> {
    let path = match &matched.path {
        PathMatch::Prefix(prefix) => PathMatch::Prefix(prefix.trim_end_matches('/').into()),
        other => other.clone(),
    };
    let mut headers: Vec<(String, StringMatch)> =
        matched.headers.iter().map(|h| (h.name.to_ascii_lowercase(), h.value.clone())).collect();
    headers.sort_unstable();
    let mut query = matched.query.to_vec();
    query.sort_unstable();
    let mut cookies = matched.cookies.to_vec();
    cookies.sort_unstable();
    (path, matched.method.clone(), headers, query, cookies)
}

fn field(rule: usize, matched: &RouteMatch) -> String {
    match matched.index {
        index if index >= 0 => format!("spec.rules[{rule}].matches[{index}]"),
        _ => format!("spec.rules[{rule}]"),
    }
}

/// Matches that the same route has twice.
fn repeated(route: &Route<'_>, findings: &mut Vec<Finding>) {
    let mut first = FxHashMap::default();
    for (rule, of_rule) in route.rules.iter().enumerate() {
        for matched in of_rule.matches.iter() {
            let place = field(rule, matched);
            match first.entry(asked(matched)) {
                std::collections::hash_map::Entry::Vacant(entry) => drop(entry.insert(place)),
                std::collections::hash_map::Entry::Occupied(entry) => {
                    let message = format!("{} asks for the same and goes first", entry.get());
                    findings.push(Finding::new(code::MATCH_REPEATED, route.object, place, message));
                }
            }
        }
    }
}

/// Rules whose backends all have weight 0.
fn weights(route: &Route<'_>, findings: &mut Vec<Finding>) {
    for (rule, of_rule) in route.rules.iter().enumerate() {
        if !of_rule.backends.is_empty() && of_rule.backends.iter().all(|backend| backend.weight == 0) {
            let field = format!("spec.rules[{rule}].backendRefs");
            let message = "every backend of the rule has weight 0";
            findings.push(Finding::new(code::WEIGHTS_ZERO, route.object, field, message));
        }
    }
}

/// Routes that another one takes all requests of a match from.
fn shadowed(world: &World<'_>, findings: &mut Vec<Finding>) {
    let routes: BTreeMap<&ObjectRef, &Route<'_>> =
        world.routes.iter().map(|route| (route.object, route)).collect();
    for (route, other) in world.pipeline.overlaps() {
        let (Some(route), Some(other)) = (routes.get(&route), routes.get(&other)) else { continue };
        let rank = |route: &Route<'_>| {
            let object = route.object;
            (route.meta.created, object.namespace.clone(), object.name.clone(), object.kind)
        };
        if rank(route) <= rank(other) {
            continue;
        }
        let taken: FxHashMap<_, String> =
            places(other).map(|(matched, place)| (asked(matched), place)).collect();
        let lost =
            places(route).find_map(|(matched, place)| Some((place, taken.get(&asked(matched))?.clone())));
        let (place, by) = lost.unwrap_or_default();
        let why = if route.meta.created > other.meta.created { "is older" } else { "comes first by name" };
        let message = format!("{} asks for the same requests and {why}", other.object);
        findings.push(Finding::new(code::ROUTE_SHADOWED, route.object, place, message).and(other.object, by));
    }
}

fn places<'r>(route: &'r Route<'_>) -> impl Iterator<Item = (&'r RouteMatch, String)> {
    let rules = route.rules.iter().enumerate();
    rules.flat_map(|(rule, of_rule)| {
        of_rule.matches.iter().map(move |matched| (matched, field(rule, matched)))
    })
}

/// The match of a rule that takes every request.
fn takes_all(rule: &facts::Rule) -> Option<&RouteMatch> {
    rule.matches.iter().find(|matched| {
        matches!(&matched.path, PathMatch::Regex(regex) if EVERY_PATH.contains(&&**regex))
            && matched.method.is_none()
            && matched.headers.is_empty()
            && matched.query.is_empty()
            && matched.cookies.is_empty()
    })
}

/// Path prefixes on a host on which a regular expression takes every path.
fn unreachable(world: &World<'_>, findings: &mut Vec<Finding>) {
    let greedy: BTreeMap<&ObjectRef, String> = world
        .routes
        .iter()
        .filter_map(|route| {
            let mut rules = route.rules.iter().enumerate();
            let place = rules.find_map(|(rule, of_rule)| Some(field(rule, takes_all(of_rule)?)))?;
            Some((route.object, place))
        })
        .collect();
    // Which most people do not have: nothing more is looked at then.
    if greedy.is_empty() {
        return;
    }
    let mut lost: BTreeMap<(&ObjectRef, String), (&ObjectRef, &String)> = BTreeMap::new();
    for owners in world.pipeline.routes_by_virtual_host() {
        let Some((by, place)) = owners.iter().find_map(|owner| greedy.get_key_value(owner)) else { continue };
        for route in world.routes.iter().filter(|route| owners.contains(route.object)) {
            for (matched, own) in places(route) {
                if matches!(matched.path, PathMatch::Prefix(_) | PathMatch::Suffix(_)) {
                    lost.insert((route.object, own), (by, place));
                }
            }
        }
    }
    for ((route, field), (by, place)) in lost {
        let message = format!("a regular expression of {by} ({place}) takes every path before it");
        findings.push(Finding::new(code::MATCH_UNREACHABLE, route, field, message).and(by, place.as_str()));
    }
}
