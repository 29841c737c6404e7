//! Whether Services are reached by their cluster IP, where that decides whether they can be reached at all.

use ir::{Kind, traffic::Routing};
use serde_json::Value;
use store::{
    ObjectId,
    facts::{ParentRef, Policy},
};

use super::KIND;
use crate::{Dep, Reader, policy::target::holder, reader::GatewayTable};

/// A rule of a route, as far as it decides how Services are reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach<'a> {
    /// The route.
    pub route: ObjectId,
    /// The rule's name.
    pub rule: Option<&'a str>,
    /// What the route is attached to.
    pub parents: &'a [ParentRef],
    /// Gateways.
    pub gateways: GatewayTable<'a>,
}

impl Reach<'_> {
    /// True when the rule reaches Services by their cluster IP from a parent of the route. It then needs no endpoints to be
    /// known.
    pub(crate) fn by_cluster_ip(&self, reader: &mut Reader<'_>) -> bool {
        self.parents.iter().any(|parent| self.from(parent, reader) == Some(Routing::Service))
    }

    fn from(&self, parent: &ParentRef, reader: &mut Reader<'_>) -> Option<Routing> {
        let owner = parent.target?;
        let gateway = match reader.kind(owner)? {
            Kind::ListenerSet => reader.listener_set(owner)?.gateway?,
            _ => owner,
        };
        // Told also when the Gateway comes, and when it moves to another fleet.
        reader.record(Dep::ClientSide(gateway));
        let default = self.gateways.routing(reader, self.gateways.fleet(gateway)?);
        let of_rule = self.rule.and_then(|rule| holder(KIND, self.route, Some(rule), reader));
        let of_route = of_rule.or_else(|| holder(KIND, self.route, None, reader));
        let own = of_route.and_then(|policy| reader.policy(policy));
        if let Some(policy) = own {
            let own = said(policy);
            if own.is_some() || policy.merge.is_none() {
                return Some(own.unwrap_or(default));
            }
        }
        let section = parent.reference.section_name.as_deref();
        let narrower = section.and_then(|section| holder(KIND, owner, Some(section), reader));
        let of_owner = narrower.or_else(|| holder(KIND, owner, None, reader));
        let closest = of_owner.or_else(|| holder(KIND, gateway, None, reader));
        let closest = closest.and_then(|policy| reader.policy(policy));
        Some(closest.and_then(|policy| said(policy)).unwrap_or(default))
    }
}

fn said(policy: &Policy) -> Option<Routing> {
    match policy.document.get("routingType").and_then(Value::as_str)? {
        "Service" => Some(Routing::Service),
        _ => Some(Routing::Endpoint),
    }
}
