//! CEL rules of schemas (`x-kubernetes-validations`), compiled once and run where they stand.
//!
//! The functions are kube-cel's. The walk is ours because kube-cel's converts the whole document again at every node
//! and compiles the regular expression of `matches` at every call, which took ten times as long as all else together.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use kube_cel::{
    KubeCelExt,
    cel::{
        Context, FunctionContext, Program, Value as Cel,
        extractors::This,
        objects::{Key, Map},
    },
};
use regex::Regex;
use serde_json::Value;

use crate::{
    finding::{Finding, reason},
    path::Path,
};

/// How many regular expressions are kept compiled. Rules hold them as constants; there are far fewer.
const MAX_REGEXES: usize = 256;

/// Names that CEL keeps for itself; as fields they stand between double underscores.
const RESERVED: [&str; 18] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
];

/// The functions that rules may call; one serves all kinds and threads.
pub(crate) struct Functions(Context<'static>);

impl Functions {
    pub(crate) fn new() -> Self {
        let mut context = Context::default().with_all();
        let known: RwLock<BTreeMap<String, Regex>> = RwLock::default();
        context.add_function(
            "matches",
            move |call: &FunctionContext<'_, '_>, This(text): This<Arc<String>>, pattern: Arc<String>| {
                if let Some(regex) =
                    known.read().unwrap_or_else(PoisonError::into_inner).get(pattern.as_str())
                {
                    return Ok(regex.is_match(&text));
                }
                let regex = Regex::new(&pattern).map_err(|error| call.error(error.to_string()))?;
                let matches = regex.is_match(&text);
                let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
                if known.len() < MAX_REGEXES {
                    known.insert(pattern.to_string(), regex);
                }
                Ok(matches)
            },
        );
        Functions(context)
    }
}

/// A node of a schema, with its rules and what is needed to show its values to them.
#[derive(Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    /// Fields by name, with their name in CEL.
    properties: BTreeMap<String, (Arc<String>, Rules)>,
    items: Option<Box<Rules>>,
    values: Option<Box<Rules>>,
    /// Numbers are floats, even whole ones.
    float: bool,
    /// Whether there are rules here or below.
    any: bool,
}

struct Rule {
    program: Program,
    message: String,
    /// Says the same as the program, but faster.
    native: Option<fn(&Value) -> bool>,
}

/// How the rule begins that limits the matches of all rules of a route. Gateway API writes the sum out for 16 rules,
/// because API servers bound the cost of rules; each of its 48 terms copies the whole list here.
const ALL_MATCHES: &str = "(self.size() > 0 ? self[0].matches.size() : 0) + ";
/// How many matches all rules of a route may have.
const MAX_MATCHES: usize = 128;

fn matches_fit(rules: &Value) -> bool {
    let matches = |rule: &Value| rule.get("matches").and_then(Value::as_array).map_or(0, Vec::len);
    rules.as_array().is_some_and(|rules| rules.iter().map(matches).sum::<usize>() <= MAX_MATCHES)
}

fn native(rule: &str) -> Option<fn(&Value) -> bool> {
    (rule.starts_with(ALL_MATCHES) && rule.ends_with(&format!(" <= {MAX_MATCHES}"))).then_some(matches_fit)
}

impl Rules {
    /// Compiles the rules of a schema.
    ///
    /// # Errors
    ///
    /// When a rule is not CEL; a test compiles every schema that there is.
    pub(crate) fn new(schema: &Value) -> Result<Rules, String> {
        let mut node = Rules::default();
        for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
            let source = text("rule");
            let program = Program::compile(source).map_err(|error| format!("{source}: {error}"))?;
            // Rules about changes compare with the object as it was; here every object is new.
            if !program.references().has_variable("oldSelf") {
                let message = if text("message").is_empty() {
                    format!("must satisfy {source}")
                } else {
                    text("message").to_owned()
                };
                node.rules.push(Rule { program, message, native: native(source) });
            }
        }
        for (name, child) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            node.properties.insert(name.clone(), (Arc::new(escape(name)), Rules::new(child)?));
        }
        let child = |key: &str| {
            let child = schema.get(key).filter(|child| child.is_object());
            child.map(|child| Rules::new(child).map(Box::new)).transpose()
        };
        node.items = child("items")?;
        node.values = child("additionalProperties")?;
        node.float = schema.get("type").and_then(Value::as_str) == Some("number");
        let below = |child: &Option<Box<Rules>>| child.as_ref().is_some_and(|child| child.any);
        node.any = !node.rules.is_empty()
            || below(&node.items)
            || below(&node.values)
            || node.properties.values().any(|(_, child)| child.any);
        Ok(node)
    }

    /// Runs all rules over a document. A rule that cannot be evaluated, for instance because a field is not there,
    /// counts as broken, as it does for an API server.
    pub(crate) fn check(
        &self,
        value: &Value,
        path: &Path<'_>,
        functions: &Functions,
        findings: &mut Vec<Finding>,
    ) {
        self.check_shown(value, None, path, functions, findings);
    }

    /// The same, with the value as rules see it when something around it was shown already: a document is converted once,
    /// from the outermost rules on.
    fn check_shown(
        &self,
        value: &Value,
        shown: Option<&Cel>,
        path: &Path<'_>,
        functions: &Functions,
        findings: &mut Vec<Finding>,
    ) {
        if !self.any {
            return;
        }
        let own = (shown.is_none() && !self.rules.is_empty()).then(|| self.show(value));
        let shown = shown.or(own.as_ref());
        if let (Some(shown), false) = (shown, self.rules.is_empty()) {
            let mut context = functions.0.new_inner_scope();
            context.add_variable_from_value("self", shown.clone());
            for rule in &self.rules {
                let holds = match rule.native {
                    Some(native) => native(value),
                    None => matches!(rule.program.execute(&context), Ok(Cel::Bool(true))),
                };
                if !holds {
                    findings.push(Finding::rejected(path.to_string(), reason::INVALID, rule.message.clone()));
                }
            }
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let (key, child) = match (self.properties.get(name), self.values.as_deref()) {
                        (Some((escaped, child)), _) if child.any => (Arc::clone(escaped), child),
                        (None, Some(child)) if child.any => (Arc::new(name.clone()), child),
                        _ => continue,
                    };
                    let shown = match shown {
                        Some(Cel::Map(fields)) => fields.map.get(&Key::String(key)),
                        _ => None,
                    };
                    child.check_shown(value, shown, &Path::Field(path, name), functions, findings);
                }
            }
            Value::Array(list) => {
                let Some(child) = self.items.as_deref() else { return };
                for (index, item) in list.iter().enumerate() {
                    let shown = match shown {
                        Some(Cel::List(items)) => items.get(index),
                        _ => None,
                    };
                    child.check_shown(item, shown, &Path::Item(path, index), functions, findings);
                }
            }
            _ => {}
        }
    }

    /// A value as rules see it: fields by their name in CEL, keys of maps as they are.
    fn show(&self, value: &Value) -> Cel {
        static UNKNOWN: Rules = Rules::UNKNOWN;
        match value {
            Value::Null => Cel::Null,
            Value::Bool(value) => Cel::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) if !self.float => Cel::Int(whole),
                (_, Some(float)) => Cel::Float(float),
                _ => Cel::Null,
            },
            Value::String(text) => Cel::String(Arc::new(text.clone())),
            Value::Array(list) => {
                let items = self.items.as_deref().unwrap_or(&UNKNOWN);
                Cel::List(Arc::new(list.iter().map(|item| items.show(item)).collect()))
            }
            Value::Object(map) => {
                let entries = map.iter().map(|(name, value)| match self.properties.get(name) {
                    Some((escaped, child)) => (Key::String(Arc::clone(escaped)), child.show(value)),
                    None => {
                        let child = self.values.as_deref().unwrap_or(&UNKNOWN);
                        (Key::String(Arc::new(name.clone())), child.show(value))
                    }
                });
                Cel::Map(Map { map: Arc::new(entries.collect()) })
            }
        }
    }

    /// A node about which nothing is known.
    const UNKNOWN: Rules = Rules {
        rules: Vec::new(),
        properties: BTreeMap::new(),
        items: None,
        values: None,
        float: false,
        any: false,
    };
}

/// The name of a field in CEL.
fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}
