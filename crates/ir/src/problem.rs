//! What is wrong with an object, said so that its author can mend it.

use std::fmt;

use serde::Serialize;

use crate::ObjectRef;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// An API server would refuse the object (schema or CEL); it takes no part in translation.
    Rejected,
    /// The object, or a part of it, has no effect; a condition says so.
    Error,
    /// The object works, but not as its author may think.
    Warning,
}

/// The object that a problem is about, as the document names it; also for kinds that Ferrogate does not read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// `apiVersion` of the document.
    pub api_version: String,
    /// `kind` of the document.
    pub kind: String,
    /// Namespace; absent for cluster-scoped kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl From<&ObjectRef> for Subject {
    fn from(object: &ObjectRef) -> Self {
        Subject {
            api_version: object.kind.api_version(),
            kind: object.kind.name().to_owned(),
            namespace: (!object.namespace.is_empty()).then(|| object.namespace.to_string()),
            name: object.name.to_string(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {}/{}", self.kind, namespace, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// One thing that is wrong: where (object and field), which condition shows it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The object whose author can mend it.
    pub object: Subject,
    /// Path of the field, such as `spec.rules[0].matches[1].path.value`; empty for the whole object.
    pub field: String,
    /// How bad it is.
    pub severity: Severity,
    /// Type of the condition that shows it, such as `ResolvedRefs`; empty when none does.
    pub condition: String,
    /// Reason of that condition, such as `BackendNotFound`.
    pub reason: String,
    /// A sentence: what is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            write!(f, "{}: {}", self.object, self.message)
        } else {
            write!(f, "{}: {}: {}", self.object, self.field, self.message)
        }
    }
}
