//! What becomes of a request: told from the resources that Envoy is sent, by Envoy's own rules, without Envoy; and what
//! two translations do differently.
//!
//! [`explain`] decodes the resources of a Gateway's proxies and follows a request through them as Envoy would: socket,
//! filter chain, virtual host, route, filters, clusters, endpoints. What it finds there it leads back to the objects of
//! users by the metadata in the resources, and completes it from facts: which policy says what, which other routes take
//! the request too and by which rule they lose, why a route that was meant for it is not there.
//!
//! [`policy`] tells where a policy acts, and which policy each of the settings there comes from.
//!
//! **Invariant:** no IO and no clock; nothing is decided here. What follows from chance (weights, percentages) is told as
//! all that may happen, each with its share.

mod answer;
mod backends;
mod chain;
mod config;
mod connection;
mod curl;
mod difference;
mod filters;
mod host;
mod http3;
mod matching;
mod origin;
mod outcome;
mod path;
mod policy;
mod precedence;
mod question;
mod refused;
mod request;
mod response;
mod rewrite;
mod settings;
mod shell;
mod socket;
mod sources;
mod tls;
mod upstream;
mod values;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use envoy_api::hcm::HttpConnectionManager;
use pipeline::{Fleet, Pipeline};

pub use answer::{
    Backend, Chain, Endpoint, Explanation, Filter, Host, Lost, Mirror, Outcome, Policy, Possible, Route,
    Setting, Socket, Trouble, Upstream,
};
pub use curl::parse as parse_curl;
pub use difference::{Change, difference};
pub use policy::{Other, Place, PolicyExplanation, Said, policy};
pub use question::{Protocol, Question, Scheme, escaped};

use chain::Entered;
use config::Config;
use origin::Origins;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswerable {
    /// The request cannot be understood.
    #[error("{0}")]
    Question(String),
    /// No proxies of that name.
    #[error("there is no Gateway {name:?} with proxies; known: {known}")]
    Unknown {
        /// The name that was given.
        name: String,
        /// Names of Gateways that have proxies.
        known: String,
    },
    /// Several Gateways have proxies, and none was named.
    #[error("several Gateways have proxies; choose one with --gateway: {0}")]
    Ambiguous(String),
}

/// Routes that are told when they lose.
const MOST_LOST: usize = 20;

/// Tells what becomes of a request.
///
/// # Errors
/// When the Gateway is not known, or not named although there are several.
pub fn explain(pipeline: &Pipeline, question: &Question) -> Result<Explanation, Unanswerable> {
    let (name, fleet) = fleet(pipeline, question)?;
    let config = Config::new(fleet);
    let mut told = Explanation::of(question, name);
    let sockets = socket::all(pipeline, fleet, &config);
    let mut question = Cow::Borrowed(question);
    if question.protocol == Some(Protocol::Http3)
        && let Some(why) = http3::refused(pipeline, &sockets, &question)
    {
        if !question.falls_back {
            told.conclude(Outcome::closed(why));
            return Ok(told);
        }
        told.notes.push(format!("{why}; the client goes on over TCP"));
        question.to_mut().protocol = None;
    }
    let Some(socket) = socket::find(pipeline, (fleet, &sockets), &question, &mut told) else {
        return Ok(told);
    };
    match chain::enter(pipeline, &config, &socket.listener, &question, &mut told) {
        Entered::Nowhere => {}
        Entered::Connection(proxy) => {
            connection::follow((pipeline, &config), socket, (&question, &proxy), &mut told);
        }
        Entered::Http { manager, protocol, server_name } => {
            let entrance = Entrance { pipeline, fleet, config: &config, manager: &manager };
            http(entrance, (&question, protocol, server_name), &mut told);
            if question.is_grpc() {
                response::for_grpc(&mut told);
            }
        }
    }
    Ok(told)
}

/// The proxies that are asked about: by their own name, or by that of a Gateway that they serve.
fn fleet<'a>(pipeline: &'a Pipeline, question: &Question) -> Result<(&'a str, &'a Fleet), Unanswerable> {
    let fleets = pipeline.fleets();
    let gateways = |fleet: &'a Fleet| fleet.spec.gateways.iter();
    let known = || {
        let of_fleet = |(name, fleet): (&'a Arc<str>, &'a Fleet)| {
            let merged = gateways(fleet).map(|gateway| format!("{}/{}", gateway.namespace, gateway.name));
            merged.chain([name.to_string()]).collect::<BTreeSet<_>>()
        };
        fleets.iter().flat_map(of_fleet).collect::<Vec<_>>().join(", ")
    };
    let Some(wanted) = &question.gateway else {
        let mut all = fleets.iter();
        return match (all.next(), all.next()) {
            (Some((name, fleet)), None) => Ok((name, fleet)),
            (None, _) => {
                Err(Unanswerable::Question("there is no Gateway with proxies: nothing listens".to_owned()))
            }
            _ => Err(Unanswerable::Ambiguous(known())),
        };
    };
    let full = |fleet: &'a Fleet| {
        gateways(fleet).any(|gateway| wanted.split_once('/') == Some((&*gateway.namespace, &*gateway.name)))
    };
    let named = |fleet: &'a Fleet| gateways(fleet).any(|gateway| *gateway.name == **wanted);
    // A full name before the same name in whichever namespace comes first.
    let exact = fleets.iter().find(|(name, fleet)| ***name == **wanted || full(fleet));
    let found = exact.or_else(|| fleets.iter().find(|(_, fleet)| named(fleet)));
    match found {
        Some((name, fleet)) => Ok((name, fleet)),
        None => Err(Unanswerable::Unknown { name: wanted.clone(), known: known() }),
    }
}

/// The proxies and the connection manager that a request has come to.
#[derive(Clone, Copy)]
pub(crate) struct Entrance<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) fleet: &'a Fleet,
    pub(crate) config: &'a Config<'a>,
    pub(crate) manager: &'a HttpConnectionManager,
}

/// A request on a connection whose chain speaks HTTP.
fn http(
    entrance: Entrance<'_>,
    (question, protocol, server_name): (&Question, Protocol, Option<String>),
    told: &mut Explanation,
) {
    let Entrance { pipeline, config, manager, .. } = entrance;
    let mut request = match request::received(question, protocol, server_name.as_deref(), manager) {
        Ok(request) => request,
        Err(outcome) => return told.conclude(outcome),
    };
    if let Some(outcome) = path::normalize(&mut request, manager) {
        return told.conclude(outcome);
    }
    if let Some(outcome) = filters::own_answer(manager, &request) {
        return told.conclude(outcome);
    }
    let Some(table) = config.table(manager) else {
        return told.conclude(Outcome::answer(404, "the proxy has no route configuration for this listener"));
    };
    let Some(found) = host::find(&table, &request.authority) else {
        return refused::without_host(entrance, &table, &request, told);
    };
    told.virtual_host = Some(host::told(&table, &found));
    let origins = Origins::of(pipeline, &found.host.name);
    let mut chosen = None;
    for route in &found.host.routes {
        let wanted = route.r#match.as_ref();
        match matching::judge(wanted, &request) {
            Err(why) if chosen.is_none() => told.missed.push(origins.missed(route, why)),
            Err(_) => {}
            Ok(()) => match chosen {
                None => chosen = Some(route),
                Some(winner) => told.lost.push(origins.lost(route, winner, found.host)),
            },
        }
    }
    host::broader(&table, &found, &request, &origins, told);
    let more = told.lost.len().saturating_sub(MOST_LOST);
    told.lost.truncate(MOST_LOST);
    if more > 0 {
        told.notes.push(format!("{more} more routes take the request as well"));
    }
    match chosen {
        None => refused::without_route(entrance, &found, &request, told),
        Some(route) => {
            told.missed.clear();
            outcome::of_route(entrance, (&table, found.host, route), (&request, &origins), told);
        }
    }
}
