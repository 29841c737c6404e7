//! Who has set something: the rule itself, a policy, the parameters of the proxies.

use ir::ObjectRef;
use pipeline::{AppliedPolicy, Pipeline};
use serde_json::Value;
use store::facts;

use crate::{Setting, origin::Origin};

/// What is said of settings that nobody has set.
pub(crate) const DEFAULT: &str = "default";

/// An object and a field of it.
pub(crate) type Source = (String, String);

/// Who may have set something at one place: the rule itself goes before policies.
pub(crate) struct Sources<'a> {
    pub(crate) pipeline: &'a Pipeline,
    /// The Gateway of the listener.
    pub(crate) gateway: ObjectRef,
    /// The rule that takes the request, where there is one.
    pub(crate) rule: Option<(Origin, Option<&'a facts::Rule>)>,
    pub(crate) policies: Vec<AppliedPolicy>,
}

impl<'a> Sources<'a> {
    /// The rule as its object has it.
    pub(crate) fn fact(&self) -> Option<&'a facts::Rule> {
        self.rule.as_ref().and_then(|(_, fact)| *fact)
    }

    /// A field of the rule; the rule itself where the field is empty.
    pub(crate) fn of_rule(&self, field: &str) -> Source {
        let Some((origin, _)) = &self.rule else { return default() };
        let rule = origin.rule_field();
        (origin.named.object(), if field.is_empty() { rule } else { format!("{rule}.{field}") })
    }

    /// The filter of a type; the rule itself when a backend's filter says it.
    pub(crate) fn filter(&self, kind: &str) -> Source {
        let filters = self.fact().map_or(&[][..], |rule| &rule.filters);
        match filters.iter().position(|filter| filter.kind() == kind) {
            Some(index) => self.of_rule(&format!("filters[{index}]")),
            None => self.of_rule(""),
        }
    }

    /// The limit of the whole request.
    pub(crate) fn timeout(&self) -> Source {
        match self.fact().and_then(|rule| rule.timeouts.request) {
            Some(_) => self.of_rule("timeouts.request"),
            None => self.policy("timeout.http.requestTimeout"),
        }
    }

    /// Further attempts.
    pub(crate) fn retry(&self) -> Source {
        match self.fact().and_then(|rule| rule.retry.as_ref()) {
            Some(_) => self.of_rule("retry"),
            None => self.policy("retry"),
        }
    }

    /// The policies that say a field below `spec`, or a part of it.
    pub(crate) fn policy(&self, path: &str) -> Source {
        let says = |field: &str| {
            field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let mut objects: Vec<String> = Vec::new();
        for field in self.policies.iter().flat_map(|policy| &policy.fields).filter(|f| says(&f.path)) {
            let object = field.policy.to_string();
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
        if objects.is_empty() { default() } else { (objects.join(", "), format!("spec.{path}")) }
    }

    /// What a policy says of a field below `spec`, with the policy.
    pub(crate) fn says(&self, path: &str) -> Option<(Value, Source)> {
        let field =
            self.policies.iter().flat_map(|policy| &policy.fields).find(|field| field.path == path)?;
        Some((field.value.clone(), (field.policy.to_string(), format!("spec.{path}"))))
    }

    /// The parameters of the proxies that say a field below `spec`.
    pub(crate) fn parameter(&self, path: &str) -> Source {
        match parameter(self.pipeline, &self.gateway, path) {
            Some((_, source)) => source,
            None => default(),
        }
    }
}

/// What the parameters of a Gateway's proxies say of a field below `spec`, with who says it.
pub(crate) fn parameter(pipeline: &Pipeline, gateway: &ObjectRef, path: &str) -> Option<(Value, Source)> {
    let said = pipeline.parameter(gateway, path)?;
    let source = match said.proxy {
        Some(proxy) => (proxy.to_string(), format!("spec.{path}")),
        None => ("configuration file".to_owned(), format!("envoyProxy.{path}")),
    };
    Some((said.value, source))
}

/// Nobody has set it.
pub(crate) fn default() -> Source {
    (DEFAULT.to_owned(), String::new())
}

/// True where somebody has set it.
pub(crate) fn is_said(source: &Source) -> bool {
    source.0 != DEFAULT
}

/// The first of several that somebody has set.
pub(crate) fn first(sources: impl IntoIterator<Item = Source>) -> Source {
    sources.into_iter().find(is_said).unwrap_or_else(default)
}

/// Settings as they are found.
#[derive(Default)]
pub(crate) struct Settings(pub(crate) Vec<Setting>);

impl Settings {
    /// Adds one, unless its value is empty.
    pub(crate) fn push(&mut self, name: &str, value: impl Into<String>, (object, field): Source) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push(Setting { name: name.to_owned(), value, object, field });
        }
    }

    /// Adds one where somebody has set it: what everything has by default is not told.
    pub(crate) fn said(&mut self, name: &str, value: impl Into<String>, source: Source) {
        if is_said(&source) {
            self.push(name, value, source);
        }
    }
}
