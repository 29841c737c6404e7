//! What becomes of a connection whose bytes are forwarded.

use envoy_api::tcp_proxy::{TcpProxy, tcp_proxy};
use ir::{Kind, ObjectRef, listener::ListenerRef};
use pipeline::Pipeline;
use store::{Fact, Store};

use crate::{
    Explanation, Outcome, Possible, Question, Route, backends,
    config::Config,
    host, origin,
    socket::Bound,
    sources::Sources,
    upstream::{self, Carries},
};

/// Clusters of a proxy of connections, with their shares in percent.
pub(crate) fn targets(proxy: &TcpProxy) -> Vec<(String, f64)> {
    let targets: Vec<(String, f64)> = match &proxy.cluster_specifier {
        Some(tcp_proxy::ClusterSpecifier::Cluster(name)) => vec![(name.clone(), 1.0)],
        Some(tcp_proxy::ClusterSpecifier::WeightedClusters(targets)) => {
            targets.clusters.iter().map(|target| (target.name.clone(), f64::from(target.weight))).collect()
        }
        None => Vec::new(),
    };
    let total: f64 = targets.iter().map(|(_, weight)| weight).sum();
    targets.into_iter().map(|(name, weight)| (name, weight / total * 100.0)).collect()
}

/// Follows a connection to its backends.
pub(crate) fn follow(
    (pipeline, config): (&Pipeline, &Config<'_>),
    socket: &Bound<'_>,
    (question, proxy): (&Question, &TcpProxy),
    told: &mut Explanation,
) {
    told.notes.push("bytes are forwarded: the listener does not look into the request".to_owned());
    let route = told.chain.as_ref().and_then(|chain| route(&chain.name));
    let sources = route.as_ref().and_then(|route| sources(pipeline, (socket, question), route));
    if let Some(route) = &route {
        let name = told.chain.as_ref().map(|chain| chain.name.clone()).unwrap_or_default();
        let wants = "any connection that comes to the filter chain".to_owned();
        let field = "spec.rules[0]".to_owned();
        told.route = Some(Route { name, object: route.to_string(), field, rule: None, wants });
        let problems = pipeline.status(route).map(|status| status.problems.clone()).unwrap_or_default();
        problems.iter().for_each(|problem| told.trouble(problem));
    }
    if let Some(sources) = &sources {
        told.policies = origin::told(&sources.policies);
    }
    for (name, percent) in targets(proxy) {
        let outcome = match backends::upstream(config, &name, percent) {
            Ok(mut to) => {
                if let Some(sources) = &sources {
                    upstream::complete(config, sources, Carries::Connections, &mut to);
                }
                let request = "bytes of the connection".to_owned();
                Outcome::Forwarded { request, headers: Vec::new(), to: Box::new(to) }
            }
            Err(why) => Outcome::closed(why),
        };
        told.outcomes.push(Possible { percent, outcome });
    }
}

/// The route that a chain is for, by its name: `tlsroute/default/db`.
fn route(chain: &str) -> Option<ObjectRef> {
    let mut parts = chain.split('/');
    let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = Kind::ALL.iter().find(|known| known.name().eq_ignore_ascii_case(kind))?;
    Some(ObjectRef::new(*kind, namespace, name))
}

/// Who may have set something on a route of connections.
fn sources<'a>(
    pipeline: &'a Pipeline,
    (socket, question): (&Bound<'_>, &Question),
    route: &ObjectRef,
) -> Option<Sources<'a>> {
    let takes = |listener: &&ListenerRef| takes(pipeline.store(), listener, question.server_name.as_deref());
    let listeners = &socket.spec.listeners;
    let listener = listeners.iter().find(takes).or(listeners.first())?;
    let (gateway, owner) = (&listener.gateway, &listener.owner);
    let own = format!("{}/{}", gateway.namespace, gateway.name);
    let named = match owner.kind {
        Kind::ListenerSet => format!("{own}/{}/{}/{}", owner.namespace, owner.name, listener.name),
        _ => format!("{own}/{}", listener.name),
    };
    let policies = pipeline.policies_of_rule((route, None), (gateway, &named));
    Some(Sources { pipeline, gateway: gateway.clone(), rule: None, policies })
}

/// Whether the hostname of a listener takes a server name.
fn takes(store: &Store, listener: &ListenerRef, server_name: Option<&str>) -> bool {
    let listeners = match store.find(&listener.owner).and_then(|id| store.fact(id)) {
        Some(Fact::Gateway(gateway)) => &gateway.listeners,
        Some(Fact::ListenerSet(set)) => &set.listeners,
        _ => return false,
    };
    let hostname = listeners.iter().find(|own| own.name == listener.name).and_then(|own| own.hostname);
    match (hostname, server_name) {
        (None, _) => true,
        (Some(hostname), Some(name)) => host::takes(store.name(hostname), name),
        (Some(_), None) => false,
    }
}
