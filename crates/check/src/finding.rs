//! Findings.

use ir::{ObjectRef, problem::Subject};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::{Value, json};

use crate::{Severity, code::Code};

/// Something that is wrong, or will be.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What sort of thing.
    pub code: &'static Code,
    /// Where; the first place is that of the object whose author can mend it.
    pub places: Vec<Place>,
    /// What is wrong, in a sentence about this case.
    pub message: String,
    /// The change that mends it, where it is mechanical.
    pub patch: Option<Patch>,
}

/// An object and a field of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The object.
    #[serde(flatten)]
    pub object: Subject,
    /// Path of the field; empty for the whole object.
    pub field: String,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Patch {
    /// Operations (RFC 6902) on the first object: `kubectl patch --type json`.
    Json(Value),
    /// An object to create.
    Create(Value),
}

impl Finding {
    /// A finding about one field.
    pub(crate) fn new(
        code: &'static Code,
        object: impl Into<Subject>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Finding {
        let place = Place { object: object.into(), field: field.into() };
        Finding { code, places: vec![place], message: message.into(), patch: None }
    }

    /// The same with another object that has to do with it.
    pub(crate) fn and(mut self, object: &ObjectRef, field: impl Into<String>) -> Finding {
        self.places.push(Place { object: object.into(), field: field.into() });
        self
    }

    /// The same with the change that mends it.
    pub(crate) fn with(mut self, patch: Patch) -> Finding {
        self.patch = Some(patch);
        self
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.code.severity
    }

    /// What orders findings: the worst first, then by object.
    pub(crate) fn key(&self) -> impl Ord + '_ {
        (std::cmp::Reverse(self.severity()), &self.places, self.code.id, &self.message)
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Finding", 8)?;
        fields.serialize_field("code", self.code.id)?;
        fields.serialize_field("name", self.code.name)?;
        fields.serialize_field("severity", &self.severity())?;
        fields.serialize_field("objects", &self.places)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("why", self.code.why)?;
        fields.serialize_field("fix", self.code.fix)?;
        match &self.patch {
            Some(patch) => fields.serialize_field("patch", patch)?,
            None => fields.skip_field("patch")?,
        }
        fields.end()
    }
}

/// The ReferenceGrant that permits references from one object to another.
pub(crate) fn grant(from: &ObjectRef, to: &ObjectRef) -> Patch {
    let kind = |object: &ObjectRef| json!({ "group": object.kind.group(), "kind": object.kind.name() });
    let mut source = kind(from);
    source["namespace"] = json!(*from.namespace);
    let mut target = kind(to);
    target["name"] = json!(*to.name);
    Patch::Create(json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ReferenceGrant",
        "metadata": { "name": format!("{}-from-{}", to.name, from.namespace), "namespace": *to.namespace },
        "spec": { "from": [source], "to": [target] },
    }))
}
