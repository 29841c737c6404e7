//! From resources back to the objects of users.

use envoy_api::route::{Route as Message, VirtualHost};
use ir::{Kind, ObjectRef};
use pipeline::{AppliedField, AppliedPolicy, Pipeline};
use serde_json::Value;
use store::{Fact, facts};

use crate::{
    Lost, Policy, Route, Setting,
    config::{self, Named},
    host, matching, precedence,
    sources::{self, Source, Sources},
};

/// Where routes come from.
pub(crate) struct Origins<'a> {
    pub(crate) pipeline: &'a Pipeline,
    /// The Gateway of the listener.
    pub(crate) gateway: ObjectRef,
    /// The listener that the virtual host belongs to, as it is named in xDS.
    pub(crate) listener: String,
    /// Who has routes tried in the order in which they are written.
    order: Option<Source>,
}

/// What a route was made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) named: Named,
    /// Index of the rule.
    pub(crate) rule: usize,
    /// Index of the match; `None` for a rule without matches.
    pub(crate) matched: Option<usize>,
    /// When the object was made, in seconds since 1970.
    pub(crate) created: i64,
}

impl Origin {
    /// `spec.rules[0]`.
    pub(crate) fn rule_field(&self) -> String {
        format!("spec.rules[{}]", self.rule)
    }
}

/// The rule and match that a route's name tells: `httproute/default/shop/rule/0/match/1/…`.
fn indexes(name: &str) -> Option<(usize, Option<usize>)> {
    let mut parts = name.split('/').skip(3);
    let rule = parts.next().filter(|part| *part == "rule").and_then(|_| parts.next()?.parse().ok())?;
    let matched = parts.next().filter(|part| *part == "match").and_then(|_| parts.next()?.parse().ok());
    Some((rule, matched))
}

impl<'a> Origins<'a> {
    /// Those of the routes of a virtual host.
    pub(crate) fn of(pipeline: &'a Pipeline, virtual_host: &str) -> Origins<'a> {
        let listener = host::listener(virtual_host).to_owned();
        let gateway = host::gateway_of(&listener).unwrap_or_else(|| ObjectRef::new(Kind::Gateway, "", ""));
        let order = sources::parameter(pipeline, &gateway, "preserveRouteOrder");
        let order = order.filter(|(value, _)| *value == Value::Bool(true)).map(|(_, source)| source);
        Origins { pipeline, gateway, listener, order }
    }

    /// What a route was made from; `None` for one that nobody has written.
    pub(crate) fn origin(&self, route: &Message) -> Option<Origin> {
        let named = config::metadata(route.metadata.as_ref())?;
        let (rule, matched) = indexes(&route.name)?;
        let created = object(&named).and_then(|object| {
            let store = self.pipeline.store();
            Some(store.fact(store.find(&object)?)?.meta().created)
        });
        Some(Origin { named, rule, matched, created: created.unwrap_or(0) })
    }

    /// The route in the answer.
    pub(crate) fn route(&self, route: &Message) -> Route {
        let wants = route.r#match.as_ref().map(matching::words).unwrap_or_default();
        match self.origin(route) {
            Some(origin) => Route {
                name: route.name.clone(),
                object: origin.named.object(),
                field: match origin.matched {
                    Some(matched) => format!("{}.matches[{matched}]", origin.rule_field()),
                    None => origin.rule_field(),
                },
                rule: origin.named.section,
                wants,
            },
            None => {
                Route { name: route.name.clone(), object: "Ferrogate".to_owned(), wants, ..Route::default() }
            }
        }
    }

    /// A route that does not take the request.
    pub(crate) fn missed(&self, route: &Message, why: String) -> Lost {
        self.with_reason(route, why)
    }

    pub(crate) fn with_reason(&self, route: &Message, why: String) -> Lost {
        Lost { route: self.route(route), why }
    }

    /// A route that takes the request as well, but stands after the winner.
    pub(crate) fn lost(&self, route: &Message, winner: &Message, host: &VirtualHost) -> Lost {
        let why = match (&winner.r#match, &route.r#match, self.origin(winner), self.origin(route)) {
            (Some(first), Some(second), Some(of_first), Some(of_second)) => match &self.order {
                None => precedence::why((first, &of_first), (second, &of_second)),
                Some((object, field)) => format!(
                    "{}; {object} {field} has routes tried in the order in which they are written, whatever they match",
                    precedence::by_origin(&of_first, &of_second)
                ),
            },
            _ => format!("{} stands before it in {}", winner.name, host.name),
        };
        self.with_reason(route, why)
    }

    /// The rule of a route as its object has it.
    fn rule(&self, origin: &Origin) -> Option<&'a facts::Rule> {
        let store = self.pipeline.store();
        match store.fact(store.find(&object(&origin.named)?)?)? {
            Fact::HttpRoute(route) => route.rules.get(origin.rule),
            Fact::GrpcRoute(route) => route.rules.get(origin.rule),
            _ => None,
        }
    }

    /// The policies that apply to a rule.
    fn policies(&self, origin: &Origin) -> Vec<AppliedPolicy> {
        let Some(route) = object(&origin.named) else { return Vec::new() };
        let rule = (&route, origin.named.section.as_deref());
        self.pipeline.policies_of_rule(rule, (&self.gateway, &self.listener))
    }

    /// Who may have set something on a route; `None` for one that nobody has written.
    pub(crate) fn sources(&self, route: &Message) -> Option<Sources<'a>> {
        let origin = self.origin(route)?;
        let (fact, policies) = (self.rule(&origin), self.policies(&origin));
        Some(Sources {
            pipeline: self.pipeline,
            gateway: self.gateway.clone(),
            rule: Some((origin, fact)),
            policies,
        })
    }
}

/// Policies in the answer.
pub(crate) fn told(policies: &[AppliedPolicy]) -> Vec<Policy> {
    let told = policies.iter().map(|applied| Policy {
        object: applied.policy.to_string(),
        merged_over: applied.parents.iter().map(ToString::to_string).collect(),
        settings: settings(applied.fields.clone()),
        invalid: applied.invalid.clone(),
    });
    told.collect()
}

/// Fields of policies as settings.
pub(crate) fn settings(fields: Vec<AppliedField>) -> Vec<Setting> {
    let settings = fields.into_iter().map(|field| Setting {
        name: field.path.rsplit('.').next().unwrap_or_default().to_owned(),
        value: field.value.to_string(),
        object: field.policy.to_string(),
        field: format!("spec.{}", field.path),
    });
    settings.collect()
}

/// The object that metadata names.
pub(crate) fn object(named: &Named) -> Option<ObjectRef> {
    let kind = Kind::ALL.iter().find(|kind| kind.name() == named.kind)?;
    Some(ObjectRef::new(*kind, &named.namespace, &named.name))
}
