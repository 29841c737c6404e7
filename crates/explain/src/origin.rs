//! From resources back to the objects of users.

use envoy_api::route::{
    Route as Message, RouteAction, VirtualHost, route, route_action::HostRewriteSpecifier,
};
use ir::{
    Kind, ObjectRef,
    secret::{REDACTED, is_credential_header},
};
use pipeline::{AppliedField, AppliedPolicy, Pipeline};
use store::{Fact, facts};

use crate::{
    Lost, Policy, Route, Setting,
    config::{self, Named},
    matching, precedence,
};

/// Where routes come from.
pub(crate) struct Origins<'a> {
    pub(crate) pipeline: &'a Pipeline,
    /// The Gateway, as `namespace/name`.
    pub(crate) gateway: String,
    /// The listener that the virtual host belongs to, as it is named in xDS.
    pub(crate) listener: String,
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
            (Some(first), Some(second), Some(of_first), Some(of_second)) => {
                precedence::why((first, &of_first), (second, &of_second))
            }
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
    pub(crate) fn policies(&self, origin: &Origin) -> Vec<AppliedPolicy> {
        let Some(route) = object(&origin.named) else { return Vec::new() };
        let Some((namespace, name)) = self.gateway.split_once('/') else { return Vec::new() };
        let gateway = ObjectRef::new(Kind::Gateway, namespace, name);
        self.pipeline.policies_of_rule((&route, origin.named.section.as_deref()), (&gateway, &self.listener))
    }

    /// What is set for a route, with who set it.
    pub(crate) fn settings(&self, route: &Message, policies: &[AppliedPolicy]) -> Vec<Setting> {
        let Some(origin) = self.origin(route) else { return Vec::new() };
        let sources = Sources { rule: self.rule(&origin), origin: &origin, policies };
        let mut settings = Vec::new();
        let headers = |add: &[envoy_api::core::HeaderValueOption], remove: &[String]| {
            let added = add.iter().filter_map(|option| {
                let header = option.header.as_ref()?;
                let value = if is_credential_header(&header.key) { REDACTED } else { &*header.value };
                let verb = if option.append_action == 0 { "add" } else { "set" };
                Some(format!("{verb} {}: {value}", header.key))
            });
            added.chain(remove.iter().map(|name| format!("remove {name}"))).collect::<Vec<_>>().join("; ")
        };
        let mut push = |name: &str, value: String, (object, field): Source| {
            if !value.is_empty() {
                settings.push(Setting { name: name.to_owned(), value, object, field });
            }
        };
        push(
            "request headers",
            headers(&route.request_headers_to_add, &route.request_headers_to_remove),
            sources.filter("RequestHeaderModifier"),
        );
        push(
            "response headers",
            headers(&route.response_headers_to_add, &route.response_headers_to_remove),
            sources.filter("ResponseHeaderModifier"),
        );
        if let Some(route::Action::Route(action)) = &route.action {
            of_action(action, &sources, &mut push);
        }
        settings
    }
}

/// An object and a field of it.
type Source = (String, String);

fn of_action(action: &RouteAction, sources: &Sources<'_>, push: &mut dyn FnMut(&str, String, Source)) {
    let rewrite = sources.filter("URLRewrite");
    if !action.prefix_rewrite.is_empty() {
        push(
            "path rewrite",
            format!("the matched prefix becomes {}", action.prefix_rewrite),
            rewrite.clone(),
        );
    }
    if let Some(regex) = &action.regex_rewrite {
        let pattern = regex.pattern.as_ref().map(|pattern| &*pattern.regex).unwrap_or_default();
        push("path rewrite", format!("{pattern} becomes {}", regex.substitution), rewrite.clone());
    }
    if let Some(HostRewriteSpecifier::HostRewriteLiteral(host)) = &action.host_rewrite_specifier {
        push("host rewrite", host.clone(), rewrite);
    }
    let timeout = sources.timeout();
    match &action.timeout {
        Some(time) if time.seconds == 0 && time.nanos == 0 => push("timeout", "none".to_owned(), timeout),
        Some(time) => push("timeout", config::duration(time), timeout),
        None => push("timeout", "15s".to_owned(), ("default".to_owned(), String::new())),
    }
    if let Some(time) = action.max_stream_duration.as_ref().and_then(|max| max.max_stream_duration.as_ref()) {
        push("longest stream", config::duration(time), sources.policy("timeout.http.maxStreamDuration"));
    }
    if let Some(retry) = &action.retry_policy {
        let number = retry.num_retries.map_or(1, |number| number.value);
        push("retries", format!("{number} on {}", retry.retry_on), sources.retry());
    }
    for mirror in &action.request_mirror_policies {
        push("mirror", mirror.cluster.clone(), sources.filter("RequestMirror"));
    }
    for upgrade in &action.upgrade_configs {
        push("upgrade", upgrade.upgrade_type.clone(), ("default".to_owned(), String::new()));
    }
}

/// Who may have set something: the rule itself goes before policies.
struct Sources<'a> {
    rule: Option<&'a facts::Rule>,
    origin: &'a Origin,
    policies: &'a [AppliedPolicy],
}

impl Sources<'_> {
    fn of_rule(&self, field: &str) -> Source {
        (self.origin.named.object(), format!("{}.{field}", self.origin.rule_field()))
    }

    /// The filter of a type; the rule itself when a backend's filter says it.
    fn filter(&self, kind: &str) -> Source {
        let filters = self.rule.map_or(&[][..], |rule| &rule.filters);
        match filters.iter().position(|filter| filter.kind() == kind) {
            Some(index) => self.of_rule(&format!("filters[{index}]")),
            None => (self.origin.named.object(), self.origin.rule_field()),
        }
    }

    fn timeout(&self) -> Source {
        match self.rule.and_then(|rule| rule.timeouts.request) {
            Some(_) => self.of_rule("timeouts.request"),
            None => self.policy("timeout.http.requestTimeout"),
        }
    }

    fn retry(&self) -> Source {
        match self.rule.and_then(|rule| rule.retry.as_ref()) {
            Some(_) => self.of_rule("retry"),
            None => self.policy("retry"),
        }
    }

    /// The policy that says a field below `spec`.
    fn policy(&self, path: &str) -> Source {
        let says = |field: &str| {
            field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let mut fields = self.policies.iter().flat_map(|policy| policy.fields.iter());
        match fields.find(|field| says(&field.path)) {
            Some(field) => (field.policy.to_string(), format!("spec.{path}")),
            None => ("default".to_owned(), String::new()),
        }
    }
}

/// Policies in the answer.
pub(crate) fn told(policies: Vec<AppliedPolicy>) -> Vec<Policy> {
    let told = policies.into_iter().map(|applied| Policy {
        object: applied.policy.to_string(),
        merged_over: applied.parents.iter().map(ToString::to_string).collect(),
        settings: settings(applied.fields),
        invalid: applied.invalid,
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
