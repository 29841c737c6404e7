//! What the API server holds beside configuration, for whoever writes it: statuses, finalizers, infrastructure.
//!
//! It is told as soon as it is seen, and so never later than the update that follows from the object.

use std::fmt;

use ir::{Kind, ObjectRef, infra::labels};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::resource::{Resource, What};

/// Is told what the API server holds. No method may wait.
pub trait Witness: fmt::Debug + Send + Sync {
    /// A kind with a CRD is served in this version of its group from now on, before any of its objects is seen so.
    fn served(&self, kind: Kind, version: &'static str);
    /// An object of configuration at a version that is new. Objects of kinds without a status are not told of.
    fn seen(&self, object: &ObjectRef, sight: &Sight);
    /// The object does not exist any more, or does not count any more.
    fn gone(&self, object: &ObjectRef);
    /// A Service, Deployment or DaemonSet of a fleet at a version that is new, as it stands at the API server.
    fn infrastructure(&self, document: &Value);
    /// An object of one of these kinds does not exist any more; most Services are of nobody's fleet.
    fn infrastructure_gone(&self, kind: &str, namespace: &str, name: &str);
}

/// One object as the API server holds it, but for its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// `metadata.generation`; 0 when there is none.
    pub generation: i64,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// `status`, as it stands there.
    pub status: Option<Value>,
}

/// What one object has to say to a witness.
#[derive(Debug)]
pub(super) enum Testimony {
    Sight(Sight),
    Infrastructure(Value),
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, borrow)]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    generation: i64,
    resource_version: String,
    finalizers: Vec<String>,
}

impl Testimony {
    /// What an object says; `None` when it is none that anybody writes. `version` is that of the resource's group.
    pub(super) fn of(resource: &Resource, version: &str, json: &str) -> Option<Testimony> {
        match resource.what {
            What::Object(info, _) if !info.is_core() => sight(json).map(Testimony::Sight),
            // One of thousands is a fleet's, and its text says so.
            _ if resource.of_fleets() && json.contains(labels::MANAGED_BY) => {
                infrastructure(resource, version, json).map(Testimony::Infrastructure)
            }
            _ => None,
        }
    }
}

fn sight(json: &str) -> Option<Sight> {
    let Document { metadata, status } = serde_json::from_str(json).ok()?;
    Some(Sight {
        generation: metadata.generation,
        resource_version: metadata.resource_version,
        finalizers: metadata.finalizers,
        status: status.and_then(|status| serde_json::from_str(status.get()).ok()),
    })
}

fn infrastructure(resource: &Resource, version: &str, json: &str) -> Option<Value> {
    let mut document: Value = serde_json::from_str(json).ok()?;
    let found = &document["metadata"]["labels"];
    if labels::APP.iter().any(|(name, value)| found[*name] != *value) {
        return None;
    }
    // Items of a list do not say what they are.
    document["apiVersion"] = resource.api_version(version).into();
    document["kind"] = resource.kind.into();
    Some(document)
}
